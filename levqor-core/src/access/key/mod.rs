//! API keys: their text, what is kept of them, and whether one may pass.
//!
//! At rest there is only a SHA-256 of the text. A slow hash protects what people can remember and others can
//! guess; a key holds 256 random bits, which nobody guesses at any speed, so slowness would cost every request
//! and protect nothing.

mod cache;
mod document;
mod scope;
mod text;

pub use cache::{Cached, FRESH, KeyCache, STALE};
pub use document::{KeyDocument, KeyInfo, KeyState, NewKey, SecretHash};
pub use scope::{covers, unknown};
pub use text::{ApiKey, DEFAULT_PREFIX, KeyDigest, KeyText, check_prefix, parse};

use crate::error::{Error, ErrorKind};

/// A refusal with 401: whoever asks has not proved who it is.
pub(crate) fn refused(code: &str, message: impl Into<String>) -> Error {
    let challenge = "Bearer error=\"invalid_token\"";
    Error::new(ErrorKind::Denied, code, message)
        .status_is(401)
        .with_headers(vec![("WWW-Authenticate".to_owned(), challenge.to_owned())])
}

/// The error of a request without a key.
pub fn missing() -> Error {
    Error::new(ErrorKind::Denied, "key.missing", "the request carries no API key")
        .status_is(401)
        .with_headers(vec![("WWW-Authenticate".to_owned(), "Bearer".to_owned())])
        .hint("send it as `Authorization: Bearer ...` or `X-API-Key: ...`")
}

/// The key that a request carries: of `Authorization: Bearer ...`, or else of `X-API-Key`.
///
/// ```
/// use levqor_core::access::key::credential;
/// assert_eq!(credential(Some("bearer  lvq_x"), None).unwrap(), "lvq_x");
/// assert_eq!(credential(None, Some("lvq_x")).unwrap(), "lvq_x");
/// assert_eq!(credential(Some("Basic eA=="), None).unwrap_err().code(), "key.missing");
/// ```
pub fn credential<'a>(authorization: Option<&'a str>, api_key: Option<&'a str>) -> Result<&'a str, Error> {
    let bearer = authorization.and_then(|value| {
        let (scheme, rest) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    });
    bearer
        .or(api_key.map(str::trim))
        .filter(|text| !text.is_empty())
        .ok_or_else(missing)
}
