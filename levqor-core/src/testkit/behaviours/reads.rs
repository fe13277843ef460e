//! Lists: in order, in pages, filtered.

use std::sync::Arc;

use super::kit::{all, at, done, enqueue, failed, finish, grant, job, lease, must, spend, tenant};
use crate::jobs::{Job, JobState, NewJob};
use crate::records::{Expect, RecordOp};
use crate::store::{EntryFilter, JobFilter, LedgerScope, Page, Store};
use crate::testkit::stores::Stores;
use crate::types::{JobId, Millis};

async fn page(store: &Arc<dyn Store>, filter: &JobFilter, after: Option<&JobId>, limit: usize) -> Vec<Arc<Job>> {
    let page = Page {
        after: after.map(ToString::to_string),
        limit,
    };
    store.reads().queue.jobs(&tenant(), filter, &page).await.unwrap()
}

/// Also where many jobs were made in the same millisecond.
pub async fn pages_of_jobs_have_no_gaps_and_no_doubles(s: &Stores) {
    let store = &s.first;
    let mut made = Vec::new();
    for i in 0..103 {
        let (new, now) = (job("q"), at(i / 10));
        must(store, now, enqueue(&new)).await;
        made.push((now, new.id));
    }
    made.sort_by(|a, b| b.cmp(a));
    let mut found: Vec<(Millis, JobId)> = Vec::new();
    loop {
        let next = page(store, &JobFilter::default(), found.last().map(|(_, id)| id), 10).await;
        if next.is_empty() {
            break;
        }
        found.extend(next.iter().map(|j| (j.created_at, j.id.clone())));
    }
    assert_eq!(found, made);
    let theirs = store
        .reads()
        .queue
        .jobs(
            &crate::types::Tenant::new("acme").unwrap(),
            &JobFilter::default(),
            &Page::default(),
        )
        .await;
    assert_eq!(theirs.unwrap(), []);
}

/// By each field and by all of them.
pub async fn jobs_are_filtered_and_counted(s: &Stores) {
    let store = &s.first;
    for i in 0..12 {
        let new = NewJob {
            handler: if i % 2 == 0 { "even" } else { "odd" }.into(),
            account: (i % 3 == 0).then(|| "ada".into()),
            run_at: at(if i < 10 { 0 } else { 1_000_000 }),
            ..job(if i < 6 { "q" } else { "p" })
        };
        must(store, at(i), enqueue(&new)).await;
    }
    let leased = lease(store, at(20), "q", 4).await;
    all(
        store,
        at(21),
        vec![
            finish(&leased[0], done(None)),
            finish(&leased[1], failed(None)),
            finish(&leased[2], failed(Some(at(99)))),
        ],
    )
    .await;
    let count = async |filter: JobFilter| page(store, &filter, None, 100).await.len();
    assert_eq!(
        count(JobFilter {
            queue: Some("q".into()),
            ..JobFilter::default()
        })
        .await,
        6
    );
    assert_eq!(
        count(JobFilter {
            handler: Some("odd".into()),
            ..JobFilter::default()
        })
        .await,
        6
    );
    assert_eq!(
        count(JobFilter {
            account: Some("ada".into()),
            ..JobFilter::default()
        })
        .await,
        4
    );
    assert_eq!(
        count(JobFilter {
            state: Some(JobState::Dead),
            ..JobFilter::default()
        })
        .await,
        1
    );
    let narrow = JobFilter {
        state: Some(JobState::Ready),
        queue: Some("p".into()),
        account: Some("ada".into()),
        handler: Some("even".into()),
        ..JobFilter::default()
    };
    assert_eq!(count(narrow).await, 1);
    let mut counts = store.reads().queue.counts(&tenant()).await.unwrap();
    counts.sort();
    let expected = [
        ("p", JobState::Scheduled, 2),
        ("p", JobState::Ready, 4),
        ("q", JobState::Scheduled, 1),
        ("q", JobState::Ready, 2),
        ("q", JobState::Leased, 1),
        ("q", JobState::Dead, 1),
    ];
    assert_eq!(counts, expected.map(|(queue, state, n)| (queue.to_owned(), state, n)));
}

/// A page's last row may have left the list since, and the next page still begins behind it.
pub async fn a_page_goes_on_behind_what_has_changed(s: &Stores) {
    let store = &s.first;
    for i in 0..6 {
        must(store, at(i), enqueue(&job("q"))).await;
        put(store, &format!("n{i}")).await;
    }
    let ready = JobFilter {
        state: Some(JobState::Ready),
        ..JobFilter::default()
    };
    let first = page(store, &ready, None, 3).await;
    lease(store, at(10), "q", 100).await;
    let leased = JobFilter {
        state: Some(JobState::Leased),
        ..JobFilter::default()
    };
    assert_eq!(page(store, &ready, Some(&first[2].id), 3).await, []);
    assert_eq!(page(store, &leased, Some(&first[2].id), 10).await.len(), 3);
    must(
        store,
        at(11),
        RecordOp::Delete {
            kind: "thing".into(),
            name: "n2".into(),
            expect: Expect::Any,
        },
    )
    .await;
    let rest = Page {
        after: Some("n2".into()),
        limit: 10,
    };
    let names: Vec<_> = store
        .reads()
        .records
        .records(&tenant(), "thing", &rest)
        .await
        .unwrap()
        .iter()
        .map(|r| r.name.clone())
        .collect();
    assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), ["n3", "n4", "n5"]);
}

async fn put(store: &Arc<dyn Store>, name: &str) {
    let put = RecordOp::Put {
        kind: "thing".into(),
        name: name.into(),
        body: "{}".into(),
        expect: Expect::Any,
        expires_at: None,
    };
    must(store, at(0), put).await;
}

/// Names in the order of their bytes, whatever the database thinks of letters; entries by version.
pub async fn entries_accounts_and_records_come_in_order(s: &Stores) {
    let store = &s.first;
    let names = ["Zoe", "_x", "a b", "a-c", "aB", "ab", "ä", "😀"];
    for name in names.iter().rev() {
        must(store, at(0), grant(name, 9)).await;
        put(store, name).await;
    }
    for i in 1..=5 {
        must(store, at(i), spend("ab", 1)).await;
    }
    let reads = store.reads();
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = Page {
            after: found.last().cloned(),
            limit: 3,
        };
        let next = reads.ledger.rows(&tenant(), &LedgerScope::Accounts(page)).await.unwrap();
        let mut next: Vec<_> = next.accounts.iter().map(|a| a.owner.to_string()).collect();
        if next.is_empty() {
            break;
        }
        next.sort_unstable();
        found.extend(next);
    }
    found.retain(|owner| !owner.starts_with("levqor:"));
    assert_eq!(found, names);
    let records = reads.records.records(&tenant(), "thing", &Page::default()).await.unwrap();
    assert_eq!(records.iter().map(|r| &*r.name).collect::<Vec<_>>(), names);
    let versions = async |booked, after, limit| {
        let filter = EntryFilter { booked, after, limit };
        let entries = reads.ledger.entries(&tenant(), "ab", &filter).await.unwrap();
        entries.iter().map(|e| e.version).collect::<Vec<_>>()
    };
    let always = (Millis(i64::MIN), Millis::MAX);
    assert_eq!(versions(always, 0, 100).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(versions(always, 2, 2).await, [3, 4]);
    assert_eq!(versions((at(2), at(4)), 0, 100).await, [3, 4]);
    assert_eq!(versions(always, i64::MAX, 100).await, [0; 0]);
    assert_eq!(versions(always, i64::MIN, 1).await, [1]);
}
