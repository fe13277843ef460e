//! Contract cases of every vendor: what is sent, and what is made of the answer.
//!
//! With `LEVQOR_BLESS=1` what happened becomes what is expected; look at the difference before you commit it. With
//! `LEVQOR_CONTRACTS_URL` every case that works is sent to a server there too, which judges requests by the vendors'
//! own descriptions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use levqor_core::connector::{Connector, Cx, SideEffect};
use levqor_core::error::Effect;
use levqor_core::transport::{Reach, Request, Transport as _};
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::contract::{Cases, all, connector, cx, described, described_error, response};
use support::{Raw, Server, Silent, answer};

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
    let result = connector(&cases.connector)
        .call(&cx, case["action"].as_str().unwrap(), &input)
        .await;
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
        missing.extend(
            m.actions
                .iter()
                .filter(|a| !works.contains(&a.name))
                .map(|a| format!("{}.{}", m.name, a.name)),
        );
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
        fault(
            "429",
            json!({"status": 429, "headers": {"retry-after": "7"}}),
            "rate_limited",
            "connector.rate_limited",
            false,
            "none",
            Some(7_000),
        ),
        fault(
            "500",
            json!({"status": 500}),
            "unavailable",
            "connector.unavailable",
            true,
            "unknown",
            None,
        ),
        fault(
            "503",
            json!({"status": 503, "text": "<html>busy</html>"}),
            "unavailable",
            "connector.unavailable",
            true,
            "unknown",
            None,
        ),
        fault(
            "504",
            json!({"status": 504}),
            "timeout",
            "connector.upstream_timeout",
            true,
            "unknown",
            None,
        ),
        fault(
            "400",
            json!({"status": 400, "json": {"message": "no"}}),
            "invalid",
            "connector.rejected",
            false,
            "none",
            None,
        ),
        fault("401", json!({"status": 401}), "denied", "auth.invalid", false, "none", None),
        fault(
            "403",
            json!({"status": 403}),
            "denied",
            "auth.permission",
            false,
            "none",
            None,
        ),
        fault(
            "404",
            json!({"status": 404}),
            "not_found",
            "connector.not_found",
            false,
            "none",
            None,
        ),
        fault(
            "410",
            json!({"status": 410}),
            "not_found",
            "connector.not_found",
            false,
            "none",
            None,
        ),
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
            assert_eq!(
                (server.calls(), e.details()["attempts"].as_u64()),
                (attempts, Some(attempts as u64)),
                "{title}"
            );
            if let Some(wait) = fault.wait {
                assert_eq!(e.retry_after().map(|w| w.0), Some(wait), "{title}");
            }
            count += 1;
        }
    }
    println!("faults: {count} of our own");
    assert!(count >= 800, "only {count}");
}

/// How a call is to end whose answer gets lost on the way, or never comes.
fn lost(connector: &Arc<dyn Connector>, action: &str, cx: &Cx, input: &Value, first: &str) -> (Effect, u64) {
    let about = connector.manifest().action(action).unwrap();
    if about.side_effect == SideEffect::Read || matches!(first, "GET" | "HEAD") {
        (Effect::None, 3)
    } else {
        // What was only begun has done nothing yet.
        let begun = matches!((connector.manifest().name.as_str(), action), ("slack", "upload_file"));
        let again = begun || connector.repeatable(cx, action, input);
        (if begun { Effect::None } else { Effect::Unknown }, if again { 3 } else { 1 })
    }
}

#[tokio::test]
async fn answers_that_break_off_never_come_or_make_no_sense() {
    let (mut cut, mut nonsense) = (0, 0);
    for (cases, case) in working() {
        let action = case["action"].as_str().unwrap();
        let first = case["requests"][0]["method"].as_str().unwrap();
        let title = format!("{}.{action}", cases.connector);

        let raw = Raw::start("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"a\"").await;
        let base = format!("http://{}", raw.address);
        let (c, cx) = (connector(&cases.connector), cx(&cases.connection, &base));
        let input = support::contract::at(&case["input"], &base);
        // There is no body to be cut off behind HEAD.
        if first != "HEAD" {
            let e = c.call(&cx, action, &input).await.unwrap_err();
            let (effect, attempts) = lost(&c, action, &cx, &input, first);
            assert_eq!(
                (e.kind().name(), e.code(), e.effect()),
                ("unavailable", "http.body_cut", effect),
                "{title}: {e:?}"
            );
            assert_eq!(e.details()["attempts"].as_u64(), Some(attempts), "{title}: {e:?}");
            cut += 1;
        }

        let server = Server::start(|_, _| answer(200, &[("content-type", "application/json")], "{\"a\": tr")).await;
        let (c, cx) = (
            connector(&cases.connector),
            support::contract::cx(&cases.connection, &server.url("")),
        );
        let input = support::contract::at(&case["input"], &server.url(""));
        let output = &c.manifest().action(action).unwrap().output["properties"];
        let takes_anything = output.get("status").is_some_and(|s| s["type"] == "integer") || output.get("base64").is_some();
        match c.call(&cx, action, &input).await {
            Ok(_) => assert!(takes_anything, "{title} takes nonsense for an answer"),
            Err(e) => {
                assert_eq!((e.kind().name(), server.calls()), ("corrupt", 1), "{title}: {e:?}");
                assert!(
                    ["connector.invalid_answer", "connector.unexpected_answer"].contains(&e.code()),
                    "{title}: {e:?}"
                );
                nonsense += 1;
            }
        }
    }
    // All at once, since every one of them takes its time.
    let waiting = working().into_iter().map(|(cases, case)| async move {
        let action = case["action"].as_str().unwrap();
        let first = case["requests"][0]["method"].as_str().unwrap();
        let hole = Silent::start().await;
        let base = format!("http://{}", hole.address);
        let (c, mut cx) = (connector(&cases.connector), cx(&cases.connection, &base));
        cx.timeout = Millis::secs(2);
        let input = support::contract::at(&case["input"], &base);
        let e = c.call(&cx, action, &input).await.unwrap_err();
        let (effect, attempts) = lost(&c, action, &cx, &input, first);
        let title = format!("{}.{action}", cases.connector);
        assert_eq!((e.kind().name(), e.effect()), ("timeout", effect), "{title}: {e:?}");
        assert_eq!(e.details()["attempts"].as_u64(), Some(attempts), "{title}: {e:?}");
    });
    let silent = futures_util::future::join_all(waiting).await.len();
    println!("broken answers: {cut} cut, {silent} never came, {nonsense} made no sense");
    assert!(cut >= 90 && silent >= 90 && nonsense >= 80, "{cut} {silent} {nonsense}");
}

/// Where a stand-in that judges by the vendors' own descriptions has each connector that it knows.
async fn judges() -> Option<(String, Vec<(String, String)>)> {
    let url = std::env::var("LEVQOR_CONTRACTS_URL").ok()?;
    let url = url.trim_end_matches('/').to_owned();
    let served = admin(&url, "services", None).await;
    let served: BTreeSet<&str> = served.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut all = Vec::new();
    for c in levqor_connectors::all() {
        let name = c.manifest().name.clone();
        let service = match name.as_str() {
            "google_sheets" => "sheets",
            "google_drive" => "drive",
            "google_calendar" => "calendar",
            "onedrive" | "outlook" | "teams" => "msgraph",
            same => same,
        };
        if served.contains(service) && !OTHERS.contains(&name.as_str()) && name != "s3" {
            all.push((name.clone(), service.to_owned()));
        }
    }
    Some((url, all))
}

/// The stand-in is one; whoever asks it is alone with it.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn admin(url: &str, what: &str, body: Option<&Value>) -> Value {
    let mut request = Request::new(if body.is_some() { "POST" } else { "GET" }, format!("{url}/__admin/{what}"));
    request.reach = Reach::Any;
    request.max_response = 256 << 20;
    request.body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default().into();
    let answer = support::contract::network().send(request).await.unwrap();
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// A place to call the judge from.
fn before_the_judge(url: &str, service: &str, connection: &Value) -> Cx {
    let mut connection = connection.clone();
    let settings = connection.as_object_mut().unwrap();
    for (name, service) in [("verify_base_url", "twilio_verify"), ("lookups_base_url", "twilio_lookups")] {
        if let Some(setting) = settings.get_mut(name) {
            *setting = format!("{url}/{service}").into();
        }
    }
    if let Some(dsn) = settings.get_mut("dsn") {
        let host = url.split_once("://").unwrap().1;
        *dsn = dsn
            .as_str()
            .unwrap()
            .replace("{host}", &format!("{host}/sentry_ingest"))
            .into();
    }
    cx(&connection, &format!("{url}/{service}"))
}

/// Without `LEVQOR_CONTRACTS_URL` nobody judges, and the cases above are all there is; this test says which it was.
#[tokio::test]
async fn requests_stand_before_the_vendors_own_descriptions() {
    let Some((url, judges)) = judges().await else {
        println!("vendors' descriptions: not asked, LEVQOR_CONTRACTS_URL is not set");
        return;
    };
    let _alone = ALONE.lock().await;
    let (mut requests, mut decoded, mut actions, mut said) = (0, 0, 0, Vec::new());
    for (cases, case) in working() {
        let Some((_, service)) = judges.iter().find(|(name, _)| *name == cases.connector) else {
            continue;
        };
        actions += 1;
        let action = case["action"].as_str().unwrap();
        let cx = before_the_judge(&url, service, &cases.connection);
        let elsewhere = Server::start(|_, _| answer(200, &[], "")).await;
        for scripted in [true, false] {
            admin(&url, "reset", Some(&json!({}))).await;
            if scripted {
                let answers = case["answers"].as_array().unwrap().iter().map(|a| {
                    let a = support::contract::at(a, &elsewhere.url(""));
                    let body = if a["json"].is_null() { a["text"].clone() } else { a["json"].clone() };
                    json!({"status": a["status"].as_u64().unwrap_or(200), "headers": a["headers"].as_object().cloned().unwrap_or_default(), "body": body})
                });
                let answers: Vec<Value> = answers.filter(|a| a["body"] != "OK - 8").collect();
                for service in [service.as_str(), "twilio_verify", "twilio_lookups", "sentry_ingest"] {
                    let script = json!({"service": service, "match": "", "responses": answers});
                    admin(&url, "script", Some(&script)).await;
                }
            } else if action == "upload_file" && cases.connector == "slack" {
                continue;
            }
            let input = support::contract::at(&case["input"], &elsewhere.url(""));
            let result = connector(&cases.connector).call(&cx, action, &input).await;
            let seen = admin(&url, "requests", None).await;
            for request in seen.as_array().unwrap() {
                requests += 1;
                if request["errors"] != json!([]) {
                    said.push(format!(
                        "{}.{action}: {} {}: {}",
                        cases.connector, request["method"], request["path"], request["errors"]
                    ));
                }
            }
            match (result, scripted) {
                (Ok(output), true) => assert_eq!(output.attempts, 1, "{action}"),
                (Ok(_), false) => decoded += 1,
                (Err(e), true) => said.push(format!("{}.{action}: {e}", cases.connector)),
                (Err(e), false) => println!("the stand-in's sample for {}.{action} is not read: {e}", cases.connector),
            }
        }
    }
    println!(
        "vendors' descriptions: {actions} actions, {requests} requests judged, {} objections; {decoded} samples read",
        said.len()
    );
    assert!(said.is_empty(), "{}", said.join("\n"));
    assert!(actions >= 85, "only {actions}");
}

/// What the stand-in does to the first requests, and how the call is to end.
#[tokio::test]
async fn faults_that_a_stand_in_injects_end_as_they_should() {
    let Some((url, judges)) = judges().await else {
        println!("injected faults: none, LEVQOR_CONTRACTS_URL is not set");
        return;
    };
    let _alone = ALONE.lock().await;
    let many = |mut response: Value| {
        response["times"] = json!(9);
        response
    };
    let faults = [
        (
            "429",
            many(json!({"status": 429, "headers": {"Retry-After": "1"}, "body": {}})),
            "rate_limited",
        ),
        ("500", many(json!({"status": 500, "body": {}})), "unavailable"),
        ("slow", many(json!({"delay_ms": 900})), "timeout"),
        ("lost", many(json!({"close": true, "effect": true})), "unavailable"),
        (
            "cut",
            many(json!({"truncate": 5, "body": {"a": "long enough"}})),
            "unavailable",
        ),
        ("nonsense", many(json!({"status": 200, "body": "{\"a\": tr"})), "corrupt"),
        (
            "expired",
            many(json!({"status": 401, "body": {"error": "token_expired"}})),
            "denied",
        ),
    ];
    let (mut count, mut right, mut wrong) = (BTreeMap::<&str, u32>::new(), 0, Vec::new());
    for (cases, case) in working() {
        let Some((_, service)) = judges.iter().find(|(name, _)| *name == cases.connector) else {
            continue;
        };
        let action = case["action"].as_str().unwrap();
        let first = case["requests"][0]["method"].as_str().unwrap();
        for (about, response, kind) in &faults {
            admin(&url, "reset", Some(&json!({}))).await;
            for service in [service.as_str(), "twilio_verify", "twilio_lookups", "sentry_ingest"] {
                admin(
                    &url,
                    "script",
                    Some(&json!({"service": service, "match": "", "responses": [response]})),
                )
                .await;
            }
            let mut cx = before_the_judge(&url, service, &cases.connection);
            if *about == "slow" {
                cx.timeout = Millis(250);
            }
            let c = connector(&cases.connector);
            let input = support::contract::at(&case["input"], &url);
            let result = c.call(&cx, action, &input).await;
            let made = admin(&url, "requests", None).await.as_array().unwrap().len() as u64;
            let (_, lost) = lost(&c, action, &cx, &input, first);
            let attempts = match *about {
                "429" | "nonsense" | "expired" => 1,
                _ => lost,
            };
            *count.entry(about).or_default() += 1;
            match result {
                Err(e) if e.kind().name() == *kind && e.details()["attempts"].as_u64() == Some(attempts) && made == attempts => {
                    let waits = *about != "429" || e.retry_after() == Some(Millis::secs(1));
                    let code = *about != "expired" || e.code().starts_with("auth.");
                    if waits && code {
                        right += 1;
                    } else {
                        wrong.push(format!("{}.{action} {about}: {e:?}", cases.connector));
                    }
                }
                // What is done by the status alone needs no body.
                Ok(_) if *about == "nonsense" => right += 1,
                other => wrong.push(format!("{}.{action} {about}: {made} requests, {other:?}", cases.connector)),
            }
        }
    }
    println!("injected faults: {count:?}, {right} ended as they should");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
