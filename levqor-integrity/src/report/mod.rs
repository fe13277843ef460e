//! A run as a report for people: everything that a page shows, in the order in which it is shown, and nothing of how it is
//! drawn. Whoever draws it (as PDF, HTML or text) needs no other source.

mod period;

pub(crate) use period::words;
pub use period::{Due, Past, Period, Repair};

use std::collections::BTreeMap;

use levqor_core::error::Result;
use serde::Serialize;
use serde_json::Value;

use crate::evidence::{Change, Diff, Evidence, FileRef, Record, VERIFY_TEXT, diff};
use crate::outcome::{Finding, Level};
use crate::status::{Counts, Status, Verdict};
use crate::waiver::Waiver;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// `Integrity evidence`.
    pub title: String,
    /// The system.
    pub system: String,
    /// Where it stands.
    pub environment: String,
    /// The run's id, which is the report's.
    pub id: String,
    /// The run's number.
    pub number: u64,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// What it means.
    pub verdict: Verdict,
    /// How many ended how.
    pub counts: Counts,
    /// SHA-256 of `evidence.json`: printed, and in the QR code.
    pub evidence_sha256: String,
    /// Name and value of what a reader needs to know about the document.
    pub control: Vec<(String, String)>,
    /// The commands with which anybody can verify it.
    pub verify: String,
    /// At most five sentences.
    pub summary: Vec<String>,
    /// Status by category, for a stacked bar.
    pub by_category: Vec<(String, Counts)>,
    /// Milliseconds by check, for bars.
    pub durations: Vec<(String, i64)>,
    /// What was looked at, by name.
    pub targets: BTreeMap<String, String>,
    /// Checks that did not take part, with the reason.
    pub excluded: BTreeMap<String, String>,
    /// `selected + excluded = known` and `executed + skipped + blocked = selected`, in words.
    pub population: String,
    /// How the checks were carried out.
    pub method: Vec<String>,
    /// What the checks support: control, and status by check.
    pub controls: Vec<ControlRow>,
    /// A card for each check, in order.
    pub cards: Vec<Card>,
    /// What changed since the run before, if that was given.
    pub changes: Option<Diff>,
    /// What the document is not.
    pub disclaimer: Vec<String>,
    /// Words that not every reader knows.
    pub glossary: Vec<(String, String)>,
    /// What of the systems was seen: check, name, value.
    pub observed: Vec<(String, String, String)>,
    /// The other files of the bundle.
    pub files: Vec<FileRef>,
    /// The last runs up to this one, in order.
    pub history: Vec<Past>,
    /// The period that the report covers, if it covers one.
    pub period: Option<Period>,
    /// What is known of a time stamp by somebody else.
    pub timestamp: String,
    /// The pack's `report` table: logo, colours, names for the sign-off.
    pub branding: Value,
}

/// A control with the checks that support it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlRow {
    /// `SOC2:CC7.2`
    pub control: String,
    /// The checks, each with how it ended.
    pub checks: Vec<(String, Status)>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Its group.
    pub group: String,
    /// What it was to show.
    pub objective: String,
    /// How it ended.
    pub status: Status,
    /// How bad its failure is.
    pub severity: String,
    /// What was seen.
    pub summary: String,
    /// The causes.
    pub findings: Vec<Finding>,
    /// What blocks it.
    pub blocked_by: Option<String>,
    /// Who took responsibility.
    pub waiver: Option<Waiver>,
    /// Controls that it supports.
    pub controls: Vec<String>,
    /// When it began and ended, RFC 3339.
    pub time: (String, String),
    /// Milliseconds.
    pub millis: i64,
    /// How many attempts there were.
    pub attempts: usize,
    /// Its record's hash in the chain.
    pub hash: String,
    /// The files with what was sent and received.
    pub captures: Vec<FileRef>,
    /// What was measured: name and value.
    pub facts: Vec<(String, String)>,
    /// The latency that is warned of, in milliseconds, if the check has one.
    pub limit_ms: Option<i64>,
    /// The beginnings of those files, if [`Report::with_files`] gave them.
    pub excerpts: Vec<(String, String)>,
}

impl Card {
    /// Whether it belongs to the exceptions.
    pub fn is_exception(&self) -> bool {
        matches!(self.status, Status::Fail | Status::Error | Status::Warn | Status::Waived)
    }
}

impl Report {
    /// The report of a run, compared with the one before if that is given.
    pub fn of(evidence: &Evidence, before: Option<&Evidence>, branding: &Value, signer: Option<&str>) -> Result<Self> {
        let run = &evidence.run;
        let sha256 = evidence.digest()?;
        let changes = before.map(|b| diff(b, evidence)).transpose()?;
        let cards: Vec<Card> = evidence.records.iter().map(card).collect();
        let p = &run.population;
        let text = |s: &str| s.to_owned();
        let control = vec![
            (text("Report id"), run.id.clone()),
            (text("Run number"), run.number.to_string()),
            (text("Pack"), format!("{} (sha256 {})", run.pack.name, run.pack.sha256)),
            (
                text("Produced by"),
                format!("{} {} on {}", run.runner.tool, run.runner.version, run.runner.platform),
            ),
            (text("Host"), known(&run.runner.host)),
            (text("Started by"), known(&run.runner.started_by)),
            (text("Clock"), run.clock.clone()),
            (text("Evidence"), format!("evidence.json, sha256 {sha256}")),
            (
                text("Signer"),
                signer.map_or_else(|| text("not signed"), |s| format!("Ed25519 key {s}")),
            ),
            (
                text("Run before"),
                run.previous
                    .as_ref()
                    .map_or_else(|| text("none"), |l| format!("{} (sha256 {})", l.run, l.sha256)),
            ),
        ];
        Ok(Report {
            title: text("Integrity evidence"),
            system: run.system.clone(),
            environment: run.environment.clone(),
            id: run.id.clone(),
            number: run.number,
            started: run.started.clone(),
            ended: run.ended.clone(),
            verdict: evidence.verdict,
            counts: evidence.counts,
            evidence_sha256: sha256,
            control,
            verify: VERIFY_TEXT.to_owned(),
            summary: summary(evidence, &cards, changes.as_ref()),
            by_category: by_category(&cards),
            durations: cards.iter().map(|c| (c.id.clone(), c.millis)).collect(),
            targets: run.targets.clone(),
            excluded: p.excluded.clone(),
            population: format!(
                "{} known = {} selected + {} excluded; {} selected = {} executed + {} skipped + {} blocked",
                p.known,
                p.selected,
                p.excluded.len(),
                p.selected,
                p.executed,
                p.skipped,
                p.blocked
            ),
            method: METHOD.iter().map(|s| text(s)).collect(),
            controls: controls(&cards),
            cards,
            changes,
            disclaimer: DISCLAIMER.iter().map(|s| text(s)).collect(),
            glossary: GLOSSARY.iter().map(|(a, b)| (text(a), text(b))).collect(),
            observed: observed(evidence),
            files: Vec::new(),
            history: vec![Past::of(evidence)?],
            period: None,
            timestamp: text("none: the time is that of the machine that ran the checks"),
            branding: branding.clone(),
        })
    }

    /// Adds the files of the bundle: their list, and the beginnings of what was sent and received.
    #[must_use]
    pub fn with_files(mut self, files: &BTreeMap<String, Vec<u8>>) -> Self {
        self.files = files.iter().map(|(name, bytes)| FileRef::of(name.as_str(), bytes)).collect();
        for card in &mut self.cards {
            card.excerpts = card
                .captures
                .iter()
                .filter_map(|c| files.get(&c.file).map(|bytes| (c.file.clone(), excerpt(bytes))))
                .collect();
        }
        self
    }

    /// Adds earlier runs, in order, for the chart of the last ones.
    #[must_use]
    pub fn with_history(mut self, mut runs: Vec<Past>) -> Self {
        runs.retain(|r| r.number < self.number);
        runs.append(&mut self.history);
        let from = runs.len().saturating_sub(SHOWN_RUNS);
        self.history = runs.split_off(from);
        self
    }
}

fn known(text: &str) -> String {
    if text.is_empty() {
        "not stated".into()
    } else {
        text.to_owned()
    }
}

/// So many runs are shown in the chart.
const SHOWN_RUNS: usize = 12;

/// The beginning of a file, as text: at most twelve lines, none longer than 400 characters.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.lines().take(12).map(|l| l.chars().take(400).collect()).collect();
    if text.lines().nth(12).is_some() {
        lines.push("...".into());
    }
    lines.join("\n")
}

/// A value in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Object(map) => {
            let parts: Vec<String> = map.iter().map(|(k, v)| format!("{k} {}", plain(v))).collect();
            parts.join(", ")
        }
        other => other.to_string(),
    }
}

/// Facts that say what stood at the other end. Latencies and counts are shown with the checks.
fn observed(evidence: &Evidence) -> Vec<(String, String, String)> {
    const SHOWN: &[&str] = &[
        "tls.certificate",
        "tls.protocols",
        "db.read_write",
        "deploy.reachability",
        "stripe.api",
        "clock.skew",
    ];
    let mut rows = Vec::new();
    for record in &evidence.records {
        let check = &record.result;
        for (name, value) in check.facts.iter().filter(|_| SHOWN.contains(&check.id.as_str())) {
            rows.push((check.id.clone(), name.clone(), plain(value)));
        }
    }
    rows
}

const METHOD: &[&str] = &[
    "All checks run at once; a check that needs another one is blocked if that one failed, and the cause is reported there.",
    "Every check has a time of its own and the run has one; what did not end in time could not be told, and is an ERROR.",
    "A failed attempt may be repeated; every attempt is kept, and a pass on a repetition is a WARN.",
    "Values, parts and hashes of secrets are taken out of everything before it is kept.",
    "What is shown holds for the time of the run and the place from which it was run.",
];
const DISCLAIMER: &[&str] = &[
    "This is a record of technical checks. It is no auditor's opinion and no certificate.",
    "The checks support the controls that are named beside them; they do not cover those controls alone or whole.",
];
const GLOSSARY: &[(&str, &str)] = &[
    ("PASS", "shown to be as it must be"),
    ("WARN", "works, and somebody should look at it"),
    ("FAIL", "shown to be wrong"),
    ("ERROR", "could not be told"),
    ("SKIP", "does not apply, for the reason given"),
    ("BLOCKED", "could not be judged, because a check that it needs failed"),
    ("WAIVED", "failed, and somebody has taken responsibility until a date"),
];

fn card(record: &Record) -> Card {
    let check = &record.result;
    Card {
        id: check.id.clone(),
        title: if check.about.title.is_empty() {
            check.id.clone()
        } else {
            check.about.title.clone()
        },
        group: check.about.group.clone(),
        objective: check.about.objective.clone(),
        status: check.status,
        severity: check.about.severity.clone(),
        summary: check.summary.clone(),
        findings: check.findings.clone(),
        blocked_by: check.blocked_by.clone(),
        waiver: check.waiver.clone(),
        controls: check.about.controls.clone(),
        time: (check.started.rfc3339(), check.ended.rfc3339()),
        millis: (check.ended - check.started).0,
        attempts: check.attempts.len(),
        hash: record.hash.clone(),
        captures: record.captures.clone(),
        facts: check
            .facts
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .filter(|(_, value)| value.len() <= 200)
            .collect(),
        limit_ms: check.facts.get("warn_ms").and_then(Value::as_i64),
        excerpts: Vec::new(),
    }
}

fn by_category(cards: &[Card]) -> Vec<(String, Counts)> {
    let mut groups: BTreeMap<&str, Vec<Status>> = BTreeMap::new();
    for card in cards {
        let category = card.id.split('.').next().unwrap_or_default();
        groups.entry(category).or_default().push(card.status);
    }
    groups
        .into_iter()
        .map(|(name, list)| (name.to_owned(), Counts::of(list)))
        .collect()
}

fn controls(cards: &[Card]) -> Vec<ControlRow> {
    let mut rows: BTreeMap<&str, Vec<(String, Status)>> = BTreeMap::new();
    for card in cards {
        for control in &card.controls {
            rows.entry(control).or_default().push((card.id.clone(), card.status));
        }
    }
    let row = |(control, checks): (&str, _)| ControlRow {
        control: control.to_owned(),
        checks,
    };
    rows.into_iter().map(row).collect()
}

fn summary(evidence: &Evidence, cards: &[Card], changes: Option<&Diff>) -> Vec<String> {
    let c = evidence.counts;
    let mut sentences = vec![
        format!(
            "{} ({}) was checked with {} checks; the verdict is {}.",
            evidence.run.system,
            evidence.run.environment,
            c.total,
            evidence.verdict.words()
        ),
        format!(
            "{} passed, {} with a warning, {} failed, {} could not be told, {} skipped, {} blocked, {} waived.",
            c.pass, c.warn, c.fail, c.error, c.skip, c.blocked, c.waived
        ),
    ];
    let worst: Vec<&str> = cards
        .iter()
        .filter(|card| card.findings.iter().any(|f| f.level == Level::Fail))
        .take(3)
        .map(|card| card.id.as_str())
        .collect();
    if !worst.is_empty() {
        sentences.push(format!("To be mended first: {}.", worst.join(", ")));
    }
    if let Some(changes) = changes {
        let n = |change| changes.of(change).count();
        sentences.push(format!(
            "Since the run before, {} are new, {} are fixed and {} are still there.",
            n(Change::New),
            n(Change::Fixed),
            n(Change::Still)
        ));
    }
    sentences
}
