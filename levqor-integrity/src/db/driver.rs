//! What both drivers share: the probe, over the few words in which the databases differ, and what an error means.

use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::random_bytes;

use super::{Probe, Probed, literal, quoted};

/// What a query answers, as text.
pub(super) type Texts = Vec<Vec<Option<String>>>;

/// The words in which a database differs from others.
pub(super) trait Dialect: Sync {
    /// A connection.
    type Conn: Send;
    /// Asks for the version.
    const VERSION: &'static str;
    /// Begins a transaction that will write.
    const BEGIN: &'static str;
    /// Compares two values, of which one may be nothing.
    const SAME: &'static str;
    /// Fails always.
    const FAULT: &'static str;
    /// Counts the tables of a name, which follows.
    const TABLES: &'static str;

    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Conn>> + Send;
    /// Runs statements.
    fn rows(conn: &mut Self::Conn, sql: &str) -> impl Future<Output = Result<Texts>> + Send;
    /// Closes a connection. Whether that works says nothing.
    fn close(conn: Self::Conn) -> impl Future<Output = ()> + Send;
}

fn first(rows: &Texts) -> Option<String> {
    rows.first().and_then(|r| r.first()).cloned().flatten()
}

fn number(rows: &Texts) -> i64 {
    first(rows).and_then(|t| t.parse().ok()).unwrap_or(-1)
}

/// Writes a row in a transaction, reads it back, rolls back, and looks again over another connection.
pub(super) async fn probe<D: Dialect>(database: &D, probe: &Probe) -> Result<Probed> {
    let mut conn = database.connect().await?;
    let version = D::rows(&mut conn, D::VERSION).await?;
    let own = format!("levqor_probe_{:016x}", u64::from_be_bytes(random_bytes()));
    let values = if probe.table.is_some() {
        probe.values.clone()
    } else {
        [("id".to_owned(), own.clone())].into_iter().collect()
    };
    let table = quoted(probe.table.as_deref().unwrap_or(&own));
    let columns: Vec<String> = values.keys().map(|c| quoted(c)).collect();
    let literals: Vec<String> = values.values().map(|v| literal(v)).collect();
    let same: Vec<String> = values
        .iter()
        .map(|(c, v)| format!("{} {} {}", quoted(c), D::SAME, literal(v)))
        .collect();
    let count = format!("SELECT count(*) FROM {table} WHERE {}", same.join(" AND "));

    D::rows(&mut conn, D::BEGIN).await?;
    if probe.table.is_none() {
        D::rows(&mut conn, &format!("CREATE TABLE {table} (id TEXT PRIMARY KEY)")).await?;
    }
    let before = number(&D::rows(&mut conn, &count).await?);
    let insert = format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        columns.join(", "),
        literals.join(", ")
    );
    D::rows(&mut conn, &insert).await?;
    let within = number(&D::rows(&mut conn, &count).await?);
    let refused = !probe.fail || D::rows(&mut conn, D::FAULT).await.is_err();
    D::rows(&mut conn, "ROLLBACK").await?;
    // The same connection has to be usable again, and another one sees what was really left.
    D::rows(&mut conn, "SELECT 1").await?;
    D::close(conn).await;
    let mut other = database.connect().await?;
    let left = if probe.table.is_none() {
        number(&D::rows(&mut other, &format!("{} {}", D::TABLES, literal(&own))).await?)
    } else {
        number(&D::rows(&mut other, &count).await?) - before
    };
    D::close(other).await;
    Ok(Probed {
        seen: within - before,
        same: within > before,
        left,
        refused,
        version: first(&version).unwrap_or_default(),
    })
}

/// A driver's error, by its cause. The address is never shown.
pub(crate) fn of_sqlx(e: &sqlx::Error) -> Error {
    let unavailable = |code: &str, message: String| Error::new(ErrorKind::Unavailable, code, message);
    let Some(db) = e.as_database_error() else {
        return match e {
            sqlx::Error::Io(io) => unavailable("db.unreachable", format!("the database cannot be reached: {}", io.kind())),
            sqlx::Error::Tls(_) => unavailable("db.tls", "no TLS connection to the database".into()),
            sqlx::Error::Configuration(_) => Error::new(ErrorKind::Config, "db.bad_url", "the database's address cannot be used"),
            _ => unavailable("db.query_failed", format!("the database answered something unexpected: {e}")),
        };
    };
    let code = db.code().unwrap_or_default();
    let name = match code.as_ref() {
        "28P01" | "28000" => "db.auth_failed",
        "3D000" => "db.no_database",
        "53300" => "db.too_many_connections",
        "25006" | "8" | "1032" | "776" => "db.read_only",
        "42501" => "db.permission_denied",
        "42P01" => "db.missing_table",
        "55P03" | "5" | "6" => "db.locked",
        "53100" | "13" => "db.disk_full",
        "57P03" | "57P01" | "57P02" => "db.starting",
        // SQLite's "cannot open".
        "14" => "db.unreachable",
        "11" | "26" => "db.corrupt",
        _ if db.message().starts_with("no such table") => "db.missing_table",
        _ => "db.query_failed",
    };
    unavailable(name, format!("the database says: {}", db.message()))
}
