use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Connection;
use crate::error::Result;
use crate::types::Millis;

/// One thing that happens at a vendor and that a host can be told of, as data of the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// The name behind the dot.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// What happens, in a sentence.
    pub description: String,
    /// Who asks whom.
    pub kind: TriggerKind,
    /// JSON Schema (2020-12, closed) of an event's data.
    pub event: Value,
    /// JSON Schema of what a poll is set up with; null for webhooks.
    #[serde(default)]
    pub input: Value,
    /// The action that a poll asks with; empty for webhooks.
    #[serde(default)]
    pub action: String,
}

/// How a host gets to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// The vendor sends it.
    Webhook,
    /// The host asks from time to time.
    Poll,
}

/// A request that a vendor sent.
#[derive(Clone, Copy)]
pub struct Hook<'a> {
    /// `POST`, or `GET` where a vendor asks whether somebody is there.
    pub method: &'a str,
    /// The address as the vendor called it, with its query: some vendors sign it.
    pub url: &'a str,
    /// The headers, in any case.
    pub headers: &'a [(String, String)],
    /// The body as it came.
    pub body: &'a [u8],
    /// The time.
    pub now: Millis,
    /// Whose account it is, with the secret that the vendor signs with.
    pub connection: &'a Connection,
}

impl Hook<'_> {
    /// The first header of a name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Shows what kind of request it is, and nothing that was sent.
impl std::fmt::Debug for Hook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("method", &self.method)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvent {
    /// The trigger: `stripe.event`.
    pub trigger: String,
    /// Equal whenever the same event is told again.
    pub id: String,
    /// The vendor's name for what happened.
    pub kind: String,
    /// When, as far as the vendor says.
    pub at: Option<Millis>,
    /// What, by the trigger's schema.
    pub data: Value,
}

/// What came of a genuine request.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// What happened; answer with 200, or 204 without a body.
    Events(Vec<TriggerEvent>),
    /// The vendor only asked whether somebody is there; answer with this.
    Answer {
        /// The status.
        status: u16,
        /// The media type of the body.
        content_type: &'static str,
        /// The body.
        body: String,
    },
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// What happened since, oldest first.
    pub events: Vec<TriggerEvent>,
    /// Where to go on; to be kept together with what was done about the events.
    pub cursor: Value,
}

/// What a connector can be told.
pub trait Triggers: Send + Sync {
    /// Whether a request is from the vendor, and what it says.
    ///
    /// # Errors
    /// `webhook.signature_missing`, `webhook.signature_invalid`, `webhook.too_old` and the like: answer with 401 and
    /// do nothing. `webhook.body_invalid`: it is genuine, but cannot be read.
    fn receive(&self, hook: &Hook<'_>) -> Result<Received>;

    /// The input of the action that a poll asks with, from what the poll was set up with and how far it came.
    ///
    /// # Errors
    /// `trigger.unknown` if there is no such poll.
    fn ask(&self, trigger: &str, input: &Value, cursor: Option<&Value>) -> Result<Value>;

    /// What an answer to that says. Without a cursor nothing happened yet: it is where the poll begins.
    ///
    /// # Errors
    /// `trigger.unknown` if there is no such poll.
    fn read(&self, trigger: &str, cursor: Option<&Value>, output: &Value) -> Result<Polled>;
}
