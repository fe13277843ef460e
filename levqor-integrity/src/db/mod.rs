//! Databases that checks look into: a small port, and what it says about a database.
//!
//! [`Postgres`] and [`Sqlite`] (features of the same names) speak SQL to the host's own database; [`StoreProbe`] uses the
//! engine's store, which has no tables to show but can be written to and read.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod driver;
mod fault;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub(crate) use fault::finding;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use store::StoreProbe;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// A database.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Where it is, without credentials: `postgres db.example.com:5432/shop`.
    fn place(&self) -> String;

    /// Writes a row in a transaction, reads it back, rolls back, and looks again from outside.
    async fn probe(&self, probe: &Probe) -> Result<Probed>;

    /// Its tables.
    async fn schema(&self) -> Result<Schema>;

    /// What a query answers, as text, in a transaction that may only read.
    async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>>;
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Into this table; without one, into a table that the transaction makes for itself.
    pub table: Option<String>,
    /// These values, by column; only with a table.
    pub values: BTreeMap<String, String>,
    /// Let a second statement of the transaction fail before it is rolled back.
    pub fail: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// How many of the rows could be seen inside the transaction that were not there before: 1.
    pub seen: i64,
    /// Whether what was read is what was written.
    pub same: bool,
    /// How many of them are there after the rollback: 0.
    pub left: i64,
    /// Whether the failing statement failed; true where none was asked for.
    pub refused: bool,
    /// The server's version.
    pub version: String,
}

/// The tables of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// By name.
    pub tables: BTreeMap<String, Table>,
}

/// A table, or a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its columns, by name.
    pub columns: BTreeMap<String, Column>,
    /// The columns of its primary key, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// The columns of each unique constraint or index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// Foreign keys, as `customer_id -> customers.id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_keys: Vec<String>,
    /// Constraints and indexes that the database itself says are not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its type, as the database spells it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it must have a value.
    pub not_null: bool,
}

/// Makes the port of a URL, `postgres://…` or `sqlite://…`. Nothing is opened yet.
pub fn open(url: &str) -> Result<Arc<dyn Database>> {
    match url.split(':').next().unwrap_or_default() {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Arc::new(Postgres::new(url)?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Arc::new(Sqlite::new(url)?)),
        _ => Err(Error::new(
            ErrorKind::Config,
            "db.bad_url",
            "the database's address has no scheme that this build knows",
        )
        .hint("write postgres://user:password@host/database or sqlite://file.db; the build needs the feature of that name")),
    }
}

/// A name in double quotes, for both databases.
#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(crate) fn quoted(name: &str) -> String {
    let parts = name.split('.').map(|p| format!("\"{}\"", p.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

/// A text in single quotes, for both databases.
#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code))]
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
