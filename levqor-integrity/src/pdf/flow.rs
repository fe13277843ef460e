//! Lays texts, tables and cards out on pages, from top to bottom.

use std::collections::BTreeMap;

use super::canvas::{Item, Page, Paint, Rgb};
use super::font::{Face, Fonts};
use super::write::Bookmark;
use crate::status::Status;

/// Sizes of letters: each a step of about 1.2 above the one before.
pub(crate) const TINY: f32 = 7.0;
pub(crate) const SMALL: f32 = 8.0;
pub(crate) const BODY: f32 = 9.2;
pub(crate) const LARGE: f32 = 11.0;
pub(crate) const HEADING: f32 = 18.0;

/// Lines stand this far apart, by the size of their letters.
pub(crate) const LEADING: f32 = 1.42;

pub(crate) const INK: Rgb = Rgb(0x17, 0x20, 0x2e);
pub(crate) const MUTED: Rgb = Rgb(0x52, 0x5e, 0x6e);
pub(crate) const LINE: Rgb = Rgb(0xd5, 0xdb, 0xe3);
pub(crate) const BAND: Rgb = Rgb(0xf2, 0xf5, 0xf8);

/// The margins: left and right, top, bottom.
pub(crate) const SIDE: f32 = 50.0;
pub(crate) const TOP: f32 = 76.0;
pub(crate) const BOTTOM: f32 = 64.0;

/// A status as it is seen: its colour. Every status has a shape and its word as well.
pub(crate) fn color_of(status: Status) -> Rgb {
    match status {
        Status::Pass => Rgb(0x12, 0x6b, 0x3a),
        Status::Warn => Rgb(0x8a, 0x55, 0x00),
        Status::Fail => Rgb(0xb0, 0x1f, 0x1f),
        Status::Error => Rgb(0x76, 0x35, 0x9c),
        Status::Skip => Rgb(0x5a, 0x64, 0x72),
        Status::Blocked => Rgb(0x3d, 0x45, 0x51),
        Status::Waived => Rgb(0x14, 0x5d, 0x86),
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) face: Face,
    pub(crate) size: f32,
    pub(crate) color: Rgb,
    pub(crate) right: bool,
    pub(crate) status: Option<Status>,
    pub(crate) page_of: Option<String>,
    pub(crate) link: Option<String>,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Cell {
            text: text.into(),
            face: Face::Text,
            size: SMALL,
            color: INK,
            right: false,
            status: None,
            page_of: None,
            link: None,
        }
    }

    pub(crate) fn mono(text: impl Into<String>) -> Self {
        Cell {
            face: Face::Mono,
            size: TINY,
            ..Cell::new(text)
        }
    }

    pub(crate) fn strong(text: impl Into<String>) -> Self {
        Cell {
            face: Face::Strong,
            ..Cell::new(text)
        }
    }

    pub(crate) fn number(text: impl Into<String>) -> Self {
        Cell {
            right: true,
            ..Cell::new(text)
        }
    }

    pub(crate) fn status(status: Status) -> Self {
        Cell {
            status: Some(status),
            ..Cell::new(String::new())
        }
    }

    /// The page of an anchor.
    pub(crate) fn page(anchor: String) -> Self {
        Cell {
            right: true,
            link: Some(anchor.clone()),
            page_of: Some(anchor),
            ..Cell::new(String::new())
        }
    }

    pub(crate) fn muted(mut self) -> Self {
        self.color = MUTED;
        self
    }

    pub(crate) fn to(mut self, anchor: String) -> Self {
        self.link = Some(anchor);
        self
    }
}

/// A column: its head, and how wide it is. `Fixed` are points; what is left goes to the others by their shares.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    Fixed(f32),
    Share(f32),
}

/// A document that grows.
pub(crate) struct Flow<'a> {
    pub(crate) fonts: &'a Fonts,
    pub(crate) size: (f32, f32),
    pub(crate) accent: Rgb,
    pub(crate) pages: Vec<Page>,
    pub(crate) y: f32,
    pub(crate) anchors: BTreeMap<String, (usize, f32)>,
    pub(crate) bookmarks: Vec<Bookmark>,
    /// The title of the chapter that each page belongs to.
    pub(crate) chapters: Vec<String>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(fonts: &'a Fonts, size: (f32, f32), accent: Rgb) -> Self {
        Flow {
            fonts,
            size,
            accent,
            pages: Vec::new(),
            y: TOP,
            anchors: BTreeMap::new(),
            bookmarks: Vec::new(),
            chapters: Vec::new(),
        }
    }

    pub(crate) fn width(&self) -> f32 {
        self.size.0 - 2.0 * SIDE
    }

    pub(crate) fn left(&self) -> f32 {
        self.size.1 - BOTTOM - self.y
    }

    pub(crate) fn page(&mut self) -> &mut Page {
        if self.pages.is_empty() {
            self.new_page("");
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    pub(crate) fn new_page(&mut self, chapter: &str) {
        let chapter = if chapter.is_empty() {
            self.chapters.last().cloned().unwrap_or_default()
        } else {
            chapter.to_owned()
        };
        self.pages.push(Page::default());
        self.chapters.push(chapter);
        self.y = TOP;
    }

    /// A new page if there is not this much room.
    pub(crate) fn need(&mut self, height: f32) {
        if self.left() < height && self.y > TOP {
            self.new_page("");
        }
    }

    pub(crate) fn gap(&mut self, height: f32) {
        self.y += height;
    }

    pub(crate) fn anchor(&mut self, name: impl Into<String>) {
        let page = self.pages.len().saturating_sub(1);
        self.anchors.insert(name.into(), (page, self.y - 6.0));
    }

    fn bookmark(&mut self, title: &str, level: u8) {
        self.bookmarks.push(Bookmark {
            title: title.to_owned(),
            page: self.pages.len().saturating_sub(1),
            y: self.y - 8.0,
            level,
        });
    }

    /// A chapter: on a new page, or below a rule if there is room for it.
    pub(crate) fn chapter(&mut self, number: usize, title: &str, new_page: bool) {
        if new_page || self.pages.is_empty() || self.left() < 200.0 {
            self.new_page(title);
        } else {
            self.gap(26.0);
        }
        self.bookmark(&format!("{number}. {title}"), 0);
        self.anchor(format!("chapter-{number}"));
        let (y, accent, fonts) = (self.y, self.accent, self.fonts);
        let page = self.page();
        page.text(
            fonts,
            (SIDE, y + HEADING),
            Face::Strong,
            HEADING,
            accent,
            &format!("{number}"),
        );
        let indent = fonts.width(Face::Strong, "00", HEADING) + 8.0;
        page.text(fonts, (SIDE + indent, y + HEADING), Face::Strong, HEADING, INK, title);
        page.rect((SIDE, y + HEADING + 9.0), (indent - 8.0, 2.2), 1.1, Paint::fill(accent));
        self.y += HEADING + 24.0;
    }

    /// A heading within a chapter. It stays with what comes behind it.
    pub(crate) fn heading(&mut self, title: &str, keep: f32) {
        // A table needs room for its head and a row.
        self.need(LARGE * LEADING + 14.0 + keep.max(64.0));
        if self.y > TOP {
            self.gap(10.0);
        }
        let (y, fonts) = (self.y, self.fonts);
        let lines = fonts.wrap(Face::Strong, title, LARGE, self.width());
        for (i, line) in lines.iter().enumerate() {
            self.page().text(
                fonts,
                (SIDE, y + LARGE + i as f32 * LARGE * LEADING),
                Face::Strong,
                LARGE,
                INK,
                line,
            );
        }
        self.y += lines.len() as f32 * LARGE * LEADING + 5.0;
    }

    /// A heading that also stands in the outline.
    pub(crate) fn entry(&mut self, title: &str) {
        self.bookmark(title, 1);
    }

    /// Text over the whole width.
    pub(crate) fn paragraph(&mut self, text: &str) {
        self.text(text, Face::Text, BODY, INK, 0.0);
        self.gap(4.0);
    }

    /// Text, moved in from the left.
    pub(crate) fn text(&mut self, text: &str, face: Face, size: f32, color: Rgb, indent: f32) {
        let lines = self.fonts.wrap(face, text, size, self.width() - indent);
        for line in lines {
            self.need(size * LEADING);
            let (y, fonts) = (self.y, self.fonts);
            self.page().text(fonts, (SIDE + indent, y + size), face, size, color, &line);
            self.y += size * LEADING;
        }
    }

    /// Points of a list.
    pub(crate) fn bullets(&mut self, items: &[String]) {
        for item in items {
            self.need(BODY * LEADING);
            let (y, accent) = (self.y, self.accent);
            self.page().circle((SIDE + 4.0, y + BODY * 0.66), 1.6, Paint::fill(accent));
            self.text(item, Face::Text, BODY, INK, 14.0);
            self.gap(3.0);
        }
    }

    /// Lines of a program, on a band.
    pub(crate) fn code(&mut self, text: &str) {
        const PAD: f32 = 7.0;
        let lines = self.fonts.wrap(Face::Mono, text.trim_end(), 7.4, self.width() - 2.0 * PAD);
        let step = 7.4 * 1.5;
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            self.need(step + 2.0 * PAD);
            let fit = (((self.left() - 2.0 * PAD) / step) as usize).clamp(1, rest.len());
            let height = fit as f32 * step + 2.0 * PAD;
            let (y, fonts, width) = (self.y, self.fonts, self.width());
            let page = self.page();
            page.rect((SIDE, y), (width, height), 3.0, Paint::fill(BAND));
            for (i, line) in rest[..fit].iter().enumerate() {
                let base = y + PAD + i as f32 * step + 7.4;
                page.text(fonts, (SIDE + PAD, base), Face::Mono, 7.4, INK, line);
            }
            self.y += height;
            rest = &rest[fit..];
            if !rest.is_empty() {
                self.new_page("");
            }
        }
        self.gap(6.0);
    }

    fn widths(columns: &[(&str, Width)], width: f32) -> Vec<f32> {
        let fixed: f32 = columns
            .iter()
            .map(|(_, w)| if let Width::Fixed(w) = w { *w } else { 0.0 })
            .sum();
        let shares: f32 = columns
            .iter()
            .map(|(_, w)| if let Width::Share(s) = w { *s } else { 0.0 })
            .sum();
        let free = width - fixed;
        let of = |w: &Width| match w {
            Width::Fixed(w) => *w,
            Width::Share(s) => free * s / shares,
        };
        columns.iter().map(|(_, w)| of(w)).collect()
    }

    /// A table. Its head is repeated on every page; a row that does not fit goes to the next page, and one that fits on no
    /// page is divided.
    pub(crate) fn table(&mut self, columns: &[(&str, Width)], rows: &[Vec<Cell>]) {
        const PAD: f32 = 3.5;
        let widths = Self::widths(columns, self.width());
        let head = |flow: &mut Self| {
            let (y, fonts, width, accent) = (flow.y, flow.fonts, flow.width(), flow.accent);
            let right: Vec<bool> = (0..columns.len())
                .map(|i| rows.first().and_then(|r| r.get(i)).is_some_and(|c| c.right))
                .collect();
            let page = flow.page();
            page.rect((SIDE, y), (width, 17.0), 0.0, Paint::fill(BAND));
            page.line((SIDE, y + 17.0), (SIDE + width, y + 17.0), accent, 0.8);
            let mut x = SIDE;
            for (i, (title, _)) in columns.iter().enumerate() {
                if right[i] {
                    page.text_left_of(fonts, (x + widths[i] - PAD, y + 11.4), Face::Strong, TINY, MUTED, title);
                } else {
                    page.text(fonts, (x + PAD, y + 11.4), Face::Strong, TINY, MUTED, title);
                }
                x += widths[i];
            }
            flow.y += 17.0;
        };
        let titled = columns.iter().any(|(t, _)| !t.is_empty());
        self.need(60.0);
        if titled {
            head(self);
        }
        for row in rows {
            let lines: Vec<Vec<String>> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| self.fonts.wrap(cell.face, &cell.text, cell.size, width - 2.0 * PAD))
                .collect();
            let step = row.iter().map(|c| c.size).fold(TINY, f32::max) * 1.36;
            let total = lines.iter().map(Vec::len).max().unwrap_or(1);
            let mut from = 0;
            while from < total {
                let room = ((self.left() - 2.0 * PAD) / step).max(0.0) as usize;
                let rest = total - from;
                let whole = ((self.size.1 - TOP - BOTTOM - 40.0) / step) as usize;
                if room < rest && (rest <= whole || room < 3) {
                    self.new_page("");
                    if titled {
                        head(self);
                    }
                    continue;
                }
                let count = room.min(rest);
                self.row(row, &lines, &widths, (from, count), step);
                from += count;
            }
        }
        self.gap(8.0);
    }

    fn row(&mut self, row: &[Cell], lines: &[Vec<String>], widths: &[f32], part: (usize, usize), step: f32) {
        const PAD: f32 = 3.5;
        let (from, count) = part;
        let height = count as f32 * step + 2.0 * PAD;
        let (y, fonts, width) = (self.y, self.fonts, self.width());
        let accent = self.accent.readable_on(Rgb::WHITE);
        let page = self.page();
        let mut x = SIDE;
        for ((cell, lines), width) in row.iter().zip(lines).zip(widths) {
            let color = if cell.link.is_some() && cell.color == INK {
                accent
            } else {
                cell.color
            };
            for (i, line) in lines.iter().skip(from).take(count).enumerate() {
                let base = y + PAD + i as f32 * step + step * 0.74;
                if cell.right {
                    page.text_left_of(fonts, (x + width - PAD, base), cell.face, cell.size, color, line);
                } else {
                    page.text(fonts, (x + PAD, base), cell.face, cell.size, color, line);
                }
            }
            if from == 0 {
                if let Some(status) = cell.status {
                    badge(page, fonts, (x + PAD, y + PAD - 1.2), status);
                }
                if let Some(anchor) = &cell.page_of {
                    page.items.push(Item::PageOf {
                        anchor: anchor.clone(),
                        right: (x + width - PAD, y + PAD + step * 0.74),
                        face: Face::Text,
                        size: cell.size,
                        color,
                    });
                }
                if let Some(anchor) = &cell.link {
                    page.link((x, y), (*width, height), anchor.clone());
                }
            }
            x += width;
        }
        page.line((SIDE, y + height), (SIDE + width, y + height), LINE, 0.5);
        self.y += height;
    }

    /// Names and values, one below the other.
    pub(crate) fn pairs(&mut self, rows: &[(String, Cell)]) {
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .map(|(name, value)| vec![Cell::strong(name.as_str()).muted(), value.clone()])
            .collect();
        self.table(&[("", Width::Fixed(112.0)), ("", Width::Share(1.0))], &rows);
    }
}

/// How wide a badge is.
pub(crate) const BADGE: f32 = 58.0;

/// A status: a shape, its word and its colour, in this order of importance.
pub(crate) fn badge(page: &mut Page, fonts: &Fonts, at: (f32, f32), status: Status) {
    let color = color_of(status);
    let tint = Rgb::WHITE.mix(color, 10);
    page.rect(at, (BADGE - 2.0, 12.6), 3.0, Paint::fill(tint));
    mark(page, (at.0 + 7.4, at.1 + 6.3), 3.2, status);
    page.text(
        fonts,
        (at.0 + 14.6, at.1 + 9.0),
        Face::Strong,
        7.2,
        color.readable_on(tint),
        status.word(),
    );
}

/// The shape of a status.
pub(crate) fn mark(page: &mut Page, centre: (f32, f32), r: f32, status: Status) {
    let color = color_of(status);
    let (x, y) = centre;
    let white = Rgb::WHITE;
    match status {
        Status::Pass => {
            page.circle(centre, r, Paint::fill(color));
            let tick = vec![(x - r * 0.5, y), (x - r * 0.1, y + r * 0.42), (x + r * 0.55, y - r * 0.4)];
            page.path(tick, false, Paint::stroke(white, r * 0.28));
        }
        Status::Warn => {
            let triangle = vec![(x, y - r * 1.1), (x + r * 1.15, y + r * 0.9), (x - r * 1.15, y + r * 0.9)];
            page.path(triangle, true, Paint::fill(color));
            page.line((x, y - r * 0.4), (x, y + r * 0.25), white, r * 0.28);
            page.line((x, y + r * 0.45), (x, y + r * 0.72), white, r * 0.28);
        }
        Status::Fail => {
            page.rect((x - r, y - r), (2.0 * r, 2.0 * r), r * 0.2, Paint::fill(color));
            let d = r * 0.45;
            page.line((x - d, y - d), (x + d, y + d), white, r * 0.3);
            page.line((x - d, y + d), (x + d, y - d), white, r * 0.3);
        }
        Status::Error => {
            let d = r * 1.25;
            page.path(vec![(x, y - d), (x + d, y), (x, y + d), (x - d, y)], true, Paint::fill(color));
            page.line((x, y - r * 0.55), (x, y + r * 0.15), white, r * 0.28);
            page.line((x, y + r * 0.4), (x, y + r * 0.66), white, r * 0.28);
        }
        Status::Skip => {
            page.circle(centre, r * 0.9, Paint::stroke(color, r * 0.28));
            page.line((x - r * 0.4, y), (x + r * 0.4, y), color, r * 0.28);
        }
        Status::Blocked => {
            page.circle(centre, r * 0.9, Paint::stroke(color, r * 0.34));
            let d = r * 0.62;
            page.line((x - d, y + d), (x + d, y - d), color, r * 0.34);
        }
        Status::Waived => {
            let d = r * 0.95;
            let hexagon = vec![
                (x - d, y),
                (x - d * 0.5, y - d),
                (x + d * 0.5, y - d),
                (x + d, y),
                (x + d * 0.5, y + d),
                (x - d * 0.5, y + d),
            ];
            page.path(hexagon, true, Paint::fill(color));
            page.line((x - r * 0.4, y), (x + r * 0.4, y), white, r * 0.28);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_can_be_read_on_paper_and_on_its_tint() {
        for status in Status::ALL {
            let color = color_of(status);
            assert!(color.contrast(Rgb::WHITE) >= 4.5, "{status:?}");
            let tint = Rgb::WHITE.mix(color, 10);
            assert!(color.readable_on(tint).contrast(tint) >= 4.5, "{status:?}");
        }
        assert!(MUTED.contrast(BAND) >= 4.5 && INK.contrast(BAND) >= 4.5);
    }
}
