//! The `http` connector through all layers, against a real server.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod support;

use levqor_connectors::http::Http;
use levqor_core::connector::Cx;
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::layers::retry::put_away;
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::{Raw, Server, answer, connected, cx, stacked, transport};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn call(cx: &Cx, input: Value) -> Result<Value> {
    stacked(Http::new()).0.call(cx, "request", &input).await.map(|o| o.data)
}

async fn refused(cx: &Cx, input: Value) -> Error {
    call(cx, input).await.unwrap_err()
}

/// A connection to a server, with more settings.
fn to(server: &Server, mut settings: Value) -> Cx {
    settings["base_url"] = json!(server.url("/v1"));
    connected(&cx(transport(&[])), settings)
}

#[tokio::test]
async fn a_request_is_shaped_as_asked() {
    let server = Server::start(|_, _| answer(201, &[JSON, ("x-many", "a"), ("x-many", "b")], r#"{"id": 7}"#)).await;
    let cx = to(&server, json!({"token": "tok"}));
    let out = call(
        &cx,
        json!({
            "method": "POST", "url": "/orders?a=0#frag", "query": {"a": 1, "b": ["x y", true], "c": "ä&"},
            "headers": {"X-Mine": "yes"}, "json": {"n": [1, null]}
        }),
    )
    .await
    .unwrap();
    assert_eq!(
        (&out["status"], &out["json"], &out["headers"]["x-many"]),
        (&json!(201), &json!({"id": 7}), &json!("a, b"))
    );
    assert!(out.get("text").is_none() && out.get("base64").is_none());
    let seen = server.last();
    assert_eq!(
        (seen.method.as_str(), seen.uri.as_str()),
        ("POST", "/v1/orders?a=0&a=1&b=x+y&b=true&c=%C3%A4%26")
    );
    for (name, value) in [
        ("authorization", "Bearer tok"),
        ("content-type", "application/json"),
        ("idempotency-key", "step-key-1"),
        ("x-mine", "yes"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(&*seen.body, br#"{"n":[1,null]}"#);

    call(&cx, json!({"method": "PUT", "url": "f", "form": {"a": "1 2", "b": [1, 2]}}))
        .await
        .unwrap();
    let seen = server.last();
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!((&*seen.body, seen.uri.as_str()), (&b"a=1+2&b=1&b=2"[..], "/v1/f"));

    call(
        &cx,
        json!({"method": "PATCH", "url": "", "text": "hi", "headers": {"Content-Type": "text/csv"}}),
    )
    .await
    .unwrap();
    let seen = server.last();
    assert_eq!((seen.header("content-type"), &*seen.body), (Some("text/csv"), &b"hi"[..]));

    call(&cx, json!({"method": "POST", "url": server.url("/v1/abs"), "json": null}))
        .await
        .unwrap();
    assert_eq!((server.last().uri.as_str(), &*server.last().body), ("/v1/abs", &b"null"[..]));

    call(&cx, json!({"url": "x"})).await.unwrap();
    assert_eq!(
        (server.last().method.as_str(), server.last().header("idempotency-key")),
        ("GET", None)
    );
}

#[tokio::test]
async fn credentials_come_from_the_connection() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    for (settings, header, value) in [
        (json!({"token": "t"}), "authorization", Some("Bearer t")),
        (
            json!({"username": "user", "password": "pass"}),
            "authorization",
            Some("Basic dXNlcjpwYXNz"),
        ),
        (json!({"username": "sk_key"}), "authorization", Some("Basic c2tfa2V5Og==")),
        (json!({"api_key": "k"}), "x-api-key", Some("k")),
        (
            json!({"api_key": "k", "header": "Authorization", "prefix": "Token"}),
            "authorization",
            Some("Token k"),
        ),
        (json!({}), "authorization", None),
        (json!({"idempotency_header": "X-Once"}), "x-once", Some("step-key-1")),
    ] {
        call(&to(&server, settings.clone()), json!({"method": "POST", "url": "x"}))
            .await
            .unwrap();
        assert_eq!(server.last().header(header), value, "{settings}");
    }
}

#[tokio::test]
async fn a_connection_goes_to_its_own_address_only() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    let cx = to(&server, json!({"token": "tok"}));
    for url in [
        "http://example.com/v1/x".to_owned(),
        server.url("/v2/x"),
        server.url("/v1x"),
        "../admin".into(),
        "a/../../admin".into(),
        "%2e%2e/admin".into(),
        "..\\admin".into(),
        "http:x".into(),
        format!("http://127.0.0.1:1/v1/{}", server.address.port()),
        format!("https://{}/v1/x", server.address),
    ] {
        let e = refused(&cx, json!({"url": url})).await;
        assert_eq!((e.code(), e.kind()), ("http.outside_connection", ErrorKind::Denied), "{url}");
    }
    assert_eq!(server.calls(), 0);
    for (within, at) in [
        ("//example.com/x", "/v1/example.com/x"),
        ("a/../b", "/v1/b"),
        ("", "/v1/"),
        (&server.url("/v1"), "/v1"),
        (&server.url("/v1/?a"), "/v1/?a"),
    ] {
        call(&cx, json!({"url": within})).await.unwrap();
        assert_eq!(server.last().uri, at, "{within}");
    }

    // Without a connection the inside is closed, unless the host has opened it.
    let e = refused(&support::cx(transport(&[])), json!({"url": server.url("/")})).await;
    assert_eq!(e.code(), "http.address_refused");
    call(
        &support::cx(transport(&[server.address.to_string()])),
        json!({"url": server.url("/")}),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn wrong_settings_and_inputs_are_named() {
    let server = Server::start(|_, _| answer(200, &[], "")).await;
    let place = |e: Error| (e.code().to_owned(), e.place().unwrap_or_default().to_owned());
    let plain = cx(transport(&[]));
    for (settings, at) in [
        (json!({"token": "tok"}), "base_url"),
        (json!({"base_url": "/x"}), "base_url"),
        (json!({"base_url": "ftp://x.example"}), "base_url"),
        (json!({"base_url": "https://u:p@x.example"}), "base_url"),
        (json!({"base_url": "https://x.example/?key=1"}), "base_url"),
        (json!({"base_url": "https://x.example", "tokn": "t"}), "tokn"),
        (json!({"base_url": "https://x.example", "token": 5}), "token"),
        (
            json!({"base_url": "https://x.example", "token": "a", "api_key": "b"}),
            "token",
        ),
        (json!({"base_url": "https://x.example", "idempotent": "yes"}), "idempotent"),
    ] {
        let e = refused(&connected(&plain, settings.clone()), json!({"url": "https://x.example/"})).await;
        assert_eq!(
            (e.kind(), place(e)),
            (ErrorKind::Config, ("connection.invalid".into(), at.into())),
            "{settings}"
        );
    }
    let cx = to(&server, json!({"token": "tok"}));
    for (input, code, at) in [
        (json!({"url": "x", "bdy": 1}), "connector.input_invalid", "/bdy"),
        (json!({}), "connector.input_invalid", "/url"),
        (json!({"url": "x", "method": "TRACE"}), "connector.input_invalid", "/method"),
        (json!({"url": "x", "expect": [20]}), "connector.input_invalid", "/expect/0"),
        (json!({"url": "x", "redirects": 11}), "connector.input_invalid", "/redirects"),
        (json!({"url": "x", "json": 1, "text": "a"}), "http.two_bodies", ""),
        (json!({"url": "x", "timeout": "soon"}), "duration.invalid", "/timeout"),
        (json!({"url": "http://["}), "http.url_invalid", "/url"),
        (
            json!({"url": "x", "headers": {"Authorization": "mine"}}),
            "http.header_reserved",
            "/headers/Authorization",
        ),
        (
            json!({"url": "x", "headers": {"Host": "evil"}}),
            "http.header_reserved",
            "/headers/Host",
        ),
        (
            json!({"url": "x", "headers": {"Transfer-Encoding": "chunked"}}),
            "http.header_reserved",
            "/headers/Transfer-Encoding",
        ),
        (json!({"url": "x", "headers": {"X": "a\r\nb: c"}}), "http.header_invalid", ""),
    ] {
        assert_eq!(
            place(refused(&cx, input.clone()).await),
            (code.to_owned(), at.to_owned()),
            "{input}"
        );
    }
    assert_eq!(
        place(refused(&plain, json!({"url": "relative"})).await),
        ("http.url_invalid".into(), "/url".into())
    );
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn bodies_come_back_by_their_kind() {
    let server = Server::start(|_, seen| match seen.uri.as_str() {
        "/v1/json" => answer(200, &[("content-type", "application/hal+json; charset=utf-8")], "[1]"),
        "/v1/text" => answer(200, &[("content-type", "text/html")], "<p>ä</p>"),
        "/v1/bytes" => answer(200, &[], vec![0xff, 0xfe]),
        "/v1/none" => answer(204, &[JSON], ""),
        _ => answer(200, &[JSON], "{broken"),
    })
    .await;
    let cx = to(&server, json!({}));
    for (path, field, value) in [
        ("json", "json", json!([1])),
        ("text", "text", json!("<p>ä</p>")),
        ("bytes", "base64", json!("//4=")),
        ("none", "json", Value::Null),
    ] {
        assert_eq!(call(&cx, json!({"url": path})).await.unwrap()[field], value, "{path}");
    }
    for (method, effect) in [("GET", Effect::None), ("POST", Effect::Done)] {
        let e = refused(&cx, json!({"url": "broken", "method": method})).await;
        assert_eq!(
            (e.code(), e.kind(), e.effect()),
            ("http.invalid_json", ErrorKind::Corrupt, effect)
        );
    }
    assert_eq!(
        call(&cx, json!({"url": "none", "expect": [204]})).await.unwrap()["status"],
        json!(204)
    );
    assert_eq!(
        refused(&cx, json!({"url": "json", "expect": [201]})).await.code(),
        "http.unexpected_status"
    );
}

/// How many requests a server gets that answers each with this, and the error in the end.
async fn attempts(status: u16, headers: &'static [(&str, &str)], method: &str, more: Value) -> (usize, Error) {
    let server = Server::start(move |_, _| answer(status, headers, "")).await;
    let mut input = json!({"url": "x", "method": method});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let e = refused(&to(&server, json!({})), input).await;
    assert!(
        method == "GET" || server.all().iter().all(|s| s.header("idempotency-key") == Some("step-key-1")),
        "one key over all attempts"
    );
    (server.calls(), e)
}

#[tokio::test]
async fn failures_are_repeated_only_where_that_does_no_harm() {
    const NOW: &[(&str, &str)] = &[("retry-after-ms", "1")];
    for (status, headers, method, more, expected) in [
        (500, &[][..], "GET", json!({}), 3),
        (500, &[], "PUT", json!({}), 3),
        (500, &[], "POST", json!({}), 1),
        (500, &[], "POST", json!({"idempotent": true}), 3),
        (500, &[], "PATCH", json!({}), 1),
        (502, &[], "POST", json!({}), 1),
        (503, &[], "POST", json!({}), 1),
        (503, NOW, "POST", json!({}), 3),
        (429, &[], "POST", json!({}), 3),
        (429, NOW, "POST", json!({}), 3),
        (408, &[], "POST", json!({}), 3),
        (400, &[], "GET", json!({}), 1),
        (401, &[], "GET", json!({}), 1),
        (404, &[], "GET", json!({}), 1),
        (409, &[], "GET", json!({}), 1),
        (501, &[], "GET", json!({}), 1),
    ] {
        let (calls, e) = attempts(status, headers, method, more.clone()).await;
        assert_eq!(calls, expected, "{status} {method} {more}");
        assert_eq!(
            (e.details()["attempts"].as_u64(), e.details()["status"].as_u64()),
            (Some(calls as u64), Some(status.into()))
        );
        assert_eq!(put_away(&e), None);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_post_is_not_repeated_unless_declared_idempotent() {
    for (settings, expected) in [(json!({}), 1), (json!({"idempotent": true}), 3)] {
        let raw = Raw::start("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut").await;
        let mut settings = settings;
        settings["base_url"] = json!(raw.url());
        let e = refused(
            &connected(&cx(transport(&[])), settings),
            json!({"url": "x", "method": "POST"}),
        )
        .await;
        assert_eq!(
            (e.code(), e.effect(), raw.count()),
            ("http.body_cut", Effect::Unknown, expected)
        );
    }
}

#[tokio::test]
async fn success_after_failures_says_how_many_attempts_it_took() {
    let server = Server::start(|n, _| match n {
        0 => answer(429, &[("retry-after-ms", "20")], ""),
        1 => answer(500, &[], ""),
        _ => answer(200, &[], "done"),
    })
    .await;
    let (http, options) = stacked(Http::new());
    let start = std::time::Instant::now();
    let out = http
        .call(&to(&server, json!({})), "request", &json!({"url": "x"}))
        .await
        .unwrap();
    assert_eq!((out.attempts, &out.data["text"]), (3, &json!("done")));
    assert!(start.elapsed().as_millis() >= 20, "Retry-After was kept");
    let stats = &options.meter.snapshot()[0];
    assert_eq!((stats.outcomes["ok"], stats.attempts), (1, 3));
}

#[tokio::test]
async fn a_long_retry_after_puts_the_run_away() {
    let date = "Fri, 31 Dec 2100 23:59:59 GMT";
    for (value, low, high) in [("3600", 3_600_000, 3_600_000), (date, 86_400_000, 86_400_000)] {
        let server = Server::start(move |_, _| answer(503, &[("retry-after", value)], "")).await;
        let e = refused(&to(&server, json!({})), json!({"url": "x", "method": "POST"})).await;
        let (wait, attempts) = put_away(&e).unwrap();
        assert!(
            (low..=high).contains(&wait.0) && attempts == 1 && server.calls() == 1,
            "{value}: {wait}"
        );
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone() {
    let server = Server::start(|_, _| answer(500, &[], "")).await;
    let well = Server::start(|_, _| answer(200, &[], "")).await;
    let (http, options) = stacked(Http::new());
    let cx = cx(transport(&["127.0.0.1".into()]));
    for _ in 0..3 {
        http.call(&cx, "request", &json!({"url": server.url("/")})).await.unwrap_err();
    }
    assert_eq!(server.calls(), 9);
    let e = http
        .call(&cx, "request", &json!({"url": server.url("/other")}))
        .await
        .unwrap_err();
    assert_eq!(
        (e.code(), put_away(&e).is_some(), server.calls()),
        ("connector.circuit_open", true, 10)
    );
    http.call(&cx, "request", &json!({"url": well.url("/")}))
        .await
        .expect("another host is not affected");
    assert_eq!(options.breakers.snapshot().len(), 1);
}

#[tokio::test]
async fn an_attempt_ends_at_the_shorter_time_out() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = json!({"base_url": format!("http://{}", silent.local_addr().unwrap())});
    let mut cx = connected(&cx(transport(&[])), base);
    let e = refused(&cx, json!({"url": "x", "method": "POST", "timeout": "50ms"})).await;
    assert_eq!(
        (e.code(), e.effect(), e.details()["attempts"].as_u64()),
        ("http.timeout", Effect::Unknown, Some(1))
    );
    cx.timeout = Millis(30);
    let e = refused(&cx, json!({"url": "x", "timeout": "1h"})).await;
    assert_eq!(
        (e.code(), e.details()["attempts"].as_u64()),
        ("http.timeout", Some(3)),
        "reading is repeated"
    );
}

#[tokio::test]
async fn redirects_loop_only_so_often_and_an_unfollowed_one_is_an_error() {
    let server = Server::start(|_, seen| answer(302, &[("location", seen.uri.as_str())], "")).await;
    let cx = to(&server, json!({}));
    let e = refused(&cx, json!({"url": "x"})).await;
    assert_eq!((e.code(), server.calls()), ("http.too_many_redirects", 6));
    let e = refused(&cx, json!({"url": "x", "method": "POST"})).await;
    assert_eq!((e.code(), e.effect(), server.calls()), ("http.redirected", Effect::None, 7));
    assert_eq!(
        call(&cx, json!({"url": "x", "redirects": 0, "expect": [302]})).await.unwrap()["status"],
        json!(302)
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let server = Server::start(|_, _| answer(200, &[], vec![b'x'; (8 << 20) + 1])).await;
    let e = refused(&to(&server, json!({})), json!({"url": "x"})).await;
    assert_eq!((e.code(), server.calls()), ("http.response_too_large", 1));
}
