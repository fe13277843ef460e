//! Limits and claims in Postgres.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{SqlOptions, open_postgres};
use crate::backend::stored::StoredLimits;
use crate::backend::stored::tests::{behaves, write_many_that_are_soon_over};
use crate::clock::SystemClock;
use crate::engine::{Engine, GrantOptions, HandlerOptions, JobRequest, Placeholder, Wf, handler};
use crate::testkit::exact;
use crate::testkit::stores;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_claims_behave() {
    behaves(stores::postgres().await, 6).await;
}

/// A table of the host's, an engine over the same database, and a connection of the host's.
async fn host() -> (String, Engine, PgConnection) {
    let url = stores::postgres_database().await;
    let backend = crate::backend::open(&url, SystemClock::machine()).await.unwrap();
    let engine = Engine::builder(backend)
        .handler(
            "work",
            HandlerOptions::default(),
            handler(|_: Wf, n: i64| async move { Ok(n) }),
        )
        .build()
        .unwrap();
    engine
        .credits()
        .grant("acme", "10".parse().unwrap(), GrantOptions::default(), None)
        .await
        .unwrap();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute("CREATE TABLE host_order (id BIGINT PRIMARY KEY)").await.unwrap();
    (url, engine, conn)
}

async fn orders(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM host_order")
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_there_exactly_if_the_hosts_transaction_is() {
    let (_url, engine, mut conn) = host().await;
    let request = |n: i64| JobRequest::new("work", n.into()).account("acme").hold("4".parse().unwrap());
    for (n, commits) in [(1, false), (2, true)] {
        let mut tx = conn.begin().await.unwrap();
        tx.execute("INSERT INTO host_order VALUES (1)").await.unwrap();
        let mut with = engine.atomic(Some("order")).unwrap();
        let place = with.enqueue(request(n).unique("order", crate::types::Millis::ZERO)).unwrap();
        let done = with.commit_in(&mut *tx).await.unwrap();
        assert!(!done.replayed() && done.job(place).unwrap().hold.is_some());
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(engine.worker().drain().await.unwrap().done, u64::from(commits));
    }
    assert_eq!(orders(&mut conn).await, 1);
    assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "6");

    // What is refused leaves the host's transaction as it was.
    let mut tx = conn.begin().await.unwrap();
    tx.execute("INSERT INTO host_order VALUES (2)").await.unwrap();
    for _ in 0..2 {
        let mut with = engine.atomic(Some("too much")).unwrap();
        with.spend("acme", "100".parse().unwrap());
        let refused = with.commit_in(&mut *tx).await.unwrap_err();
        assert_eq!(refused.code(), "ledger.insufficient_credits");
    }
    tx.commit().await.unwrap();
    assert_eq!(orders(&mut conn).await, 2);

    let outside = engine.atomic(None).unwrap().commit_in(&mut conn).await.unwrap_err();
    assert_eq!(outside.code(), "store.no_transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_enqueues_with_a_driver_of_its_own() {
    let (_url, engine, mut conn) = host().await;
    let mut ids = Vec::new();
    for commits in [false, true] {
        let made = engine
            .jobs()
            .sql_enqueue(JobRequest::new("work", 7.into()), Placeholder::Numbered)
            .unwrap();
        let mut tx = conn.begin().await.unwrap();
        for statement in &made.statements {
            let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
            for param in &statement.params {
                query = match param {
                    Value::String(text) => query.bind(text.clone()),
                    Value::Null => query.bind(Option::<String>::None),
                    number => query.bind(number.as_i64()),
                };
            }
            // A null of the wrong type is what an untyped driver would not send.
            tx.execute(query).await.unwrap();
        }
        if commits {
            tx.commit().await.unwrap();
        }
        ids.push(made.job);
    }
    assert_eq!(engine.worker().drain().await.unwrap().done, 1);
    assert_eq!(engine.jobs().get(&ids[0]).await.unwrap_err().code(), "jobs.unknown");
    assert_eq!(engine.jobs().get(&ids[1]).await.unwrap().result.as_deref(), Some("7"));
    let format = engine
        .jobs()
        .sql_enqueue(JobRequest::new("work", 7.into()), Placeholder::Format)
        .unwrap();
    assert!(format.statements[0].sql.ends_with("%s)") && !format.statements[0].sql.contains('$'));
    for request in [
        JobRequest::new("work", 7.into()).key("k"),
        JobRequest::new("work", 7.into()).unique("u", crate::types::Millis::ZERO),
        JobRequest::new("work", 7.into()).account("acme").hold("1".parse().unwrap()),
    ] {
        let refused = engine.jobs().sql_enqueue(request, Placeholder::Numbered).unwrap_err();
        assert_eq!(refused.code(), "jobs.sql_unsupported");
    }
}

#[tokio::test]
async fn what_is_over_is_thrown_out() {
    let url = stores::postgres_database().await;
    let store = open_postgres(&url, &SqlOptions::default(), SystemClock::machine())
        .await
        .unwrap();
    write_many_that_are_soon_over(Arc::new(store)).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    for (table, most) in [("levqor_limit", 25), ("levqor_claim", 2)] {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        assert!((1..=most).contains(&left), "{left} rows in {table}");
    }
}

#[tokio::test]
async fn four_processes_get_what_one_would() {
    let open = async |url: String| {
        let options = SqlOptions::default();
        StoredLimits::new(Arc::new(open_postgres(&url, &options, SystemClock::machine()).await.unwrap()))
    };
    if exact::serve(open).await {
        return;
    }
    let url = stores::postgres_database().await;
    let mut workers = exact::Workers::start(module_path!(), "four_processes_get_what_one_would", 4, &url);
    exact::at_fixed_instants(&mut workers);
}
