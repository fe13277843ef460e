//! The cover.

use super::canvas::{Item, Paint, Rgb};
use super::chart::{like, qr};
use super::flow::{BAND, BODY, Flow, INK, LARGE, MUTED, SIDE, SMALL, TINY, color_of, mark};
use super::font::Face;
use super::frame::on;
use super::look::Look;
use crate::report::Report;
use crate::status::Status;

/// What the verdict is in: the whole page that somebody reads who reads one page.
pub(crate) fn cover(flow: &mut Flow<'_>, report: &Report, look: &Look) {
    let title = if look.title.is_empty() { &report.title } else { &look.title };
    flow.new_page(title);
    flow.bookmarks.push(super::write::Bookmark {
        title: title.clone(),
        page: 0,
        y: 0.0,
        level: 0,
    });
    band(flow, look, title, &report.system);
    let fonts = flow.fonts;
    let width = flow.width();
    flow.y = 292.0;
    for (name, value) in [
        ("System", report.system.clone()),
        ("Environment", report.environment.clone()),
        ("Time (UTC)", window(report)),
        ("Report id", format!("{}, run number {}", report.id, report.number)),
    ] {
        let y = flow.y;
        flow.page().text(fonts, (SIDE, y + BODY), Face::Strong, BODY, MUTED, name);
        let lines = fonts.wrap(Face::Text, &value, BODY, width - 110.0);
        // A name can be long; the cover is one page all the same, and the whole name stands in the next chapter.
        for line in lines.iter().take(3) {
            let y = flow.y;
            flow.page().text(fonts, (SIDE + 110.0, y + BODY), Face::Text, BODY, INK, line);
            flow.y += BODY * 1.5;
        }
        flow.y += 3.0;
    }
    verdict(flow, report);
    seal(flow, report);
    let bottom = flow.size.1 - 92.0;
    let page = flow.page();
    let color = MUTED;
    if !look.classification.is_empty() {
        let text = super::chart::fitted(fonts, Face::Strong, &look.classification.to_uppercase(), SMALL, width);
        page.text(fonts, (SIDE, bottom), Face::Strong, SMALL, INK, &text);
    }
    for (i, line) in fonts.wrap(Face::Text, &look.footer, TINY, width).iter().take(3).enumerate() {
        page.text(fonts, (SIDE, bottom + 12.0 + i as f32 * 9.5), Face::Text, TINY, color, line);
    }
}

fn window(report: &Report) -> String {
    match &report.period {
        Some(period) => format!("{} to {} (a run every {})", period.from, period.until, period.every),
        None => format!("{} to {} (point in time)", report.started, report.ended),
    }
}

/// The ground of the title, with logo and company.
pub(crate) fn band(flow: &mut Flow<'_>, look: &Look, title: &str, system: &str) {
    let accent = look.accent;
    let ink = on(accent);
    let (page_width, fonts, width) = (flow.size.0, flow.fonts, flow.width());
    let page = flow.page();
    page.rect((0.0, 0.0), (page_width, 252.0), 0.0, Paint::fill(accent));
    page.rect((0.0, 252.0), (page_width, 4.0), 0.0, Paint::fill(accent.mix(ink, 35)));
    let mut x = SIDE;
    if let Some(logo) = &look.logo {
        let scale = (120.0 / logo.width as f32).min(40.0 / logo.height as f32);
        let size = (logo.width as f32 * scale, logo.height as f32 * scale);
        page.rect((x - 6.0, 46.0), (size.0 + 12.0, size.1 + 12.0), 4.0, Paint::fill(Rgb::WHITE));
        page.items.push(Item::Image {
            at: (x, 52.0),
            size,
            name: "logo".into(),
        });
        x += size.0 + 22.0;
    }
    let company = if look.company.is_empty() { system } else { &look.company };
    for (i, line) in fonts
        .wrap(Face::Strong, company, LARGE, page_width - SIDE - x)
        .iter()
        .take(2)
        .enumerate()
    {
        page.text(fonts, (x, 74.0 + i as f32 * 15.0), Face::Strong, LARGE, ink, line);
    }
    let size = if fonts.width(Face::Strong, title, 34.0) > 2.0 * width {
        22.0
    } else {
        34.0
    };
    let lines = fonts.wrap(Face::Strong, title, size, width);
    let lines = &lines[..lines.len().min(3)];
    let first = 226.0 - (lines.len() as f32 - 1.0) * size * 1.16;
    for (i, line) in lines.iter().enumerate() {
        page.text(fonts, (SIDE, first + i as f32 * size * 1.16), Face::Strong, size, ink, line);
    }
}

/// The word, and how many ended how.
fn verdict(flow: &mut Flow<'_>, report: &Report) {
    const HEIGHT: f32 = 86.0;
    flow.gap(14.0);
    let status = like(report.verdict);
    let color = color_of(status);
    let tint = Rgb::WHITE.mix(color, 8);
    let (y, width, fonts) = (flow.y, flow.width(), flow.fonts);
    let page = flow.page();
    page.rect((SIDE, y), (width, HEIGHT), 6.0, Paint::fill(tint));
    page.rect((SIDE, y), (5.0, HEIGHT), 2.0, Paint::fill(color));
    page.text(fonts, (SIDE + 22.0, y + 25.0), Face::Strong, SMALL, MUTED, "VERDICT");
    mark(page, (SIDE + 34.0, y + 54.0), 12.0, status);
    page.text(
        fonts,
        (SIDE + 58.0, y + 63.0),
        Face::Strong,
        26.0,
        color.readable_on(tint),
        report.verdict.words(),
    );
    let y = y + HEIGHT + 18.0;
    let c = report.counts;
    let step = width / 8.0;
    for (i, status) in Status::ALL.into_iter().enumerate() {
        let x = SIDE + i as f32 * step;
        page.text(fonts, (x, y + 18.0), Face::Strong, 20.0, INK, &c.get(status).to_string());
        mark(page, (x + 3.4, y + 29.0), 3.0, status);
        page.text(fonts, (x + 10.0, y + 31.6), Face::Text, TINY, MUTED, status.word());
    }
    let x = SIDE + 7.0 * step;
    page.line((x - 8.0, y), (x - 8.0, y + 32.0), MUTED, 0.6);
    page.text(fonts, (x, y + 18.0), Face::Strong, 20.0, INK, &c.total.to_string());
    page.text(fonts, (x, y + 31.6), Face::Text, TINY, MUTED, "CHECKS IN ALL");
    flow.y = y + 48.0;
}

/// The digest of the evidence, to be read and to be scanned.
fn seal(flow: &mut Flow<'_>, report: &Report) {
    const SIDE_OF_CODE: f32 = 84.0;
    let (fonts, width) = (flow.fonts, flow.width());
    let y = (flow.size.1 - 226.0).max(flow.y);
    let page = flow.page();
    page.rect((SIDE, y), (width, SIDE_OF_CODE + 24.0), 6.0, Paint::fill(BAND));
    page.rect(
        (SIDE + 8.0, y + 8.0),
        (SIDE_OF_CODE + 8.0, SIDE_OF_CODE + 8.0),
        3.0,
        Paint::fill(Rgb::WHITE),
    );
    qr(
        page,
        (SIDE + 12.0, y + 12.0),
        SIDE_OF_CODE,
        &format!("sha256:{}", report.evidence_sha256),
    );
    let x = SIDE + SIDE_OF_CODE + 34.0;
    page.text(fonts, (x, y + 26.0), Face::Strong, BODY, INK, "SHA-256 of evidence.json");
    let digest = &report.evidence_sha256;
    let half = digest.len() / 2;
    for (i, part) in [digest.get(..half), digest.get(half..)].into_iter().flatten().enumerate() {
        page.text(fonts, (x, y + 44.0 + i as f32 * 14.0), Face::Mono, BODY, INK, part);
    }
    let room = width - SIDE_OF_CODE - 50.0;
    let text = "This document shows what evidence.json says. The signed statement beside it holds the digests of both; \
                chapter 1 says how to verify them.";
    for (i, line) in fonts.wrap(Face::Text, text, SMALL, room).iter().enumerate() {
        page.text(fonts, (x, y + 76.0 + i as f32 * 11.0), Face::Text, SMALL, MUTED, line);
    }
    flow.y = y + SIDE_OF_CODE + 24.0;
}
