//! Prometheus' text format 0.0.4, for a node exporter's textfile collector or a push gateway.

use std::fmt::Write as _;

use super::secs;
use crate::evidence::Evidence;
use crate::status::{Status, Verdict};

/// A run as metrics.
pub fn prometheus(evidence: &Evidence) -> String {
    let mut text = String::new();
    let run = &evidence.run;
    let place = format!(
        "system=\"{}\",environment=\"{}\"",
        label(&run.system),
        label(&run.environment)
    );
    head(
        &mut text,
        "levqor_integrity_check_status",
        "How a check ended: 1 for the status that it has.",
    );
    for check in evidence.records.iter().map(|r| &r.result) {
        for status in Status::ALL {
            let _ = writeln!(
                text,
                "levqor_integrity_check_status{{{place},check=\"{}\",group=\"{}\",status=\"{}\"}} {}",
                label(&check.id),
                label(&check.about.group),
                status.word().to_ascii_lowercase(),
                u8::from(status == check.status)
            );
        }
    }
    head(&mut text, "levqor_integrity_check_duration_seconds", "How long a check took.");
    for check in evidence.records.iter().map(|r| &r.result) {
        let _ = writeln!(
            text,
            "levqor_integrity_check_duration_seconds{{{place},check=\"{}\"}} {}",
            label(&check.id),
            secs(check)
        );
    }
    head(&mut text, "levqor_integrity_checks", "How many checks ended so.");
    for status in Status::ALL {
        let name = status.word().to_ascii_lowercase();
        let _ = writeln!(
            text,
            "levqor_integrity_checks{{{place},status=\"{name}\"}} {}",
            evidence.counts.get(status)
        );
    }
    head(
        &mut text,
        "levqor_integrity_ready",
        "Whether the verdict was READY or READY WITH WARNINGS.",
    );
    let ready = matches!(evidence.verdict, Verdict::Ready | Verdict::ReadyWithWarnings);
    let _ = writeln!(
        text,
        "levqor_integrity_ready{{{place},verdict=\"{}\"}} {}",
        evidence.verdict.words(),
        u8::from(ready)
    );
    head(&mut text, "levqor_integrity_run_number", "The number of the run.");
    let _ = writeln!(text, "levqor_integrity_run_number{{{place}}} {}", run.number);
    head(
        &mut text,
        "levqor_integrity_run_timestamp_seconds",
        "When the run began, in seconds since 1970.",
    );
    let began = evidence.started().0;
    let _ = writeln!(
        text,
        "levqor_integrity_run_timestamp_seconds{{{place}}} {}.{:03}",
        began.div_euclid(1_000),
        began.rem_euclid(1_000)
    );
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
