//! From the database into the working set.

use std::sync::Arc;

use super::conn::{Arg, Conn, Fault};
use super::text::{Dialect, TableSql};
use crate::credits::Account;
use crate::error::Result;
use crate::store::Rows;
use crate::table::{Cell, Cells, KeyCells, Kind, Row, Table, Wants};
use crate::types::Tenant;

/// Loads everything that the tables want. `false` if they wanted nothing.
pub(super) async fn load(rows: &mut Rows, conn: &mut dyn Conn, dialect: Dialect) -> Result<bool, Fault> {
    // An account's lock comes before anything that hangs on it: of what is known by its id only, first
    // its account is learnt.
    let ledger = &mut rows.ledger;
    behind(&mut ledger.holds, &mut ledger.accounts, conn, dialect, |r| {
        (r.tenant.clone(), r.owner.clone())
    })
    .await?;
    behind(&mut ledger.grants, &mut ledger.accounts, conn, dialect, |r| {
        (r.tenant.clone(), r.owner.clone())
    })
    .await?;
    behind(&mut ledger.txns, &mut ledger.accounts, conn, dialect, |r| {
        (r.tenant.clone(), r.owner.clone())
    })
    .await?;

    let mut any = false;
    crate::each_table!(rows, |t| any |= table(t, conn, dialect).await?);
    Ok(any)
}

/// Rows that are wanted by their id: loaded, if their accounts are here (and so locked) already;
/// otherwise their accounts are wanted, and they stay so too.
async fn behind<R: Row>(
    t: &mut Table<R>,
    accounts: &mut Table<Account>,
    conn: &mut dyn Conn,
    dialect: Dialect,
    account: impl Fn(&R) -> (Tenant, Arc<str>),
) -> Result<(), Fault> {
    let mut wants = t.take_wants();
    if !wants.keys.is_empty() {
        let keys = std::mem::take(&mut wants.keys);
        let found = select::<R>(conn, dialect, &keys).await?;
        if found.iter().all(|row| accounts.has(&account(row))) {
            found.into_iter().for_each(|row| t.load(row));
            t.loaded(Wants {
                keys,
                ..Wants::default()
            });
        } else {
            found.iter().for_each(|row| accounts.want(account(row)));
            wants.keys = keys;
        }
    }
    t.want_again(wants);
    Ok(())
}

async fn table<R: Row>(t: &mut Table<R>, conn: &mut dyn Conn, dialect: Dialect) -> Result<bool, Fault> {
    let wants = t.take_wants();
    if wants.is_empty() {
        return Ok(false);
    }
    let sql = TableSql::of::<R>(dialect);
    if !wants.keys.is_empty() {
        for row in select::<R>(conn, dialect, &wants.keys).await? {
            t.load(row);
        }
    }
    if !wants.groups.is_empty() {
        let args = pack(dialect, &kinds_of::<R>(R::GROUP), wants.groups.iter().map(KeyCells::cells))?;
        for row in fetch::<R>(conn, &sql.by_group, args).await? {
            t.load(row);
        }
    }
    for (group, (limit, upto)) in &wants.fronts {
        let mut args: Vec<Arg> = group.cells().into_iter().map(scalar).collect();
        args.push(Arg::Int(*upto));
        args.push(Arg::Int(i64::try_from(*limit).unwrap_or(i64::MAX)));
        let found = fetch::<R>(conn, &sql.front, args).await?;
        let last = if found.len() < *limit { None } else { found.last().cloned() };
        found.into_iter().for_each(|row| t.load(row));
        t.front_loaded(group.clone(), (*limit, *upto), last.as_ref());
    }
    t.loaded(wants);
    Ok(true)
}

pub(super) async fn select<R: Row>(
    conn: &mut dyn Conn,
    dialect: Dialect,
    keys: &std::collections::BTreeSet<R::Key>,
) -> Result<Vec<R>, Fault> {
    let args = pack(dialect, &kinds_of::<R>(R::KEY), keys.iter().map(KeyCells::cells))?;
    fetch::<R>(conn, &TableSql::of::<R>(dialect).by_key, args).await
}

/// Runs a query whose columns are the row's.
pub(super) async fn fetch<R: Row>(conn: &mut dyn Conn, sql: &str, args: Vec<Arg>) -> Result<Vec<R>, Fault> {
    let kinds: Vec<Kind> = R::COLUMNS.iter().map(|c| c.kind).collect();
    let found = conn.fetch(sql, args, &kinds).await?;
    found
        .into_iter()
        .map(|cells| R::from_cells(Cells::new(cells)).map_err(|e| Fault::Corrupt(e.to_string())))
        .collect()
}

fn kinds_of<R: Row>(names: &[&str]) -> Vec<Kind> {
    names
        .iter()
        .map(|n| R::COLUMNS.iter().find(|c| c.name == *n).map_or(Kind::Text, |c| c.kind))
        .collect()
}

fn scalar(cell: Cell) -> Arg {
    match cell {
        Cell::Int(n) => Arg::Int(n),
        Cell::Text(t) => Arg::Text(t),
        Cell::Null => Arg::Text("".into()),
    }
}

/// Neither database keeps a NUL in a text: Postgres refuses it, and SQLite's JSON ends the text there.
fn without_nul(cells: Vec<Cell>) -> Result<Vec<Cell>, Fault> {
    let nul = |cell: &Cell| matches!(cell, Cell::Text(t) if t.as_bytes().contains(&0));
    if cells.iter().any(nul) {
        Err(Fault::Value("a text has a NUL character".into()))
    } else {
        Ok(cells)
    }
}

/// Many rows of cells as the arguments of one statement, each value by itself.
pub(super) fn flat(rows: impl Iterator<Item = Vec<Cell>>) -> Result<Vec<Arg>, Fault> {
    let mut args = Vec::new();
    for cells in rows {
        args.extend(without_nul(cells)?.into_iter().map(|cell| match cell {
            Cell::Null => Arg::Null,
            Cell::Int(n) => Arg::Int(n),
            Cell::Text(text) => Arg::Text(text),
        }));
    }
    Ok(args)
}

/// Many rows of cells as the arguments of one statement, in one argument or one for each column.
pub(super) fn pack(dialect: Dialect, kinds: &[Kind], rows: impl Iterator<Item = Vec<Cell>>) -> Result<Vec<Arg>, Fault> {
    let rows = rows.map(without_nul);
    Ok(match dialect {
        Dialect::Sqlite => {
            let mut text = String::from("[");
            for cells in rows {
                let cells = cells?;
                text.push(if text.len() == 1 { '[' } else { ',' });
                if text.ends_with(',') {
                    text.push('[');
                }
                for (i, cell) in cells.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    match cell {
                        Cell::Null => text.push_str("null"),
                        Cell::Int(n) => text.push_str(&n.to_string()),
                        // A text always serialises.
                        Cell::Text(t) => text.push_str(&serde_json::to_string(t.as_ref()).unwrap_or_default()),
                    }
                }
                text.push(']');
            }
            text.push(']');
            vec![Arg::Text(text.into())]
        }
        Dialect::Postgres => {
            let mut args: Vec<Arg> = kinds
                .iter()
                .map(|kind| match kind {
                    Kind::Text => Arg::Texts(Vec::new()),
                    Kind::Int => Arg::Ints(Vec::new()),
                })
                .collect();
            for cells in rows {
                for (arg, cell) in args.iter_mut().zip(cells?) {
                    match (arg, cell) {
                        (Arg::Texts(v), Cell::Text(t)) => v.push(Some(t)),
                        (Arg::Texts(v), _) => v.push(None),
                        (Arg::Ints(v), Cell::Int(n)) => v.push(Some(n)),
                        (Arg::Ints(v), _) => v.push(None),
                        (Arg::Text(_) | Arg::Int(_) | Arg::Null, _) => {}
                    }
                }
            }
            args
        }
    })
}
