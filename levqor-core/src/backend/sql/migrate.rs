//! The schema: made and brought forward under a lock, so that any number of processes may start at once.

use super::conn::{Arg, Conn, Fault};
use super::text::Dialect;
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::{self, schedule};
use crate::store;
use crate::table::{Cell, Kind};
use crate::types::Millis;

/// The versions of the schema: what each adds to the one before.
const VERSIONS: &[&[&[&str]]] = &[store::DDL, &[schedule::DDL], &[jobs::DDL_2]];

/// The newest version that this build knows.
pub(super) fn newest() -> i64 {
    i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the schema to the newest version, inside the transaction that `conn` has begun under its
/// database's lock. Returns the versions before and after.
pub(super) async fn migrate(conn: &mut dyn Conn, dialect: Dialect, now: Millis) -> Result<(i64, i64)> {
    let fail = |f: Fault| f.into_error();
    conn.execute(
        "CREATE TABLE IF NOT EXISTS levqor_schema (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)",
        vec![],
    )
    .await
    .map_err(fail)?;
    let found = conn
        .fetch(
            "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM levqor_schema",
            vec![],
            &[Kind::Int],
        )
        .await
        .map_err(fail)?;
    let current = match found.first().and_then(|row| row.first()) {
        Some(Cell::Int(n)) => *n,
        _ => 0,
    };
    if current > newest() {
        return Err(Error::new(
            ErrorKind::Config,
            "store.schema_too_new",
            format!("the database has schema {current}, this build knows only up to {}", newest()),
        )
        .hint("run a newer Levqor, or open another database"));
    }
    for (version, parts) in (1..).zip(VERSIONS).skip(usize::try_from(current).unwrap_or(0)) {
        for statement in parts.iter().copied().flatten() {
            conn.execute(&dialect.ddl(statement), vec![]).await.map_err(fail)?;
        }
        conn.execute(
            "INSERT INTO levqor_schema (version, applied_at) VALUES ($1, $2)",
            vec![Arg::Int(version), Arg::Int(now.0)],
        )
        .await
        .map_err(fail)?;
    }
    Ok((current, newest()))
}
