//! No error leaves a connector with a secret of its connection in it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{Around, Layer, Layered};
use crate::connector::{Connection, Connector, Cx, Output};
use crate::error::{Error, Result};

/// What stands where a secret stood.
pub const MASK: &str = "[redacted]";

/// Finds secrets in texts: as they are, in Base64 (both alphabets, and inside a longer Base64 text such as
/// Basic credentials), URL-encoded, in hexadecimal, and as they stand in JSON.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that no part of a secret is left over when a shorter one lies within.
    needles: Vec<String>,
}

/// Base64 of fewer bytes is too short to be told from other text.
const SHORTEST_ENCODED: usize = 6;

impl Redactor {
    /// A redactor for these secrets. Empty ones are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets.into_iter().filter(|s| !s.is_empty()) {
            needles.push(secret.to_owned());
            needles.push(secret.trim().to_owned());
            needles.push(form_urlencoded::byte_serialize(secret.as_bytes()).collect());
            let percent = percent_encoded(secret);
            needles.push(percent.to_ascii_lowercase());
            needles.push(percent);
            if let Ok(quoted) = serde_json::to_string(secret) {
                needles.push(quoted[1..quoted.len() - 1].to_owned());
            }
            if secret.len() >= SHORTEST_ENCODED {
                needles.extend((0..3).flat_map(|before| base64_within(secret.as_bytes(), before)));
                let hex = in_hex(secret);
                needles.push(hex.to_ascii_uppercase());
                needles.push(hex);
            }
        }
        needles.retain(|n| !n.is_empty());
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        Redactor { needles }
    }

    /// A redactor for the secrets of a connection.
    pub fn of(connection: &Connection) -> Self {
        Redactor::new(connection.secrets())
    }

    /// A text without the secrets.
    pub fn text(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for needle in &self.needles {
            if clean.contains(needle.as_str()) {
                clean = clean.replace(needle.as_str(), MASK);
            }
        }
        clean
    }

    /// Takes the secrets out of every text in a value, keys included.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(s) => *s = self.text(s),
            Value::Array(a) => a.iter_mut().for_each(|v| self.value(v)),
            Value::Object(o) => {
                *o = std::mem::take(o)
                    .into_iter()
                    .map(|(k, mut v)| {
                        self.value(&mut v);
                        (self.text(&k), v)
                    })
                    .collect::<Map<_, _>>();
            }
            _ => {}
        }
    }

    /// An error without the secrets. Kind, code, effect and numbers stay as they are.
    #[must_use]
    pub fn error(&self, error: &Error) -> Error {
        let mut parts = error.to_json();
        if let Some(parts) = parts.as_object_mut() {
            for (name, part) in parts.iter_mut() {
                if matches!(name.as_str(), "message" | "at" | "hint" | "details") {
                    self.value(part);
                }
                // The keys of these two are ours.
                for inner in part.as_array_mut().into_iter().flatten() {
                    match inner {
                        Value::Object(fault) => fault
                            .iter_mut()
                            .filter(|(k, _)| *k != "code")
                            .for_each(|(_, v)| self.value(v)),
                        other => self.value(other),
                    }
                }
            }
        }
        Error::from_json(&parts)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} forms)", self.needles.len())
    }
}

/// Every byte that RFC 3986 does not leave unreserved, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn in_hex(text: &str) -> String {
    text.bytes()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

/// The characters that a secret always gives within Base64 if so many bytes (modulo 3) stand before it: those
/// that hold no bit of its neighbours.
fn base64_within(secret: &[u8], before: usize) -> [String; 2] {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let whole = bytes.len() * 8 / 6;
    let first = (before * 8).div_ceil(6);
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)].map(|t| t.get(first..whole).unwrap_or_default().to_owned())
}

/// Takes the connection's secrets out of every error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redact;

impl Layer for Redact {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(*self, inner)
    }
}

impl Around for Redact {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let result = inner.call(cx, action, input).await;
        match (result, &cx.connection) {
            (Err(e), Some(connection)) => Err(Redactor::of(connection).error(&e)),
            (result, _) => result,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::probe::{Probe, with_connection};
    use super::*;
    use crate::error::{Effect, ErrorKind, Fault};
    use crate::types::Millis;

    proptest! {
        #[test]
        fn no_form_of_a_secret_survives(
            secret in "[ -~]{6,40}", before in "[a-z0-9:]{0,7}", after in "[a-z0-9:]{0,7}",
        ) {
            let redactor = Redactor::new([secret.as_str()]);
            let around = format!("{before}{secret}{after}");
            // What is left of a Base64 text must not hold the secret when it is decoded again.
            for engine in [&STANDARD, &URL_SAFE] {
                let encoded = engine.encode(&around);
                let clean = redactor.text(&encoded);
                prop_assert!(clean.contains(MASK), "{encoded} -> {clean}");
            }
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [around.clone(), percent_encoded(&secret), encoded, in_hex(&secret), json!(around).to_string()] {
                let clean = redactor.text(&form);
                prop_assert!(clean.contains(MASK) && !clean.contains(&secret), "{form} -> {clean}");
            }
        }
    }

    #[test]
    fn other_text_is_left_alone_and_the_longest_secret_goes_first() {
        let r = Redactor::new(["key-123", "key-123-long"]);
        assert_eq!(
            r.text("a key-123-long and key-123 and key-12"),
            "a [redacted] and [redacted] and key-12"
        );
        assert_eq!(Redactor::new([""]).text("abc"), "abc");
        assert!(!format!("{r:?}").contains("key"));
    }

    #[tokio::test]
    async fn errors_come_out_clean_and_otherwise_unchanged() {
        let dirty = Error::faults(
            "x.code",
            "bad token tok-canary",
            vec![Fault::new("/tok-canary", "tok", "is tok-canary")],
        )
        .hint("not tok-canary")
        .after(Millis(5))
        .effect_is(Effect::Unknown)
        .with("body", json!({"tok-canary": ["Basic dXNlcjp0b2stY2FuYXJ5"]}))
        .with("status", 401)
        .with_headers(vec![("x-echo".into(), "tok-canary".into())]);
        let c = Redact.connector(Probe::answering([Err(dirty)]).shared());
        let e = c
            .call(
                &with_connection(json!({"token": "tok-canary", "base_url": "x.code"})),
                "write",
                &json!({}),
            )
            .await
            .unwrap_err();
        let all = format!("{e:?}{}{}", e.to_json(), e.problem());
        assert!(!all.contains("canary") && !all.contains("2stY2FuYX"), "{all}");
        assert_eq!(
            (
                e.code(),
                e.kind(),
                e.effect(),
                e.retry_after(),
                e.details()["status"].as_u64()
            ),
            ("x.code", ErrorKind::Invalid, Effect::Unknown, Some(Millis(5)), Some(401))
        );
        assert_eq!(e.fault_list()[0].code, "tok");
    }
}
