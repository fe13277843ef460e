//! Canaries in every vendor's credentials: a vendor that gives back all that it was sent, and no error that shows it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::contract::{all, at, connector, cx};
use support::{Server, answer};

/// Settings whose texts are credentials.
const SECRET: [&str; 13] = [
    "token",
    "auth_token",
    "account_sid",
    "dsn",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "api_key",
    "api_token",
    "app_key",
    "key",
    "routing_key",
    "webhook_token",
];

#[tokio::test]
async fn no_credential_of_a_vendor_is_shown_by_a_failure() {
    let (mut n, mut failures, mut masked, mut connectors) = (0, 0, 0, 0);
    for cases in all() {
        connectors += 1;
        for case in cases.cases.iter().filter(|c| c["about"] == "it works") {
            for status in [200, 400, 401, 403, 404, 409, 429, 500] {
                n += 1;
                let canary = format!("cnry{n:05}Zq7Kd");
                let server = Server::start(move |_, seen| {
                    let basic = seen.header("authorization").map(|a| STANDARD.encode(a)).unwrap_or_default();
                    let all = format!(
                        "{:?} {} {basic} {}",
                        seen.headers,
                        seen.uri,
                        String::from_utf8_lossy(&seen.body)
                    );
                    let body = json!({
                        "ok": false, "error": {"message": all, "code": seen.uri, "type": all},
                        "code": seen.header("authorization"), "name": all, "message": all,
                    });
                    let headers = [("content-type", "application/json"), ("x-request-id", "r-1")];
                    answer(status, &headers, body.to_string())
                })
                .await;
                let mut settings = cases.connection.clone();
                for name in SECRET {
                    if let Some(setting) = settings.get_mut(name) {
                        *setting = match name {
                            "dsn" => format!("http://{canary}@{{host}}/42"),
                            _ => canary.clone(),
                        }
                        .into();
                    }
                }
                let cx = cx(&settings, &server.url(""));
                let input = at(&case["input"], &server.url(""));
                let action = case["action"].as_str().unwrap();
                let mut shown = format!("{cx:?} {:?}", cx.connection);
                match connector(&cases.connector).call(&cx, action, &input).await {
                    Ok(output) if status == 200 => drop(output),
                    Ok(output) => {
                        // Nothing was sent: an address that is signed holds the key's id, and nothing else.
                        assert_eq!((action, server.calls()), ("presign", 0), "{output:?}");
                    }
                    Err(e) => {
                        failures += 1;
                        let _ = write!(shown, "{e} {e:?} {} {} {:?}", e.to_json(), e.problem(), e.headers());
                    }
                }
                masked += u32::from(shown.contains("[redacted]"));
                let hidden = [
                    canary.clone(),
                    STANDARD.encode(&canary),
                    canary[..9].to_owned(),
                    "cnry".into(),
                ];
                for form in hidden {
                    assert!(
                        !shown.contains(&form),
                        "{}.{action} {status}: {form} in {shown}",
                        cases.connector
                    );
                }
            }
        }
    }
    assert!(
        connectors >= 15 && failures >= 500 && masked >= 300,
        "{connectors} {failures} {masked}"
    );
}

#[test]
fn every_setting_of_a_case_is_known_to_be_secret_or_plain() {
    let plain = [
        "bucket",
        "business_account_id",
        "dc",
        "email",
        "from",
        "lookups_base_url",
        "phone_number_id",
        "region",
        "shop",
        "site",
        "verify_base_url",
        "webhook_id",
    ];
    for cases in all() {
        for name in cases.connection.as_object().unwrap().keys() {
            assert!(SECRET.contains(&name.as_str()) || plain.contains(&name.as_str()), "{name}");
        }
    }
}
