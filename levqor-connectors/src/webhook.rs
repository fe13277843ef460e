//! The `webhook` connector: messages signed as [Standard Webhooks](https://www.standardwebhooks.com) define it.
//!
//! | setting | meaning |
//! |---|---|
//! | `url` | where messages go; a step may name it instead, if the connection does not |
//! | `secret` | `whsec_…`: signs every message |
//! | `secrets` | several of them, while one replaces another; the message carries a signature of each |
//!
//! An endpoint is usually some customer's, so its URL reaches public addresses only, wherever it comes from.

use async_trait::async_trait;
use levqor_core::access::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, sign};
use levqor_core::connector::{Action, AuthKind, Connection, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::layers::Redactor;
use levqor_core::transport::Request;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::kit::{known_settings, read, schema, setting_error, settings, text, timeout};
use crate::status::{refusal, without_secrets};

/// Input of `webhook.send`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Where to; only if the connection does not say it.
    url: Option<String>,
    /// The message, as JSON. The standard recommends an object with `type`, `timestamp` and `data`.
    payload: Value,
    /// The message's id, by which the receiver knows a repeated message; derived from the run if not given.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[!-\\-/-~]+$"))]
    id: Option<String>,
    /// Ends the attempt earlier than the step's own time-out: "5s", "1m30s".
    timeout: Option<String>,
}

/// Output of `webhook.send`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sent {
    /// The message's id.
    id: String,
    /// The receiver's status.
    status: u16,
    /// When the attempt that succeeded was signed, in seconds since 1970.
    timestamp: i64,
}

/// The connector.
#[derive(Debug)]
pub struct Webhook {
    manifest: Manifest,
}

impl Default for Webhook {
    fn default() -> Self {
        Webhook::new()
    }
}

impl Webhook {
    /// The connector with its manifest.
    pub fn new() -> Self {
        let send = Action {
            name: "send".into(),
            title: "Send a webhook".into(),
            description: "Posts a JSON message to an endpoint, signed as Standard Webhooks define it. The id is equal over all \
                          attempts, so that the receiver can tell a repeated message."
                .into(),
            input: schema::<Input>(),
            output: schema::<Sent>(),
            side_effect: SideEffect::Write,
            idempotency: Idempotency::Key,
            scopes: vec![],
        };
        Webhook {
            manifest: Manifest {
                name: "webhook".into(),
                title: "Webhook".into(),
                description: "Signed messages to other systems.".into(),
                docs: Some("https://www.standardwebhooks.com".into()),
                auth: vec![AuthKind::Signature],
                settings: settings(&[
                    ("url", "where messages go"),
                    ("secret", "what they are signed with, `whsec_…`"),
                    ("secrets", "several of them, while one is replaced by another"),
                ]),
                budgets: vec![],
                triggers: vec![],
                actions: vec![send],
            },
        }
    }
}

#[async_trait]
impl Connector for Webhook {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        if action != "send" {
            return Err(Error::not_found(
                "connector.unknown_action",
                "`webhook` has only the action `send`",
            ));
        }
        let input: Input = read("webhook.send", input)?;
        let connection = cx.connection.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "webhook.secret_missing",
                "a webhook is signed, which needs a connection",
            )
            .hint("give a connection with a `secret`")
        })?;
        known_settings(connection, &["url", "secret", "secrets"])?;
        let secrets = secrets(connection)?;
        let url = endpoint(connection, input.url.as_deref())?;
        let id = input.id.unwrap_or_else(|| format!("msg_{}", cx.derived_id("webhook")));
        let body = serde_json::to_vec(&input.payload).map_err(|e| Error::internal(e.to_string()))?;
        let now = cx.clock.now();
        let signed = sign(&secrets, &id, now, &body).map_err(|e| e.at("/id"))?;

        let what = format!("the webhook to `{}`", url.origin().ascii_serialization());
        let mut request = Request::new("POST", url);
        request.timeout = timeout(cx, input.timeout.as_deref())?;
        request.max_response = 256 << 10;
        request.headers = vec![
            ("content-type".into(), "application/json".into()),
            (HEADER_ID.into(), signed.id),
            (HEADER_TIMESTAMP.into(), signed.timestamp),
            (HEADER_SIGNATURE.into(), signed.signature),
        ];
        request.body = body.into();
        let answer = cx.transport.send(request).await?;
        match answer.status {
            200..=299 => {
                let sent = Sent {
                    id,
                    status: answer.status,
                    timestamp: now.0.div_euclid(1_000),
                };
                serde_json::to_value(sent)
                    .map(Output::new)
                    .map_err(|e| Error::internal(e.to_string()))
            }
            410 => {
                let message = format!("{what} was answered with 410: the endpoint is gone");
                let e = Error::not_found("webhook.gone", message).with("status", 410);
                Err(e.hint("the receiver wants no more messages here; disable the endpoint"))
            }
            // The standard has every other failure repeated: a receiver that refuses today may be mended tomorrow.
            _ => {
                let answer = without_secrets(&answer, &Redactor::of(connection));
                Err(refusal(&what, false, &answer, now).retry(true))
            }
        }
    }

    fn destination(&self, cx: &Cx, _action: &str, input: &Value) -> Option<String> {
        let of_connection = cx.connection.as_ref().and_then(|c| c.text("url"));
        let url = Url::parse(of_connection.or_else(|| input.get("url")?.as_str())?).ok()?;
        Some(url.origin().ascii_serialization())
    }
}

fn secrets(connection: &Connection) -> Result<Vec<Secret>> {
    let mut texts: Vec<&str> = text(connection, "secret")?.into_iter().collect();
    let place = if texts.is_empty() { "secrets" } else { "secret" };
    match connection.value("secrets") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for item in list {
                let bad = || setting_error(connection, "secrets", "the setting must be a list of texts");
                texts.push(item.as_str().ok_or_else(bad)?);
            }
        }
        Some(_) => return Err(setting_error(connection, "secrets", "the setting must be a list of texts")),
    }
    if texts.is_empty() {
        let message = format!("the connection `{}` has no secret to sign with", connection.name());
        return Err(Error::new(ErrorKind::Config, "webhook.secret_missing", message).at("secret"));
    }
    texts.into_iter().map(|t| Secret::parse(t).map_err(|e| e.at(place))).collect()
}

fn endpoint(connection: &Connection, asked: Option<&str>) -> Result<Url> {
    let url = match (text(connection, "url")?, asked) {
        (Some(url), None) | (None, Some(url)) => url,
        (Some(_), Some(_)) => {
            let message = format!("the connection `{}` already says where to", connection.name());
            return Err(Error::invalid("webhook.two_urls", message)
                .at("/url")
                .hint("leave the url out of the input"));
        }
        (None, None) => {
            let message = "neither the input nor the connection says where to";
            return Err(Error::invalid("webhook.url_missing", message).at("/url"));
        }
    };
    Url::parse(url).map_err(|e| Error::invalid("http.url_invalid", format!("the webhook's URL cannot be read: {e}")).at("/url"))
}
