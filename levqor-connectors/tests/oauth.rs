//! Tokens that are renewed: when, by whom, and what happens if that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use levqor_core::clock::ManualClock;
use levqor_core::connector::{Connection, Cx};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::contract::{NOW, connector, cx};
use support::{Seen, Server, answer};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A vendor that takes only the newest token, and a giver of tokens behind `/token`.
struct World {
    server: Server,
    given: Arc<AtomicUsize>,
}

impl World {
    /// `give` says what the n-th request for a token is answered with.
    async fn new<F>(give: F) -> Self
    where
        F: Fn(usize, &Seen) -> (u16, Value) + Clone + Send + Sync + 'static,
    {
        let given: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&given);
        let server = Server::start(move |_, seen| {
            if seen.uri.starts_with("/token") {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let (status, body) = give(n, seen);
                return answer(status, &[JSON], body.to_string());
            }
            let good = format!("Bearer new-{}", count.load(Ordering::SeqCst));
            if seen.header("authorization") == Some(good.as_str()) {
                return answer(200, &[JSON], r#"{"range": "A1", "values": [[1]]}"#);
            }
            // A careless vendor: what it was sent stands in its answer.
            let said = format!("no: {:?}", seen.header("authorization"));
            answer(
                401,
                &[JSON],
                json!({"error": {"message": said, "status": "UNAUTHENTICATED"}}).to_string(),
            )
        })
        .await;
        World { server, given }
    }

    fn cx(&self, mut settings: Value) -> Cx {
        settings["token_url"] = self.server.url("/token").into();
        cx(&settings, &self.server.url(""))
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<BTreeSet<String>> {
        let asked = self.server.all().into_iter().filter(|s| s.uri.starts_with("/token"));
        asked
            .map(|s| {
                url::form_urlencoded::parse(&s.body)
                    .map(|(n, v)| format!("{n}={v}"))
                    .collect()
            })
            .collect()
    }
}

fn token(n: usize) -> Value {
    json!({"access_token": format!("new-{}", n + 1), "expires_in": 3_600, "token_type": "Bearer"})
}

fn refreshing() -> Value {
    json!({"token": "old-0", "refresh_token": "refresh-0", "client_id": "id", "client_secret": "secret-0"})
}

async fn read(c: &Arc<dyn levqor_core::connector::Connector>, cx: &Cx) -> Result<Value> {
    let input = json!({"spreadsheetId": "s", "range": "A1"});
    c.call(cx, "get_values", &input).await.map(|o| o.data)
}

#[tokio::test]
async fn two_hundred_calls_with_an_expired_token_renew_it_once() {
    let world = World::new(|n, _| (200, token(n))).await;
    let cx = world.cx(refreshing());
    let c = connector("google_calendar");
    let input = json!({"calendarId": "primary"});
    let calls = join_all((0..200).map(|_| c.call(&cx, "list_events", &input))).await;
    assert!(calls.iter().all(Result::is_ok), "{:?}", calls.iter().find(|r| r.is_err()));
    assert_eq!(world.given(), 1);
    let wanted = [
        "client_id=id",
        "client_secret=secret-0",
        "grant_type=refresh_token",
        "refresh_token=refresh-0",
    ];
    assert_eq!(world.asked(), [wanted.map(str::to_owned).into()]);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let world = World::new(|n, _| (200, token(n))).await;
    let clock = Arc::new(ManualClock::at(NOW));
    let mut settings = refreshing();
    settings.as_object_mut().unwrap().remove("token");
    let mut cx = world.cx(settings);
    cx.clock = clock.clone();
    let c = connector("google_sheets");
    for (later, given) in [(0, 1), (2_879, 1), (2, 2), (2_879, 2), (2, 3)] {
        clock.advance(Millis::secs(later));
        read(&c, &cx).await.unwrap();
        assert_eq!(world.given(), given, "{later}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_changes_is_taken_over() {
    let world = World::new(|n, _| {
        let mut given = token(n);
        given["refresh_token"] = format!("refresh-{}", n + 1).into();
        (200, given)
    })
    .await;
    let clock = Arc::new(ManualClock::at(NOW));
    let mut cx = world.cx(refreshing());
    cx.clock = clock.clone();
    let c = connector("google_sheets");
    for _ in 0..3 {
        read(&c, &cx).await.unwrap();
        clock.advance(Millis::hours(1));
    }
    let used: Vec<bool> = world
        .asked()
        .iter()
        .enumerate()
        .map(|(n, form)| form.contains(&format!("refresh_token=refresh-{n}")))
        .collect();
    assert_eq!(used, [true, true, true]);
}

async fn refused(give: (u16, Value)) -> (Error, usize) {
    let world = World::new(move |_, _| give.clone()).await;
    let cx = world.cx(refreshing());
    let c = connector("google_sheets");
    let first = read(&c, &cx).await.unwrap_err();
    let all = join_all((0..20).map(|_| read(&c, &cx))).await;
    assert!(all.iter().all(Result::is_err));
    (first, world.given())
}

#[tokio::test]
async fn a_renewal_that_fails_for_good_is_not_tried_by_everybody() {
    let (e, given) = refused((
        400,
        json!({"error": "invalid_grant", "error_description": "refresh-0 was revoked"}),
    ))
    .await;
    assert_eq!((e.kind(), e.code(), given), (ErrorKind::Denied, "auth.reconnect", 1));
    let shown = format!("{e} {e:?} {}", e.to_json());
    assert!(
        shown.contains("`main`") && shown.contains("invalid_grant") && !shown.contains("refresh-0"),
        "{shown}"
    );
    let (e, _) = refused((200, json!({"ok": false}))).await;
    assert_eq!(e.code(), "auth.reconnect");
}

#[tokio::test]
async fn a_renewal_that_cannot_be_now_is_tried_again() {
    let world = World::new(|n, _| {
        if n < 2 {
            (503, json!({}))
        } else {
            (200, json!({"access_token": "new-3"}))
        }
    })
    .await;
    let cx = world.cx(refreshing());
    let e = cx.clone();
    assert_eq!(
        connector("google_sheets")
            .call(&e, "get_values", &json!({"spreadsheetId": "s", "range": "A1"}))
            .await
            .unwrap()
            .attempts,
        3
    );
    assert_eq!(world.given(), 3);
}

#[tokio::test]
async fn a_token_that_stays_wrong_is_an_error_without_the_token() {
    let world = World::new(|_, _| (200, json!({"access_token": "unwanted-token-1", "expires_in": "60"}))).await;
    let cx = world.cx(refreshing());
    let e = read(&connector("google_sheets"), &cx).await.unwrap_err();
    assert_eq!((e.kind(), e.code(), world.given()), (ErrorKind::Denied, "auth.invalid", 1));
    let shown = format!("{e} {e:?} {}", e.to_json());
    assert!(!shown.contains("unwanted-token-1") && shown.contains("[redacted]"), "{shown}");
}

#[tokio::test]
async fn a_call_that_is_given_up_loses_no_refresh_token() {
    let world = World::new(|n, _| (200, token(n))).await;
    let cx = world.cx(refreshing());
    let c = connector("google_sheets");
    // Given up at every point that it can be given up at, until it is done.
    for patience in 1_u64.. {
        let call = tokio::time::timeout(std::time::Duration::from_micros(patience * 200), read(&c, &cx));
        if call.await.is_ok() {
            break;
        }
    }
    read(&c, &cx).await.unwrap();
    assert_eq!(world.given(), 1, "whatever was begun was brought to its end");
}

#[tokio::test]
async fn a_service_account_signs_for_itself() {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let key = json!({"type": "service_account", "client_email": "bot@p.iam.gserviceaccount.com", "private_key": pem, "private_key_id": "k1"});
    let world = World::new(|n, _| (200, token(n))).await;
    let c = connector("google_sheets");
    for account in [key.clone(), key.to_string().into()] {
        let cx = world.cx(json!({"service_account": account, "subject": "ann@example.com"}));
        read(&c, &cx).await.unwrap();
    }
    let form = &world.asked()[0];
    assert!(form.contains("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let jwt = form.iter().find_map(|f| f.strip_prefix("assertion=")).unwrap();
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    assert_eq!(part(head), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let seconds = NOW.0 / 1_000;
    assert_eq!(
        part(claims),
        json!({
            "iss": "bot@p.iam.gserviceaccount.com", "sub": "ann@example.com", "aud": "https://oauth2.googleapis.com/token",
            "scope": "https://www.googleapis.com/auth/spreadsheets", "iat": seconds, "exp": seconds + 3_600
        })
    );
    let bad = world.cx(json!({"service_account": {"client_email": "x", "private_key": "canary-key"}}));
    let e = read(&c, &bad).await.unwrap_err();
    assert_eq!(
        (e.kind(), e.code(), e.place()),
        (ErrorKind::Config, "connection.invalid", Some("service_account"))
    );
    assert!(!format!("{e:?}").contains("canary"));
}

#[tokio::test]
async fn a_connection_is_told_what_it_lacks() {
    let world = World::new(|n, _| (200, token(n))).await;
    let mut cx = world.cx(json!({}));
    let c = connector("google_sheets");
    let e = read(&c, &cx).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Config, "connection.incomplete"));
    assert!(e.help().unwrap().contains("refresh_token"), "{e}");
    cx.connection = Some(Arc::new(Connection::new("main", json!({"token": "t", "tokn": "x"}))));
    let e = read(&c, &cx).await.unwrap_err();
    assert_eq!((e.code(), e.place()), ("connection.invalid", Some("tokn")));
    cx.connection = None;
    assert_eq!(read(&c, &cx).await.unwrap_err().code(), "connection.missing");
    assert_eq!(world.server.calls(), 0);
}
