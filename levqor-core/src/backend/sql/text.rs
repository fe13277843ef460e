//! The statements, written once per table and database from the row's columns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::table::{Kind, Row};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    /// SQLite: rows travel as one JSON text.
    Sqlite,
    /// Postgres: rows travel as one array per column.
    Postgres,
}

impl Dialect {
    /// A statement that makes a table, as this database wants it. Texts are compared by their bytes, as
    /// SQLite and Rust do, not by the rules of a language: both for the order of lists, and because an
    /// index must not depend on the version of a library of collations.
    pub(super) fn ddl(self, statement: &'static str) -> Cow<'static, str> {
        match self {
            Dialect::Sqlite => Cow::Borrowed(statement),
            Dialect::Postgres => Cow::Owned(statement.replace(" TEXT", " TEXT COLLATE \"C\"")),
        }
    }
}

/// The statements of one table.
#[derive(Debug)]
pub(super) struct TableSql {
    /// Rows by key.
    pub by_key: String,
    /// Rows of groups.
    pub by_group: String,
    /// The front of one group.
    pub front: String,
    /// New rows.
    pub insert: Many,
    /// Rows that the store has.
    pub update: Many,
    /// Rows that go.
    pub delete: String,
    /// `SELECT` and all columns `FROM` the table.
    pub select: String,
}

/// A statement for many rows at once.
///
/// Postgres takes any number, as arrays. In SQLite every value is bound by itself, and a statement is written (and
/// prepared) for each power of two: taking the values out of one JSON text, as is done for keys, costs it eight times
/// as much for a row of thirty columns.
#[derive(Debug)]
pub(super) struct Many {
    head: String,
    row: String,
    tail: String,
    written: [OnceLock<String>; POWERS],
}

/// Powers of two: 1 to 256 rows in one statement.
const POWERS: usize = 9;

impl Many {
    fn new(head: String, row: String, tail: String) -> Self {
        Many {
            head,
            row,
            tail,
            written: [const { OnceLock::new() }; POWERS],
        }
    }

    /// The statement for any number of rows, where there is one (Postgres).
    pub(super) fn all(&self) -> &str {
        &self.head
    }

    /// How many of so many rows go into the next statement.
    pub(super) fn step(rows: usize) -> usize {
        1 << rows.max(1).ilog2().min(u32::try_from(POWERS).unwrap_or(1) - 1)
    }

    /// The statement for a number of rows that [`step`](Many::step) gave.
    pub(super) fn of(&self, rows: usize) -> &str {
        let place = (rows.max(1).ilog2() as usize).min(POWERS - 1);
        self.written[place].get_or_init(|| {
            let rows = vec![self.row.as_str(); 1 << place].join(", ");
            format!("{} {rows}{}", self.head, self.tail)
        })
    }
}

impl TableSql {
    /// The statements of a row's table. Written at the first call, kept for the life of the process:
    /// there is one set for each table and database.
    pub(super) fn of<R: Row>(dialect: Dialect) -> &'static TableSql {
        type Cache = Mutex<HashMap<(&'static str, Dialect), &'static TableSql>>;
        static CACHE: OnceLock<Cache> = OnceLock::new();
        let mut cache = CACHE
            .get_or_init(Cache::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cache
            .entry((R::TABLE, dialect))
            .or_insert_with(|| Box::leak(Box::new(write::<R>(dialect))))
    }
}

fn list(items: impl IntoIterator<Item = String>, between: &str) -> String {
    items.into_iter().collect::<Vec<_>>().join(between)
}

/// A table of values `k(c0, c1, ...)` made from the arguments.
fn values(dialect: Dialect, kinds: &[Kind]) -> String {
    match dialect {
        Dialect::Sqlite => "json_each($1) k".to_owned(),
        Dialect::Postgres => {
            let arrays = kinds.iter().enumerate().map(|(i, kind)| {
                let ty = match kind {
                    Kind::Text => "text",
                    Kind::Int => "bigint",
                };
                format!("${}::{ty}[]", i + 1)
            });
            let names = (0..kinds.len()).map(|i| format!("c{i}"));
            format!("unnest({}) AS k({})", list(arrays, ", "), list(names, ", "))
        }
    }
}

/// Column `i` of [`values`].
fn value(dialect: Dialect, i: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("(k.value ->> {i})"),
        Dialect::Postgres => format!("k.c{i}"),
    }
}

fn write<R: Row>(dialect: Dialect) -> TableSql {
    let table = R::TABLE;
    let names: Vec<&str> = R::COLUMNS.iter().map(|c| c.name).collect();
    let kind_of = |name: &str| R::COLUMNS.iter().find(|c| c.name == name).map_or(Kind::Text, |c| c.kind);
    let kinds_of = |names: &[&str]| names.iter().map(|n| kind_of(n)).collect::<Vec<_>>();
    let columns = list(names.iter().map(|n| format!("t.{n}")), ", ");
    let join = |names: &[&str]| {
        list(
            names
                .iter()
                .enumerate()
                .map(|(i, n)| format!("t.{n} = {}", value(dialect, i))),
            " AND ",
        )
    };
    let order = list(R::KEY.iter().map(|n| format!("t.{n}")), ", ");
    let lock = |how: &'static str| if dialect == Dialect::Postgres && R::LOCK { how } else { "" };

    // CROSS JOIN keeps SQLite from making the big table the outer loop.
    let joined = |names: &[&str]| {
        format!(
            "SELECT {columns} FROM {} CROSS JOIN {table} t WHERE {}",
            values(dialect, &kinds_of(names)),
            join(names)
        )
    };
    let by_key = format!("{} ORDER BY {order}{}", joined(R::KEY), lock(" FOR UPDATE OF t"));
    let by_group = format!(
        "{} AND {} ORDER BY {order}{}",
        joined(R::GROUP),
        R::OPEN,
        lock(" FOR UPDATE OF t")
    );
    let front = R::RANK.map_or_else(String::new, |rank| {
        let group = list(
            R::GROUP.iter().enumerate().map(|(i, n)| format!("t.{n} = ${}", i + 1)),
            " AND ",
        );
        let n = R::GROUP.len();
        format!(
            "SELECT {columns} FROM {table} t WHERE {group} AND {} AND t.{rank} <= ${} ORDER BY t.{rank}, {order} LIMIT ${}{}",
            R::OPEN,
            n + 1,
            n + 2,
            lock(" FOR UPDATE OF t SKIP LOCKED")
        )
    });

    let all_kinds: Vec<Kind> = R::COLUMNS.iter().map(|c| c.kind).collect();
    let all_values = list((0..names.len()).map(|i| value(dialect, i)), ", ");
    let into = format!("INSERT INTO {table} ({})", names.join(", "));
    let row = format!("({})", vec!["?"; names.len()].join(", "));
    let changing: Vec<(usize, &str)> = R::COLUMNS
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.fixed)
        .map(|(i, c)| (i, c.name))
        .collect();
    let (insert, update) = match dialect {
        Dialect::Sqlite => {
            let conflict = format!(
                " ON CONFLICT ({}) DO UPDATE SET {}",
                R::KEY.join(", "),
                list(changing.iter().map(|(_, n)| format!("{n} = excluded.{n}")), ", ")
            );
            let values = format!("{into} VALUES");
            (
                Many::new(values.clone(), row.clone(), String::new()),
                Many::new(values, row, conflict),
            )
        }
        Dialect::Postgres => {
            let keys = R::KEY.iter().map(|key| {
                let i = names.iter().position(|n| n == key).unwrap_or(0);
                format!("t.{key} = k.c{i}")
            });
            let sets = changing.iter().map(|(i, n)| format!("{n} = k.c{i}"));
            let insert = format!("{into} SELECT {all_values} FROM {}", values(dialect, &all_kinds));
            let update = format!(
                "UPDATE {table} t SET {} FROM {} WHERE {}",
                list(sets, ", "),
                values(dialect, &all_kinds),
                list(keys, " AND ")
            );
            let whole = |text| Many::new(text, String::new(), String::new());
            (whole(insert), whole(update))
        }
    };
    let key_kinds = kinds_of(R::KEY);
    let key_values = list((0..R::KEY.len()).map(|i| value(dialect, i)), ", ");
    let delete = format!(
        "DELETE FROM {table} WHERE ({}) IN (SELECT {key_values} FROM {})",
        R::KEY.join(", "),
        values(dialect, &key_kinds)
    );
    TableSql {
        by_key,
        by_group,
        front,
        insert,
        update,
        delete,
        select: format!("SELECT {columns} FROM {table} t"),
    }
}
