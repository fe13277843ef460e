//! No URL from a user reaches the inside, however it is written, resolved or redirected.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use levqor_core::error::{Effect, Error};
use levqor_core::transport::guard::Guard;
use levqor_core::transport::{HttpOptions, HttpTransport, Reach, Request, Resolver, Transport};
use levqor_core::types::Millis;
use support::{Raw, Server, answer};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Every form of an address inside that the field's lists of attacks hold; `PORT` is where somebody listens.
const HOSTILE: [&str; 91] = [
    "http://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.127.127.127:PORT/",
    "http://127.255.255.254:PORT/",
    "http://0.0.0.0:PORT/",
    "http://0:PORT/",
    "http://2130706433:PORT/",
    "http://017700000001:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0x0.0x0.0x1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0177.0000.0000.0001:PORT/",
    "http://0x7f.1:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127。0。0。1:PORT/",
    "http://127.0.0.1:PORT/",
    "http://①②⑦.0.0.1:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://LocalHost.:PORT/",
    "http://ｌｏｃａｌｈｏｓｔ:PORT/",
    "http://sub.localhost:PORT/",
    "http://localhost.localdomain:PORT/",
    "http://ip6-localhost:PORT/",
    "http://[::1]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
    "http://[::]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "http://[::ffff:0:127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[64:ff9b:1::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2002:a00:1::1]:PORT/",
    "http://[2001:0:7f00:1::]:PORT/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fe80::a9fe:a9fe]:PORT/",
    "http://[fc00::1]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://[fec0::1]:PORT/",
    "http://[ff02::1]:PORT/",
    "http://[100::1]:PORT/",
    "http://[2001:db8::1]:PORT/",
    "http://[3fff::1]:PORT/",
    "http://[2a00:1450::5efe:127.0.0.1]:PORT/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254:80/",
    "http://2852039166/latest/meta-data/",
    "http://0xA9FEA9FE/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://169.254.170.2/v2/credentials",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.0.1/",
    "http://192.168.1.254:8443/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://198.18.0.1/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://user@127.0.0.1:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.com/",
    "http://127.0.0.1:PORT\\@example.com/",
    "http://example.com:80@127.0.0.1:PORT/",
    "http:/127.0.0.1:PORT/",
    "http:\\\\127.0.0.1:PORT\\",
    "  http://127.0.0.1:PORT/  ",
    "ht\ntp://127.0.\t0.1:PORT/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_GET",
    "ftp://127.0.0.1:PORT/",
];

/// Answers every name with the same addresses; counts.
struct Fixed {
    addresses: Vec<IpAddr>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Fixed {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.addresses.clone())
    }
}

fn fixed(addresses: &[&str]) -> Arc<Fixed> {
    Arc::new(Fixed {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        asked: AtomicUsize::new(0),
    })
}

fn guarded(allow: &[&str], resolver: Option<Arc<dyn Resolver>>) -> HttpTransport {
    HttpTransport::new(HttpOptions {
        allow: allow.iter().map(|a| (*a).to_owned()).collect(),
        resolver,
        ..HttpOptions::default()
    })
    .unwrap()
}

fn get(url: &str, reach: Reach) -> Request {
    let mut r = Request::new("GET", url);
    r.reach = reach;
    r.redirects = 5;
    r.timeout = Millis::secs(5);
    r
}

fn is_refusal(e: &Error) -> bool {
    matches!(e.code(), "http.address_refused" | "http.url_invalid") && e.effect() == Effect::None && !e.retryable()
}

/// Somebody who listens on every address of this machine.
async fn everywhere() -> Raw {
    Raw::start("[::]:0", OK).await
}

#[tokio::test]
async fn hostile_urls_make_no_connection() {
    let victim = everywhere().await;
    let port = victim.address.port();
    let transport = guarded(&[], Some(fixed(&["127.0.0.1"])));
    for text in HOSTILE {
        let url = text.replace("PORT", &port.to_string());
        // Asked first, so that a hole in the guard shows here and not as a call to somebody.
        if let Ok(parsed) = url::Url::parse(&url) {
            assert!(Guard::default().url(&parsed, Reach::Public).is_err(), "{url}");
        }
        match transport.send(get(&url, Reach::Public)).await {
            Ok(answer) => panic!("{url} was reached: {answer:?}"),
            Err(e) => assert!(is_refusal(&e), "{url}: {e:?}"),
        }
    }
    assert_eq!(victim.count(), 0);

    // The listener does hear those who may call: otherwise the count would prove nothing.
    transport
        .send(get(&format!("http://127.0.0.1:{port}/"), Reach::Any))
        .await
        .unwrap();
    assert_eq!(victim.count(), 1);
}

#[tokio::test]
async fn names_that_point_inside_make_no_connection() {
    let victim = everywhere().await;
    let url = format!("http://rebind.example:{}/", victim.address.port());
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["93.184.216.34", "127.0.0.1"],
        &["127.0.0.1", "93.184.216.34"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["64:ff9b::7f00:1"],
    ] {
        let e = guarded(&[], Some(fixed(addresses)))
            .send(get(&url, Reach::Public))
            .await
            .unwrap_err();
        assert_eq!(e.code(), "http.address_refused", "{addresses:?}: {e:?}");
    }
    assert_eq!(victim.count(), 0);
}

/// Answers in turn with one address and another: the name is rebound between two lookups.
struct Turning(AtomicUsize);

#[async_trait]
impl Resolver for Turning {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        Ok(vec![if n.is_multiple_of(2) { [127, 0, 0, 1] } else { [127, 0, 0, 2] }.into()])
    }
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_connected_to() {
    let server = everywhere().await;
    let turning = Arc::new(Turning(AtomicUsize::new(0)));
    // For this test 127.0.0.1 stands for a public address and 127.0.0.2 for one inside.
    let transport = guarded(&["127.0.0.1/32"], Some(Arc::clone(&turning) as Arc<dyn Resolver>));
    let url = format!("http://rebind.example:{}/", server.address.port());
    for round in 1..=5 {
        transport.send(get(&url, Reach::Public)).await.unwrap();
        assert_eq!(
            (turning.0.load(Ordering::SeqCst), server.count()),
            (2 * round - 1, round),
            "one lookup, one connection"
        );
        let e = transport.send(get(&url, Reach::Public)).await.unwrap_err();
        assert_eq!((e.code(), server.count()), ("http.address_refused", round));
    }
}

#[tokio::test]
async fn redirects_into_the_inside_make_no_connection() {
    let victim = everywhere().await;
    let port = victim.address.port();
    let first = Server::start(move |_, seen| {
        // A location such as `http:/x` is relative, and leads back here.
        let Ok(n) = seen.uri.trim_start_matches('/').parse::<usize>() else {
            return answer(404, &[], "");
        };
        let to = HOSTILE[n].trim().replace(['\n', '\t'], "").replace("PORT", &port.to_string());
        match axum::http::HeaderValue::from_bytes(to.as_bytes()) {
            Ok(location) => {
                let mut a = answer(302, &[], "");
                a.headers_mut().insert("location", location);
                a
            }
            Err(_) => answer(500, &[], ""),
        }
    })
    .await;
    let transport = guarded(&[&first.address.to_string()], Some(fixed(&["127.0.0.1"])));
    let mut refused = 0;
    for (n, hostile) in HOSTILE.iter().enumerate() {
        for reach in [Reach::Public, Reach::Any] {
            // What does not parse as an address is not followed.
            match transport.send(get(&first.url(&format!("/{n}")), reach)).await {
                Ok(a) => assert!(matches!(a.status, 302 | 404), "{hostile}"),
                Err(e) => {
                    assert!(is_refusal(&e), "{hostile}: {e:?}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(victim.count(), 0);
    assert!(refused > HOSTILE.len(), "most redirects were judged: {refused}");
}

#[tokio::test]
async fn a_public_request_cannot_ride_on_a_connection_that_the_host_opened() {
    let server = Server::start(|_, _| answer(200, &[], "kept alive")).await;
    let transport = guarded(&[], Some(fixed(&["127.0.0.1"])));
    let url = format!("http://inside.example:{}/", server.address.port());
    transport.send(get(&url, Reach::Any)).await.unwrap();
    let e = transport.send(get(&url, Reach::Public)).await.unwrap_err();
    assert_eq!((e.code(), server.calls()), ("http.address_refused", 1));
}

#[tokio::test]
async fn what_the_host_allows_is_reached() {
    let server = everywhere().await;
    let port = server.address.port();
    let at = |host: &str| format!("http://{host}:{port}/");
    let by_port = format!("127.0.0.1:{port}");
    for (allow, url) in [
        ("127.0.0.0/8", at("127.0.0.1")),
        (by_port.as_str(), at("127.0.0.1")),
        ("crm.internal", at("CRM.internal")),
        ("localhost", at("localhost")),
        ("127.0.0.1", at("anything.example")),
    ] {
        let before = server.count();
        guarded(&[allow], Some(fixed(&["127.0.0.1"])))
            .send(get(&url, Reach::Public))
            .await
            .unwrap();
        assert_eq!(server.count(), before + 1, "{allow}");
    }
}
