//! SQL against Postgres: statements with parameters, rows as JSON.
//!
//! Exact numbers (`NUMERIC`) go in and out as texts: `"12.3400"`. `query` runs in a transaction that the server lets only read; `execute` is committed as a whole. A statement is
//! prepared by itself first, so one that is several, or that closes a bracket of ours, is refused by the server.

mod param;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use levqor_core::connector::{Action, AuthKind, Connection, Connector, Cx, Idempotency, Manifest, Output, Setting, SideEffect};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgColumn, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _,
};

use crate::kit::{known_settings, read, schema, setting_error, shown, text};

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![Arc::new(Sql::new())]
}

/// Input of `sql.query`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// One statement that reads. Values stand in it as `$1`, `$2`, ...
    #[schemars(length(min = 1))]
    sql: String,
    /// The values. What JSON has no type for is a text: a date, a time, an exact number, a UUID.
    #[serde(default)]
    params: Vec<Value>,
    /// Rows that are given at most; 1000 if not given.
    #[schemars(range(min = 1, max = 10_000))]
    max_rows: Option<u32>,
}

/// Input of `sql.execute`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Execute {
    /// One statement. Values stand in it as `$1`, `$2`, ...
    #[schemars(length(min = 1))]
    sql: String,
    /// The values. What JSON has no type for is a text: a date, a time, an exact number, a UUID.
    #[serde(default)]
    params: Vec<Value>,
}

/// Output of `sql.query`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Found {
    /// The rows, as objects by column. Exact numbers (`NUMERIC`) are texts with all their digits.
    rows: Vec<Value>,
    /// There are more.
    truncated: bool,
}

/// Output of `sql.execute`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Executed {
    /// How many rows were changed, or given back.
    rows_affected: u64,
    /// What `RETURNING` gives back. Exact numbers (`NUMERIC`) are texts with all their digits.
    rows: Vec<Value>,
}

/// The longest wait for a connection to the database.
const PATIENCE: Millis = Millis::secs(5);
/// Databases that are kept open at most.
const MOST_POOLS: usize = 100;

/// The connector.
pub(crate) struct Sql {
    manifest: Manifest,
    /// By address: opened when first used.
    pools: Mutex<HashMap<String, PgPool>>,
}

impl Sql {
    /// The connector with its manifest.
    pub(crate) fn new() -> Self {
        let action = |name: &str, title: &str, description: &str, (input, output), side_effect, idempotency| Action {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            input,
            output,
            side_effect,
            idempotency,
            scopes: vec![],
        };
        let query = action(
            "query",
            "Read rows",
            "Runs a statement that only reads, and gives its rows.",
            (schema::<Query>(), schema::<Found>()),
            SideEffect::Read,
            Idempotency::Natural,
        );
        let execute = action(
            "execute",
            "Run a statement",
            "Runs a statement that changes something, as a whole or not at all.",
            (schema::<Execute>(), schema::<Executed>()),
            SideEffect::Destructive,
            Idempotency::None,
        );
        Sql {
            manifest: Manifest {
                name: "sql".into(),
                title: "SQL".into(),
                description: "Statements on a Postgres database.".into(),
                docs: Some("https://www.postgresql.org/docs/current/sql.html".into()),
                auth: vec![AuthKind::Basic],
                settings: vec![Setting {
                    name: "url".into(),
                    description: "the database, `postgres://USER:PASSWORD@HOST:5432/NAME`".into(),
                }],
                budgets: vec![],
                triggers: vec![],
                actions: vec![query, execute],
            },
            pools: Mutex::default(),
        }
    }

    fn pool(&self, connection: &Connection) -> Result<PgPool> {
        known_settings(connection, &["url"])?;
        let Some(url) = text(connection, "url")? else {
            return Err(setting_error(connection, "url", "the database's address is missing"));
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(url) {
            return Ok(pool.clone());
        }
        // The parser's own words would show the address.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            setting_error(connection, "url", "the database's address cannot be read")
                .hint("write postgres://user:password@host:5432/database")
        })?;
        let options = options.application_name("levqor-sql").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .min_connections(0)
            .max_connections(5)
            .acquire_timeout(PATIENCE.to_duration())
            .connect_lazy_with(options);
        // Addresses change where connections do; what is in use stays open for those who use it.
        if pools.len() >= MOST_POOLS {
            pools.clear();
        }
        pools.insert(url.to_owned(), pool.clone());
        Ok(pool)
    }
}

#[async_trait]
impl Connector for Sql {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let connection = cx.connection.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "connection.missing",
                "SQL needs a connection to a database",
            )
            .hint("give a connection with a `url`")
        })?;
        let out = match action {
            "query" => {
                let input: Query = read("sql.query", input)?;
                let most = input.max_rows.unwrap_or(1_000) as usize;
                let work = Work {
                    sql: &input.sql,
                    params: &input.params,
                    most: Some(most),
                };
                let (mut rows, _) = work.run(&self.pool(connection)?, cx.timeout).await?;
                let truncated = rows.len() > most;
                rows.truncate(most);
                serde_json::to_value(Found { rows, truncated })
            }
            "execute" => {
                let input: Execute = read("sql.execute", input)?;
                let work = Work {
                    sql: &input.sql,
                    params: &input.params,
                    most: None,
                };
                let (rows, rows_affected) = work.run(&self.pool(connection)?, cx.timeout).await?;
                serde_json::to_value(Executed { rows_affected, rows })
            }
            _ => {
                let message = format!("there is no action `sql.{action}`");
                return Err(Error::not_found("connector.unknown_action", message));
            }
        };
        out.map(Output::new).map_err(|e| Error::internal(e.to_string()))
    }
}

/// One statement.
struct Work<'a> {
    sql: &'a str,
    params: &'a [Value],
    /// Only reads, and so many rows at most.
    most: Option<usize>,
}

impl Work<'_> {
    /// Rows, and how many were affected. Before the commit nothing has happened.
    async fn run(&self, pool: &PgPool, timeout: Millis) -> Result<(Vec<Value>, u64)> {
        let begin = if self.most.is_some() { "BEGIN READ ONLY" } else { "BEGIN" };
        let mut tx = pool.begin_with(begin).await.map_err(|e| fault(&e))?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(timeout.0.max(1).to_string())
            .execute(&mut *tx)
            .await
            .map_err(|e| fault(&e))?;
        let sql = self.sql.trim().trim_end_matches(';');
        let prepared = (*tx)
            .prepare(AssertSqlSafe(sql).into_sql_str())
            .await
            .map_err(|e| fault(&e))?;
        let gives_rows = !prepared.columns().is_empty();
        let arguments = self.arguments(&prepared)?;
        let done = if gives_rows {
            let limit = self.most.map_or(String::new(), |n| format!(" LIMIT {}", n + 1));
            let row = row_of(prepared.columns())?;
            let whole = format!("WITH levqor_rows AS (\n{sql}\n) SELECT ({row})::text FROM levqor_rows{limit}");
            let found = sqlx::query_with(AssertSqlSafe(whole), arguments)
                .persistent(false)
                .fetch_all(&mut *tx)
                .await;
            let rows: Vec<Value> = found
                .map_err(|e| fault(&e))?
                .iter()
                .map(|row| {
                    let text: &str = row.try_get(0).map_err(|e| fault(&e))?;
                    serde_json::from_str(text).map_err(|e| Error::internal(format!("a row is no JSON: {e}")))
                })
                .collect::<Result<_>>()?;
            let n = rows.len() as u64;
            (rows, n)
        } else if self.most.is_some() {
            let e = Error::invalid("sql.no_rows", "this statement gives no rows").at("/sql");
            return Err(e.hint("what changes something is run with `sql.execute`"));
        } else {
            let result = sqlx::query_with(AssertSqlSafe(sql), arguments)
                .persistent(false)
                .execute(&mut *tx)
                .await;
            (vec![], result.map_err(|e| fault(&e))?.rows_affected())
        };
        let unknown = if self.most.is_some() { Effect::None } else { Effect::Unknown };
        tx.commit().await.map_err(|e| match e {
            // The server said no; only a lost answer leaves a doubt.
            sqlx::Error::Database(_) => fault(&e),
            _ => fault(&e).effect_is(unknown),
        })?;
        Ok(done)
    }

    fn arguments(&self, prepared: &sqlx::postgres::PgStatement) -> Result<PgArguments> {
        let types: &[sqlx::postgres::PgTypeInfo] = match prepared.parameters() {
            Some(sqlx::Either::Left(types)) => types,
            _ => &[],
        };
        if types.len() != self.params.len() {
            let (wanted, given) = (types.len(), self.params.len());
            let message = format!("the statement has {wanted} parameters, and {given} values were given");
            return Err(Error::invalid("sql.parameter_count", message).at("/params"));
        }
        let mut arguments = PgArguments::default();
        for (i, (kind, value)) in types.iter().zip(self.params).enumerate() {
            let encoded = param::Param::of(kind, value).map_err(|e| e.at(format!("/params/{i}")))?;
            arguments.add(encoded).map_err(|e| Error::internal(e.to_string()))?;
        }
        Ok(arguments)
    }
}

/// A row as JSON, by its columns.
///
/// Exact numbers (`NUMERIC`, and lists of them) are texts, with all their digits: a number of JSON is read as a float
/// by nearly everybody. Whole numbers and floats are numbers; what stands inside `JSON` columns stays as it is.
fn row_of(columns: &[PgColumn]) -> Result<String> {
    let mut names = std::collections::HashSet::new();
    if let Some(twice) = columns.iter().find(|c| !names.insert(c.name())) {
        let message = format!("two columns are called `{}`", shown(twice.name(), 60));
        let e = Error::invalid("sql.column_twice", message).at("/sql");
        return Err(e.hint("give each a name of its own with AS"));
    }
    let mut row = "to_jsonb(levqor_rows)".to_owned();
    for column in columns {
        let text = match column.type_info().name() {
            "NUMERIC" => "text",
            "NUMERIC[]" => "text[]",
            _ => continue,
        };
        let name = column.name();
        let (key, place) = (name.replace('\'', "''"), name.replace('"', "\"\""));
        // A backslash means itself, whatever the server is set to.
        let key = key.replace('\\', "\\\\");
        let _ = write!(row, " || jsonb_build_object(E'{key}', levqor_rows.\"{place}\"::{text})");
    }
    Ok(row)
}

/// The error of the server, by the class of its SQLSTATE. Never its detail, which shows values.
fn fault(e: &sqlx::Error) -> Error {
    use ErrorKind as K;
    let sqlx::Error::Database(db) = e else {
        return match e {
            sqlx::Error::PoolTimedOut => Error::unavailable(
                "sql.no_connection",
                "no connection to the database came up or became free in time",
            ),
            sqlx::Error::Tls(_) => Error::unavailable("sql.tls", "no trustworthy connection to the database").retry(false),
            sqlx::Error::Io(io) => {
                Error::unavailable("sql.unreachable", format!("the database cannot be reached: {}", io.kind()))
            }
            _ => Error::unavailable("sql.connection_lost", "the connection to the database was lost"),
        };
    };
    let state = db.code().unwrap_or_default().into_owned();
    let (kind, code) = match state.as_str() {
        "23505" | "23503" | "23P01" => (K::Conflict, "sql.constraint"),
        "40001" | "40P01" | "55P03" => (K::Unavailable, "sql.contended"),
        "25006" => (K::Denied, "sql.read_only"),
        "42501" => (K::Denied, "auth.permission"),
        "57014" => (K::Timeout, "sql.timeout"),
        s if s.starts_with("28") => (K::Denied, "auth.invalid"),
        s if s.starts_with("23") => (K::Invalid, "sql.constraint"),
        s if s.starts_with("08") || s.starts_with("53") || s.starts_with("57") => (K::Unavailable, "sql.unavailable"),
        s if s.starts_with("0A") => (K::Unsupported, "sql.unsupported"),
        s if s.starts_with("XX") => (K::Unavailable, "sql.server_fault"),
        _ => (K::Invalid, "sql.rejected"),
    };
    let e = Error::new(kind, code, format!("the database says: {}", shown(db.message(), 300))).with("sqlstate", state);
    match code {
        "sql.read_only" => e.hint("what changes something is run with `sql.execute`"),
        "auth.invalid" => e.hint("the user or password of the connection's `url` is wrong"),
        _ => e,
    }
}
