//! Bytes in inputs and outputs: as text, or in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use levqor_core::connector::Cx;
use levqor_core::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Object;

/// One text or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A text or a whole number.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum TextOrNumber {
    Text(String),
    Number(i64),
}

/// Takes the bytes out of an input: exactly one of its fields `text` and `base64`.
pub(crate) fn take_bytes(fields: &mut Object) -> Result<Vec<u8>> {
    match (take_text(fields, "text"), take_text(fields, "base64")) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(encoded)) => STANDARD
            .decode(encoded.trim())
            .map_err(|_| Error::invalid("connector.base64_invalid", "`base64` is not Base64").at("/base64")),
        _ => Err(Error::invalid("connector.content_missing", "the content is given as `text` or as `base64`").at("/text")),
    }
}

/// Takes a text out of an input.
pub(crate) fn take_text(fields: &mut Object, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Bytes in an output: `text` if that is what they are, else `base64`, and how many there are.
pub(crate) fn shown_bytes(bytes: &[u8]) -> Object {
    let (text, base64) = match std::str::from_utf8(bytes) {
        Ok(text) => (json!(text), Value::Null),
        Err(_) => (Value::Null, json!(STANDARD.encode(bytes))),
    };
    let mut out = Object::new();
    out.insert("text".into(), text);
    out.insert("base64".into(), base64);
    out.insert("size".into(), bytes.len().into());
    out
}

/// An id of lower-case hexadecimal digits that is equal over every attempt: 64 of them.
pub(crate) fn hex_id(cx: &Cx, purpose: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(cx.derived_id(purpose)).unwrap_or_default();
    hex(&bytes)
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

/// A random-looking UUID (RFC 9562, version 4) that is equal over every attempt.
pub(crate) fn uuid(cx: &Cx, purpose: &str) -> String {
    let mut h = hex_id(cx, purpose);
    h.truncate(32);
    h.replace_range(12..13, "4");
    h.replace_range(16..17, "8");
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// Takes a list of texts out of an input, as one text with commas.
pub(crate) fn take_list(fields: &mut Object, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::Array(list)) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
