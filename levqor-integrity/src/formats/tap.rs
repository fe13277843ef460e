//! TAP 13, as `prove` reads it: a waived failure is `not ok .. # TODO`, what did not run is `ok .. # SKIP`.

use std::fmt::Write as _;

use serde_json::json;

use crate::evidence::Evidence;
use crate::status::Status;

/// A run as TAP.
pub fn tap(evidence: &Evidence) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", evidence.records.len());
    for (i, record) in evidence.records.iter().enumerate() {
        let check = &record.result;
        let n = i + 1;
        let reason = plain(&check.summary);
        let _ = match check.status {
            Status::Pass | Status::Warn => writeln!(text, "ok {n} - {}", check.id),
            Status::Fail | Status::Error => writeln!(text, "not ok {n} - {}", check.id),
            Status::Skip | Status::Blocked => writeln!(text, "ok {n} - {} # SKIP {reason}", check.id),
            Status::Waived => writeln!(text, "not ok {n} - {} # TODO {reason}", check.id),
        };
        if !check.findings.is_empty() {
            let _ = writeln!(text, "  ---\n  status: {}", check.status.word());
            text.push_str("  findings:\n");
            for finding in &check.findings {
                // JSON texts are YAML texts too.
                let _ = writeln!(
                    text,
                    "    - cause: {}\n      message: {}",
                    json!(finding.cause),
                    json!(finding.message)
                );
                for (name, value) in [
                    ("expected", &finding.expected),
                    ("actual", &finding.actual),
                    ("at", &finding.at),
                    ("help", &finding.hint),
                ] {
                    if !value.is_empty() {
                        let _ = writeln!(text, "      {name}: {}", json!(value));
                    }
                }
            }
            text.push_str("  ...\n");
        }
    }
    let _ = writeln!(text, "# verdict: {}", evidence.verdict.words());
    text
}

/// On one line, and without the sign that begins a directive.
fn plain(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    flat.replace('#', "no.")
}
