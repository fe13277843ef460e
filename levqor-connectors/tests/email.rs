//! The `email` connector through all layers, against a real SMTP dialogue.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

#[path = "support/smtp.rs"]
mod smtp;
mod support;

use levqor_connectors::email::Email;
use levqor_core::connector::Cx;
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};
use smtp::Sink;
use support::{connected, cx, stacked, transport};

fn to(sink: &Sink, more: Value) -> Cx {
    let mut settings =
        json!({"host": "127.0.0.1", "port": sink.address.port(), "tls": "none", "from": "Shop <shop@example.com>"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    connected(&cx(transport(&[])), settings)
}

fn mail() -> Value {
    json!({"to": ["a@example.org"], "subject": "Grüße", "text": "Hello\n.\nend"})
}

async fn send(cx: &Cx, input: Value) -> Result<Value> {
    stacked(Email::new()).0.call(cx, "send", &input).await.map(|o| o.data)
}

async fn fault(faults: &[(&'static str, &'static str)], input: Value) -> (Error, Sink) {
    let sink = Sink::start(faults).await;
    let mut cx = to(&sink, json!({}));
    cx.timeout = Millis(300);
    let e = send(&cx, input).await.unwrap_err();
    (e, sink)
}

#[tokio::test]
async fn a_mail_arrives_whole() {
    let sink = Sink::start(&[]).await;
    let cx = to(
        &sink,
        json!({"username": "user", "password": "pass word", "plaintext_login": true, "hello": "shop.example.com"}),
    );
    let out = send(
        &cx,
        json!({
            "to": ["Ann <a@example.org>"], "cc": ["b@example.org"], "bcc": ["c@example.org"], "subject": "Grüße",
            "text": "Hello\n.\n..dots\nend", "html": "<p>Hello</p>", "headers": {"X-Shop": "1"},
            "attachments": [{"filename": "a.csv", "content_type": "text/csv", "content": "YSxiCg=="}]
        }),
    )
    .await
    .unwrap();
    let taken = &sink.taken()[0];
    assert_eq!(taken.from, "shop@example.com");
    assert_eq!(taken.to, ["a@example.org", "b@example.org", "c@example.org"]);
    assert_eq!(taken.login.as_deref(), Some("\0user\0pass word"));
    assert_eq!(out["response"], json!("queued as 42"));
    let id = out["message_id"].as_str().unwrap();
    for part in [
        format!("Message-ID: {id}\r\n").as_str(),
        "From: Shop <shop@example.com>\r\n",
        "To: Ann <a@example.org>\r\n",
        "Cc: b@example.org\r\n",
        "X-Shop: 1\r\n",
        "Hello\r\n.\r\n..dots\r\nend",
        "<p>Hello</p>",
        "filename=\"a.csv\"",
        "YSxiCg==",
    ] {
        assert!(taken.data.contains(part), "{part:?} is missing in\n{}", taken.data);
    }
    assert!(!taken.data.contains("c@example.org"), "a blind copy is blind");
    assert!(sink.dialogues.lock().unwrap()[0].starts_with("EHLO shop.example.com\r\n"));

    send(&cx, mail()).await.unwrap();
    assert!(
        sink.taken()[1].data.contains(id),
        "another attempt of the same step has the same Message-ID"
    );
}

#[tokio::test]
async fn replies_and_breaks_have_their_class_and_effect() {
    use Effect::{None, Unknown};
    use ErrorKind as K;
    for (faults, code, kind, effect, attempts) in [
        (&[("EHLO", "554 go away")][..], "email.refused", K::Denied, None, 1),
        (&[("MAIL", "451 later")], "email.try_later", K::Unavailable, None, 3),
        (&[("MAIL", "530 login first")], "email.sender_refused", K::Invalid, None, 1),
        (&[("RCPT", "450 greylisted")], "email.try_later", K::Unavailable, None, 3),
        (
            &[("RCPT", "550 no such user")],
            "email.recipient_refused",
            K::Invalid,
            None,
            1,
        ),
        (&[("DATA", "421 shutting down")], "email.try_later", K::Unavailable, None, 3),
        (&[("DATA", "")], "email.connection_lost", K::Unavailable, None, 3),
        (&[("MAIL", "-")], "email.timeout", K::Timeout, None, 3),
        (&[(".", "451 disk full")], "email.try_later", K::Unavailable, None, 3),
        (&[(".", "554 spam")], "email.refused", K::Invalid, None, 1),
        (&[(".", "")], "email.connection_lost", K::Unavailable, Unknown, 1),
        (&[(".", "-")], "email.timeout", K::Timeout, Unknown, 1),
    ] {
        let (e, sink) = fault(faults, mail()).await;
        assert_eq!((e.code(), e.kind(), e.effect()), (code, kind, effect), "{faults:?}: {e:?}");
        assert_eq!(e.details()["attempts"].as_u64(), Some(attempts), "{faults:?}");
        assert!(sink.taken().is_empty());
    }
}

#[tokio::test]
async fn a_mail_that_was_taken_is_sent_whatever_comes_after() {
    for quit in ["", "554 no"] {
        let sink = Sink::start(&[("QUIT", quit)]).await;
        send(&to(&sink, json!({})), mail()).await.unwrap();
        assert_eq!(sink.taken().len(), 1);
    }
}

#[tokio::test]
async fn one_refused_recipient_is_named_and_nobody_gets_the_mail() {
    let input = json!({"to": ["a@example.org"], "cc": ["b@example.org", "gone@example.org"], "subject": "s", "text": "t"});
    let (e, sink) = fault(&[("gone@example.org", "550 5.1.1 unknown")], input).await;
    assert_eq!((e.code(), e.place()), ("email.recipient_refused", Some("/cc/1")));
    assert_eq!(e.details()["smtp_status"], json!(550));
    assert!(e.message().contains("5.1.1 unknown") && sink.taken().is_empty());
}

#[tokio::test]
async fn logins_are_refused_or_protected() {
    let sink = Sink::start(&[("AUTH", "535 bad credentials")]).await;
    let login = json!({"username": "user", "password": "pass", "plaintext_login": true});
    let e = send(&to(&sink, login), mail()).await.unwrap_err();
    assert_eq!((e.code(), e.kind()), ("email.login_refused", ErrorKind::Denied));

    let sink = Sink::start(&[]).await;
    let cases = [
        (json!({"username": "user", "password": "pass"}), "connection.invalid"),
        (json!({"username": "user"}), "connection.invalid"),
        (
            json!({"tls": "starttls", "username": "user", "password": "pass"}),
            "email.tls",
        ),
        (json!({"tls": "tls", "username": "user", "password": "pass"}), "email.tls"),
        (json!({"tls": "ssl"}), "connection.invalid"),
        (json!({"port": 0}), "connection.invalid"),
        (json!({"hello": "a\r\nb"}), "connection.invalid"),
        (json!({"pasword": "x"}), "connection.invalid"),
    ];
    for (settings, code) in cases {
        let e = send(&to(&sink, settings.clone()), mail()).await.unwrap_err();
        assert_eq!((e.code(), e.retryable()), (code, false), "{settings}: {e:?}");
    }
    assert!(
        sink.dialogues.lock().unwrap().iter().all(|d| !d.contains("AUTH")),
        "no password in the clear"
    );
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_left_no_effect() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = json!({"host": "127.0.0.1", "port": free.local_addr().unwrap().port(), "tls": "none", "from": "a@b.example"});
    drop(free);
    let e = send(&connected(&cx(transport(&[])), settings), mail()).await.unwrap_err();
    assert_eq!(
        (e.code(), e.effect(), e.details()["attempts"].as_u64()),
        ("email.connect", Effect::None, Some(3))
    );
    let e = send(&cx(transport(&[])), mail()).await.unwrap_err();
    assert_eq!(e.code(), "email.connection_missing");
}
