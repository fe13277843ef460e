//! Values that somebody chose to make trouble.

use std::sync::Arc;

use super::kit::{account, at, batch, code, credits, enqueue, grant, job, key, must, read_job, spend, tenant, together};
use crate::error::{ErrorKind, Result};
use crate::jobs::NewJob;
use crate::records::{Expect, Record, RecordOp};
use crate::store::{Batch, Receipt, Store};
use crate::testkit::stores::Stores;
use crate::usage::NewUsage;

/// Texts with quotes, escapes, control characters, characters of four bytes, and things that look like code.
const STRANGE: [&str; 16] = [
    "'; DROP TABLE levqor_job; --",
    "\"double\" and `back`",
    "back\\slash \\u0000 \\n",
    "line\nbreak\r\ttab",
    "\u{1}\u{1f}\u{7f}\u{85}",
    "😀𐍈 four bytes",
    "e\u{301} is not é",
    "\u{202e}right to left",
    "\u{feff}mark",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "null",
    "123",
    "[1,{\"a\":null}]",
    "{a,b}",
    "$1 ?1 :a %s {}",
    " spaces around ",
];

fn put(kind: &str, name: &str, body: &str) -> Batch {
    batch(
        at(0),
        vec![
            RecordOp::Put {
                kind: kind.into(),
                name: name.into(),
                body: body.into(),
                expect: Expect::Any,
                expires_at: None,
            }
            .into(),
        ],
    )
}

async fn read(store: &Arc<dyn Store>, kind: &str, name: &str) -> Result<Option<Arc<Record>>> {
    store.reads().records.record(&tenant(), kind, name).await
}

/// A refusal is the caller's fault, and said to be so.
fn typed(outcome: &Result<Receipt>) {
    if let Err(e) = outcome {
        assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
    }
}

/// Everything but NUL comes back as it was, wherever it stands.
pub async fn strange_texts_come_back_or_are_refused(s: &Stores) {
    let store = &s.first;
    for text in STRANGE {
        store
            .commit(put(text, text, text).keyed(Some(key(text, text))))
            .await
            .unwrap();
        assert!(
            store
                .commit(put(text, text, text).keyed(Some(key(text, text))))
                .await
                .unwrap()
                .replayed,
            "{text:?}"
        );
        assert_eq!(&*read(store, text, text).await.unwrap().unwrap().body, text);
        must(store, at(0), grant(text, 2)).await;
        must(store, at(0), spend(text, 1)).await;
        assert_eq!(account(store, text).await.posted, credits(1));
        let new = NewJob {
            account: Some(text.into()),
            args: text.into(),
            spec: Some(text.into()),
            ..job("q")
        };
        must(store, at(0), enqueue(&new)).await;
        let read = read_job(store, &new.id).await;
        assert_eq!(
            (read.account.as_deref(), &*read.args, read.spec.as_deref()),
            (Some(text), text, Some(text))
        );
        let event = NewUsage {
            source: text.into(),
            id: text.into(),
            meter: text.into(),
            owner: text.into(),
            at: at(0),
            value: i64::MIN,
        };
        must(store, at(0), event).await;
    }
    super::kit::sound(store).await;
    // NUL, wherever it stands, is refused or comes back, and is never cut off.
    let nul = ["\0", "a\0", "a\0b", "\0a", "a\\0\0"];
    for text in nul {
        for outcome in [
            store.commit(put("k", text, "x")).await,
            store.commit(put("k", "n", text)).await,
        ] {
            typed(&outcome);
        }
        typed(&store.commit(put("k", "n", "x").keyed(Some(key(text, "f")))).await);
        typed(
            &store
                .commit(put("k", "n", "x").keyed(Some(key(&text.replace('\0', "0"), text))))
                .await,
        );
        let owner = store.commit(batch(at(0), vec![grant(text, 1).into()])).await;
        assert!(owner.is_err());
        typed(&owner);
        typed(
            &store
                .commit(batch(
                    at(0),
                    vec![enqueue(&NewJob {
                        args: text.into(),
                        ..job("q")
                    })],
                ))
                .await,
        );
        if let Ok(found) = read(store, "k", text).await {
            assert!(found.is_none_or(|r| &*r.name == text));
        }
        let _ = store.reads().ledger.account(&tenant(), text).await;
    }
    assert!(read(store, "k", "a").await.unwrap().is_none());
    assert!(read(store, "k", "").await.unwrap().is_none());
}

/// Bodies of megabytes; keys as long as the store takes.
pub async fn long_texts_come_back(s: &Stores) {
    let store = &s.first;
    let long: String = "0123456789abcdef\\\"\n😀".repeat(100_000);
    store.commit(put("k", "long", &long)).await.unwrap();
    assert!(*read(store, "k", "long").await.unwrap().unwrap().body == *long);
    for length in [200, 3_000, 100_000] {
        // No two parts alike, so that no database can make it short.
        let mut name = String::new();
        while name.len() < length {
            name.extend(crate::types::random_bytes::<8>().map(|b| char::from(b'0' + b % 64)));
        }
        let outcomes = together(
            store,
            vec![
                put("k", &name, &name),
                put("k", "n", "x"),
                put("k", "m", "x").keyed(Some(key(&name, "f"))),
            ],
        )
        .await;
        typed(&outcomes[0]);
        typed(&outcomes[2]);
        assert_eq!(code(&outcomes[1]), "ok");
        if length == 200 || outcomes[0].is_ok() {
            assert!(*read(store, "k", &name).await.unwrap().unwrap().body == *name);
        }
        let owner = batch(at(0), vec![grant(&name, 1).into()]);
        assert_eq!(
            code(&store.commit(owner).await),
            if length > 255 { "ledger.invalid_account" } else { "ok" }
        );
    }
}

/// Beside a bad one, in the same instant, good ones stand.
pub async fn a_bad_value_harms_no_other_batch(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 100)).await;
    let mut batches: Vec<Batch> = (0..20).map(|_| batch(at(1), vec![spend("ada", 1).into()])).collect();
    batches.insert(3, put("k", "n", "a\0b"));
    batches.insert(
        9,
        Batch {
            ops: vec![
                spend("ada", 1).into(),
                enqueue(&NewJob {
                    args: "\0".into(),
                    ..job("q")
                }),
            ],
            ..put("", "", "")
        },
    );
    let outcomes = together(store, batches).await;
    for (i, outcome) in outcomes.iter().enumerate().filter(|(i, _)| ![3, 9].contains(i)) {
        assert_eq!(code(outcome), "ok", "batch {i}");
    }
    typed(&outcomes[3]);
    typed(&outcomes[9]);
    let spent = 20 + i64::from(outcomes[9].is_ok());
    assert_eq!(account(store, "ada").await.posted, credits(100 - spent));
    super::kit::sound(store).await;
}
