//! A host's SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::error::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _};

use super::driver::{self, Dialect, Texts, of_sqlx};
use super::{Column, Database, Probe, Probed, Schema, Table, quoted};

/// Looks into a SQLite file.
///
/// Only from a process that has not opened the file with another copy of SQLite (Python's `sqlite3`, say): when this one
/// closes it, the operating system drops the other one's locks. From the command line that is always so.
pub struct Sqlite {
    path: PathBuf,
}

impl Sqlite {
    /// The file of an address, `sqlite://shop.db`. Nothing is opened, and nothing is ever made.
    pub fn new(url: &str) -> Result<Self> {
        let path = url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
            .unwrap_or(url);
        let path = path.split('?').next().unwrap_or_default();
        if path.is_empty() || path.starts_with(":memory:") {
            return Err(
                Error::new(ErrorKind::Config, "db.bad_url", "the SQLite address names no file").hint("write sqlite://file.db"),
            );
        }
        Ok(Sqlite { path: path.into() })
    }
}

async fn rows(conn: &mut SqliteConnection, sql: &str) -> Result<Texts> {
    let found = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await;
    found.map_err(|e| of_sqlx(&e))?.iter().map(texts).collect()
}

fn texts(row: &SqliteRow) -> Result<Vec<Option<String>>> {
    let value = |i: usize| {
        let raw = row.try_get_raw(i).map_err(|e| of_sqlx(&e))?;
        if raw.is_null() {
            return Ok(None);
        }
        let kind = raw.type_info().name().to_owned();
        let read = match kind.as_str() {
            "INTEGER" => row.try_get_unchecked::<i64, _>(i).map(|n| n.to_string()),
            "REAL" => row.try_get_unchecked::<f64, _>(i).map(|x| x.to_string()),
            "BLOB" => row
                .try_get_unchecked::<Vec<u8>, _>(i)
                .map(|b| String::from_utf8_lossy(&b).into_owned()),
            _ => row.try_get_unchecked::<String, _>(i),
        };
        read.map(Some).map_err(|e| of_sqlx(&e))
    };
    (0..row.len()).map(value).collect()
}

fn at(row: &[Option<String>], i: usize) -> String {
    row.get(i).cloned().flatten().unwrap_or_default()
}

impl Dialect for Sqlite {
    type Conn = SqliteConnection;
    const VERSION: &'static str = "SELECT sqlite_version()";
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const SAME: &'static str = "IS";
    const FAULT: &'static str = "SELECT levqor_no_such_function()";
    const TABLES: &'static str = "SELECT count(*) FROM sqlite_master WHERE name =";

    async fn connect(&self) -> Result<SqliteConnection> {
        if !Path::new(&self.path).is_file() {
            let message = format!("there is no file {}", self.path.display());
            return Err(Error::unavailable("db.unreachable", message));
        }
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(2))
            .disable_statement_logging();
        SqliteConnection::connect_with(&options).await.map_err(|e| of_sqlx(&e))
    }

    async fn rows(conn: &mut SqliteConnection, sql: &str) -> Result<Texts> {
        rows(conn, sql).await
    }

    async fn close(conn: SqliteConnection) {
        let _ = conn.close().await;
    }
}

#[async_trait]
impl Database for Sqlite {
    fn place(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    async fn probe(&self, probe: &Probe) -> Result<Probed> {
        driver::probe(self, probe).await
    }

    async fn schema(&self) -> Result<Schema> {
        let mut conn = self.connect().await?;
        let mut schema = Schema::default();
        let names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        for name in rows(&mut conn, names).await?.iter().map(|r| at(r, 0)) {
            let mut table = Table::default();
            let mut keys = Vec::new();
            for row in rows(&mut conn, &format!("PRAGMA table_info({})", quoted(&name))).await? {
                let column = Column {
                    kind: at(&row, 2).to_ascii_lowercase(),
                    not_null: at(&row, 3) == "1",
                };
                table.columns.insert(at(&row, 1), column);
                if let Some(place) = at(&row, 5).parse::<u32>().ok().filter(|n| *n > 0) {
                    keys.push((place, at(&row, 1)));
                }
            }
            keys.sort();
            table.primary_key = keys.into_iter().map(|(_, column)| column).collect();
            let mut foreign: Vec<(String, String, Vec<String>, Vec<String>)> = Vec::new();
            for row in rows(&mut conn, &format!("PRAGMA foreign_key_list({})", quoted(&name))).await? {
                let id = at(&row, 0);
                if foreign.last().is_none_or(|f| f.0 != id) {
                    foreign.push((id, at(&row, 2), Vec::new(), Vec::new()));
                }
                if let Some(last) = foreign.last_mut() {
                    last.2.push(at(&row, 3));
                    last.3.push(at(&row, 4));
                }
            }
            table.foreign_keys = foreign
                .into_iter()
                .map(|(_, to, from, columns)| format!("{} -> {to}.{}", from.join(","), columns.join(",")))
                .collect();
            table.foreign_keys.sort();
            for row in rows(&mut conn, &format!("PRAGMA index_list({})", quoted(&name))).await? {
                // Unique, and over all rows.
                if at(&row, 2) == "1" && at(&row, 4) == "0" {
                    let columns = rows(&mut conn, &format!("PRAGMA index_info({})", quoted(&at(&row, 1)))).await?;
                    table.unique.push(columns.iter().map(|c| at(c, 2)).collect());
                }
            }
            if !table.primary_key.is_empty() && !table.unique.contains(&table.primary_key) {
                table.unique.push(table.primary_key.clone());
            }
            table.unique.sort();
            schema.tables.insert(name, table);
        }
        let sound = rows(&mut conn, "PRAGMA quick_check(1)").await?;
        let _ = conn.close().await;
        match sound.first().map(|r| at(r, 0)).as_deref() {
            Some("ok") => Ok(schema),
            said => {
                let message = format!("the file is damaged: {}", said.unwrap_or_default());
                Err(Error::new(ErrorKind::Corrupt, "db.corrupt", message).hint("restore a backup"))
            }
        }
    }

    async fn query(&self, sql: &str) -> Result<Texts> {
        let mut conn = self.connect().await?;
        rows(&mut conn, "PRAGMA query_only = ON").await?;
        let found = rows(&mut conn, sql).await;
        let _ = conn.close().await;
        found
    }
}
