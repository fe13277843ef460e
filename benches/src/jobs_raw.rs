//! The physical limit of jobs in SQLite: the whole life of a row (inserted, taken, done) in three commits of a batch
//! each, by bare statements with `synchronous=FULL`.

use std::str::FromStr;
use std::time::Instant;

use levqor::error::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _};

use crate::harness::Folder;

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn fault(e: sqlx::Error) -> Error {
    Error::unavailable("bench.sqlite", e.to_string())
}

/// A bare table of jobs, with one index by which jobs that wait are found.
pub(crate) struct Raw {
    conn: SqliteConnection,
    next: usize,
}

impl Raw {
    pub(crate) async fn new(folder: &Folder) -> Result<Self> {
        let url = folder.sqlite("raw");
        let options = SqliteConnectOptions::from_str(&url)
            .map_err(fault)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut conn = SqliteConnection::connect_with(&options).await.map_err(fault)?;
        conn.execute("CREATE TABLE job (id TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, args TEXT NOT NULL, worker TEXT)")
            .await
            .map_err(fault)?;
        conn.execute("CREATE INDEX job_live ON job (state, id) WHERE state <> 'done'")
            .await
            .map_err(fault)?;
        Ok(Raw { conn, next: 0 })
    }

    /// Jobs per second, in batches of this size.
    pub(crate) async fn jobs_per_second(&mut self, batch: usize, jobs: usize) -> Result<f64> {
        let start = Instant::now();
        let mut lived = 0;
        while lived < jobs {
            let ids: Vec<String> = (0..batch).map(|i| format!("job_{:016}", self.next + i)).collect();
            self.next += batch;
            let ids = serde_json::to_string(&ids).map_err(|e| Error::internal(e.to_string()))?;
            for sql in [
                "INSERT INTO job SELECT value, 'ready', '{}', NULL FROM json_each($1)",
                "UPDATE job SET state = 'leased', worker = 'w' WHERE id IN (SELECT value FROM json_each($1))",
                "UPDATE job SET state = 'done', worker = NULL WHERE id IN (SELECT value FROM json_each($1))",
            ] {
                self.conn.execute("BEGIN IMMEDIATE").await.map_err(fault)?;
                self.conn.execute(sqlx::query(sql).bind(&ids)).await.map_err(fault)?;
                self.conn.execute("COMMIT").await.map_err(fault)?;
            }
            lived += batch;
        }
        Ok(lived as f64 / start.elapsed().as_secs_f64())
    }
}
