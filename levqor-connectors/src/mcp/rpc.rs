//! JSON-RPC 2.0, as much of it as the protocol uses.

use serde_json::{Value, json};

pub(super) const PARSE_ERROR: i64 = -32_700;
pub(super) const INVALID_REQUEST: i64 = -32_600;
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
pub(super) const INVALID_PARAMS: i64 = -32_602;

/// A request, or a notification if it has no id.
pub(super) struct Message {
    pub(super) id: Option<Value>,
    pub(super) method: String,
    pub(super) params: Value,
}

impl Message {
    /// Reads a message; the error is the answer to it.
    pub(super) fn read(text: &[u8]) -> Result<Self, Value> {
        let Ok(mut value) = serde_json::from_slice::<Value>(text) else {
            return Err(failure(&Value::Null, PARSE_ERROR, "this is not JSON"));
        };
        let id = match &value["id"] {
            id @ (Value::String(_) | Value::Number(_)) => Some(id.clone()),
            _ => None,
        };
        let refuse = |what: &str| Err(failure(id.as_ref().unwrap_or(&Value::Null), INVALID_REQUEST, what));
        // The protocol has no batches any more, and nothing is asked of clients.
        if value["jsonrpc"] != "2.0" {
            return refuse("this is no message of JSON-RPC 2.0");
        }
        if id.is_none() && value.get("id").is_some() {
            return refuse("an id is a text or a number");
        }
        let Some(method) = value["method"].as_str().map(str::to_owned) else {
            return refuse("a request has a method");
        };
        let params = value["params"].take();
        if !matches!(params, Value::Null | Value::Object(_)) {
            return Err(failure(
                &id.unwrap_or_default(),
                INVALID_PARAMS,
                "the parameters are no object",
            ));
        }
        Ok(Message { id, method, params })
    }
}

/// An answer.
#[allow(clippy::needless_pass_by_value)]
pub(super) fn success(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// An answer that says what was wrong.
pub(super) fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}
