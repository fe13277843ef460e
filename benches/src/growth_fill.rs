//! A large SQLite store in little time: rows that the engine made itself are copied with other keys, by the database.
//!
//! What the copies mean is right (accounts with a grant, spends with both their entries, jobs that are done), except
//! that the hashes of copied entries do not form a chain.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use levqor::error::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

/// The account whose rows are copied.
pub(crate) const TEMPLATE: &str = "template";
/// Spends of each copied account; each has two entries.
pub(crate) const SPENDS: usize = 5;

/// What is to be there in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) accounts: usize,
    pub(crate) jobs: usize,
}

impl Size {
    /// Entries of the ledger.
    pub(crate) fn entries(self) -> usize {
        2 * SPENDS * self.accounts
    }
}

/// The name of a copied account.
pub(crate) fn account(n: usize) -> String {
    format!("account-{n:08}")
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn fault(e: sqlx::Error) -> Error {
    Error::unavailable("bench.sqlite", e.to_string())
}

/// Fills the file of a store that nobody has open: the template account has one grant and one spend, and one of its
/// jobs is done.
pub(crate) async fn fill(url: &str, from: Size, to: Size) -> Result<()> {
    let options = SqliteConnectOptions::from_str(url).map_err(fault)?;
    let mut conn = SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(10)))
        .await
        .map_err(fault)?;
    // A store that was dropped closes its connections a moment later; while one is open, the log stays.
    let patient = Instant::now() + Duration::from_secs(20);
    while let Err(e) = run(&mut conn, "PRAGMA journal_mode = DELETE").await {
        if Instant::now() > patient {
            return Err(e);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nothing is lost by a crash but the measurement.
    for pragma in ["journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"] {
        run(&mut conn, &format!("PRAGMA {pragma}")).await?;
    }
    run(&mut conn, "BEGIN").await?;
    let own = format!("owner = '{TEMPLATE}'");
    let n = "printf('account-%08d', s.i)";
    let accounts = from.accounts..to.accounts;
    copy(
        &mut conn,
        "levqor_account",
        &own,
        accounts.clone(),
        &[("owner", n), ("version", &(SPENDS + 1).to_string())],
    )
    .await?;
    let grant = [("owner", n), ("id", "printf('grant_%026d', s.i)"), ("source", "NULL")];
    copy(&mut conn, "levqor_grant", &own, accounts.clone(), &grant).await?;

    let spends = from.accounts * SPENDS..to.accounts * SPENDS;
    let n = format!("printf('account-%08d', s.i / {SPENDS})");
    let txn = "printf('txn_%026d', s.i)";
    let of_spend = format!("{own} AND kind = 'spend'");
    copy(
        &mut conn,
        "levqor_txn",
        &of_spend,
        spends.clone(),
        &[("owner", &n), ("id", txn)],
    )
    .await?;
    let version = format!("s.i % {SPENDS} + 2");
    let of_own = format!("{own} AND version = 2");
    let entry = [("owner", n.as_str()), ("txn", txn), ("version", &version)];
    copy(&mut conn, "levqor_entry", &of_own, spends.clone(), &entry).await?;

    // Their counter-entries stand on the account of the revenue, behind those that are there.
    let revenue = "owner = (SELECT owner FROM levqor_entry WHERE owner LIKE '%revenue%' LIMIT 1)";
    let last: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT MAX(version) FROM levqor_entry WHERE {revenue}"
    )))
    .fetch_one(&mut conn)
    .await
    .map_err(fault)?;
    let behind = format!("s.i - {} + {last} + 1", spends.start);
    let of_revenue = format!("{revenue} AND version = {last}");
    copy(
        &mut conn,
        "levqor_entry",
        &of_revenue,
        spends.clone(),
        &[("txn", txn), ("version", &behind)],
    )
    .await?;
    let newest = last + i64::try_from(spends.len()).unwrap_or_default();
    run(
        &mut conn,
        &format!("UPDATE levqor_account SET version = {newest} WHERE {revenue}"),
    )
    .await?;

    let done = "state = 'done'";
    let job = [("id", "printf('run_%026d', s.i)"), ("account", "printf('account-%08d', s.i)")];
    copy(&mut conn, "levqor_job", done, from.jobs..to.jobs, &job).await?;
    run(&mut conn, "COMMIT").await?;
    run(&mut conn, "ANALYZE").await?;
    conn.close().await.map_err(fault)
}

async fn run(conn: &mut SqliteConnection, sql: &str) -> Result<()> {
    conn.execute(AssertSqlSafe(sql.to_owned())).await.map(|_| ()).map_err(fault)
}

/// Copies one row of a table for each number `s.i`, with other values in some columns.
async fn copy(
    conn: &mut SqliteConnection,
    table: &str,
    which: &str,
    numbers: std::ops::Range<usize>,
    other: &[(&str, &str)],
) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let columns: Vec<String> = sqlx::query("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(&mut *conn)
        .await
        .map_err(fault)?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match other.iter().find(|(name, _)| name == column) {
            Some((_, value)) => (*value).to_owned(),
            None => format!("t.{column}"),
        })
        .collect();
    // A copy of the row apart, since a table that is read and written at once would be copied whole.
    run(conn, "DROP TABLE IF EXISTS temp.copied").await?;
    run(
        conn,
        &format!("CREATE TEMP TABLE copied AS SELECT * FROM {table} WHERE {which} LIMIT 1"),
    )
    .await?;
    let inserted = conn
        .execute(AssertSqlSafe(format!(
            "WITH RECURSIVE s(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM s WHERE i + 1 < {})
             INSERT INTO {table} ({}) SELECT {} FROM s CROSS JOIN temp.copied t",
            numbers.start,
            numbers.end,
            columns.join(", "),
            values.join(", ")
        )))
        .await
        .map_err(fault)?
        .rows_affected();
    if inserted != numbers.len() as u64 {
        return Err(Error::internal(format!(
            "{inserted} rows were copied in {table}, not {}",
            numbers.len()
        )));
    }
    Ok(())
}
