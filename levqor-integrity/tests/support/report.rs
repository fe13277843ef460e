//! Results that are made up, for reports.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;

use levqor_core::types::Millis;
use levqor_integrity::evidence::{Bundle, Context, Evidence, Link, PackInfo};
use levqor_integrity::{About, Attempt, Capture, CheckResult, Finding, MaskOf, Outcome, RunResult, Waiver, standard};
use serde_json::json;

pub const START: Millis = Millis(1_795_255_591_000);

/// A check that ended with this outcome.
pub fn check(id: &str, about: About, outcome: Outcome, at: Millis, took: i64) -> CheckResult {
    let ended = Millis(at.0 + took);
    let status = outcome.status();
    CheckResult {
        id: id.to_owned(),
        about,
        status,
        summary: outcome.findings.first().map_or_else(
            || outcome.skipped.clone().unwrap_or_else(|| outcome.summary.clone()),
            |f| f.message.clone(),
        ),
        findings: outcome.findings.clone(),
        facts: outcome.facts.clone(),
        blocked_by: None,
        waiver: None,
        attempts: vec![Attempt {
            number: 1,
            status,
            started: at,
            ended,
            outcome,
        }],
        started: at,
        ended,
        captures: vec![Capture {
            name: "http-1".into(),
            text: format!(
                "> GET https://api.example.com/{id}\n> accept: */*\n> authorization: [redacted]\n< 200\n< content-type: application/json\n\
                 < date: Sat, 21 Nov 2026 10:06:31 GMT\n< strict-transport-security: max-age=63072000; includeSubDomains\n<\n\
                 {{\"status\":\"ok\",\"version\":\"2026.11.3\",\"uptime_s\":1209600}}\n"
            ),
        }],
    }
}

/// The first `n` standard checks; every third with something to say if `troubled`.
pub fn checks(n: usize, troubled: bool, at: Millis) -> Vec<CheckResult> {
    let mut list: Vec<CheckResult> = Vec::new();
    for i in 0..n {
        let standard = &standard()[i % standard().len()];
        let id = if i < standard_count() {
            standard.id.to_owned()
        } else {
            format!("{}.{}", standard.id, i / standard_count())
        };
        let took = 12 + i64::try_from(i * 37 % 160).unwrap();
        let mut outcome = Outcome::new(format!("200 in 0.{took:03} s"));
        outcome.fact("status", 200);
        if standard.id.starts_with("http.") {
            outcome.fact("latency_ms", took);
            outcome.fact("warn_ms", 150);
        }
        match standard.id {
            "tls.certificate" => outcome.fact(
                "example.com:443",
                json!({"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "expires": "2027-02-11",
                    "issuer": "C=US, O=Let's Encrypt, CN=E7", "sent": 2}),
            ),
            "db.read_write" => outcome.fact("version", "PostgreSQL 15.14 on x86_64-pc-linux-gnu"),
            "deploy.reachability" => outcome.fact("api.example.com:443", json!(["203.0.113.7:443", "[2001:db8::7]:443"])),
            _ => {}
        }
        if troubled {
            match i {
                1 => outcome.add(
                    Finding::warn("http.slow", "the answer took 0.812 s")
                        .expected("within 0.150 s")
                        .actual("0.812 s")
                        .at("https://api.example.com/public/metrics")
                        .hint("look at load, database and the distance between this machine and the target"),
                ),
                9 => {
                    outcome.add(
                        Finding::fail("headers.hsts_missing", "Strict-Transport-Security is not sent")
                            .expected("max-age of at least 15768000")
                            .actual("no such header")
                            .at("https://www.example.com/")
                            .hint("send Strict-Transport-Security: max-age=63072000; includeSubDomains"),
                    );
                    outcome.add(
                        Finding::fail("headers.csp_unsafe_inline", "the policy allows inline scripts")
                            .expected("script-src without 'unsafe-inline'")
                            .actual("script-src 'self' 'unsafe-inline' https://cdn.example.com")
                            .at("https://www.example.com/")
                            .hint("take 'unsafe-inline' out; use nonces or hashes"),
                    );
                }
                7 => outcome.add(
                    Finding::error(
                        "net.timeout",
                        "api.stripe.com:443 does not answer: a firewall, or a host that is down",
                    )
                    .expected("a connection")
                    .actual("timed out")
                    .hint("is the service running, and does the firewall let this port pass?"),
                ),
                12 | 15 => outcome = Outcome::skip("SENTRY_DSN is not set"),
                _ => {}
            }
        }
        let mut result = check(&id, standard.about(), outcome, Millis(at.0 + 3), took);
        if troubled && i == 18 {
            result.status = levqor_integrity::Status::Blocked;
            result.blocked_by = Some("db.read_write".into());
            result.attempts.clear();
        }
        if troubled && i == 13 {
            let finding = Finding::fail("env.short", "STRIPE_WEBHOOK_SECRET is shorter than 32 characters").hint("roll it");
            result.findings = vec![finding];
            result.status = levqor_integrity::Status::Waived;
            result.waiver = Some(Waiver {
                check: id.clone(),
                cause: None,
                reason: "the key is rolled with release 12".into(),
                owner: "ann@example.com".into(),
                expires: "2026-12-31".into(),
            });
        }
        list.push(result);
    }
    list
}

fn standard_count() -> usize {
    standard().len()
}

pub fn context(system: &str, previous: Option<Link>) -> Context {
    Context {
        system: system.into(),
        environment: "production".into(),
        pack: PackInfo {
            name: "default".into(),
            sha256: "3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea".into(),
        },
        targets: BTreeMap::from([
            ("api".into(), "https://api.example.com".into()),
            ("frontend".into(), "https://www.example.com".into()),
        ]),
        excluded: standard()
            .iter()
            .filter(|s| s.group == "audit")
            .map(|s| (s.id.to_owned(), "the pack does not include the group audit".to_owned()))
            .collect(),
        previous,
        ..Context::default()
    }
}

pub fn made(system: &str, checks: Vec<CheckResult>, at: Millis, previous: Option<Link>) -> (Bundle, Evidence) {
    let result = RunResult {
        id: format!("run-{}-0123456789ab", at.0),
        started: at,
        ended: Millis(at.0 + 188),
        checks,
        mask: MaskOf::default(),
    };
    Bundle::of(&result, &context(system, previous)).unwrap()
}
