//! `stripe.api`: the key is accepted, the account can take payments, the prices exist.

use async_trait::async_trait;
use levqor_core::error::Result;
use levqor_core::transport::{Request, Response};
use serde_json::Value;

use super::all;
use super::http::no_answer;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Level, Outcome};
use crate::pack::{Reader, Text};

pub(super) struct Stripe {
    id: String,
    variable: String,
    base: Text,
    account: Option<String>,
    prices: Vec<Text>,
    account_check: bool,
    webhooks: bool,
    webhook_url: Option<String>,
}

impl Stripe {
    pub(super) fn new(id: String, r: &Reader<'_>) -> Self {
        let base = r
            .source("base")
            .unwrap_or_else(|| Text::Literal("https://api.stripe.com".into()));
        if let Text::Literal(url) = &base {
            r.url_is_good("base", url);
        }
        let mut prices = Vec::new();
        for price in r.raw("prices").and_then(Value::as_array).into_iter().flatten() {
            match (price.as_str(), price.get("env").and_then(Value::as_str)) {
                (Some(id), _) => prices.push(Text::Literal(id.to_owned())),
                (_, Some(name)) => prices.push(Text::Env(name.to_owned())),
                _ => r.fault(
                    "prices",
                    "pack.wrong_type",
                    "`prices` is a list of ids, or of { env = \"NAME\" }",
                ),
            }
        }
        Stripe {
            id,
            variable: r.text_or("variable", "STRIPE_SECRET_KEY"),
            base,
            account: r.text("account"),
            prices,
            account_check: r.bool_or("check_account", true),
            webhooks: r.bool_or("check_webhooks", true),
            webhook_url: r.text("webhook_url"),
        }
    }

    async fn ask(&self, cx: &CheckCx, key: &str, path: &str) -> (String, Result<Response>) {
        let base = self.base.get(cx.env()).unwrap_or_default().trim_end_matches('/');
        let url = format!("{base}{path}");
        let mut request = Request::new("GET", url.as_str());
        request.headers.push(("authorization".into(), format!("Bearer {key}")));
        request.headers.push(("accept".into(), "application/json".into()));
        (url, cx.send(request).await)
    }

    fn account(&self, document: &Value, url: &str, outcome: &mut Outcome) {
        let id = document["id"].as_str().unwrap_or_default();
        outcome.fact("account", id);
        if let Some(wanted) = self.account.as_deref().filter(|a| *a != id) {
            outcome.add(
                Finding::fail("stripe.wrong_account", "the key belongs to another account")
                    .expected(wanted)
                    .actual(id)
                    .at(url)
                    .hint("payments would go to somebody else; take the key of the right account"),
            );
        }
        for (field, cause, message, hint) in [
            (
                "charges_enabled",
                "stripe.charges_disabled",
                "the account cannot take payments",
                "Stripe's dashboard says what it still wants to know",
            ),
            (
                "payouts_enabled",
                "stripe.payouts_disabled",
                "the account gets no payouts",
                "check the bank account in Stripe's dashboard",
            ),
        ] {
            if document[field] == false {
                let finding = if field == "charges_enabled" {
                    Finding::fail(cause, message)
                } else {
                    Finding::warn(cause, message)
                };
                outcome.add(finding.expected(format!("{field} true")).actual("false").at(url).hint(hint));
            } else if document[field].is_null() && field == "charges_enabled" {
                outcome.add(
                    Finding::error(
                        "stripe.bad_answer",
                        "the answer does not say whether the account can take payments",
                    )
                    .expected("charges_enabled")
                    .actual("not in the answer")
                    .at(url)
                    .hint("is this really Stripe's interface?"),
                );
            }
        }
    }

    /// The endpoints that Stripe sends events to: a disabled one means that payments are not heard of.
    fn endpoints(&self, document: &Value, live: bool, url: &str, outcome: &mut Outcome) {
        let list = document["data"].as_array().cloned().unwrap_or_default();
        let to = |e: &Value| e["url"].as_str().unwrap_or_default().to_owned();
        let ours: Vec<&Value> = list
            .iter()
            .filter(|e| self.webhook_url.as_ref().is_none_or(|want| to(e) == *want))
            .collect();
        outcome.fact("webhooks", ours.len());
        for endpoint in &ours {
            if endpoint["status"] == "disabled" {
                outcome.add(
                    Finding::fail(
                        "stripe.webhook_disabled",
                        format!("Stripe has disabled the endpoint {}", to(endpoint)),
                    )
                    .expected("enabled")
                    .actual("disabled")
                    .at(url)
                    .hint("it failed for days: mend it, enable it in the dashboard, and send the lost events again"),
                );
            }
            if endpoint["livemode"].as_bool().is_some_and(|is| is != live) {
                outcome.add(
                    Finding::fail(
                        "stripe.webhook_mode",
                        format!("the endpoint {} is of the other mode", to(endpoint)),
                    )
                    .expected(if live { "a live endpoint" } else { "a test endpoint" })
                    .actual(if live { "a test endpoint" } else { "a live endpoint" })
                    .at(url)
                    .hint("live events go to live endpoints only; make one"),
                );
            }
        }
        if let Some(want) = self.webhook_url.as_ref().filter(|_| ours.is_empty()) {
            outcome.add(
                Finding::fail("stripe.webhook_missing", "Stripe knows no endpoint of this address")
                    .expected(want.as_str())
                    .actual(if list.is_empty() {
                        "none".to_owned()
                    } else {
                        list.iter().map(to).collect::<Vec<_>>().join(", ")
                    })
                    .at(url)
                    .hint("add it in Stripe's dashboard; without it nothing is heard of payments"),
            );
        }
    }

    fn price(id: &str, document: &Value, live: bool, url: &str, outcome: &mut Outcome) {
        if document["active"] == false {
            outcome.add(
                Finding::fail("stripe.price_inactive", format!("the price {id} is not active"))
                    .expected("an active price")
                    .actual("active false")
                    .at(url)
                    .hint("activate it, or sell another one"),
            );
        }
        if document["livemode"].as_bool().is_some_and(|is| is != live) {
            outcome.add(
                Finding::fail("stripe.price_mode", format!("the price {id} is of the other mode"))
                    .expected(if live { "a live price" } else { "a test price" })
                    .actual(if live { "a test price" } else { "a live price" })
                    .at(url)
                    .hint("live and test prices have different ids"),
            );
        }
    }
}

/// An answer of 200 as a document; else why there is none. What Stripe itself cannot say now could not be told.
fn document(answer: Result<Response>, url: &str, what: &str) -> std::result::Result<Value, Box<Finding>> {
    let answer = answer.map_err(|e| {
        let finding = no_answer(&e, url);
        // Whether our key and account are good is not known then.
        Box::new(Finding {
            level: Level::Error,
            ..finding
        })
    })?;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let said = body
        .as_ref()
        .map(|b| super::json_body::clip(b["error"]["message"].as_str().unwrap_or_default()))
        .unwrap_or_default();
    let from_stripe = body.as_ref().is_some_and(|b| b["error"].is_object());
    let finding = match (answer.status, body) {
        (200, Some(document)) => return Ok(document),
        (200, None) => Finding::error("stripe.bad_answer", format!("the answer about {what} is no JSON"))
            .expected("JSON")
            .hint("is this really Stripe's interface?"),
        (401, _) => Finding::fail("stripe.key_rejected", "Stripe does not accept the key")
            .expected("a valid key")
            .hint("was it rolled or revoked? take the current one from the dashboard"),
        (403, _) => Finding::fail("stripe.key_not_permitted", format!("the key may not read {what}"))
            .expected("a key with leave to read")
            .hint("give the restricted key leave to read, or set check_account = false"),
        (404, _) if from_stripe && what.starts_with("the price") => {
            Finding::fail("stripe.price_missing", format!("{what} does not exist"))
                .expected("a price of this account and mode")
                .hint("was it made in the other mode, or in another account?")
        }
        (status, _) => Finding::error("stripe.unavailable", format!("Stripe answers {status} about {what}"))
            .expected("200")
            .hint("nothing is known of key and account because of this; see status.stripe.com"),
    };
    let actual = format!("{} {said}", answer.status);
    Err(Box::new(finding.actual(actual.trim_end()).at(url)))
}

#[async_trait]
impl Check for Stripe {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let Some(key) = cx.env().get(&self.variable).filter(|k| !k.trim().is_empty()) else {
            return Finding::fail("stripe.no_key", format!("{} is not set", self.variable))
                .expected("a secret key")
                .actual("not set")
                .at(self.variable.as_str())
                .hint("set it where the program is started, and where this run is started")
                .into();
        };
        if let Err(outcome) = self.base.need(cx) {
            return outcome;
        }
        let mut prices = Vec::new();
        for price in &self.prices {
            match price.need(cx) {
                Ok(id) => prices.push(id.to_owned()),
                Err(outcome) => return outcome,
            }
        }
        let mut outcome = Outcome::new("the key is accepted, and the account can take payments");
        // Without the account, the balance shows whether the key is good.
        let first = if self.account_check { "/v1/account" } else { "/v1/balance" };
        let paths: Vec<String> = prices.iter().map(|p| format!("/v1/prices/{p}")).collect();
        let (about, each, hooks) = tokio::join!(
            self.ask(cx, key, first),
            all(paths.iter().map(|path| self.ask(cx, key, path))),
            async {
                if self.webhooks {
                    Some(self.ask(cx, key, "/v1/webhook_endpoints?limit=100").await)
                } else {
                    None
                }
            }
        );
        match document(about.1, &about.0, "the account") {
            Ok(found) if self.account_check => self.account(&found, &about.0, &mut outcome),
            Ok(_) => {}
            // A wrong key explains everything else.
            Err(finding) if finding.cause == "stripe.key_rejected" => return (*finding).into(),
            Err(finding) => outcome.add(*finding),
        }
        for (id, (url, answer)) in prices.iter().zip(each) {
            match document(answer, &url, &format!("the price {id}")) {
                Ok(found) => Self::price(id, &found, cx.live(), &url, &mut outcome),
                Err(finding) => outcome.add(*finding),
            }
        }
        match hooks {
            // A key that may not read them, or a stand-in that does not have them, says nothing about them.
            Some((_, Ok(answer))) if matches!(answer.status, 401 | 403 | 404) && self.webhook_url.is_none() => {
                outcome.fact("webhooks", "not readable with this key");
            }
            Some((url, answer)) => match document(answer, &url, "the webhook endpoints") {
                Ok(found) => self.endpoints(&found, cx.live(), &url, &mut outcome),
                Err(finding) => outcome.add(*finding),
            },
            None => {}
        }
        outcome.fact("prices", prices.len());
        outcome
    }
}
