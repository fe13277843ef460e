//! SARIF 2.1.0: a result for every finding, and one of kind `pass` for every check that passed.

use serde_json::{Value, json};

use super::lines;
use crate::evidence::Evidence;
use crate::outcome::Level;
use crate::runner::CheckResult;
use crate::sha256_hex;
use crate::status::Status;

/// A run as SARIF.
pub fn sarif(evidence: &Evidence) -> String {
    let checks: Vec<&CheckResult> = evidence.records.iter().map(|r| &r.result).collect();
    let rules: Vec<Value> = checks
        .iter()
        .map(|c| {
            let title = if c.about.title.is_empty() { &c.id } else { &c.about.title };
            let full = if c.about.objective.is_empty() {
                title
            } else {
                &c.about.objective
            };
            json!({
                "id": c.id,
                "name": title,
                "shortDescription": {"text": title},
                "fullDescription": {"text": full},
                "defaultConfiguration": {"level": "error"},
                "properties": {"tags": c.about.controls, "category": c.about.category, "severity": c.about.severity},
            })
        })
        .collect();
    let mut results = Vec::new();
    for (i, check) in checks.iter().enumerate() {
        results.extend(of_check(i, check));
    }
    let document = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "levqor",
                "version": evidence.run.runner.version,
                "semanticVersion": evidence.run.runner.version,
                "rules": rules,
            }},
            "automationDetails": {"id": format!("levqor-integrity/{}", evidence.run.id)},
            "invocations": [{
                "executionSuccessful": evidence.counts.error == 0,
                "startTimeUtc": evidence.run.started,
                "endTimeUtc": evidence.run.ended,
                "properties": {"verdict": evidence.verdict, "counts": evidence.counts},
            }],
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn of_check(index: usize, check: &CheckResult) -> Vec<Value> {
    let bare = |kind: &str, text: &str| {
        vec![json!({"ruleId": check.id, "ruleIndex": index, "kind": kind, "level": "none", "message": {"text": text}})]
    };
    let text = if check.summary.is_empty() {
        check.status.word()
    } else {
        &check.summary
    };
    match check.status {
        Status::Pass => return bare("pass", text),
        Status::Skip | Status::Blocked => return bare("notApplicable", text),
        _ => {}
    }
    let mut list = Vec::new();
    for finding in &check.findings {
        let (kind, level) = match finding.level {
            Level::Fail => ("fail", "error"),
            Level::Warn => ("fail", "warning"),
            // It could not be told: somebody has to look.
            Level::Error => ("open", "none"),
        };
        let at = if finding.at.is_empty() { &check.id } else { &finding.at };
        let mut result = json!({
            "ruleId": check.id,
            "ruleIndex": index,
            "kind": kind,
            "level": level,
            "message": {"text": lines(finding)},
            "locations": [{"logicalLocations": [{"name": at, "fullyQualifiedName": at, "kind": "resource"}]}],
            "partialFingerprints": {
                "levqor/v1": sha256_hex(format!("{}\n{}\n{}", check.id, finding.cause, finding.at).as_bytes()),
            },
            "properties": {"cause": finding.cause},
        });
        if let Some(waiver) = &check.waiver {
            let why = format!("{} (accepted by {} until {})", waiver.reason, waiver.owner, waiver.expires);
            result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": why}]);
        }
        list.push(result);
    }
    list
}
