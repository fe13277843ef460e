//! Connections that are stored, and tokens that all processes share: sealed, renewed by one of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use levqor_core::backend::{self, Backend};
use levqor_core::clock::{Clock, ManualClock, SystemClock};
use levqor_core::connector::Connection;
use levqor_core::engine::{DirectCall, Engine};
use levqor_core::records::Expect;
use levqor_core::store::Page;
use levqor_core::types::{Millis, Tenant};
use levqor_core::vault::Sealer;
use serde_json::{Value, json};
use support::contract::{NOW, network};
use support::{Server, answer};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A giver of tokens, as OAuth 2.1 wants it: a refresh token is good once, and one that is used twice is a theft that
/// ends them all.
#[derive(Default)]
struct Giver {
    given: AtomicUsize,
    refresh: Mutex<String>,
    access: Mutex<String>,
    thefts: AtomicUsize,
}

impl Giver {
    async fn start() -> (Arc<Self>, Server) {
        let giver = Arc::new(Giver::default());
        *giver.refresh.lock().unwrap() = "refresh-0".into();
        let own = Arc::clone(&giver);
        let server = Server::start(move |_, seen| {
            if !seen.uri.starts_with("/token") {
                let good = format!("Bearer {}", own.access.lock().unwrap());
                let ok = seen.header("authorization") == Some(good.as_str());
                return if ok {
                    answer(200, &[JSON], r#"{"total": 0, "results": []}"#)
                } else {
                    answer(
                        401,
                        &[JSON],
                        r#"{"category": "EXPIRED_AUTHENTICATION", "message": "expired"}"#,
                    )
                };
            }
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(&seen.body).into_owned().collect();
            let mut refresh = own.refresh.lock().unwrap();
            if form["refresh_token"] != *refresh {
                own.thefts.fetch_add(1, Ordering::SeqCst);
                return answer(400, &[JSON], r#"{"error": "invalid_grant"}"#);
            }
            let n = own.given.fetch_add(1, Ordering::SeqCst) + 1;
            *refresh = format!("refresh-{n}");
            *own.access.lock().unwrap() = format!("access-{n}");
            let body = json!({"access_token": format!("access-{n}"), "refresh_token": *refresh, "expires_in": 1_800});
            answer(200, &[JSON], body.to_string())
        })
        .await;
        (giver, server)
    }

    fn given(&self) -> (usize, usize) {
        (self.given.load(Ordering::SeqCst), self.thefts.load(Ordering::SeqCst))
    }
}

fn settings(server: &Server) -> Value {
    json!({
        "refresh_token": "refresh-0", "client_id": "id", "client_secret": "client-secret-1",
        "base_url": server.url(""), "token_url": server.url("/token"),
    })
}

/// An engine with connectors of its own, as another process has it.
fn engine(backend: &Backend, clock: &Arc<dyn Clock>, keys: &str) -> Engine {
    let builder = Engine::builder(backend.clone())
        .clock(Arc::clone(clock))
        .transport(network())
        .sealer(Sealer::parse(keys).unwrap());
    let connectors = levqor_connectors::all();
    connectors
        .into_iter()
        .fold(builder, levqor_core::engine::Builder::connector)
        .build()
        .unwrap()
}

async fn search(engine: &Engine) -> levqor_core::error::Result<()> {
    let mut call = DirectCall::new("hubspot.search_contacts", json!({"query": "jane"}));
    call.connection = Some("crm".into());
    engine.call(&call).await.map(drop)
}

async fn sqlite(name: &str) -> (Backend, std::path::PathBuf) {
    let file = std::env::temp_dir().join(format!("levqor-vault-{name}-{}.db", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let url = format!("sqlite://{}", file.display());
    (backend::open(&url, SystemClock::machine()).await.unwrap(), file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_engines_renews_and_the_others_see_it() {
    let (giver, server) = Giver::start().await;
    let (first, file) = sqlite("oauth").await;
    let url = format!("sqlite://{}", file.display());
    let keys = Sealer::generate();
    let manual = Arc::new(ManualClock::at(NOW));
    let clock: Arc<dyn Clock> = manual.clone();
    let mut engines = vec![engine(&first, &clock, &keys)];
    for _ in 0..3 {
        // A store of its own over the same file, as another process has it.
        let other = backend::open(&url, SystemClock::machine()).await.unwrap();
        engines.push(engine(&other, &clock, &keys));
    }
    engines[0]
        .connections()
        .put("crm", "hubspot", &settings(&server), Expect::Absent)
        .await
        .unwrap();

    let all = |n: usize| join_all((0..n).flat_map(|_| engines.iter().map(search)));
    let results = all(10).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|r| r.is_err()));
    assert_eq!(giver.given(), (1, 0), "forty calls of four engines renew once");
    for round in 2..=4 {
        manual.advance(Millis::mins(25));
        let results = all(5).await;
        assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|r| r.is_err()));
        assert_eq!(giver.given(), (round, 0), "each end of a token is one renewal");
    }
    // The vendor ends it early: all are refused, one renews.
    *giver.access.lock().unwrap() = "revoked".into();
    let results = all(5).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|r| r.is_err()));
    assert_eq!(giver.given(), (5, 0));

    // A process that starts later takes the token as it lies there.
    let late = engine(&backend::open(&url, SystemClock::machine()).await.unwrap(), &clock, &keys);
    search(&late).await.unwrap();
    assert_eq!(giver.given(), (5, 0));

    // Nothing of it can be read in the file.
    drop((engines, late, first));
    for suffix in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{suffix}", file.display())).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["refresh-", "access-", "client-secret-1"] {
            assert!(!text.contains(secret), "{secret} lies in the file");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_no_good_says_to_connect_again() {
    let (giver, server) = Giver::start().await;
    *giver.refresh.lock().unwrap() = "another".into();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let backend = Backend::memory();
    let keys = Sealer::generate();
    let engines = [engine(&backend, &clock, &keys), engine(&backend, &clock, &keys)];
    engines[0]
        .connections()
        .put("crm", "hubspot", &settings(&server), Expect::Any)
        .await
        .unwrap();
    for engine in &engines {
        for _ in 0..3 {
            let e = search(engine).await.unwrap_err();
            assert_eq!(
                (e.code(), e.details()["connection"].as_str()),
                ("auth.reconnect", Some("crm")),
                "{e:?}"
            );
            assert!(!format!("{e:?}").contains("refresh-0"));
        }
    }
    assert_eq!(giver.given(), (0, 2), "each engine asked once, and believed the answer");
    // With a new credential it goes on.
    let changes = json!({"refresh_token": "another", "client_secret": "client-secret-2"});
    assert_eq!(engines[0].connections().rotate("crm", &changes).await.unwrap(), 2);
    search(&engines[1]).await.unwrap();
    assert_eq!(giver.given().0, 1);
}

#[tokio::test]
async fn connections_are_kept_apart_sealed_and_changed() {
    let backend = Backend::memory();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let old = Sealer::generate();
    let engine_a = engine(&backend, &clock, &old);
    let c = engine_a.connections();
    let settings = json!({"token": "xoxb-canary-1", "base_url": "http://127.0.0.1:9"});
    assert_eq!(c.put("team", "slack", &settings, Expect::Absent).await.unwrap(), 1);
    assert_eq!(
        c.put("team", "slack", &settings, Expect::Absent).await.unwrap_err().code(),
        "record.changed"
    );
    for (name, connector, settings, code) in [
        ("team", "slak", json!({}), "connector.unknown"),
        ("team", "slack", json!({"tokn": "x"}), "connection.invalid"),
        ("team", "slack", json!("x"), "connection.invalid"),
        ("a b", "slack", json!({}), "connection.invalid"),
        ("", "slack", json!({}), "connection.invalid"),
    ] {
        assert_eq!(c.put(name, connector, &settings, Expect::Any).await.unwrap_err().code(), code);
    }
    let page = Page::default();
    let listed = c.list(&page).await.unwrap();
    assert_eq!(
        (listed[0].name.as_str(), listed[0].connector.as_str(), listed[0].version),
        ("team", "slack", 1)
    );
    assert!(!format!("{listed:?}").contains("canary"));

    // Another tenant has none of it, not even with a copy of the row.
    let other = engine_a.tenant("other").unwrap();
    assert!(other.connections().list(&page).await.unwrap().is_empty());
    let mut call = DirectCall::new("slack.post_message", json!({"channel": "C1", "text": "x"}));
    call.connection = Some("team".into());
    assert_eq!(other.call(&call).await.unwrap_err().code(), "connection.unknown");
    let record = backend
        .store
        .reads()
        .records
        .record(&Tenant::default(), "connection", "team")
        .await
        .unwrap()
        .unwrap();
    assert!(!record.body.contains("canary"));
    let stolen = levqor_core::records::RecordOp::Put {
        kind: "connection".into(),
        name: "team".into(),
        body: record.body.clone(),
        expect: Expect::Any,
        expires_at: None,
    };
    let batch = levqor_core::store::Batch::new(Tenant::new("other").unwrap(), NOW).op(stolen);
    backend.store.commit(batch).await.unwrap();
    assert_eq!(other.call(&call).await.unwrap_err().code(), "seal.broken");

    // It is Slack's, and nobody else's.
    let mut call = DirectCall::new("notion.search", json!({}));
    call.connection = Some("team".into());
    assert_eq!(engine_a.call(&call).await.unwrap_err().code(), "connection.other_connector");

    // A new sealing key: old ones are opened, everything is sealed anew, then the old key can go.
    let new = Sealer::generate();
    let without = engine(&backend, &clock, &new);
    assert_eq!(
        without
            .connections()
            .rotate("team", &json!({"token": "x"}))
            .await
            .unwrap_err()
            .code(),
        "seal.key_unknown"
    );
    let both = engine(&backend, &clock, &format!("{new},{old}"));
    assert_eq!(
        (
            both.connections().reseal().await.unwrap(),
            both.connections().reseal().await.unwrap()
        ),
        (1, 0)
    );
    assert_eq!(
        without
            .connections()
            .rotate("team", &json!({"token": "xoxb-2", "base_url": null}))
            .await
            .unwrap(),
        3
    );
    let listed = without.connections().list(&page).await.unwrap();
    assert_eq!(
        (listed[0].settings.join(","), listed[0].key_id.as_str()),
        ("token".to_owned(), Sealer::parse(&new).unwrap().key_id())
    );
    without.connections().remove("team").await.unwrap();
    assert!(without.connections().list(&page).await.unwrap().is_empty());

    let keyless = Engine::builder(backend).build().unwrap();
    assert_eq!(keyless.connections().list(&page).await.unwrap_err().code(), "vault.none");
}

#[tokio::test]
async fn a_connection_is_tried_by_looking() {
    let server = Server::start(|_, _| answer(200, &[JSON], r#"{"results": [], "next_cursor": null}"#)).await;
    let backend = Backend::memory();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let engine_a = engine(&backend, &clock, &Sealer::generate());
    let c = engine_a.connections();
    let settings = json!({"token": "ntn_1", "base_url": server.url("")});
    c.put("wiki", "notion", &settings, Expect::Any).await.unwrap();
    c.test("wiki", None).await.unwrap();
    assert_eq!(server.all()[0].uri, "/v1/search");
    let e = c.test("wiki", Some(("notion.create_page", json!({})))).await.unwrap_err();
    assert_eq!(e.code(), "connection.no_test");
    assert_eq!(c.test("none", None).await.unwrap_err().code(), "connection.no_test");
    c.put("mail", "resend", &json!({"token": "re_1"}), Expect::Any).await.unwrap();
    // The host's own name cannot be taken by anybody.
    let host = Engine::builder(backend)
        .sealer(Sealer::parse(&Sealer::generate()).unwrap())
        .connection(Connection::new("house", json!({})))
        .build()
        .unwrap();
    let e = host
        .connections()
        .put("house", "slack", &json!({}), Expect::Any)
        .await
        .unwrap_err();
    assert_eq!(e.code(), "connection.taken");
}
