//! The text of a key: `lvq_` id `_` secret checksum.
//!
//! | part | characters | what it is |
//! |---|---|---|
//! | prefix | 1 to 24 | which service (and, say, `acme_test` or `acme_live`) the key is for |
//! | id | 26 | the key's id without `key_`: may be logged |
//! | secret | 43 | 256 random bits in base 62 |
//! | checksum | 6 | CRC-32 (ISO-HDLC) of all before it, in base 62 |
//!
//! The checksum tells a slip of the hand, and what only looks like a key, from a key without asking the store,
//! and lets scanners for leaked secrets be sure of what they found.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{KeyId, random_bytes};

/// The prefix of keys unless another is asked for.
pub const DEFAULT_PREFIX: &str = "lvq";

const ID: usize = 26;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Refuses a prefix that keys cannot have.
pub fn check_prefix(prefix: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fits = (1..=24).contains(&prefix.len())
        && prefix.bytes().all(plain)
        && prefix.starts_with(|c: char| c.is_ascii_lowercase())
        && !prefix.ends_with('_');
    if fits {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::Config, "key.bad_prefix", "keys cannot begin with this prefix")
            .hint("a prefix has 1 to 24 of a-z 0-9 _, begins with a letter and does not end with _"),
    )
}

/// A new key, to be shown to its owner once. Never shows itself otherwise.
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    text: String,
}

impl ApiKey {
    /// Makes the text of a key.
    pub fn mint(prefix: &str, id: KeyId) -> Self {
        let mut text = format!("{prefix}_{}_", bare(&id));
        base62(random_bytes(), &mut text);
        let sum = checksum(text.as_bytes());
        text.push_str(&sum);
        ApiKey { id, text }
    }

    /// The text itself: a secret.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, ..)", self.id)
    }
}

fn bare(id: &KeyId) -> &str {
    id.as_str().strip_prefix("key_").unwrap_or_default()
}

/// A text that is formed like a key of ours. Whether it is one, the store knows.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    text: &'a str,
    /// The id without `key_`.
    pub bare_id: &'a str,
}

impl KeyText<'_> {
    /// The id.
    pub fn id(&self) -> KeyId {
        KeyId::stored(format!("key_{}", self.bare_id))
    }

    /// What would be kept of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.text)
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText(key_{}, ..)", self.bare_id)
    }
}

/// Reads the text of a key with this prefix.
///
/// # Errors
/// `key.malformed`, which says what is wrong with it and never shows it.
pub fn parse<'a>(text: &'a str, prefix: &str) -> Result<KeyText<'a>> {
    let bad = |what: &str, help: &str| Err(refused("key.malformed", format!("the API key {what}")).hint(help));
    let Some(rest) = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else {
        return bad(
            "has another prefix than the keys of this service",
            &format!("keys begin with `{prefix}_`"),
        );
    };
    let copy = "copy it again, from its first to its last character";
    if rest.len() != ID + 1 + SECRET + CHECKSUM || !rest.is_ascii() {
        return bad("has the wrong length", copy);
    }
    let (id, secret) = (&rest[..ID], &rest[ID + 1..]);
    let id_fits = id.bytes().all(crate::types::is_id_byte);
    if rest.as_bytes()[ID] != b'_' || !id_fits || !secret.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return bad("has a character that keys do not have", copy);
    }
    let (signed, sum) = text.split_at(text.len() - CHECKSUM);
    if checksum(signed.as_bytes()) != sum {
        return bad("has a typing error: its checksum is wrong", copy);
    }
    Ok(KeyText { text, bare_id: id })
}

/// SHA-256 of a key's text. Compared in constant time.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        KeyDigest(bytes)
    }

    /// As it is stored.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What [`encode`](KeyDigest::encode) wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(KeyDigest)
    }

    /// Whether both are of the same text.
    pub fn fits(&self, other: &KeyDigest) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// A number of 256 bits, high byte first, in 43 digits of base 62.
fn base62(mut number: [u8; 32], into: &mut String) {
    let mut digits = [0; SECRET];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    into.extend(digits.iter().map(|d| char::from(*d)));
}

fn checksum(bytes: &[u8]) -> String {
    let mut rest = crc32(bytes);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|d| char::from(*d)).collect()
}

/// CRC-32 as zip and PNG have it (reflected polynomial EDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let (mut i, mut byte) = (0, 0);
        while i < 256 {
            let (mut value, mut bit) = (byte, 0);
            while bit < 8 {
                value = if value & 1 == 1 {
                    0xEDB8_8320 ^ value >> 1
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[i] = value;
            i += 1;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ crc >> 8
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::Millis;

    #[test]
    fn the_checksum_is_the_one_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        let mut text = String::new();
        base62([0xFF; 32], &mut text);
        assert_eq!(text.len(), SECRET);
        let mut one = [0; 32];
        one[31] = 62;
        text.clear();
        base62(one, &mut text);
        assert_eq!(text, format!("{}10", "0".repeat(41)));
    }

    #[test]
    fn whatever_character_is_wrong_is_found() {
        let key = ApiKey::mint("acme_live", KeyId::new(Millis(1_750_000_000_000)));
        let text = key.expose();
        let read = parse(text, "acme_live").unwrap();
        assert_eq!(read.id(), key.id);
        assert!(read.digest().fits(&key.digest()));
        assert_eq!(text.len(), "acme_live_".len() + 26 + 1 + 49);
        for (i, old) in text.char_indices() {
            for new in ['0', 'a', 'Z', '_', 'é', ' '].into_iter().filter(|c| *c != old) {
                let typo = format!("{}{new}{}", &text[..i], &text[i + 1..]);
                let e = parse(&typo, "acme_live").unwrap_err();
                assert_eq!((e.code(), e.status()), ("key.malformed", 401), "{i} {new}");
                assert!(!format!("{e:?}").contains(&text[40..]));
            }
            if let Some(next) = text[i + 1..].chars().next().filter(|next| *next != old) {
                let swapped = format!("{}{next}{old}{}", &text[..i], &text[i + 2..]);
                assert!(parse(&swapped, "acme_live").is_err(), "{i}: two characters swapped");
            }
        }
        assert!(parse(text, "lvq").is_err());
        assert_eq!(
            format!("{key:?} {read:?}"),
            format!("ApiKey({0}, ..) KeyText({0}, ..)", key.id)
        );
    }

    #[test]
    fn prefixes_are_plain() {
        for good in ["lvq", "acme_live", "a"] {
            check_prefix(good).unwrap();
        }
        for bad in ["", "_a", "a_", "1a", "A", "a-b", "abcdefghijklmnopqrstuvwxy"] {
            assert_eq!(check_prefix(bad).unwrap_err().code(), "key.bad_prefix", "{bad}");
        }
    }
}
