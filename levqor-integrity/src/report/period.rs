//! What the runs of a period show together: which were due and present, and how long failures stood.

use std::collections::BTreeMap;

use levqor_core::error::{Error, Result};
use levqor_core::types::Millis;
use serde::Serialize;

use crate::evidence::Evidence;
use crate::status::{Counts, Status, Verdict};

/// A run of the past, as a chart and a calendar need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Its number.
    pub number: u64,
    /// When it began, RFC 3339.
    pub started: String,
    /// What it meant.
    pub verdict: Verdict,
    /// How many ended how.
    pub counts: Counts,
    /// SHA-256 of its evidence.
    pub sha256: String,
}

impl Past {
    /// A run in short.
    pub fn of(evidence: &Evidence) -> Result<Self> {
        Ok(Past {
            number: evidence.run.number,
            started: evidence.run.started.clone(),
            verdict: evidence.verdict,
            counts: evidence.counts,
            sha256: evidence.digest()?,
        })
    }
}

/// A time span in which runs were due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Its first instant, RFC 3339.
    pub from: String,
    /// The first instant behind it.
    pub until: String,
    /// How often a run was due, in words.
    pub every: String,
    /// One for every run that was due, in order.
    pub due: Vec<Due>,
    /// Runs that came besides those.
    pub extra: usize,
    /// How long failures stood.
    pub repairs: Vec<Repair>,
    /// Whether every run names the digest of the one before it.
    pub unbroken: bool,
}

/// A run that was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// The beginning of the time in which it was due, RFC 3339.
    pub from: String,
    /// The run that came first in it; none if it is missing.
    pub run: Option<(u64, Verdict)>,
}

/// A failure, and when it was mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The check.
    pub check: String,
    /// The run in which it failed first.
    pub failed: u64,
    /// When that began.
    pub failed_at: String,
    /// The run in which it was well again.
    pub mended: Option<u64>,
    /// Milliseconds between the two runs.
    pub took: Option<i64>,
}

const MOST_DUE: i64 = 5_000;

impl Period {
    /// What the runs (in order) show about the time from `from` until `until`, in which one was due every `every`.
    pub fn of(runs: &[Evidence], from: Millis, until: Millis, every: Millis) -> Result<Self> {
        let parts = if every.0 > 0 {
            (until.0 - from.0).max(0) / every.0 + 1
        } else {
            i64::MAX
        };
        if until <= from || parts > MOST_DUE {
            return Err(Error::invalid(
                "report.bad_period",
                format!("a period has to be longer than nothing and hold at most {MOST_DUE} runs"),
            ));
        }
        let inside: Vec<&Evidence> = runs.iter().filter(|r| (from..until).contains(&r.started())).collect();
        let mut due = Vec::new();
        let mut at = from;
        while at < until {
            let end = Millis(at.0 + every.0).min(until);
            let first = inside.iter().find(|r| (at..end).contains(&r.started()));
            due.push(Due {
                from: at.rfc3339(),
                run: first.map(|r| (r.run.number, r.verdict)),
            });
            at = end;
        }
        let present = due.iter().filter(|d| d.run.is_some()).count();
        let mut unbroken = true;
        for pair in inside.windows(2) {
            let named = pair[1].run.previous.as_ref();
            unbroken &= named.is_some_and(|l| l.number == pair[0].run.number)
                && named.map(|l| l.sha256.clone()) == Some(pair[0].digest()?);
        }
        Ok(Period {
            from: from.rfc3339(),
            until: until.rfc3339(),
            every: words(every),
            due,
            extra: inside.len() - present,
            repairs: repairs(&inside),
            unbroken,
        })
    }
}

fn repairs(runs: &[&Evidence]) -> Vec<Repair> {
    let mut open: BTreeMap<&str, (u64, &Evidence)> = BTreeMap::new();
    let mut done = Vec::new();
    for run in runs {
        for record in &run.records {
            let id = record.result.id.as_str();
            match record.result.status {
                Status::Fail => {
                    open.entry(id).or_insert((run.run.number, run));
                }
                // What was not looked at says nothing about the failure.
                Status::Pass | Status::Warn => {
                    if let Some((number, first)) = open.remove(id) {
                        done.push(Repair {
                            check: id.to_owned(),
                            failed: number,
                            failed_at: first.run.started.clone(),
                            mended: Some(run.run.number),
                            took: Some((run.started() - first.started()).0),
                        });
                    }
                }
                _ => {}
            }
        }
    }
    done.extend(open.into_iter().map(|(check, (failed, first))| Repair {
        check: check.to_owned(),
        failed,
        failed_at: first.run.started.clone(),
        mended: None,
        took: None,
    }));
    done.sort_by(|a, b| (a.failed, &a.check).cmp(&(b.failed, &b.check)));
    done
}

/// A span in words: `7 days`, `90 minutes`, `1.250 s`.
pub(crate) fn words(span: Millis) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    for (size, name) in UNITS {
        if span.0 >= size && span.0 % size == 0 && span.0 / size < 100 {
            let n = span.0 / size;
            return format!("{n} {name}{}", if n == 1 { "" } else { "s" });
        }
    }
    // Of longer spans, the largest two units.
    for (i, (size, name)) in UNITS.iter().enumerate().take(3) {
        if span.0 >= *size {
            let (n, rest) = (span.0 / size, span.0 % size);
            let (next, small) = UNITS[i + 1];
            let plural = |n: i64, name: &str| format!("{n} {name}{}", if n == 1 { "" } else { "s" });
            return format!("{} {}", plural(n, name), plural(rest / next, small));
        }
    }
    format!("{} ms", span.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_words() {
        for (ms, text) in [
            (604_800_000, "7 days"),
            (5_400_000, "90 minutes"),
            (90_061_000, "1 day 1 hour"),
            (61_500, "1 minute 1 second"),
            (1_250, "1250 ms"),
            (0, "0 ms"),
        ] {
            assert_eq!(words(Millis(ms)), text);
        }
    }
}
