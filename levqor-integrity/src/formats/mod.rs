//! A run for other tools: JUnit, TAP, SARIF, OSCAL, Prometheus. Each is a function of the evidence alone.

mod junit;
mod oscal;
mod prometheus;
mod sarif;
mod tap;

pub use junit::junit;
pub use oscal::oscal;
pub use prometheus::prometheus;
pub use sarif::sarif;
pub use tap::tap;

use std::fmt::Write as _;

use crate::evidence::Evidence;
use crate::outcome::Finding;
use crate::runner::CheckResult;
use levqor_core::error::{Error, Result};
use levqor_core::pipeline::suggest::did_you_mean;

/// The names of the formats, each with the name of its file.
pub const FORMATS: &[(&str, &str)] = &[
    ("junit", "junit.xml"),
    ("tap", "results.tap"),
    ("sarif", "results.sarif"),
    ("oscal", "oscal-assessment-results.json"),
    ("prometheus", "metrics.prom"),
];

/// A run in a format, by its name.
pub fn write(format: &str, evidence: &Evidence) -> Result<(&'static str, String)> {
    let Some((name, file)) = FORMATS.iter().find(|(n, _)| *n == format) else {
        let names: Vec<&str> = FORMATS.iter().map(|(n, _)| *n).collect();
        let known = did_you_mean(format, names.iter().copied());
        let message = format!("there is no format `{format}`{known}");
        return Err(Error::invalid("integrity.unknown_format", message).hint(format!("there are {}", names.join(", "))));
    };
    let text = match *name {
        "junit" => junit(evidence),
        "tap" => tap(evidence),
        "sarif" => sarif(evidence),
        "oscal" => oscal(evidence),
        _ => prometheus(evidence),
    };
    Ok((file, text))
}

/// A finding on a few lines: message, expected, actual, where, what to do.
fn lines(finding: &Finding) -> String {
    let mut text = finding.message.clone();
    for (name, value) in [
        ("expected", &finding.expected),
        ("actual", &finding.actual),
        ("at", &finding.at),
        ("help", &finding.hint),
    ] {
        if !value.is_empty() {
            let _ = text.write_fmt(format_args!("\n{name}: {value}"));
        }
    }
    text
}

/// Milliseconds as seconds, `1.250`.
fn secs(check: &CheckResult) -> String {
    let span = (check.ended - check.started).0.max(0);
    format!("{}.{:03}", span / 1_000, span % 1_000)
}

/// A UUID (version 5 in form) that follows from a text.
fn uuid(text: &str) -> String {
    let hex = crate::sha256_hex(text.as_bytes());
    format!(
        "{}-{}-5{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}
