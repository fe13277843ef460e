//! API keys, webhooks of others, security headers.

use levqor::access::headers::{Nonce, Preset, headers};
use levqor::access::key::{ApiKey, KeyInfo, NewKey};
use levqor::access::webhook::Event;
use levqor::engine::{Delivery, KeyFilter, Turn};
use levqor::error::{Error, Result};
use levqor::store::Page;
use levqor::types::{KeyId, Millis};
use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use super::{Bytes, Span, verbs};
use crate::error::raise;

type Fields = Vec<(String, String)>;

fn made(key: &ApiKey) -> Value {
    json!({"id": key.id, "text": key.expose()})
}

fn page(after: Option<String>, limit: usize) -> Page {
    Page {
        after,
        limit: limit.min(1_000),
    }
}

fn delivered(delivery: &Delivery) -> Value {
    let (token, outcome) = match &delivery.turn {
        Turn::Now { token } => (json!(token), Value::Null),
        Turn::Done(outcome) => (Value::Null, outcome.clone()),
    };
    json!({"name": delivery.name, "event": delivery.event, "guard": delivery.event.guard, "token": token, "outcome": outcome})
}

/// The delivery that `delivered` wrote.
fn delivery(value: &Value) -> Result<Delivery> {
    let bad = || Error::invalid("argument.invalid", "this is no delivery of `webhooks.begin`").at("delivery");
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(bad);
    let mut event: Event = serde_json::from_value(value.get("event").cloned().unwrap_or_default()).map_err(|_| bad())?;
    event.guard = text("guard")?;
    let turn = match text("token") {
        Ok(token) => Turn::Now { token },
        Err(_) => Turn::Done(value.get("outcome").cloned().unwrap_or_default()),
    };
    Ok(Delivery {
        name: text("name")?,
        event,
        turn,
    })
}

/// The security headers of a preset: `api`, `html` or `strict`.
#[pyfunction]
#[pyo3(signature = (preset, nonce=None))]
pub(crate) fn security_headers(py: Python<'_>, preset: &str, nonce: Option<&str>) -> PyResult<Fields> {
    fields(preset, nonce).map_err(|e| raise(py, &e))
}

fn fields(preset: &str, nonce: Option<&str>) -> Result<Fields> {
    let nonce = nonce.map(Nonce::parse).transpose()?;
    Ok(headers(preset.parse::<Preset>()?, nonce.as_ref()))
}

verbs! { TABLE: e;
    keys.create(name: String; account: Option<String>, scopes: Vec<String> = Vec::<String>::new(), limit: Option<String>,
        expires: Option<super::Until>, metadata: Option<Map<String, Value>>) => {
        let new = NewKey {
            account, scopes, limit, expires_at: expires.map(|u| u.0.after(e.now())), metadata: metadata.unwrap_or_default(),
            ..NewKey::new(name)
        };
        made(&e.keys().create(new).await?)
    };
    keys.verify(text: String; scopes: Vec<String> = Vec::<String>::new()) => e.keys().verify(&text, &scopes).await?;
    keys.rotate(key_id: KeyId; overlap: Span = Span(Millis::hours(24))) => made(&e.keys().rotate(&key_id, overlap.0).await?);
    keys.revoke(key_id: KeyId) => e.keys().revoke(&key_id).await?;
    keys.get(key_id: KeyId) => e.keys().get(&key_id).await?;
    keys.list(account: Option<String>; ended: bool = false, after: Option<String>, limit: usize = 50usize)
        => e.keys().list(&KeyFilter { account, ended }, &page(after, limit)).await?;
    keys.flush() => e.keys().flush().await?;

    webhooks.names() => e.webhooks().names();
    webhooks.verify(name: String, headers: Fields, body: Bytes) => e.webhooks().verify(&name, &headers, &body.0)?;
    webhooks.begin(name: String, headers: Fields, body: Bytes) => delivered(&e.webhooks().begin(&name, &headers, &body.0).await?);
    webhooks.finish(delivery_: Value; outcome: Option<Value>)
        => e.webhooks().finish(&delivery(&delivery_)?, outcome.unwrap_or_default()).await?;
    webhooks.abandon(delivery_: Value) => e.webhooks().abandon(&delivery(&delivery_)?).await?;
    webhooks.sign(name: String, id: String, body: Bytes) => e.webhooks().sign(&name, &id, &body.0)?;
}

/// A key as Python holds it while it answers a request.
pub(crate) fn info(key: &KeyInfo) -> Value {
    serde_json::to_value(key).unwrap_or_default()
}
