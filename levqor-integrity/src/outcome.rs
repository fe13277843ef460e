//! What one run of one check found.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::status::Status;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works, and somebody should look at it.
    Warn,
    /// It could not be told.
    Error,
    /// It is wrong.
    Fail,
}

/// One cause, with everything that somebody who has to mend it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// The stable name of the cause, `tls.expired`.
    pub cause: String,
    /// What is so, in one sentence: "the certificate expired 3 days ago (2026-11-18)".
    pub message: String,
    /// What it should be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actual: String,
    /// Where: a URL, a table, a variable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Whether checks that need this one cannot be judged because of it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub blocks: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_yes(b: &bool) -> bool {
    *b
}

impl Finding {
    fn new(level: Level, cause: &str, message: impl Into<String>) -> Self {
        Finding {
            level,
            cause: cause.to_owned(),
            message: message.into(),
            expected: String::new(),
            actual: String::new(),
            at: String::new(),
            hint: String::new(),
            blocks: level != Level::Warn,
        }
    }

    /// Something is wrong.
    pub fn fail(cause: &str, message: impl Into<String>) -> Self {
        Finding::new(Level::Fail, cause, message)
    }

    /// Something works, and somebody should look at it.
    pub fn warn(cause: &str, message: impl Into<String>) -> Self {
        Finding::new(Level::Warn, cause, message)
    }

    /// Something could not be told.
    pub fn error(cause: &str, message: impl Into<String>) -> Self {
        Finding::new(Level::Error, cause, message)
    }

    /// What it should be.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = text.into();
        self
    }

    /// What it is.
    #[must_use]
    pub fn actual(mut self, text: impl Into<String>) -> Self {
        self.actual = text.into();
        self
    }

    /// Where.
    #[must_use]
    pub fn at(mut self, text: impl Into<String>) -> Self {
        self.at = text.into();
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = text.into();
        self
    }

    /// Checks that need this one can be judged all the same.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        self.blocks = false;
        self
    }
}

/// What one run of a check found. Its [`status`](Outcome::status) follows from its findings; nothing else can make it
/// pass.
///
/// ```
/// use levqor_integrity::{Finding, Outcome, Status};
/// let mut outcome = Outcome::new("the queue holds 3 jobs");
/// assert_eq!(outcome.status(), Status::Pass);
/// outcome.add(Finding::warn("queue.long", "the queue grows").expected("at most 2").actual("3"));
/// assert_eq!(outcome.status(), Status::Warn);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was seen, in one line.
    pub summary: String,
    /// What is to be said about it, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Why the check was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What was measured: numbers and names that the next run is compared with.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

impl Outcome {
    /// Nothing to complain about, so far.
    pub fn new(summary: impl Into<String>) -> Self {
        Outcome {
            summary: summary.into(),
            ..Outcome::default()
        }
    }

    /// The check does not apply, for this reason.
    pub fn skip(reason: impl Into<String>) -> Self {
        Outcome {
            skipped: Some(reason.into()),
            ..Outcome::default()
        }
    }

    /// Adds a finding; the worst stand first.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
        self.findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    }

    /// Adds what was measured.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// How it ended.
    pub fn status(&self) -> Status {
        match self.findings.first().map(|f| f.level) {
            Some(Level::Fail) => Status::Fail,
            Some(Level::Error) => Status::Error,
            _ if self.skipped.is_some() => Status::Skip,
            Some(Level::Warn) => Status::Warn,
            None => Status::Pass,
        }
    }

    /// Whether checks that need this one cannot be judged.
    pub fn blocks(&self) -> bool {
        self.findings.iter().any(|f| f.blocks)
    }
}

impl From<Finding> for Outcome {
    fn from(finding: Finding) -> Self {
        let mut outcome = Outcome::new("");
        outcome.add(finding);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let mut outcome = Outcome::new("ok");
        outcome.add(Finding::warn("a", "a"));
        outcome.add(Finding::error("b", "b"));
        assert_eq!(outcome.status(), Status::Error);
        outcome.add(Finding::fail("c", "c"));
        assert_eq!((outcome.status(), outcome.findings[0].cause.as_str()), (Status::Fail, "c"));
        assert_eq!(Outcome::skip("not set").status(), Status::Skip);
        let harmless = Outcome::from(Finding::fail("a", "a").harmless());
        assert!(!harmless.blocks() && harmless.status() == Status::Fail);
    }
}
