//! Throws out what no longer says anything: limits that stand as if never seen, claims that ran out, unique keys
//! of jobs that ended.

use super::conn::{Arg, Conn, Fault};
use super::text::Dialect;
use crate::error::Result;
use crate::jobs::QueueOp;
use crate::store::{Batch, Op};
use crate::types::Millis;

/// Between two looks, unless very much is written.
const EVERY: Millis = Millis(1_000);
/// How many rows may be written before the next look.
const SOON: i64 = 500;
/// Rows that go beyond twice those that came.
const MORE: i64 = 100;

/// When the next look is due. Rows go twice as fast as they come, so the tables stay as small as what is in
/// use, and no commit pays for more than its share.
#[derive(Debug, Default)]
pub(super) struct Purge {
    looked_at: Millis,
    written: i64,
}

impl Purge {
    /// What a group of batches has to throw out in its transaction: how many rows at most that were over at
    /// an instant. `None` if it is not due.
    pub(super) fn due(&self, batches: &[&Batch]) -> Option<(Millis, i64)> {
        let (now, rows) = written(batches)?;
        let rows = self.written + rows;
        let due = rows >= SOON || now - self.looked_at >= EVERY || now < self.looked_at;
        due.then_some((now, 2 * rows + MORE))
    }

    /// Notes that a group of batches has been committed.
    pub(super) fn done(&mut self, batches: &[&Batch], looked: bool) {
        if let Some((now, rows)) = written(batches) {
            self.written = if looked { 0 } else { self.written + rows };
            self.looked_at = if looked { now } else { self.looked_at };
        }
    }
}

/// The latest instant of operations on limits and claims, and how many rows they may have written.
fn written(batches: &[&Batch]) -> Option<(Millis, i64)> {
    let rows_of = |op: &Op| match op {
        Op::Limit(op) => i64::try_from(op.len()).unwrap_or(i64::MAX),
        Op::Claim(_) => 1,
        Op::Queue(QueueOp::Enqueue(new)) if new.unique.is_some() => 1,
        _ => 0,
    };
    let all = batches.iter().map(|b| (b.now, b.ops.iter().map(rows_of).sum::<i64>()));
    all.filter(|(_, n)| *n > 0)
        .reduce(|a, b| (a.0.max(b.0), a.1.saturating_add(b.1)))
}

/// Throws out at most so many rows of each table. Rows that another process is just changing are left.
pub(super) async fn purge(conn: &mut dyn Conn, dialect: Dialect, (now, most): (Millis, i64)) -> Result<(), Fault> {
    let locked = match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
    };
    for (table, column) in [
        ("levqor_limit", "gone_at"),
        ("levqor_claim", "until"),
        ("levqor_job_unique", "until"),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE (tenant, key) IN \
             (SELECT tenant, key FROM {table} WHERE {column} <= $1 ORDER BY {column} LIMIT $2{locked})"
        );
        conn.execute(&sql, vec![Arg::Int(now.0), Arg::Int(most)]).await?;
    }
    Ok(())
}
