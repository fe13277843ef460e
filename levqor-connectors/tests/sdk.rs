//! What the vendors' official SDKs send for a call, and what is sent here for the same one.
//!
//! `tests/sdk/record.py` records `tests/sdk/fixture.json` with the SDKs. Stripe, Notion and OpenAI get the same request
//! to the letter. Slack and Telegram read a form and JSON alike, and their SDKs write forms where we write JSON: there
//! the fields are compared, and that Slack's methods which only look are asked with GET is said here by name.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::contract::{connector, cx};
use support::{Seen, Server, answer};

/// Slack's methods that its SDK posts to and we ask with GET; Slack documents both.
const ASKED: [&str; 3] = ["slack.list_channels", "slack.list_messages", "slack.find_user"];

/// The fields of a request by name, as texts, wherever they stand: `a[b]`, lists by number.
fn fields(query: &str, kind: &str, body: &[u8]) -> BTreeMap<String, String> {
    fn flat(name: &str, value: &Value, out: &mut BTreeMap<String, String>) {
        let inside = |key: &str| {
            if name.is_empty() {
                key.to_owned()
            } else {
                format!("{name}[{key}]")
            }
        };
        match value {
            Value::Object(o) => o.iter().for_each(|(k, v)| flat(&inside(k), v, out)),
            Value::Array(a) => a.iter().enumerate().for_each(|(i, v)| flat(&inside(&i.to_string()), v, out)),
            Value::String(s) => drop(out.insert(name.to_owned(), s.clone())),
            other => drop(out.insert(name.to_owned(), other.to_string())),
        }
    }
    let mut out: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    match kind {
        "application/json" => flat("", &serde_json::from_slice(body).unwrap(), &mut out),
        "application/x-www-form-urlencoded" => out.extend(url::form_urlencoded::parse(body).into_owned()),
        _ => assert!(body.is_empty(), "{kind}"),
    }
    out
}

fn essence(kind: Option<&str>) -> String {
    kind.unwrap_or_default().split(';').next().unwrap().to_owned()
}

fn theirs(request: &Value) -> (String, BTreeMap<String, String>) {
    let pairs = |list: &Value| -> String {
        let pairs = list.as_array().into_iter().flatten();
        let pairs = pairs.map(|p| (p[0].as_str().unwrap().to_owned(), p[1].as_str().unwrap().to_owned()));
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    };
    let kind = essence(request["headers"]["content-type"].as_str());
    let body = match (&request["json"], &request["form"]) {
        (Value::Null, Value::Null) => String::new(),
        (Value::Null, form) => pairs(form),
        (json, _) => json.to_string(),
    };
    (kind.clone(), fields(&pairs(&request["query"]), &kind, body.as_bytes()))
}

fn ours(seen: &Seen) -> (String, String, BTreeMap<String, String>) {
    let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
    let kind = essence(seen.header("content-type"));
    (path.to_owned(), kind.clone(), fields(query, &kind, &seen.body))
}

#[tokio::test]
async fn what_is_sent_is_what_the_official_sdks_send() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/fixture.json")).unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    let (mut equal, mut by_field) = (0, 0);
    for case in fixture["cases"].as_array().unwrap() {
        let full = case["action"].as_str().unwrap();
        let (vendor, action) = full.split_once('.').unwrap();
        let request = &case["request"];
        let server = Server::start(|_, _| answer(200, &[("content-type", "application/json")], "{}")).await;
        let mut connection = case["connection"].clone();
        if let Some(version) = request["headers"].get("stripe-version") {
            connection["version"] = version.clone();
        }
        if vendor == "openai" {
            connection["base_url"] = server.url("/v1").into();
        }
        // The answer is no real one; the request is what counts.
        let _ = connector(vendor)
            .call(&cx(&connection, &server.url("")), action, &case["input"])
            .await;
        let seen = server
            .all()
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{full} sent nothing"));
        let ((path, kind, sent), (their_kind, wanted)) = (ours(&seen), theirs(request));
        assert_eq!(path, request["path"].as_str().unwrap(), "{full}");
        let truth = |v: &str| {
            if v == "1" || v == "true" {
                "true".to_owned()
            } else {
                v.to_owned()
            }
        };
        let even = |all: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            all.iter().map(|(n, v)| (n.clone(), truth(v))).collect()
        };
        assert_eq!(even(&sent), even(&wanted), "{full}");
        for name in ["authorization", "notion-version", "idempotency-key", "stripe-version"] {
            let wanted = request["headers"].get(name).and_then(Value::as_str);
            assert_eq!(seen.header(name), wanted, "{full}: {name}");
        }
        if ASKED.contains(&full) {
            assert_eq!((seen.method.as_str(), &request["method"]), ("GET", &json!("POST")), "{full}");
            by_field += 1;
            continue;
        }
        assert_eq!(seen.method, request["method"].as_str().unwrap(), "{full}");
        let to_the_letter = kind == their_kind && sent == wanted;
        if ["slack", "telegram"].contains(&vendor) && !to_the_letter {
            by_field += 1;
        } else {
            assert_eq!((kind, sent), (their_kind, wanted), "{full}");
            equal += 1;
        }
    }
    println!("{equal} requests equal to the SDKs', {by_field} with equal fields in another of the vendor's forms");
    assert!(equal >= 24 && equal + by_field >= 35, "{equal} {by_field}");
}
