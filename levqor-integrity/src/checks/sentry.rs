//! `sentry.accepts_event`: an event that is sent as Sentry's own libraries send it is taken.

use async_trait::async_trait;
use levqor_core::transport::Request;
use serde_json::{Value, json};

use super::env::dsn;
use super::http::no_answer;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Level, Outcome};
use crate::pack::Reader;

pub(super) struct Sentry {
    id: String,
    variable: String,
}

impl Sentry {
    pub(super) fn new(id: String, r: &Reader<'_>) -> Self {
        Sentry {
            id,
            variable: r.text_or("variable", "SENTRY_DSN"),
        }
    }
}

#[async_trait]
impl Check for Sentry {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let Some(text) = cx.env().get(&self.variable).filter(|v| !v.is_empty()) else {
            return Outcome::skip(format!("{} is not set", self.variable));
        };
        let at = self.variable.as_str();
        let address = match dsn(text) {
            Ok(url) => url,
            Err(why) => {
                return Finding::fail("sentry.bad_dsn", format!("{at} is no Sentry DSN: {why}"))
                    .expected("an address with a public key and a project number")
                    .actual(why)
                    .at(at)
                    .hint("copy it anew from the project's settings")
                    .into();
            }
        };
        let path = address.path().trim_end_matches('/');
        let (prefix, project) = path.rsplit_once('/').unwrap_or(("", path));
        let host = address.host_str().unwrap_or_default();
        let port = address.port().map(|p| format!(":{p}")).unwrap_or_default();
        let url = format!("{}://{host}{port}{prefix}/api/{project}/envelope/", address.scheme());
        let id = cx.nonce();
        let sent = cx.now().rfc3339();
        let event = json!({
            "event_id": id, "timestamp": sent, "platform": "other", "level": "info",
            "logger": "levqor.integrity", "environment": "levqor-integrity",
            "message": {"formatted": "Levqor integrity check: please ignore"},
        })
        .to_string();
        let head = json!({"event_id": id, "sent_at": sent});
        let item = json!({"type": "event", "length": event.len(), "content_type": "application/json"});
        let mut request = Request::new("POST", url.as_str());
        request
            .headers
            .push(("content-type".into(), "application/x-sentry-envelope".into()));
        let client = concat!("levqor/", env!("CARGO_PKG_VERSION"));
        let credentials = format!(
            "Sentry sentry_version=7, sentry_client={client}, sentry_key={}",
            address.username()
        );
        request.headers.push(("x-sentry-auth".into(), credentials));
        request.body = format!("{head}\n{item}\n{event}\n").into();
        let answer = match cx.send(request).await {
            Ok(answer) => answer,
            Err(e) => return no_answer(&e, &url).into(),
        };
        let finding = |cause: &str, message: &str, hint: &str| {
            Finding::fail(cause, message)
                .expected("200 with the event's id")
                .actual(answer.status.to_string())
                .at(url.as_str())
                .hint(hint)
        };
        let said = serde_json::from_slice::<Value>(&answer.body).ok();
        match answer.status {
            200 => {
                let theirs = said.as_ref().and_then(|d| d["id"].as_str()).map(|t| t.replace('-', ""));
                if theirs.as_deref() == Some(id.as_str()) {
                    Outcome::new("the event was taken")
                } else {
                    finding(
                        "sentry.not_taken",
                        "the answer is 200 without the event's id",
                        "is this really Sentry?",
                    )
                    .into()
                }
            }
            401 | 403 => finding(
                "sentry.rejected",
                "Sentry does not accept the key",
                "was the key disabled? take the current DSN",
            )
            .into(),
            404 => finding(
                "sentry.no_project",
                "the project does not exist",
                "was it removed or renumbered?",
            )
            .into(),
            429 => finding(
                "sentry.over_quota",
                "Sentry takes no more events",
                "errors are being lost now; raise the quota, or send less",
            )
            .into(),
            _ => {
                let f = finding("sentry.unavailable", "Sentry does not take the event", "see status.sentry.io");
                Finding {
                    level: Level::Error,
                    ..f
                }
                .into()
            }
        }
    }
}
