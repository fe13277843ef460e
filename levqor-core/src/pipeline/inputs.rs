//! Whether an action's input, as far as it is known before the run, meets the action's schema.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::catalog::Entry;
use super::schema::{Class, Violation, explain};
use super::template::{Node, escape, node};

/// Every violation that no run can avoid. What a template will give is unknown, so whatever depends on it is passed over;
/// fields that are unknown or missing beside it are not.
///
/// The error says that the action's own schema cannot be used.
pub(super) fn violations(entry: &Entry, input: &Value, limit: usize) -> Result<Vec<Violation>, String> {
    let validator = entry.validator().map_err(str::to_owned)?;
    let mut holes = BTreeSet::new();
    let known = known_part(input, &mut String::new(), &mut holes);
    if validator.is_valid(&known) {
        return Ok(Vec::new());
    }
    let errors = validator.iter_errors(&known).filter(|error| {
        let at = error.instance_path().as_str();
        if holes.is_empty() {
            return true;
        }
        if inside(at, &holes) {
            return false;
        }
        if !around(at, &holes) {
            return true;
        }
        let path = error.evaluation_path().as_str();
        let certain = !["/then", "/else", "/dependentSchemas"].iter().any(|k| path.contains(k));
        let class = explain(error, &entry.input).first().map(|v| v.class);
        let structural = [Class::UnknownField, Class::MissingField, Class::WrongType, Class::Size];
        certain && class.is_some_and(|c| structural.contains(&c))
    });
    Ok(errors.flat_map(|e| explain(&e, &entry.input)).take(limit).collect())
}

/// The input with null in place of every template; their pointers go to `holes`.
fn known_part(value: &Value, at: &mut String, holes: &mut BTreeSet<String>) -> Value {
    let length = at.len();
    match node(value) {
        Ok(Node::Scalar(v) | Node::Literal(v)) => v.clone(),
        Ok(Node::Array(list)) => {
            let items = list.iter().enumerate().map(|(i, item)| {
                let _ = write!(at, "/{i}");
                let known = known_part(item, at, holes);
                at.truncate(length);
                known
            });
            items.collect()
        }
        Ok(Node::Object(map)) => {
            let members = map.iter().map(|(key, item)| {
                at.push('/');
                at.push_str(&escape(key));
                let known = known_part(item, at, holes);
                at.truncate(length);
                (key.clone(), known)
            });
            Value::Object(members.collect())
        }
        Ok(_) | Err(_) => {
            holes.insert(at.clone());
            Value::Null
        }
    }
}

/// Whether a place is a hole or lies in one.
fn inside(at: &str, holes: &BTreeSet<String>) -> bool {
    let ends = at.match_indices('/').map(|(i, _)| i).chain([at.len()]);
    ends.into_iter().any(|end| holes.contains(&at[..end]))
}

/// Whether a hole lies below a place.
fn around(at: &str, holes: &BTreeSet<String>) -> bool {
    let below = format!("{at}/");
    holes
        .range(below.clone()..)
        .next()
        .is_some_and(|hole| hole.starts_with(&below))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::Catalog;
    use serde_json::json;

    #[test]
    fn what_templates_will_give_is_not_guessed() {
        let mut catalog = Catalog::new();
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["url", "method"],
            "properties": {
                "url": {"type": "string", "format": "uri"},
                "method": {"enum": ["GET", "POST"]},
                "body": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["a"]}]},
                "list": {"type": "array", "items": {"type": "integer"}, "uniqueItems": true, "minItems": 2}
            },
            "if": {"properties": {"method": {"const": "POST"}}},
            "then": {"required": ["body"]}
        });
        catalog.add("http", "request", schema, json!({}));
        let hole = json!({"$ref": "input.x"});
        for (input, wanted) in [
            (hole.clone(), vec![]),
            (json!({"url": hole, "method": hole}), vec![]),
            (json!({"url": hole}), vec!["/method"]),
            (json!({"url": hole, "method": "PUT"}), vec!["/method"]),
            (json!({"url": hole, "method": "POST", "body": {"b": hole}}), vec![]),
            (json!({"url": hole, "method": "GET", "body": {"b": 1}}), vec!["/body"]),
            (json!({"url": hole, "method": "GET", "bdy": hole}), vec!["/bdy"]),
            (json!({"url": hole, "method": "GET", "list": [hole, hole]}), vec![]),
            (json!({"url": hole, "method": "GET", "list": [hole, "x"]}), vec!["/list/1"]),
            (json!({"url": hole, "method": "GET", "list": [hole]}), vec!["/list"]),
            (json!({"url": {"$literal": 5}, "method": "GET"}), vec!["/url"]),
            (json!("text"), vec![""]),
        ] {
            let entry = catalog.entry("http.request").unwrap();
            let found = violations(entry, &input, 10).unwrap();
            assert_eq!(found.iter().map(|v| v.at.as_str()).collect::<Vec<_>>(), wanted, "{input}");
        }
    }
}
