//! What stands on pages, before it is a PDF: in points, from the top left.

use super::font::{Face, Fonts, Run};

/// A colour, red, green and blue from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) u8, pub(crate) u8, pub(crate) u8);

impl Rgb {
    pub(crate) const WHITE: Rgb = Rgb(255, 255, 255);

    /// `#1f4b99`
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix('#').filter(|h| h.len() == 6 && h.is_ascii())?;
        let part = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).ok();
        Some(Rgb(part(0)?, part(2)?, part(4)?))
    }

    /// Relative luminance, from 0 to 1 (WCAG 2.1).
    pub(crate) fn luminance(self) -> f32 {
        let part = |v: u8| {
            let v = f32::from(v) / 255.0;
            if v <= 0.04045 {
                v / 12.92
            } else {
                ((v + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * part(self.0) + 0.7152 * part(self.1) + 0.0722 * part(self.2)
    }

    /// The contrast of two colours, from 1 to 21 (WCAG 2.1).
    pub(crate) fn contrast(self, other: Rgb) -> f32 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// A mixture: `part` of 100 parts are the other.
    pub(crate) fn mix(self, other: Rgb, part: u16) -> Rgb {
        let one = |a: u8, b: u8| {
            let sum = u16::from(a) * (100 - part) + u16::from(b) * part;
            u8::try_from(sum / 100).unwrap_or(u8::MAX)
        };
        Rgb(one(self.0, other.0), one(self.1, other.1), one(self.2, other.2))
    }

    /// The same colour, as much darker as it takes to be read on this background.
    pub(crate) fn readable_on(self, background: Rgb) -> Rgb {
        let black = Rgb(0, 0, 0);
        (0..=10)
            .map(|i| self.mix(black, i * 10))
            .find(|c| c.contrast(background) >= 4.5)
            .unwrap_or(black)
    }
}

/// How an outline is filled and drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    pub(crate) fill: Option<Rgb>,
    pub(crate) stroke: Option<(Rgb, f32)>,
}

impl Paint {
    pub(crate) fn fill(color: Rgb) -> Self {
        Paint {
            fill: Some(color),
            stroke: None,
        }
    }

    pub(crate) fn stroke(color: Rgb, width: f32) -> Self {
        Paint {
            fill: None,
            stroke: Some((color, width)),
        }
    }
}

/// One thing on a page.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Rect {
        at: (f32, f32),
        size: (f32, f32),
        radius: f32,
        paint: Paint,
    },
    /// Points joined by straight lines, closed if it is an area.
    Path {
        points: Vec<(f32, f32)>,
        closed: bool,
        paint: Paint,
    },
    Circle {
        centre: (f32, f32),
        radius: f32,
        paint: Paint,
    },
    /// On a line, from the left.
    Text {
        at: (f32, f32),
        runs: Vec<Run>,
        size: f32,
        color: Rgb,
    },
    /// The page of an anchor, to the left of this place. Known when everything is laid out.
    PageOf {
        anchor: String,
        right: (f32, f32),
        face: Face,
        size: f32,
        color: Rgb,
    },
    Link {
        at: (f32, f32),
        size: (f32, f32),
        /// The anchor that it leads to.
        to: String,
    },
    Image {
        at: (f32, f32),
        size: (f32, f32),
        name: String,
    },
}

/// A page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
}

impl Page {
    pub(crate) fn rect(&mut self, at: (f32, f32), size: (f32, f32), radius: f32, paint: Paint) {
        self.items.push(Item::Rect { at, size, radius, paint });
    }

    pub(crate) fn line(&mut self, from: (f32, f32), to: (f32, f32), color: Rgb, width: f32) {
        self.path(vec![from, to], false, Paint::stroke(color, width));
    }

    pub(crate) fn path(&mut self, points: Vec<(f32, f32)>, closed: bool, paint: Paint) {
        self.items.push(Item::Path { points, closed, paint });
    }

    pub(crate) fn circle(&mut self, centre: (f32, f32), radius: f32, paint: Paint) {
        self.items.push(Item::Circle { centre, radius, paint });
    }

    /// Writes a text; `at` is the left end of its baseline.
    pub(crate) fn text(&mut self, fonts: &Fonts, at: (f32, f32), face: Face, size: f32, color: Rgb, text: &str) {
        let runs = fonts.runs(face, text);
        if !runs.is_empty() {
            self.items.push(Item::Text { at, runs, size, color });
        }
    }

    /// The same, with `at` as the right end.
    pub(crate) fn text_left_of(&mut self, fonts: &Fonts, at: (f32, f32), face: Face, size: f32, color: Rgb, text: &str) {
        let width = fonts.width(face, text, size);
        self.text(fonts, (at.0 - width, at.1), face, size, color, text);
    }

    pub(crate) fn link(&mut self, at: (f32, f32), size: (f32, f32), to: String) {
        self.items.push(Item::Link { at, size, to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_made_readable() {
        assert_eq!(Rgb::parse("#1f4b99"), Some(Rgb(0x1f, 0x4b, 0x99)));
        for bad in ["1f4b99", "#1f4b9", "#1f4b9x", "#ééé"] {
            assert_eq!(Rgb::parse(bad), None, "{bad}");
        }
        assert!((Rgb::WHITE.contrast(Rgb(0, 0, 0)) - 21.0).abs() < 0.01);
        for shrill in [Rgb(255, 255, 0), Rgb(120, 220, 255), Rgb(31, 75, 153)] {
            assert!(shrill.readable_on(Rgb::WHITE).contrast(Rgb::WHITE) >= 4.5);
        }
    }
}
