//! `db.schema_ready`: every migration has been applied, and the rows that have to be there are there.

use async_trait::async_trait;
use levqor_core::error::ErrorKind;

use super::Basics;
use super::read_write::{Named, too_late};
use super::schema::Rows;
use crate::check::{Check, CheckCx};
use crate::db::{Database, Schema, finding, quoted};
use crate::outcome::{Finding, Outcome};
use crate::pack::Reader;

pub(super) struct Migrations {
    id: String,
    database: Named,
    table: Option<String>,
    expected: Vec<String>,
    exact: bool,
    rows: Vec<Rows>,
    queries: Vec<Query>,
}

/// A number that a query has to answer.
struct Query {
    name: String,
    sql: String,
    min: i64,
    max: i64,
}

/// A tool's table, the column of versions, and the condition under which a row is half-applied.
const TOOLS: &[(&str, &str, Option<&str>)] = &[
    ("alembic_version", "version_num", None),
    ("django_migrations", "app || '.' || name", None),
    ("_sqlx_migrations", "CAST(version AS text)", Some("NOT success")),
    ("schema_migrations", "CAST(version AS text)", None),
    (
        "_prisma_migrations",
        "migration_name",
        Some("finished_at IS NULL AND rolled_back_at IS NULL"),
    ),
    ("flyway_schema_history", "version", Some("NOT success")),
    ("knex_migrations", "name", None),
    ("__drizzle_migrations", "hash", None),
    ("goose_db_version", "CAST(version_id AS text)", None),
    ("__diesel_schema_migrations", "version", None),
    ("levqor_meta", "value", None),
];

impl Migrations {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let rows = r
            .tables("rows")
            .into_iter()
            .map(|(table, t)| {
                let rows = Rows::read(&table, &t);
                t.finish();
                rows
            })
            .collect();
        let queries = r
            .tables("queries")
            .into_iter()
            .map(|(name, q)| {
                let sql = q.text("sql").unwrap_or_default();
                if sql.is_empty() {
                    q.fault("sql", "pack.missing", "a query has to have `sql`");
                }
                let equals = q.raw("equals").is_some().then(|| q.int_or("equals", i64::MIN..=i64::MAX, 0));
                let query = Query {
                    name,
                    sql,
                    min: equals.unwrap_or_else(|| q.int_or("min", i64::MIN..=i64::MAX, i64::MIN)),
                    max: equals.unwrap_or_else(|| q.int_or("max", i64::MIN..=i64::MAX, i64::MAX)),
                };
                q.finish();
                query
            })
            .collect();
        Migrations {
            id,
            database: Named::new(r, basics),
            table: r.text("migrations_table"),
            expected: r.texts("expected").unwrap_or_default(),
            exact: r.bool_or("exact", false),
            rows,
            queries,
        }
    }

    /// The table that holds the versions, with what is known of it.
    fn tool(&self, schema: &Schema) -> Option<(String, &'static str, Option<&'static str>)> {
        let known = |name: &str| TOOLS.iter().find(|t| t.0 == name).map(|t| (t.0.to_owned(), t.1, t.2));
        match &self.table {
            Some(name) => Some(known(name).unwrap_or((name.clone(), "CAST(version AS text)", None))),
            None => TOOLS
                .iter()
                .find(|t| schema.tables.contains_key(t.0))
                .and_then(|t| known(t.0)),
        }
    }

    async fn versions(&self, schema: &Schema, database: &dyn Database, place: &str, outcome: &mut Outcome) {
        let Some((table, column, half)) = self.tool(schema) else {
            if !self.expected.is_empty() {
                outcome.add(
                    Finding::fail("migrations.none", "there is no table of migrations")
                        .expected(format!("the migrations {}", self.expected.join(", ")))
                        .actual("no table of a tool that is known")
                        .at(place)
                        .hint("run the migrations; if the tool is another, name its `migrations_table`"),
                );
            } else if self.rows.is_empty() && self.queries.is_empty() {
                outcome.skipped = Some("no table of migrations is known, and the pack expects no rows".into());
            }
            return;
        };
        let at = format!("{place} {table}");
        if !schema.tables.contains_key(&table) {
            outcome.add(
                Finding::fail("migrations.none", format!("there is no table `{table}`"))
                    .expected(format!("the table `{table}`"))
                    .actual("none of this name")
                    .at(at)
                    .hint("run the migrations"),
            );
            return;
        }
        let read = async |sql: String| -> Result<Vec<String>, Finding> {
            let rows = database.query(&sql).await.map_err(|e| finding(&e, &at))?;
            Ok(rows.into_iter().filter_map(|r| r.into_iter().next().flatten()).collect())
        };
        let is_dirty = schema.tables[&table].columns.contains_key("dirty");
        let half = half.or(is_dirty.then_some("dirty"));
        if let Some(condition) = half {
            match read(format!("SELECT {column} FROM {} WHERE {condition}", quoted(&table))).await {
                Ok(list) if list.is_empty() => {}
                Ok(list) => outcome.add(
                    Finding::fail(
                        "migrations.half_applied",
                        format!("the migration {} was not finished", list.join(", ")),
                    )
                    .expected("finished migrations only")
                    .actual(list.join(", "))
                    .at(at.as_str())
                    .hint("look at its error, mend what it left, and run it again"),
                ),
                Err(finding) => outcome.add(finding),
            }
        }
        let applied = match read(format!("SELECT {column} FROM {}", quoted(&table))).await {
            Ok(applied) => applied,
            Err(finding) => return outcome.add(finding),
        };
        outcome.fact("applied", applied.len());
        if applied.is_empty() {
            outcome.add(
                Finding::fail("migrations.none", format!("`{table}` is empty: no migration was applied"))
                    .expected("at least one")
                    .actual("none")
                    .at(at.as_str())
                    .hint("run the migrations"),
            );
        }
        if table == "alembic_version" && applied.len() > 1 && self.expected.len() <= 1 {
            outcome.add(
                Finding::fail("migrations.several_heads", "the database stands at several heads at once")
                    .expected("one head")
                    .actual(applied.join(", "))
                    .at(at.as_str())
                    .hint("alembic merge heads"),
            );
        }
        for want in self.expected.iter().filter(|w| !applied.contains(w)) {
            let stands = if applied.len() <= 3 {
                applied.join(", ")
            } else {
                format!("{} others", applied.len())
            };
            outcome.add(
                Finding::fail("migrations.pending", format!("the migration {want} has not been applied"))
                    .expected(want.as_str())
                    .actual(if stands.is_empty() { "none".into() } else { stands })
                    .at(at.as_str())
                    .hint("run the migrations before the new program; or the database is ahead of the pack"),
            );
        }
        self.ahead(&applied, &at, outcome);
    }

    /// Migrations that the program does not know: with `exact` every one that is not expected, else those whose number is
    /// higher than all that are.
    fn ahead(&self, applied: &[String], at: &str, outcome: &mut Outcome) {
        if self.expected.is_empty() {
            return;
        }
        let number = |text: &String| text.parse::<u64>().ok();
        let highest = self
            .expected
            .iter()
            .map(number)
            .collect::<Option<Vec<u64>>>()
            .and_then(|n| n.into_iter().max());
        let unknown: Vec<&str> = applied
            .iter()
            .filter(|a| !self.expected.contains(a))
            .filter(|a| self.exact || highest.zip(number(a)).is_some_and(|(highest, n)| n > highest))
            .map(String::as_str)
            .collect();
        // One head instead of another is pending; that is said above.
        let pending = self.expected.iter().any(|e| !applied.contains(e));
        if unknown.is_empty() || pending {
            return;
        }
        let message = format!(
            "the database is ahead of the program: it has the migration {}",
            unknown.join(", ")
        );
        let finding = if self.exact {
            Finding::fail("migrations.ahead", message)
        } else {
            Finding::warn("migrations.ahead", message)
        };
        outcome.add(
            finding
                .expected(format!("nothing behind {}", self.expected.join(", ")))
                .actual(unknown.join(", "))
                .at(at)
                .hint("was the program rolled back? deploy the version that these belong to, or name them as `expected`"),
        );
    }
}

#[async_trait]
impl Check for Migrations {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let database = match self.database.get(cx) {
            Ok(database) => database,
            Err(outcome) => return outcome,
        };
        let place = database.place();
        let work = async {
            let schema = match database.schema().await {
                Ok(schema) => schema,
                Err(e) if e.kind() == ErrorKind::Unsupported => return Outcome::skip(e.to_string()),
                Err(e) => return finding(&e, &place).into(),
            };
            let mut outcome = Outcome::new(format!("migrations applied in {place}"));
            self.versions(&schema, &*database, &place, &mut outcome).await;
            for rows in &self.rows {
                let (finding, _) = rows.check(&*database, &place).await;
                finding.into_iter().for_each(|f| outcome.add(f));
            }
            for query in &self.queries {
                let answer = match database.query(&query.sql).await {
                    Ok(rows) => rows.first().and_then(|r| r.first()).cloned().flatten(),
                    Err(e) => {
                        let mut finding = finding(&e, &place);
                        finding.at = format!("{place} {}", query.name);
                        outcome.add(finding);
                        continue;
                    }
                };
                let number = answer.as_deref().and_then(|t| t.parse::<i64>().ok());
                if number.is_none_or(|n| n < query.min || n > query.max) {
                    let expected = match (query.min, query.max) {
                        (a, b) if a == b => a.to_string(),
                        (a, i64::MAX) => format!("at least {a}"),
                        (i64::MIN, b) => format!("at most {b}"),
                        (a, b) => format!("{a} to {b}"),
                    };
                    outcome.add(
                        Finding::fail("db.sanity", format!("`{}` is not as it has to be", query.name))
                            .expected(expected)
                            .actual(answer.unwrap_or_else(|| "nothing".into()))
                            .at(format!("{place} {}", query.name))
                            .hint("the pack asks the database this question"),
                    );
                }
            }
            outcome
        };
        match tokio::time::timeout(cx.left().to_duration(), work).await {
            Ok(outcome) => outcome,
            Err(_) => too_late(&place).into(),
        }
    }
}
