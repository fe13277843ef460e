//! The SQLite driver. The file is ours alone: see [`open`].

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Executor, Row, ValueRef};

use super::conn::{Arg, Conn, Driver, Fault, fault};
use super::migrate::migrate;
use super::store::{SqlOptions, SqlStore};
use super::text::Dialect;
use crate::error::{Error, ErrorKind, Result};
use crate::store::StoreInfo;
use crate::table::{Cell, Kind};
use crate::types::Millis;

/// Older engines can corrupt a write-ahead log when it is reset.
const OLDEST: (u32, u32, u32) = (3, 51, 3);

/// Opens (and if need be makes) a SQLite file.
///
/// Write-ahead log, `synchronous=FULL`: what is acknowledged survives a power cut, but for what is worth nothing
/// after one ([`Batch::passing`](crate::store::Batch::passing)). A lock file beside
/// it (`<file>.lock`) is taken by every writer, because SQLite's own locks are lost when another copy
/// of SQLite in the same process closes the file; and a file that another library of this process has
/// open is refused (`store.foreign_handle`).
pub async fn open(url: &str, options: &SqlOptions, now: Millis) -> Result<SqlStore> {
    let config = |m: String| {
        Error::new(ErrorKind::Config, "store.bad_url", m).hint("write sqlite://levqor.db, or sqlite:///absolute/path.db")
    };
    let path = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .unwrap_or(url);
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(config("a SQLite store needs a file".into()).hint("for a store without a file, open memory://"));
    }
    let path = path.split('?').next().unwrap_or(path);
    let parent = Path::new(path)
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| config(format!("the folder {} cannot be made: {e}", parent.display())))?;
    let parent = parent
        .canonicalize()
        .map_err(|e| config(format!("the folder {} cannot be read: {e}", parent.display())))?;
    let path = parent.join(
        Path::new(path)
            .file_name()
            .ok_or_else(|| config(format!("{path} is not a file name")))?,
    );

    let ours = Ours::enter(&path).await?;
    let options_of = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if options.durable {
            SqliteSynchronous::Full
        } else {
            SqliteSynchronous::Normal
        })
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(false)
        .statement_cache_capacity(512)
        .disable_statement_logging()
        .pragma("cache_size", "-16000")
        // What a statement would need to be undone is kept in memory, not written to a file.
        .pragma("temp_store", "MEMORY");
    let lock = WriteLock::open(&path)?;

    // Switching to the write-ahead log, making the file and migrating it must not race.
    let held = lock.take().await.map_err(Fault::into_error)?;
    let mut first = SqliteConnection::connect_with(&options_of)
        .await
        .map_err(|e| fault(&e).into_error())?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut first)
        .await
        .map_err(|e| fault(&e).into_error())?;
    check_version(&version)?;
    let mut conn = SqliteConn {
        conn: Raw::Own(Box::new(first)),
        lock: None,
        held: None,
        open: false,
        durable: options.durable,
        full: options.durable,
    };
    conn.begin(true).await.map_err(Fault::into_error)?;
    let migrated = migrate(&mut conn, Dialect::Sqlite, now).await;
    conn.end(migrated.is_ok()).await.map_err(Fault::into_error)?;
    migrated?;
    drop(conn);
    drop(held);

    let pool = SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(options.readers.max(1))
        .test_before_acquire(false)
        .connect_lazy_with(options_of.clone().read_only(true).create_if_missing(false));
    let driver = Sqlite {
        options: options_of,
        pool,
        lock,
        durable: options.durable,
        _ours: ours,
    };
    let mut info = StoreInfo::new("sqlite", path.display().to_string());
    info.version = version;
    info.durable = true;
    info.shared = true;
    Ok(SqlStore::start(Arc::new(driver), info, options, 0))
}

fn check_version(version: &str) -> Result<()> {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    let found = (
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    );
    if found >= OLDEST {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "store.old_sqlite",
        format!("SQLite {version} can corrupt its write-ahead log"),
    )
    .hint("build with the bundled SQLite, or with 3.51.3 or newer"))
}

struct Sqlite {
    options: SqliteConnectOptions,
    pool: SqlitePool,
    lock: WriteLock,
    durable: bool,
    _ours: Ours,
}

#[async_trait]
impl Driver for Sqlite {
    async fn writer(&self) -> Result<Box<dyn Conn>, Fault> {
        let conn = self.options.connect().await.map_err(|e| fault(&e))?;
        Ok(Box::new(SqliteConn {
            conn: Raw::Own(Box::new(conn)),
            lock: Some(self.lock.clone()),
            held: None,
            open: false,
            durable: self.durable,
            full: self.durable,
        }))
    }

    async fn reader(&self) -> Result<Box<dyn Conn>, Fault> {
        let conn = self.pool.acquire().await.map_err(|e| fault(&e))?;
        Ok(Box::new(SqliteConn {
            conn: Raw::Pooled(conn),
            lock: None,
            held: None,
            open: false,
            durable: self.durable,
            full: self.durable,
        }))
    }

    async fn notify(&self, _topics: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
}

enum Raw {
    Own(Box<SqliteConnection>),
    Pooled(PoolConnection<sqlx::Sqlite>),
}

struct SqliteConn {
    conn: Raw,
    lock: Option<WriteLock>,
    held: Option<Held>,
    open: bool,
    /// Whether commits that have to last are synced to the disk.
    durable: bool,
    /// Whether the next commit is.
    full: bool,
}

impl SqliteConn {
    fn raw(&mut self) -> &mut SqliteConnection {
        match &mut self.conn {
            Raw::Own(conn) => conn,
            Raw::Pooled(conn) => conn,
        }
    }
}

impl Drop for SqliteConn {
    fn drop(&mut self) {
        // A connection with an open transaction must not go back to the pool.
        if let Raw::Pooled(conn) = &mut self.conn
            && self.open
        {
            conn.close_on_drop();
        }
    }
}

fn bind(args: Vec<Arg>) -> Result<SqliteArguments, Fault> {
    let mut bound = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Text(t) => bound.add(t),
            Arg::Int(n) => bound.add(n),
            Arg::Null => bound.add(Option::<i64>::None),
            Arg::Texts(_) | Arg::Ints(_) => return Err(Fault::Other("SQLite has no arrays".into())),
        }
        .map_err(|e| Fault::Value(e.to_string()))?;
    }
    Ok(bound)
}

#[async_trait]
impl Conn for SqliteConn {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>, kinds: &[Kind]) -> Result<Vec<Vec<Cell>>, Fault> {
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), bind(args)?);
        let rows = self.raw().fetch_all(query).await.map_err(|e| fault(&e))?;
        rows.iter()
            .map(|row| {
                (0..kinds.len())
                    .map(|i| {
                        if row.try_get_raw(i).map_err(|e| fault(&e))?.is_null() {
                            return Ok(Cell::Null);
                        }
                        match kinds[i] {
                            Kind::Int => row.try_get_unchecked::<i64, _>(i).map(Cell::Int),
                            Kind::Text => row.try_get_unchecked::<&str, _>(i).map(|t| Cell::Text(t.into())),
                        }
                        .map_err(|e| Fault::Corrupt(e.to_string()))
                    })
                    .collect()
            })
            .collect()
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<(), Fault> {
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), bind(args)?);
        self.raw().execute(query).await.map(|_| ()).map_err(|e| fault(&e))
    }

    async fn begin(&mut self, lasting: bool) -> Result<(), Fault> {
        if let Some(lock) = &self.lock {
            self.held = Some(lock.take().await?);
        }
        let full = self.durable && lasting;
        if self.full != full {
            // A commit that syncs makes those before it durable as well: they are in the same log.
            let mode = if full {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            };
            self.raw().execute(mode).await.map_err(|e| fault(&e))?;
            self.full = full;
        }
        // IMMEDIATE: a transaction that starts as a reader and then wants to write is refused when
        // another has written meanwhile.
        self.raw().execute("BEGIN IMMEDIATE").await.map_err(|e| fault(&e))?;
        self.open = true;
        Ok(())
    }

    async fn begin_read(&mut self) -> Result<(), Fault> {
        self.raw().execute("BEGIN").await.map_err(|e| fault(&e))?;
        self.open = true;
        Ok(())
    }

    async fn end(&mut self, commit: bool) -> Result<(), Fault> {
        let done = if self.open {
            self.raw()
                .execute(if commit { "COMMIT" } else { "ROLLBACK" })
                .await
                .map(|_| ())
        } else {
            Ok(())
        };
        if done.is_ok() {
            self.open = false;
        }
        self.held = None;
        done.map_err(|e| fault(&e))
    }
}

/// The lock file beside the database, which every writer takes.
#[derive(Clone)]
struct WriteLock(Arc<PathBuf>);

/// A taken lock; dropping it gives it back.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file does not do it while a process that was forked meanwhile has it open as well.
        let _ = self.0.unlock();
    }
}

impl WriteLock {
    fn open(db: &Path) -> Result<Self> {
        let mut name = db.as_os_str().to_owned();
        name.push(".lock");
        let lock = WriteLock(Arc::new(PathBuf::from(name)));
        lock.file().map_err(|e| {
            Error::new(
                ErrorKind::Config,
                "store.no_lock_file",
                format!("the lock file {} cannot be opened: {e}", lock.0.display()),
            )
            .hint("the folder of the database must be writable")
        })?;
        Ok(lock)
    }

    fn file(&self) -> std::io::Result<File> {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.0.as_path())
    }

    async fn take(&self) -> Result<Held, Fault> {
        let gone = |e: std::io::Error| Fault::Gone(format!("the lock file: {e}"));
        let file = self.file().map_err(gone)?;
        match file.try_lock() {
            Ok(()) => Ok(Held(file)),
            Err(TryLockError::Error(e)) => Err(gone(e)),
            Err(TryLockError::WouldBlock) => {
                let wait = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
                match wait.await {
                    Ok(Ok(file)) => Ok(Held(file)),
                    Ok(Err(e)) => Err(gone(e)),
                    Err(e) => Err(Fault::Other(e.to_string())),
                }
            }
        }
    }
}

/// Which database files this process has open through us (0: had), so that others' handles can be told apart.
struct Ours(PathBuf);

fn open_files() -> &'static Mutex<HashMap<PathBuf, usize>> {
    static OPEN: OnceLock<Mutex<HashMap<PathBuf, usize>>> = OnceLock::new();
    OPEN.get_or_init(Mutex::default)
}

impl Ours {
    async fn enter(path: &Path) -> Result<Self> {
        // A store that was dropped just now closes its files a moment later, in threads of its own.
        let until = Instant::now() + Duration::from_secs(5);
        while !Self::try_enter(path, Instant::now() < until)? {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(Ours(path.to_owned()))
    }

    /// `false` if the handle that is still open may be one of ours that is being closed.
    fn try_enter(path: &Path, patient: bool) -> Result<bool> {
        let mut open = open_files().lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(path).copied();
        if count.unwrap_or(0) == 0 && held_by_this_process(path) {
            if count.is_some() && patient {
                return Ok(false);
            }
            return Err(Error::conflict(
                "store.foreign_handle",
                format!("another library of this process has {} open", path.display()),
            )
            .hint("the file is Levqor's alone: close the other handle, and keep the host's own tables in a file of their own"));
        }
        open.insert(path.to_owned(), count.unwrap_or(0) + 1);
        Ok(true)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let mut open = open_files().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.0) {
            *count -= 1;
        }
    }
}

/// Whether a file descriptor of this process points at the file. Known on Linux only.
fn held_by_this_process(path: &Path) -> bool {
    let Ok(fds) = std::fs::read_dir("/proc/self/fd") else {
        return false;
    };
    fds.flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|target| target == path)
}
