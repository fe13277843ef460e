use std::sync::Arc;

use async_trait::async_trait;

use super::text::Dialect;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Cell, Kind};

/// A bound value.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// TEXT.
    Text(Arc<str>),
    /// BIGINT.
    Int(i64),
    /// NULL.
    Null,
    /// An array of TEXT (Postgres).
    Texts(Vec<Option<Arc<str>>>),
    /// An array of BIGINT (Postgres).
    Ints(Vec<Option<i64>>),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::Text(text.into())
    }
}

impl From<i64> for Arg {
    fn from(n: i64) -> Self {
        Arg::Int(n)
    }
}

/// A connection to a database.
#[async_trait]
pub(super) trait Conn: Send {
    /// Runs a query; the columns that come have these kinds.
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>, kinds: &[Kind]) -> Result<Vec<Vec<Cell>>, Fault>;

    /// Runs a statement.
    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<(), Fault>;

    /// Starts a transaction that writes. One that is not `lasting` may be undone by a power cut (never by the end of
    /// a process), if that makes it faster.
    async fn begin(&mut self, lasting: bool) -> Result<(), Fault>;

    /// Starts a transaction that only reads, and sees one moment however long it takes.
    async fn begin_read(&mut self) -> Result<(), Fault>;

    /// Ends the transaction.
    async fn end(&mut self, commit: bool) -> Result<(), Fault>;
}

/// What opens connections.
#[async_trait]
pub(super) trait Driver: Send + Sync + 'static {
    /// The connection of the writer: there is one at a time.
    async fn writer(&self) -> Result<Box<dyn Conn>, Fault>;

    /// A connection that reads.
    async fn reader(&self) -> Result<Box<dyn Conn>, Fault>;

    /// Tells other processes of wake-ups, where the database can. Topics are separated by newlines.
    async fn notify(&self, topics: &str) -> Result<(), Fault>;

    /// Which database it is.
    fn dialect(&self) -> Dialect;
}

/// Why a statement failed, as far as the writer has to know.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another process was faster: the whole transaction may simply be run again.
    Race(String),
    /// A new row's key is taken: by another process just now, or because the caller gave it twice.
    Exists(String),
    /// The connection or the server is gone.
    Gone(String),
    /// A value that the database does not take.
    Value(String),
    /// The disk is full.
    Full(String),
    /// The database is damaged.
    Corrupt(String),
    /// Anything else.
    Other(String),
}

impl Fault {
    /// As an error for the caller.
    pub(super) fn into_error(self) -> Error {
        match self {
            Fault::Race(m) => {
                Error::unavailable("store.busy", format!("the database is busy: {m}")).hint("try again in a moment")
            }
            Fault::Exists(m) => crate::store::exists(&m),
            Fault::Gone(m) => Error::unavailable("store.unavailable", format!("the database cannot be reached: {m}"))
                .hint("check that the server runs and that its address is right"),
            Fault::Value(m) => Error::invalid("store.bad_value", format!("the database does not take a value: {m}"))
                .hint("texts must have no NUL characters, and keys and names must not be longer than 2,000 bytes"),
            Fault::Full(m) => Error::unavailable("store.full", format!("the database has no room left: {m}"))
                .hint("free disk space; nothing that was acknowledged is lost"),
            Fault::Corrupt(m) => Error::new(ErrorKind::Corrupt, "store.corrupt", format!("the database is damaged: {m}"))
                .hint("stop writing to it and restore the last good backup"),
            Fault::Other(m) => Error::internal(format!("the database refused a statement: {m}")),
        }
    }
}

/// What the driver's error means.
pub(super) fn fault(e: &sqlx::Error) -> Fault {
    let text = e.to_string();
    match e {
        sqlx::Error::Database(db) => {
            let code = db.code().unwrap_or_default();
            match code.as_ref() {
                // Postgres: unique violation.
                "23505" => Fault::Exists(text),
                // Postgres: serialization failure, deadlock, lock not available.
                "40001" | "40P01" | "55P03" => Fault::Race(text),
                // Postgres: bad encodings, untranslatable characters, a key too long for its index.
                "22021" | "22P05" | "22P02" | "54000" => Fault::Value(text),
                "53100" => Fault::Full(text),
                "57P01" | "57P02" | "57P03" | "53300" => Fault::Gone(text),
                _ => match code.parse::<i32>().map(|n| n & 0xff) {
                    // SQLite: BUSY, LOCKED, and a primary key that is taken.
                    Ok(5 | 6) => Fault::Race(text),
                    Ok(19) if matches!(code.as_ref(), "1555" | "2067") => Fault::Exists(text),
                    // SQLite: TOOBIG.
                    Ok(18) => Fault::Value(text),
                    Ok(13) => Fault::Full(text),
                    Ok(11 | 26) => Fault::Corrupt(text),
                    Ok(10 | 14) => Fault::Gone(text),
                    _ => Fault::Other(text),
                },
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Fault::Gone(text),
        _ => Fault::Other(text),
    }
}
