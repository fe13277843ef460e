//! JUnit XML, as CI servers read it: FAIL is a failure, ERROR an error, SKIP, BLOCKED and WAIVED are skipped with their
//! reason, WARN passes with its text.

use std::fmt::Write as _;

use super::{lines, secs};
use crate::evidence::Evidence;
use crate::runner::CheckResult;
use crate::status::Status;

/// A run as JUnit XML.
pub fn junit(evidence: &Evidence) -> String {
    let results: Vec<&CheckResult> = evidence.records.iter().map(|r| &r.result).collect();
    let mut groups: Vec<&str> = results.iter().map(|r| r.about.group.as_str()).collect();
    groups.dedup();
    groups.sort_unstable();
    groups.dedup();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"levqor integrity\" {}>", totals(&results));
    for group in groups {
        let own: Vec<&CheckResult> = results.iter().copied().filter(|r| r.about.group == group).collect();
        let time = evidence.run.started.split('.').next().unwrap_or_default();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" {} timestamp=\"{}\">",
            attribute(group),
            totals(&own),
            attribute(time)
        );
        for check in own {
            case(&mut xml, check);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn totals(results: &[&CheckResult]) -> String {
    let count = |statuses: &[Status]| results.iter().filter(|r| statuses.contains(&r.status)).count();
    let span: i64 = results.iter().map(|r| (r.ended - r.started).0.max(0)).sum();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}.{:03}\"",
        results.len(),
        count(&[Status::Fail]),
        count(&[Status::Error]),
        count(&[Status::Skip, Status::Blocked, Status::Waived]),
        span / 1_000,
        span % 1_000
    )
}

fn case(xml: &mut String, check: &CheckResult) {
    let _ = write!(
        xml,
        "    <testcase name=\"{}\" classname=\"{}.{}\" time=\"{}\"",
        attribute(&check.id),
        attribute(&check.about.group),
        attribute(&check.about.category),
        secs(check)
    );
    let cause = check.findings.first().map_or("", |f| f.cause.as_str());
    let all: Vec<String> = check.findings.iter().map(|f| format!("[{}] {}", f.cause, lines(f))).collect();
    let body = all.join("\n\n");
    let message = attribute(&check.summary);
    let inner = match check.status {
        Status::Pass => return xml.push_str("/>\n"),
        Status::Warn => format!("<system-out>{}</system-out>", content(&format!("WARN {body}"))),
        Status::Fail => format!(
            "<failure type=\"{}\" message=\"{message}\">{}</failure>",
            attribute(cause),
            content(&body)
        ),
        Status::Error => format!(
            "<error type=\"{}\" message=\"{message}\">{}</error>",
            attribute(cause),
            content(&body)
        ),
        Status::Skip | Status::Blocked | Status::Waived => format!("<skipped message=\"{message}\"/>"),
    };
    let _ = writeln!(xml, ">\n      {inner}\n    </testcase>");
}

/// What XML 1.0 cannot hold in any spelling is replaced.
fn legal(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
        c => c,
    }
}

fn content(text: &str) -> String {
    let text: String = text.chars().map(legal).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn attribute(text: &str) -> String {
    content(text)
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
        .replace('\r', "&#13;")
        .replace('\t', "&#9;")
}
