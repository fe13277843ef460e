//! What a JSON answer says about itself, whatever its status code claims.

use serde_json::Value;

use crate::outcome::Finding;

/// Words that systems use for themselves when they are broken.
const BAD: &[&str] = &[
    "error",
    "err",
    "fail",
    "failed",
    "failing",
    "failure",
    "down",
    "unhealthy",
    "critical",
    "unavailable",
    "outage",
    "offline",
    "dead",
    "broken",
    "stopped",
    "stalled",
    "stuck",
    "ko",
    "not_ok",
    "disconnected",
    "major_outage",
];
/// And when they are not quite well.
const POOR: &[&str] = &[
    "degraded",
    "warn",
    "warning",
    "partial",
    "partial_outage",
    "impaired",
    "slow",
    "unstable",
];
/// Where they say it.
const STATE_KEYS: &[&str] = &["status", "state", "health"];
const GOOD_KEYS: &[&str] = &["ok", "healthy", "success", "alive", "ready"];
/// What an answer is wrapped in.
const ENVELOPES: &[&str] = &["data", "result", "response", "payload"];
/// Under which parts speak for themselves.
const PARTS: &[&str] = &["checks", "components", "services", "dependencies", "details", "subsystems"];

/// Findings for everything in a document that says that something is wrong. `at` is the place of the document.
pub(super) fn says(document: &Value, at: &str) -> Vec<Finding> {
    let mut said = Vec::new();
    one(document, "", at, &mut said);
    said
}

fn one(value: &Value, pointer: &str, at: &str, said: &mut Vec<Finding>) {
    let Some(map) = value.as_object() else { return };
    for (key, value) in map {
        let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        let lower = key.to_ascii_lowercase();
        if STATE_KEYS.contains(&lower.as_str()) {
            word(value, &place, at, said);
        } else if GOOD_KEYS.contains(&lower.as_str()) && value == &Value::Bool(false) {
            said.push(unhealthy(&place, at, "true", "false"));
        } else if lower == "error" || lower == "errors" {
            error(value, &place, at, said);
        } else if ENVELOPES.contains(&lower.as_str()) && value.is_object() {
            one(value, &place, at, said);
        } else if PARTS.contains(&lower.as_str()) {
            for (name, part) in parts(value) {
                let place = format!("{place}/{name}");
                if part.is_object() {
                    one(part, &place, at, said);
                } else {
                    word(part, &place, at, said);
                }
            }
        }
    }
}

/// The parts of a table, or of a list of tables.
fn parts(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
            .collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    }
}

fn word(value: &Value, place: &str, at: &str, said: &mut Vec<Finding>) {
    match value {
        Value::String(text) => {
            let lower = text.trim().to_ascii_lowercase().replace([' ', '-'], "_");
            if BAD.contains(&lower.as_str()) {
                said.push(unhealthy(place, at, "a good state", text));
            } else if POOR.contains(&lower.as_str()) {
                said.push(
                    Finding::warn("http.degraded", format!("the answer says `{text}` of itself"))
                        .expected("a good state")
                        .actual(text.as_str())
                        .at(format!("{at}#{place}"))
                        .hint("find out what is degraded"),
                );
            }
        }
        Value::Bool(false) => said.push(unhealthy(place, at, "true", "false")),
        Value::Object(_) => one(value, place, at, said),
        _ => {}
    }
}

fn error(value: &Value, place: &str, at: &str, said: &mut Vec<Finding>) {
    let text = match value {
        Value::Null | Value::Bool(false) | Value::Number(_) => return,
        Value::Array(list) if list.is_empty() => return,
        Value::Object(map) if map.is_empty() => return,
        Value::String(text) if matches!(text.trim().to_ascii_lowercase().as_str(), "" | "none" | "ok" | "null" | "no") => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    said.push(
        Finding::fail(
            "http.error_inside",
            "the answer holds an error, though its status says that all is well",
        )
        .expected("no error")
        .actual(clip(&text))
        .at(format!("{at}#{place}"))
        .hint("read the error; and let such answers have a status of 500 or 503"),
    );
}

fn unhealthy(place: &str, at: &str, expected: &str, actual: &str) -> Finding {
    Finding::fail(
        "http.unhealthy",
        format!("the answer says `{}` of itself at {place}", clip(actual)),
    )
    .expected(expected)
    .actual(clip(actual))
    .at(format!("{at}#{place}"))
    .hint("the service knows that it is not well; look at its own logs")
}

/// The beginning of a text that goes into a finding.
pub(super) fn clip(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What a pack expects at one place of a document.
#[derive(Clone, Debug)]
pub(super) struct Assert {
    pub(super) pointer: String,
    pub(super) expected: Value,
}

impl Assert {
    /// Complains about what cannot be meant: a comparison that does not exist.
    pub(super) fn fault(&self) -> Option<String> {
        if !self.pointer.is_empty() && !self.pointer.starts_with('/') {
            return Some(format!("`{}` is no JSON pointer: it begins with `/`", self.pointer));
        }
        let map = self.expected.as_object()?;
        let known = [
            "min",
            "max",
            "equals",
            "not",
            "exists",
            "one_of",
            "contains",
            "length_min",
            "length_max",
        ];
        map.keys().find(|k| !known.contains(&k.as_str())).map(|key| {
            let hint = levqor_core::pipeline::suggest::did_you_mean(key, known);
            format!("`{key}` is no comparison{hint}; there are {}", known.join(", "))
        })
    }

    /// The finding, if the document is not as expected.
    pub(super) fn check(&self, document: &Value, at: &str) -> Option<Finding> {
        let found = document.pointer(&self.pointer);
        let wrong = match &self.expected {
            Value::Object(map) => map.iter().find_map(|(op, want)| compare(op, want, found)),
            want => compare("equals", want, found),
        }?;
        let actual = found.map_or_else(|| "nothing".to_owned(), |v| clip(&v.to_string()));
        Some(
            Finding::fail("http.assertion", format!("{} is {actual}, expected {wrong}", self.pointer))
                .expected(wrong)
                .actual(actual)
                .at(format!("{at}#{}", self.pointer))
                .hint("the pack asks for this value"),
        )
    }
}

/// What was expected, if it is not so.
fn compare(op: &str, want: &Value, found: Option<&Value>) -> Option<String> {
    let number = |v: Option<&Value>| v.and_then(Value::as_f64);
    let length = |v: Option<&Value>| match v {
        Some(Value::Array(list)) => Some(list.len()),
        Some(Value::Object(map)) => Some(map.len()),
        Some(Value::String(text)) => Some(text.chars().count()),
        _ => None,
    };
    #[allow(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
    let (good, said) = match op {
        "equals" => (found.is_some_and(|f| same(f, want)), want.to_string()),
        "not" => (found.is_some_and(|f| !same(f, want)), format!("anything but {want}")),
        "exists" => (
            found.is_some() == want.as_bool().unwrap_or(true),
            if want == &Value::Bool(false) {
                "nothing".into()
            } else {
                "a value".into()
            },
        ),
        "min" => (
            number(found) >= want.as_f64() && number(found).is_some(),
            format!("at least {want}"),
        ),
        "max" => (
            number(found).is_some_and(|n| want.as_f64().is_some_and(|w| n <= w)),
            format!("at most {want}"),
        ),
        "one_of" => {
            let list = want.as_array().cloned().unwrap_or_default();
            (
                found.is_some_and(|f| list.iter().any(|w| same(f, w))),
                format!("one of {want}"),
            )
        }
        "contains" => {
            let good = match found {
                Some(Value::String(text)) => want.as_str().is_some_and(|w| text.contains(w)),
                Some(Value::Array(list)) => list.iter().any(|i| same(i, want)),
                _ => false,
            };
            (good, format!("something with {want} in it"))
        }
        "length_min" => (
            length(found).is_some_and(|n| want.as_f64().is_some_and(|w| n as f64 >= w)),
            format!("a length of at least {want}"),
        ),
        _ => (
            length(found).is_some_and(|n| want.as_f64().is_some_and(|w| n as f64 <= w)),
            format!("a length of at most {want}"),
        ),
    };
    (!good).then_some(said)
}

/// Equal, with 1 and 1.0 the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_that_complain_are_heard_and_odd_ones_left_alone() {
        for (document, causes) in [
            (json!({"status": "ok"}), &[][..]),
            (json!({"status": "UP", "components": {"db": {"status": "UP"}}}), &[]),
            (json!({"status": "success", "error": null, "errors": []}), &[]),
            (json!({"errors": 0, "error": "", "incidents": [{"status": "down"}]}), &[]),
            (json!({"status": "operational", "state": 3}), &[]),
            (json!(["down"]), &[]),
            (json!({"status": "Error"}), &["http.unhealthy"]),
            (json!({"ok": false}), &["http.unhealthy"]),
            (
                json!({"status": "ok", "checks": {"db": {"status": "fail"}}}),
                &["http.unhealthy"],
            ),
            (json!({"checks": {"redis": "down"}}), &["http.unhealthy"]),
            (json!({"checks": [{"name": "db", "healthy": false}]}), &["http.unhealthy"]),
            (json!({"error": {"code": 1}}), &["http.error_inside"]),
            (json!({"status": "degraded"}), &["http.degraded"]),
        ] {
            let found: Vec<String> = says(&document, "x").into_iter().map(|f| f.cause).collect();
            assert_eq!(found, causes, "{document}");
        }
    }

    #[test]
    fn assertions_hold_or_say_what_was_expected() {
        let document = json!({"n": 3, "s": "abc", "l": [1, 2]});
        let check = |pointer: &str, expected: Value| {
            let assert = Assert {
                pointer: pointer.into(),
                expected,
            };
            assert_eq!(assert.fault(), None);
            assert.check(&document, "x").is_none()
        };
        for (pointer, expected, holds) in [
            ("/n", json!(3), true),
            ("/n", json!(3.0), true),
            ("/n", json!(4), false),
            ("/n", json!({"min": 3, "max": 3}), true),
            ("/n", json!({"min": 4}), false),
            ("/x", json!({"min": 0}), false),
            ("/x", json!({"exists": false}), true),
            ("/s", json!({"contains": "b"}), true),
            ("/s", json!({"one_of": ["x", "abc"]}), true),
            ("/s", json!({"not": "abc"}), false),
            ("/l", json!({"length_min": 2, "length_max": 2}), true),
            ("/l", json!({"contains": 5}), false),
        ] {
            assert_eq!(check(pointer, expected.clone()), holds, "{pointer} {expected}");
        }
        let odd = Assert {
            pointer: "/n".into(),
            expected: json!({"mni": 1}),
        };
        assert!(odd.fault().unwrap_or_default().contains("did you mean `min`?"));
    }
}
