//! `headers.security`: what browsers are told, on a page and on one that does not exist. Causes are the result ids of MDN's
//! HTTP Observatory.

use async_trait::async_trait;
use levqor_core::transport::{Request, Response};

use super::headers_csp::{self, forbids_framing};
use super::http::no_answer;
use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};

pub(super) struct Headers {
    id: String,
    page: Endpoint,
    missing: Endpoint,
    allow: Vec<String>,
}

/// Half a year, in seconds: the Observatory's least.
const SIX_MONTHS: u64 = 15_768_000;

impl Headers {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let has = |name: &str| basics.targets.iter().any(|(n, _)| n == name);
        let default = if has("frontend") { "frontend" } else { "api" };
        let page = r.endpoint(basics.targets, default, "/");
        let missing = Endpoint {
            path: r.text_or("missing_path", "/levqor-integrity-no-such-page"),
            ..page.clone()
        };
        Headers {
            id,
            page,
            missing,
            allow: r.texts("allow").unwrap_or_default(),
        }
    }

    fn judge(&self, answer: &Response, url: &str, what: &str) -> (Vec<Finding>, Vec<&'static str>) {
        let at = format!("{url} ({what}{})", answer.status);
        let values = |name: &str| -> Vec<&str> {
            let all = answer.headers.iter().filter(|(n, _)| n == name);
            all.map(|(_, v)| v.as_str()).collect()
        };
        let csp = values("content-security-policy");
        let results = [
            hsts(&values("strict-transport-security"), url.starts_with("https:")),
            nosniff(&values("x-content-type-options")),
            framing(&values("x-frame-options"), &csp),
            headers_csp::judge(&csp, !values("content-security-policy-report-only").is_empty()),
        ];
        let names = [
            "Strict-Transport-Security",
            "X-Content-Type-Options",
            "X-Frame-Options",
            "Content-Security-Policy",
        ];
        let seen = [
            values("strict-transport-security"),
            values("x-content-type-options"),
            values("x-frame-options"),
            csp.clone(),
        ];
        let mut said = Vec::new();
        for ((result, name), seen) in results.iter().zip(names).zip(seen) {
            if passes(result) || self.allow.iter().any(|a| a == result) {
                continue;
            }
            let (message, expected, hint) = words(result);
            let actual = if seen.is_empty() {
                "not sent".to_owned()
            } else {
                super::json_body::clip(&seen.join(", "))
            };
            said.push(
                Finding::fail(result, format!("{name}: {message}"))
                    .expected(expected)
                    .actual(actual)
                    .at(at.as_str())
                    .hint(hint),
            );
        }
        said.extend(contradictions(&values, &csp).into_iter().map(|f| f.at(at.as_str())));
        let policy = values("referrer-policy");
        let referrer = referrer(&policy);
        if referrer == "referrer-policy-unsafe" || referrer == "referrer-policy-header-invalid" {
            said.push(
                Finding::warn(referrer, "Referrer-Policy: full addresses are told to other sites")
                    .expected("strict-origin-when-cross-origin, or stricter")
                    .actual(policy.join(", "))
                    .at(at.as_str())
                    .hint("addresses may hold tokens and names"),
            );
        }
        let mut ids = results.to_vec();
        ids.push(referrer);
        (said, ids)
    }
}

/// Headers that say two things. Browsers follow one of them, and which one is rarely the one that was meant.
fn contradictions<'v>(values: &dyn Fn(&str) -> Vec<&'v str>, csp: &[&str]) -> Vec<Finding> {
    let mut said = Vec::new();
    for (name, title) in [
        ("strict-transport-security", "Strict-Transport-Security"),
        ("x-content-type-options", "X-Content-Type-Options"),
        ("referrer-policy", "Referrer-Policy"),
    ] {
        let mut list: Vec<String> = values(name).iter().map(|v| v.to_ascii_lowercase().replace(' ', "")).collect();
        list.sort();
        list.dedup();
        if list.len() > 1 {
            said.push(
                Finding::fail(
                    "headers.contradictory",
                    format!("{title} is sent more than once, and says different things"),
                )
                .expected("one value")
                .actual(values(name).join(" and "))
                .hint("a proxy and the program both set it: let one of them do it"),
            );
        }
    }
    let frames = values("x-frame-options");
    let refuses = frames
        .iter()
        .any(|v| matches!(v.trim().to_ascii_lowercase().as_str(), "deny" | "sameorigin"));
    // With frame-ancestors there, browsers do not look at X-Frame-Options (CSP3, 6.4.2.2).
    if refuses && headers_csp::names_framing(csp) && !forbids_framing(csp) {
        said.push(
            Finding::fail(
                "headers.contradictory",
                "X-Frame-Options forbids framing, but the CSP's frame-ancestors allows it to everybody, and browsers follow the CSP",
            )
            .expected("frame-ancestors 'none' or 'self'")
            .actual("frame-ancestors with *, http: or https:")
            .hint("name who may frame the page, or take frame-ancestors out"),
        );
    }
    said
}

fn passes(result: &str) -> bool {
    headers_csp::GOOD.contains(&result)
        || matches!(
            result,
            "hsts-implemented-max-age-at-least-six-months"
                | "x-content-type-options-nosniff"
                | "x-frame-options-sameorigin-or-deny"
                | "x-frame-options-implemented-via-csp"
        )
}

/// What is wrong, what is expected, what to do.
fn words(result: &str) -> (&'static str, &'static str, &'static str) {
    let hsts = "max-age=31536000; includeSubDomains";
    let csp = "default-src 'self'; object-src 'none'; frame-ancestors 'none', or stricter";
    match result {
        "hsts-not-implemented" => ("it is missing", hsts, "send it with every answer over https"),
        "hsts-not-implemented-no-https" => (
            "the page is not served over https, where it would mean something",
            hsts,
            "serve the page over https",
        ),
        "hsts-implemented-max-age-less-than-six-months" => ("its max-age is shorter than six months", hsts, "raise max-age"),
        "hsts-header-invalid" => (
            "it cannot be read, so browsers ignore it",
            hsts,
            "send it once, with a max-age",
        ),
        "x-content-type-options-not-implemented" => ("it is missing", "nosniff", "send nosniff with every answer"),
        "x-content-type-options-header-invalid" => ("it says something else than nosniff", "nosniff", "send exactly nosniff"),
        "x-frame-options-not-implemented" => (
            "any site may frame the page",
            "DENY, or frame-ancestors in the CSP",
            "send it with every answer",
        ),
        "x-frame-options-header-invalid" => (
            "it cannot be read, so browsers ignore it",
            "DENY or SAMEORIGIN",
            "ALLOW-FROM is not known any more; use frame-ancestors",
        ),
        "csp-not-implemented" => (
            "it is missing",
            csp,
            "begin with Content-Security-Policy-Report-Only and make it strict step by step",
        ),
        "csp-not-implemented-but-reporting-enabled" => ("it only reports, and forbids nothing", csp, "enforce it"),
        "csp-header-invalid" => ("it cannot be read, so browsers ignore it", csp, "mend it"),
        "csp-implemented-with-unsafe-eval" => ("scripts may make programs of texts ('unsafe-eval')", csp, "do without eval"),
        "csp-implemented-with-insecure-scheme" => ("scripts or styles may come over plain http", csp, "use https sources"),
        _ => (
            "any script may run: 'unsafe-inline', a wide source, or no word on scripts and objects",
            csp,
            "use nonces or hashes, and set object-src 'none'",
        ),
    }
}

fn hsts(values: &[&str], https: bool) -> &'static str {
    if !https {
        return "hsts-not-implemented-no-https";
    }
    // Of several, browsers take the first.
    let Some(value) = values.first() else {
        return "hsts-not-implemented";
    };
    let mut ages = value.split(';').filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("max-age")
            .then(|| value.trim().trim_matches('"').to_owned())
    });
    match (ages.next().map(|a| a.parse::<u64>()), ages.next()) {
        (Some(Ok(age)), None) if age >= SIX_MONTHS => "hsts-implemented-max-age-at-least-six-months",
        (Some(Ok(_)), None) => "hsts-implemented-max-age-less-than-six-months",
        _ => "hsts-header-invalid",
    }
}

fn nosniff(values: &[&str]) -> &'static str {
    match values.first().and_then(|v| v.split(',').next()) {
        None => "x-content-type-options-not-implemented",
        Some(v) if v.trim().eq_ignore_ascii_case("nosniff") => "x-content-type-options-nosniff",
        Some(_) => "x-content-type-options-header-invalid",
    }
}

fn framing(values: &[&str], csp: &[&str]) -> &'static str {
    if forbids_framing(csp) {
        return "x-frame-options-implemented-via-csp";
    }
    let words: Vec<String> = values
        .iter()
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_ascii_lowercase())
        .collect();
    match words.first().map(String::as_str) {
        None => "x-frame-options-not-implemented",
        Some("deny" | "sameorigin") if words.iter().all(|w| *w == words[0]) => "x-frame-options-sameorigin-or-deny",
        Some(_) => "x-frame-options-header-invalid",
    }
}

fn referrer(values: &[&str]) -> &'static str {
    let known = [
        "no-referrer",
        "same-origin",
        "strict-origin",
        "strict-origin-when-cross-origin",
        "origin",
        "origin-when-cross-origin",
        "unsafe-url",
        "no-referrer-when-downgrade",
    ];
    // The last one that a browser knows counts.
    let last = values
        .iter()
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_ascii_lowercase())
        .rfind(|v| known.contains(&v.as_str()));
    match last.as_deref() {
        None if values.is_empty() => "referrer-policy-not-implemented",
        None => "referrer-policy-header-invalid",
        Some("no-referrer" | "same-origin" | "strict-origin" | "strict-origin-when-cross-origin") => "referrer-policy-private",
        Some(_) => "referrer-policy-unsafe",
    }
}

#[async_trait]
impl Check for Headers {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let (page, missing) = match (self.page.url(cx), self.missing.url(cx)) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(outcome), _) | (_, Err(outcome)) => return outcome,
        };
        let get = |url: &str| {
            let mut request = Request::new("GET", url);
            request.headers.push(("accept".into(), "text/html,*/*".into()));
            request
        };
        let answers = all([&page, &missing].map(|url| cx.send(get(url)))).await;
        let mut outcome = Outcome::new("the security headers are good, on a missing page too");
        for ((url, what), answer) in [(&page, ""), (&missing, "missing page, ")].into_iter().zip(answers) {
            let answer = match answer {
                Ok(answer) => answer,
                Err(e) => {
                    outcome.add(no_answer(&e, url));
                    continue;
                }
            };
            let (findings, ids) = self.judge(&answer, url, what);
            findings.into_iter().for_each(|f| outcome.add(f));
            outcome.fact(
                if what.is_empty() {
                    "observatory"
                } else {
                    "observatory_missing_page"
                },
                ids,
            );
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the engine itself sends must pass what it demands of others.
    #[test]
    fn our_own_headers_are_good() {
        use levqor_core::access::headers::{Nonce, Preset, headers};
        for preset in Preset::ALL {
            for nonce in [None, Some(Nonce::new())] {
                let fields = headers(preset, nonce.as_ref());
                let value = |name: &str| -> Vec<&str> {
                    let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
                    named.map(|(_, v)| v.as_str()).collect()
                };
                let csp = value("content-security-policy");
                assert_eq!(
                    [
                        hsts(&value("strict-transport-security"), true),
                        nosniff(&value("x-content-type-options")),
                        framing(&value("x-frame-options"), &csp),
                        headers_csp::judge(&csp, false),
                        referrer(&value("referrer-policy")),
                    ],
                    [
                        "hsts-implemented-max-age-at-least-six-months",
                        "x-content-type-options-nosniff",
                        "x-frame-options-implemented-via-csp",
                        "csp-implemented-with-no-unsafe-default-src-none",
                        "referrer-policy-private",
                    ],
                    "{preset:?}"
                );
            }
        }
    }

    #[test]
    fn single_headers_get_their_ids() {
        for (value, id) in [
            ("max-age=31536000", "hsts-implemented-max-age-at-least-six-months"),
            (
                "max-age=\"31536000\"; includeSubDomains; preload",
                "hsts-implemented-max-age-at-least-six-months",
            ),
            ("max-age=600", "hsts-implemented-max-age-less-than-six-months"),
            ("includeSubDomains", "hsts-header-invalid"),
            ("max-age=a", "hsts-header-invalid"),
        ] {
            assert_eq!(hsts(&[value], true), id, "{value}");
        }
        assert_eq!(nosniff(&["NoSniff"]), "x-content-type-options-nosniff");
        assert_eq!(nosniff(&["sniff"]), "x-content-type-options-header-invalid");
        assert_eq!(framing(&["ALLOW-FROM https://a"], &[]), "x-frame-options-header-invalid");
        assert_eq!(
            framing(&["SAMEORIGIN, SAMEORIGIN"], &[]),
            "x-frame-options-sameorigin-or-deny"
        );
        assert_eq!(referrer(&["unsafe-url, strict-origin"]), "referrer-policy-private");
    }
}
