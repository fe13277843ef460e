//! What vendors tell: requests that they send, and what a poll finds.

mod poll;
pub(crate) mod scheme;

pub(crate) use poll::{Poll, asked, cursor_ids, newer, poll, since};
pub(crate) use scheme::{Hash, Part, Place, Scheme, Text, Time};

use levqor_core::connector::{Hook, Polled, Received, Setting as ManifestSetting, Trigger, TriggerEvent, TriggerKind, Triggers};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Api;
use super::auth::Setting;
use crate::kit::{schema, setting_error};

/// What a vendor sends.
pub(crate) struct Hooks {
    /// The setting with the secret, or a list of them while one replaces another.
    pub(crate) secret: Setting,
    pub(crate) scheme: Scheme,
    /// How bodies are written.
    pub(crate) form: bool,
    /// A question that comes unsigned, and its answer.
    pub(crate) ask: fn(&Hook<'_>) -> Result<Option<Received>>,
    /// A question that comes signed, and its answer.
    pub(crate) greet: fn(&Hook<'_>, &Value) -> Option<Received>,
    pub(crate) heard: Vec<Heard>,
}

impl Hooks {
    /// A vendor that sends JSON, and asks nothing.
    pub(crate) fn new(secret: Setting, scheme: Scheme, heard: Vec<Heard>) -> Self {
        Hooks {
            secret,
            scheme,
            form: false,
            ask: |_| Ok(None),
            greet: |_, _| None,
            heard,
        }
    }
}

/// One kind of event that a vendor sends.
pub(crate) struct Heard {
    trigger: Trigger,
    read: fn(&Hook<'_>, &Value) -> Vec<Told>,
    typed: fn(Value) -> serde_json::Result<Value>,
}

/// An event before its data is typed.
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) at: Option<Millis>,
    pub(crate) data: Value,
}

fn typed<E: DeserializeOwned + Serialize>(data: Value) -> serde_json::Result<Value> {
    serde_json::to_value(E::deserialize(data)?)
}

/// An event with the type of its data. `read` finds the events of a request: several, one, or none.
pub(crate) fn heard<E>(name: &str, title: &str, description: &str, read: fn(&Hook<'_>, &Value) -> Vec<Told>) -> Heard
where
    E: DeserializeOwned + Serialize + JsonSchema,
{
    Heard {
        trigger: Trigger {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            kind: TriggerKind::Webhook,
            event: schema::<E>(),
            input: Value::Null,
            action: String::new(),
        },
        read,
        typed: typed::<E>,
    }
}

/// A text or number at a JSON pointer, as text; empty if there is none.
pub(crate) fn at(body: &Value, pointer: &str) -> String {
    match body.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// Seconds since 1970 at a JSON pointer, as a number or as text.
pub(crate) fn seconds(body: &Value, pointer: &str) -> Option<Millis> {
    at(body, pointer).parse().ok().map(Millis::secs)
}

/// Milliseconds since 1970 at a JSON pointer.
pub(crate) fn millis(body: &Value, pointer: &str) -> Option<Millis> {
    at(body, pointer).parse().ok().map(Millis)
}

/// A plain answer.
pub(crate) fn plain(body: impl Into<String>) -> Received {
    Received::Answer {
        status: 200,
        content_type: "text/plain",
        body: body.into(),
    }
}

/// The secrets that a connection has.
pub(crate) fn secrets<'a>(hook: &Hook<'a>, name: &str) -> Result<Vec<&'a str>> {
    let found: Vec<&str> = match hook.connection.value(name) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text],
        _ => vec![],
    };
    if found.iter().any(|s| s.is_empty()) || found.is_empty() {
        let message = "there is no secret that messages are signed with";
        return Err(setting_error(hook.connection, name, message).hint(format!("give the connection the setting `{name}`")));
    }
    Ok(found)
}

impl Api {
    /// Adds what the vendor sends.
    pub(crate) fn hears(mut self, hooks: Hooks) -> Self {
        let (name, description) = hooks.secret;
        if self.manifest.settings.iter().all(|s| s.name != name) {
            self.manifest.settings.push(ManifestSetting {
                name: name.into(),
                description: description.into(),
            });
        }
        self.manifest.triggers.extend(hooks.heard.iter().map(|h| h.trigger.clone()));
        self.hooks = Some(hooks);
        self
    }

    /// Adds what a poll finds.
    pub(crate) fn polls(mut self, polls: Vec<Poll>) -> Self {
        self.manifest.triggers.extend(polls.iter().map(|p| p.trigger.clone()));
        self.polls = polls;
        self
    }

    fn poll(&self, trigger: &str) -> Result<&Poll> {
        let unknown = || {
            let message = format!("`{}` has no poll `{trigger}`", self.vendor.name);
            Error::not_found("trigger.unknown", message)
        };
        self.polls.iter().find(|p| p.trigger.name == trigger).ok_or_else(unknown)
    }

    fn event(&self, name: &str, told: Told, typed: fn(Value) -> serde_json::Result<Value>) -> Result<TriggerEvent> {
        let data = typed(told.data).map_err(|e| {
            let message = format!("an event of `{}` is not what its documentation says: {e}", self.vendor.name);
            Error::new(ErrorKind::Corrupt, "webhook.body_invalid", message)
        })?;
        Ok(TriggerEvent {
            trigger: format!("{}.{name}", self.vendor.name),
            id: told.id,
            kind: told.kind,
            at: told.at,
            data,
        })
    }
}

impl Triggers for Api {
    fn receive(&self, hook: &Hook<'_>) -> Result<Received> {
        let Some(hooks) = &self.hooks else {
            let message = format!("`{}` sends nothing that could be received", self.vendor.name);
            return Err(Error::new(ErrorKind::Unsupported, "trigger.unsupported", message));
        };
        if let Some(answer) = (hooks.ask)(hook)? {
            return Ok(answer);
        }
        hooks.scheme.verify(hook, &secrets(hook, hooks.secret.0)?)?;
        let body = if hooks.form {
            let fields = url::form_urlencoded::parse(hook.body).into_owned();
            fields.map(|(name, value)| (name, Value::String(value))).collect()
        } else {
            serde_json::from_slice(hook.body).map_err(|_| {
                let message = format!("what `{}` sent is not JSON", self.vendor.name);
                Error::new(ErrorKind::Corrupt, "webhook.body_invalid", message)
            })?
        };
        if let Some(answer) = (hooks.greet)(hook, &body) {
            return Ok(answer);
        }
        let mut events = Vec::new();
        for heard in &hooks.heard {
            for told in (heard.read)(hook, &body) {
                events.push(self.event(&heard.trigger.name, told, heard.typed)?);
            }
        }
        Ok(Received::Events(events))
    }

    fn ask(&self, trigger: &str, input: &Value, cursor: Option<&Value>) -> Result<Value> {
        let poll = self.poll(trigger)?;
        Ok((poll.ask)(input, cursor))
    }

    fn read(&self, trigger: &str, cursor: Option<&Value>, output: &Value) -> Result<Polled> {
        let poll = self.poll(trigger)?;
        let (told, cursor) = (poll.read)(cursor, output);
        let events = told
            .into_iter()
            .map(|t| self.event(trigger, t, poll.typed))
            .collect::<Result<_>>()?;
        Ok(Polled { events, cursor })
    }
}
