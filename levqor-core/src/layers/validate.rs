//! Input is checked against the action's schema before anything is done with it.

use std::sync::{Arc, OnceLock};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{Around, Layer, Layered};
use crate::connector::{Connector, Cx, Output};
use crate::error::{Error, ErrorKind, Fault, Result};

/// Faults that are listed at most.
const MOST: usize = 50;

/// Refuses input that does not fit the action's JSON Schema, with `connector.input_invalid` and every fault at
/// its JSON pointer. Values are never shown. A schema is compiled when its action is first called; one that
/// does not compile is `connector.schema_invalid`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validate;

impl Layer for Validate {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        let schemas = inner
            .manifest()
            .actions
            .iter()
            .map(|a| (a.name.clone(), OnceLock::new()))
            .collect();
        Layered::shared(Schemas { schemas }, inner)
    }
}

struct Schemas {
    schemas: Vec<(String, OnceLock<Result<Validator>>)>,
}

impl Around for Schemas {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let manifest = inner.manifest();
        let found = self
            .schemas
            .iter()
            .find(|(name, _)| name == action)
            .zip(manifest.action(action));
        let Some(((_, slot), declared)) = found else {
            let message = format!("there is no action `{}.{action}`", manifest.name);
            return Err(Error::not_found("connector.unknown_action", message));
        };
        let full = || format!("{}.{action}", manifest.name);
        let validator = slot
            .get_or_init(|| compile(&declared.input, &full()))
            .as_ref()
            .map_err(Clone::clone)?;
        check(validator, input, full)?;
        inner.call(cx, action, input).await
    }
}

fn compile(schema: &Value, action: &str) -> Result<Validator> {
    jsonschema::options()
        .should_validate_formats(true)
        // The engine without backtracking: a pattern cannot be made to run for ever.
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|e| {
            let message = format!("the input schema of `{action}` does not compile: {e}");
            Error::new(ErrorKind::Config, "connector.schema_invalid", message)
        })
}

fn check(validator: &Validator, input: &Value, action: impl Fn() -> String) -> Result<()> {
    let mut faults: Vec<Fault> = validator.iter_errors(input).take(MOST).flat_map(|e| to_faults(&e)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    faults.truncate(MOST);
    let message = match faults.as_slice() {
        [only] => format!("the input of `{}` is wrong: {}", action(), only.message),
        all => format!(
            "the input of `{}` has {} faults, the first: {}",
            action(),
            all.len(),
            all[0].message
        ),
    };
    Err(Error::faults("connector.input_invalid", message, faults))
}

fn to_faults(e: &ValidationError<'_>) -> Vec<Fault> {
    let at = e.instance_path().as_str();
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    let code = format!("schema.{}", e.kind().keyword());
    match e.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Fault::new(below(name), code, format!("`{name}` is required"))]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let unknown = |name: &String| {
                let shown: String = name.chars().take(60).collect();
                Fault::new(below(&shown), code.clone(), format!("there is no field `{shown}`"))
            };
            unexpected.iter().map(unknown).collect()
        }
        _ => vec![Fault::new(at, code, e.masked().to_string())],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::probe::{Probe, cx};
    use super::*;

    #[tokio::test]
    async fn every_fault_is_named_at_its_place_and_no_value_is_shown() {
        let probe = Probe::named("p");
        let c = Validate.connector(probe.clone().shared());
        let input = json!({"n": "canary", "url": "no canary uri", "a/b": 1});
        let e = c.call(&cx(), "write", &input).await.unwrap_err();
        let mut places: Vec<&str> = e.fault_list().iter().map(|f| f.at.as_str()).collect();
        places.sort_unstable();
        assert_eq!((e.code(), places), ("connector.input_invalid", vec!["/a~1b", "/n", "/url"]));
        assert!(!format!("{e:?}{}", e.to_json()).contains("canary"), "{e:?}");
        assert_eq!(probe.calls(), 0);
        c.call(&cx(), "write", &json!({"n": 1})).await.unwrap();
        assert_eq!(
            c.call(&cx(), "none", &json!({})).await.unwrap_err().code(),
            "connector.unknown_action"
        );
    }

    #[test]
    fn missing_fields_are_named_and_the_list_is_bounded() {
        let schema = json!({"type": "object", "required": ["to"], "additionalProperties": false, "properties": {"to": {}}});
        let validator = compile(&schema, "p.x").unwrap();
        let many: Value = (0..500)
            .map(|i| (format!("f{i}"), json!(i)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let e = check(&validator, &many, || "p.x".into()).unwrap_err();
        assert_eq!(e.fault_list().len(), MOST);
        let e = check(&validator, &json!({}), || "p.x".into()).unwrap_err();
        assert_eq!(
            (e.place(), e.message()),
            (Some("/to"), "the input of `p.x` is wrong: `to` is required")
        );
        assert_eq!(
            compile(&json!({"type": 5}), "p.x").unwrap_err().code(),
            "connector.schema_invalid"
        );
        assert!(
            compile(&json!({"$ref": "http://127.0.0.1:9/schema"}), "p.x").is_err(),
            "nothing is fetched"
        );
    }
}
