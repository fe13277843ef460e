//! Sealing: AES-256-GCM (NIST SP 800-38D) with keys that can be changed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::error::{Error, ErrorKind, Result};
use crate::types::random_bytes;

/// The environment variable with the keys.
pub const SEAL_KEY: &str = "LEVQOR_SEAL_KEY";

/// Seals texts and opens them again. The first key seals; the others only open what they once sealed.
///
/// What is sealed is bound to its place, so that it cannot be put into another's.
///
/// ```
/// use levqor_core::vault::Sealer;
///
/// let old = Sealer::generate();
/// let sealed = Sealer::parse(&old).unwrap().seal("place", b"secret").unwrap();
/// let both = Sealer::parse(&format!("{},{old}", Sealer::generate())).unwrap();
/// assert_eq!(both.open("place", &sealed).unwrap(), b"secret");
/// assert!(!both.current(&sealed));
/// assert!(both.open("another place", &sealed).is_err());
/// ```
pub struct Sealer {
    keys: Vec<(String, LessSafeKey)>,
}

impl Sealer {
    /// Reads keys: each 32 bytes in Base64, separated by commas; the first one seals.
    ///
    /// # Errors
    /// `seal.key_invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::new(ErrorKind::Config, "seal.key_invalid", format!("the sealing key {what}"))
                .at(SEAL_KEY)
                .hint("a key is the Base64 of 32 random bytes; of several, separated by commas, the first one seals")
        };
        let mut keys: Vec<(String, LessSafeKey)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let bytes = STANDARD.decode(part).map_err(|_| bad("is not Base64"))?;
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| bad("has not 32 bytes"))?;
            let id = key_id(&bytes);
            if keys.iter().any(|(known, _)| *known == id) {
                return Err(bad("is given twice"));
            }
            keys.push((id, LessSafeKey::new(key)));
        }
        Ok(Sealer { keys })
    }

    /// The keys that the environment gives; `None` if it gives none.
    ///
    /// # Errors
    /// `seal.key_invalid`.
    pub fn from_env() -> Result<Option<Self>> {
        match std::env::var(SEAL_KEY) {
            Ok(text) if !text.trim().is_empty() => Sealer::parse(&text).map(Some),
            _ => Ok(None),
        }
    }

    /// A new key, as text.
    pub fn generate() -> String {
        STANDARD.encode(random_bytes::<32>())
    }

    /// The id of the key that seals: the beginning of its SHA-256.
    pub fn key_id(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    /// Seals for a place: `v1.<key id>.<Base64 of nonce, ciphertext and tag>`.
    ///
    /// # Errors
    /// None that the caller could mend.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<String> {
        let failed = || Error::internal("a text cannot be sealed");
        let (id, key) = self.keys.first().ok_or_else(failed)?;
        let nonce = random_bytes::<NONCE_LEN>();
        let mut text = plain.to_vec();
        let aad = Aad::from(place.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| failed())?;
        Ok(format!("v1.{id}.{}", URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat())))
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// `seal.key_unknown` if its key is not among ours; `seal.broken` if it was changed, or sealed for another place.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>> {
        let broken = || {
            Error::new(
                ErrorKind::Corrupt,
                "seal.broken",
                "what was sealed was changed, or sealed for another place",
            )
        };
        let (id, text) = parts(sealed).ok_or_else(broken)?;
        let Some((_, key)) = self.keys.iter().find(|(known, _)| known == id) else {
            let message = format!("what was sealed needs the key `{id}`, which is not there");
            return Err(Error::new(ErrorKind::Config, "seal.key_unknown", message)
                .at(SEAL_KEY)
                .hint("put the old key behind the new one until everything is sealed anew"));
        };
        let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| broken())?;
        if bytes.len() < NONCE_LEN {
            return Err(broken());
        }
        let mut rest = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| broken())?;
        let plain = key
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut rest)
            .map_err(|_| broken())?;
        Ok(plain.to_vec())
    }

    /// Whether a text was sealed with the key that seals now.
    pub fn current(&self, sealed: &str) -> bool {
        parts(sealed).is_some_and(|(id, _)| id == self.key_id())
    }
}

/// Shows the keys' ids.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|(id, _)| id.as_str()).collect();
        f.debug_tuple("Sealer").field(&ids).finish()
    }
}

fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix("v1.")?.split_once('.')
}

fn key_id(key: &[u8]) -> String {
    let text = [b"levqor sealing key\n", key].concat();
    let print = digest(&SHA256, &text);
    URL_SAFE_NO_PAD.encode(&print.as_ref()[..6])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_changed_is_opened() {
        let text = Sealer::generate();
        let sealer = Sealer::parse(&text).unwrap();
        let sealed = sealer.seal("a", b"secret").unwrap();
        assert_ne!(sealed, sealer.seal("a", b"secret").unwrap(), "no nonce is used twice");
        assert_eq!(sealer.open("a", &sealed).unwrap(), b"secret");
        assert_eq!(sealer.open("b", &sealed).unwrap_err().code(), "seal.broken");
        let head = sealed.rfind('.').unwrap() + 1;
        for i in head..sealed.len() {
            let mut other = sealed.clone().into_bytes();
            other[i] = if other[i] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            if other != sealed && URL_SAFE_NO_PAD.decode(&other[head..]).is_ok() {
                assert_eq!(sealer.open("a", &other).unwrap_err().code(), "seal.broken", "{i}");
            }
        }
        for cut in ["", "v1.", "v1..", "v2.a.b", &sealed[..sealed.len() - 4], &sealed[..head]] {
            assert!(sealer.open("a", cut).is_err(), "{cut}");
        }
        let shown = format!("{sealer:?}");
        assert!(!shown.contains(&text) && shown.contains(sealer.key_id()), "{shown}");
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let key = Sealer::generate();
        for bad in ["", "nonsense", "c2hvcnQ=", &format!("{key},"), &format!("{key},{key}")] {
            assert_eq!(Sealer::parse(bad).unwrap_err().code(), "seal.key_invalid", "{bad}");
        }
        let other = Sealer::parse(&Sealer::generate()).unwrap();
        let sealed = Sealer::parse(&key).unwrap().seal("a", b"x").unwrap();
        assert_eq!(other.open("a", &sealed).unwrap_err().code(), "seal.key_unknown");
    }
}
