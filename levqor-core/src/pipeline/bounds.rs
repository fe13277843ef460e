//! Whether a JSON Schema that a user wrote can be checked in bounded time and stack.
//!
//! A validator follows `$ref`s wherever they lead, so a schema of two kilobytes can cost 2^n steps (each
//! definition naming the next one twice) or never end. Every `$ref` must therefore point into the schema by a plain
//! JSON pointer, never in a circle, and the schema with all of them written out must stay small.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::template::escape;
use crate::json::clip;

/// Objects that a schema may have when every reference is written out.
const MAX_OBJECTS: u64 = 10_000;

/// References that may lead through each other.
const MAX_HOPS: usize = 32;

/// Pointer and message of what is wrong.
type Wrong = (String, String);

/// Refuses a schema whose check has no sensible bound.
pub(super) fn bounded(schema: &Value) -> Result<(), Wrong> {
    let mut walk = Walk {
        root: schema,
        known: BTreeMap::new(),
        open: Vec::new(),
    };
    let (objects, _) = walk.measure(schema, &mut String::new())?;
    if objects > MAX_OBJECTS {
        let message = format!("with its references written out it has more than {MAX_OBJECTS} objects");
        return Err((String::new(), message));
    }
    Ok(())
}

struct Walk<'a> {
    root: &'a Value,
    /// What is known of references: objects, and references through each other.
    known: BTreeMap<&'a str, (u64, usize)>,
    /// The references that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn measure(&mut self, value: &'a Value, at: &mut String) -> Result<(u64, usize), Wrong> {
        let length = at.len();
        let (mut objects, mut hops) = (0_u64, 0_usize);
        match value {
            Value::Array(list) => {
                for (i, item) in list.iter().enumerate() {
                    let _ = write!(at, "/{i}");
                    let part = self.measure(item, at)?;
                    (objects, hops) = (objects.saturating_add(part.0), hops.max(part.1));
                    at.truncate(length);
                }
            }
            Value::Object(map) => {
                objects = 1;
                for (key, item) in map {
                    let _ = write!(at, "/{}", escape(key));
                    let part = match (key.as_str(), item) {
                        ("$ref", Value::String(target)) => self.follow(target, at)?,
                        ("$id", Value::String(_)) if length == 0 => (0, 0),
                        ("$id" | "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                            return Err((at.clone(), format!("`{key}` is not taken here")));
                        }
                        _ => self.measure(item, at)?,
                    };
                    (objects, hops) = (objects.saturating_add(part.0), hops.max(part.1));
                    at.truncate(length);
                }
            }
            _ => {}
        }
        Ok((objects, hops))
    }

    fn follow(&mut self, target: &'a str, at: &str) -> Result<(u64, usize), Wrong> {
        let wrong = |why: &str| (at.to_owned(), format!("the reference `{}` {why}", clip(target)));
        if let Some(known) = self.known.get(target) {
            return Ok(*known);
        }
        if self.open.contains(&target) {
            return Err(wrong("leads back to itself; recursive schemas are not taken"));
        }
        let pointer = target.strip_prefix('#').filter(|p| !p.contains('%'));
        let found = pointer.and_then(|p| Some((p, self.root.pointer(p)?)));
        let (pointer, value) =
            found.ok_or_else(|| wrong("leads nowhere; write a JSON pointer into this schema, like `#/$defs/name`"))?;
        self.open.push(target);
        if self.open.len() > MAX_HOPS {
            return Err(wrong("is one of too many that lead through each other"));
        }
        let (objects, hops) = self.measure(value, &mut pointer.to_owned())?;
        self.open.pop();
        if self.open.len() + hops >= MAX_HOPS {
            return Err(wrong("is one of too many that lead through each other"));
        }
        self.known.insert(target, (objects, hops + 1));
        Ok((objects, hops + 1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Map, json};

    /// `n` definitions, each naming the next one `times` times.
    fn chain(n: usize, times: usize) -> Value {
        let mut defs = Map::new();
        for i in 0..n {
            let next = json!({"$ref": format!("#/$defs/a{}", i + 1)});
            defs.insert(format!("a{i}"), json!({"allOf": vec![next; times]}));
        }
        defs.insert(format!("a{n}"), json!({"type": "object"}));
        json!({"$ref": "#/$defs/a0", "$defs": defs})
    }

    #[test]
    fn references_that_grow_without_bound_are_refused() {
        assert!(bounded(&chain(10, 1)).is_ok());
        assert!(bounded(&chain(5, 2)).is_ok());
        for schema in [chain(24, 2), chain(5, 100), chain(40, 1), chain(20_000, 1)] {
            assert!(bounded(&schema).is_err());
        }
    }

    #[test]
    fn references_must_be_plain_and_may_not_turn_in_circles() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"items": {"$ref": "#/properties/a"}}}}),
            json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": "#/$defs/%61", "$defs": {"%61": {}}}),
            json!({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}),
            json!({"$defs": {"a": {"$id": "http://x.test/"}}}),
            json!({"$dynamicRef": "#x"}),
        ] {
            assert!(bounded(&schema).is_err(), "{schema}");
        }
        let fine = json!({
            "$id": "https://x.test/schema",
            "properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "a": {"$ref": "#/$defs/a~1b"}},
            "$defs": {"a/b": {"enum": ["#"]}}
        });
        assert!(bounded(&fine).is_ok());
    }
}
