use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trigger;
use crate::types::Millis;

/// What a connector is and what it can do, as data: it feeds validation, the command line, the docs,
/// the planner and the MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name that steps use before the dot: `http` in `http.request`.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// One sentence.
    pub description: String,
    /// Where the vendor documents its interface.
    pub docs: Option<String>,
    /// How calls authenticate; empty where nothing is needed.
    pub auth: Vec<AuthKind>,
    /// What a connection can or must set.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// The provider's limits, as defaults.
    pub budgets: Vec<Budget>,
    /// The actions.
    pub actions: Vec<Action>,
    /// What it can tell of.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
}

impl Manifest {
    /// The action of a name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|a| a.name == name)
    }
}

/// One setting of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
}

/// One thing that a connector can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The name behind the dot.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// What it does, in a sentence or two.
    pub description: String,
    /// JSON Schema (2020-12, closed) of the input.
    pub input: Value,
    /// JSON Schema of the output.
    pub output: Value,
    /// What it does to the world.
    pub side_effect: SideEffect,
    /// Whether and how it may be repeated.
    pub idempotency: Idempotency,
    /// The vendor's scopes that it needs.
    pub scopes: Vec<String>,
}

/// What an action does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideEffect {
    /// It only looks.
    Read,
    /// It creates or changes something.
    Write,
    /// It removes something or cannot be undone.
    Destructive,
}

/// Whether a call whose answer was lost may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    /// Repeating does no harm by nature (a read, a PUT).
    Natural,
    /// The provider takes our idempotency key and repeats its answer.
    Key,
    /// It depends on the input (an HTTP request's method and headers); the connector's error says it.
    Input,
    /// Repeating would do the work twice.
    None,
}

/// How calls authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// A key in a header or parameter.
    ApiKey,
    /// `Authorization: Bearer`.
    Bearer,
    /// User and password.
    Basic,
    /// A shared secret that signs the request.
    Signature,
    /// Tokens that are renewed with a refresh token, client credentials or a service account's key.
    #[serde(rename = "oauth2")]
    OAuth2,
}

/// A provider's limit: at most `calls` within `per`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Calls.
    pub calls: u32,
    /// The window.
    pub per: Millis,
    /// What is counted apart: empty for the whole connection, `host` for each host.
    pub key: String,
}
