//! How vendors prove that a request is theirs.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::access::signature;
use levqor_core::connector::Hook;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::Value;

/// A vendor's way to sign.
pub(crate) enum Scheme {
    /// A keyed hash (RFC 2104) over parts of the request.
    Hmac {
        hash: Hash,
        text: Text,
        /// The header with the signatures: one, or several with commas between them.
        header: &'static str,
        /// What stands before a signature.
        prefix: &'static str,
        /// What is signed, in this order.
        signed: &'static [Part],
        time: Option<Time>,
    },
    /// As Stripe does it: one header of pairs `t=…,v1=…`; what is signed is the time, a dot, and the body.
    Pairs(&'static str),
    /// The secret itself stands in a header.
    Shown(&'static str),
    /// A signature by the vendor's key (RFC 8032) over time and body; the setting is the public key in hexadecimal.
    Ed25519 { signature: &'static str, time: &'static str },
    /// Standard Webhooks, with headers that begin with this word.
    Standard(&'static str),
    /// As Twilio does it: over the address and the form's fields by name, or a sum of the body in the address.
    Twilio,
}

/// A hash function.
#[derive(Clone, Copy)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

/// How a signature is written.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    Hex,
    Base64,
}

/// A part of what is signed.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Body,
    Method,
    /// The address.
    Url,
    /// The address, of which the characters that a URI may hold are decoded.
    DecodedUrl,
    Header(&'static str),
    Plain(&'static str),
}

/// When a request was signed.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    pub(crate) place: Place,
    /// Whether it is milliseconds since 1970, or seconds.
    pub(crate) millis: bool,
    /// How far it may lie from now.
    pub(crate) tolerance: Millis,
}

/// Where the time stands.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Header(&'static str),
    /// In the body, which is JSON, at this pointer.
    Body(&'static str),
}

fn denied(code: &str, message: &str) -> Error {
    Error::new(ErrorKind::Denied, code, message)
}

fn invalid() -> Error {
    denied("webhook.signature_invalid", "no signature of the message fits a known secret")
}

impl Scheme {
    /// Whether a request is signed with one of the secrets, and not too long ago. Comparison takes constant time.
    pub(crate) fn verify(&self, hook: &Hook<'_>, secrets: &[&str]) -> Result<()> {
        let header = |name: &str| {
            let missing = || denied("webhook.signature_missing", "the message carries no signature").with("header", name);
            hook.header(name).filter(|v| !v.is_empty()).ok_or_else(missing)
        };
        let genuine = match self {
            Scheme::Hmac {
                hash,
                text,
                header: name,
                prefix,
                signed,
                time,
            } => {
                let tags: Vec<Vec<u8>> = header(name)?
                    .split(',')
                    .filter_map(|tag| text.read(tag.trim().strip_prefix(prefix)?))
                    .collect();
                let message = message(hook, signed);
                let genuine = fits(*hash, secrets, &message, &tags);
                if let Some(time) = time.filter(|_| genuine) {
                    time.check(hook)?;
                }
                genuine
            }
            Scheme::Pairs(name) => {
                let pairs = || header(name).map(|h| h.split(',').filter_map(|p| p.trim().split_once('=')));
                let at = pairs()?.find(|(n, _)| *n == "t").map_or("", |(_, v)| v);
                let tags: Vec<Vec<u8>> = pairs()?.filter(|(n, _)| *n == "v1").filter_map(|(_, v)| unhex(v)).collect();
                let message = [at.as_bytes(), b".", hook.body].concat();
                let genuine = fits(Hash::Sha256, secrets, &message, &tags);
                if genuine {
                    fresh(number(at)?.saturating_mul(1_000), hook.now, signature::TOLERANCE)?;
                }
                genuine
            }
            Scheme::Shown(name) => {
                let shown = header(name)?.as_bytes();
                secrets
                    .iter()
                    .any(|secret| verify_slices_are_equal(secret.as_bytes(), shown).is_ok())
            }
            Scheme::Ed25519 { signature: name, time } => {
                let (tag, at) = (unhex(header(name)?), header(time)?);
                let message = [at.as_bytes(), hook.body].concat();
                let keys = secrets.iter().filter_map(|key| unhex(key));
                let mut keys = keys.map(|key| UnparsedPublicKey::new(&ED25519, key));
                let genuine = tag.is_some_and(|tag| keys.any(|key| key.verify(&message, &tag).is_ok()));
                if genuine {
                    fresh(number(at)?.saturating_mul(1_000), hook.now, signature::TOLERANCE)?;
                }
                genuine
            }
            Scheme::Standard(word) => {
                let [id, at, tags] = [
                    header(&format!("{word}-id"))?,
                    header(&format!("{word}-timestamp"))?,
                    header(&format!("{word}-signature"))?,
                ];
                let secrets: Vec<_> = secrets.iter().map(|s| signature::Secret::parse(s)).collect::<Result<_>>()?;
                return signature::verify(&secrets, id, at, tags, hook.body, hook.now, signature::TOLERANCE);
            }
            Scheme::Twilio => {
                let tags = Vec::from_iter(Text::Base64.read(header("x-twilio-signature")?));
                twilio(hook).iter().any(|message| fits(Hash::Sha1, secrets, message, &tags))
            }
        };
        if genuine { Ok(()) } else { Err(invalid()) }
    }
}

impl Text {
    fn read(self, tag: &str) -> Option<Vec<u8>> {
        match self {
            Text::Hex => unhex(tag),
            Text::Base64 => STANDARD.decode(tag).ok(),
        }
    }
}

impl Time {
    fn check(self, hook: &Hook<'_>) -> Result<()> {
        let at = match self.place {
            Place::Header(name) => number(hook.header(name).unwrap_or_default())?,
            Place::Body(pointer) => {
                let body: Value = serde_json::from_slice(hook.body).unwrap_or_default();
                number(&body.pointer(pointer).map(Value::to_string).unwrap_or_default())?
            }
        };
        let at = if self.millis { at } else { at.saturating_mul(1_000) };
        fresh(at, hook.now, self.tolerance)
    }
}

fn number(text: &str) -> Result<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let bad = || denied("webhook.timestamp_invalid", "the message does not say when it was signed");
    text.parse().ok().filter(|_| digits).ok_or_else(bad)
}

fn fresh(at: i64, now: Millis, tolerance: Millis) -> Result<()> {
    let age = now.0.saturating_sub(at);
    if age > tolerance.0 {
        return Err(denied("webhook.too_old", "the message was signed too long ago"));
    }
    if age < tolerance.0.saturating_neg() {
        return Err(denied("webhook.from_the_future", "the message was signed in the future"));
    }
    Ok(())
}

/// Whether one of the tags is one of the secrets' over the message.
fn fits(hash: Hash, secrets: &[&str], message: &[u8], tags: &[Vec<u8>]) -> bool {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
    };
    secrets.iter().any(|secret| {
        let key = hmac::Key::new(algorithm, secret.as_bytes());
        tags.iter().any(|tag| hmac::verify(&key, message, tag).is_ok())
    })
}

fn message(hook: &Hook<'_>, signed: &[Part]) -> Vec<u8> {
    let mut out = Vec::with_capacity(hook.body.len() + 128);
    for part in signed {
        match part {
            Part::Body => out.extend_from_slice(hook.body),
            Part::Method => out.extend_from_slice(hook.method.as_bytes()),
            Part::Url => out.extend_from_slice(hook.url.as_bytes()),
            Part::DecodedUrl => out.extend_from_slice(decoded(hook.url).as_bytes()),
            Part::Header(name) => out.extend_from_slice(hook.header(name).unwrap_or_default().as_bytes()),
            Part::Plain(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
    out
}

/// HubSpot signs an address in which these are not encoded.
/// <https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests>
fn decoded(url: &str) -> String {
    const PLAIN: [(&str, &str); 13] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
        ("%7E", "~"),
    ];
    let mut out = url.to_owned();
    for (encoded, plain) in PLAIN {
        out = out.replace(encoded, plain).replace(&encoded.to_ascii_lowercase(), plain);
    }
    out
}

/// What Twilio may have signed: the address, with and without the scheme's own port, and the form's fields sorted by
/// name behind it. Of a body that is no form, the address holds a sum. <https://www.twilio.com/docs/usage/security>
fn twilio(hook: &Hook<'_>) -> Vec<Vec<u8>> {
    let Ok(url) = url::Url::parse(hook.url) else {
        return vec![];
    };
    let sum = url
        .query_pairs()
        .find(|(name, _)| name == "bodySHA256")
        .map(|(_, v)| v.into_owned());
    let mut behind = String::new();
    if let Some(sum) = sum {
        let own = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, hook.body);
        let same = unhex(&sum).is_some_and(|sum| verify_slices_are_equal(&sum, own.as_ref()).is_ok());
        if !same {
            return vec![];
        }
    } else {
        let mut fields: Vec<(String, String)> = url::form_urlencoded::parse(hook.body).into_owned().collect();
        fields.sort();
        fields.dedup();
        behind = fields.into_iter().flat_map(|(name, value)| [name, value]).collect();
    }
    let mut urls = vec![hook.url.to_owned()];
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return vec![];
    };
    let rest = hook.url.splitn(4, '/').nth(3).unwrap_or_default();
    for authority in [host.to_owned(), format!("{host}:{port}")] {
        urls.push(format!("{}://{authority}/{rest}", url.scheme()));
    }
    urls.into_iter().map(|url| format!("{url}{behind}").into_bytes()).collect()
}

/// Bytes of hexadecimal digits; `None` for everything else.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
