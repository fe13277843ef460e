//! Against servers that keep state, as vendors do; `tests/live/run.sh` starts them. Without them each test says so.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use levqor_core::connector::Cx;
use levqor_core::error::ErrorKind;
use levqor_core::transport::{Reach, Request, Transport as _};
use serde_json::{Value, json};
use support::contract::{connector, network};
use support::{connected, cx, transport};

/// What the environment says; a word about it if it says nothing.
fn asked(name: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        println!("not asked: {name} is not set");
    }
    found
}

async fn ok(cx: &Cx, action: &str, input: Value) -> Value {
    let (vendor, action) = action.split_once('.').unwrap();
    let out = connector(vendor).call(cx, action, &input).await;
    out.unwrap_or_else(|e| panic!("{vendor}.{action}: {e:?}")).data
}

#[tokio::test]
async fn stripe_keeps_what_it_was_given() {
    let Some(url) = asked("LEVQOR_LOCALSTRIPE") else { return };
    let mut cx = connected(&cx(network()), json!({"token": "sk_test_12345", "base_url": url}));
    let customer = json!({"email": "jane@example.com", "name": "Jane", "metadata": {"plan": "pro"}});
    let made = ok(&cx, "stripe.create_customer", customer).await;
    // Keys are not tried here: localstripe does not know them.
    cx.idempotency_key = "another".into();
    let other = ok(&cx, "stripe.create_customer", json!({"email": "joe@example.com"})).await;
    assert_ne!(made["id"], other["id"]);
    let first = ok(&cx, "stripe.list_customers", json!({"limit": 1})).await;
    assert_eq!(first["data"].as_array().unwrap().len(), 1);
    let all = ok(&cx, "stripe.list_customers", json!({"limit": 1, "max_pages": 10})).await;
    let ids: Vec<&Value> = all["data"].as_array().unwrap().iter().map(|c| &c["id"]).collect();
    assert!(ids.contains(&&made["id"]) && ids.contains(&&other["id"]), "{ids:?}");
    cx.idempotency_key = "a third".into();
    let intent = json!({"amount": 1099, "currency": "eur", "customer": made["id"]});
    let intent = ok(&cx, "stripe.create_payment_intent", intent).await;
    assert_eq!(
        (&intent["amount"], &intent["status"]),
        (&json!(1099), &json!("requires_payment_method"))
    );
    let e = connector("stripe")
        .call(&cx, "cancel_subscription", &json!({"id": "sub_none"}))
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}");
    println!("localstripe: 6 calls as expected");
}

#[tokio::test]
async fn s3_keeps_what_it_was_given() {
    let Some(url) = asked("LEVQOR_MOTO") else { return };
    let mut bucket = Request::new("PUT", format!("{url}/shop-files"));
    bucket.reach = Reach::Any;
    network().send(bucket).await.unwrap();
    let settings = json!({
        "base_url": url, "bucket": "shop-files", "region": "us-east-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    });
    let cx = connected(&cx(network()), settings);
    for n in 0..3 {
        let object = json!({"key": format!("reports/ü {n}.csv"), "text": format!("a,{n}\n"), "content_type": "text/csv"});
        ok(&cx, "s3.put_object", object).await;
    }
    let got = ok(&cx, "s3.get_object", json!({"key": "reports/ü 1.csv"})).await;
    assert_eq!(got["text"], "a,1\n");
    let listed = ok(
        &cx,
        "s3.list_objects",
        json!({"prefix": "reports/", "max_keys": 1, "max_pages": 9}),
    )
    .await;
    assert!(
        listed.to_string().contains("ü 0.csv") && listed.to_string().contains("ü 2.csv"),
        "{listed}"
    );
    ok(
        &cx,
        "s3.copy_object",
        json!({"key": "copy.csv", "source_key": "reports/ü 1.csv"}),
    )
    .await;
    assert_eq!(ok(&cx, "s3.get_object", json!({"key": "copy.csv"})).await["text"], "a,1\n");
    ok(&cx, "s3.delete_object", json!({"key": "copy.csv"})).await;
    let e = connector("s3")
        .call(&cx, "get_object", &json!({"key": "copy.csv"}))
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}");
    println!("moto: 9 calls as expected");
}

#[tokio::test]
async fn a_mail_lies_in_the_mailbox() {
    let (Some(port), Some(folder)) = (asked("LEVQOR_SMTP"), asked("LEVQOR_MAILBOX")) else {
        return;
    };
    let port: u16 = port.parse().unwrap();
    let settings = json!({"host": "127.0.0.1", "port": port, "tls": "none", "from": "Shop <shop@example.com>"});
    let cx = connected(&cx(transport(&[])), settings);
    let mail = json!({"to": ["a@example.org"], "subject": "Grüße", "text": "Hello\n.\nend"});
    let sent = ok(&cx, "email.send", mail).await;
    let found: Vec<String> = std::fs::read_dir(format!("{folder}/new"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let id = sent["message_id"].as_str().unwrap();
    let mine = found.iter().find(|text| text.contains(id)).unwrap();
    assert!(mine.contains("To: a@example.org") && mine.contains("\n.\n"), "{mine}");
    println!("aiosmtpd: a mail lies in the mailbox");
}
