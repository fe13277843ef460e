//! Starting: many processes at once on an empty database, databases of the future, files of others.

#![cfg(all(feature = "testkit", feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::Stdio;

use levqor_core::backend::sql::{SqlOptions, SqlStore, open_postgres, open_sqlite};
use levqor_core::clock::SystemClock;
use levqor_core::error::{ErrorKind, Result};
use levqor_core::records::{Expect, RecordOp};
use levqor_core::store::{Batch, Page, Store};
use levqor_core::testkit::stores::{Folder, postgres_database};
use levqor_core::types::Tenant;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Names the database to a child process.
const CHILD: &str = "LEVQOR_TEST_BOOT_URL";
const PROCESSES: usize = 16;

async fn open(url: &str) -> Result<SqlStore> {
    let now = SystemClock::machine();
    if url.starts_with("sqlite:") {
        open_sqlite(url, &SqlOptions::default(), now).await
    } else {
        open_postgres(url, &SqlOptions::default(), now).await
    }
}

fn file(folder: &Folder) -> String {
    format!("sqlite://{}", folder.path().join("levqor.db").display())
}

fn put(name: &str) -> Batch {
    let put = RecordOp::Put {
        kind: "boot".into(),
        name: name.into(),
        body: "{}".into(),
        expect: Expect::Absent,
        expires_at: None,
    };
    Batch::new(Tenant::default(), SystemClock::machine()).op(put)
}

/// What a child process does; without its environment, nothing.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let mut go = String::new();
    // The starting gun: the parent closes our input when every process is there.
    std::io::stderr().write_all(b"ready\n").unwrap();
    std::io::stdin().read_line(&mut go).unwrap();
    let store = open(&url).await.unwrap();
    store.commit(put(&std::process::id().to_string())).await.unwrap();
}

/// Starts the processes, lets them go at the same moment, and expects of each that it did its commit.
async fn all_start(url: &str) {
    let mut children = Vec::new();
    for _ in 0..PROCESSES {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut ready).await.unwrap();
        assert_eq!(ready, "ready\n");
        children.push((child, stderr));
    }
    for (child, _) in &mut children {
        drop(child.stdin.take());
    }
    for (child, mut stderr) in children {
        let mut said = String::new();
        stderr.read_to_string(&mut said).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    }
    let store = open(url).await.unwrap();
    let page = Page { after: None, limit: 100 };
    let records = store
        .reads()
        .records
        .records(&Tenant::default(), "boot", &page)
        .await
        .unwrap();
    assert_eq!(records.len(), PROCESSES);
}

/// Every version was applied once.
fn one_schema(versions: &[i64]) {
    assert!(
        !versions.is_empty() && versions.iter().copied().eq((1..).take(versions.len())),
        "{versions:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_processes_start_at_once_on_an_empty_file() {
    let folder = Folder::new();
    let url = file(&folder);
    all_start(&url).await;
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM levqor_schema ORDER BY version")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    one_schema(&versions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_processes_start_at_once_on_an_empty_database() {
    let url = postgres_database().await;
    all_start(&url).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM levqor_schema ORDER BY version")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    one_schema(&versions);
}

/// As a restart of the server does, or a firewall that forgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closed_are_replaced() {
    let url = postgres_database().await;
    let store = open(&url).await.unwrap();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    for i in 0..5 {
        store.commit(put(&format!("n{i}"))).await.unwrap();
        let kill = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let killed: i64 = sqlx::query_scalar(kill).fetch_one(&mut conn).await.unwrap();
        assert!(killed > 0);
    }
    store.commit(put("last")).await.unwrap();
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM levqor_record")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(found, 6);
}

const FUTURE: &str = "INSERT INTO levqor_schema (version, applied_at) VALUES (1000, 0)";

async fn refused(url: &str) {
    let Err(e) = open(url).await else {
        panic!("a database of the future was opened")
    };
    assert_eq!((e.kind(), e.code()), (ErrorKind::Config, "store.schema_too_new"));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = Folder::new();
    drop(open(&file(&folder)).await.unwrap());
    let mut conn = SqliteConnection::connect(&file(&folder)).await.unwrap();
    conn.execute(AssertSqlSafe(FUTURE)).await.unwrap();
    conn.close().await.unwrap();
    refused(&file(&folder)).await;

    let url = postgres_database().await;
    drop(open(&url).await.unwrap());
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute(AssertSqlSafe(FUTURE)).await.unwrap();
    refused(&url).await;
    // The refusal leaves no lock behind.
    conn.execute("DELETE FROM levqor_schema WHERE version = 1000").await.unwrap();
    open(&url).await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_library_of_this_process_has_open_is_refused() {
    let folder = Folder::new();
    let foreign = std::fs::File::create(folder.path().join("levqor.db")).unwrap();
    let Err(e) = open(&file(&folder)).await else {
        panic!("a file that is open elsewhere was opened")
    };
    assert_eq!((e.kind(), e.code()), (ErrorKind::Conflict, "store.foreign_handle"));
    drop(foreign);
    open(&file(&folder)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_opened_again_and_again_and_keeps_everything() {
    let folder = Folder::new();
    for i in 0..20 {
        let store = open(&file(&folder)).await.unwrap();
        store.commit(put(&format!("n{i:02}"))).await.unwrap();
        let page = Page::default();
        let records = store
            .reads()
            .records
            .records(&Tenant::default(), "boot", &page)
            .await
            .unwrap();
        assert_eq!(records.len(), i + 1);
    }
}
