//! Contract cases of every vendor: what is sent, and what is made of the answer.
//!
//! With `LEVQOR_BLESS=1` what happened becomes what is expected; look at the difference before you commit it. With
//! `LEVQOR_CONTRACTS_URL` every case that works is sent to a server there too, which judges requests by the vendors'
//! own descriptions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use levqor_core::connector::SideEffect;
use serde_json::{Value, json};
use support::contract::{Cases, all, connector, cx, described, described_error, response};
use support::{Server, answer};

/// Connectors that have tests of their own, because they speak no HTTP or any.
const OTHERS: [&str; 5] = ["email", "files", "http", "sql", "webhook"];

/// Runs one case against a server that answers as it says, and gives what happened.
async fn happened(cases: &Cases, case: &Value) -> Value {
    let answers = case["answers"].as_array().cloned().unwrap_or_default();
    let base = Arc::new(std::sync::OnceLock::<String>::new());
    let own = Arc::clone(&base);
    let server = Server::start(move |n, _| match answers.get(n).or(answers.last()) {
        Some(described) => response(described, own.get().unwrap()),
        None => answer(599, &[], "no request was expected"),
    })
    .await;
    base.set(server.url("")).unwrap();
    let cx = cx(&cases.connection, &server.url(""));
    let input = support::contract::at(&case["input"], &server.url(""));
    let result = connector(&cases.connector).call(&cx, case["action"].as_str().unwrap(), &input).await;
    let mut out = json!({});
    match result {
        Ok(output) => {
            let mut text = output.data.to_string().replace(&server.url(""), "{base}");
            // A signature covers the server's port, which is another one every time.
            if let Some((before, signature)) = text.split_once("X-Amz-Signature=") {
                text = format!("{before}X-Amz-Signature={}", &signature[64..]);
            }
            out["output"] = serde_json::from_str(&text).unwrap();
            out["attempts"] = output.attempts.into();
        }
        Err(e) => out["error"] = described_error(&e),
    }
    out["requests"] = server.all().iter().map(|seen| described(seen, &server.url(""))).collect();
    out
}

#[tokio::test]
async fn every_case_happens_as_it_is_written() {
    let bless = std::env::var_os("LEVQOR_BLESS").is_some();
    let mut count = 0;
    for cases in all() {
        let mut blessed = Vec::new();
        for case in &cases.cases {
            let happened = happened(&cases, case).await;
            let mut now = case.clone();
            for part in ["output", "error", "attempts", "requests"] {
                match happened.get(part) {
                    Some(value) => now[part] = value.clone(),
                    None => drop(now.as_object_mut().unwrap().remove(part)),
                }
            }
            count += 1;
            if !bless {
                let title = format!("{}.{} ({})", cases.connector, case["action"], case["about"]);
                let pretty = |v: &Value| serde_json::to_string_pretty(v).unwrap();
                assert!(now == *case, "{title}\nexpected {}\nhappened {}", pretty(case), pretty(&now));
            }
            blessed.push(now);
        }
        if bless {
            let whole = json!({"connector": cases.connector, "connection": cases.connection, "cases": blessed});
            std::fs::write(&cases.file, serde_json::to_string_pretty(&whole).unwrap() + "\n").unwrap();
        }
    }
    println!("contracts: {count} cases of our own");
    assert!(count >= 100, "only {count} cases");
}

#[test]
fn every_action_has_a_case_that_works() {
    let mut missing = Vec::new();
    for c in levqor_connectors::all() {
        let m = c.manifest();
        if OTHERS.contains(&m.name.as_str()) {
            continue;
        }
        let cases = all().into_iter().find(|cases| cases.connector == m.name);
        let works: BTreeSet<String> = cases
            .iter()
            .flat_map(|c| &c.cases)
            .filter(|c| c.get("output").is_some())
            .map(|c| c["action"].as_str().unwrap().to_owned())
            .collect();
        missing.extend(m.actions.iter().filter(|a| !works.contains(&a.name)).map(|a| format!("{}.{}", m.name, a.name)));
    }
    assert!(missing.is_empty(), "without a case: {missing:?}");
}

/// The first case of each action that works with a single answer or more.
fn working() -> Vec<(Cases, Value)> {
    let mut out = Vec::new();
    for cases in all() {
        let mut seen = BTreeSet::new();
        for case in &cases.cases {
            let action = case["action"].as_str().unwrap();
            let sends = case["requests"].as_array().is_some_and(|r| !r.is_empty());
            if case.get("output").is_some() && sends && case["attempts"] == 1 && seen.insert(action.to_owned()) {
                let one = Cases {
                    connector: cases.connector.clone(),
                    connection: cases.connection.clone(),
                    cases: vec![],
                    file: cases.file.clone(),
                };
                out.push((one, case.clone()));
            }
        }
    }
    out
}

/// What is expected of a failure: kind, codes that may stand for it, whether it is repeated for this action.
struct Fault {
    about: &'static str,
    answer: Value,
    kind: &'static str,
    code: &'static str,
    retries: bool,
    effect: &'static str,
    wait: Option<i64>,
}

#[tokio::test]
async fn every_action_fails_as_it_should() {
    let fault = |about, answer, kind, code, retries, effect, wait| Fault {
        about,
        answer,
        kind,
        code,
        retries,
        effect,
        wait,
    };
    let faults = [
        fault("429", json!({"status": 429, "headers": {"retry-after": "7"}}), "rate_limited", "connector.rate_limited", false, "none", Some(7_000)),
        fault("500", json!({"status": 500}), "unavailable", "connector.unavailable", true, "unknown", None),
        fault("503", json!({"status": 503, "text": "<html>busy</html>"}), "unavailable", "connector.unavailable", true, "unknown", None),
        fault("504", json!({"status": 504}), "timeout", "connector.upstream_timeout", true, "unknown", None),
        fault("400", json!({"status": 400, "json": {"message": "no"}}), "invalid", "connector.rejected", false, "none", None),
        fault("401", json!({"status": 401}), "denied", "auth.invalid", false, "none", None),
        fault("403", json!({"status": 403}), "denied", "auth.permission", false, "none", None),
        fault("404", json!({"status": 404}), "not_found", "connector.not_found", false, "none", None),
        fault("410", json!({"status": 410}), "not_found", "connector.not_found", false, "none", None),
    ];
    let mut count = 0;
    for (cases, case) in working() {
        let action = case["action"].as_str().unwrap();
        for fault in &faults {
            // With budgets and circuits of its own.
            let c = connector(&cases.connector);
            let described = fault.answer.clone();
            let server = Server::start(move |_, _| response(&described, "")).await;
            let cx = cx(&cases.connection, &server.url(""));
            let input = support::contract::at(&case["input"], &server.url(""));
            let e = c.call(&cx, action, &input).await.unwrap_err();
            let title = format!("{}.{action} answered with {}: {e:?}", cases.connector, fault.about);
            assert_eq!((e.kind().name(), e.code()), (fault.kind, fault.code), "{title}");
            let first_reads = server.all()[0].method == "GET" || server.all()[0].method == "HEAD";
            let reads = first_reads || c.manifest().action(action).unwrap().side_effect == SideEffect::Read;
            let effect = if reads { "none" } else { fault.effect };
            assert_eq!(json!(e.effect()), json!(effect), "{title}");
            let again = fault.retries && (effect == "none" || c.repeatable(&cx, action, &input));
            let attempts = if again { 3 } else { 1 };
            assert_eq!((server.calls(), e.details()["attempts"].as_u64()), (attempts, Some(attempts as u64)), "{title}");
            if let Some(wait) = fault.wait {
                assert_eq!(e.retry_after().map(|w| w.0), Some(wait), "{title}");
            }
            count += 1;
        }
    }
    println!("faults: {count} of our own");
    assert!(count >= 800, "only {count}");
}
