//! `feature.enabled` and `feature.semantic_200`: what was sold is on, and an answer of 200 holds no error.

use async_trait::async_trait;
use levqor_core::pipeline::suggest::did_you_mean;
use levqor_core::transport::Request;
use serde_json::Value;

use super::http::no_answer;
use super::json_body::{self, Assert, clip};
use super::scheduler::fetch;
use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader, Text};

pub(super) struct Enabled {
    id: String,
    endpoint: Endpoint,
    features: Vec<String>,
    /// Variables that switch a feature on, by feature.
    variables: Vec<(String, String)>,
}

impl Enabled {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let mut variables = Vec::new();
        for (feature, value) in r.members("variables") {
            match value.as_str() {
                Some(name) => variables.push((feature, name.to_owned())),
                None => r.fault(
                    "variables",
                    "pack.wrong_type",
                    format!("`{feature}` has to be the name of a variable"),
                ),
            }
        }
        Enabled {
            id,
            endpoint: r.endpoint(basics.targets, "api", "/ops/features"),
            features: r.texts("features").unwrap_or_default(),
            variables,
        }
    }
}

/// Whether a value says on; `None` if it says neither.
fn is_on(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => n.as_i64().map(|n| n != 0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" | "enabled" | "active" | "ok" => Some(true),
            "" | "0" | "false" | "no" | "off" | "disabled" | "inactive" | "none" => Some(false),
            _ => None,
        },
        Value::Object(map) => ["enabled", "on", "state", "status", "active"]
            .iter()
            .find_map(|k| is_on(map.get(*k)?)),
        _ => None,
    }
}

fn off(feature: &str, actual: &str, at: &str) -> Finding {
    Finding::fail("feature.disabled", format!("the feature `{feature}` is off"))
        .expected("on")
        .actual(actual)
        .at(at)
        .hint("switch it on, or stop selling it; off without a word looks like success")
}

#[async_trait]
impl Check for Enabled {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        if self.features.is_empty() && self.variables.is_empty() {
            return Outcome::skip("the pack names no `features` and no `variables`");
        }
        let count = self.features.len() + self.variables.len();
        let mut outcome = Outcome::new(format!("{count} features are on"));
        for (feature, variable) in &self.variables {
            let value = cx.env().get(variable).unwrap_or_default();
            match is_on(&Value::from(value)) {
                Some(true) => {}
                Some(false) => outcome.add(off(
                    feature,
                    if value.is_empty() { "not set" } else { "switched off" },
                    variable,
                )),
                None => outcome.add(
                    Finding::error(
                        "feature.unclear",
                        format!("whether `{feature}` is on cannot be told from {variable}"),
                    )
                    .expected("true or false")
                    .actual("something else")
                    .at(variable.as_str())
                    .hint("set it to true or false"),
                ),
            }
        }
        if self.features.is_empty() {
            return outcome;
        }
        let (url, document) = match fetch(&self.endpoint, cx).await {
            Ok(both) => both,
            Err(failed) => {
                failed.findings.into_iter().for_each(|f| outcome.add(f));
                outcome.skipped = failed.skipped;
                return outcome;
            }
        };
        let map = document.get("features").unwrap_or(&document);
        for feature in &self.features {
            let at = format!("{url}#{feature}");
            match map.get(feature) {
                None => {
                    let known = did_you_mean(feature, map.as_object().into_iter().flatten().map(|(k, _)| k.as_str()));
                    outcome.add(
                        Finding::fail(
                            "feature.unknown",
                            format!("the system does not know a feature `{feature}`{known}"),
                        )
                        .expected(feature.as_str())
                        .actual("not in the answer")
                        .at(at)
                        .hint("was it removed, or is it spelled differently?"),
                    );
                }
                Some(value) if value.get("state").or(value.get("status")).unwrap_or(value) == "degraded" => outcome.add(
                    Finding::warn("feature.degraded", format!("the feature `{feature}` is degraded"))
                        .expected("on")
                        .actual("degraded")
                        .at(at)
                        .hint("find out what it misses"),
                ),
                Some(value) => match is_on(value) {
                    Some(true) => {}
                    Some(false) => outcome.add(off(feature, &clip(&value.to_string()), &at)),
                    None => outcome.add(
                        Finding::error("feature.unclear", format!("whether `{feature}` is on cannot be told"))
                            .expected("true or false")
                            .actual(clip(&value.to_string()))
                            .at(at)
                            .hint("let the endpoint say true or false"),
                    ),
                },
            }
        }
        outcome
    }
}

pub(super) struct Semantic {
    id: String,
    requests: Vec<Ask>,
    phrases: Vec<String>,
}

struct Ask {
    name: String,
    endpoint: Endpoint,
    method: String,
    headers: Vec<(String, Text)>,
    body: String,
    asserts: Vec<Assert>,
}

/// Texts that programs send when something broke, and that no good answer holds.
const PHRASES: &[&str] = &[
    "traceback (most recent call last)",
    "internal server error",
    "an error occurred",
    "something went wrong",
    "i'm having trouble",
    "i am having trouble",
    "error communicating with",
    "insufficient_quota",
    "exceeded your current quota",
    "incorrect api key",
    "invalid api key",
    "invalid_api_key",
    "rate limit reached",
    "model_not_found",
    "unhandled exception",
    "fatal error:",
    "sqlstate[",
    "connection refused",
    "econnrefused",
    "service unavailable",
    "is not configured",
];

impl Semantic {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let requests = r
            .tables("requests")
            .into_iter()
            .map(|(name, q)| {
                let body = q
                    .raw("body")
                    .map(|b| b.as_str().map_or_else(|| b.to_string(), str::to_owned))
                    .unwrap_or_default();
                let asserts: Vec<Assert> = q
                    .members("json")
                    .into_iter()
                    .map(|(pointer, expected)| Assert { pointer, expected })
                    .collect();
                for fault in asserts.iter().filter_map(Assert::fault) {
                    q.fault("json", "pack.bad_value", fault);
                }
                let ask = Ask {
                    endpoint: q.endpoint(basics.targets, "api", "/"),
                    method: q.text_or("method", if body.is_empty() { "GET" } else { "POST" }),
                    headers: q.sources("headers"),
                    body,
                    asserts,
                    name,
                };
                q.finish();
                ask
            })
            .collect();
        Semantic {
            id,
            requests,
            phrases: r
                .texts("phrases")
                .unwrap_or_default()
                .iter()
                .map(|p| p.to_lowercase())
                .collect(),
        }
    }

    async fn ask(&self, ask: &Ask, cx: &CheckCx) -> Result<Vec<Finding>, Outcome> {
        let url = ask.endpoint.url(cx)?;
        let mut request = Request::new(ask.method.as_str(), url.as_str());
        for (name, value) in &ask.headers {
            request.headers.push((name.clone(), value.need(cx)?.to_owned()));
        }
        if !ask.body.is_empty() && !ask.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
            request.headers.push(("content-type".into(), "application/json".into()));
        }
        request.body = ask.body.clone().into();
        let at = format!("{url} ({})", ask.name);
        let answer = match cx.send(request).await {
            Ok(answer) => answer,
            Err(e) => return Ok(vec![no_answer(&e, &at)]),
        };
        let mut said = Vec::new();
        if !(200..300).contains(&answer.status) {
            said.push(
                Finding::fail("http.status", format!("the answer is {}", answer.status))
                    .expected("200")
                    .actual(answer.status.to_string())
                    .at(at.as_str())
                    .hint("the feature does not work, and says so at least"),
            );
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        let document = serde_json::from_slice::<Value>(&answer.body).ok();
        if let Some(document) = &document {
            for mut finding in json_body::says(document, &at) {
                if finding.level == crate::outcome::Level::Fail {
                    finding.cause = "feature.error_in_200".into();
                }
                said.push(finding);
            }
            said.extend(ask.asserts.iter().filter_map(|a| a.check(document, &at)));
        } else if !ask.asserts.is_empty() {
            said.push(
                Finding::fail("http.invalid_json", "the answer is no JSON")
                    .expected("JSON")
                    .actual(clip(&text))
                    .at(at.as_str()),
            );
        }
        if answer.body.is_empty() && answer.status != 204 {
            said.push(
                Finding::fail("http.empty_body", "the answer is empty")
                    .expected("something")
                    .actual("0 bytes")
                    .at(at.as_str())
                    .hint("the program answered before it had something to say"),
            );
        }
        let mut phrases = PHRASES.iter().copied().chain(self.phrases.iter().map(String::as_str));
        if said.is_empty()
            && let Some(phrase) = phrases.find(|p| text.contains(p))
        {
            said.push(
                Finding::fail(
                    "feature.error_in_200",
                    format!("the answer is {} and says `{phrase}`", answer.status),
                )
                .expected("an answer without an error in it")
                .actual(clip(&text))
                .at(at)
                .hint("mend what is broken; and let such answers have a status of 500 or 503"),
            );
        }
        Ok(said)
    }
}

#[async_trait]
impl Check for Semantic {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        if self.requests.is_empty() {
            return Outcome::skip("the pack names no `requests`");
        }
        let mut outcome = Outcome::new(format!("{} answers hold no error", self.requests.len()));
        for asked in all(self.requests.iter().map(|ask| self.ask(ask, cx))).await {
            match asked {
                Ok(findings) => findings.into_iter().for_each(|f| outcome.add(f)),
                Err(failed) => {
                    if failed.findings.is_empty() {
                        return failed;
                    }
                    failed.findings.into_iter().for_each(|f| outcome.add(f));
                }
            }
        }
        outcome
    }
}
