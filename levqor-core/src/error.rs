//! The one error type of the engine.
//!
//! An [`Error`] is one pointer wide. Its [`ErrorKind`] (twelve of them) decides class, HTTP status and
//! whether trying again can help; its finer `code` (`ledger.insufficient_credits`,
//! `pipeline.unknown_step`) names the cause and never changes once released. The message says what was
//! wrong, [`place`](Error::place) where, [`help`](Error::help) what to do.
//!
//! ```
//! use levqor_core::error::{Error, ErrorKind};
//!
//! let e = Error::new(ErrorKind::Invalid, "pipeline.unknown_step", "there is no step `fnd`")
//!     .at("/steps/2/input/total")
//!     .hint("did you mean `find`?");
//! assert_eq!(e.kind().status(), 422);
//! assert_eq!(e.to_string(), "there is no step `fnd` (at /steps/2/input/total); did you mean `find`?");
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::types::Millis;

/// What every fallible call of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The classes of error. One table maps each to an HTTP status, and from there to exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; the same input will always be wrong.
    Invalid,
    /// The thing asked for does not exist.
    NotFound,
    /// The state does not allow it: a key reused with another payload, a hold closed twice, a lost lease.
    Conflict,
    /// Not enough credits.
    Insufficient,
    /// A limit refused it; [`Error::retry_after`] says when it may pass.
    RateLimited,
    /// Who asks may not do this: missing, wrong or expired credentials, a scope, a guard.
    Denied,
    /// This build or backend cannot do it.
    Unsupported,
    /// The configuration is wrong.
    Config,
    /// Something outside is down or overloaded; trying later may help.
    Unavailable,
    /// It took too long.
    Timeout,
    /// Stored or received data is not what it must be.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [ErrorKind; 12] = [
        ErrorKind::Invalid,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Insufficient,
        ErrorKind::RateLimited,
        ErrorKind::Denied,
        ErrorKind::Unsupported,
        ErrorKind::Config,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Corrupt,
        ErrorKind::Internal,
    ];

    /// The HTTP status of the problem document.
    pub const fn status(self) -> u16 {
        match self {
            ErrorKind::Invalid => 422,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Insufficient => 402,
            ErrorKind::RateLimited => 429,
            ErrorKind::Denied => 403,
            ErrorKind::Unsupported => 501,
            ErrorKind::Unavailable => 503,
            ErrorKind::Timeout => 504,
            ErrorKind::Config | ErrorKind::Corrupt | ErrorKind::Internal => 500,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn retryable(self) -> bool {
        matches!(self, ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout)
    }

    /// The kind's stable name, as it stands in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Insufficient => "insufficient",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Denied => "denied",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Config => "config",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Internal => "internal",
        }
    }
}

/// What a failed call left behind at the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing happened there.
    #[default]
    None,
    /// The answer was lost: it may have happened. Never repeated without an idempotency key.
    Unknown,
    /// It happened, though the call failed afterwards.
    Done,
}

/// One fault among several, of an input that is refused with all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the input; empty for the whole.
    pub at: String,
    /// The stable code of this fault.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// An error with everything that a caller may want to show or decide on.
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inner {
    kind: ErrorKind,
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default)]
    effect: Effect,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Fault>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
}

impl Error {
    /// An error of a kind, with its stable code and a message for people.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            code: code.into(),
            message: message.into(),
            at: None,
            hint: None,
            retry_after: None,
            retryable: None,
            status: None,
            effect: Effect::None,
            faults: Vec::new(),
            headers: Vec::new(),
            details: Map::new(),
        }))
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(code: impl Into<String>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, code, message)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(code: impl Into<String>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, code, message)
    }

    /// Shorthand for [`ErrorKind::Conflict`].
    pub fn conflict(code: impl Into<String>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, code, message)
    }

    /// Shorthand for [`ErrorKind::Unavailable`].
    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, code, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, "internal", message)
    }

    /// Refuses an input with every fault found in it.
    pub fn faults(code: impl Into<String>, message: impl Into<String>, faults: Vec<Fault>) -> Self {
        let mut e = Error::invalid(code, message);
        e.0.at = faults.first().map(|f| f.at.clone());
        e.0.faults = faults;
        e
    }

    /// Says where: a JSON pointer, a file and line, a column, a step.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.at = Some(place.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, help: impl Into<String>) -> Self {
        self.0.hint = Some(help.into());
        self
    }

    /// Says when trying again makes sense: a duration from now.
    #[must_use]
    pub fn after(mut self, wait: Millis) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Overrides what the kind says about trying again (a quota that is used up is rate limited for good).
    #[must_use]
    pub fn retry(mut self, retryable: bool) -> Self {
        self.0.retryable = Some(retryable);
        self
    }

    /// Overrides the HTTP status of the kind: 401 where credentials are missing or wrong, 400 where a message
    /// does not prove where it came from.
    #[must_use]
    pub fn status_is(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Says what the call left behind at the other side.
    #[must_use]
    pub fn effect_is(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// Adds one machine-readable detail. Never a secret.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the HTTP headers that belong to an answer with this error.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.0.headers = headers;
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable name of the cause.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What was wrong, without place and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it was wrong.
    pub fn place(&self) -> Option<&str> {
        self.0.at.as_deref()
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// How long to wait before the next try, where that is known.
    pub fn retry_after(&self) -> Option<Millis> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        self.0.retryable.unwrap_or(self.0.kind.retryable())
    }

    /// The HTTP status of the problem document.
    pub fn status(&self) -> u16 {
        self.0.status.unwrap_or(self.0.kind.status())
    }

    /// The name of the exception that every binding raises for it.
    ///
    /// ```
    /// use levqor_core::error::{Error, ErrorKind};
    /// assert_eq!(Error::new(ErrorKind::Denied, "key.unknown", "no").status_is(401).class(), "Unauthorized");
    /// ```
    pub fn class(&self) -> &'static str {
        match (self.0.kind, self.status()) {
            (ErrorKind::Invalid, _) => "InvalidInput",
            (ErrorKind::NotFound, _) => "NotFound",
            (ErrorKind::Conflict, _) => "Conflict",
            (ErrorKind::Insufficient, _) => "InsufficientCredits",
            (ErrorKind::RateLimited, _) => "RateLimited",
            (ErrorKind::Denied, 400) => "WebhookRejected",
            (ErrorKind::Denied, 401) => "Unauthorized",
            (ErrorKind::Denied, _) => "Forbidden",
            (ErrorKind::Unsupported, _) => "Unsupported",
            (ErrorKind::Config, _) => "ConfigError",
            (ErrorKind::Unavailable, _) => "Unavailable",
            (ErrorKind::Timeout, _) => "Timeout",
            (ErrorKind::Corrupt, _) => "Corrupt",
            (ErrorKind::Internal, _) => "InternalError",
        }
    }

    /// What the failed call left behind at the other side.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Every fault of a refused input; empty where there is only the one that the message names.
    pub fn fault_list(&self) -> &[Fault] {
        &self.0.faults
    }

    /// HTTP headers that belong to an answer with this error.
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    /// Machine-readable details.
    pub fn details(&self) -> &Map<String, Value> {
        &self.0.details
    }

    /// The error as data: stored beside a dead job, handed over a language border.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(&*self.0).unwrap_or(Value::Null)
    }

    /// The error that [`to_json`](Error::to_json) wrote.
    pub fn from_json(value: &Value) -> Self {
        match serde_json::from_value::<Inner>(value.clone()) {
            Ok(inner) => Error(Box::new(inner)),
            Err(e) => Error::new(
                ErrorKind::Corrupt,
                "error.decode",
                format!("a stored error cannot be read: {e}"),
            ),
        }
    }

    /// The problem document of RFC 9457 (`application/problem+json`). A detail named `type` takes the place
    /// of our own problem type, where a registered one fits.
    pub fn problem(&self) -> Value {
        let own = || json!(format!("urn:levqor:error:{}", self.0.code));
        let mut p = json!({
            "type": self.0.details.get("type").cloned().unwrap_or_else(own),
            "title": self.0.message,
            "status": self.status(),
            "code": self.0.code,
            "retryable": self.retryable(),
        });
        if let Some(map) = p.as_object_mut() {
            if let Some(hint) = &self.0.hint {
                map.insert("detail".into(), json!(hint));
            }
            if let Some(at) = &self.0.at {
                map.insert("at".into(), json!(at));
            }
            if let Some(wait) = self.0.retry_after {
                map.insert("retry_after".into(), json!(wait.as_secs_ceil()));
            }
            if !self.0.faults.is_empty() {
                map.insert("errors".into(), json!(self.0.faults));
            }
            for (name, value) in &self.0.details {
                map.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        p
    }
}

impl Clone for Error {
    fn clone(&self) -> Self {
        Error(self.0.clone())
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(at) = self.0.at.as_deref().filter(|at| !at.is_empty()) {
            write!(f, " (at {at})")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {self}", self.0.kind.name(), self.0.code)?;
        for fault in &self.0.faults {
            write!(f, "\n  {} [{}]: {}", fault.at, fault.code, fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Fault {
    /// A fault at a JSON pointer.
    pub fn new(at: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Fault {
            at: at.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn every_kind_has_a_status_and_its_serde_name() {
        for kind in ErrorKind::ALL {
            assert!((400..600).contains(&kind.status()));
            assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.name()));
        }
    }

    #[test]
    fn an_error_survives_the_way_through_json() {
        let e = Error::new(ErrorKind::RateLimited, "limits.exceeded", "too many")
            .after(Millis(1500))
            .effect_is(Effect::Unknown)
            .with("limit", 60)
            .with_headers(vec![("Retry-After".into(), "2".into())]);
        assert_eq!(Error::from_json(&e.to_json()), e);
        let p = e.problem();
        assert_eq!(
            (p["status"].as_u64(), p["retry_after"].as_u64(), p["limit"].as_u64()),
            (Some(429), Some(2), Some(60))
        );
    }
}
