//! API keys and webhooks.

use levqor::access::key::{ApiKey, KeyInfo, NewKey};
use levqor::engine::{Delivery, Engine, KeyFilter, Turn};
use levqor::error::{Error, Result};
use levqor::types::{KeyId, Millis};
use serde_json::{Map, Value, json};

use super::runs::page;
use super::{Span, Until, verbs};
use crate::hot::told;

type Pairs = Vec<(String, String)>;

/// A key as it may be shown, with where it stands.
fn shown(e: &Engine, info: &KeyInfo) -> Result<Value> {
    let mut value = serde_json::to_value(info).map_err(|e| Error::internal(e.to_string()))?;
    value["state"] = json!(info.state(e.now()));
    Ok(value)
}

/// A key with its text, which is told this once.
async fn made(e: &Engine, key: ApiKey) -> Result<Value> {
    let mut value = shown(e, &e.keys().get(&key.id).await?)?;
    value["key"] = json!(key.expose());
    Ok(value)
}

fn delivery(delivery: &Delivery) -> Value {
    let (token, outcome) = match &delivery.turn {
        Turn::Now { token } => (Some(token), None),
        Turn::Done(outcome) => (None, Some(outcome)),
    };
    json!({"name": delivery.name, "event": delivery.event, "guard": delivery.event.guard, "token": token, "outcome": outcome})
}

/// A delivery that JavaScript was given and gives back.
fn given(name: String, mut event: Value, guard: String, token: String) -> Result<Delivery> {
    if event.is_null() {
        event = json!({"id": "", "type": "", "created": null, "data": null, "body": null});
    }
    let mut event: levqor::access::webhook::Event =
        serde_json::from_value(event).map_err(|e| Error::invalid("argument.invalid", e.to_string()).at("event"))?;
    event.guard = guard;
    let turn = Turn::Now { token };
    Ok(Delivery { name, event, turn })
}

fn body(text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("hex:") {
        let byte = |i: usize| hex.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        return bytes.ok_or_else(|| Error::invalid("argument.invalid", "this is not hexadecimal").at("body"));
    }
    Ok(text.strip_prefix("utf8:").unwrap_or(text).as_bytes().to_vec())
}

verbs! { e;
    keys.create(name: String = "", account: Option<String>, scopes: Vec<String> = Vec::new(), limit: Option<String>,
        expires: Option<Until>, metadata: Map<String, Value> = Map::new()) => {
        let expires_at = expires.map(|u| u.0.after(e.now()));
        let key = e.keys().create(NewKey { name, account, scopes, limit, expires_at, metadata }).await?;
        made(&e, key).await?
    };
    keys.verify(key: String, scopes: Vec<String> = Vec::new()) => shown(&e, &*e.keys().verify(&key, &scopes).await?)?;
    keys.rotate(id: KeyId, overlap: Span = Span(Millis::ZERO)) => { let key = e.keys().rotate(&id, overlap.0).await?; made(&e, key).await? };
    keys.revoke(id: KeyId) => shown(&e, &e.keys().revoke(&id).await?)?;
    keys.get(id: KeyId) => shown(&e, &e.keys().get(&id).await?)?;
    keys.list(account: Option<String>, ended: bool = false, after: Option<String>, limit: usize = 50usize) => {
        let found = e.keys().list(&KeyFilter { account, ended }, &page(after, limit)).await?;
        found.iter().map(|k| shown(&e, k)).collect::<Result<Vec<_>>>()?
    };
    keys.limit(key: String, cost: u32 = 1u32) => {
        let info = e.keys().verify::<&str>(&key, &[]).await?;
        e.keys().limit(&info, cost).await?.map(|d| told(&d))
    };
    keys.flush() => e.keys().flush().await?;

    webhooks.names() => e.webhooks().names();
    webhooks.verify(name: String, headers: Pairs, body_of: String) => e.webhooks().verify(&name, &headers, &body(&body_of)?)?;
    webhooks.sign(name: String, id: String = "", body_of: String) => e.webhooks().sign(&name, &id, &body(&body_of)?)?;
    webhooks.begin(name: String, headers: Pairs, body_of: String, at_work: Span = Span(Millis::mins(5)))
        => delivery(&e.webhooks().begin_for(&name, &headers, &body(&body_of)?, at_work.0).await?);
    webhooks.finish(name: String, guard: String, token: String, outcome: Value = Value::Null)
        => e.webhooks().finish(&given(name, Value::Null, guard, token)?, outcome).await?;
    webhooks.abandon(name: String, guard: String, token: String)
        => e.webhooks().abandon(&given(name, Value::Null, guard, token)?).await?;
}
