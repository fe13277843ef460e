//! JSON Schema: compiling what users wrote, turning violations into faults, asking a schema what it allows.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::spec::Pipeline;
use super::suggest::did_you_mean;
use super::template::escape;
use crate::error::Fault;
use crate::json::clip;

/// The JSON Schema (2020-12) of a pipeline, generated from the types.
pub fn pipeline_schema() -> Value {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<Pipeline>();
    schema.insert("$id".into(), "urn:levqor:schema:pipeline:1".into());
    schema.insert("title".into(), "Levqor pipeline".into());
    schema.to_value()
}

/// A pipeline's schema, compiled.
pub(super) static PIPELINE: LazyLock<(Value, Option<Validator>)> = LazyLock::new(|| {
    let schema = pipeline_schema();
    let validator = compile(&schema).ok();
    (schema, validator)
});

/// Compiles a schema: draft 2020-12, formats are checked, patterns run in linear time (so no look-around), and
/// nothing is fetched. The error holds pointer and message of what is wrong with it.
pub(super) fn compile(schema: &Value) -> Result<Validator, (String, String)> {
    let built = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20))
        .offline()
        .build(schema);
    built.map_err(|e| (e.instance_path().as_str().to_owned(), clip_long(&e.masked().to_string())))
}

/// A violation of a schema, by our own classes.
pub(super) struct Violation {
    pub at: String,
    pub class: Class,
    pub message: String,
}

/// The classes of violation that faults tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    UnknownField,
    MissingField,
    WrongType,
    /// Too few or too many fields or items.
    Size,
    /// None, or more than one, of several alternatives.
    OneOf,
    Other,
}

/// What one error of the validator means; several unknown fields are several violations. The message never
/// holds the value.
pub(super) fn explain(error: &ValidationError<'_>, schema: &Value) -> Vec<Violation> {
    let at = error.instance_path().as_str();
    let one = |class, message: String| {
        let at = at.to_owned();
        vec![Violation { at, class, message }]
    };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = siblings(error, schema);
            let fault = |name: &String| Violation {
                at: format!("{at}/{}", escape(name)),
                class: Class::UnknownField,
                message: format!(
                    "there is no field `{}` here{}",
                    clip(name),
                    did_you_mean(name, known.iter().copied())
                ),
            };
            unexpected.iter().map(fault).collect()
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Violation {
                at: format!("{at}/{}", escape(name)),
                class: Class::MissingField,
                message: format!("the field `{}` is missing", clip(name)),
            }]
        }
        Kind::Type { .. } => one(Class::WrongType, clip_long(&error.masked_with("it").to_string())),
        Kind::MinItems { .. } | Kind::MaxItems { .. } | Kind::MinProperties { .. } | Kind::MaxProperties { .. } => {
            one(Class::Size, clip_long(&error.masked_with("it").to_string()))
        }
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            let words = alternatives(error, schema);
            if words.is_empty() {
                return one(Class::OneOf, clip_long(&error.masked_with("it").to_string()));
            }
            let meant = error
                .instance()
                .as_str()
                .map_or_else(String::new, |word| did_you_mean(word, words.iter().copied()));
            one(Class::Other, format!("it must be one of `{}`{meant}", words.join("`, `")))
        }
        Kind::Pattern { .. } => {
            let wanted = keyword_owner(error, schema)
                .and_then(|s| s.get("description"))
                .and_then(Value::as_str);
            let text = error.masked_with("it").to_string();
            one(
                Class::Other,
                clip_long(&wanted.map_or(text, |w| format!("it has the wrong form: {w}"))),
            )
        }
        _ => one(Class::Other, clip_long(&error.masked_with("it").to_string())),
    }
}

/// The schema object that holds the keyword which failed.
fn keyword_owner<'s>(error: &ValidationError<'_>, schema: &'s Value) -> Option<&'s Value> {
    let (owner, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(owner)
}

/// The fields that the object with an unknown one may have.
fn siblings<'s>(error: &ValidationError<'_>, schema: &'s Value) -> Vec<&'s str> {
    let properties = keyword_owner(error, schema)
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object);
    properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The words of a `oneOf` that lists nothing but words.
fn alternatives<'s>(error: &ValidationError<'_>, schema: &'s Value) -> Vec<&'s str> {
    let list = keyword_owner(error, schema)
        .and_then(|s| s.get("oneOf"))
        .and_then(Value::as_array);
    let words = list.into_iter().flatten().map(|a| a.get("const").and_then(Value::as_str));
    words.collect::<Option<_>>().unwrap_or_default()
}

/// Violations as faults under one code, at most [`MAX_FAULTS`](super::shape::MAX_FAULTS).
pub(super) fn faults(validator: &Validator, schema: &Value, value: &Value, code: &str) -> Vec<Fault> {
    let all = validator.iter_errors(value).flat_map(|e| explain(&e, schema));
    all.take(super::shape::MAX_FAULTS)
        .map(|v| Fault::new(v.at, code, v.message))
        .collect()
}

fn clip_long(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Follows a path into a schema and says where it asks for a field that no value of the schema can have: how many
/// parts were fine, and the fields that there are. `None` where the schema leaves room for doubt.
pub(super) fn impossible<'s>(root: &'s Value, segments: &[&str]) -> Option<(usize, Vec<&'s str>)> {
    let mut here = root;
    for (i, segment) in segments.iter().enumerate() {
        for _ in 0..16 {
            match here.get("$ref").and_then(Value::as_str) {
                Some(local) => here = root.pointer(local.strip_prefix('#')?)?,
                None => break,
            }
        }
        let map = here.as_object()?;
        let vague = [
            "$ref",
            "$dynamicRef",
            "allOf",
            "anyOf",
            "oneOf",
            "if",
            "not",
            "patternProperties",
            "dependentSchemas",
            "prefixItems",
        ];
        if vague.iter().any(|k| map.contains_key(*k)) {
            return None;
        }
        let properties = map.get("properties").and_then(Value::as_object);
        if let Some(next) = properties.and_then(|p| p.get(*segment)) {
            here = next;
        } else if map.get("additionalProperties") == Some(&Value::Bool(false)) && map.get("type").is_none_or(|t| t == "object") {
            return Some((
                i,
                properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default(),
            ));
        } else {
            super::path::index_of(segment)?;
            here = map.get("items")?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_shipped_schema_is_the_one_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/pipeline.schema.json");
        let mut wanted = serde_json::to_string_pretty(&pipeline_schema()).unwrap();
        wanted.push('\n');
        if std::env::var_os("LEVQOR_BLESS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let shipped = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            shipped == wanted,
            "{path} differs from the types; run the tests with LEVQOR_BLESS=1"
        );
        assert!(PIPELINE.1.is_some(), "the schema compiles");
    }

    #[test]
    fn a_wrong_schema_is_refused_with_its_place() {
        for (schema, at) in [
            (json!({"type": "objekt"}), "/type"),
            (json!({"properties": {"a": {"minLength": -1}}}), "/properties/a/minLength"),
            (json!({"pattern": "("}), "/pattern"),
            (json!({"required": "a"}), "/required"),
        ] {
            assert_eq!(compile(&schema).unwrap_err().0, at, "{schema}");
        }
        for schema in [
            json!({"$ref": "https://example.com/other.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"pattern": "(?=a)b"}),
        ] {
            assert!(compile(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn only_what_a_schema_surely_forbids_is_impossible() {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "open": {"type": "object"}, "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
                "either": {"anyOf": [{"type": "string"}, {"type": "object"}]}
            },
            "$defs": {"item": {"type": "object", "properties": {"id": {}}, "additionalProperties": false}}
        });
        for path in [
            vec![],
            vec!["open", "x"],
            vec!["list", "0", "id"],
            vec!["either", "x"],
            vec!["list", "0", "id", "y"],
        ] {
            assert!(impossible(&schema, &path).is_none(), "{path:?}");
        }
        assert_eq!(impossible(&schema, &["lst"]).unwrap().0, 0);
        assert_eq!(impossible(&schema, &["list", "0", "ix"]).unwrap(), (2, vec!["id"]));
    }
}
