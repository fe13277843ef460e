//! What stands on every page: header and footer; and the end of a document.

use std::collections::BTreeMap;

use levqor_core::error::Result;

use super::canvas::{Item, Rgb};
use super::chart::fitted;
use super::flow::{Flow, LINE, MUTED, SIDE, TINY};
use super::font::Face;
use super::look::Look;
use super::write::{Script, write};
use crate::report::Report;

/// What headers and footers say.
pub(crate) struct Frame<'a> {
    pub(crate) company: String,
    pub(crate) title: String,
    pub(crate) subject: String,
    /// The parts of the footer, the page number besides.
    pub(crate) foot: Vec<String>,
    pub(crate) date: String,
    pub(crate) look: &'a Look,
}

impl<'a> Frame<'a> {
    pub(crate) fn of(report: &Report, look: &'a Look) -> Self {
        let title = if look.title.is_empty() {
            report.title.clone()
        } else {
            look.title.clone()
        };
        Frame {
            company: if look.company.is_empty() {
                report.system.clone()
            } else {
                look.company.clone()
            },
            subject: format!("{} ({}), {}", report.system, report.environment, report.id),
            title,
            foot: vec![
                report.id.clone(),
                format!("evidence {}", &report.evidence_sha256.get(..16).unwrap_or_default()),
                look.classification.clone(),
                report.started.clone(),
            ],
            date: report.started.clone(),
            look,
        }
    }
}

/// Draws headers and footers, and writes the document. The first page is a cover, which has no header.
pub(crate) fn finish(mut flow: Flow<'_>, frame: &Frame<'_>) -> Result<Vec<u8>> {
    let total = flow.pages.len();
    let (width, height) = flow.size;
    let fonts = flow.fonts;
    let chapters = std::mem::take(&mut flow.chapters);
    for (i, page) in flow.pages.iter_mut().enumerate() {
        let right = width - SIDE;
        if i > 0 {
            let company = fitted(fonts, Face::Strong, &frame.company, TINY, width * 0.32);
            page.text(fonts, (SIDE, 42.0), Face::Strong, TINY, MUTED, &company);
            let x = SIDE + fonts.width(Face::Strong, &company, TINY) + 6.0;
            let title = fitted(fonts, Face::Text, &frame.title, TINY, width * 0.26);
            page.text(fonts, (x, 42.0), Face::Text, TINY, MUTED, &title);
            let chapter = fitted(fonts, Face::Text, &chapters[i], TINY, width * 0.26);
            page.text_left_of(fonts, (right, 42.0), Face::Text, TINY, MUTED, &chapter);
            page.line((SIDE, 49.0), (right, 49.0), LINE, 0.5);
        }
        let y = height - 34.0;
        page.line((SIDE, y - 12.0), (right, y - 12.0), LINE, 0.5);
        let number = format!("page {} of {total}", i + 1);
        page.text_left_of(fonts, (right, y), Face::Strong, TINY, MUTED, &number);
        let room = right - SIDE - fonts.width(Face::Strong, &number, TINY) - 12.0;
        let parts: Vec<&str> = frame.foot.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let foot = fitted(fonts, Face::Text, &parts.join("  |  "), TINY, room);
        page.text(fonts, (SIDE, y), Face::Text, TINY, MUTED, &foot);
    }
    let mut pictures = BTreeMap::new();
    let shown = flow
        .pages
        .iter()
        .flat_map(|p| &p.items)
        .any(|i| matches!(i, Item::Image { .. }));
    if let Some(logo) = frame.look.logo.as_ref().filter(|_| shown) {
        pictures.insert("logo".to_owned(), logo.clone());
    }
    write(&Script {
        fonts,
        size: flow.size,
        pages: flow.pages,
        anchors: flow.anchors,
        bookmarks: flow.bookmarks,
        pictures,
        title: frame.title.clone(),
        author: frame.company.clone(),
        subject: frame.subject.clone(),
        date: frame.date.clone(),
    })
}

/// Black or white, whichever is read better on this ground.
pub(crate) fn on(ground: Rgb) -> Rgb {
    let black = Rgb(0x10, 0x16, 0x20);
    if Rgb::WHITE.contrast(ground) >= black.contrast(ground) {
        Rgb::WHITE
    } else {
        black
    }
}
