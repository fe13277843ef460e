use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Action, Connector, Cx, Idempotency, Output};
use crate::error::{Error, Result};

/// The connectors of an engine, by name.
#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<String, Arc<dyn Connector>>,
}

impl Registry {
    /// Adds a connector; one of the same name is replaced.
    pub fn add(&mut self, connector: Arc<dyn Connector>) {
        self.connectors.insert(connector.manifest().name.clone(), connector);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// The connector and action of a name like `http.request`.
    pub fn find(&self, name: &str) -> Result<(&Arc<dyn Connector>, &Action)> {
        let (connector, action) = name.split_once('.').unwrap_or((name, ""));
        let found = self.connectors.get(connector).ok_or_else(|| {
            let known = self.connectors.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::not_found("connector.unknown", format!("there is no connector `{connector}`"))
                .hint(format!("known are: {known}"))
        })?;
        let manifest = found.manifest();
        let action = manifest.action(action).ok_or_else(|| {
            let known = manifest
                .actions
                .iter()
                .map(|a| a.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            Error::not_found("connector.unknown_action", format!("`{connector}` has no action `{action}`"))
                .hint(format!("it has: {known}"))
        })?;
        Ok((found, action))
    }

    /// Whether an action may be called again when nobody knows what came of the first call.
    pub fn repeatable(&self, name: &str, input: &Value) -> Result<bool> {
        let (connector, action) = self.find(name)?;
        Ok(match action.idempotency {
            Idempotency::Natural | Idempotency::Key => true,
            Idempotency::None => false,
            Idempotency::Input => connector.repeatable(&action.name, input),
        })
    }

    /// Calls an action.
    pub async fn call(&self, cx: &Cx, name: &str, input: Value) -> Result<Output> {
        let (connector, action) = self.find(name)?;
        connector.call(cx, &action.name, input).await
    }
}
