//! A host's Postgres.

use std::str::FromStr;

use async_trait::async_trait;
use levqor_core::error::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, ValueRef as _};

use super::driver::{self, Dialect, Texts, of_sqlx};
use super::{Column, Database, Probe, Probed, Schema};

/// Looks into a Postgres database. Every question opens a connection of its own: whether that works is part of it.
pub struct Postgres {
    options: PgConnectOptions,
}

/// Nobody waits longer for a lock.
const SETTINGS: &str = "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '60s'";

const COLUMNS: &str = "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname = ANY (current_schemas(false)) \
     AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2";
const CONSTRAINTS: &str = "SELECT c.relname, k.contype::text, k.conname, k.convalidated, \
     (SELECT string_agg(a.attname, ',' ORDER BY u.ord) FROM unnest(k.conkey) WITH ORDINALITY AS u(num, ord) \
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num), \
     (SELECT f.relname || '.' || string_agg(a.attname, ',' ORDER BY u.ord) FROM unnest(k.confkey) WITH ORDINALITY AS u(num, ord) \
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num JOIN pg_class f ON f.oid = k.confrelid GROUP BY f.relname) \
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = ANY (current_schemas(false)) ORDER BY 1, 3";
const INDEXES: &str = "SELECT c.relname, i.relname, x.indisvalid, x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL, \
     (SELECT string_agg(a.attname, ',' ORDER BY u.ord) FROM unnest(x.indkey) WITH ORDINALITY AS u(num, ord) \
        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.num) \
     FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (current_schemas(false)) ORDER BY 1, 2";

impl Postgres {
    /// The database of an address. Nothing is opened.
    pub fn new(url: &str) -> Result<Self> {
        // The driver's own message may hold parts of the address.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            Error::new(ErrorKind::Config, "db.bad_url", "the Postgres address cannot be read")
                .hint("write postgres://user:password@host:5432/database")
        })?;
        Ok(Postgres {
            options: options.application_name("levqor-integrity").disable_statement_logging(),
        })
    }
}

/// Runs statements as one simple query: every value comes back as text.
async fn rows(conn: &mut PgConnection, sql: &str) -> Result<Texts> {
    let found = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await;
    found.map_err(|e| of_sqlx(&e))?.iter().map(texts).collect()
}

fn texts(row: &PgRow) -> Result<Vec<Option<String>>> {
    let value = |i| {
        let raw = row.try_get_raw(i).map_err(|e| of_sqlx(&e))?;
        if raw.is_null() {
            return Ok(None);
        }
        let text = raw.as_str().map_err(|_| {
            Error::new(
                ErrorKind::Corrupt,
                "db.bad_answer",
                "the database sent a value that is no text",
            )
        })?;
        Ok(Some(text.to_owned()))
    };
    (0..row.len()).map(value).collect()
}

impl Dialect for Postgres {
    type Conn = PgConnection;
    const VERSION: &'static str = "SHOW server_version";
    const BEGIN: &'static str = "BEGIN";
    const SAME: &'static str = "IS NOT DISTINCT FROM";
    const FAULT: &'static str = "SELECT 1 / 0";
    const TABLES: &'static str = "SELECT count(*) FROM pg_class WHERE relname =";

    async fn connect(&self) -> Result<PgConnection> {
        let mut conn = PgConnection::connect_with(&self.options).await.map_err(|e| of_sqlx(&e))?;
        rows(&mut conn, SETTINGS).await?;
        Ok(conn)
    }

    async fn rows(conn: &mut PgConnection, sql: &str) -> Result<Texts> {
        rows(conn, sql).await
    }

    async fn close(conn: PgConnection) {
        let _ = conn.close().await;
    }
}

#[async_trait]
impl Database for Postgres {
    fn place(&self) -> String {
        let o = &self.options;
        let database = o.get_database().unwrap_or(o.get_username());
        format!("postgres {}:{}/{database}", o.get_host(), o.get_port())
    }

    async fn probe(&self, probe: &Probe) -> Result<Probed> {
        driver::probe(self, probe).await
    }

    async fn schema(&self) -> Result<Schema> {
        let mut conn = self.connect().await?;
        let mut schema = Schema::default();
        let text = |row: &Vec<Option<String>>, i: usize| row.get(i).cloned().flatten().unwrap_or_default();
        let list = |t: String| t.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        for row in rows(&mut conn, COLUMNS).await? {
            let column = Column {
                kind: text(&row, 2),
                not_null: text(&row, 3) == "t",
            };
            let table = schema.tables.entry(text(&row, 0)).or_default();
            table.columns.insert(text(&row, 1), column);
        }
        for row in rows(&mut conn, CONSTRAINTS).await? {
            let Some(table) = schema.tables.get_mut(&text(&row, 0)) else {
                continue;
            };
            match text(&row, 1).as_str() {
                "p" => table.primary_key = list(text(&row, 4)),
                "f" => table.foreign_keys.push(format!("{} -> {}", text(&row, 4), text(&row, 5))),
                _ => {}
            }
            if text(&row, 3) != "t" {
                table.invalid.push(format!("constraint {}", text(&row, 2)));
            }
        }
        for row in rows(&mut conn, INDEXES).await? {
            let Some(table) = schema.tables.get_mut(&text(&row, 0)) else {
                continue;
            };
            let columns = list(text(&row, 4));
            if text(&row, 2) != "t" {
                table.invalid.push(format!("index {}", text(&row, 1)));
            } else if text(&row, 3) == "t" && !table.unique.contains(&columns) {
                table.unique.push(columns);
            }
        }
        let _ = conn.close().await;
        Ok(schema)
    }

    async fn query(&self, sql: &str) -> Result<Texts> {
        let mut conn = self.connect().await?;
        rows(&mut conn, "BEGIN READ ONLY").await?;
        let found = rows(&mut conn, sql).await;
        let _ = conn.close().await;
        found
    }
}
