//! The letters: which face has a character, how wide it is, and as much of the faces as a document uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use allsorts::binary::read::ReadScope;
use allsorts::font_data::FontData;
use allsorts::subset::{CmapTarget, SubsetProfile, subset};
use levqor_core::error::{Error, Result};
use printpdf::ParsedFont;

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Text = 0,
    Strong = 1,
    Mono = 2,
}

/// A font that was read.
struct Loaded {
    name: String,
    parsed: ParsedFont,
}

/// The faces of a document: ours, and behind them those of the host for scripts that ours do not have.
pub(crate) struct Fonts {
    more: Vec<Loaded>,
}

/// Characters of one font.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) font: usize,
    pub(crate) text: String,
}

const OURS: [(&str, &[u8]); 3] = [
    ("Inter-Regular", include_bytes!("../../fonts/Inter-Regular.ttf")),
    ("Inter-SemiBold", include_bytes!("../../fonts/Inter-SemiBold.ttf")),
    ("DejaVuSansMono", include_bytes!("../../fonts/DejaVuSansMono.ttf")),
];

fn load(name: &str, bytes: &[u8]) -> Option<Loaded> {
    let parsed = ParsedFont::from_bytes(bytes, 0, &mut Vec::new())?;
    let usable = parsed.units_per_em > 0 && !parsed.codepoint_to_glyph.is_empty();
    usable.then(|| Loaded {
        name: name.to_owned(),
        parsed,
    })
}

/// Our three faces. They lie in the program, so reading them cannot fail after the tests have passed.
fn ours() -> &'static [Loaded] {
    static LOADED: OnceLock<Vec<Loaded>> = OnceLock::new();
    LOADED.get_or_init(|| OURS.iter().filter_map(|(name, bytes)| load(name, bytes)).collect())
}

impl Fonts {
    /// Our faces, and further fonts (TrueType or OpenType) for what ours do not have.
    pub(crate) fn new(more: &[Vec<u8>]) -> Result<Self> {
        let read = |(i, bytes): (usize, &Vec<u8>)| {
            load(&format!("Further{}", i + 1), bytes)
                .ok_or_else(|| Error::invalid("report.bad_font", format!("font {} cannot be read", i + 1)))
        };
        let more = more.iter().enumerate().map(read).collect::<Result<_>>()?;
        Ok(Fonts { more })
    }

    fn get(&self, index: usize) -> Option<&Loaded> {
        ours().get(index).or_else(|| self.more.get(index - ours().len()))
    }

    fn has(&self, index: usize, c: char) -> bool {
        self.get(index)
            .is_some_and(|f| f.parsed.lookup_glyph_index(u32::from(c)).is_some_and(|g| g != 0))
    }

    /// A text by the fonts that have its characters. What no font has is written as its code point, `[U+65E5]`, so that
    /// nothing is lost and nothing hides.
    pub(crate) fn runs(&self, face: Face, text: &str) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut push = |font: usize, c: char| match runs.last_mut() {
            Some(run) if run.font == font => run.text.push(c),
            _ => runs.push(Run {
                font,
                text: c.to_string(),
            }),
        };
        let first = face as usize;
        let count = ours().len() + self.more.len();
        for c in text.chars() {
            let c = if matches!(c, '\t' | '\n' | '\r' | '\u{a0}') { ' ' } else { c };
            let order = [first, Face::Text as usize, Face::Mono as usize]
                .into_iter()
                .chain(ours().len()..count);
            if let Some(font) = order.into_iter().find(|f| self.has(*f, c)) {
                push(font, c);
            } else {
                format!("[U+{:04X}]", u32::from(c)).chars().for_each(|c| push(first, c));
            }
        }
        runs
    }

    fn advance(&self, font: usize, c: char) -> f32 {
        let Some(loaded) = self.get(font) else { return 0.0 };
        let glyph = loaded.parsed.lookup_glyph_index(u32::from(c)).unwrap_or(0);
        f32::from(loaded.parsed.get_glyph_width(glyph).unwrap_or(0)) / f32::from(loaded.parsed.units_per_em)
    }

    /// How wide runs are, in points.
    pub(crate) fn width_of(&self, runs: &[Run], size: f32) -> f32 {
        let sum: f32 = runs
            .iter()
            .map(|r| r.text.chars().map(|c| self.advance(r.font, c)).sum::<f32>())
            .sum();
        sum * size
    }

    /// How wide a text is, in points.
    pub(crate) fn width(&self, face: Face, text: &str, size: f32) -> f32 {
        self.width_of(&self.runs(face, text), size)
    }

    /// A text in lines that are no wider than this. It is broken at spaces, where a word is too long behind `/`, `.`,
    /// `-`, `_` and the like, and if nothing else helps between any two characters.
    pub(crate) fn wrap(&self, face: Face, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.split('\n') {
            let mut line = String::new();
            for word in paragraph.split_inclusive(' ') {
                if self.width(face, &format!("{line}{}", word.trim_end()), size) <= width {
                    line.push_str(word);
                    continue;
                }
                if !line.trim().is_empty() {
                    lines.push(line.trim_end().to_owned());
                }
                line.clear();
                let mut rest = word;
                while self.width(face, rest.trim_end(), size) > width {
                    let cut = self.cut(face, rest, size, width);
                    lines.push(rest[..cut].to_owned());
                    rest = &rest[cut..];
                }
                line.push_str(rest);
            }
            lines.push(line.trim_end().to_owned());
        }
        lines
    }

    /// Where a word that is too long is cut: at least behind its first character.
    fn cut(&self, face: Face, word: &str, size: f32, width: f32) -> usize {
        let (mut hard, mut soft, mut sum) = (0, 0, 0.0);
        for (at, c) in word.char_indices() {
            sum += self.width(face, c.encode_utf8(&mut [0; 4]), size);
            let end = at + c.len_utf8();
            if sum > width && hard > 0 {
                break;
            }
            hard = end;
            if matches!(c, '/' | '.' | '-' | '_' | ',' | ':' | '&' | '?' | '=' | ';' | '@') {
                soft = end;
            }
        }
        if soft * 3 > hard { soft } else { hard }
    }

    /// The fonts that carry these characters, cut down to them. By the font's number: the name under which it is
    /// embedded, and the font.
    pub(crate) fn cut_down(&self, used: &BTreeMap<usize, BTreeSet<char>>) -> Result<BTreeMap<usize, (String, ParsedFont)>> {
        let bad = |name: &str, why: String| Error::internal(format!("the font {name} cannot be cut down: {why}"));
        let mut fonts = BTreeMap::new();
        for (index, chars) in used {
            let Some(loaded) = self.get(*index) else { continue };
            let map = &loaded.parsed.codepoint_to_glyph;
            let glyphs: BTreeSet<u16> = chars.iter().filter_map(|c| map.get(&u32::from(*c)).copied()).collect();
            let list: Vec<u16> = std::iter::once(0).chain(glyphs.into_iter().filter(|g| *g != 0)).collect();
            let data = ReadScope::new(&loaded.parsed.original_bytes)
                .read::<FontData<'_>>()
                .map_err(|e| bad(&loaded.name, e.to_string()))?;
            let provider = data.table_provider(0).map_err(|e| bad(&loaded.name, e.to_string()))?;
            let bytes = subset(&provider, &list, &SubsetProfile::Pdf, CmapTarget::Unicode)
                .map_err(|e| bad(&loaded.name, e.to_string()))?;
            let new = |old: u16| list.iter().position(|g| *g == old).and_then(|i| u16::try_from(i).ok());
            // Read again, because a letter may be put together from glyphs that come along.
            let again = ParsedFont::from_bytes(&bytes, 0, &mut Vec::new())
                .ok_or_else(|| bad(&loaded.name, "the part cannot be read".into()))?;
            let letters = chars
                .iter()
                .filter_map(|c| map.get(&u32::from(*c)).and_then(|g| new(*g)).map(|g| (u32::from(*c), g)))
                .collect();
            // Six letters before the name say that it is a part of the font (ISO 32000-1, 9.6.4); they follow from the
            // part, so that equal documents are equal.
            let digest = crate::sha256_hex(&bytes);
            let tag: String = digest.bytes().take(6).map(|b| char::from(b'A' + b % 26)).collect();
            let name = format!("{tag}+{}", loaded.name);
            let mut parsed = loaded.parsed.clone();
            parsed.original_bytes = bytes;
            parsed.codepoint_to_glyph = letters;
            parsed.glyph_widths = again.glyph_widths;
            parsed.font_name = Some(name.clone());
            fonts.insert(*index, (name, parsed));
        }
        Ok(fonts)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_shown_by_a_font_or_by_its_code() {
        let fonts = Fonts::new(&[]).unwrap();
        assert_eq!(ours().len(), 3);
        let text = |face, t: &str| -> String { fonts.runs(face, t).iter().map(|r| r.text.as_str()).collect() };
        for t in ["Zürich, Ελλάδα, Москва, Việt Nam", "Հայերեն", "ქართული", "→ ≥ € ✓"]
        {
            assert_eq!(text(Face::Text, t), t);
        }
        assert_eq!(text(Face::Strong, "日本\u{202e}"), "[U+65E5][U+672C][U+202E]");
        assert_eq!(Fonts::new(&[b"no font".to_vec()]).err().unwrap().code(), "report.bad_font");
    }

    #[test]
    fn lines_hold_everything_and_are_never_too_wide() {
        let fonts = Fonts::new(&[]).unwrap();
        let text = "a first word, https://example.com/a/very/long/path?with=a&query=0123456789012345678901234567890123456789 end";
        for width in [20.0, 60.0, 200.0] {
            let lines = fonts.wrap(Face::Text, text, 9.0, width);
            assert!(lines.iter().all(|l| fonts.width(Face::Text, l, 9.0) <= width), "{lines:?}");
            let squeeze = |s: &str| s.replace(' ', "");
            assert_eq!(squeeze(&lines.concat()), squeeze(text));
        }
        assert_eq!(fonts.wrap(Face::Text, "a\n\nb", 9.0, 100.0), ["a", "", "b"]);
        // Narrower than a letter: still one letter a line, not for ever none.
        assert_eq!(fonts.wrap(Face::Text, "mm", 9.0, 1.0).concat(), "mm");
    }

    #[test]
    fn a_part_of_a_font_has_its_letters_and_the_same_widths() {
        let fonts = Fonts::new(&[]).unwrap();
        let used = BTreeMap::from([(0, BTreeSet::from(['A', 'é', '7', 'Ж']))]);
        let cut = fonts.cut_down(&used).unwrap();
        let (name, font) = &cut[&0];
        assert!(
            name.ends_with("+Inter-Regular") && font.original_bytes.len() < 8_000,
            "{name}"
        );
        let again = ParsedFont::from_bytes(&font.original_bytes, 0, &mut Vec::new()).unwrap();
        for c in ['A', 'é', '7', 'Ж'] {
            let glyph = font.lookup_glyph_index(u32::from(c)).unwrap();
            assert_eq!(again.lookup_glyph_index(u32::from(c)), Some(glyph), "{c}");
            assert_eq!(again.get_glyph_width(glyph), font.get_glyph_width(glyph), "{c}");
        }
    }
}
