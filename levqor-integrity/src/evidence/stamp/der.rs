//! As much of DER (X.690) as a time stamp needs: tag, length, contents, one behind the other.

/// One value: its tag, its contents, and all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlv<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
    pub(super) whole: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Reads values off the front of bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value of any kind.
    pub(super) fn any(&mut self) -> Option<Tlv<'a>> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        // Tags of more than one byte do not occur here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (head, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let n = usize::from(first & 0x7f);
            if n == 0 || n > 4 {
                return None;
            }
            let bytes = self.0.get(2..2 + n)?;
            let length = bytes.iter().fold(0usize, |l, b| l << 8 | usize::from(*b));
            // DER has one spelling of a length, the shortest.
            if length < 0x80 || bytes[0] == 0 {
                return None;
            }
            (2 + n, length)
        };
        let whole = self.0.get(..head.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some(Tlv {
            tag,
            value: &whole[head..],
            whole,
        })
    }

    /// The next value, which has to be of this kind.
    pub(super) fn take(&mut self, tag: u8) -> Option<Tlv<'a>> {
        self.any().filter(|t| t.tag == tag)
    }

    /// The next value if it is of this kind.
    pub(super) fn maybe(&mut self, tag: u8) -> Option<Tlv<'a>> {
        if self.0.first() == Some(&tag) { self.any() } else { None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Tlv<'a> {
    pub(super) fn inside(self) -> Reader<'a> {
        Reader(self.value)
    }
}

/// One value, and nothing behind it.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<Tlv<'_>> {
    let mut reader = Reader(bytes);
    let found = reader.take(tag)?;
    reader.is_empty().then_some(found)
}

/// A value with its tag and length before it.
pub(super) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag];
    match body.len() {
        n @ 0..=0x7f => out.push(u8::try_from(n).unwrap_or(0)),
        n => {
            let bytes: Vec<u8> = n.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
            out.extend(bytes);
        }
    }
    out.extend(body);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for n in [0usize, 1, 127, 128, 255, 256, 70_000] {
            let bytes = wrap(OCTETS, &[&vec![7; n]]);
            assert_eq!(only(&bytes, OCTETS).unwrap().value.len(), n);
            assert_eq!(only(&bytes[..bytes.len() - 1], OCTETS), None);
        }
        for bad in [
            &[0x04, 0x81, 0x01, 0x00][..],
            &[0x04, 0x80],
            &[0x1f, 0x01, 0x00],
            &[0x04],
            &[],
        ] {
            assert_eq!(Reader(bad).any(), None, "{bad:?}");
        }
    }
}
