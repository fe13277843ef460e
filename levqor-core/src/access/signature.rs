//! Signatures of webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) 1.0 defines them.
//!
//! What is signed is `{id}.{timestamp}.{body}` with HMAC-SHA256; the header holds one `v1,<base64>` per
//! secret, separated by spaces, so that a secret can be changed without losing a message.
//!
//! ```
//! use levqor_core::access::signature::{Secret, TOLERANCE, sign, verify};
//! use levqor_core::types::Millis;
//!
//! let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
//! let secrets = [secret];
//! let now = Millis::secs(1_614_265_330);
//! let headers = sign(&secrets, "msg_1", now, b"{}").unwrap();
//! verify(&secrets, &headers.id, &headers.timestamp, &headers.signature, b"{}", now, TOLERANCE).unwrap();
//! ```

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;

/// What every secret's text starts with.
pub const SECRET_PREFIX: &str = "whsec_";
/// How far a message's timestamp may lie from now, either way.
pub const TOLERANCE: Millis = Millis::mins(5);
/// The header with the message's id.
pub const HEADER_ID: &str = "webhook-id";
/// The header with the seconds since 1970 at which this attempt was signed.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures.
pub const HEADER_SIGNATURE: &str = "webhook-signature";

/// A shared secret. Never shows itself.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Reads `whsec_<base64>`; the prefix may be missing. The key has 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::new(
                ErrorKind::Config,
                "webhook.secret_invalid",
                format!("the webhook secret {what}"),
            )
            .hint("a secret is `whsec_` and the base64 of 24 to 64 random bytes")
        };
        let text = text.trim();
        let bytes = STANDARD
            .decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text))
            .map_err(|_| bad("is not base64"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(bad("has the wrong length"));
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The three headers of a signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeaders {
    /// [`HEADER_ID`]
    pub id: String,
    /// [`HEADER_TIMESTAMP`]
    pub timestamp: String,
    /// [`HEADER_SIGNATURE`]: one signature per secret, in their order.
    pub signature: String,
}

/// Signs a message with every secret.
///
/// `id` is equal over all attempts of one message; it must not contain a dot (that separates the signed
/// parts) nor anything that a header cannot hold. `at` is the time of this attempt.
pub fn sign(secrets: &[Secret], id: &str, at: Millis, body: &[u8]) -> Result<SignedHeaders> {
    if secrets.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "webhook.secret_missing",
            "there is no secret to sign with",
        ));
    }
    if id.is_empty() || id.len() > 256 || !id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
        return Err(Error::invalid(
            "webhook.id_invalid",
            "a message's id has 1 to 256 visible ASCII characters and no dot",
        ));
    }
    let timestamp = at.0.div_euclid(1_000).to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut context = hmac::Context::with_key(&secret.0);
            feed(&mut context, id, &timestamp, body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        })
        .collect();
    Ok(SignedHeaders {
        id: id.to_owned(),
        timestamp,
        signature: signatures.join(" "),
    })
}

/// Checks a message by its three headers: one of its `v1` signatures must be of one of the secrets, and it
/// must have been signed within `tolerance` of `now`. Comparison takes constant time.
pub fn verify(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Millis,
    tolerance: Millis,
) -> Result<()> {
    let denied = |code: &str, message: &str| Err(Error::new(ErrorKind::Denied, code, message).status_is(400));
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
    let Some(seconds) = timestamp.parse::<i64>().ok().filter(|_| digits) else {
        return denied("webhook.timestamp_invalid", "the timestamp is not a number of seconds");
    };
    let age = now.0.saturating_sub(seconds.saturating_mul(1_000));
    if age > tolerance.0 {
        return denied("webhook.too_old", "the message was signed too long ago");
    }
    if age < tolerance.0.saturating_neg() {
        return denied("webhook.from_the_future", "the message was signed in the future");
    }
    let mut signed = Vec::with_capacity(id.len() + timestamp.len() + body.len() + 2);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        signed.extend_from_slice(part);
    }
    let genuine = signature
        .split(' ')
        .filter_map(|s| s.strip_prefix("v1,"))
        .filter_map(|s| STANDARD.decode(s).ok())
        .any(|tag| secrets.iter().any(|secret| hmac::verify(&secret.0, &signed, &tag).is_ok()));
    if genuine {
        Ok(())
    } else {
        denied("webhook.signature_invalid", "no signature of the message fits a known secret")
    }
}

fn feed(context: &mut hmac::Context, id: &str, timestamp: &str, body: &[u8]) {
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    #[test]
    fn signs_as_the_published_vectors_do() {
        for (key, id, at, body, expected) in [
            (
                SECRET,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                OTHER,
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let headers = sign(&[secret(key)], id, Millis::secs(at), body.as_bytes()).unwrap();
            assert_eq!(headers.signature, expected);
            assert_eq!(headers.timestamp, at.to_string());
        }
    }

    #[test]
    fn a_message_passes_with_any_of_the_secrets_during_a_change() {
        let now = Millis::secs(1_700_000_000);
        let both = sign(&[secret(SECRET), secret(OTHER)], "msg_1", now, b"hello").unwrap();
        assert_eq!(both.signature.split(' ').count(), 2);
        for key in [SECRET, OTHER] {
            verify(
                &[secret(key)],
                &both.id,
                &both.timestamp,
                &both.signature,
                b"hello",
                now,
                TOLERANCE,
            )
            .unwrap();
        }
    }

    #[test]
    fn whatever_was_changed_is_refused() {
        let now = Millis::secs(1_700_000_000);
        let keys = [secret(SECRET)];
        let h = sign(&keys, "msg_1", now, b"hello").unwrap();
        let check = |id: &str, t: &str, s: &str, body: &[u8], now: Millis| {
            verify(&keys, id, t, s, body, now, TOLERANCE).map_err(|e| e.code().to_owned())
        };
        let (t, s) = (h.timestamp.as_str(), h.signature.as_str());
        let later = |seconds: i64| Millis::secs(1_700_000_000 + seconds);
        assert_eq!(check("msg_1", t, s, b"hello", later(300)), Ok(()));
        assert_eq!(check("msg_1", t, s, b"hello", later(-300)), Ok(()));
        for (result, code) in [
            (check("msg_2", t, s, b"hello", now), "webhook.signature_invalid"),
            (check("msg_1", t, s, b"hellO", now), "webhook.signature_invalid"),
            (check("msg_1", "1700000001", s, b"hello", now), "webhook.signature_invalid"),
            (
                check("msg_1", t, &s[..s.len() - 5], b"hello", now),
                "webhook.signature_invalid",
            ),
            (check("msg_1", t, "v1,", b"hello", now), "webhook.signature_invalid"),
            (
                check("msg_1", t, &s.replace("v1,", "v2,"), b"hello", now),
                "webhook.signature_invalid",
            ),
            (check("msg_1", t, "", b"hello", now), "webhook.signature_invalid"),
            (check("msg_1", "+1700000000", s, b"hello", now), "webhook.timestamp_invalid"),
            (check("msg_1", "", s, b"hello", now), "webhook.timestamp_invalid"),
            (
                check("msg_1", "99999999999999999999", s, b"hello", now),
                "webhook.timestamp_invalid",
            ),
            (check("msg_1", t, s, b"hello", later(301)), "webhook.too_old"),
            (check("msg_1", t, s, b"hello", later(-301)), "webhook.from_the_future"),
        ] {
            assert_eq!(result, Err(code.to_owned()));
        }
        assert!(verify(&[secret(OTHER)], "msg_1", t, s, b"hello", now, TOLERANCE).is_err());
        assert!(verify(&[], "msg_1", t, s, b"hello", now, TOLERANCE).is_err());
    }

    #[test]
    fn bad_secrets_and_ids_are_refused_without_showing_them() {
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%canary%%%", "hunter2"] {
            let e = Secret::parse(bad).unwrap_err();
            assert_eq!(e.code(), "webhook.secret_invalid");
            assert!(!format!("{e:?}").contains("canary"));
        }
        for bad in ["", "a.b", "a b", "a\nb", "ä"] {
            assert_eq!(
                sign(&[secret(SECRET)], bad, Millis::ZERO, b"").unwrap_err().code(),
                "webhook.id_invalid",
                "{bad}"
            );
        }
        assert_eq!(format!("{:?}", secret(SECRET)), "Secret(..)");
    }
}
