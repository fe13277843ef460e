//! How a check ended, and what all of them together mean.

use serde::{Deserialize, Serialize};

/// How a check ended. Unknown is never passed: what could not be told is [`Status::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It was shown to be as it must be.
    Pass,
    /// It works, and somebody should look at it.
    Warn,
    /// It was shown to be wrong.
    Fail,
    /// It could not be told: neither passed nor failed.
    Error,
    /// It was left out, with a reason.
    Skip,
    /// What it needs has failed; the cause is reported there, once.
    Blocked,
    /// It failed, and somebody has taken responsibility for that until a date.
    Waived,
}

impl Status {
    /// Every status, in the order in which counts are shown.
    pub const ALL: [Status; 7] = [
        Status::Pass,
        Status::Warn,
        Status::Fail,
        Status::Error,
        Status::Skip,
        Status::Blocked,
        Status::Waived,
    ];

    /// The word, as it stands in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Pass => "PASS",
            Status::Warn => "WARN",
            Status::Fail => "FAIL",
            Status::Error => "ERROR",
            Status::Skip => "SKIP",
            Status::Blocked => "BLOCKED",
            Status::Waived => "WAIVED",
        }
    }
}

/// What a run says about the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Everything that was checked is as it must be.
    #[serde(rename = "READY")]
    Ready,
    /// Nothing failed; there are warnings or waivers.
    #[serde(rename = "READY WITH WARNINGS")]
    ReadyWithWarnings,
    /// Something failed.
    #[serde(rename = "NOT READY")]
    NotReady,
    /// Nothing failed, and something could not be told; or nothing was shown at all.
    #[serde(rename = "INDETERMINATE")]
    Indeterminate,
}

impl Verdict {
    /// The words, as they stand in every output.
    pub const fn words(self) -> &'static str {
        match self {
            Verdict::Ready => "READY",
            Verdict::ReadyWithWarnings => "READY WITH WARNINGS",
            Verdict::NotReady => "NOT READY",
            Verdict::Indeterminate => "INDETERMINATE",
        }
    }

    /// The exit code of a run that ended so: 0 ready, 1 something failed, 3 it could not be told.
    pub const fn exit_code(self) -> u8 {
        match self {
            Verdict::Ready | Verdict::ReadyWithWarnings => 0,
            Verdict::NotReady => 1,
            Verdict::Indeterminate => 3,
        }
    }
}

/// How many checks ended how. The parts add up to `total`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passed.
    pub pass: u32,
    /// Passed with a warning.
    pub warn: u32,
    /// Failed.
    pub fail: u32,
    /// Could not be told.
    pub error: u32,
    /// Left out, with a reason.
    pub skip: u32,
    /// Blocked by another one's failure.
    pub blocked: u32,
    /// Failed, under a waiver that holds.
    pub waived: u32,
    /// All that were selected.
    pub total: u32,
}

impl Counts {
    /// Counts.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        let mut counts = Counts::default();
        for status in statuses {
            counts.total += 1;
            *counts.part(status) += 1;
        }
        counts
    }

    fn part(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::Pass => &mut self.pass,
            Status::Warn => &mut self.warn,
            Status::Fail => &mut self.fail,
            Status::Error => &mut self.error,
            Status::Skip => &mut self.skip,
            Status::Blocked => &mut self.blocked,
            Status::Waived => &mut self.waived,
        }
    }

    /// How many ended with this status.
    pub fn get(mut self, status: Status) -> u32 {
        *self.part(status)
    }

    /// The verdict: a failure outweighs what could not be told, and that outweighs a warning. A run in which nothing
    /// was shown (everything skipped) is indeterminate.
    pub fn verdict(self) -> Verdict {
        if self.fail > 0 {
            Verdict::NotReady
        } else if self.error + self.blocked > 0 || self.pass + self.warn + self.waived == 0 {
            Verdict::Indeterminate
        } else if self.warn + self.waived > 0 {
            Verdict::ReadyWithWarnings
        } else {
            Verdict::Ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Blocked, Error, Fail, Pass, Skip, Waived, Warn};

    #[test]
    fn the_verdict_is_never_better_than_its_worst_part() {
        for (statuses, verdict) in [
            (&[Pass, Pass][..], Verdict::Ready),
            (&[Pass, Skip], Verdict::Ready),
            (&[Pass, Warn], Verdict::ReadyWithWarnings),
            (&[Pass, Waived], Verdict::ReadyWithWarnings),
            (&[Waived], Verdict::ReadyWithWarnings),
            (&[Pass, Error, Warn], Verdict::Indeterminate),
            (&[Waived, Blocked], Verdict::Indeterminate),
            (&[Skip, Skip], Verdict::Indeterminate),
            (&[], Verdict::Indeterminate),
            (&[Pass, Error, Fail, Warn], Verdict::NotReady),
        ] {
            let counts = Counts::of(statuses.iter().copied());
            assert_eq!(counts.verdict(), verdict, "{statuses:?}");
            let sum: u32 = Status::ALL.iter().map(|s| counts.get(*s)).sum();
            assert_eq!(sum, counts.total);
        }
    }

    #[test]
    fn words_are_what_json_says() {
        for status in Status::ALL {
            assert_eq!(serde_json::json!(status), status.word());
        }
        for verdict in [
            Verdict::Ready,
            Verdict::ReadyWithWarnings,
            Verdict::NotReady,
            Verdict::Indeterminate,
        ] {
            assert_eq!(serde_json::json!(verdict), verdict.words());
        }
    }
}
