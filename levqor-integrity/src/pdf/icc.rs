//! A colour profile of sRGB, as small as ICC.1:2001-04 allows. An archive's reader wants one, since colours given as red,
//! green and blue mean something only beside it.

/// The profile's bytes.
pub(super) fn srgb() -> Vec<u8> {
    let text = |signature: &[u8], body: &[u8]| [signature, &[0; 4], body].concat();
    let xyz = |x: i32, y: i32, z: i32| {
        let values: Vec<u8> = [x, y, z].iter().flat_map(|v| v.to_be_bytes()).collect();
        text(b"XYZ ", &values)
    };
    let name = b"sRGB\0";
    // A description: its length and ASCII text, then empty texts in Unicode and in Macintosh's script code.
    let description = text(b"desc", &[&5u32.to_be_bytes()[..], name, &[0; 4 + 4 + 2 + 1 + 67]].concat());
    // One number is a power: 2.2 in eight bits before and eight behind the point.
    let curve = text(b"curv", &[&1u32.to_be_bytes()[..], &0x0233u16.to_be_bytes()].concat());
    // Primaries of sRGB adapted to D50, in sixteen bits before and sixteen behind the point.
    let tags: [(&[u8; 4], Vec<u8>); 9] = [
        (b"desc", description),
        (b"cprt", text(b"text", b"No copyright\0")),
        (b"wtpt", xyz(0xf6d6, 0x1_0000, 0xd32d)),
        (b"rXYZ", xyz(0x6fa2, 0x38f5, 0x0390)),
        (b"gXYZ", xyz(0x6299, 0xb785, 0x18da)),
        (b"bXYZ", xyz(0x24a0, 0x0f84, 0xb6cf)),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
    ];
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut table = word(tags.len()).to_vec();
    let mut data = Vec::new();
    let start = 128 + 4 + 12 * tags.len();
    for (tag, body) in &tags {
        table.extend_from_slice(*tag);
        table.extend_from_slice(&word(start + data.len()));
        table.extend_from_slice(&word(body.len()));
        data.extend_from_slice(body);
        data.resize(data.len().next_multiple_of(4), 0);
    }
    let mut header = Vec::with_capacity(128);
    header.extend_from_slice(&word(start + data.len()));
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&[2, 0x10, 0, 0]);
    header.extend_from_slice(b"mntrRGB XYZ ");
    for part in [2026u16, 1, 1, 0, 0, 0] {
        header.extend_from_slice(&part.to_be_bytes());
    }
    header.extend_from_slice(b"acsp");
    header.resize(68, 0);
    // The illuminant, D50.
    for part in [0xf6d6u32, 0x1_0000, 0xd32d] {
        header.extend_from_slice(&part.to_be_bytes());
    }
    header.resize(128, 0);
    [header, table, data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_says_its_own_length_and_its_tags_lie_in_it() {
        let profile = srgb();
        let word = |at: usize| profile[at..at + 4].iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        assert_eq!(word(0), profile.len());
        assert_eq!(&profile[36..40], b"acsp");
        for i in 0..word(128) {
            let at = 132 + 12 * i;
            assert!(word(at + 4) + word(at + 8) <= profile.len() && word(at + 4) % 4 == 0, "{i}");
        }
    }
}
