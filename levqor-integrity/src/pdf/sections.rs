//! What stands behind the results: exceptions, differences, the period, signatures, the appendix.

use super::canvas::{Paint, Rgb};
use super::chart::like;
use super::flow::{BADGE, BODY, Cell, Flow, INK, LINE, MUTED, SIDE, SMALL, TINY, Width, badge, color_of, mark};
use super::font::Face;
use super::look::Look;
use crate::report::{Card, Report, words};
use crate::status::Status;
use levqor_core::types::Millis;

/// 8: everything that somebody has to answer for.
pub(crate) fn exceptions(flow: &mut Flow<'_>, report: &Report, look: &Look) {
    flow.chapter(8, "Exceptions", true);
    let list: Vec<&Card> = report.cards.iter().filter(|c| c.is_exception()).collect();
    if list.is_empty() {
        flow.paragraph("There are none.");
        return;
    }
    flow.paragraph("Every failure, unclear result, warning and waiver, each by itself. None is averaged away.");
    for card in list {
        exception(flow, card, look);
    }
}

fn impact(card: &Card) -> String {
    let weight = match card.severity.as_str() {
        "critical" => "Customers are, or can at once be, harmed",
        "high" => "Customers can be harmed, or an obligation is not met",
        "medium" => "The service or its protection is worse than it has to be",
        _ => "Little by itself",
    };
    let because = match card.status {
        Status::Fail => "this was shown to be wrong",
        Status::Error => "it could not be told whether this is as it must be",
        Status::Waived => "this was shown to be wrong, and somebody has taken responsibility",
        _ => "this works, and somebody should look at it",
    };
    format!("{weight} ({} severity): {because}.", card.severity)
}

fn exception(flow: &mut Flow<'_>, card: &Card, look: &Look) {
    flow.heading(&card.title, 120.0);
    let (y, fonts) = (flow.y, flow.fonts);
    flow.need(130.0);
    let y = if flow.y < y { flow.y } else { y };
    let page = flow.page();
    badge(page, fonts, (SIDE, y), card.status);
    page.text(fonts, (SIDE + BADGE + 6.0, y + 9.0), Face::Mono, TINY, MUTED, &card.id);
    flow.y = y + 17.0;
    let list = |of: &dyn Fn(&crate::Finding) -> String| -> String {
        let mut parts: Vec<String> = Vec::new();
        for text in card.findings.iter().map(of).filter(|t| !t.is_empty()) {
            if !parts.contains(&text) {
                parts.push(text);
            }
        }
        parts.join("\n")
    };
    let cause = list(&|f| {
        let place = if f.at.is_empty() {
            String::new()
        } else {
            format!(", at {}", f.at)
        };
        format!("{} [{}]{place}", f.message, f.cause)
    });
    let response = look.responses.get(&card.id).cloned().unwrap_or_default();
    let blank = |text: &str| Cell::new(if text.is_empty() { " \n " } else { text });
    let mut rows = vec![
        ("Impact".to_owned(), Cell::new(impact(card))),
        (
            "Cause".into(),
            Cell::new(if cause.is_empty() { card.summary.clone() } else { cause }),
        ),
        ("Recommendation".into(), Cell::new(list(&|f| f.hint.clone()))),
    ];
    if let Some(waiver) = &card.waiver {
        rows.push(("Waiver".into(), Cell::new(waiver.reason.as_str())));
        rows.push((
            "Approved by".into(),
            Cell::new(format!("{}, until {}", waiver.owner, waiver.expires)),
        ));
    }
    rows.push((
        "Owner, due date".into(),
        blank(&match (response.owner.as_str(), response.due.as_str()) {
            ("", "") => String::new(),
            (owner, "") => owner.to_owned(),
            (owner, due) => format!("{owner}, {due}"),
        }),
    ));
    rows.push(("Management response".into(), blank(&response.response)));
    flow.pairs(&rows);
}

/// 9: what changed.
pub(crate) fn difference(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(9, "Difference to the run before", false);
    let Some(changes) = &report.changes else {
        flow.paragraph("There is no run before this one in the history, or its evidence was not at hand.");
        return;
    };
    flow.pairs(&[
        (
            "Before".into(),
            Cell::new(format!(
                "run {}, {}, sha256 {}",
                changes.before.number, changes.before.run, changes.before.sha256
            )),
        ),
        (
            "Now".into(),
            Cell::new(format!(
                "run {}, {}, sha256 {}",
                changes.now.number, changes.now.run, changes.now.sha256
            )),
        ),
    ]);
    if !changes.configuration.is_empty() {
        flow.heading("Configuration", 40.0);
        let rows: Vec<Vec<Cell>> = changes
            .configuration
            .iter()
            .map(|(name, was, is)| vec![Cell::strong(name.as_str()), Cell::new(was.as_str()), Cell::new(is.as_str())])
            .collect();
        flow.table(
            &[
                ("What", Width::Fixed(96.0)),
                ("Before", Width::Share(1.0)),
                ("Now", Width::Share(1.0)),
            ],
            &rows,
        );
    }
    flow.heading("Checks", 40.0);
    if changes.checks.is_empty() {
        flow.paragraph("No check differs.");
        return;
    }
    let word = |s: Option<Status>| s.map_or_else(|| Cell::new("-").muted(), Cell::status);
    let rows: Vec<Vec<Cell>> = changes
        .checks
        .iter()
        .map(|d| {
            let change = serde_json::to_value(d.change)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default();
            let facts: Vec<String> = d
                .facts
                .iter()
                .map(|(name, was, is)| format!("{name}: {was} to {is}"))
                .collect();
            let what = if facts.is_empty() {
                d.summary.clone()
            } else {
                facts.join("; ")
            };
            // A schema is a page of its own; what changed in it is said by its check.
            let what = if what.chars().count() > 600 {
                what.chars().take(600).chain("...".chars()).collect()
            } else {
                what
            };
            vec![
                Cell::strong(change),
                Cell::new(d.id.as_str()).to(format!("check-{}", d.id)),
                word(d.before),
                word(d.now),
                Cell::new(what),
            ]
        })
        .collect();
    flow.table(
        &[
            ("Change", Width::Fixed(54.0)),
            ("Check", Width::Share(1.0)),
            ("Before", Width::Fixed(BADGE + 8.0)),
            ("Now", Width::Fixed(BADGE + 8.0)),
            ("What", Width::Share(1.5)),
        ],
        &rows,
    );
}

/// 10: the runs of a period.
pub(crate) fn period(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(10, "Coverage of the period", false);
    let Some(period) = &report.period else {
        flow.paragraph("This report is of one point in time; it covers no period.");
        return;
    };
    let present = period.due.iter().filter(|d| d.run.is_some()).count();
    flow.pairs(&[
        ("Period".into(), Cell::new(format!("{} to {}", period.from, period.until))),
        (
            "Due".into(),
            Cell::new(format!("{} runs, one every {}", period.due.len(), period.every)),
        ),
        (
            "Present".into(),
            Cell::new(format!(
                "{present}; {} missing, {} besides those that were due",
                period.due.len() - present,
                period.extra
            )),
        ),
        (
            "Chain".into(),
            Cell::new(if period.unbroken {
                "every run names the digest of the one before"
            } else {
                "BROKEN: a run does not name the digest of the one before"
            }),
        ),
    ]);
    flow.heading("Calendar", 60.0);
    calendar(flow, &period.due);
    flow.heading("Time to repair", 40.0);
    if period.repairs.is_empty() {
        flow.paragraph("No check failed in this period.");
        return;
    }
    let rows: Vec<Vec<Cell>> = period
        .repairs
        .iter()
        .map(|r| {
            vec![
                Cell::new(r.check.as_str()),
                Cell::new(format!("run {}, {}", r.failed, r.failed_at)),
                Cell::new(r.mended.map_or_else(|| "still open".into(), |n| format!("run {n}"))),
                Cell::new(r.took.map_or_else(|| "-".into(), |ms| words(Millis(ms)))),
            ]
        })
        .collect();
    flow.table(
        &[
            ("Check", Width::Share(1.2)),
            ("Failed first in", Width::Share(1.4)),
            ("Mended in", Width::Fixed(70.0)),
            ("After", Width::Fixed(96.0)),
        ],
        &rows,
    );
}

/// A box for every run that was due, with the shape of its verdict, or a cross where it is missing.
fn calendar(flow: &mut Flow<'_>, due: &[crate::report::Due]) {
    const CELL: (f32, f32) = (61.0, 30.0);
    let columns = (flow.width() / CELL.0) as usize;
    for row in due.chunks(columns.max(1)) {
        flow.need(CELL.1 + 3.0);
        let (y, fonts) = (flow.y, flow.fonts);
        let page = flow.page();
        for (i, day) in row.iter().enumerate() {
            let at = (SIDE + i as f32 * CELL.0, y);
            page.rect(at, (CELL.0 - 3.0, CELL.1 - 3.0), 2.0, Paint::stroke(LINE, 0.6));
            let date = day.from.get(..10).unwrap_or_default();
            page.text(fonts, (at.0 + 5.0, at.1 + 10.0), Face::Text, TINY, MUTED, date);
            let base = (at.0 + 9.0, at.1 + 19.0);
            let beside = (base.0 + 7.0, base.1 + 2.6);
            if let Some((number, verdict)) = day.run {
                mark(page, base, 3.2, like(verdict));
                page.text(fonts, beside, Face::Text, TINY, INK, &format!("run {number}"));
            } else {
                let color = color_of(Status::Fail);
                page.rect((base.0 - 3.2, base.1 - 3.2), (6.4, 6.4), 0.5, Paint::stroke(color, 0.9));
                page.text(fonts, beside, Face::Strong, TINY, color, "missing");
            }
        }
        flow.y += CELL.1;
    }
    flow.gap(6.0);
}

/// 11: who stands for it.
pub(crate) fn sign_off(flow: &mut Flow<'_>, report: &Report, look: &Look) {
    let room = flow.left() > 400.0;
    flow.chapter(11, "Sign-off", !room);
    flow.paragraph(&look.statement);
    let who = ["Prepared by", "Reviewed by", "Approved by"];
    for (i, (title, person)) in who.iter().zip(&look.people).enumerate() {
        flow.need(96.0);
        flow.gap(12.0);
        let (y, fonts, width) = (flow.y, flow.fonts, flow.width());
        let page = flow.page();
        page.text(fonts, (SIDE, y + BODY), Face::Strong, BODY, INK, title);
        let system = i == 0 && person.name == "Levqor";
        let date = if system { report.ended.as_str() } else { "" };
        let signature = if system {
            "signed by machine, see the statement beside this document"
        } else {
            ""
        };
        let half = width / 2.0;
        for (n, (label, value)) in [
            ("Name", person.name.as_str()),
            ("Role", person.role.as_str()),
            ("Date", date),
            ("Signature", signature),
        ]
        .into_iter()
        .enumerate()
        {
            let x = SIDE + (n % 2) as f32 * half;
            let line = y + 34.0 + (n / 2) as f32 * 32.0;
            page.line((x, line), (x + half - 16.0, line), MUTED, 0.6);
            page.text(fonts, (x, line + 9.0), Face::Text, TINY, MUTED, label);
            let size = if fonts.width(Face::Text, value, BODY) > half - 20.0 {
                TINY
            } else {
                BODY
            };
            let value = super::chart::fitted(fonts, Face::Text, value, size, half - 18.0);
            page.text(fonts, (x, line - 4.0), Face::Text, size, INK, &value);
        }
        flow.y += 82.0;
    }
}

/// 12: every file, every record, every word.
pub(crate) fn appendix(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(12, "Appendix", true);
    flow.heading("Raw files", 40.0);
    let raw: Vec<Vec<Cell>> = report
        .cards
        .iter()
        .flat_map(|c| &c.captures)
        .map(|f| {
            vec![
                Cell::new(f.file.as_str()),
                Cell::number(f.bytes.to_string()),
                digest(&f.sha256),
            ]
        })
        .collect();
    if raw.is_empty() {
        flow.paragraph("There are none.");
    } else {
        flow.table(
            &[
                ("File", Width::Share(1.0)),
                ("Bytes", Width::Fixed(46.0)),
                ("SHA-256", Width::Fixed(252.0)),
            ],
            &raw,
        );
    }
    flow.heading("Chain of records", 40.0);
    flow.text(
        "The hash of a record is taken over it and over the hash of the record before, so none can be changed, removed or moved without \
         breaking all that follow.",
        Face::Text,
        SMALL,
        MUTED,
        0.0,
    );
    flow.gap(4.0);
    let rows: Vec<Vec<Cell>> = report
        .cards
        .iter()
        .enumerate()
        .map(|(i, c)| {
            vec![
                Cell::number(i.to_string()).muted(),
                Cell::new(c.id.as_str()).to(format!("check-{}", c.id)),
                digest(&c.hash),
            ]
        })
        .collect();
    flow.table(
        &[
            ("Place", Width::Fixed(34.0)),
            ("Check", Width::Share(1.0)),
            ("Hash", Width::Fixed(252.0)),
        ],
        &rows,
    );
    flow.heading("Words", 60.0);
    let words: Vec<(String, Cell)> = report
        .glossary
        .iter()
        .map(|(word, meaning)| (word.clone(), Cell::new(meaning.as_str())))
        .collect();
    flow.pairs(&words);
}

fn digest(hex: &str) -> Cell {
    Cell {
        size: 6.2,
        color: Rgb(0x33, 0x3d, 0x4b),
        ..Cell::mono(hex)
    }
}
