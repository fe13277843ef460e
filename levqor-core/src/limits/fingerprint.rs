//! Keys as 128 bits: what a table of limits keeps instead of a name and up to 8 KiB of key.
//!
//! SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, 2012, and the authors' reference code),
//! under a secret of the process. Whoever chooses keys can neither make two of them meet nor make a table
//! slow, and by chance two of a billion meet once in 10^20 tables.

use crate::types::random_bytes;

/// A key, told apart from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u64; 2]);

impl std::hash::Hash for Fingerprint {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        // Half of it is as random as a hash can be.
        hasher.write_u64(self.0[0]);
    }
}

/// Makes fingerprints. `C` rounds per word and `D` to finish; 1 and 3 here, 2 and 4 in the published
/// vectors.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprinter<const C: usize = 1, const D: usize = 3> {
    v: [u64; 4],
    /// Bytes of the prefix, a multiple of eight.
    taken: u64,
}

impl Fingerprinter {
    /// With a secret from the operating system.
    pub(crate) fn new() -> Self {
        Self::with_secret(random_bytes())
    }
}

impl<const C: usize, const D: usize> Fingerprinter<C, D> {
    /// With a secret that processes share.
    pub(crate) fn with_secret(secret: [u8; 16]) -> Self {
        let (k0, k1) = (word(&secret[..8]), word(&secret[8..]));
        Fingerprinter {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            taken: 0,
        }
    }

    /// The same, after a prefix. Padded to whole words behind its length, so that no prefix and key are
    /// taken for another prefix and key.
    #[must_use]
    pub(crate) fn after(mut self, part: &[u8]) -> Self {
        self.absorb(part.len() as u64);
        let mut words = part.chunks_exact(8);
        for w in words.by_ref() {
            self.absorb(word(w));
        }
        if !words.remainder().is_empty() {
            self.absorb(tail(words.remainder()));
        }
        self
    }

    #[inline]
    fn absorb(&mut self, m: u64) {
        self.v[3] ^= m;
        self.rounds::<C>();
        self.v[0] ^= m;
        self.taken = self.taken.wrapping_add(8);
    }

    #[inline]
    fn rounds<const N: usize>(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        for _ in 0..N {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.v = [a, b, c, d];
    }

    /// The fingerprint of a key after the prefixes.
    #[inline]
    pub(crate) fn of(mut self, key: &[u8]) -> Fingerprint {
        let mut words = key.chunks_exact(8);
        for w in words.by_ref() {
            self.absorb(word(w));
        }
        let rest = words.remainder();
        let length = (self.taken + rest.len() as u64) & 0xff;
        self.absorb(length << 56 | tail(rest));
        self.v[2] ^= 0xee;
        self.rounds::<D>();
        let low = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        self.v[1] ^= 0xdd;
        self.rounds::<D>();
        Fingerprint([low, self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]])
    }
}

/// A fast hash of keys under the secrets of a process and of one limit: what [`Fingerprinter`] is for names,
/// for keys that are hashed in every call.
///
/// Products of secret-keyed words, folded (the family of wyhash by Wang Yi and foldhash by Orson Peters).
/// Every word, and the length, meets a secret before it is multiplied or added, so whoever chooses keys does
/// not know which of them meet, and learns of it only by being limited together with somebody.
#[derive(Clone, Copy)]
pub(crate) struct KeyHash {
    secrets: [u64; 10],
}

impl KeyHash {
    /// With secrets from the operating system.
    pub(crate) fn new() -> Self {
        let mut secrets = [0; 10];
        for secret in &mut secrets {
            *secret = u64::from_le_bytes(random_bytes());
        }
        Self::with_secrets(secrets)
    }

    /// With secrets that processes share.
    pub(crate) fn with_secrets(secrets: [u64; 10]) -> Self {
        KeyHash { secrets }
    }

    /// The same for one limit, which no other limit's keys meet.
    #[must_use]
    pub(crate) fn tweaked(mut self, by: Fingerprint) -> Self {
        self.secrets[4] ^= by.0[0];
        self.secrets[5] ^= by.0[1];
        self
    }

    /// The fingerprint of a key.
    #[inline]
    pub(crate) fn of(&self, key: &[u8]) -> Fingerprint {
        let s = &self.secrets;
        let length = (key.len() as u64).wrapping_mul(s[0]);
        let (a, b, chain) = match key.len() {
            17.. => {
                let chain = self.chain(key);
                (word(&key[key.len() - 16..]), word(&key[key.len() - 8..]), chain)
            }
            8.. => (word(key), word(&key[key.len() - 8..]), [0; 2]),
            4.. => (half(key), half(&key[key.len() - 4..]), [0; 2]),
            _ => (tail(key), 0, [0; 2]),
        };
        // One product would do to tell keys apart, but leaves a pattern in keys that are counted up.
        let (low, high) = product(a ^ chain[0] ^ s[4], b ^ chain[1] ^ length ^ s[5]);
        Fingerprint([fold(low ^ s[6], high ^ s[7]), fold(low ^ s[8], high ^ s[9])])
    }

    /// Goes through a long key; its last sixteen bytes are left to the caller.
    fn chain(&self, key: &[u8]) -> [u64; 2] {
        let (s, mut chain) = (&self.secrets, [0, 0]);
        for pair in key[..key.len() - 1].chunks_exact(16) {
            let (a, b) = (word(pair), word(&pair[8..]));
            chain = [fold(a ^ chain[0] ^ s[0], b ^ s[1]), fold(b ^ chain[1] ^ s[2], a ^ s[3])];
        }
        chain
    }
}

/// The lower and the upper half of the product of two words.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn product(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    (product as u64, (product >> 64) as u64)
}

/// The same, folded onto each other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = product(a, b);
    low ^ high
}

#[inline]
fn half(four: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(secret)")
    }
}

#[inline]
fn word(eight: &[u8]) -> u64 {
    let mut w = [0; 8];
    w.copy_from_slice(&eight[..8]);
    u64::from_le_bytes(w)
}

/// Up to seven bytes as a little-endian word.
#[inline]
fn tail(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b))
}

impl<const C: usize, const D: usize> std::fmt::Debug for Fingerprinter<C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprinter(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn it_is_siphash_with_128_bits() {
        // SipHash-2-4-128 of the empty string and of one zero byte under 00 01 .. 0f, from the authors'
        // vectors.
        let secret = std::array::from_fn(|i| u8::try_from(i).unwrap_or(0));
        let bytes = |f: Fingerprint| [f.0[0].to_le_bytes(), f.0[1].to_le_bytes()].concat();
        let hash = Fingerprinter::<2, 4>::with_secret(secret);
        assert_eq!(
            bytes(hash.of(b"")),
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93
            ]
        );
        assert_eq!(
            bytes(hash.of(b"\0")),
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45
            ]
        );
    }

    /// Keys that differ little, of every length: neither the whole, nor the half of it that tells keys
    /// apart in a table, nor the bits that choose a place may be alike more often than chance has it.
    #[test]
    fn keys_that_are_nearly_alike_have_nothing_in_common() {
        let hash = KeyHash::new();
        let (mut first, mut second) = (HashSet::new(), HashSet::new());
        let mut places = [[0_u32; 64]; 2];
        let mut count = 0;
        let mut see = |hash: &KeyHash, key: &[u8]| {
            let f = hash.of(key);
            count += 1;
            assert!(first.insert(f.0[0]), "{key:?}");
            assert!(second.insert(f.0[1]), "{key:?}");
            places[0][usize::try_from(f.0[0] >> 58).unwrap_or(0)] += 1;
            places[1][usize::try_from(f.0[1] % 64).unwrap_or(0)] += 1;
        };
        for i in 0..50_000_u64 {
            see(&hash, &i.to_le_bytes());
            see(&hash, format!("user-{i}").as_bytes());
            see(&hash, format!("user-{i:030}").as_bytes());
        }
        for length in 0..200 {
            // 48 and not 0, since eight bytes of zero are the number that was seen already.
            see(&hash, &vec![48; length]);
            for at in 0..length {
                let mut key = vec![48; length];
                key[at] = 49;
                see(&hash, &key);
            }
        }
        let other = hash.tweaked(Fingerprinter::new().of(b"another limit"));
        for i in 0..10_000_u64 {
            see(&other, &i.to_le_bytes());
        }
        for n in places.into_iter().flatten() {
            let expected = count / 64;
            assert!(n > expected * 8 / 10 && n < expected * 12 / 10, "{n} of {expected} expected");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let f = Fingerprinter::new();
        let mut seen = HashSet::new();
        let parts: [&[u8]; 9] = [b"", b"a", b"ab", b"abc", b"b", b"c", b"bc", b"a\0", b"abcdefgh"];
        for name in parts {
            for key in parts {
                assert!(seen.insert(f.after(name).of(key)), "{name:?} {key:?}");
            }
        }
        assert_ne!(f.of(b"a"), Fingerprinter::new().of(b"a"), "every process has its secret");
    }
}
