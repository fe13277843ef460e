//! What stands before the results: document control, summary, scope, method, controls.

use super::chart::{Bar, Frame, bars, legend, runs, stacked};
use super::flow::{BADGE, BODY, Cell, Flow, INK, MUTED, SIDE, SMALL, TINY, Width, badge};
use super::font::Face;
use crate::evidence::Change;
use crate::report::Report;
use crate::status::Status;

/// 1: what the document is, and how to verify it.
pub(crate) fn control(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(1, "Document control", true);
    let mut rows: Vec<(String, Cell)> = vec![(
        "System".into(),
        Cell::new(format!("{}, {}", report.system, report.environment)),
    )];
    rows.extend(report.control.iter().map(|(n, v)| (n.clone(), Cell::new(v.as_str()))));
    rows.push(("Time stamp".into(), Cell::new(report.timestamp.as_str())));
    flow.pairs(&rows);
    flow.heading("How to verify it", 90.0);
    flow.paragraph(
        "All that is needed lies in the bundle. The first command is for the digest on the cover, the second for the signature, \
         the third for both and for every file and record.",
    );
    flow.code(
        "sha256sum evidence.json\n\
         openssl pkeyutl -verify -pubin -inkey signer.pub.pem -rawin -in statement.pae -sigfile statement.sig\n\
         levqor integrity verify .",
    );
    flow.heading("Files of the bundle", 60.0);
    if report.files.is_empty() {
        flow.paragraph("They are listed in the signed statement beside this document.");
    } else {
        let raw: Vec<_> = report.files.iter().filter(|f| f.file.starts_with("raw/")).collect();
        let rows: Vec<Vec<Cell>> = report
            .files
            .iter()
            .filter(|f| !f.file.starts_with("raw/"))
            .map(|f| {
                vec![
                    Cell::new(f.file.as_str()),
                    Cell::number(f.bytes.to_string()),
                    Cell::mono(f.sha256.as_str()),
                ]
            })
            .collect();
        flow.table(
            &[
                ("File", Width::Share(1.0)),
                ("Bytes", Width::Fixed(48.0)),
                ("SHA-256", Width::Fixed(282.0)),
            ],
            &rows,
        );
        let bytes: usize = raw.iter().map(|f| f.bytes).sum();
        flow.paragraph(&format!(
            "Besides, {} files with what was sent and received ({bytes} bytes), listed in the appendix. The digest of this document \
             itself stands in the signed statement, statement.json.",
            raw.len()
        ));
    }
    flow.heading("What this is not", 40.0);
    flow.bullets(&report.disclaimer);
}

/// 2: the summary.
pub(crate) fn summary(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(2, "Executive summary", true);
    for sentence in &report.summary {
        flow.paragraph(sentence);
    }
    top(flow, report);
    if let Some(changes) = &report.changes {
        flow.heading("Since the run before", 40.0);
        let of = |change: Change| {
            let ids: Vec<&str> = changes.of(change).map(|d| d.id.as_str()).collect();
            match ids.len() {
                0 => "none".to_owned(),
                n if n > 12 => format!("{n}: {}, and {} more", ids[..12].join(", "), n - 12),
                n => format!("{n}: {}", ids.join(", ")),
            }
        };
        flow.pairs(&[
            ("New".into(), Cell::new(of(Change::New))),
            ("Fixed".into(), Cell::new(of(Change::Fixed))),
            ("Still".into(), Cell::new(of(Change::Still))),
        ]);
    }
    if report.cards.is_empty() {
        return;
    }
    let (fonts, width, accent) = (flow.fonts, flow.width(), flow.accent);
    flow.heading("A  Status by category", report.by_category.len().min(20) as f32 * 15.0 + 20.0);
    for part in report.by_category.chunks(24) {
        flow.need(part.len() as f32 * 15.0 + 22.0);
        let y = flow.y;
        legend(flow.page(), fonts, (SIDE, y + 4.0), report.counts);
        let frame = Frame {
            x: SIDE,
            y: y + 14.0,
            width,
        };
        flow.y += stacked(flow.page(), fonts, frame, part) + 22.0;
    }
    let mut slow: Vec<Bar> = report
        .cards
        .iter()
        .filter(|c| !matches!(c.status, Status::Skip | Status::Blocked))
        .map(|c| Bar {
            name: c.id.clone(),
            value: c
                .facts
                .iter()
                .find(|(n, _)| n == "latency_ms")
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(c.millis),
            limit: c.limit_ms,
        })
        .collect();
    slow.sort_by_key(|b| (std::cmp::Reverse(b.limit.is_some()), std::cmp::Reverse(b.value)));
    let shown = slow.len().min(9);
    flow.heading(
        "B  Time taken, against the limit where there is one",
        shown as f32 * 12.5 + 6.0,
    );
    let frame = Frame {
        x: SIDE,
        y: flow.y + 2.0,
        width,
    };
    flow.y += bars(flow.page(), fonts, frame, &slow[..shown], accent) + 4.0;
    if slow.len() > shown {
        let text = format!(
            "The {shown} that have a limit or took longest, of {}; all stand in the results.",
            slow.len()
        );
        flow.text(&text, Face::Text, TINY, MUTED, 0.0);
    }
    flow.heading("C  The last runs", 90.0);
    let frame = Frame {
        x: SIDE,
        y: flow.y,
        width,
    };
    flow.y += runs(flow.page(), fonts, frame, &report.history);
    let text = match report.history.len() {
        1 => "This is the first run that is kept here. The column shows how its checks ended, the shape above it the verdict."
            .to_owned(),
        n => format!("{n} runs, this one last. A column shows how the checks of a run ended, the shape above it the verdict."),
    };
    flow.text(&text, Face::Text, TINY, MUTED, 0.0);
}

/// The exceptions that weigh most.
fn top(flow: &mut Flow<'_>, report: &Report) {
    let rank = |s: Status| match s {
        Status::Fail => 0,
        Status::Error => 1,
        Status::Waived => 2,
        _ => 3,
    };
    let weight = |s: &str| {
        ["critical", "high", "medium", "low"]
            .iter()
            .position(|w| *w == s)
            .unwrap_or(4)
    };
    let mut list: Vec<_> = report.cards.iter().filter(|c| c.is_exception()).collect();
    list.sort_by_key(|c| (rank(c.status), weight(&c.severity)));
    flow.heading("Top exceptions", 40.0);
    if list.is_empty() {
        flow.paragraph("There are none: nothing failed, nothing was unclear, nothing was waived, and there is no warning.");
        return;
    }
    let rows: Vec<Vec<Cell>> = list
        .iter()
        .take(6)
        .map(|c| {
            let what = c.findings.first().map_or(c.summary.as_str(), |f| f.message.as_str());
            vec![
                Cell::status(c.status),
                Cell::new(c.id.as_str()).to(format!("check-{}", c.id)),
                Cell::new(what),
                Cell::new(c.severity.as_str()).muted(),
            ]
        })
        .collect();
    flow.table(
        &[
            ("Status", Width::Fixed(BADGE + 8.0)),
            ("Check", Width::Share(1.0)),
            ("What was found", Width::Share(2.0)),
            ("Severity", Width::Fixed(46.0)),
        ],
        &rows,
    );
}

/// 3: what was looked at, and how much of it.
pub(crate) fn scope(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(3, "Scope, environment and population", true);
    flow.heading("Targets", 40.0);
    if report.targets.is_empty() {
        flow.paragraph("The pack names no target.");
    } else {
        let rows: Vec<(String, Cell)> = report
            .targets
            .iter()
            .map(|(n, t)| (n.clone(), Cell::new(t.as_str())))
            .collect();
        flow.pairs(&rows);
    }
    if !report.observed.is_empty() {
        flow.heading("What was seen of them", 40.0);
        let rows: Vec<Vec<Cell>> = report
            .observed
            .iter()
            .map(|(check, name, value)| {
                vec![
                    Cell::new(check.as_str()).to(format!("check-{check}")),
                    Cell::new(name.as_str()),
                    Cell::new(value.as_str()),
                ]
            })
            .collect();
        flow.table(
            &[
                ("Seen by", Width::Fixed(104.0)),
                ("What", Width::Fixed(118.0)),
                ("Value", Width::Share(1.0)),
            ],
            &rows,
        );
    }
    flow.heading("Where it was looked from", 40.0);
    let of = |name: &str| {
        let found = report.control.iter().find(|(n, _)| n == name);
        Cell::new(found.map_or("not stated", |(_, v)| v.as_str()))
    };
    let rows = ["Produced by", "Host", "Started by", "Clock"].map(|name| (name.to_owned(), of(name)));
    flow.pairs(&rows);
    flow.heading("Population", 90.0);
    let c = report.counts;
    let executed = c.total - c.skip - c.blocked;
    let excluded = report.excluded.len();
    let total = c.total as usize + excluded;
    let rows = [
        (
            "Selected for this run",
            c.total as usize,
            "a result for each stands in chapter 6",
        ),
        (
            "of these executed",
            executed as usize,
            "passed, warned, failed, unclear or waived",
        ),
        (
            "of these skipped",
            c.skip as usize,
            "did not apply; the reason stands with each",
        ),
        (
            "of these blocked",
            c.blocked as usize,
            "could not be judged because of another one's failure",
        ),
        ("Excluded", excluded, "did not take part; the reasons stand below"),
        ("Known to the pack and the program", total, "selected + excluded"),
    ];
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|(name, n, note)| vec![Cell::strong(*name), Cell::number(n.to_string()), Cell::new(*note).muted()])
        .collect();
    flow.table(
        &[
            ("", Width::Fixed(170.0)),
            ("Checks", Width::Fixed(48.0)),
            ("", Width::Share(1.0)),
        ],
        &rows,
    );
    flow.text(&format!("Reconciled: {}.", report.population), Face::Text, SMALL, MUTED, 0.0);
    let skipped: Vec<_> = report
        .cards
        .iter()
        .filter(|c| matches!(c.status, Status::Skip | Status::Blocked))
        .collect();
    if !skipped.is_empty() || excluded > 0 {
        flow.heading("Not executed, with the reason", 40.0);
        let shown = skipped.iter().map(|c| {
            let reason = c
                .blocked_by
                .as_ref()
                .map_or_else(|| c.summary.clone(), |b| format!("blocked by {b}"));
            vec![
                Cell::status(c.status),
                Cell::new(c.id.as_str()).to(format!("check-{}", c.id)),
                Cell::new(reason),
            ]
        });
        let excluded = report.excluded.iter().map(|(id, reason)| {
            vec![
                Cell::new("excluded").muted(),
                Cell::new(id.as_str()),
                Cell::new(reason.as_str()),
            ]
        });
        let rows: Vec<Vec<Cell>> = shown.chain(excluded).collect();
        flow.table(
            &[
                ("", Width::Fixed(BADGE + 8.0)),
                ("Check", Width::Share(1.0)),
                ("Reason", Width::Share(2.0)),
            ],
            &rows,
        );
    }
}

/// 4: how it was done.
pub(crate) fn method(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(4, "Method", false);
    flow.bullets(&report.method);
    flow.heading("What the statuses mean", 120.0);
    for status in Status::ALL {
        let meaning = report
            .glossary
            .iter()
            .find(|(w, _)| w == status.word())
            .map_or("", |(_, m)| m.as_str());
        flow.need(17.0);
        let (y, fonts) = (flow.y, flow.fonts);
        let page = flow.page();
        badge(page, fonts, (SIDE, y), status);
        page.text(fonts, (SIDE + BADGE + 8.0, y + 9.4), Face::Text, BODY, INK, meaning);
        flow.y += 17.0;
    }
}

/// 5: which controls the checks support.
pub(crate) fn matrix(flow: &mut Flow<'_>, report: &Report) {
    flow.chapter(5, "Control matrix", true);
    flow.paragraph(
        "A check supports a control: it is one piece of evidence for it, and no control is covered by checks alone. The controls are \
         those of SOC 2 (trust services criteria of 2017), ISO/IEC 27001:2022 (annex A) and the GDPR (articles). About 12 of the 61 \
         trust services criteria are touched by the standard checks; all others have to be shown in another way.",
    );
    if report.controls.is_empty() {
        flow.paragraph("No check of this run names a control.");
        return;
    }
    let rows: Vec<Vec<Cell>> = report
        .controls
        .iter()
        .map(|row| {
            let of = |status: Status| -> Vec<&str> {
                let found = row.checks.iter().filter(|(_, s)| *s == status);
                found.map(|(id, _)| id.as_str()).collect()
            };
            let others: Vec<String> = WORST_FIRST
                .into_iter()
                .filter(|s| *s != Status::Pass && !of(*s).is_empty())
                .map(|s| format!("{}: {}", s.word(), of(s).join(", ")))
                .collect();
            let worst = WORST_FIRST.into_iter().find(|s| !of(*s).is_empty());
            vec![
                Cell::strong(control_name(&row.control)),
                worst.map_or_else(|| Cell::new("-"), Cell::status),
                Cell {
                    size: TINY,
                    ..Cell::new(of(Status::Pass).join(", "))
                },
                Cell {
                    size: TINY,
                    ..Cell::new(others.join("\n"))
                },
            ]
        })
        .collect();
    flow.table(
        &[
            ("Control", Width::Fixed(104.0)),
            ("Worst", Width::Fixed(BADGE + 6.0)),
            ("Supported by checks that passed", Width::Share(1.25)),
            ("By checks that ended otherwise", Width::Share(1.0)),
        ],
        &rows,
    );
    let touched: Vec<&str> = report
        .controls
        .iter()
        .filter_map(|c| c.control.strip_prefix("SOC2:"))
        .collect();
    let missing: Vec<&str> = CRITERIA.iter().copied().filter(|c| !touched.contains(c)).collect();
    flow.heading("Trust services criteria that no check of this run supports", 30.0);
    flow.text(&missing.join(", "), Face::Text, SMALL, MUTED, 0.0);
}

fn control_name(id: &str) -> String {
    match id.split_once(':') {
        Some(("SOC2", rest)) => format!("SOC 2 {rest}"),
        Some(("ISO27001", rest)) => format!("ISO 27001 {rest}"),
        Some(("GDPR", rest)) => format!("GDPR Art. {rest}"),
        _ => id.to_owned(),
    }
}

const WORST_FIRST: [Status; 7] = [
    Status::Fail,
    Status::Error,
    Status::Blocked,
    Status::Waived,
    Status::Warn,
    Status::Skip,
    Status::Pass,
];

/// The 61 trust services criteria of 2017, by their numbers.
const CRITERIA: &[&str] = &[
    "CC1.1", "CC1.2", "CC1.3", "CC1.4", "CC1.5", "CC2.1", "CC2.2", "CC2.3", "CC3.1", "CC3.2", "CC3.3", "CC3.4", "CC4.1", "CC4.2",
    "CC5.1", "CC5.2", "CC5.3", "CC6.1", "CC6.2", "CC6.3", "CC6.4", "CC6.5", "CC6.6", "CC6.7", "CC6.8", "CC7.1", "CC7.2", "CC7.3",
    "CC7.4", "CC7.5", "CC8.1", "CC9.1", "CC9.2", "A1.1", "A1.2", "A1.3", "C1.1", "C1.2", "PI1.1", "PI1.2", "PI1.3", "PI1.4",
    "PI1.5", "P1.1", "P2.1", "P3.1", "P3.2", "P4.1", "P4.2", "P4.3", "P5.1", "P5.2", "P6.1", "P6.2", "P6.3", "P6.4", "P6.5",
    "P6.6", "P6.7", "P7.1", "P8.1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_61_criteria() {
        let mut names = CRITERIA.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 61);
        assert_eq!(control_name("GDPR:32(1)(b)"), "GDPR Art. 32(1)(b)");
    }
}
