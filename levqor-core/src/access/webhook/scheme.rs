//! How a vendor signs.

use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The vendors whose way is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Stripe: `Stripe-Signature: t=...,v1=...`.
    Stripe,
    /// Slack: `X-Slack-Signature: v0=...` over `v0:{timestamp}:{body}`.
    Slack,
    /// Telegram's Bot API: the secret itself in `X-Telegram-Bot-Api-Secret-Token`.
    Telegram,
    /// GitHub: `X-Hub-Signature-256: sha256=...` over the body alone.
    GitHub,
    /// [Standard Webhooks](https://www.standardwebhooks.com) 1.0 (Svix, Clerk, Resend, Polar, ...).
    Standard,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 5] = [
        Preset::Stripe,
        Preset::Slack,
        Preset::Telegram,
        Preset::GitHub,
        Preset::Standard,
    ];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Preset::Stripe => "stripe",
            Preset::Slack => "slack",
            Preset::Telegram => "telegram",
            Preset::GitHub => "github",
            Preset::Standard => "standard",
        }
    }

    /// How the vendor signs.
    pub fn scheme(self) -> Scheme {
        let scheme = |header: &str, template: &str| Scheme {
            header: header.to_owned(),
            template: template.to_owned(),
            ..Scheme::default()
        };
        let text = |t: &str| Some(t.to_owned());
        match self {
            Preset::Stripe => Scheme {
                pairs: Some(Pairs {
                    timestamp: "t".to_owned(),
                    signature: "v1".to_owned(),
                }),
                event: EventPaths {
                    data: text("/data/object"),
                    ..EventPaths::default()
                },
                ..scheme("stripe-signature", "{timestamp}.{body}")
            },
            Preset::Slack => Scheme {
                prefix: "v0=".to_owned(),
                timestamp_header: text("x-slack-request-timestamp"),
                event: EventPaths {
                    id: text("/event_id"),
                    kind: text("/event/type"),
                    created: text("/event_time"),
                    data: text("/event"),
                },
                ..scheme("x-slack-signature", "v0:{timestamp}:{body}")
            },
            Preset::Telegram => Scheme {
                secret: SecretForm::Shown,
                event: EventPaths {
                    id: text("/update_id"),
                    kind: None,
                    created: None,
                    data: None,
                },
                ..scheme("x-telegram-bot-api-secret-token", "")
            },
            Preset::GitHub => Scheme {
                prefix: "sha256=".to_owned(),
                event: EventPaths {
                    id: None,
                    kind: None,
                    created: None,
                    data: None,
                },
                ..scheme("x-hub-signature-256", "{body}")
            },
            Preset::Standard => Scheme {
                prefix: "v1,".to_owned(),
                encoding: Encoding::Base64,
                separator: Some(' '),
                timestamp_header: text("webhook-timestamp"),
                id_header: text("webhook-id"),
                secret: SecretForm::Whsec,
                event: EventPaths {
                    created: text("/timestamp"),
                    ..EventPaths::default()
                },
                ..scheme("webhook-signature", "{id}.{timestamp}.{body}")
            },
        }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Preset::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::new(
                ErrorKind::Config,
                "webhook.unknown_provider",
                format!("the signatures of `{shown}` are not known"),
            )
            .hint("there are stripe, slack, telegram, github and standard; describe others by a scheme")
        })
    }
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC-SHA256.
    #[default]
    Sha256,
    /// HMAC-SHA512.
    Sha512,
    /// HMAC-SHA1, which some old services still send.
    Sha1,
}

impl Algorithm {
    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        }
    }
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal digits, written small.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
    /// Base64 for URLs, without padding.
    Base64Url,
}

impl Encoding {
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Hex => unhex(text),
            Encoding::Base64 => STANDARD.decode(text).ok(),
            Encoding::Base64Url => URL_SAFE_NO_PAD.decode(text).ok(),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => {
                let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
                bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
            }
            Encoding::Base64 => STANDARD.encode(bytes),
            Encoding::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |p: &[u8]| Some(digit(*p.first()?)? << 4 | digit(*p.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// What a secret's text stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretForm {
    /// The bytes of the text are the key.
    #[default]
    Text,
    /// The key in hexadecimal digits.
    Hex,
    /// The key in base64.
    Base64,
    /// `whsec_` and the key in base64.
    Whsec,
    /// Nothing is signed: the header carries the secret itself.
    Shown,
}

impl SecretForm {
    /// The key that a text stands for; says what is wrong with it, and never shows it.
    pub(super) fn key(self, text: &str) -> Result<Vec<u8>> {
        let bad = |what: &str| {
            Error::new(
                ErrorKind::Config,
                "webhook.secret_invalid",
                format!("the webhook secret {what}"),
            )
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(bad("is empty").hint("copy it from the vendor's settings"));
        }
        let key = match self {
            SecretForm::Text | SecretForm::Shown => Some(text.as_bytes().to_vec()),
            SecretForm::Hex => unhex(text),
            SecretForm::Base64 => STANDARD.decode(text).ok(),
            SecretForm::Whsec => STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok(),
        };
        let key =
            key.ok_or_else(|| bad("is not written as it should be").hint("it is base64 or hexadecimal, as the scheme says"))?;
        let least = if self == SecretForm::Whsec { 24 } else { 1 };
        if key.len() < least {
            return Err(bad("is too short").hint("it has at least 24 bytes"));
        }
        Ok(key)
    }
}

/// A signature header of `name=value` pairs, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// The name of the timestamp.
    pub timestamp: String,
    /// The name of a signature; there may be several.
    pub signature: String,
}

/// Where the facts of an event stand in the body: JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventPaths {
    /// Its id.
    pub id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When it happened: seconds since 1970, or RFC 3339.
    pub created: Option<String>,
    /// What it is about.
    pub data: Option<String>,
}

impl Default for EventPaths {
    fn default() -> Self {
        let text = |t: &str| Some(t.to_owned());
        EventPaths {
            id: text("/id"),
            kind: text("/type"),
            created: text("/created"),
            data: text("/data"),
        }
    }
}

/// How messages are signed. What is left out of a configuration is as in [`Scheme::default`]: the body alone,
/// HMAC-SHA256, hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheme {
    /// The header with the signature.
    pub header: String,
    /// The hash.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What stands before it, like `sha256=`.
    pub prefix: String,
    /// What is signed: `{body}`, `{timestamp}` and `{id}` are filled in.
    pub template: String,
    /// What separates several signatures in the header.
    pub separator: Option<char>,
    /// If the header has the form of pairs.
    pub pairs: Option<Pairs>,
    /// The header with the seconds since 1970 at which the message was signed.
    pub timestamp_header: Option<String>,
    /// The header with the message's id.
    pub id_header: Option<String>,
    /// What a secret's text stands for.
    pub secret: SecretForm,
    /// Where the facts of an event stand.
    pub event: EventPaths,
}

impl Default for Scheme {
    fn default() -> Self {
        Scheme {
            header: "x-signature".to_owned(),
            algorithm: Algorithm::default(),
            encoding: Encoding::default(),
            prefix: String::new(),
            template: "{body}".to_owned(),
            separator: None,
            pairs: None,
            timestamp_header: None,
            id_header: None,
            secret: SecretForm::default(),
            event: EventPaths::default(),
        }
    }
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Body,
    Timestamp,
    Id,
}

impl Scheme {
    /// Whether messages carry the time at which they were signed.
    pub(super) fn is_dated(&self) -> bool {
        self.timestamp_header.is_some() || self.pairs.is_some()
    }

    /// The parts of what is signed. Refuses schemes that could be fooled: what is trusted must be signed.
    pub(super) fn parts(&self) -> Result<Vec<Part>> {
        let bad = |at: &str, what: &str| {
            Err(Error::new(
                ErrorKind::Config,
                "webhook.bad_scheme",
                format!("the scheme of a signature cannot be used: {what}"),
            )
            .at(at))
        };
        let names = [Some(&self.header), self.timestamp_header.as_ref(), self.id_header.as_ref()];
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if !names.into_iter().flatten().all(|name| is_name(name)) {
            return bad("/header", "a header's name is visible ASCII without a colon");
        }
        let paths = [&self.event.id, &self.event.kind, &self.event.created, &self.event.data];
        if !paths.into_iter().flatten().all(|path| path.starts_with('/')) {
            return bad("/event", "a place in the body is a JSON pointer, like /data/object");
        }
        if self.secret == SecretForm::Shown {
            return Ok(Vec::new());
        }
        let mut parts = Vec::new();
        let mut rest = self.template.as_str();
        while let Some(at) = rest.find('{') {
            let (text, tail) = rest.split_at(at);
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let found = [("{body}", Part::Body), ("{timestamp}", Part::Timestamp), ("{id}", Part::Id)]
                .into_iter()
                .find_map(|(name, part)| tail.strip_prefix(name).map(|rest| (part, rest)));
            let Some((part, tail)) = found else {
                return bad("/template", "in braces stand body, timestamp or id");
            };
            parts.push(part);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.contains(&Part::Body) {
            return bad("/template", "the body is not signed");
        }
        if parts.contains(&Part::Timestamp) != self.is_dated() {
            return bad("/template", "the timestamp is signed if, and only if, there is one");
        }
        if parts.contains(&Part::Id) != self.id_header.is_some() {
            return bad("/template", "the id is signed if, and only if, a header carries it");
        }
        if self.pairs.is_some() && self.timestamp_header.is_some() {
            return bad("/pairs", "the timestamp stands in the pairs or in a header, not in both");
        }
        Ok(parts)
    }
}
