//! The SQL backend: one implementation for SQLite and Postgres.
//!
//! `text` writes the statements from the rows' columns, `load` and `save` move rows, `writer` gathers
//! the batches that wait into one transaction, `reads` answers questions. A driver (`sqlite`, `postgres`)
//! only opens connections and carries values; every difference of the two databases stands in it or in
//! `text::Dialect`.

mod conn;
mod ledger;
mod load;
mod migrate;
#[cfg(all(test, feature = "sqlite"))]
mod plan_tests;
#[cfg(feature = "postgres")]
mod postgres;
mod purge;
mod reads;
mod save;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod text;
#[cfg(feature = "postgres")]
mod within;
mod writer;

#[cfg(all(test, feature = "postgres"))]
mod postgres_tests;
#[cfg(all(test, feature = "sqlite"))]
mod sqlite_tests;

#[cfg(feature = "postgres")]
pub use postgres::open as open_postgres;
#[cfg(feature = "sqlite")]
pub use sqlite::open as open_sqlite;
pub use store::{SqlOptions, SqlStore};
