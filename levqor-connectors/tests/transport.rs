//! The HTTP transport against real servers, good and bad.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::error::{Effect, ErrorKind};
use levqor_core::transport::{HttpOptions, HttpTransport, Reach, Request, Resolver, Response, Transport};
use levqor_core::types::Millis;
use support::{Raw, Server, answer, transport};
use tokio::net::TcpListener;

fn request(method: &str, url: impl Into<String>) -> Request {
    let mut r = Request::new(method, url);
    r.reach = Reach::Any;
    r.timeout = Millis::secs(10);
    r
}

async fn send(r: Request) -> Result<Response, levqor_core::error::Error> {
    transport(&[]).send(r).await
}

/// Code, kind, effect, whether trying again can help.
async fn fault(r: Request) -> (String, ErrorKind, Effect, bool) {
    let e = send(r).await.unwrap_err();
    (e.code().to_owned(), e.kind(), e.effect(), e.retryable())
}

#[test]
fn nothing_is_opened_at_construction() {
    // Outside of any runtime: a socket, thread or timer would panic here.
    let t = HttpTransport::new(HttpOptions::default()).unwrap();
    assert!(format!("{t:?}").starts_with("HttpTransport"));
}

#[tokio::test]
async fn an_answer_comes_back_whole_and_connections_are_kept() {
    let server = Server::start(|_, seen| answer(418, &[("x-a", "1"), ("x-a", "2")], seen.body.clone())).await;
    let t = transport(&[]);
    for _ in 0..3 {
        let mut r = request("POST", server.url("/p?q=1"));
        r.headers.push(("X-Mine".into(), "yes".into()));
        r.body = "hello".into();
        let a = t.send(r).await.unwrap();
        assert_eq!(
            (a.status, &*a.body),
            (418, &b"hello"[..]),
            "a status is an answer, not an error"
        );
        assert_eq!(a.headers.iter().filter(|(n, _)| n == "x-a").count(), 2);
    }
    let seen = server.last();
    assert_eq!(
        (seen.method.as_str(), seen.uri.as_str(), seen.header("x-mine")),
        ("POST", "/p?q=1", Some("yes"))
    );
    assert!(seen.header("user-agent").unwrap().starts_with("levqor/"));

    let raw = Raw::start(
        "127.0.0.1:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    )
    .await;
    let kept = Server::start(|_, _| answer(200, &[], "")).await;
    for _ in 0..3 {
        t.send(request("GET", raw.url())).await.unwrap();
        t.send(request("GET", kept.url("/"))).await.unwrap();
    }
    assert_eq!(raw.count(), 3, "closed connections are replaced");
}

/// Knows no name.
struct Nobody;

#[async_trait]
impl Resolver for Nobody {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[tokio::test]
async fn what_cannot_be_reached_left_no_effect() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (code, kind, effect, retryable) = fault(request("POST", format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(
        (code.as_str(), kind, effect, retryable),
        ("http.connect", ErrorKind::Unavailable, Effect::None, true)
    );

    let options = HttpOptions {
        resolver: Some(Arc::new(Nobody)),
        ..HttpOptions::default()
    };
    for reach in [Reach::Any, Reach::Public] {
        let mut r = request("POST", "http://nobody.example/");
        r.reach = reach;
        let e = HttpTransport::new(options.clone()).unwrap().send(r).await.unwrap_err();
        assert_eq!((e.code(), e.effect(), e.retryable()), ("http.dns", Effect::None, true));
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect_unknown_unless_the_request_only_reads() {
    let closes = Raw::start("127.0.0.1:0", "").await;
    let cut = Raw::start("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    let chunked = Raw::start("127.0.0.1:0", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel").await;
    let refused = Raw::start("127.0.0.1:0", "HTTP/1.1 422 No\r\ncontent-length: 100\r\n\r\nonly this").await;
    for (server, code, post) in [
        (&closes, "http.connection_lost", Effect::Unknown),
        (&cut, "http.body_cut", Effect::Unknown),
        (&chunked, "http.body_cut", Effect::Unknown),
        (&refused, "http.body_cut", Effect::None),
    ] {
        for (method, expected) in [("POST", post), ("DELETE", post), ("GET", Effect::None)] {
            let got = fault(request(method, server.url())).await;
            assert_eq!(
                got,
                (code.to_owned(), ErrorKind::Unavailable, expected, true),
                "{method} {code}"
            );
        }
    }
}

#[tokio::test]
async fn silence_ends_at_the_time_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?secret=1", silent.local_addr().unwrap());
    for (method, effect) in [("POST", Effect::Unknown), ("GET", Effect::None)] {
        let mut r = request(method, &url);
        r.timeout = Millis(50);
        assert_eq!(fault(r).await, ("http.timeout".into(), ErrorKind::Timeout, effect, true));
    }
    let mut r = request("POST", &url);
    r.timeout = Millis::ZERO;
    assert_eq!(
        fault(r).await,
        ("http.timeout".into(), ErrorKind::Timeout, Effect::None, true)
    );

    // An answer that drips for ever ends too, though every byte comes in time.
    let endless = Server::start(|_, _| {
        let stream = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            Some((Ok::<_, io::Error>("drip"), ()))
        });
        answer(200, &[], axum::body::Body::from_stream(stream))
    })
    .await;
    let mut r = request("GET", endless.url("/"));
    r.timeout = Millis(100);
    assert_eq!(fault(r).await.0, "http.timeout");
}

#[tokio::test]
async fn answers_are_read_up_to_the_cap_unpacked_or_not() {
    let announced = Server::start(|_, _| answer(200, &[], vec![b'x'; 2_000])).await;
    let streamed = Server::start(|_, _| {
        let parts = (0..20).map(|_| Ok::<_, io::Error>(vec![b'x'; 100]));
        answer(200, &[], axum::body::Body::from_stream(futures_util::stream::iter(parts)))
    })
    .await;
    let bomb = Server::start(|_, _| answer(200, &[("content-encoding", "gzip")], &include_bytes!("support/zeros.gz")[..])).await;
    for (server, cap, fits) in [
        (&announced, 1_999, false),
        (&announced, 2_000, true),
        (&streamed, 1_999, false),
        (&streamed, 2_000, true),
        (&bomb, 999_999, false),
        (&bomb, 1_000_000, true),
    ] {
        let mut r = request("GET", server.url("/"));
        r.max_response = cap;
        match send(r).await {
            Ok(a) => assert!(fits && a.body.len() == cap),
            Err(e) => assert!(!fits && e.code() == "http.response_too_large" && !e.retryable(), "{e:?}"),
        }
    }
    let mut r = request("POST", announced.url("/"));
    r.max_response = 10;
    assert_eq!(fault(r).await.2, Effect::Unknown);
    let mut r = request("HEAD", announced.url("/"));
    r.max_response = 10;
    assert_eq!(
        send(r).await.unwrap().status,
        200,
        "the length of what is not sent does not matter"
    );

    let garbage = Server::start(|_, _| answer(200, &[("content-encoding", "gzip")], "this is not gzip")).await;
    let got = fault(request("GET", garbage.url("/"))).await;
    assert_eq!(got, ("http.body_encoding".into(), ErrorKind::Corrupt, Effect::None, false));
}

#[tokio::test]
async fn tls_faults_are_told_from_others_and_nothing_was_sent() {
    let plain = Raw::start("127.0.0.1:0", "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let closes = Raw::start("127.0.0.1:0", "").await;
    for (server, retryable) in [(plain, false), (closes, true)] {
        let got = fault(request("POST", format!("https://{}/", server.address))).await;
        assert_eq!(got, ("http.tls".into(), ErrorKind::Unavailable, Effect::None, retryable));
    }
}

#[tokio::test]
async fn redirects_are_followed_as_the_method_allows() {
    let server = Server::start(|_, seen| {
        let to = |status, target: &str| answer(status, &[("location", target)], "moved");
        match seen.uri.as_str() {
            "/302" => to(302, "/end?x=1"),
            "/303" => to(303, "end"),
            "/307" => to(307, "/end"),
            "/308" => to(308, "/307"),
            "/loop" => to(302, "/loop"),
            "/nowhere" => to(302, "http://["),
            _ => answer(200, &[], seen.body.clone()),
        }
    })
    .await;
    let ask = async |method: &str, path: &str| {
        let mut r = request(method, server.url(path));
        r.redirects = 3;
        r.body = "body".into();
        r.headers.push(("authorization".into(), "Bearer t".into()));
        send(r).await
    };
    for (method, path, status, at) in [
        ("GET", "/302", 200, "/end?x=1"),
        ("HEAD", "/303", 200, "/end"),
        ("POST", "/302", 302, "/302"),
        ("POST", "/303", 303, "/303"),
        ("POST", "/307", 200, "/end"),
        ("DELETE", "/308", 200, "/end"),
        ("GET", "/nowhere", 302, "/nowhere"),
    ] {
        let a = ask(method, path).await.unwrap();
        assert_eq!((a.status, a.url), (status, server.url(at)), "{method} {path}");
        let last = server.last();
        assert_eq!(
            (last.method.as_str(), last.header("authorization")),
            (method, Some("Bearer t"))
        );
        if status == 200 && method != "GET" && method != "HEAD" {
            assert_eq!(&*last.body, b"body", "the body goes along");
        }
    }
    let before = server.calls();
    let e = ask("GET", "/loop").await.unwrap_err();
    assert_eq!(
        (e.code(), e.retryable(), server.calls() - before),
        ("http.too_many_redirects", false, 4)
    );
    let mut r = request("GET", server.url("/302"));
    r.redirects = 0;
    assert_eq!(send(r).await.unwrap().status, 302, "not asked for, not followed");
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let other = Server::start(|_, _| answer(200, &[], "")).await;
    let target = other.url("/other");
    let first = Server::start(move |_, _| answer(307, &[("location", target.as_str())], "")).await;
    let t = transport(&[other.address.to_string()]);
    let mut r = request("POST", first.url("/"));
    r.redirects = 1;
    r.body = "body".into();
    for name in ["Authorization", "Cookie", "X-Api-Key", "webhook-signature", "Idempotency-Key"] {
        r.headers.push((name.into(), "canary".into()));
    }
    r.headers.push(("Content-Type".into(), "text/plain".into()));
    t.send(r).await.unwrap();
    let seen = other.last();
    assert!(seen.headers.iter().all(|(_, v)| v != "canary"), "{seen:?}");
    assert_eq!((seen.header("content-type"), &*seen.body), (Some("text/plain"), &b"body"[..]));
}

#[tokio::test]
async fn requests_that_are_none_are_refused_without_showing_values() {
    let ok = "http://127.0.0.1:1/";
    let with = |name: &str, value: &str| {
        let mut r = request("GET", ok);
        r.headers.push((name.into(), value.into()));
        r
    };
    for (r, code) in [
        (request("GE T", ok), "http.method_invalid"),
        (request("CONNECT", ok), "http.method_invalid"),
        (request("GET", "canary"), "http.url_invalid"),
        (request("GET", "http://user:canary@127.0.0.1/"), "http.url_invalid"),
        (with("x-a", "canary\r\nx: y"), "http.header_invalid"),
        (with("x a", "canary"), "http.header_invalid"),
    ] {
        let e = send(r).await.unwrap_err();
        assert_eq!((e.code(), e.kind(), e.effect()), (code, ErrorKind::Invalid, Effect::None));
        assert!(!format!("{e:?}").contains("canary"), "{e:?}");
    }
}
