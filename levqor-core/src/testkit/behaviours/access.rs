//! API keys and webhooks, over two engines that share a store.

use std::sync::Arc;

use serde_json::json;

use super::kit::{T0, at};
use crate::access::key::{KeyState, NewKey};
use crate::access::webhook::{Preset, Verifier};
use crate::backend::Backend;
use crate::clock::ManualClock;
use crate::engine::{Engine, KeyFilter, Turn};
use crate::error::{Error, Result};
use crate::limits::Op;
use crate::store::Page;
use crate::testkit::stores::Stores;
use crate::types::Millis;

/// Nothing is asked of the key but to be one.
const ANY: &[&str] = &[];

fn two(s: &Stores) -> (Engine, Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(T0));
    let engine = |store| {
        let github = Verifier::preset(Preset::GitHub, &["s"]).unwrap();
        let backend = Backend::of(Arc::clone(store));
        let builder = Engine::builder(backend).clock(clock.clone()).webhook("github", github);
        builder.build().unwrap()
    };
    (engine(&s.first), engine(&s.second), clock)
}

fn code<T>(outcome: Result<T>) -> String {
    outcome.err().map_or("ok".to_owned(), |e| e.code().to_owned())
}

/// At once where it is revoked, within a second everywhere else, and nobody but its holder learns of it.
pub async fn a_revoked_key_is_refused_everywhere_within_a_second(s: &Stores) {
    let (a, b, clock) = two(s);
    let made = a
        .keys()
        .create(NewKey::new("ci").account("acme").scopes(["runs:*"]))
        .await
        .unwrap();
    let text = made.expose();
    let key = b.keys().verify(text, &["runs:write"]).await.unwrap();
    assert_eq!((key.id.clone(), key.account.as_deref()), (made.id.clone(), Some("acme")));
    let e = b.keys().verify(text, &["ops"]).await.unwrap_err();
    assert_eq!((e.code(), e.status()), ("key.scope_missing", 403));
    // Another key's secret under this id.
    let other = a.keys().create(NewKey::new("other")).await.unwrap();
    let forged = crate::access::key::ApiKey::mint("lvq", made.id.clone());
    assert_eq!(code(b.keys().verify(forged.expose(), ANY).await), "key.unknown");
    assert_eq!(code(b.tenant("t2").unwrap().keys().verify(text, ANY).await), "key.unknown");
    a.keys().verify(other.expose(), ANY).await.unwrap();

    a.keys().verify(text, ANY).await.unwrap();
    let revoked = a.keys().revoke(&made.id).await.unwrap();
    assert_eq!((revoked.state(T0), revoked.revoked_at), (KeyState::Revoked, Some(T0)));
    assert_eq!(code(a.keys().verify(text, ANY).await), "key.revoked");
    assert_eq!(code(a.keys().verify(forged.expose(), ANY).await), "key.unknown");
    // The other process may go on for less than a second.
    clock.advance(Millis(999));
    assert_eq!(code(b.keys().verify(text, ANY).await), "key.revoked");
    clock.advance(Millis::secs(60));
    assert_eq!(a.keys().revoke(&made.id).await.unwrap().revoked_at, Some(T0));
    assert_eq!(code(a.keys().rotate(&made.id, Millis::ZERO).await), "key.revoked");
}

/// Its first texts pass as long as they were given.
pub async fn a_rotated_key_passes_beside_the_one_before_it(s: &Stores) {
    let (a, b, clock) = two(s);
    let first = a.keys().create(NewKey::new("k").expires_at(at(1_000_000))).await.unwrap();
    let second = b.keys().rotate(&first.id, Millis::secs(100)).await.unwrap();
    assert_ne!(first.expose(), second.expose());
    let info = a.keys().get(&first.id).await.unwrap();
    assert_eq!(
        (info.rotated_at, info.previous_until),
        (None, Some(at(100_000))),
        "made and rotated at one instant"
    );
    clock.set(at(99_999));
    for text in [first.expose(), second.expose()] {
        a.keys().verify(text, ANY).await.unwrap();
    }
    clock.set(at(100_000));
    assert_eq!(code(a.keys().verify(first.expose(), ANY).await), "key.expired");
    a.keys().verify(second.expose(), ANY).await.unwrap();
    // Two who rotate at once both have a text that passes.
    let (ka, kb) = (a.keys(), b.keys());
    let (one, two) = tokio::join!(ka.rotate(&first.id, Millis::secs(50)), kb.rotate(&first.id, Millis::secs(50)));
    for key in [one.unwrap(), two.unwrap()] {
        clock.set(at(101_000));
        b.keys().verify(key.expose(), ANY).await.unwrap();
    }
    // A text that was promised some time is never dropped for another.
    let hour = Millis::hours(1);
    a.keys().rotate(&first.id, hour).await.unwrap();
    assert_eq!(code(b.keys().rotate(&first.id, hour).await), "key.rotated_too_often");
    clock.set(at(1_000_000));
    assert_eq!(code(b.keys().verify(second.expose(), ANY).await), "key.expired");
}

/// By account or all, without anything that would pass.
pub async fn keys_are_listed_without_their_texts(s: &Stores) {
    let (a, b, clock) = two(s);
    let mut texts = Vec::new();
    for i in 0..5 {
        let new = NewKey::new(format!("k{i}")).account(if i % 2 == 0 { "acme" } else { "other" });
        texts.push(a.keys().create(new).await.unwrap());
        clock.advance(Millis(1));
    }
    a.keys().revoke(&texts[2].id).await.unwrap();
    let page = |limit, after: Option<&str>| Page {
        limit,
        after: after.map(str::to_owned),
    };
    let names = |keys: Vec<crate::access::key::KeyInfo>| keys.into_iter().map(|k| k.name).collect::<Vec<_>>();
    let of = |account: Option<&str>, ended| KeyFilter {
        account: account.map(str::to_owned),
        ended,
    };
    let all = b.keys().list(&of(None, true), &page(50, None)).await.unwrap();
    let shown = serde_json::to_string(&all).unwrap();
    for key in &texts {
        assert!(!shown.contains(&key.digest().encode()) && !shown.contains(&key.expose()[31..]));
    }
    assert_eq!(names(all), ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(
        names(b.keys().list(&of(Some("acme"), false), &page(50, None)).await.unwrap()),
        ["k0", "k4"]
    );
    // A page is full as long as there is more, whatever is left out of it.
    let first = b.keys().list(&of(None, false), &page(3, None)).await.unwrap();
    let rest = b
        .keys()
        .list(&of(None, false), &page(3, Some(first[2].id.as_str())))
        .await
        .unwrap();
    assert_eq!(
        (names(first), names(rest)),
        (vec!["k0".into(), "k1".into(), "k3".into()], vec!["k4".to_owned()])
    );
    assert_eq!(code(b.keys().get(&crate::types::KeyId::new(T0)).await), "key.unknown_id");
}

/// Written down seldom, for all keys together.
pub async fn the_last_use_of_a_key_is_known_to_some_minutes(s: &Stores) {
    let (a, b, clock) = two(s);
    let key = a.keys().create(NewKey::new("k")).await.unwrap();
    let used = async || b.keys().get(&key.id).await.unwrap().last_used_at;
    assert_eq!(used().await, None);
    for (ms, expected) in [(0, 0), (299_999, 0), (300_000, 300_000)] {
        clock.set(at(ms));
        a.keys().verify(key.expose(), ANY).await.unwrap();
        a.keys().flush().await.unwrap();
        assert_eq!(used().await, Some(at(expected)), "{ms}");
    }
}

/// Under its own limit, and counted over all processes.
pub async fn a_key_has_a_limit_of_its_own(s: &Stores) {
    let (a, b, _) = two(s);
    let wrong = NewKey::new("k").limit("60/fortnight");
    assert_eq!(a.keys().create(wrong).await.unwrap_err().place(), Some("/limit"));
    let key = a.keys().create(NewKey::new("k").limit("2/minute; 100/day")).await.unwrap();
    let free = a.keys().create(NewKey::new("free")).await.unwrap();
    let mut passed = 0;
    for engine in [&a, &b, &a, &b] {
        let info = engine.keys().verify(key.expose(), ANY).await.unwrap();
        let decision = engine.keys().limit(&info, 1).await.unwrap().unwrap();
        assert_eq!(decision.asks.len(), 2);
        passed += usize::from(decision.admitted);
    }
    assert_eq!(passed, 2);
    let info = a.keys().verify(free.expose(), ANY).await.unwrap();
    assert_eq!(a.keys().limit(&info, 1).await.unwrap(), None);
    assert!(info.asks(1).unwrap().iter().all(|ask| ask.op == Op::Take));
}

/// However often it comes, and wherever.
pub async fn a_webhook_is_worked_on_once(s: &Stores) {
    let (a, b, clock) = two(s);
    let body = b"{\"action\":\"opened\"}";
    let headers = a.webhooks().sign("github", "", body).unwrap();
    let begin = async |engine: &Engine| engine.webhooks().begin("github", &headers, body).await;
    let first = begin(&a).await.unwrap();
    assert!(matches!(first.turn, Turn::Now { .. }));
    let e = begin(&b).await.unwrap_err();
    assert_eq!((e.code(), e.retryable(), e.status()), ("webhook.busy", true, 409));
    // Whoever gives it up, or dies over it, leaves it to the next.
    a.webhooks().abandon(&first).await.unwrap();
    let second = begin(&b).await.unwrap();
    clock.advance(Millis::mins(5));
    let third = begin(&a).await.unwrap();
    assert_eq!(code(b.webhooks().finish(&second, json!(2)).await), "claims.lost");
    a.webhooks().finish(&third, json!(3)).await.unwrap();
    assert_eq!(begin(&b).await.unwrap().turn, Turn::Done(json!(3)));
    // What is not signed does not make it another message.
    let mut renamed = headers.clone();
    renamed.push(("x-github-delivery".into(), "another".into()));
    let again = b.webhooks().begin("github", &renamed, body).await.unwrap();
    assert_eq!(again.turn, Turn::Done(json!(3)));
    // A failure leaves it to the next try as well.
    let other = b"{\"action\":\"closed\"}";
    let headers = a.webhooks().sign("github", "", other).unwrap();
    let fails = async |_| Err(Error::internal("x"));
    assert_eq!(code(a.webhooks().once("github", &headers, other, fails).await), "internal");
    let works = async |event: crate::access::webhook::Event| Ok(json!(event.kind));
    assert_eq!(
        b.webhooks().once("github", &headers, other, works).await.unwrap(),
        json!(".closed")
    );
}
