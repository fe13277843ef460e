//! The Postgres driver.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row, ValueRef};

use super::conn::{Arg, Conn, Driver, Fault, fault};
use super::migrate::migrate;
use super::store::{SqlOptions, SqlStore};
use super::text::Dialect;
use crate::backend::Hub;
use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{StoreInfo, topic};
use crate::table::{Cell, Kind};
use crate::types::{Millis, random_bytes};

/// The channel of the wake-ups.
pub(super) const CHANNEL: &str = topic::CHANNEL;
/// The advisory lock of migrations: "levqor" and a number, as one integer.
const MIGRATION_LOCK: i64 = 0x6c65_7671_6f72_0001;
/// System accounts are split so that processes do not queue for one row.
pub(super) const STRIPES: u16 = 16;

/// Opens a Postgres database; Levqor's tables in it begin with `levqor_`.
pub async fn open(url: &str, options: &SqlOptions, now: Millis) -> Result<SqlStore> {
    let connect = PgConnectOptions::from_str(url)
        .map_err(|e| {
            Error::new(
                ErrorKind::Config,
                "store.bad_url",
                format!("the Postgres address cannot be read: {e}"),
            )
            .hint("write postgres://user:password@host:5432/database")
        })?
        .application_name("levqor")
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let place = format!(
        "{}:{}/{}",
        connect.get_host(),
        connect.get_port(),
        connect.get_database().unwrap_or("postgres")
    );
    let pool = PgPoolOptions::new()
        .min_connections(0)
        .max_connections(options.readers.max(1) + 2)
        .acquire_timeout(options.connect_timeout.to_duration())
        .test_before_acquire(false)
        // The server, or a firewall on the way, closes connections that lie idle.
        .before_acquire(|conn, meta| {
            Box::pin(async move { Ok(meta.idle_for < Duration::from_secs(1) || conn.ping().await.is_ok()) })
        })
        .connect_lazy_with(connect.clone());
    let driver = Postgres { pool };

    let mut conn = driver.take().await.map_err(Fault::into_error)?;
    conn.begin(true).await.map_err(Fault::into_error)?;
    let migrated = locked_migration(&mut conn, now).await;
    conn.end(migrated.is_ok()).await.map_err(Fault::into_error)?;
    migrated?;
    let (version, offset) = look(&mut conn).await.map_err(Fault::into_error)?;
    drop(conn);

    let mut info = StoreInfo::new("postgres", place);
    info.version = version;
    info.durable = true;
    info.shared = true;
    info.clock_offset = offset;
    let stripe = u16::from_be_bytes(random_bytes()) % STRIPES;
    let listen_on = driver.pool.clone();
    let store = SqlStore::start(Arc::new(driver), info, options, stripe);
    let hub = store.hub().clone();
    store.keep(&tokio::spawn(listen(listen_on, hub)));
    Ok(store)
}

async fn locked_migration(conn: &mut PgConn, now: Millis) -> Result<()> {
    conn.execute("SELECT pg_advisory_xact_lock($1)", vec![Arg::Int(MIGRATION_LOCK)])
        .await
        .map_err(Fault::into_error)?;
    migrate(conn, Dialect::Postgres, now).await.map(|_| ())
}

/// The server's version, and its clock minus ours (measured to half a round trip).
async fn look(conn: &mut PgConn) -> Result<(String, Millis), Fault> {
    let before = SystemClock::machine();
    let sql = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT), current_setting('server_version')";
    let rows = conn.fetch(sql, vec![], &[Kind::Int, Kind::Text]).await?;
    let after = SystemClock::machine();
    match rows.into_iter().next().as_deref() {
        Some([Cell::Int(theirs), Cell::Text(version)]) => {
            let offset = theirs - i64::midpoint(before.0, after.0);
            // A difference within the measurement is none.
            let offset = if offset.abs() <= (after.0 - before.0) + 1 { 0 } else { offset };
            Ok((version.to_string(), Millis(offset)))
        }
        _ => Err(Fault::Other("the server does not tell its time".into())),
    }
}

/// Hears other processes' wake-ups, for ever; after a break everybody is woken, since nobody knows
/// what was missed.
async fn listen(pool: PgPool, hub: Hub) {
    let mut wait = Duration::from_millis(200);
    loop {
        match hear(&pool, &hub, &mut wait).await {
            Ok(()) => {}
            Err(sqlx::Error::PoolClosed) => return,
            Err(e) => {
                tracing::warn!(error = %e, "wake-ups from other processes are not heard; looking again from time to time instead");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

async fn hear(pool: &PgPool, hub: &Hub, wait: &mut Duration) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(false);
    listener.listen(CHANNEL).await?;
    *wait = Duration::from_millis(200);
    hub.wake_all();
    while let Some(note) = listener.try_recv().await? {
        hub.wake(note.payload().lines());
    }
    Ok(())
}

struct Postgres {
    pool: PgPool,
}

impl Postgres {
    async fn take(&self) -> Result<PgConn, Fault> {
        let conn = self.pool.acquire().await.map_err(|e| fault(&e))?;
        Ok(PgConn { conn, open: false })
    }
}

#[async_trait]
impl Driver for Postgres {
    async fn writer(&self) -> Result<Box<dyn Conn>, Fault> {
        Ok(Box::new(self.take().await?))
    }

    async fn reader(&self) -> Result<Box<dyn Conn>, Fault> {
        Ok(Box::new(self.take().await?))
    }

    async fn notify(&self, topics: &str) -> Result<(), Fault> {
        let mut conn = self.take().await?;
        conn.execute("SELECT pg_notify($1, $2)", vec![Arg::from(CHANNEL), Arg::from(topics)])
            .await
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}

struct PgConn {
    conn: PoolConnection<sqlx::Postgres>,
    open: bool,
}

impl Drop for PgConn {
    fn drop(&mut self) {
        // A connection with an open transaction must not go back to the pool.
        if self.open {
            self.conn.close_on_drop();
        }
    }
}

fn bind(args: Vec<Arg>) -> Result<PgArguments, Fault> {
    let own = |t: Option<Arc<str>>| t.map(|t| t.as_ref().to_owned());
    let mut bound = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Text(t) => bound.add(t.as_ref().to_owned()),
            Arg::Int(n) => bound.add(n),
            Arg::Null => bound.add(Option::<i64>::None),
            Arg::Texts(v) => bound.add(v.into_iter().map(own).collect::<Vec<_>>()),
            Arg::Ints(v) => bound.add(v),
        }
        .map_err(|e| Fault::Value(e.to_string()))?;
    }
    Ok(bound)
}

/// Runs a query; the columns that come have these kinds.
pub(super) async fn fetch(conn: &mut PgConnection, sql: &str, args: Vec<Arg>, kinds: &[Kind]) -> Result<Vec<Vec<Cell>>, Fault> {
    let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), bind(args)?);
    let rows = conn.fetch_all(query).await.map_err(|e| fault(&e))?;
    rows.iter()
        .map(|row| {
            (0..kinds.len())
                .map(|i| {
                    if row.try_get_raw(i).map_err(|e| fault(&e))?.is_null() {
                        return Ok(Cell::Null);
                    }
                    match kinds[i] {
                        Kind::Int => row.try_get::<i64, _>(i).map(Cell::Int),
                        Kind::Text => row.try_get::<&str, _>(i).map(|t| Cell::Text(t.into())),
                    }
                    .map_err(|e| Fault::Corrupt(e.to_string()))
                })
                .collect()
        })
        .collect()
}

/// Runs a statement.
pub(super) async fn execute(conn: &mut PgConnection, sql: &str, args: Vec<Arg>) -> Result<(), Fault> {
    let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), bind(args)?);
    conn.execute(query).await.map(|_| ()).map_err(|e| fault(&e))
}

#[async_trait]
impl Conn for PgConn {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>, kinds: &[Kind]) -> Result<Vec<Vec<Cell>>, Fault> {
        fetch(&mut self.conn, sql, args, kinds).await
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<(), Fault> {
        execute(&mut self.conn, sql, args).await
    }

    /// Always lasting: workers on other hosts outlive the server, and what they were told must stay true.
    async fn begin(&mut self, _lasting: bool) -> Result<(), Fault> {
        self.conn.execute("BEGIN").await.map_err(|e| fault(&e))?;
        self.open = true;
        Ok(())
    }

    async fn begin_read(&mut self) -> Result<(), Fault> {
        self.conn
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await
            .map_err(|e| fault(&e))?;
        self.open = true;
        Ok(())
    }

    async fn end(&mut self, commit: bool) -> Result<(), Fault> {
        if self.open {
            self.conn
                .execute(if commit { "COMMIT" } else { "ROLLBACK" })
                .await
                .map_err(|e| fault(&e))?;
            self.open = false;
        }
        Ok(())
    }
}
