//! What pipelines may call: the actions with their schemas, and the connections that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use super::schema;
use crate::error::{Error, ErrorKind, Result};

/// The actions that a pipeline may use, by `connector.action`. Build it once: each schema is compiled when it
/// is needed first, and kept.
///
/// ```
/// use levqor_core::pipeline::Catalog;
/// use serde_json::json;
/// let mut catalog = Catalog::new();
/// let input = json!({"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}});
/// catalog.add("http", "request", input, json!({}));
/// let e = catalog.validate("http.request", &json!({})).unwrap_err();
/// assert_eq!((e.code(), e.place()), ("action.input_invalid", Some("/url")));
/// ```
#[derive(Debug, Default)]
pub struct Catalog {
    actions: BTreeMap<String, Entry>,
    connections: Option<BTreeSet<String>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub input: Value,
    pub output: Value,
    validator: OnceLock<Result<Validator, String>>,
}

impl Entry {
    /// The compiled input schema, or what is wrong with it.
    pub(super) fn validator(&self) -> Result<&Validator, &str> {
        let compiled = self.validator.get_or_init(|| {
            schema::compile(&self.input).map_err(|(at, why)| format!("the action's input schema is wrong at `{at}`: {why}"))
        });
        compiled.as_ref().map_err(String::as_str)
    }
}

impl Catalog {
    /// A catalog with no action, that takes any connection's name.
    pub fn new() -> Self {
        Catalog::default()
    }

    /// Adds an action with the JSON Schemas of its input and output; one of the same name is replaced.
    pub fn add(&mut self, connector: &str, action: &str, input: Value, output: Value) {
        let entry = Entry {
            input,
            output,
            validator: OnceLock::new(),
        };
        self.actions.insert(format!("{connector}.{action}"), entry);
    }

    /// Says which connections exist; steps that name another are refused from then on.
    #[must_use]
    pub fn with_connections(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.connections = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The full names of all actions, sorted.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }

    /// Checks an action's rendered input against its schema.
    ///
    /// Errors: `action.input_invalid` with every fault, `action.unknown`, and `action.bad_schema` where the
    /// connector's own schema is none.
    pub fn validate(&self, action: &str, input: &Value) -> Result<()> {
        let entry = self.entry(action).ok_or_else(|| {
            Error::not_found(
                "action.unknown",
                format!("there is no action `{}`", crate::json::clip(action)),
            )
        })?;
        let validator = entry.validator().map_err(|why| {
            let message = format!("`{action}` cannot be called: {why}");
            Error::new(ErrorKind::Config, "action.bad_schema", message)
        })?;
        if validator.is_valid(input) {
            return Ok(());
        }
        let faults = schema::faults(validator, &entry.input, input, "action.input_invalid");
        let why = faults.first().map_or("", |f| f.message.as_str());
        let message = format!("the input of `{action}` is wrong: {why}");
        Err(Error::faults("action.input_invalid", message, faults))
    }

    pub(super) fn entry(&self, action: &str) -> Option<&Entry> {
        self.actions.get(action)
    }

    pub(super) fn connections(&self) -> Option<&BTreeSet<String>> {
        self.connections.as_ref()
    }
}
