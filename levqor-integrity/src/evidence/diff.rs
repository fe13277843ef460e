//! What changed between two runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Evidence, Link};
use crate::runner::CheckResult;
use crate::status::Status;

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was well, and is not any more.
    New,
    /// It was not well, and is now.
    Fixed,
    /// It was not well, and still is not.
    Still,
    /// It ended otherwise than before, neither better nor worse in these terms.
    Changed,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It ended the same, and measured something else.
    Measured,
}

/// A check that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which check.
    pub id: String,
    /// What became of it.
    pub change: Change,
    /// How it ended before.
    pub before: Option<Status>,
    /// How it ended now.
    pub now: Option<Status>,
    /// What it says now, or said last.
    pub summary: String,
    /// What was measured differently: name, before, now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<(String, Value, Value)>,
}

/// The differences of two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The earlier run.
    pub before: Link,
    /// The later one.
    pub now: Link,
    /// What the run itself was told differently: name, before, now.
    pub configuration: Vec<(String, String, String)>,
    /// The checks that differ, in the order of the later run.
    pub checks: Vec<Difference>,
}

impl Diff {
    /// The checks with one change.
    pub fn of(&self, change: Change) -> impl Iterator<Item = &Difference> {
        self.checks.iter().filter(move |d| d.change == change)
    }
}

/// Facts that differ from run to run without meaning anything.
const NOISE: &[&str] = &["latency_ms", "warn_ms"];

fn well(status: Status) -> bool {
    matches!(status, Status::Pass | Status::Skip)
}

/// Compares two runs.
pub fn diff(before: &Evidence, now: &Evidence) -> levqor_core::error::Result<Diff> {
    let link = |e: &Evidence| -> levqor_core::error::Result<Link> {
        Ok(Link {
            number: e.run.number,
            run: e.run.id.clone(),
            sha256: e.digest()?,
        })
    };
    let mut configuration = Vec::new();
    let texts = |e: &Evidence| {
        [
            ("system", e.run.system.clone()),
            ("environment", e.run.environment.clone()),
            ("pack", e.run.pack.name.clone()),
            ("pack.sha256", e.run.pack.sha256.clone()),
            (
                "targets",
                e.run
                    .targets
                    .iter()
                    .map(|(n, t)| format!("{n}={t}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            ("runner.version", e.run.runner.version.clone()),
        ]
    };
    for ((name, was), (_, is)) in texts(before).into_iter().zip(texts(now)) {
        if was != is {
            configuration.push((name.to_owned(), was, is));
        }
    }
    let mut checks: Vec<Difference> = now
        .records
        .iter()
        .filter_map(|r| one(before.result(&r.result.id), &r.result))
        .collect();
    for gone in before.records.iter().filter(|r| now.result(&r.result.id).is_none()) {
        checks.push(Difference {
            id: gone.result.id.clone(),
            change: Change::Removed,
            before: Some(gone.result.status),
            now: None,
            summary: gone.result.summary.clone(),
            facts: Vec::new(),
        });
    }
    Ok(Diff {
        before: link(before)?,
        now: link(now)?,
        configuration,
        checks,
    })
}

fn one(before: Option<&CheckResult>, now: &CheckResult) -> Option<Difference> {
    let facts = before.map(|b| facts(b, now)).unwrap_or_default();
    let change = match before.map(|b| b.status) {
        None => Change::Added,
        Some(was) if well(was) && !well(now.status) => Change::New,
        Some(was) if !well(was) && well(now.status) => Change::Fixed,
        Some(was) if was != now.status => Change::Changed,
        Some(was) if !well(was) => Change::Still,
        Some(_) if !facts.is_empty() => Change::Measured,
        Some(_) => return None,
    };
    Some(Difference {
        id: now.id.clone(),
        change,
        before: before.map(|b| b.status),
        now: Some(now.status),
        summary: now.summary.clone(),
        facts,
    })
}

fn facts(before: &CheckResult, now: &CheckResult) -> Vec<(String, Value, Value)> {
    let mut names: Vec<&String> = before.facts.keys().chain(now.facts.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|n| !NOISE.contains(&n.as_str()))
        .map(|n| {
            let of = |c: &CheckResult| c.facts.get(n).cloned().unwrap_or_default();
            (n.clone(), of(before), of(now))
        })
        .filter(|(_, was, is)| was != is)
        .collect()
}
