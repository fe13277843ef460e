//! What an answer that is no success means.

use levqor_core::error::{Effect, Error, ErrorKind};
use levqor_core::layers::Redactor;
use levqor_core::transport::{Response, retry_after};
use levqor_core::types::Millis;
use serde_json::Value;

use super::session::Session;
use crate::kit::shown;
use crate::status::{effect, said, without_secrets};

/// The classes of failure that a vendor's code can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The token was good once.
    Expired,
    /// The credentials are missing or wrong.
    Unauthorized,
    /// The credentials are good, and may not do this.
    Permission,
    /// The thing does not exist.
    NotFound,
    /// The thing's state does not allow it.
    Conflict,
    /// The request is wrong.
    Invalid,
    /// A bank or a plan says no.
    Declined,
    /// Too often; later it may pass.
    RateLimited,
    /// The plan's quota is used up; waiting does not help.
    Quota,
    /// It took the vendor too long.
    Timeout,
    /// The vendor cannot now.
    Unavailable,
    /// The vendor cannot at all.
    Unsupported,
}

impl Class {
    /// Kind, code, and whether trying again can help.
    fn parts(self) -> (ErrorKind, &'static str, bool) {
        use ErrorKind as K;
        match self {
            Class::Expired => (K::Denied, "auth.expired", false),
            Class::Unauthorized => (K::Denied, "auth.invalid", false),
            Class::Permission => (K::Denied, "auth.permission", false),
            Class::NotFound => (K::NotFound, "connector.not_found", false),
            Class::Conflict => (K::Conflict, "connector.conflict", false),
            Class::Invalid => (K::Invalid, "connector.rejected", false),
            Class::Declined => (K::Denied, "connector.declined", false),
            Class::RateLimited => (K::RateLimited, "connector.rate_limited", true),
            Class::Quota => (K::RateLimited, "connector.quota_exceeded", false),
            Class::Timeout => (K::Timeout, "connector.upstream_timeout", true),
            Class::Unavailable => (K::Unavailable, "connector.unavailable", true),
            Class::Unsupported => (K::Unsupported, "connector.unsupported", false),
        }
    }

    /// What a status means by itself.
    fn of(status: u16, asks_to_wait: bool) -> Self {
        match status {
            401 | 407 => Class::Unauthorized,
            402 => Class::Declined,
            // Some vendors say it with a 403.
            403 if asks_to_wait => Class::RateLimited,
            403 | 451 => Class::Permission,
            404 | 410 => Class::NotFound,
            408 | 504 => Class::Timeout,
            409 | 412 | 423 | 428 => Class::Conflict,
            429 => Class::RateLimited,
            501 | 505 => Class::Unsupported,
            425 | 500..=599 => Class::Unavailable,
            _ => Class::Invalid,
        }
    }
}

/// Where a vendor says how long to wait, besides `Retry-After`.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Seconds, at this JSON pointer.
    Body(&'static str),
    /// Seconds since 1970, in this header.
    At(&'static str),
    /// Milliseconds since 1970, in this header.
    AtMillis(&'static str),
    /// Seconds from now, in this header.
    In(&'static str),
    /// Worked out of the body.
    Of(fn(&Value) -> Option<Millis>),
}

/// How a vendor says that something went wrong.
pub(crate) struct Faults {
    /// Where its code stands: JSON pointers; every one that is there counts, the first is shown.
    pub(crate) codes: &'static [&'static str],
    /// What its codes mean, where the status alone would be wrong.
    pub(crate) rules: &'static [(&'static str, Class)],
    /// How long it wants to be left alone.
    pub(crate) waits: &'static [Wait],
    /// The flag that is false in an answer with a good status that failed all the same.
    pub(crate) ok: &'static str,
    /// Lists and objects that are empty or missing in an answer that did not fail, whatever its status.
    pub(crate) failed: &'static [&'static str],
    /// The header that says `true` or `false` to trying again.
    pub(crate) should_retry: &'static str,
    /// Reads a body that is not JSON.
    pub(crate) read: fn(&[u8]) -> Value,
    /// The header that is `0` where a 403 means a limit.
    pub(crate) remaining: &'static str,
}

impl Faults {
    /// Nothing but the status.
    pub(crate) const HTTP: Faults = Faults {
        codes: &["/error/code", "/error/type", "/code", "/error"],
        rules: &[],
        waits: &[],
        ok: "",
        failed: &[],
        should_retry: "",
        read: |body| serde_json::from_slice(body).unwrap_or(Value::Null),
        remaining: "",
    };
}

const REQUEST_IDS: [&str; 8] = [
    "x-request-id",
    "request-id",
    "x-amz-request-id",
    "x-github-request-id",
    "x-slack-req-id",
    "twilio-request-id",
    "x-guploader-uploadid",
    "cf-ray",
];

/// The error of an answer; `None` if it is a success.
///
/// `safe`: the request changes nothing, whatever its action does.
/// `token`: a token that was renewed, which is no setting of the connection.
pub(crate) fn fault(session: &Session<'_>, safe: bool, answer: &Response, token: Option<&str>) -> Option<Error> {
    let faults = &session.vendor().faults;
    let good = (200..300).contains(&answer.status);
    if good && faults.ok.is_empty() && faults.failed.is_empty() {
        return None;
    }
    let body = (faults.read)(&answer.body);
    let no = !faults.ok.is_empty() && body.pointer(faults.ok) == Some(&Value::Bool(false));
    let filled = |at: &&str| match body.pointer(at) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        _ => false,
    };
    if good && !no && !faults.failed.iter().any(filled) {
        return None;
    }
    let secrets = session.connection.secrets().into_iter().chain(token);
    let answer = without_secrets(answer, &Redactor::new(secrets));
    let body = (faults.read)(&answer.body);
    Some(error(session, safe || session.safe(), &answer, &body, good))
}

fn error(session: &Session<'_>, safe: bool, answer: &Response, body: &Value, good: bool) -> Error {
    let faults = &session.vendor().faults;
    let codes = codes(faults, body);
    let asked = wait(faults, answer, body, session.cx.clock.now());
    let limited = !faults.remaining.is_empty() && answer.header(faults.remaining) == Some("0");
    let by_code = codes
        .iter()
        .find_map(|code| faults.rules.iter().find(|(name, _)| name == code));
    let class = match by_code {
        Some((_, class)) => *class,
        None if good => Class::Invalid,
        None => Class::of(
            answer.status,
            asked.is_some() && (limited || answer.header("retry-after").is_some()),
        ),
    };
    let (kind, code, retryable) = class.parts();
    let retryable = match answer.header(faults.should_retry) {
        Some("true") => true,
        Some("false") => false,
        _ => retryable,
    };
    let words = match (said(answer), body.get("Message").and_then(Value::as_str), codes.first()) {
        (words, Some(message), _) if words.is_empty() => shown(message, 300),
        (words, None, Some(code)) if words.is_empty() => shown(code, 100),
        (words, ..) => words,
    };
    let colon = if words.is_empty() { "" } else { ": " };
    let status = answer.status;
    let message = format!("{} was answered with {status}{colon}{words}", session.what());
    let effect = match class {
        _ if safe => Effect::None,
        Class::Unavailable | Class::Timeout if good => Effect::Unknown,
        _ if good => Effect::None,
        Class::RateLimited | Class::Quota => Effect::None,
        _ => effect(status, answer.header("retry-after").is_some(), false),
    };
    let mut e = Error::new(kind, code, message)
        .with("status", status)
        .with("connection", session.connection.name())
        .retry(retryable)
        .effect_is(effect);
    if let Some(code) = codes.first() {
        e = e.with("provider_code", shown(code, 100));
    }
    if let Some(id) = REQUEST_IDS.iter().find_map(|h| answer.header(h)) {
        e = e.with("request_id", shown(id, 100));
    }
    if let Some(wait) = asked.filter(|_| retryable) {
        e = e.after(wait);
    }
    match class {
        Class::Expired | Class::Unauthorized => e.hint(format!(
            "the credentials of the connection `{}` are missing, wrong or expired; connect the account again",
            session.connection.name()
        )),
        Class::Permission => e.hint(format!(
            "give the account behind the connection `{}` the permission or scope for it",
            session.connection.name()
        )),
        Class::Quota => e.hint("the plan's quota is used up; waiting a little does not help"),
        _ => e,
    }
}

/// The vendor's codes in the body, as texts.
fn codes(faults: &Faults, body: &Value) -> Vec<String> {
    let text = |v: &Value| match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    faults.codes.iter().filter_map(|at| text(body.pointer(at)?)).collect()
}

/// How long the vendor wants to be left alone.
fn wait(faults: &Faults, answer: &Response, body: &Value, now: Millis) -> Option<Millis> {
    let plain = |seconds: &str| retry_after(&[("retry-after".into(), seconds.into())], now);
    retry_after(&answer.headers, now).or_else(|| {
        faults.waits.iter().find_map(|wait| match wait {
            Wait::Body(at) => plain(&body.pointer(at)?.to_string()),
            Wait::In(header) => plain(answer.header(header)?),
            Wait::At(header) => {
                let at: i64 = answer.header(header)?.split('.').next()?.trim().parse().ok()?;
                let wait = at.saturating_mul(1_000).saturating_sub(now.0);
                // A reset that lies behind us says that we may go on at once.
                (wait < Millis::hours(24).0).then_some(Millis(wait.max(0)))
            }
            Wait::AtMillis(header) => {
                let at: i64 = answer.header(header)?.trim().parse().ok()?;
                let wait = at.saturating_sub(now.0);
                (wait < Millis::hours(24).0).then_some(Millis(wait.max(0)))
            }
            Wait::Of(of) => of(body),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Response {
        Response {
            status: 429,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: body.to_owned().into(),
            url: String::new(),
        }
    }

    #[test]
    fn every_place_of_a_wait_is_read() {
        let faults = Faults {
            waits: &[
                Wait::Body("/parameters/retry_after"),
                Wait::In("ratelimit-reset"),
                Wait::At("x-reset"),
            ],
            ..Faults::HTTP
        };
        let now = Millis::secs(1_000);
        for (headers, body, expected) in [
            (&[("retry-after", "3")][..], "{}", Some(3_000)),
            (&[], r#"{"parameters": {"retry_after": 7}}"#, Some(7_000)),
            (&[], r#"{"parameters": {"retry_after": 0.25}}"#, Some(250)),
            (&[("ratelimit-reset", "2")], "", Some(2_000)),
            (&[("x-reset", "1005")], "", Some(5_000)),
            (&[("x-reset", "1005.75")], "", Some(5_000)),
            (&[("x-reset", "10")], "", Some(0)),
            (&[("x-reset", "99999999999")], "", None),
            (&[("x-reset", "soon")], "", None),
            (&[], r#"{"parameters": {"retry_after": -1}}"#, None),
            (&[("retry-after", "9"), ("x-reset", "1001")], "", Some(9_000)),
        ] {
            let answer = answer(headers, body);
            let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            assert_eq!(wait(&faults, &answer, &body, now), expected.map(Millis), "{headers:?} {body}");
        }
    }

    #[test]
    fn every_status_has_its_class() {
        for (status, waits, class) in [
            (400, false, Class::Invalid),
            (401, false, Class::Unauthorized),
            (402, false, Class::Declined),
            (403, false, Class::Permission),
            (403, true, Class::RateLimited),
            (404, false, Class::NotFound),
            (409, false, Class::Conflict),
            (410, false, Class::NotFound),
            (422, false, Class::Invalid),
            (429, false, Class::RateLimited),
            (500, false, Class::Unavailable),
            (501, false, Class::Unsupported),
            (503, true, Class::Unavailable),
            (504, false, Class::Timeout),
            (529, false, Class::Unavailable),
            (302, false, Class::Invalid),
        ] {
            assert_eq!(Class::of(status, waits), class, "{status}");
        }
    }
}
