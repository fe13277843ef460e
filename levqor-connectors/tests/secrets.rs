//! Canaries: unique secrets go through success and failure of every connector, and nothing shows one.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

#[path = "support/smtp.rs"]
mod smtp;
mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use levqor_connectors::email::Email;
use levqor_connectors::http::Http;
use levqor_connectors::webhook::Webhook;
use levqor_core::connector::Connector;
use levqor_core::layers::{StackOptions, stack};
use serde_json::{Value, json};
use smtp::Sink;
use support::{Server, answer, connected, cx, transport};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Takes down every field of every span and event, at every level, of every crate.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<String>>);

struct Pen<'a>(&'a mut String);

impl Visit for Pen<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Pen(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Pen(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Pen(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The `n`-th canary; the `/` and `+` look different in every encoding.
fn canary(n: usize) -> String {
    format!("cnry{n:02}/Zq+{}x", "7Kd".repeat(n % 3 + 1))
}

/// A webhook secret is Base64, so it is a canary as a whole.
fn signing(n: usize) -> String {
    format!("whsec_{}", STANDARD.encode(format!("{:>30}", canary(n))))
}

/// What must not be found: the secret and its usual disguises.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut all = vec![
        secret.to_owned(),
        percent,
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    all.push(secret.bytes().fold(String::new(), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    }));
    all.push(json!(secret).to_string().trim_matches('"').to_owned());
    all
}

#[tokio::test]
async fn no_secret_is_shown_by_success_or_failure() {
    let notes = Notes::default();
    let guard = tracing::subscriber::set_default(notes.clone());

    // A server that gives everything back that it was sent, as an error text or as an answer.
    let echo = Server::start(|_, seen| {
        let status = seen.uri.rsplit('/').next().unwrap().parse().unwrap();
        let all = format!("{:?} {}", seen.headers, seen.uri);
        let basic = seen.header("authorization").map(|a| STANDARD.encode(a)).unwrap_or_default();
        let body = json!({"error": {"message": format!("{all} {basic}")}});
        if status == 200 {
            return answer(200, &[], "fine");
        }
        answer(
            status,
            &[
                ("content-type", "application/json"),
                ("x-request-id", all.get(..100).unwrap_or("")),
            ],
            body.to_string(),
        )
    })
    .await;
    let options = StackOptions::new(std::sync::Arc::new(levqor_core::backend::memory::MemoryLimits::new()));
    let layered = |c: Arc<dyn Connector>| stack(c, &options);
    let (http, webhook, email) = (
        layered(Arc::new(Http::new())),
        layered(Arc::new(Webhook::new())),
        layered(Arc::new(Email::new())),
    );
    let plain = cx(transport(&["127.0.0.1".into()]));
    let base = echo.url("");
    let mut shown = String::new();
    let mut secrets = Vec::new();
    let mut failures = 0;
    let mut successes = 0;

    let mut cases: Vec<(&Arc<dyn Connector>, &str, Value, Value)> = Vec::new();
    let mut n = 0;
    let mut next = |secrets: &mut Vec<String>| {
        n += 1;
        secrets.push(canary(n));
        canary(n)
    };
    for status in [200, 400, 401, 404, 429, 500] {
        let with = json!({"url": status.to_string(), "method": "POST", "query": {}});
        let token = next(&mut secrets);
        cases.push((&http, "request", json!({"base_url": base, "token": token}), with.clone()));
        let (user, password) = (next(&mut secrets), next(&mut secrets));
        cases.push((
            &http,
            "request",
            json!({"base_url": base, "username": user, "password": password}),
            with.clone(),
        ));
        let key = next(&mut secrets);
        cases.push((
            &http,
            "request",
            json!({"base_url": base, "api_key": key, "header": "X-Key"}),
            with,
        ));
    }
    // Faults of settings and transport.
    let token = next(&mut secrets);
    cases.push((
        &http,
        "request",
        json!({"base_url": format!("http://u:{token}@x.example"), "token": token}),
        json!({"url": "x"}),
    ));
    let token = next(&mut secrets);
    cases.push((
        &http,
        "request",
        json!({"base_url": "http://127.0.0.1:1", "token": token}),
        json!({"url": "x"}),
    ));
    let token = next(&mut secrets);
    cases.push((
        &http,
        "request",
        json!({"base_url": base, "token": format!("{token}\r\n")}),
        json!({"url": "x"}),
    ));
    for (i, status) in [200, 400, 410, 500].into_iter().enumerate() {
        secrets.push(signing(50 + i));
        let in_path = next(&mut secrets);
        let path: String = url::form_urlencoded::byte_serialize(in_path.as_bytes()).collect();
        let url = format!("{base}/{path}/{status}");
        cases.push((
            &webhook,
            "send",
            json!({"secret": signing(50 + i), "url": url}),
            json!({"payload": {}}),
        ));
    }
    secrets.push(canary(70));
    cases.push((
        &webhook,
        "send",
        json!({"secret": canary(70), "url": base}),
        json!({"payload": {}}),
    ));

    let (accepts, refuses) = (
        Sink::start(&[]).await,
        Sink::start(&[("AUTH", "535 no cnry80/Zq+7Kd7Kd7Kdx for you")]).await,
    );
    secrets.push(canary(80));
    for sink in [&accepts, &refuses] {
        let settings = json!({
            "host": "127.0.0.1", "port": sink.address.port(), "tls": "none", "plaintext_login": true, "username": "mailer",
            "password": canary(80), "from": "a@example.com"
        });
        cases.push((
            &email,
            "send",
            settings,
            json!({"to": ["b@example.org"], "subject": "s", "text": "t"}),
        ));
    }

    for (connector, action, settings, input) in cases {
        let cx = connected(&plain, settings);
        let _ = write!(shown, "{cx:?}{:?}", cx.connection);
        match connector.call(&cx, action, &input).await {
            Ok(output) => {
                successes += 1;
                let _ = write!(shown, "{output:?}");
            }
            Err(e) => {
                failures += 1;
                let _ = writeln!(shown, "{e} {e:?} {} {} {:?}", e.to_json(), e.problem(), e.headers());
            }
        }
    }
    drop(guard);
    let _ = write!(shown, "{}{:?}", options.meter.prometheus(), options.breakers.snapshot());
    let trace = notes.0.lock().unwrap().clone();

    assert!(
        secrets.len() >= 20 && successes >= 5 && failures >= 20,
        "{} {successes} {failures}",
        secrets.len()
    );
    assert!(
        trace.contains("connector=http") && shown.contains("[redacted]"),
        "the test looks where something is"
    );
    for secret in &secrets {
        for form in forms(secret) {
            assert!(!shown.contains(&form), "{form} is shown in {shown}");
            assert!(!trace.contains(&form), "{form} is traced");
        }
    }
    // And the beginning that all of them share: no half of one is left over.
    assert!(!shown.contains("cnry") && !trace.contains("cnry"), "{shown}");
}
