//! Security headers: what browsers are told about a page or an API.
//!
//! Every preset is graded 130 by [MDN's HTTP Observatory](https://developer.mozilla.org/observatory) (scoring
//! version 4), the most that headers alone can reach: 100, and for `default-src 'none'` 10, for framing
//! forbidden by policy 5, for a private referrer policy 5, for a resource policy 10. Cookies that are `Secure`,
//! `HttpOnly` and `SameSite`, scripts with `integrity`, and a domain on the preload list add 5 each.
//!
//! ```
//! use levqor_core::access::headers::{Nonce, Preset, headers};
//! let nonce = Nonce::new();
//! let html = headers(Preset::Html, Some(&nonce));
//! assert!(html.iter().any(|(name, value)| name == "Content-Security-Policy" && value.contains(nonce.as_str())));
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::types::random_bytes;

/// Which headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// For answers to programs: nothing may be loaded, framed or kept.
    #[default]
    Api,
    /// For pages: their own scripts, styles, images and requests; inline scripts and styles with the nonce.
    Html,
    /// For pages that can do with scripts that carry the nonce (and what these load), and with Trusted Types.
    Strict,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 3] = [Preset::Api, Preset::Html, Preset::Strict];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Preset::Api => "api",
            Preset::Html => "html",
            Preset::Strict => "strict",
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
                "headers.unknown_preset",
                format!("there are no security headers `{shown}`"),
            )
            .hint("there are api, html and strict")
        })
    }
}

/// A number used once: it marks what a page means to run. A new one for every answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// 128 random bits.
    #[allow(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        Nonce(STANDARD.encode(random_bytes::<16>()))
    }

    /// Takes one that somebody else made.
    ///
    /// # Errors
    /// `headers.bad_nonce`, if it is not 16 to 128 characters of base64: others would end the policy.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b);
        if (16..=128).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Nonce(text.to_owned()));
        }
        Err(Error::invalid(
            "headers.bad_nonce",
            "a nonce has 16 to 128 characters of base64",
        ))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// What every preset sends.
const COMMON: &[(&str, &str)] = &[
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// The headers of a preset, in a fixed order. Without a nonce, no inline script may run (and under
/// [`Strict`](Preset::Strict) no script at all).
pub fn headers(preset: Preset, nonce: Option<&Nonce>) -> Vec<(String, String)> {
    let mut fields = vec![
        ("Content-Security-Policy".to_owned(), policy(preset, nonce)),
        (
            "Strict-Transport-Security".to_owned(),
            match preset {
                Preset::Api | Preset::Html => "max-age=31536000; includeSubDomains".to_owned(),
                Preset::Strict => "max-age=63072000; includeSubDomains; preload".to_owned(),
            },
        ),
        (
            "Referrer-Policy".to_owned(),
            match preset {
                Preset::Api | Preset::Strict => "no-referrer".to_owned(),
                Preset::Html => "strict-origin-when-cross-origin".to_owned(),
            },
        ),
    ];
    fields.extend(COMMON.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let more: &[(&str, &str)] = match preset {
        Preset::Api => &[("Cache-Control", "no-store")],
        Preset::Html => &[("Origin-Agent-Cluster", "?1")],
        Preset::Strict => &[
            ("Origin-Agent-Cluster", "?1"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
        ],
    };
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fields
}

fn policy(preset: Preset, nonce: Option<&Nonce>) -> String {
    let mark = nonce.map_or(String::new(), |n| format!(" 'nonce-{}'", n.as_str()));
    match preset {
        Preset::Api => "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".to_owned(),
        Preset::Html => format!(
            "default-src 'none'; script-src 'self'{mark}; style-src 'self'{mark}; style-src-attr 'unsafe-inline'; \
             img-src 'self' data:; font-src 'self'; connect-src 'self'; media-src 'self'; manifest-src 'self'; \
             worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        Preset::Strict => {
            let script = if mark.is_empty() {
                "'none'".to_owned()
            } else {
                format!("{} 'strict-dynamic'", mark.trim_start())
            };
            format!(
                "default-src 'none'; script-src {script}; style-src 'self'{mark}; img-src 'self'; font-src 'self'; \
                 connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                 require-trusted-types-for 'script'; upgrade-insecure-requests"
            )
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_cannot_end_the_policy() {
        for bad in [
            "",
            "short",
            "abcdefghijklmnop'; x",
            "abcdefghijklmnop\r\nX: y",
            &"a".repeat(129),
        ] {
            assert_eq!(Nonce::parse(bad).unwrap_err().code(), "headers.bad_nonce", "{bad}");
        }
        assert_ne!(Nonce::new(), Nonce::new());
        Nonce::parse(Nonce::new().as_str()).unwrap();
    }
}
