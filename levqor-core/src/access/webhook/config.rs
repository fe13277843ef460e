//! A verifier out of a configuration, alike in every language.

use serde::Deserialize;
use serde_json::Value;

use super::scheme::{Preset, Scheme};
use super::verify::Verifier;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Millis, parse_duration};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    provider: Option<String>,
    scheme: Option<Scheme>,
    #[serde(default)]
    secrets: Vec<String>,
    secret: Option<String>,
    tolerance: Option<String>,
    keep: Option<String>,
}

impl Verifier {
    /// Reads what stands under a name in a host's configuration: one secret, a list of secrets, or an object
    /// with `secret` or `secrets`, and if wanted `provider` (the name if left out) or `scheme`, `tolerance`
    /// and `keep` (spans like `5m`).
    ///
    /// ```
    /// use levqor_core::access::webhook::Verifier;
    /// use serde_json::json;
    /// Verifier::configure("stripe", &json!("whsec_test_secret")).unwrap();
    /// Verifier::configure("shop", &json!({
    ///     "scheme": {"header": "x-shop-hmac", "encoding": "base64"}, "secrets": ["new", "old"], "tolerance": "2m"
    /// })).unwrap();
    /// ```
    ///
    /// # Errors
    /// `webhook.bad_config` and those of [`preset`](Verifier::preset) and [`scheme`](Verifier::scheme). None
    /// shows a secret.
    pub fn configure(name: &str, config: &Value) -> Result<Self> {
        let bad = |what: String| {
            Error::new(
                ErrorKind::Config,
                "webhook.bad_config",
                format!("the webhook `{name}` cannot be set up: {what}"),
            )
            .hint("give it a secret, a list of secrets, or an object with provider or scheme, and secrets")
        };
        let secrets = |list: &[Value]| list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        match config {
            Value::String(secret) => Verifier::preset(name.parse()?, &[secret]),
            Value::Array(list) => {
                let secrets = secrets(list).ok_or_else(|| bad("a secret is a text".to_owned()))?;
                Verifier::preset(name.parse()?, &secrets)
            }
            Value::Object(map) => {
                // What serde says of a wrong value may quote it.
                let known = ["provider", "scheme", "secrets", "secret", "tolerance", "keep"];
                if let Some(other) = map.keys().find(|k| !known.contains(&k.as_str())) {
                    return Err(bad(format!("there is nothing called `{other}`")));
                }
                if let Some(scheme) = map.get("scheme")
                    && let Err(e) = serde_json::from_value::<Scheme>(scheme.clone())
                {
                    return Err(bad(format!("its scheme is wrong: {e}")));
                }
                let config: Config =
                    serde_json::from_value(config.clone()).map_err(|_| bad("a value has the wrong type".to_owned()))?;
                let mut secrets = config.secrets;
                secrets.extend(config.secret);
                let mut verifier = match (config.scheme, config.provider) {
                    (Some(_), Some(_)) => return Err(bad("it has a provider and a scheme; one of them is enough".to_owned())),
                    (Some(scheme), None) => Verifier::scheme(scheme, &secrets)?,
                    (None, provider) => {
                        let preset: Preset = provider.as_deref().unwrap_or(name).parse()?;
                        Verifier::preset(preset, &secrets)?
                    }
                };
                let span = |text: &str| parse_duration(text).map_err(|e| bad(e.message().to_owned()));
                if let Some(text) = &config.tolerance {
                    verifier = verifier.tolerance(span(text)?);
                }
                if let Some(text) = &config.keep {
                    verifier = verifier.keep(span(text)?.max(Millis::mins(1)));
                }
                Ok(verifier)
            }
            _ => Err(bad("it is neither a text, a list nor an object".to_owned())),
        }
    }
}
