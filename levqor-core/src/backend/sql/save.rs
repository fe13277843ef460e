//! From the working set into the database: one statement (in SQLite a few) per table and kind of change.

use std::sync::Arc;

use super::conn::{Conn, Fault};
use super::load::{flat, pack};
use super::text::{Dialect, Many, TableSql};
use crate::error::Result;
use crate::store::Rows;
use crate::table::{Cell, Change, Kind, Row, Table};

/// Writes every change. `false` if there was none.
pub(super) async fn save(rows: &mut Rows, conn: &mut dyn Conn, dialect: Dialect) -> Result<bool, Fault> {
    let mut any = false;
    crate::each_table!(rows, |t| any |= table(t, conn, dialect).await?);
    Ok(any)
}

async fn table<R: Row>(t: &mut Table<R>, conn: &mut dyn Conn, dialect: Dialect) -> Result<bool, Fault> {
    let changes = t.changes();
    if changes.is_empty() {
        return Ok(false);
    }
    let mut inserts: Vec<Arc<R>> = Vec::new();
    let mut updates: Vec<Arc<R>> = Vec::new();
    let mut deletes: Vec<Vec<Cell>> = Vec::new();
    for change in changes {
        match change {
            Change::Insert(row) => inserts.push(row),
            Change::Update(row) => updates.push(row),
            Change::Delete(key) => deletes.push(key),
        }
    }
    let sql = TableSql::of::<R>(dialect);
    if !deletes.is_empty() {
        let key_kinds: Vec<Kind> = R::KEY
            .iter()
            .filter_map(|n| R::COLUMNS.iter().find(|c| c.name == *n))
            .map(|c| c.kind)
            .collect();
        conn.execute(&sql.delete, pack(dialect, &key_kinds, deletes.into_iter())?)
            .await?;
    }
    write(&sql.insert, &inserts, conn, dialect).await?;
    write(&sql.update, &updates, conn, dialect).await?;
    Ok(true)
}

/// Writes rows, as many at once as the statement takes.
async fn write<R: Row>(sql: &Many, rows: &[Arc<R>], conn: &mut dyn Conn, dialect: Dialect) -> Result<(), Fault> {
    if dialect == Dialect::Postgres && !rows.is_empty() {
        let kinds: Vec<Kind> = R::COLUMNS.iter().map(|c| c.kind).collect();
        let args = pack(dialect, &kinds, rows.iter().map(|r| r.cells()))?;
        return conn.execute(sql.all(), args).await;
    }
    let mut rest = rows;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(Many::step(rest.len()));
        conn.execute(sql.of(now.len()), flat(now.iter().map(|r| r.cells()))?).await?;
        rest = later;
    }
    Ok(())
}
