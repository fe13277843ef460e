//! Contract cases: what an action must send for an input, and what it must make of an answer.
//!
//! `tests/contracts/<connector>.json` holds them as data. `{base}` in them is the address of the server of the test.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::struct_field_names,
    missing_docs
)]

use std::path::PathBuf;
use std::sync::Arc;

use axum::response::Response;
use levqor_core::clock::ManualClock;
use levqor_core::connector::{Connection, Connector, Cx};
use levqor_core::error::Error;
use levqor_core::jobs::retry::RetryPolicy;
use levqor_core::layers::{StackOptions, stack};
use levqor_core::transport::HttpTransport;
use levqor_core::types::Millis;
use serde_json::{Map, Value, json};

use super::{Seen, answer, transport};

/// 2026-03-01T12:00:00Z
pub const NOW: Millis = Millis::secs(1_772_366_400);

/// The cases of one connector.
pub struct Cases {
    pub connector: String,
    pub connection: Value,
    pub cases: Vec<Value>,
    pub file: PathBuf,
}

/// Every file of cases, by name.
pub fn all() -> Vec<Cases> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contracts");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let read: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            Cases {
                connector: read["connector"].as_str().unwrap().to_owned(),
                connection: read["connection"].clone(),
                cases: read["cases"].as_array().unwrap().clone(),
                file,
            }
        })
        .collect()
}

thread_local! {
    // Each test has a thread and a runtime of its own; both of these take a while to make.
    static NETWORK: Arc<HttpTransport> = transport(&["127.0.0.1".into()]);
    static CONNECTORS: Vec<Arc<dyn Connector>> = levqor_connectors::all();
}

/// A connector of this build with all layers, and budgets and circuits of its own.
pub fn connector(name: &str) -> Arc<dyn Connector> {
    let found = CONNECTORS.with(|all| all.iter().find(|c| c.manifest().name == name).cloned());
    stack(
        found.unwrap(),
        &StackOptions::new(std::sync::Arc::new(levqor_core::backend::memory::MemoryLimits::new())),
    )
}

/// This test's network.
pub fn network() -> Arc<HttpTransport> {
    NETWORK.with(Arc::clone)
}

/// Puts the server's address in.
pub fn at(value: &Value, base: &str) -> Value {
    match value {
        Value::String(s) => {
            let host = base.split_once("://").map_or("", |(_, host)| host);
            s.replace("{base}", base).replace("{host}", host).into()
        }
        Value::Array(a) => a.iter().map(|v| at(v, base)).collect(),
        Value::Object(o) => o.iter().map(|(k, v)| (k.clone(), at(v, base))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

/// Takes the server's address out again.
fn anywhere(text: &str, base: &str) -> String {
    let host = base.split_once("://").map_or("", |(_, host)| host);
    text.replace(base, "{base}").replace(host, "{host}")
}

/// A place to call from: at a fixed time, with a fixed key, three attempts within a moment.
pub fn cx(connection: &Value, base: &str) -> Cx {
    let mut values = at(connection, base);
    if values.get("base_url").is_none() {
        values["base_url"] = base.into();
    }
    let mut cx = Cx::direct(network(), Arc::new(ManualClock::at(NOW)));
    cx.idempotency_key = "step-key-1".into();
    cx.timeout = Millis::secs(10);
    cx.max_sleep = Millis(900);
    cx.retry = RetryPolicy {
        max_attempts: 3,
        initial: Millis(1),
        max: Millis(5),
        on: vec![],
    };
    cx.connection = Some(Arc::new(Connection::new("main", values)));
    cx
}

/// The answer that a case describes: `status` (200), `headers`, and `json` or `text`.
pub fn response(described: &Value, base: &str) -> Response {
    let described = at(described, base);
    let status = described["status"].as_u64().unwrap_or(200);
    let body = match (&described["json"], &described["text"]) {
        (Value::Null, Value::String(text)) => text.clone(),
        (Value::Null, _) => String::new(),
        (json, _) => json.to_string(),
    };
    let mut headers: Vec<(String, String)> = described["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
        .collect();
    if !described["json"].is_null() && !headers.iter().any(|(n, _)| n == "content-type") {
        headers.push(("content-type".into(), "application/json".into()));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    answer(u16::try_from(status).unwrap(), &headers, body)
}

/// Headers that belong to HTTP and not to the vendor.
const USUAL: [&str; 5] = ["accept-encoding", "content-length", "host", "user-agent", "connection"];

/// A request as cases describe it.
pub fn described(seen: &Seen, base: &str) -> Value {
    let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
    let mut out = json!({"method": seen.method, "path": path});
    let pairs = |text: &[u8]| -> Value {
        let pairs = url::form_urlencoded::parse(text).into_owned();
        pairs.map(|(n, v)| format!("{n}={}", anywhere(&v, base))).collect()
    };
    if !query.is_empty() {
        out["query"] = pairs(query.as_bytes());
    }
    let mut boundary = String::new();
    let mut headers = Map::new();
    for (name, value) in &seen.headers {
        let mut value = anywhere(value, base);
        if let Some((before, found)) = value.split_once("boundary=") {
            found.clone_into(&mut boundary);
            value = format!("{before}boundary=BOUNDARY");
        }
        // A signature covers the server's port, which is another one every time.
        if value.starts_with("AWS4") {
            value.truncate(value.find("Signature=").unwrap());
        }
        if !USUAL.contains(&name.as_str()) && (name != "accept" || value != "*/*") {
            headers.insert(name.clone(), value.into());
        }
    }
    let kind = headers
        .get("content-type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    out["headers"] = headers.into();
    if !seen.body.is_empty() {
        let text = String::from_utf8_lossy(&seen.body).into_owned();
        if kind.starts_with("application/json") {
            out["json"] = serde_json::from_str(&anywhere(&text, base)).unwrap();
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            out["form"] = pairs(&seen.body);
        } else {
            let text = if boundary.is_empty() {
                text
            } else {
                text.replace(&boundary, "BOUNDARY")
            };
            out["lines"] = anywhere(&text, base).split("\r\n").map(str::to_owned).collect();
        }
    }
    out
}

/// An error as cases describe it.
pub fn described_error(e: &Error) -> Value {
    let mut out = json!({"kind": e.kind().name(), "code": e.code(), "effect": e.effect()});
    if let Some(wait) = e.retry_after() {
        out["retry_after"] = wait.0.into();
    }
    for name in ["provider_code", "attempts"] {
        if let Some(value) = e.details().get(name) {
            out[name] = value.clone();
        }
    }
    out
}
