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

#[inline]
fn word(eight: &[u8]) -> u64 {
    let mut w = [0; 8];
    w.copy_from_slice(eight);
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
