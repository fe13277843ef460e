//! Limits and claims in Postgres.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{SqlOptions, open_postgres};
use crate::backend::stored::StoredLimits;
use crate::backend::stored::tests::{behaves, write_many_that_are_soon_over};
use crate::clock::SystemClock;
use crate::testkit::exact;
use crate::testkit::stores;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_claims_behave() {
    behaves(stores::postgres().await, 6).await;
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
