//! Limits and claims in a SQLite file.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{SqlOptions, open_sqlite};
use crate::backend::stored::StoredLimits;
use crate::backend::stored::tests::{behaves, write_many_that_are_soon_over};
use crate::clock::SystemClock;
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
