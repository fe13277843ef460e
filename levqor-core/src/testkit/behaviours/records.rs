//! Records and usage.

use std::sync::Arc;

use super::kit::{at, batch, code, must, refused, tenant, together};
use crate::records::{Expect, RecordOp};
use crate::store::Answer;
use crate::testkit::stores::Stores;
use crate::types::Millis;
use crate::usage::NewUsage;

fn put(name: &str, body: &str, expect: Expect, expires_at: Option<Millis>) -> RecordOp {
    RecordOp::Put {
        kind: "thing".into(),
        name: name.into(),
        body: body.into(),
        expect,
        expires_at,
    }
}

/// Of many who change the same version, one wins.
pub async fn versions_guard_records(s: &Stores) {
    let store = &s.first;
    must(store, at(0), put("n", "0", Expect::Absent, None)).await;
    assert_eq!(
        refused(store, at(0), put("n", "0", Expect::Absent, None)).await,
        "record.changed"
    );
    let tries = |from: usize| {
        (from..from + 50)
            .map(|i| batch(at(1), vec![put("n", &i.to_string(), Expect::Version(1), None).into()]))
            .collect()
    };
    let (a, b) = tokio::join!(together(&s.first, tries(0)), together(&s.second, tries(50)));
    let won: Vec<_> = a
        .iter()
        .chain(&b)
        .enumerate()
        .filter(|(_, o)| o.is_ok())
        .map(|(i, _)| i)
        .collect();
    assert_eq!(won.len(), 1);
    assert!(a.iter().chain(&b).all(|o| ["ok", "record.changed"].contains(&code(o))));
    let found = store.reads().records.record(&tenant(), "thing", "n").await.unwrap().unwrap();
    assert_eq!((found.version, &*found.body), (2, won[0].to_string().as_str()));
    let delete = |expect| RecordOp::Delete {
        kind: "thing".into(),
        name: "n".into(),
        expect,
    };
    assert_eq!(refused(store, at(2), delete(Expect::Version(1))).await, "record.changed");
    assert_eq!(must(store, at(2), delete(Expect::Version(2))).await, Answer::Record(None));
    assert_eq!(store.reads().records.record(&tenant(), "thing", "n").await.unwrap(), None);
    must(store, at(3), delete(Expect::Any)).await;
    // Removed and made again in one batch.
    super::kit::all(
        store,
        at(4),
        vec![
            put("n", "1", Expect::Absent, None).into(),
            delete(Expect::Any).into(),
            put("n", "2", Expect::Absent, None).into(),
        ],
    )
    .await;
    let found = store.reads().records.record(&tenant(), "thing", "n").await.unwrap().unwrap();
    assert_eq!(&*found.body, "2");
    super::kit::all(
        store,
        at(5),
        vec![delete(Expect::Any).into(), put("n", "3", Expect::Absent, None).into()],
    )
    .await;
    let found = store.reads().records.record(&tenant(), "thing", "n").await.unwrap().unwrap();
    assert_eq!(&*found.body, "3");
}

/// From the instant on at which it ends.
pub async fn an_expired_record_is_absent(s: &Stores) {
    let store = &s.first;
    must(store, at(0), put("n", "0", Expect::Absent, Some(at(10)))).await;
    assert_eq!(
        refused(store, at(9), put("n", "1", Expect::Absent, None)).await,
        "record.changed"
    );
    assert_eq!(
        refused(store, at(10), put("n", "1", Expect::Version(1), None)).await,
        "record.changed"
    );
    match must(store, at(10), put("n", "1", Expect::Absent, None)).await {
        Answer::Record(Some(record)) => {
            assert_eq!((record.version, &*record.body, record.expires_at), (2, "1", None));
            let read = store.reads().records.record(&tenant(), "thing", "n").await.unwrap();
            assert_eq!(read, Some(Arc::clone(&record)));
        }
        other => panic!("{other:?}"),
    }
}

/// The same event from many senders counts once; another content under its id is refused.
pub async fn usage_counts_once(s: &Stores) {
    let event = |value| NewUsage {
        source: "app".into(),
        id: "e1".into(),
        meter: "calls".into(),
        owner: "ada".into(),
        at: at(0),
        value,
    };
    let tries = || (0..50).map(|i| batch(at(i), vec![event(3).into()])).collect();
    let (a, b) = tokio::join!(together(&s.first, tries()), together(&s.second, tries()));
    let new = a
        .into_iter()
        .chain(b)
        .filter(|o| o.as_ref().unwrap().answers == [Answer::Usage(true)])
        .count();
    assert_eq!(new, 1);
    assert_eq!(refused(&s.first, at(60), event(4)).await, "usage.mismatch");
}
