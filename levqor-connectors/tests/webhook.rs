//! The `webhook` connector through all layers, judged by the verifier.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod support;

use levqor_connectors::webhook::Webhook;
use levqor_core::access::signature::{Secret, TOLERANCE, verify};
use levqor_core::clock::{Clock, SystemClock};
use levqor_core::connector::Cx;
use levqor_core::error::ErrorKind;
use serde_json::{Value, json};
use support::{Seen, Server, answer, connected, cx, stacked, transport};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn genuine(seen: &Seen, secret: &str) -> bool {
    let part = |name: &str| seen.header(name).unwrap();
    let (id, at, signature) = (part("webhook-id"), part("webhook-timestamp"), part("webhook-signature"));
    let secrets = [Secret::parse(secret).unwrap()];
    verify(
        &secrets,
        id,
        at,
        signature,
        &seen.body,
        SystemClock::default().now(),
        TOLERANCE,
    )
    .is_ok()
}

fn to(server: &Server, mut settings: Value) -> Cx {
    settings["url"] = json!(server.url("/hook?tenant=1"));
    connected(&cx(transport(&[server.address.to_string()])), settings)
}

#[tokio::test]
async fn a_message_is_signed_with_every_secret_and_verifies() {
    let server = Server::start(|_, _| answer(204, &[], "")).await;
    let payload = json!({"type": "order.paid", "data": {"text": "ä", "n": 1}});
    let (webhook, _) = stacked(Webhook::new());
    for (settings, verifies) in [
        (json!({"secret": OLD}), [true, false]),
        (json!({"secrets": [NEW]}), [false, true]),
        (json!({"secret": NEW, "secrets": [OLD]}), [true, true]),
    ] {
        let out = webhook
            .call(&to(&server, settings), "send", &json!({"payload": payload}))
            .await
            .unwrap()
            .data;
        let seen = server.last();
        assert_eq!([genuine(&seen, OLD), genuine(&seen, NEW)], verifies);
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/hook?tenant=1"));
        assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), payload);
        assert_eq!((out["id"].as_str(), &out["status"]), (seen.header("webhook-id"), &json!(204)));
    }
}

#[tokio::test]
async fn every_failure_but_gone_is_repeated_under_the_same_id() {
    for (status, calls) in [(400, 3), (401, 3), (404, 3), (500, 3), (302, 3), (429, 3), (410, 1)] {
        let server = Server::start(move |_, _| answer(status, &[("location", "/elsewhere")], "")).await;
        let (webhook, _) = stacked(Webhook::new());
        let e = webhook
            .call(&to(&server, json!({"secret": OLD})), "send", &json!({"payload": {}}))
            .await
            .unwrap_err();
        assert_eq!(server.calls(), calls, "{status}: {e:?}");
        let all = server.all();
        assert!(
            all.iter()
                .all(|s| genuine(s, OLD) && s.header("webhook-id") == all[0].header("webhook-id"))
        );
        assert!(all.iter().all(|s| s.uri == "/hook?tenant=1"), "a webhook follows no redirect");
        if status == 410 {
            assert_eq!(
                (e.code(), e.kind(), e.retryable()),
                ("webhook.gone", ErrorKind::NotFound, false)
            );
        }
    }
}

#[tokio::test]
async fn the_id_belongs_to_the_step_or_is_given() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    let (webhook, _) = stacked(Webhook::new());
    let mut cx = to(&server, json!({"secret": OLD}));
    let mut ids = Vec::new();
    for key in ["a.b c\nd", "a.b c\nd", "other"] {
        cx.idempotency_key = key.into();
        webhook.call(&cx, "send", &json!({"payload": 1})).await.unwrap();
        ids.push(server.last().header("webhook-id").unwrap().to_owned());
    }
    assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[0].starts_with("msg_"));
    webhook
        .call(&cx, "send", &json!({"payload": 1, "id": "evt_7"}))
        .await
        .unwrap();
    assert_eq!(server.last().header("webhook-id"), Some("evt_7"));
    for bad in ["a.b", "a b", "", "ä"] {
        let e = webhook
            .call(&cx, "send", &json!({"payload": 1, "id": bad}))
            .await
            .unwrap_err();
        assert_eq!((e.code(), e.place()), ("connector.input_invalid", Some("/id")), "{bad}");
    }
}

#[tokio::test]
async fn the_inside_is_closed_and_wrong_settings_are_named() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    let (webhook, _) = stacked(Webhook::new());
    let inside = cx(transport(&[]));
    let hook = server.url("/hook");
    for (cx, input, code) in [
        (
            connected(&inside, json!({"secret": OLD, "url": hook})),
            json!({"payload": 1}),
            "http.address_refused",
        ),
        (
            connected(&inside, json!({"secret": OLD})),
            json!({"payload": 1, "url": hook}),
            "http.address_refused",
        ),
        (
            connected(&inside, json!({"secret": OLD})),
            json!({"payload": 1}),
            "webhook.url_missing",
        ),
        (
            connected(&inside, json!({"secret": OLD, "url": hook})),
            json!({"payload": 1, "url": hook}),
            "webhook.two_urls",
        ),
        (
            connected(&inside, json!({"url": hook})),
            json!({"payload": 1}),
            "webhook.secret_missing",
        ),
        (
            connected(&inside, json!({"secret": "whsec_short", "url": hook})),
            json!({"payload": 1}),
            "webhook.secret_invalid",
        ),
        (
            connected(&inside, json!({"secret": OLD, "ulr": hook})),
            json!({"payload": 1}),
            "connection.invalid",
        ),
        (inside.clone(), json!({"payload": 1}), "webhook.secret_missing"),
        (inside.clone(), json!({}), "connector.input_invalid"),
    ] {
        assert_eq!(webhook.call(&cx, "send", &input).await.unwrap_err().code(), code, "{input}");
    }
    assert_eq!(server.calls(), 0);
}
