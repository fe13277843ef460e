//! What is offered to whom: an allow list, and the connections that calls use.

use std::collections::BTreeMap;

use levqor_core::connector::{Action, Idempotency, Manifest, Registry, SideEffect};
use levqor_core::error::{Error, ErrorKind, Result};
use serde_json::{Value, json};

/// What an account may use.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Whose limits count.
    pub account: String,
    /// Actions by name (`slack.post_message`), or all of a connector (`slack.*`). What removes something or cannot be
    /// undone must be named in full; nothing is allowed that is not named.
    pub allow: Vec<String>,
    /// The names of the connections that a connector's calls may use. With several, the model chooses one.
    pub connections: BTreeMap<String, Vec<String>>,
}

/// A tool.
pub(super) struct Tool {
    /// Its name: `slack__post_message`.
    pub(super) name: String,
    /// The action: `slack.post_message`.
    pub(super) action: String,
    connections: Vec<String>,
    /// As a client sees it.
    pub(super) shown: Value,
}

/// The argument by which the model chooses one of several connections. No action has a field of this name.
const CHOICE: &str = "_connection";

impl Offer {
    /// The tools, by name.
    pub(super) fn tools(&self, registry: &Registry) -> Result<Vec<Tool>> {
        let refused = |code: &str, message: String| Error::new(ErrorKind::Config, code, message);
        if let Some(other) = self.connections.keys().find(|name| registry.get(name).is_none()) {
            return Err(refused("mcp.connector_unknown", format!("there is no connector `{other}`")));
        }
        let mut tools = Vec::new();
        let mut used = vec![false; self.allow.len()];
        for manifest in registry.manifests() {
            for action in &manifest.actions {
                let full = format!("{}.{}", manifest.name, action.name);
                let whole = format!("{}.*", manifest.name);
                let mut allowed = false;
                for (pattern, used) in self.allow.iter().zip(&mut used) {
                    let by_connector = *pattern == whole;
                    *used |= by_connector || *pattern == full;
                    allowed |= *pattern == full || (by_connector && action.side_effect != SideEffect::Destructive);
                }
                if allowed {
                    tools.push(self.tool(manifest, action, full));
                }
            }
        }
        if let Some((pattern, _)) = self.allow.iter().zip(used).find(|(_, used)| !used) {
            let e = refused("mcp.allow_unknown", format!("`{pattern}` names no action"));
            return Err(e.hint("name an action like `slack.post_message`, or all of a connector like `slack.*`"));
        }
        Ok(tools)
    }

    fn tool(&self, manifest: &Manifest, action: &Action, full: String) -> Tool {
        let connections = self.connections.get(&manifest.name).cloned().unwrap_or_default();
        let name = format!("{}__{}", manifest.name, action.name);
        let mut input = action.input.clone();
        if connections.len() > 1 {
            input["properties"][CHOICE] = json!({
                "type": "string", "enum": connections,
                "description": "The account that this is done with; the first one if not given.",
            });
        }
        let reads = action.side_effect == SideEffect::Read;
        let shown = json!({
            "name": name,
            "title": format!("{}: {}", manifest.title, action.title),
            "description": action.description,
            "inputSchema": input,
            "outputSchema": action.output,
            "annotations": {
                "title": action.title,
                "readOnlyHint": reads,
                "destructiveHint": action.side_effect == SideEffect::Destructive,
                "idempotentHint": matches!(action.idempotency, Idempotency::Natural),
                "openWorldHint": true,
            },
        });
        Tool {
            name,
            action: full,
            connections,
            shown,
        }
    }
}

impl Tool {
    /// The connection that a call uses: the one that was chosen, which is taken out of the arguments.
    pub(super) fn connection(&self, arguments: &mut Value) -> Result<Option<String>> {
        let chosen = arguments.as_object_mut().and_then(|a| a.remove(CHOICE));
        match chosen {
            None => Ok(self.connections.first().cloned()),
            Some(chosen) => {
                let known = self.connections.iter().find(|name| chosen == name.as_str());
                let bad = || Error::invalid("connection.unknown", "there is no such connection").at(format!("/{CHOICE}"));
                known.cloned().map(Some).ok_or_else(bad)
            }
        }
    }
}
