//! Limits and claims in a SQLite file.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{SqlOptions, open_sqlite};
use crate::backend::Backend;
use crate::backend::stored::StoredLimits;
use crate::backend::stored::tests::{behaves, write_many_that_are_soon_over};
use crate::clock::SystemClock;
use crate::engine::{Engine, GrantOptions, JobRequest};
use crate::testkit::exact;
use crate::testkit::stores::{self, Folder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_claims_behave() {
    behaves(stores::sqlite().await, 6).await;
}

#[tokio::test]
async fn what_is_over_is_thrown_out() {
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.path().join("levqor.db").display());
    let store = open_sqlite(&url, &SqlOptions::default(), SystemClock::machine())
        .await
        .unwrap();
    write_many_that_are_soon_over(Arc::new(store)).await;
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    for (table, most) in [("levqor_limit", 25), ("levqor_claim", 2)] {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        assert!((1..=most).contains(&left), "{left} rows in {table}");
    }
}

#[tokio::test]
async fn four_processes_get_what_one_would() {
    let open = async |url: String| {
        // Nobody pulls the plug, so the disk need not be waited for.
        let options = SqlOptions {
            durable: false,
            ..SqlOptions::default()
        };
        StoredLimits::new(Arc::new(open_sqlite(&url, &options, SystemClock::machine()).await.unwrap()))
    };
    if exact::serve(open).await {
        return;
    }
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.path().join("levqor.db").display());
    let mut workers = exact::Workers::start(module_path!(), "four_processes_get_what_one_would", 4, &url);
    exact::at_fixed_instants(&mut workers);
}

/// The disk is full, as far as SQLite can tell: what was acknowledged stays, what was not is not there, reading goes on,
/// and when there is room again so does everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.path().join("full.db").display());
    let open = async |max_bytes| {
        let options = SqlOptions {
            max_bytes,
            ..SqlOptions::default()
        };
        let store = open_sqlite(&url, &options, SystemClock::machine()).await.unwrap();
        Engine::builder(Backend::of(Arc::new(store))).build().unwrap()
    };
    let engine = open(Some(2 << 20)).await;
    let rich = "1000000".parse().unwrap();
    engine
        .credits()
        .grant("acme", rich, GrantOptions::default(), None)
        .await
        .unwrap();
    let job = |n: usize| {
        JobRequest::new("work", "x".repeat(4_000).into())
            .account("acme")
            .hold("1".parse().unwrap())
            .key(format!("job-{n}"))
    };
    let mut acknowledged = Vec::new();
    let refused = loop {
        assert!(acknowledged.len() < 2_000, "it is never full");
        match engine.jobs().enqueue(job(acknowledged.len())).await {
            Ok(done) => acknowledged.push(done.id),
            Err(e) => break e,
        }
    };
    assert_eq!((refused.code(), refused.retryable()), ("store.full", true));
    assert!(acknowledged.len() > 50);
    let sound = async |engine: &Engine, jobs: usize| {
        let balance = engine.credits().balance("acme").await.unwrap();
        assert_eq!(balance.held.to_string(), jobs.to_string());
        assert!(engine.credits().audit().await.unwrap().violations.is_empty());
    };
    sound(&engine, acknowledged.len()).await;
    drop(engine);

    let engine = open(None).await;
    for (n, id) in acknowledged.iter().enumerate() {
        let again = engine.jobs().enqueue(job(n)).await.unwrap();
        assert_eq!((&again.id, again.replayed), (id, true));
    }
    let next = engine.jobs().enqueue(job(acknowledged.len())).await.unwrap();
    assert!(!next.replayed, "what was refused had not happened");
    sound(&engine, acknowledged.len() + 1).await;
}
