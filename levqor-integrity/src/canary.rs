//! A new version on trial: its health is asked again and again, and statistics say whether it may stay.
//!
//! The share of failures is judged by its 95 % confidence interval (Wilson's score interval): it may stay if even the upper
//! end is below what is allowed, it has to go if even the lower end is above, and until then it is not known. So a single
//! failure of three probes decides nothing, and a handful of good answers is no proof.
//!
//! ```
//! use levqor_integrity::canary::{Limits, Sample, Verdict, judge};
//! let limits = Limits { failures: 0.05, ..Limits::default() };
//! let good: Vec<Sample> = (0..100).map(|i| Sample { ok: true, millis: 20 + i % 7, cause: None }).collect();
//! assert_eq!(judge(&good, &limits, true).verdict, Verdict::Promote);
//! assert_eq!(judge(&good[..10], &limits, true).verdict, Verdict::Inconclusive);
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Whether the answer was a good one.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub millis: i64,
    /// Why it was not good: a stable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The share of probes that may fail, from 0 to 1.
    pub failures: f64,
    /// The 95th percentile of the good answers' times, in milliseconds.
    pub p95_ms: Option<i64>,
    /// So many failures one after the other end the trial at once.
    pub in_a_row: u32,
    /// Fewer probes than this prove nothing.
    pub least: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            failures: 0.05,
            p95_ms: None,
            in_a_row: 3,
            least: 20,
        }
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It may stay.
    Promote,
    /// It has to go.
    Rollback,
    /// It is not known.
    Inconclusive,
}

/// The statistics, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What follows.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
    /// How many probes there were.
    pub probes: usize,
    /// How many failed.
    pub failed: usize,
    /// Between these lies the share of failures, with 95 % confidence.
    pub interval: (f64, f64),
    /// Times of the good answers: the median, the 95th and 99th percentile, the longest.
    pub p50_ms: Option<i64>,
    /// The 95th percentile.
    pub p95_ms: Option<i64>,
    /// The 99th percentile.
    pub p99_ms: Option<i64>,
    /// The longest.
    pub max_ms: Option<i64>,
    /// Failures by cause.
    pub causes: BTreeMap<String, usize>,
}

/// Wilson's score interval of a share, at 95 %.
pub fn wilson(part: usize, whole: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if whole == 0 {
        return (0.0, 1.0);
    }
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let (n, p) = (count(whole), count(part) / count(whole));
    let z2 = Z * Z;
    let middle = p + z2 / (2.0 * n);
    let spread = Z * ((p * (1.0 - p) + z2 / (4.0 * n)) / n).sqrt();
    let low = if part == 0 { 0.0 } else { (middle - spread) / (1.0 + z2 / n) };
    let high = if part == whole {
        1.0
    } else {
        (middle + spread) / (1.0 + z2 / n)
    };
    (low.max(0.0), high.min(1.0))
}

/// The nearest-rank percentile of sorted times.
fn percentile(sorted: &[i64], p: usize) -> Option<i64> {
    let rank = (sorted.len() * p).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Judges the probes so far. While the trial is not `over`, only what cannot get better any more is decided.
pub fn judge(samples: &[Sample], limits: &Limits, over: bool) -> Judgement {
    let failed = samples.iter().filter(|s| !s.ok).count();
    let mut times: Vec<i64> = samples.iter().filter(|s| s.ok).map(|s| s.millis).collect();
    times.sort_unstable();
    let mut causes = BTreeMap::new();
    for sample in samples.iter().filter(|s| !s.ok) {
        *causes
            .entry(sample.cause.clone().unwrap_or_else(|| "unknown".into()))
            .or_default() += 1;
    }
    let interval = wilson(failed, samples.len());
    let p95_ms = percentile(&times, 95);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let row = samples.iter().rev().take_while(|s| !s.ok).count();
    let enough = samples.len() >= limits.least as usize;
    let slow = limits.p95_ms.zip(p95_ms).filter(|(limit, p95)| p95 > limit);
    let (verdict, reason) = if limits.in_a_row > 0 && row >= limits.in_a_row as usize {
        (Verdict::Rollback, format!("{row} probes failed one after the other"))
    } else if enough && interval.0 > limits.failures {
        let reason = format!(
            "at least {} of the probes fail, and {} are allowed",
            percent(interval.0),
            percent(limits.failures)
        );
        (Verdict::Rollback, reason)
    } else if let Some((limit, p95)) = slow.filter(|_| over && enough) {
        (
            Verdict::Rollback,
            format!("the 95th percentile is {p95} ms, and {limit} ms are allowed"),
        )
    } else if !over {
        (Verdict::Inconclusive, "the trial is not over".into())
    } else if !enough {
        let reason = format!("{} probes are too few; {} are needed", samples.len(), limits.least);
        (Verdict::Inconclusive, reason)
    } else if interval.1 <= limits.failures {
        (
            Verdict::Promote,
            format!("at most {} of the probes fail", percent(interval.1)),
        )
    } else {
        let reason = format!(
            "between {} and {} of the probes fail; more probes are needed to know whether that is below {}",
            percent(interval.0),
            percent(interval.1),
            percent(limits.failures)
        );
        (Verdict::Inconclusive, reason)
    };
    Judgement {
        verdict,
        reason,
        probes: samples.len(),
        failed,
        interval,
        p50_ms: percentile(&times, 50),
        p95_ms,
        p99_ms: percentile(&times, 99),
        max_ms: times.last().copied(),
        causes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ok: usize, bad: usize) -> Vec<Sample> {
        // Failures are spread, so that they are no row.
        let one = |ok: bool| Sample {
            ok,
            millis: 10,
            cause: (!ok).then(|| "http.status".into()),
        };
        let every = (ok + bad).checked_div(bad).unwrap_or(usize::MAX);
        let mut left = bad;
        (1..=ok + bad)
            .map(|i| {
                let fail = left > 0 && i.is_multiple_of(every);
                left -= usize::from(fail);
                one(!fail)
            })
            .collect()
    }

    #[test]
    fn intervals_are_wilsons() {
        // Values of the published formula, to four digits.
        for (part, whole, low, high) in [
            (0, 20, 0.0, 0.1611),
            (1, 20, 0.0089, 0.2361),
            (10, 20, 0.2993, 0.7007),
            (20, 20, 0.8389, 1.0),
        ] {
            let (a, b) = wilson(part, whole);
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{part}/{whole}: {a} {b}");
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn only_what_is_known_is_decided() {
        let limits = Limits::default();
        let verdict = |ok, bad, over| judge(&samples(ok, bad), &limits, over).verdict;
        assert_eq!(verdict(100, 0, true), Verdict::Promote);
        assert_eq!(verdict(30, 0, true), Verdict::Inconclusive);
        assert_eq!(verdict(19, 1, true), Verdict::Inconclusive);
        assert_eq!(verdict(60, 20, false), Verdict::Rollback);
        assert_eq!(verdict(100, 0, false), Verdict::Inconclusive);
        assert_eq!(verdict(0, 0, true), Verdict::Inconclusive);
        let mut ending = samples(50, 0);
        ending.extend(samples(0, 3));
        assert_eq!(judge(&ending, &limits, false).verdict, Verdict::Rollback);
        let slow = Limits {
            p95_ms: Some(9),
            ..Limits::default()
        };
        let judged = judge(&samples(100, 0), &slow, true);
        assert_eq!((judged.verdict, judged.p95_ms), (Verdict::Rollback, Some(10)));
        assert_eq!(judge(&samples(60, 20), &limits, true).causes["http.status"], 20);
    }
}
