//! What every operation asks for is found by an index that knows nothing of the history.

#![allow(clippy::unwrap_used)]

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row as _};

use super::text::{Dialect, TableSql};
use crate::credits::{Entry, Grant, Hold, Slice};
use crate::store::DDL;
use crate::table::Row;

async fn plan(conn: &mut SqliteConnection, sql: &str) -> String {
    let rows = conn
        .fetch_all(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|r| r.get::<String, _>("detail")).collect();
    lines.join("; ")
}

#[tokio::test]
async fn hot_accounts_are_found_by_partial_indexes() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for statement in DDL.iter().copied().flatten() {
        conn.execute(*statement).await.unwrap();
    }
    let by_group = |sql: &'static TableSql| sql.by_group.as_str();
    let grants = plan(&mut conn, by_group(TableSql::of::<Grant>(Dialect::Sqlite))).await;
    assert!(grants.contains("levqor_grant_open"), "{grants}");
    let holds = plan(&mut conn, TableSql::of::<Hold>(Dialect::Sqlite).front.as_str()).await;
    assert!(holds.contains("levqor_hold_due") && !holds.contains("TEMP B-TREE"), "{holds}");
    let slices = plan(&mut conn, by_group(TableSql::of::<Slice>(Dialect::Sqlite))).await;
    assert!(slices.contains("(parent=?)"), "{slices}");

    let of = "t.tenant = 'a' AND t.owner = 'b'";
    let last = format!(
        "SELECT * FROM {} t WHERE {of} AND t.booked_at < 1 AND t.late = 0 ORDER BY t.booked_at DESC, t.version DESC LIMIT 1",
        Entry::TABLE
    );
    let last = plan(&mut conn, &last).await;
    assert!(
        last.contains("levqor_entry_booked") && !last.contains("TEMP B-TREE"),
        "{last}"
    );
    let page = format!(
        "SELECT * FROM {} t WHERE {of} AND t.booked_at >= 1 AND t.booked_at < 9 AND t.version > 1 AND t.version <= 9 \
         ORDER BY t.version LIMIT 5",
        Entry::TABLE
    );
    let page = plan(&mut conn, &page).await;
    assert!(
        page.contains("version>? AND version<?") && !page.contains("TEMP B-TREE"),
        "{page}"
    );
}
