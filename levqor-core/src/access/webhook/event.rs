//! What a genuine message tells.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::scheme::{EventPaths, Preset};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;

/// Something that happened at the vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The vendor's id of it; where it gives none, a hash of the message.
    pub id: String,
    /// What happened: `invoice.paid`, `issues.opened`, `message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, where the vendor says so; else when the message was signed.
    pub created: Option<Millis>,
    /// What it is about: Stripe's `data.object`, Slack's `event`, Telegram's message. The whole where the
    /// vendor sets nothing apart.
    pub data: Value,
    /// The whole message; the fields of a form as texts.
    pub body: Value,
    /// Names the message for the guard against replays: nothing in it that is not signed.
    #[serde(skip)]
    pub guard: String,
}

/// What the verifier knows beside the body.
pub(super) struct Facts<'a> {
    pub(super) preset: Option<Preset>,
    pub(super) paths: &'a EventPaths,
    pub(super) id: Option<&'a str>,
    pub(super) signed_at: Option<Millis>,
    pub(super) digest: String,
}

/// Reads the event of a body.
pub(super) fn read<'h>(facts: &Facts<'_>, header: &dyn Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Event> {
    let body = content(body)?;
    let paths = facts.paths;
    let at = |path: &Option<String>| path.as_deref().and_then(|p| body.pointer(p)).filter(|v| !v.is_null());
    // An id that was signed, or stands in the signed body, names the message.
    let id = facts.id.map(str::to_owned).or_else(|| at(&paths.id).and_then(text));
    let guard = id.clone().unwrap_or_else(|| facts.digest.clone());
    let mut event = Event {
        id: id.unwrap_or_else(|| facts.digest.clone()),
        kind: at(&paths.kind).and_then(text).unwrap_or_default(),
        created: at(&paths.created).and_then(instant).or(facts.signed_at),
        data: at(&paths.data).cloned().unwrap_or(Value::Null),
        guard,
        body,
    };
    match facts.preset {
        Some(Preset::GitHub) => {
            // Neither header is signed: good for a name, not for the guard.
            if let Some(delivery) = header("x-github-delivery") {
                delivery.clone_into(&mut event.id);
            }
            let name = header("x-github-event").unwrap_or_default();
            event.kind = match event.body.get("action").and_then(Value::as_str) {
                Some(action) => format!("{name}.{action}"),
                None => name.to_owned(),
            };
        }
        Some(Preset::Telegram) => {
            let update = event
                .body
                .as_object()
                .and_then(|map| map.iter().find(|(name, _)| *name != "update_id"));
            if let Some((name, data)) = update.map(|(n, d)| (n.clone(), d.clone())) {
                event.created = data.get("date").and_then(instant);
                (event.kind, event.data) = (name, data);
            }
        }
        Some(Preset::Slack) if event.kind.is_empty() => {
            // Interactions and the check of an address have their type at the top, commands have a name.
            let top = ["type", "command"].iter().find_map(|name| event.body.get(*name));
            event.kind = top.and_then(text).unwrap_or_default();
        }
        _ => {}
    }
    if event.data.is_null() {
        event.data = event.body.clone();
    }
    Ok(event)
}

/// JSON, or the fields of a form. A form's field `payload` that holds JSON is what the message is (Slack's
/// interactions).
fn content(body: &[u8]) -> Result<Value> {
    let bad = || {
        Error::new(
            ErrorKind::Denied,
            "webhook.body_invalid",
            "the message is genuine, but its body is neither JSON nor a form",
        )
        .status_is(400)
    };
    let start = body.iter().find(|b| !b.is_ascii_whitespace());
    if matches!(start, Some(b'{' | b'[')) {
        return serde_json::from_slice(body).map_err(|_| bad());
    }
    let text = std::str::from_utf8(body).map_err(|_| bad())?;
    if !text.contains('=') || text.contains(['\n', '<', ' ']) {
        return Err(bad());
    }
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        fields.insert(name.into_owned(), Value::String(Cow::into_owned(value)));
    }
    if let Some(Value::String(payload)) = fields.get("payload")
        && let Ok(inner @ Value::Object(_)) = serde_json::from_str(payload)
    {
        return Ok(inner);
    }
    Ok(Value::Object(fields))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= 512 => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<Millis> {
    match value {
        Value::Number(n) => n.as_i64().filter(|s| s.unsigned_abs() < 1 << 40).map(Millis::secs),
        Value::String(text) => Millis::parse_rfc3339(text),
        _ => None,
    }
}
