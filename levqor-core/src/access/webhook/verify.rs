//! Whether a message is genuine and fresh.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};

use super::event::{self, Event, Facts};
use super::scheme::{Part, Preset, Scheme, SecretForm};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;

/// How far a message's timestamp may lie from now, either way, unless set otherwise.
pub const TOLERANCE: Millis = Millis::mins(5);
/// How long it is remembered that a message was taken, unless set otherwise: longer than vendors try again.
pub const KEEP: Millis = Millis::hours(30 * 24);
/// The most signatures of one message that are looked at.
const SIGNATURES: usize = 16;

/// Knows how one vendor signs, and with which secrets.
#[derive(Clone)]
pub struct Verifier {
    preset: Option<Preset>,
    scheme: Scheme,
    parts: Vec<Part>,
    keys: Vec<Secret>,
    tolerance: Millis,
    keep: Millis,
}

#[derive(Clone)]
enum Secret {
    Signs(Box<hmac::Key>),
    Shown(String),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({}, {} secrets)", self.scheme.header, self.keys.len())
    }
}

fn denied(code: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, code, message).status_is(400)
}

impl Verifier {
    /// A vendor whose way is known. Several secrets are accepted while one is exchanged for another; the first
    /// one signs.
    ///
    /// # Errors
    /// `webhook.secret_invalid`, `webhook.secret_missing`.
    pub fn preset<S: AsRef<str>>(preset: Preset, secrets: &[S]) -> Result<Self> {
        let mut verifier = Verifier::scheme(preset.scheme(), secrets)?;
        verifier.preset = Some(preset);
        Ok(verifier)
    }

    /// Any other way.
    ///
    /// # Errors
    /// `webhook.bad_scheme`, `webhook.secret_invalid`, `webhook.secret_missing`.
    pub fn scheme<S: AsRef<str>>(scheme: Scheme, secrets: &[S]) -> Result<Self> {
        let parts = scheme.parts()?;
        let key = |text: &S| {
            let bytes = scheme.secret.key(text.as_ref())?;
            Ok(match scheme.secret {
                SecretForm::Shown => Secret::Shown(text.as_ref().trim().to_owned()),
                _ => Secret::Signs(Box::new(hmac::Key::new(scheme.algorithm.hmac(), &bytes))),
            })
        };
        let keys = secrets.iter().map(key).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "webhook.secret_missing",
                "there is no secret to check messages with",
            )
            .hint("copy it from the vendor's settings"));
        }
        Ok(Verifier {
            preset: None,
            parts,
            keys,
            scheme,
            tolerance: TOLERANCE,
            keep: KEEP,
        })
    }

    /// How far a message's timestamp may lie from now, either way.
    #[must_use]
    pub fn tolerance(mut self, span: Millis) -> Self {
        self.tolerance = span;
        self
    }

    /// How long it is remembered that a message was taken.
    #[must_use]
    pub fn keep(mut self, span: Millis) -> Self {
        self.keep = span;
        self
    }

    /// How long it is remembered that a message was taken.
    pub fn kept(&self) -> Millis {
        self.keep
    }

    /// Checks a message by its headers (names in any case) and the bytes of its body.
    ///
    /// # Errors
    /// All of them with status 400: `webhook.header_missing`, `webhook.header_repeated`,
    /// `webhook.timestamp_invalid`, `webhook.too_old`, `webhook.from_the_future`, `webhook.signature_invalid`,
    /// and `webhook.body_invalid` of a message that is genuine but tells of no event.
    pub fn verify<N: AsRef<str>, V: AsRef<str>>(&self, headers: &[(N, V)], body: &[u8], now: Millis) -> Result<Event> {
        let scheme = &self.scheme;
        let signature = needed(headers, &scheme.header)?;
        let id = scheme.id_header.as_deref().map(|name| needed(headers, name)).transpose()?;
        let (timestamp, shown) = if let Some(pairs) = &scheme.pairs {
            let split = || signature.split(',').filter_map(|pair| pair.trim().split_once('='));
            let timestamp = split().find(|(name, _)| *name == pairs.timestamp).map(|(_, value)| value);
            let shown = split().filter(|(name, _)| *name == pairs.signature).map(|(_, value)| value);
            (Some(timestamp.unwrap_or_default()), shown.take(SIGNATURES).collect())
        } else {
            let timestamp = scheme
                .timestamp_header
                .as_deref()
                .map(|name| needed(headers, name))
                .transpose()?;
            let shown: Vec<&str> = match scheme.separator {
                Some(separator) => signature.split(separator).take(SIGNATURES).collect(),
                None => vec![signature],
            };
            (timestamp, shown)
        };
        let signed_at = timestamp.map(|text| self.fresh(text, now)).transpose()?;
        if !self.genuine(&shown, id, timestamp, body) {
            return Err(
                denied("webhook.signature_invalid", "no signature of the message fits a known secret")
                    .hint("the secret is the one of this very endpoint, and the body must be the bytes as they came"),
            );
        }
        let facts = Facts {
            preset: self.preset,
            paths: &scheme.event,
            id,
            signed_at,
            digest: digest_of(timestamp, body),
        };
        event::read(&facts, &|name| find(headers, name).ok().flatten(), body)
    }

    /// The instant a message was signed, if that is near enough.
    fn fresh(&self, text: &str, now: Millis) -> Result<Millis> {
        let digits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let Some(seconds) = text.parse::<i64>().ok().filter(|_| digits) else {
            return Err(denied(
                "webhook.timestamp_invalid",
                "the timestamp is not a number of seconds",
            ));
        };
        let at = Millis::secs(seconds);
        let age = now - at;
        if age > self.tolerance {
            return Err(denied("webhook.too_old", "the message was signed too long ago"));
        }
        if age.0 < -self.tolerance.0 {
            return Err(denied("webhook.from_the_future", "the message was signed in the future"));
        }
        Ok(at)
    }

    fn genuine(&self, shown: &[&str], id: Option<&str>, timestamp: Option<&str>, body: &[u8]) -> bool {
        let mut fits = false;
        for secret in &self.keys {
            match secret {
                // Of texts whose lengths differ, the hashes are compared, so that not even the length shows.
                Secret::Shown(text) => fits |= shown.iter().any(|s| same(s.as_bytes(), text.as_bytes())),
                Secret::Signs(key) => {
                    let tag = self.tag(key, id, timestamp, body);
                    fits |= shown
                        .iter()
                        .filter_map(|s| self.scheme.encoding.decode(s.trim().strip_prefix(&self.scheme.prefix)?))
                        .any(|theirs| constant_time::verify_slices_are_equal(&theirs, tag.as_ref()).is_ok());
                }
            }
        }
        fits
    }

    fn tag(&self, key: &hmac::Key, id: Option<&str>, timestamp: Option<&str>, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        for part in &self.parts {
            context.update(match part {
                Part::Text(text) => text.as_bytes(),
                Part::Body => body,
                Part::Timestamp => timestamp.unwrap_or_default().as_bytes(),
                Part::Id => id.unwrap_or_default().as_bytes(),
            });
        }
        context.sign()
    }

    /// The headers of a message that is signed so: with every secret where a message may carry several
    /// signatures, else with the first.
    ///
    /// # Errors
    /// `webhook.id_invalid`, if the id is signed and has anything but 1 to 256 visible ASCII characters
    /// without dots.
    pub fn sign(&self, id: &str, at: Millis, body: &[u8]) -> Result<Vec<(String, String)>> {
        let scheme = &self.scheme;
        let seconds = at.0.div_euclid(1_000).to_string();
        let mut headers = Vec::new();
        if let Some(name) = &scheme.id_header {
            if id.is_empty() || id.len() > 256 || !id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
                return Err(Error::invalid(
                    "webhook.id_invalid",
                    "a message's id has 1 to 256 visible ASCII characters and no dot",
                ));
            }
            headers.push((name.clone(), id.to_owned()));
        }
        if let Some(name) = &scheme.timestamp_header {
            headers.push((name.clone(), seconds.clone()));
        }
        let several = scheme.pairs.is_some() || scheme.separator.is_some();
        let mut written = self
            .keys
            .iter()
            .take(if several { SIGNATURES } else { 1 })
            .map(|secret| match secret {
                Secret::Shown(text) => text.clone(),
                Secret::Signs(key) => {
                    let tag = self.tag(key, Some(id), Some(&seconds), body);
                    format!("{}{}", scheme.prefix, scheme.encoding.encode(tag.as_ref()))
                }
            });
        let value = match (&scheme.pairs, scheme.separator) {
            (Some(pairs), _) => written.fold(format!("{}={seconds}", pairs.timestamp), |text, signature| {
                format!("{text},{}={signature}", pairs.signature)
            }),
            (None, Some(separator)) => written.collect::<Vec<_>>().join(&separator.to_string()),
            (None, None) => written.next().unwrap_or_default(),
        };
        headers.push((scheme.header.clone(), value));
        Ok(headers)
    }
}

/// Whether two texts are equal, in a time that tells nothing about where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
    constant_time::verify_slices_are_equal(hash(a).as_ref(), hash(b).as_ref()).is_ok()
}

/// Names a message that has no id of its own: a hash of what was signed.
fn digest_of(timestamp: Option<&str>, body: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(timestamp.unwrap_or_default().as_bytes());
    context.update(b"\n");
    context.update(body);
    super::scheme::Encoding::Base64Url.encode(context.finish().as_ref())
}

/// A header's value. One that is there twice with two values could mean one thing here and another elsewhere.
fn find<'a, N: AsRef<str>, V: AsRef<str>>(headers: &'a [(N, V)], name: &str) -> Result<Option<&'a str>> {
    let mut values = headers
        .iter()
        .filter(|(n, _)| n.as_ref().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_ref().trim());
    let first = values.next();
    match values.find(|value| Some(*value) != first) {
        None => Ok(first),
        Some(_) => Err(denied(
            "webhook.header_repeated",
            format!("the message has the header {name} twice"),
        )),
    }
}

fn needed<'a, N: AsRef<str>, V: AsRef<str>>(headers: &'a [(N, V)], name: &str) -> Result<&'a str> {
    find(headers, name)?.ok_or_else(|| denied("webhook.header_missing", format!("the message lacks the header {name}")))
}
