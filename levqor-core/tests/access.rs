//! Golden vectors of keys, webhooks, security headers and errors.

#![allow(clippy::unwrap_used)]

use levqor_core::access::headers::{self, Nonce};
use levqor_core::access::key::{covers, parse};
use levqor_core::access::webhook::Verifier;
use levqor_core::error::{Error, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    let list = value[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name}");
    list
}

fn told(e: &Error) -> Value {
    json!({"code": e.code(), "status": e.status(), "class": e.class()})
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn keys_are_read_alike_everywhere() {
    let all = vectors("keys");
    for case in list(&all, "texts") {
        let text = parse(case["text"].as_str().unwrap(), case["prefix"].as_str().unwrap()).unwrap();
        assert_eq!(json!(text.id()), case["id"]);
        assert_eq!(text.digest().encode(), case["hash"].as_str().unwrap());
    }
    for case in list(&all, "refused") {
        let e = parse(case["text"].as_str().unwrap(), case["prefix"].as_str().unwrap()).unwrap_err();
        assert_eq!(told(&e), case["error"], "{case}");
    }
    for case in list(&all, "scopes") {
        let given: Vec<String> = serde_json::from_value(case["given"].clone()).unwrap();
        let asked: Vec<String> = serde_json::from_value(case["asked"].clone()).unwrap();
        let passes = asked.iter().all(|a| given.iter().any(|g| covers(g, a)));
        assert_eq!(json!(passes), case["passes"], "{case}");
    }
}

#[test]
fn webhooks_are_verified_alike_everywhere() {
    let all = vectors("signatures");
    let verifier = |case: &Value| Verifier::configure(case["webhook"].as_str().unwrap(), &case["config"]);
    for case in list(&all, "verify") {
        let now = Millis(case["now_ms"].as_i64().unwrap());
        let body = case["body"].as_str().unwrap();
        let outcome = verifier(case).unwrap().verify(&pairs(&case["headers"]), body.as_bytes(), now);
        let outcome = match outcome {
            Ok(event) => {
                let mut told = json!({"id": event.id, "type": event.kind, "created": event.created});
                if case["expect"].get("data").is_some() {
                    told["data"] = event.data;
                }
                told
            }
            Err(e) => json!({"error": told(&e)}),
        };
        assert_eq!(outcome, case["expect"], "{}", case["name"]);
    }
    for case in list(&all, "sign") {
        let at = Millis(case["at_ms"].as_i64().unwrap());
        let signed = verifier(case)
            .unwrap()
            .sign(case["id"].as_str().unwrap(), at, case["body"].as_str().unwrap().as_bytes());
        assert_eq!(signed.unwrap(), pairs(&case["headers"]), "{case}");
    }
    for case in list(&all, "refused") {
        let e = verifier(case).unwrap_err();
        assert_eq!(json!(e.code()), case["error"], "{case}");
        for secret in ["c2hvcnQ", "%%%"] {
            assert!(!format!("{e:?}{}", e.to_json()).contains(secret), "{case}");
        }
    }
}

#[test]
fn what_is_signed_is_genuine_whatever_the_scheme() {
    let now = Millis::secs(1_700_000_000);
    let (one, other) = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    );
    for name in ["stripe", "slack", "telegram", "github", "standard"] {
        let verifier = Verifier::configure(name, &json!(one)).unwrap();
        let headers = verifier.sign("m1", now, b"{\"a\":1}").unwrap();
        verifier.verify(&headers, b"{\"a\":1}", now).unwrap();
        let stranger = Verifier::configure(name, &json!(other)).unwrap();
        assert_eq!(
            stranger.verify(&headers, b"{\"a\":1}", now).unwrap_err().code(),
            "webhook.signature_invalid",
            "{name}"
        );
        assert!(!format!("{verifier:?}").contains("MfKQ"));
    }
}

#[test]
fn security_headers_are_the_same_everywhere() {
    let all = vectors("headers");
    for case in list(&all, "cases") {
        let nonce = case["nonce"].as_str().map(|n| Nonce::parse(n).unwrap());
        let fields = headers::headers(case["preset"].as_str().unwrap().parse().unwrap(), nonce.as_ref());
        assert_eq!(fields, pairs(&case["headers"]), "{}", case["preset"]);
    }
    for text in list(&all, "refused") {
        assert!(Nonce::parse(text.as_str().unwrap()).is_err(), "{text}");
    }
    let unknown: Result<headers::Preset> = "lax".parse();
    assert_eq!(unknown.unwrap_err().code(), "headers.unknown_preset");
}

#[test]
fn errors_become_the_same_exceptions_everywhere() {
    let all = vectors("errors");
    for case in list(&all, "cases") {
        let e = Error::from_json(&case["error"]);
        assert_eq!(e.to_json(), case["error"]);
        assert_eq!(
            json!([e.class(), e.status(), e.retryable()]),
            json!([case["class"], case["status"], case["retryable"]])
        );
        assert_eq!(e.problem(), case["problem"]);
    }
}
