//! What an HTTP status means for a run.

use levqor_core::error::{Effect, Error, ErrorKind};
use levqor_core::layers::Redactor;
use levqor_core::transport::{Response, retry_after};
use levqor_core::types::Millis;
use serde_json::Value;

use crate::kit::shown;

/// Class, code, and whether trying again can help, of a status that was not wanted.
fn class(status: u16, asks_to_wait: bool) -> (ErrorKind, &'static str, bool) {
    use ErrorKind as K;
    match status {
        429 => (K::RateLimited, "http.rate_limited", true),
        // Some providers (GitHub's secondary limits, Google's user limits) say it with a 403.
        403 if asks_to_wait => (K::RateLimited, "http.rate_limited", true),
        401 | 407 => (K::Denied, "http.unauthorized", false),
        402 => (K::Denied, "http.payment_required", false),
        403 | 451 => (K::Denied, "http.forbidden", false),
        404 => (K::NotFound, "http.not_found", false),
        410 => (K::NotFound, "http.gone", false),
        408 => (K::Timeout, "http.request_timeout", true),
        409 | 412 | 423 | 428 => (K::Conflict, "http.conflict", false),
        425 => (K::Unavailable, "http.too_early", true),
        400..=499 => (K::Invalid, "http.rejected", false),
        501 | 505 | 506 | 510 => (K::Unsupported, "http.unsupported", false),
        504 => (K::Timeout, "http.gateway_timeout", true),
        511 => (K::Unavailable, "http.captive_network", false),
        500..=599 => (K::Unavailable, "http.unavailable", true),
        300..=399 => (K::Invalid, "http.redirected", false),
        _ => (K::Invalid, "http.unexpected_status", false),
    }
}

/// What a request that was answered so left behind. A 4xx was refused, and so was what is told to come back
/// later; any other server error may have come after the work was done.
pub(crate) fn effect(status: u16, asks_to_wait: bool, safe: bool) -> Effect {
    match status {
        _ if safe => Effect::None,
        503 if asks_to_wait => Effect::None,
        501 | 505 | 511 => Effect::None,
        500..=599 => Effect::Unknown,
        200..=299 => Effect::Done,
        _ => Effect::None,
    }
}

/// The error for an answer with a status that was not wanted.
///
/// * `what`: what was asked, as it may be shown.
/// * `safe`: whether the request changes nothing by nature.
pub(crate) fn refusal(what: &str, safe: bool, answer: &Response, now: Millis) -> Error {
    let wait = retry_after(&answer.headers, now);
    let (kind, code, retryable) = class(answer.status, wait.is_some());
    let said = said(answer);
    let colon = if said.is_empty() { "" } else { ": " };
    let mut e = Error::new(kind, code, format!("{what} was answered with {}{colon}{said}", answer.status))
        .with("status", answer.status)
        .retry(retryable)
        .effect_is(effect(answer.status, wait.is_some(), safe));
    if let Some(wait) = wait.filter(|_| retryable) {
        e = e.after(wait);
    }
    if let Some(id) = ["x-request-id", "request-id", "x-amzn-requestid", "cf-ray"]
        .iter()
        .find_map(|h| answer.header(h))
    {
        e = e.with("request_id", shown(id, 100));
    }
    match code {
        "http.unauthorized" => e.hint("the credentials are missing, wrong or expired; renew the connection"),
        "http.redirected" => e.hint("the redirect was not followed; ask the new address, or allow redirects for GET and HEAD"),
        _ => e,
    }
}

/// An answer without the secrets that it gives back. Before anything of it is cut: the half of a secret is none that a
/// redactor knows.
pub(crate) fn without_secrets(answer: &Response, redactor: &Redactor) -> Response {
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut value) => {
            redactor.value(&mut value);
            value.to_string()
        }
        Err(_) => redactor.text(&String::from_utf8_lossy(&answer.body)),
    };
    Response {
        status: answer.status,
        headers: answer.headers.iter().map(|(n, v)| (n.clone(), redactor.text(v))).collect(),
        body: body.into(),
        url: answer.url.clone(),
    }
}

/// What the provider says about it, cut to a line; empty for what is not meant for people.
pub(crate) fn said(answer: &Response) -> String {
    let kind = answer.header("content-type").unwrap_or_default();
    if is_json(kind) {
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            return String::new();
        };
        let places = [
            "/error/message",
            "/message",
            "/error_description",
            "/detail",
            "/errors/0/message",
            "/errors/0/detail",
            "/error_message",
            "/errors/0",
            "/errorMessages/0",
            "/error_summary",
            "/data/result/userErrors/0/message",
            "/error",
            "/title",
            "/description",
        ];
        let text = places.iter().find_map(|at| body.pointer(at).and_then(Value::as_str));
        return text.map(|t| shown(t, 300)).unwrap_or_default();
    }
    if kind.starts_with("text/plain") || kind.is_empty() {
        return shown(&String::from_utf8_lossy(&answer.body), 300);
    }
    String::new()
}

/// Whether a media type is JSON (RFC 6839 suffixes included).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        Response {
            status,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: body.to_owned().into(),
            url: String::new(),
        }
    }

    #[test]
    fn every_status_has_its_class_and_effect() {
        use Effect::{None, Unknown};
        use ErrorKind as K;
        let wait = [("retry-after", "7")];
        for (status, headers, kind, retryable, effect) in [
            (400, &[][..], K::Invalid, false, None),
            (401, &[], K::Denied, false, None),
            (403, &[], K::Denied, false, None),
            (403, &wait, K::RateLimited, true, None),
            (404, &[], K::NotFound, false, None),
            (408, &[], K::Timeout, true, None),
            (409, &[], K::Conflict, false, None),
            (410, &[], K::NotFound, false, None),
            (422, &[], K::Invalid, false, None),
            (429, &[], K::RateLimited, true, None),
            (429, &wait, K::RateLimited, true, None),
            (500, &[], K::Unavailable, true, Unknown),
            (501, &[], K::Unsupported, false, None),
            (502, &[], K::Unavailable, true, Unknown),
            (503, &[], K::Unavailable, true, Unknown),
            (503, &wait, K::Unavailable, true, None),
            (504, &wait, K::Timeout, true, Unknown),
            (302, &[], K::Invalid, false, None),
        ] {
            let e = refusal("`POST https://x.example/`", false, &answer(status, headers, ""), Millis::ZERO);
            assert_eq!(
                (e.kind(), e.retryable(), e.effect()),
                (kind, retryable, effect),
                "{status} {headers:?}"
            );
            assert_eq!(e.retry_after().is_some(), retryable && !headers.is_empty(), "{status}");
            let read = refusal("`GET https://x.example/`", true, &answer(status, headers, ""), Millis::ZERO);
            assert_eq!(read.effect(), None, "a read leaves nothing behind");
        }
    }

    #[test]
    fn the_providers_own_words_are_shown_in_one_line() {
        let json = ("content-type", "application/problem+json; charset=utf-8");
        for (headers, body, expected) in [
            (json, r#"{"error": {"message": "no such\n  user"}}"#, "no such user"),
            (json, r#"{"error": "bad_grant", "error_description": "expired"}"#, "expired"),
            (json, r#"{"title": "Not good"}"#, "Not good"),
            (json, "{broken", ""),
            (("content-type", "text/plain"), "plain words", "plain words"),
            (("content-type", "text/html"), "<html>", ""),
        ] {
            assert_eq!(said(&answer(422, &[headers], body)), expected);
        }
        assert_eq!(said(&answer(500, &[], &"x".repeat(999))).chars().count(), 301);
        let e = refusal("it", false, &answer(500, &[("x-request-id", "r-1")], "oops"), Millis::ZERO);
        assert_eq!(
            (e.message(), e.details()["request_id"].as_str()),
            ("it was answered with 500: oops", Some("r-1"))
        );
    }
}
