//! What the connectors say about themselves.
#![allow(clippy::unwrap_used)]

use levqor_core::connector::{Registry, TriggerKind};
use serde_json::Value;

/// Every object that a schema describes is closed, or is a map with declared values.
fn closed(schema: &Value, at: &str) {
    if let Some(o) = schema.as_object() {
        if o.contains_key("properties") {
            assert_eq!(o.get("additionalProperties"), Some(&Value::Bool(false)), "{at} is open");
        }
        assert!(!o.contains_key("$ref"), "{at} refers to something");
        for (k, v) in o {
            match (k.as_str(), v.as_object()) {
                // Its keys are names of fields, whatever they look like.
                ("properties", Some(fields)) => fields.iter().for_each(|(k, v)| closed(v, &format!("{at}/{k}"))),
                _ => closed(v, &format!("{at}/{k}")),
            }
        }
    }
    if let Some(a) = schema.as_array() {
        for v in a {
            closed(v, at);
        }
    }
}

#[test]
fn every_manifest_is_complete_and_every_schema_closed() {
    let mut registry = Registry::new();
    for connector in levqor_connectors::all() {
        registry.add(connector).unwrap();
    }
    let names: Vec<&str> = registry.names().collect();
    assert!(
        names.len() >= 35 && registry.manifests().map(|m| m.actions.len()).sum::<usize>() >= 230,
        "{names:?}"
    );
    for m in registry.manifests() {
        assert!(!m.title.is_empty() && !m.description.is_empty() && m.docs.is_some());
        for a in &m.actions {
            assert!(!a.title.is_empty() && !a.description.is_empty());
            closed(&a.input, &format!("{}.{} input", m.name, a.name));
            closed(&a.output, &format!("{}.{} output", m.name, a.name));
            for schema in [&a.input, &a.output] {
                assert_eq!(schema["type"], "object", "{schema}");
            }
        }
        for t in &m.triggers {
            assert!(!t.title.is_empty() && !t.description.is_empty());
            closed(&t.event, &format!("{}.{} event", m.name, t.name));
            assert_eq!(t.event["type"], "object");
            let polls = t.kind == TriggerKind::Poll;
            assert_eq!(
                (polls, m.action(&t.action).is_some()),
                (polls, polls),
                "{}.{}",
                m.name,
                t.name
            );
        }
        let text = serde_json::to_string(m).unwrap();
        assert_eq!(&serde_json::from_str::<levqor_core::connector::Manifest>(&text).unwrap(), m);
    }
}
