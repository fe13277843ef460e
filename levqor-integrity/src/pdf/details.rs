//! The results: all on one table, and each on a card of its own.

use super::canvas::{Paint, Rgb};
use super::flow::{BADGE, BAND, Cell, Flow, INK, LARGE, LINE, MUTED, SIDE, TINY, TOP, Width, badge, color_of};
use super::font::Face;
use crate::report::{Card, Report};

/// 6: one line for every check.
pub(crate) fn results(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(6, "Results", false);
    if report.cards.is_empty() {
        flow.paragraph("No check took part in this run, so nothing was shown.");
        return;
    }
    let rows: Vec<Vec<Cell>> = report
        .cards
        .iter()
        .enumerate()
        .map(|(i, card)| {
            let first = card.findings.first();
            let expected = first.map(|f| f.expected.clone()).filter(|e| !e.is_empty());
            let actual = first.map(|f| {
                if f.actual.is_empty() {
                    f.message.clone()
                } else {
                    f.actual.clone()
                }
            });
            let seen = card.blocked_by.as_ref().map(|b| format!("blocked by {b}"));
            let time = card.time.0.get(11..19).unwrap_or_default();
            vec![
                Cell::number((i + 1).to_string()).muted(),
                Cell::new(card.id.as_str()).to(format!("check-{}", card.id)),
                small(Cell::new(expected.unwrap_or_else(|| card.objective.clone())).muted()),
                small(Cell::new(seen.or(actual).unwrap_or_else(|| card.summary.clone()))),
                Cell::status(card.status),
                Cell::number(card.millis.to_string()),
                Cell::number(time),
                Cell::page(format!("check-{}", card.id)),
            ]
        })
        .collect();
    flow.table(
        &[
            ("#", Width::Fixed(24.0)),
            ("Check", Width::Share(0.95)),
            ("Expected", Width::Share(1.15)),
            ("Actual", Width::Share(1.0)),
            ("Status", Width::Fixed(BADGE + 6.0)),
            ("ms", Width::Fixed(34.0)),
            ("UTC", Width::Fixed(44.0)),
            ("Page", Width::Fixed(28.0)),
        ],
        &rows,
    );
    flow.text(
        "The controls that each check supports stand on its card and in chapter 5.",
        Face::Text,
        TINY,
        MUTED,
        0.0,
    );
}

fn small(cell: Cell) -> Cell {
    Cell { size: 7.2, ..cell }
}

/// 7: a card for every check.
pub(crate) fn cards(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(7, "Details", false);
    for card in &report.cards {
        one(flow, card);
    }
}

/// Lines of a card, laid out before it is known where it goes.
struct Part {
    label: &'static str,
    lines: Vec<String>,
    face: Face,
    size: f32,
    color: Rgb,
}

impl Part {
    fn step(&self) -> f32 {
        self.size * 1.32
    }
}

const LABEL: f32 = 58.0;
/// The size of letters on cards.
const CARD: f32 = 7.7;
const PAD: f32 = 8.0;

fn one(flow: &mut Flow<'_>, card: &Card) {
    let fonts = flow.fonts;
    let room = flow.width() - LABEL - 2.0 * PAD - 4.0;
    let mut parts: Vec<Part> = Vec::new();
    let mut add = |label: &'static str, text: &str, face: Face, size: f32, color: Rgb| {
        if !text.is_empty() {
            parts.push(Part {
                label,
                lines: fonts.wrap(face, text, size, room),
                face,
                size,
                color,
            });
        }
    };
    add("Objective", &card.objective, Face::Text, CARD, INK);
    let procedure = procedure(card);
    add("Procedure", &procedure, Face::Mono, TINY, INK);
    add("Actual", &card.summary, Face::Text, CARD, INK);
    for finding in &card.findings {
        let level = match finding.level {
            crate::outcome::Level::Fail => "Failure",
            crate::outcome::Level::Error => "Unclear",
            crate::outcome::Level::Warn => "Warning",
        };
        add(
            level,
            &format!("{} [{}]", finding.message, finding.cause),
            Face::Strong,
            CARD,
            INK,
        );
        let mut held = Vec::new();
        for (name, text) in [("expected", &finding.expected), ("actual", &finding.actual)] {
            if !text.is_empty() {
                held.push(format!("{name}: {text}"));
            }
        }
        add("", &held.join("\n"), Face::Text, CARD, INK);
        for (label, text) in [("at", &finding.at), ("to do", &finding.hint)] {
            let text = if text.is_empty() {
                String::new()
            } else {
                format!("{label}: {text}")
            };
            add("", &text, Face::Text, CARD, INK);
        }
    }
    if let Some(by) = &card.blocked_by {
        add("Blocked by", by, Face::Text, CARD, INK);
    }
    if let Some(waiver) = &card.waiver {
        let text = format!("{}; {}, until {}", waiver.reason, waiver.owner, waiver.expires);
        add("Waiver", &text, Face::Text, CARD, INK);
    }
    let measured: Vec<String> = card.facts.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    add("Measured", &measured.join("; "), Face::Text, CARD, MUTED);
    if let Some((_, text)) = card.excerpts.first() {
        add("Evidence", &evidence(text), Face::Mono, 6.4, MUTED);
    }
    for file in &card.captures {
        let text = format!("{}  {} bytes  sha256 {}", file.file, file.bytes, file.sha256);
        add("Raw", &text, Face::Text, 6.4, MUTED);
    }
    let attempts = if card.attempts == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{} attempts", card.attempts)
    };
    let when = format!("{} to {}, {} ms, {attempts}", card.time.0, card.time.1, card.millis);
    add("When", &when, Face::Text, TINY, MUTED);
    add("Controls", &card.controls.join(", "), Face::Text, TINY, MUTED);
    add("Record", &format!("sha256 {}", card.hash), Face::Mono, TINY, MUTED);
    draw(flow, card, &parts);
}

fn draw(flow: &mut Flow<'_>, card: &Card, parts: &[Part]) {
    let fonts = flow.fonts;
    let width = flow.width();
    let title = fonts.wrap(Face::Strong, &card.title, LARGE, width - BADGE - 110.0);
    let head = title.len() as f32 * 14.0 + 17.0;
    let body: f32 = parts.iter().map(|p| p.lines.len() as f32 * p.step() + 1.2).sum();
    let whole = head + body + PAD;
    // A card stays together if a page can hold it.
    if whole <= flow.size.1 - TOP - super::flow::BOTTOM {
        flow.need(whole);
    } else {
        flow.need(head + 80.0);
    }
    flow.anchor(format!("check-{}", card.id));
    flow.entry(&format!("{} {}", card.id, card.status.word()));
    let y = flow.y;
    let color = color_of(card.status);
    let page = flow.page();
    page.rect((SIDE, y), (width, head), 3.0, Paint::fill(BAND));
    page.rect((SIDE, y), (3.0, head), 1.0, Paint::fill(color));
    for (i, line) in title.iter().enumerate() {
        page.text(
            fonts,
            (SIDE + PAD + 3.0, y + 15.0 + i as f32 * 14.0),
            Face::Strong,
            LARGE,
            INK,
            line,
        );
    }
    let below = y + 15.0 + (title.len() as f32 - 1.0) * 14.0 + 12.0;
    let id = super::chart::fitted(fonts, Face::Mono, &card.id, TINY, width - 2.0 * PAD - 90.0);
    page.text(fonts, (SIDE + PAD + 3.0, below), Face::Mono, TINY, MUTED, &id);
    badge(page, fonts, (SIDE + width - BADGE - 4.0, y + 6.0), card.status);
    let note = format!("{} severity", card.severity);
    page.text_left_of(fonts, (SIDE + width - BADGE - 12.0, y + 15.0), Face::Text, TINY, MUTED, &note);
    flow.y += head + 3.0;
    for part in parts {
        let mut labelled = false;
        for line in &part.lines {
            if flow.left() < part.step() + 4.0 {
                flow.new_page("");
            }
            let y = flow.y;
            let page = flow.page();
            if !labelled {
                page.text(
                    fonts,
                    (SIDE + PAD + 3.0, y + part.size),
                    Face::Strong,
                    TINY,
                    MUTED,
                    part.label.trim_start(),
                );
                labelled = true;
            }
            page.text(
                fonts,
                (SIDE + PAD + LABEL, y + part.size),
                part.face,
                part.size,
                part.color,
                line,
            );
            flow.y += part.step();
        }
        flow.y += 1.2;
    }
    let y = flow.y;
    flow.page().line((SIDE, y + 2.0), (SIDE + width, y + 2.0), LINE, 0.5);
    let size = (90.0, 10.0);
    flow.page().link((SIDE + width - 90.0, y + 2.0), size, "chapter-6".into());
    let accent = flow.accent;
    flow.page().text_left_of(
        fonts,
        (SIDE + width, y + 10.5),
        Face::Text,
        6.4,
        accent,
        "back to the results",
    );
    flow.gap(PAD + 3.0);
}

/// What was done: the first lines of each thing that was sent.
fn procedure(card: &Card) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (_, text) in &card.excerpts {
        let sent = text.lines().find_map(|l| l.strip_prefix("> ")).map(str::to_owned);
        let line = sent.or_else(|| text.lines().next().map(str::to_owned));
        lines.extend(line.filter(|l| !lines.contains(l)));
    }
    let more = lines.len().saturating_sub(6);
    lines.truncate(6);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The answer to it, or what else was kept: its first lines, each as one line.
fn evidence(text: &str) -> String {
    let lines = text.lines().filter(|l| !l.starts_with('>') && l.trim().len() > 1);
    let short = |line: &str| -> String {
        let mut kept: String = line.chars().take(110).collect();
        if kept.len() < line.len() {
            kept.push('…');
        }
        kept
    };
    lines.take(3).map(short).collect::<Vec<_>>().join("\n")
}
