//! Errors as they cross the border.

use levqor::error::{Error, Result};
use napi::bindgen_prelude::Env;
use serde_json::{Value, json};

/// An error as data, with all that JavaScript's class of it shows.
pub(crate) fn told(e: &Error) -> Value {
    let mut told = e.to_json();
    told["class"] = json!(e.class());
    told["status"] = json!(e.status());
    told["retryable"] = json!(e.retryable());
    told["problem"] = e.problem();
    told
}

/// `=` and a value, or `!` and an error.
pub(crate) fn wire(outcome: Result<String>) -> String {
    match outcome {
        Ok(mut text) => {
            text.insert(0, '=');
            text
        }
        Err(e) => format!("!{}", told(&e)),
    }
}

/// An outcome, or an exception whose message is the error as data. JavaScript makes its own class of it.
pub(crate) fn thrown<T>(_env: &Env, outcome: Result<T>) -> napi::Result<T> {
    outcome.map_err(|e| napi::Error::from_reason(format!("!{}", told(&e))))
}

/// Plain data as text.
pub(crate) fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("an answer is no plain data: {e}")))
}
