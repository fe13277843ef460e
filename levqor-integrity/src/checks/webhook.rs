//! `webhook.stripe`: genuine messages are taken, everything else is refused.
//!
//! Stripe signs `{timestamp}.{body}` with HMAC-SHA256 under the endpoint's secret and sends
//! `Stripe-Signature: t=..,v1=..`; receivers refuse what is older than five minutes.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use levqor_core::error::Result;
use levqor_core::transport::{Request, Response};
use levqor_core::types::Millis;
use serde_json::json;

use super::Basics;
use super::http::no_answer;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};

pub(super) struct Webhook {
    id: String,
    endpoint: Endpoint,
    variable: String,
    event: String,
}

impl Webhook {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        Webhook {
            id,
            endpoint: r.endpoint(basics.targets, "api", "/webhooks/stripe"),
            variable: r.text_or("variable", "STRIPE_WEBHOOK_SECRET"),
            event: r.text_or("event", "levqor.integrity.probe"),
        }
    }

    /// An event that no program acts on: its type is not one of Stripe's.
    fn body(&self, cx: &CheckCx, kind: &str) -> String {
        let event = json!({
            "id": format!("evt_{}{kind}", &cx.nonce()[..20]),
            "object": "event",
            "api_version": "2025-03-31.basil",
            "created": cx.now().0 / 1_000,
            "livemode": cx.live(),
            "pending_webhooks": 0,
            "request": null,
            "type": self.event,
            "data": {"object": {"id": "levqor_integrity_probe", "object": "probe"}},
        });
        event.to_string()
    }
}

/// Stripe's signature of a body at a time.
fn sign(secret: &str, at: Millis, body: &str) -> String {
    let seconds = at.0.div_euclid(1_000);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex = crate::hex(tag.as_ref());
    format!("t={seconds},v1={hex}")
}

fn post(url: &str, body: String, signature: Option<String>) -> Request {
    let mut request = Request::new("POST", url);
    request
        .headers
        .push(("content-type".into(), "application/json; charset=utf-8".into()));
    request.headers.extend(signature.map(|s| ("stripe-signature".into(), s)));
    request.body = body.into();
    request
}

/// What an answer to a message that must be refused means.
fn refused(name: &str, what: &str, answer: &Result<Response>, url: &str) -> Option<Finding> {
    let fail = |cause: String, message: String, actual: String, hint: &str| {
        Some(
            Finding::fail(&cause, message)
                .expected("a status of 400 to 499")
                .actual(actual)
                .at(url)
                .hint(hint),
        )
    };
    match answer {
        Ok(a) if (400..500).contains(&a.status) && ![404, 405, 408, 429].contains(&a.status) => None,
        Ok(a) if (200..300).contains(&a.status) => fail(
            format!("webhook.accepts_{name}"),
            format!("{what} is taken"),
            a.status.to_string(),
            "verify Stripe-Signature over the raw body, with its time, before anything is done with the message",
        ),
        Ok(a) if a.status >= 500 => fail(
            format!("webhook.crashes_on_{name}"),
            format!("{what} makes the program fail"),
            a.status.to_string(),
            "refuse it with 400; an error of the program makes Stripe send it again for days",
        ),
        Ok(a) => fail(
            format!("webhook.unclear_on_{name}"),
            format!("{what} is answered {}", a.status),
            a.status.to_string(),
            "refuse it with 400",
        ),
        Err(e) => Some(no_answer(e, url)),
    }
}

#[async_trait]
impl Check for Webhook {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let url = match self.endpoint.url(cx) {
            Ok(url) => url,
            Err(outcome) => return outcome,
        };
        let Some(secret) = cx.env().get(&self.variable).filter(|s| !s.trim().is_empty()) else {
            return Finding::fail("webhook.no_secret", format!("{} is not set", self.variable))
                .expected("the endpoint's signing secret")
                .actual("not set")
                .at(self.variable.as_str())
                .hint("set it where the program is started, and where this run is started")
                .into();
        };
        let now = cx.now();
        let other_secret = format!("whsec_{}", cx.nonce());
        let (good, unsigned, forged, old) = (self.body(cx, "g"), self.body(cx, "u"), self.body(cx, "f"), self.body(cx, "o"));
        let changed = self.body(cx, "c").replace("probe", "changed");
        let broken = "{\"id\": \"evt_broken\", ".to_owned();
        let forged_signature = sign(&other_secret, now, &forged);
        let changed_signature = sign(secret, now, &good);
        let old_signature = sign(secret, now - Millis::mins(30), &old);
        let broken_signature = sign(secret, now, &broken);
        let good_signature = sign(secret, now, &good);
        let (get, unsigned, forged, changed, old, broken, good) = tokio::join!(
            cx.send(Request::new("GET", url.as_str())),
            cx.send(post(&url, unsigned, None)),
            cx.send(post(&url, forged, Some(forged_signature))),
            cx.send(post(&url, changed, Some(changed_signature))),
            cx.send(post(&url, old, Some(old_signature))),
            cx.send(post(&url, broken, Some(broken_signature))),
            cx.send(post(&url, good, Some(good_signature))),
        );
        // Where there is no endpoint at all, that is the one thing to say.
        let missing = |a: &Result<Response>| a.as_ref().is_ok_and(|a| a.status == 404);
        if missing(&good) && missing(&unsigned) {
            return Finding::fail("webhook.missing", "there is no webhook at this address")
                .expected("an endpoint that takes Stripe's messages")
                .actual("404")
                .at(url)
                .hint("was the route removed, or is the path in the pack wrong?")
                .into();
        }
        let mut outcome = Outcome::new("genuine messages are taken; unsigned, forged, changed, old and broken ones are refused");
        let wrong_get = |actual: String, cause: &str, message: &str| {
            Finding::fail(cause, message)
                .expected("405")
                .actual(actual)
                .at(url.as_str())
                .hint("the webhook takes POST and nothing else")
        };
        match &get {
            Ok(a) if a.status == 405 => {}
            Ok(a) if (200..300).contains(&a.status) => outcome.add(wrong_get(
                a.status.to_string(),
                "webhook.accepts_get",
                "the webhook answers GET",
            )),
            Ok(a) => outcome.add(wrong_get(
                a.status.to_string(),
                "webhook.get_status",
                "the webhook does not refuse GET with 405",
            )),
            Err(e) => outcome.add(no_answer(e, &url)),
        }
        for (name, what, answer) in [
            ("unsigned", "a message without a signature", &unsigned),
            ("forged", "a message with a forged signature", &forged),
            ("changed", "a message that was changed after it was signed", &changed),
            ("replayed", "a message that was signed 30 minutes ago", &old),
            ("malformed", "a signed message that is no JSON", &broken),
        ] {
            if let Some(finding) = refused(name, what, answer, &url)
                && !outcome.findings.iter().any(|f| f.cause == finding.cause)
            {
                outcome.add(finding);
            }
        }
        match &good {
            Ok(a) if (200..300).contains(&a.status) => {}
            Ok(a) => outcome.add(
                Finding::fail("webhook.refuses_genuine", "a genuine message is not taken")
                    .expected("a status of 200 to 299")
                    .actual(a.status.to_string())
                    .at(url.as_str())
                    .hint(if a.status < 400 {
                        "Stripe does not follow redirects"
                    } else if a.status < 500 {
                        "does the program verify with another secret, or over a body that was parsed and written again?"
                    } else {
                        "the program fails at an event of a type that it does not know; it has to answer 200 to those"
                    }),
            ),
            Err(e) => {
                let finding = no_answer(e, &url);
                if !outcome.findings.iter().any(|f| f.cause == finding.cause) {
                    outcome.add(finding);
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_openssl_does() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(
            sign("whsec_test", Millis::secs(1_700_000_000), "{}"),
            "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91"
        );
    }
}
