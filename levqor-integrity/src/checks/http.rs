//! `http.*`: an answer is asked for and judged.

use async_trait::async_trait;
use levqor_core::error::{Error, Result};
use levqor_core::transport::{Request, Response};
use levqor_core::types::Millis;
use serde_json::Value;

use super::json_body::{self, Assert, clip};
use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader, Text};
use crate::runner::seconds;

/// What an answer has to be.
pub(super) struct Http {
    id: String,
    endpoint: Endpoint,
    method: String,
    headers: Vec<(String, Text)>,
    body: String,
    status: Vec<i64>,
    content_type: Vec<String>,
    asserts: Vec<Assert>,
    contains: Vec<String>,
    semantic: bool,
    max_bytes: usize,
    redirects: u8,
    samples: usize,
    warn: Millis,
    fail: Option<Millis>,
}

impl Http {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let asserts: Vec<Assert> = r
            .members("json")
            .into_iter()
            .map(|(pointer, expected)| Assert { pointer, expected })
            .collect();
        for fault in asserts.iter().filter_map(Assert::fault) {
            r.fault("json", "pack.bad_value", fault);
        }
        let status = r.ints("status").unwrap_or_else(|| vec![200]);
        if status.is_empty() || status.iter().any(|s| !(100..=599).contains(s)) {
            r.fault("status", "pack.bad_value", "a status is a number from 100 to 599");
        }
        Http {
            endpoint: r.endpoint(basics.targets, "api", "/"),
            method: r.text_or("method", "GET"),
            headers: r.sources("headers"),
            body: r.text_or("body", ""),
            status,
            content_type: r.texts("content_type").unwrap_or_else(|| vec!["application/json".into()]),
            asserts,
            contains: r.texts("contains").unwrap_or_default(),
            semantic: r.bool_or("semantic", true),
            max_bytes: usize::try_from(r.int_or("max_bytes", 1..=64 << 20, 1 << 20)).unwrap_or(1 << 20),
            redirects: u8::try_from(r.int_or("redirects", 0..=10, 0)).unwrap_or(0),
            samples: usize::try_from(r.int_or("samples", 1..=100, 1)).unwrap_or(1),
            warn: r.wait("warn").unwrap_or(Millis::secs(2)),
            fail: r.wait("fail"),
            id,
        }
    }

    fn request(&self, url: &str, cx: &CheckCx) -> std::result::Result<Request, Outcome> {
        let mut request = Request::new(self.method.as_str(), url);
        for (name, value) in &self.headers {
            request.headers.push((name.clone(), value.need(cx)?.to_owned()));
        }
        request.headers.push(("accept".into(), "*/*".into()));
        request.body = self.body.clone().into();
        request.max_response = self.max_bytes;
        request.redirects = self.redirects;
        Ok(request)
    }

    fn judge(&self, answer: &Response, url: &str) -> Vec<Finding> {
        let mut said = Vec::new();
        let status = i64::from(answer.status);
        if !self.status.contains(&status) {
            said.push(self.wrong_status(answer, url));
            return said;
        }
        if answer.body.is_empty()
            && self.method != "HEAD"
            && ![204, 304].contains(&answer.status)
            && !self.content_type.is_empty()
        {
            said.push(
                Finding::fail("http.empty_body", "the answer is empty")
                    .expected("a body")
                    .actual("0 bytes")
                    .at(url)
                    .hint("the program answered before it had something to say"),
            );
            return said;
        }
        let kind = answer.header("content-type").unwrap_or_default();
        if !self.kind_fits(kind) {
            said.push(
                Finding::fail(
                    "http.content_type",
                    format!("the answer is {}", if kind.is_empty() { "of no type" } else { kind }),
                )
                .expected(self.content_type.join(" or "))
                .actual(if kind.is_empty() { "no content-type" } else { kind })
                .at(url)
                .hint("a front end that answers every path with its own page looks like this"),
            );
            return said;
        }
        let is_json = essence(kind) == "application/json" || essence(kind).ends_with("+json");
        if is_json || !self.asserts.is_empty() {
            let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
            match serde_json::from_slice::<Value>(body) {
                Ok(document) => {
                    if self.semantic {
                        said.extend(json_body::says(&document, url));
                    }
                    said.extend(self.asserts.iter().filter_map(|a| a.check(&document, url)));
                }
                Err(e) => said.push(
                    Finding::fail("http.invalid_json", format!("the answer is no JSON: {e}"))
                        .expected("JSON")
                        .actual(clip(&String::from_utf8_lossy(body)))
                        .at(url)
                        .hint("was it cut off, or did an error page get the wrong type?"),
                ),
            }
        }
        let text = String::from_utf8_lossy(&answer.body);
        for want in self.contains.iter().filter(|w| !text.contains(w.as_str())) {
            said.push(
                Finding::fail("http.missing_text", format!("the answer does not contain `{want}`"))
                    .expected(want.as_str())
                    .actual(clip(&text))
                    .at(url)
                    .hint("the pack asks for this text"),
            );
        }
        said
    }

    fn wrong_status(&self, answer: &Response, url: &str) -> Finding {
        let wanted: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        let wanted = wanted.join(" or ");
        if (300..400).contains(&answer.status) {
            let to = answer.header("location").unwrap_or("nowhere");
            return Finding::fail("http.redirected", format!("the answer leads to {to}"))
                .expected(wanted)
                .actual(format!("{} to {to}", answer.status))
                .at(url)
                .hint(
                    "write the final address into the pack, or allow `redirects`; a login page behind this is no health answer",
                );
        }
        let hint = match answer.status {
            401 | 403 => "the address asks for credentials; give them as `headers`, or open it",
            404 | 410 => "the address does not exist; was the route removed, or is the path in the pack wrong?",
            405 => "the address does not take this method",
            429 => "the service limits this check; leave it out of the limit",
            502..=504 => "the proxy does not reach the program behind it",
            500..=599 => "the program failed; read its log at this time",
            _ => "look at the captured answer",
        };
        Finding::fail("http.status", format!("the answer is {}", answer.status))
            .expected(wanted)
            .actual(answer.status.to_string())
            .at(url)
            .hint(hint)
    }

    fn kind_fits(&self, kind: &str) -> bool {
        let kind = essence(kind);
        self.content_type.is_empty()
            || self.content_type.iter().any(|want| {
                let want = essence(want);
                kind == want
                    || want == "*/*"
                    || (want == "application/json" && kind.starts_with("application/") && kind.ends_with("+json"))
            })
    }

    fn latency(&self, took: &[Millis], url: &str, outcome: &mut Outcome) {
        let mut sorted = took.to_vec();
        sorted.sort();
        let p95 = percentile(&sorted, 95);
        outcome.fact("latency_ms", p95.0);
        outcome.fact("warn_ms", self.warn.0);
        let what = if took.len() > 1 {
            "the 95th percentile of the answers"
        } else {
            "the answer"
        };
        let finding = |late: Finding, limit: Millis| {
            late.expected(format!("within {}", seconds(limit)))
                .actual(seconds(p95))
                .at(url)
                .hint("look at load, database and the distance between this machine and the target")
        };
        if let Some(limit) = self.fail.filter(|l| p95 > *l) {
            outcome.add(finding(
                Finding::fail("http.too_slow", format!("{what} took {}", seconds(p95))),
                limit,
            ));
        } else if p95 > self.warn {
            outcome.add(finding(
                Finding::warn("http.slow", format!("{what} took {}", seconds(p95))),
                self.warn,
            ));
        }
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[Millis], p: usize) -> Millis {
    let rank = (sorted.len() * p).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(Millis::ZERO)
}

/// A media type without its parameters.
fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[async_trait]
impl Check for Http {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let url = match self.endpoint.url(cx) {
            Ok(url) => url,
            Err(outcome) => return outcome,
        };
        let request = match self.request(&url, cx) {
            Ok(request) => request,
            Err(outcome) => return outcome,
        };
        let answers: Vec<(Result<Response>, Millis)> = all((0..self.samples).map(|_| cx.timed(request.clone()))).await;
        let mut outcome = Outcome::default();
        let mut took = Vec::new();
        for (i, (answer, time)) in answers.iter().enumerate() {
            match answer {
                Ok(answer) => {
                    took.push(*time);
                    outcome.summary = format!("{} in {}", answer.status, seconds(*time));
                    outcome.fact("status", answer.status);
                    for finding in self.judge(answer, &url) {
                        if !outcome
                            .findings
                            .iter()
                            .any(|f| f.cause == finding.cause && f.at == finding.at)
                        {
                            outcome.add(finding);
                        }
                    }
                }
                Err(e) => {
                    let finding = no_answer(e, &url);
                    if !outcome.findings.iter().any(|f| f.cause == finding.cause) {
                        outcome.add(if self.samples > 1 {
                            let message = format!("{} (sample {} of {})", finding.message, i + 1, self.samples);
                            Finding { message, ..finding }
                        } else {
                            finding
                        });
                    }
                }
            }
        }
        if !took.is_empty() {
            self.latency(&took, &url, &mut outcome);
        }
        outcome
    }
}

/// The finding for a request that got no answer.
pub(super) fn no_answer(e: &Error, url: &str) -> Finding {
    let (cause, expected, hint) = match e.code() {
        "http.timeout" => ("http.timeout", "an answer in time", "the program hangs, or is overloaded"),
        "http.connect" => (
            "http.connect",
            "a connection",
            "is the program running, and does the firewall let this port pass?",
        ),
        "http.dns" => ("dns.unresolved", "a name with an address", "look at the zone of the domain"),
        "http.tls" => ("http.tls", "a trustworthy TLS connection", "tls.certificate says why"),
        "http.response_too_large" => (
            "http.too_large",
            "an answer within `max_bytes`",
            "an endpoint for machines answers briefly",
        ),
        "http.too_many_redirects" => (
            "http.redirect_loop",
            "an end of the redirects",
            "look for two redirects that undo each other",
        ),
        "http.body_cut" => (
            "http.body_cut",
            "a whole answer",
            "the program or a proxy breaks off in the middle",
        ),
        "http.body_encoding" => (
            "http.body_encoding",
            "a body that can be unpacked",
            "content-encoding does not fit the body",
        ),
        "http.connection_lost" => (
            "http.connection_lost",
            "an answer",
            "the program closed the connection; did it crash?",
        ),
        "http.url_invalid" | "http.header_invalid" | "http.method_invalid" => {
            return Finding::error(e.code(), e.message())
                .expected("a request that can be sent")
                .actual(e.message())
                .at(url)
                .hint("mend the pack");
        }
        code => {
            return Finding::error(code, e.message())
                .expected("an answer")
                .actual(e.message())
                .at(url)
                .hint(e.help().unwrap_or("nothing is known of the target because of this"));
        }
    };
    Finding::fail(cause, e.message())
        .expected(expected)
        .actual(e.message())
        .at(url)
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let of = |n: i64| (1..=n).map(Millis).collect::<Vec<_>>();
        assert_eq!(percentile(&of(1), 95), Millis(1));
        assert_eq!(percentile(&of(20), 95), Millis(19));
        assert_eq!(percentile(&of(100), 95), Millis(95));
    }
}
