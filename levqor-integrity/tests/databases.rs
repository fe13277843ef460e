//! Databases other than Postgres: a SQLite file, and the engine's own store.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::clock::SystemClock;
use levqor_core::error::{ErrorKind, Result};
use levqor_core::testkit::stores::{self, Folder};
use levqor_core::transport::{Request, Response, Transport};
use levqor_integrity::db::{Database, Probe, Sqlite, StoreProbe};
use levqor_integrity::{Environment, Format, Pack, RunResult, Status};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(&self, request: Request) -> Result<Response> {
        panic!("nobody asked for {request:?}");
    }
}

struct Shop(Folder);

impl Shop {
    async fn new() -> Self {
        let shop = Shop(Folder::new());
        shop.sql(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE); \
             CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id)); \
             CREATE TABLE alembic_version (version_num TEXT NOT NULL); INSERT INTO alembic_version VALUES ('abc'); \
             INSERT INTO customers VALUES (1, 'ann@example.com')",
        )
        .await;
        shop
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.0.path().join("shop.db").display())
    }

    async fn sql(&self, text: &str) {
        let options = SqliteConnectOptions::new()
            .filename(self.0.path().join("shop.db"))
            .create_if_missing(true);
        let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
        conn.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await.unwrap();
        conn.close().await.unwrap();
    }

    async fn run(&self, table: &str) -> RunResult {
        let text = format!(
            "version = 1\ninclude = [\"db.read_write\", \"db.schema\", \"db.schema_ready\", \"db.commit_rolls_back\"]\n\
             [databases.main]\nurl = {{ env = \"DB\" }}\n[check.\"db.read_write\"]\n{table}\n\
             [check.\"db.schema\".tables.customers]\ncolumns = {{ id = \"integer\", email = \"text\" }}\nunique = [\"email\"]\n\
             primary_key = [\"id\"]\nmin_rows = 1\n[check.\"db.schema\".tables.orders]\nforeign_keys = [\"customer_id -> customers.id\"]\n\
             [check.\"db.schema_ready\"]\nexpected = [\"abc\"]\n"
        );
        let pack = Pack::parse(&text, Format::Toml).unwrap();
        let env: Environment = [("DB".to_owned(), self.url())].into_iter().collect();
        let run = pack.run(Arc::new(Nowhere), Arc::new(SystemClock::default()), env).unwrap();
        run.run().await.unwrap()
    }
}

fn found(result: &RunResult) -> Vec<(&str, Status, &str)> {
    let bad = result.checks.iter().filter(|c| c.status != Status::Pass);
    bad.map(|c| (c.id.as_str(), c.status, c.findings.first().map_or("", |f| f.cause.as_str())))
        .collect()
}

#[tokio::test]
async fn a_sqlite_file_is_looked_into() {
    let shop = Shop::new().await;
    let row = "table = \"customers\"\nvalues = { email = \"{nonce}@example.com\" }";
    for table in ["", row] {
        assert_eq!(found(&shop.run(table).await), []);
    }
    let count = Sqlite::new(&shop.url())
        .unwrap()
        .query("SELECT count(*), 1.5, 'x', NULL FROM customers")
        .await
        .unwrap();
    assert_eq!(count, [[Some("1".into()), Some("1.5".into()), Some("x".into()), None]]);
    // What only reads cannot write.
    let e = Sqlite::new(&shop.url())
        .unwrap()
        .query("DELETE FROM customers")
        .await
        .unwrap_err();
    assert_eq!(e.code(), "db.read_only");
    shop.sql("DROP TABLE orders; UPDATE alembic_version SET version_num = 'old'")
        .await;
    let expected = [
        ("db.schema", Status::Fail, "db.missing_table"),
        ("db.schema_ready", Status::Fail, "migrations.pending"),
    ];
    assert_eq!(found(&shop.run("").await), expected);
}

#[tokio::test]
async fn a_file_that_is_gone_broken_or_locked_says_so() {
    let shop = Shop::new().await;
    let options = SqliteConnectOptions::new().filename(shop.0.path().join("shop.db"));
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    writer.execute("BEGIN IMMEDIATE").await.unwrap();
    let result = shop.run("").await;
    assert_eq!(found(&result)[0], ("db.read_write", Status::Fail, "db.locked"));
    writer.execute("ROLLBACK").await.unwrap();
    writer.close().await.unwrap();

    std::fs::write(
        shop.0.path().join("shop.db"),
        "this is no database, and long enough to be looked at as one".repeat(20),
    )
    .unwrap();
    assert_eq!(found(&shop.run("").await)[0], ("db.read_write", Status::Fail, "db.corrupt"));
    std::fs::remove_file(shop.0.path().join("shop.db")).unwrap();
    let result = shop.run("").await;
    assert_eq!(found(&result)[0], ("db.read_write", Status::Fail, "db.unreachable"));
    assert!(found(&result)[1..].iter().all(|f| f.1 == Status::Blocked));
    // Looking never makes a file.
    assert!(!shop.0.path().join("shop.db").exists());
}

#[tokio::test]
async fn the_engine_s_store_is_written_to_and_left_clean() {
    for stores in [stores::memory().await, stores::sqlite().await] {
        let probe = StoreProbe::new(stores.first.clone(), Arc::new(SystemClock::default()));
        let probed = probe
            .probe(&Probe {
                fail: true,
                ..Probe::default()
            })
            .await
            .unwrap();
        assert_eq!((probed.seen, probed.same, probed.left, probed.refused), (1, true, 0, true));
        assert_eq!(probe.schema().await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
