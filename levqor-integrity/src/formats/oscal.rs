//! OSCAL assessment results, version 1.1.2 (NIST): an observation for every check, a finding for every control that they
//! support.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{lines, uuid};
use crate::evidence::{Evidence, Record};
use crate::status::Status;

/// A run as OSCAL assessment results.
pub fn oscal(evidence: &Evidence) -> String {
    let run = &evidence.run;
    let observations: Vec<Value> = evidence.records.iter().map(|r| observation(r, evidence)).collect();
    let mut controls: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &evidence.records {
        for control in &record.result.about.controls {
            controls.entry(control).or_default().push(record);
        }
    }
    let findings: Vec<Value> = controls
        .iter()
        .map(|(control, records)| finding(control, records, evidence))
        .collect();
    let mut result = json!({
        "uuid": uuid(&format!("{} result", run.id)),
        "title": format!("Integrity run {} of {}", run.number, run.system),
        "description": format!(
            "Technical checks of {} ({}). Verdict: {}. They support the controls that are named; they are no opinion on them.",
            run.system, run.environment, evidence.verdict.words()
        ),
        "start": run.started,
        "end": run.ended,
        "reviewed-controls": {
            "control-selections": [{"description": "The controls that the selected checks support", "include-all": {}}],
        },
        "observations": observations,
        "props": [
            {"name": "verdict", "ns": NAMESPACE, "value": evidence.verdict.words()},
            {"name": "run-number", "ns": NAMESPACE, "value": run.number.to_string()},
        ],
    });
    if !findings.is_empty() {
        result["findings"] = Value::from(findings);
    }
    let document = json!({"assessment-results": {
        "uuid": uuid(&run.id),
        "metadata": {
            "title": format!("Integrity evidence of {}", run.system),
            "last-modified": run.ended,
            "version": run.number.to_string(),
            "oscal-version": "1.1.2",
        },
        "import-ap": {"href": "#pack", "remarks": format!("pack {} with SHA-256 {}", run.pack.name, run.pack.sha256)},
        "results": [result],
    }});
    format!("{document:#}\n")
}

const NAMESPACE: &str = "https://levqor.dev/oscal";

fn observation(record: &Record, evidence: &Evidence) -> Value {
    let check = &record.result;
    let said: Vec<String> = check.findings.iter().map(lines).collect();
    let description = if said.is_empty() {
        check.summary.clone()
    } else {
        said.join("\n\n")
    };
    let mut files: Vec<Value> = record
        .captures
        .iter()
        .map(|c| json!({"href": c.file, "description": format!("sha256 {}", c.sha256)}))
        .collect();
    files.push(json!({
        "href": format!("evidence.json#/records/{}", record.seq),
        "description": format!("chain hash {}", record.hash),
    }));
    json!({
        "uuid": uuid(&format!("{} {}", evidence.run.id, check.id)),
        "title": if check.about.title.is_empty() { &check.id } else { &check.about.title },
        "description": if description.is_empty() { check.status.word().to_owned() } else { description },
        "props": [
            {"name": "check", "ns": NAMESPACE, "value": check.id},
            {"name": "status", "ns": NAMESPACE, "value": check.status.word()},
        ],
        "methods": ["TEST"],
        "types": ["finding"],
        "relevant-evidence": files,
        "collected": check.ended.rfc3339(),
    })
}

/// A control is satisfied where every check that supports it passed.
fn finding(control: &str, records: &[&Record], evidence: &Evidence) -> Value {
    let good = |r: &&Record| matches!(r.result.status, Status::Pass | Status::Warn);
    let told = records.iter().filter(|r| r.result.status != Status::Skip);
    let satisfied = told.clone().count() > 0 && told.clone().all(good);
    let parts: Vec<String> = records
        .iter()
        .map(|r| format!("{} {}", r.result.id, r.result.status.word()))
        .collect();
    let related: Vec<Value> = records
        .iter()
        .map(|r| json!({"observation-uuid": uuid(&format!("{} {}", evidence.run.id, r.result.id))}))
        .collect();
    json!({
        "uuid": uuid(&format!("{} finding {control}", evidence.run.id)),
        "title": format!("Checks that support {control}"),
        "description": parts.join("; "),
        "target": {
            "type": "objective-id",
            "target-id": token(control),
            "status": {
                "state": if satisfied { "satisfied" } else { "not-satisfied" },
                "reason": if satisfied { "pass" } else { "other" },
            },
        },
        "related-observations": related,
    })
}

/// A control's name as OSCAL takes it: a letter, then letters, digits, `.`, `-` and `_`.
fn token(text: &str) -> String {
    let safe = text.chars().map(|c| {
        if c.is_ascii_alphanumeric() || ".-_".contains(c) {
            c
        } else {
            '_'
        }
    });
    let token: String = safe.collect();
    if token.starts_with(|c: char| c.is_ascii_alphabetic()) {
        token
    } else {
        format!("c_{token}")
    }
}
