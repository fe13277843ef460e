//! `db.schema`: tables, columns, types, constraints and row counts are as expected, and have not drifted since the last run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use levqor_core::error::ErrorKind;
use levqor_core::pipeline::suggest::did_you_mean;
use serde_json::{Value, json};

use super::Basics;
use super::read_write::{Named, too_late};
use crate::check::{Check, CheckCx};
use crate::db::{Database, Schema, Table, finding, quoted};
use crate::outcome::{Finding, Outcome};
use crate::pack::Reader;

pub(super) struct SchemaCheck {
    id: String,
    database: Named,
    tables: Vec<Expected>,
    drift: &'static str,
}

/// What a table has to be.
pub(super) struct Expected {
    name: String,
    columns: BTreeMap<String, Option<String>>,
    not_null: Vec<String>,
    primary_key: Vec<String>,
    unique: Vec<String>,
    foreign_keys: Vec<String>,
    pub(super) rows: Rows,
}

/// How many rows a table has to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    table: String,
    min: Option<i64>,
    max: Option<i64>,
}

impl Rows {
    pub(super) fn read(table: &str, r: &Reader<'_>) -> Self {
        let bound = |key| (r.raw(key).is_some()).then(|| r.int_or(key, 0..=i64::MAX, 0));
        Rows {
            table: table.to_owned(),
            min: bound("min_rows"),
            max: bound("max_rows"),
        }
    }

    pub(super) fn asked(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    /// Counts, and compares.
    pub(super) async fn check(&self, database: &dyn Database, place: &str) -> (Option<Finding>, Option<i64>) {
        let counted = database.query(&format!("SELECT count(*) FROM {}", quoted(&self.table))).await;
        let n = match counted {
            Ok(rows) => rows
                .first()
                .and_then(|r| r.first())
                .cloned()
                .flatten()
                .and_then(|t| t.parse::<i64>().ok()),
            Err(e) => return (Some(finding(&e, place)), None),
        };
        let Some(n) = n else {
            return (
                Some(Finding::error("db.bad_answer", "the number of rows cannot be read").at(place)),
                None,
            );
        };
        let range = match (self.min, self.max) {
            (Some(a), Some(b)) => format!("{a} to {b} rows"),
            (Some(a), None) => format!("at least {a} rows"),
            (None, Some(b)) => format!("at most {b} rows"),
            (None, None) => return (None, Some(n)),
        };
        let wrong = self.min.is_some_and(|m| n < m) || self.max.is_some_and(|m| n > m);
        let finding = wrong.then(|| {
            Finding::fail("db.row_count", format!("the table `{}` has {n} rows", self.table))
                .expected(range)
                .actual(n.to_string())
                .at(format!("{place} {}", self.table))
                .hint("was it emptied, was data imported twice, or is this another database?")
        });
        (finding, Some(n))
    }
}

impl SchemaCheck {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let tables = r
            .tables("tables")
            .into_iter()
            .map(|(name, t)| {
                let mut columns: BTreeMap<String, Option<String>> = BTreeMap::new();
                match t.raw("columns") {
                    Some(Value::Array(list)) => columns.extend(list.iter().filter_map(|c| Some((c.as_str()?.to_owned(), None)))),
                    Some(Value::Object(map)) => {
                        columns.extend(map.iter().map(|(c, k)| (c.clone(), k.as_str().map(str::to_owned))));
                    }
                    Some(_) => t.fault("columns", "pack.wrong_type", "`columns` is a list of names, or types by name"),
                    None => {}
                }
                let expected = Expected {
                    columns,
                    not_null: t.texts("not_null").unwrap_or_default(),
                    primary_key: t.texts("primary_key").unwrap_or_default(),
                    unique: t.texts("unique").unwrap_or_default(),
                    foreign_keys: t.texts("foreign_keys").unwrap_or_default(),
                    rows: Rows::read(&name, &t),
                    name,
                };
                t.finish();
                expected
            })
            .collect();
        SchemaCheck {
            id,
            database: Named::new(r, basics),
            tables,
            drift: r.choice("drift", &["warn", "fail", "ignore"], "warn"),
        }
    }
}

/// Types that have several names, each by one.
fn plain_type(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let (base, rest) = text.split_once('(').map_or((text.as_str(), ""), |(b, r)| (b.trim(), r));
    // `timestamp(3) with time zone` has its size in the middle.
    let tail = rest.split_once(')').map_or("", |(_, t)| t.trim());
    let whole = if tail.is_empty() {
        base.to_owned()
    } else {
        format!("{base} {tail}")
    };
    let name = match whole.as_str() {
        "int8" | "bigserial" => "bigint",
        "int" | "int4" | "serial" => "integer",
        "int2" | "smallserial" => "smallint",
        "varchar" => "character varying",
        "char" | "bpchar" => "character",
        "bool" => "boolean",
        "float8" | "double" => "double precision",
        "float4" => "real",
        "decimal" => "numeric",
        "timestamptz" => "timestamp with time zone",
        "timestamp" => "timestamp without time zone",
        "timetz" => "time with time zone",
        "time" => "time without time zone",
        other => other,
    };
    name.to_owned()
}

/// Whether a type is what was asked for: without a size in the question, any size is.
fn type_fits(want: &str, is: &str) -> bool {
    let size = |t: &str| {
        t.split_once('(')
            .and_then(|(_, r)| r.split_once(')'))
            .map(|(s, _)| s.replace(' ', ""))
    };
    plain_type(want) == plain_type(is) && size(want).is_none_or(|s| size(is).as_deref() == Some(s.as_str()))
}

impl Expected {
    fn judge(&self, schema: &Schema, place: &str) -> Vec<Finding> {
        let at = format!("{place} {}", self.name);
        let Some(table) = schema.tables.get(&self.name) else {
            let known = did_you_mean(&self.name, schema.tables.keys().map(String::as_str));
            let finding = Finding::fail("db.missing_table", format!("there is no table `{}`{known}", self.name))
                .expected(format!("the table `{}`", self.name))
                .actual("none of this name")
                .at(at)
                .hint("run the migrations; or is this another database, or another schema (search_path)?");
            return vec![finding];
        };
        let mut said = Vec::new();
        self.columns(table, &at, &mut said);
        for column in &self.not_null {
            if table.columns.get(column).is_some_and(|c| !c.not_null) && !table.primary_key.contains(column) {
                said.push(missing(
                    &at,
                    "db.nullable",
                    &format!("the column `{column}` may be empty"),
                    "NOT NULL",
                    "nullable",
                ));
            }
        }
        let list = |columns: &[String]| columns.join(", ");
        if !self.primary_key.is_empty() && table.primary_key != self.primary_key {
            let actual = if table.primary_key.is_empty() {
                "none".into()
            } else {
                list(&table.primary_key)
            };
            said.push(missing(
                &at,
                "db.primary_key",
                "the primary key is another",
                &list(&self.primary_key),
                &actual,
            ));
        }
        for unique in &self.unique {
            let mut want: Vec<&str> = unique.split(',').map(str::trim).collect();
            want.sort_unstable();
            let has = table.unique.iter().any(|u| {
                let mut u: Vec<&str> = u.iter().map(String::as_str).collect();
                u.sort_unstable();
                u == want
            });
            if !has {
                said.push(missing(
                    &at,
                    "db.not_unique",
                    &format!("`{unique}` is not unique"),
                    "a unique constraint or index",
                    "none",
                ));
            }
        }
        for foreign in &self.foreign_keys {
            let plain = |t: &str| t.replace(' ', "");
            if !table.foreign_keys.iter().any(|f| plain(f) == plain(foreign)) {
                let actual = if table.foreign_keys.is_empty() {
                    "none".into()
                } else {
                    table.foreign_keys.join("; ")
                };
                said.push(missing(
                    &at,
                    "db.foreign_key",
                    &format!("the foreign key {foreign} is missing"),
                    foreign,
                    &actual,
                ));
            }
        }
        said
    }

    fn columns(&self, table: &Table, at: &str, said: &mut Vec<Finding>) {
        for (column, kind) in &self.columns {
            let Some(is) = table.columns.get(column) else {
                let known = did_you_mean(column, table.columns.keys().map(String::as_str));
                let message = format!("there is no column `{column}`{known}");
                said.push(missing(
                    at,
                    "db.missing_column",
                    &message,
                    &format!("the column `{column}`"),
                    "none of this name",
                ));
                continue;
            };
            if let Some(want) = kind.as_ref().filter(|want| !type_fits(want, &is.kind)) {
                said.push(missing(
                    at,
                    "db.column_type",
                    &format!("the column `{column}` is {}", is.kind),
                    want,
                    &is.kind,
                ));
            }
        }
    }
}

fn missing(at: &str, cause: &str, message: &str, expected: &str, actual: &str) -> Finding {
    Finding::fail(cause, message)
        .expected(expected)
        .actual(actual)
        .at(at)
        .hint("write a migration; or mend the pack, if the program does not need this any more")
}

/// The differences of two schemas, in words.
fn differences(before: &Schema, now: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    for name in before.tables.keys().filter(|n| !now.tables.contains_key(*n)) {
        found.push(format!("table {name} is gone"));
    }
    for (name, table) in &now.tables {
        let Some(old) = before.tables.get(name) else {
            found.push(format!("table {name} is new"));
            continue;
        };
        for column in old.columns.keys().filter(|c| !table.columns.contains_key(*c)) {
            found.push(format!("{name}.{column} is gone"));
        }
        for (column, is) in &table.columns {
            match old.columns.get(column) {
                None => found.push(format!("{name}.{column} is new")),
                Some(was) if was != is => found.push(format!("{name}.{column} was {} and is {}", was.kind, is.kind)),
                Some(_) => {}
            }
        }
        let rest = |t: &Table| (t.primary_key.clone(), t.unique.clone(), t.foreign_keys.clone());
        if rest(old) != rest(table) {
            found.push(format!("constraints of {name} changed"));
        }
    }
    found
}

#[async_trait]
impl Check for SchemaCheck {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let database = match self.database.get(cx) {
            Ok(database) => database,
            Err(outcome) => return outcome,
        };
        let place = database.place();
        let schema = match tokio::time::timeout(cx.left().to_duration(), database.schema()).await {
            Ok(Ok(schema)) => schema,
            Ok(Err(e)) if e.kind() == ErrorKind::Unsupported => return Outcome::skip(e.to_string()),
            Ok(Err(e)) => return finding(&e, &place).into(),
            Err(_) => return too_late(&place).into(),
        };
        let mut outcome = Outcome::new(format!("{} tables in {place}", schema.tables.len()));
        if schema.tables.is_empty() {
            outcome.add(
                Finding::fail("db.empty", "the database has no table")
                    .expected("the program's tables")
                    .actual("none")
                    .at(place.as_str())
                    .hint("run the migrations; or is this another database, or another schema (search_path)?"),
            );
        }
        for expected in &self.tables {
            expected.judge(&schema, &place).into_iter().for_each(|f| outcome.add(f));
            if expected.rows.asked() && schema.tables.contains_key(&expected.name) {
                let (finding, n) = expected.rows.check(&*database, &place).await;
                finding.into_iter().for_each(|f| outcome.add(f));
                if let Some(n) = n {
                    outcome.fact(&format!("rows.{}", expected.name), n);
                }
            }
        }
        for (name, table) in &schema.tables {
            for invalid in &table.invalid {
                outcome.add(
                    Finding::fail("db.invalid", format!("{invalid} of the table `{name}` is not valid"))
                        .expected("valid constraints and indexes")
                        .actual("the database says that it is not")
                        .at(format!("{place} {name}"))
                        .hint("VALIDATE CONSTRAINT, or REINDEX CONCURRENTLY: a migration stopped half-way"),
                );
            }
        }
        let before = cx.previous().and_then(|f| f.get("schema")).cloned();
        if let Some(before) = before.and_then(|v| serde_json::from_value::<Schema>(v).ok()) {
            let found = differences(&before, &schema);
            if !found.is_empty() && self.drift != "ignore" {
                let message = format!(
                    "the schema has changed since the last run: {}",
                    found.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
                );
                let finding = if self.drift == "fail" {
                    Finding::fail("db.drift", message)
                } else {
                    Finding::warn("db.drift", message)
                };
                outcome.add(
                    finding
                        .expected("the schema of the run before")
                        .actual(format!("{} differences", found.len()))
                        .at(place.as_str())
                        .hint("a migration explains it; a change by hand does not"),
                );
            }
        }
        if let Ok(text) = serde_json::to_string_pretty(&schema) {
            cx.capture("schema", &text);
        }
        outcome.fact("schema", json!(schema));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_several_names() {
        for (want, is, fits) in [
            ("int8", "bigint", true),
            ("varchar", "character varying(255)", true),
            ("varchar(255)", "character varying(255)", true),
            ("varchar(64)", "character varying(255)", false),
            ("timestamptz", "timestamp(3) with time zone", true),
            ("timestamptz", "timestamp without time zone", false),
            ("numeric(12,2)", "numeric(12, 2)", true),
            ("text", "integer", false),
            ("TEXT", "text", true),
        ] {
            assert_eq!(type_fits(want, is), fits, "{want} {is}");
        }
    }
}
