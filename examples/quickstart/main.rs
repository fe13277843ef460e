//! The main job, for real, in a few seconds: `cargo run --release --example quickstart`.
//!
//! On SQLite in a new temporary folder, with a small server on this machine that plays two other systems
//! and fails every tenth call, it grants credits, submits a run over 300 orders, submits it again under
//! the same key (one run), is refused by a limit, kills its worker process in the middle with SIGKILL,
//! lets another one resume, and prints the receipt.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

mod peers;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use levqor::clock::SystemClock;
use levqor::connector::Connection;
use levqor::engine::{Engine, GrantOptions, RunRequest, RunView};
use levqor::error::{Error, Result};
use levqor::jobs::{JobState, StepStatus};
use levqor::limits::Quota;
use levqor::types::{JobId, Millis};
use serde_json::{Value, json};

const ORDERS: &str = include_str!("../data/orders.json");
const PIPELINE: &str = include_str!("../pipelines/orders.json");
const ACCOUNT: &str = "acme";

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    // The same program is also the worker process that gets killed.
    if let [_, role, folder, peers] = args.as_slice()
        && role == "worker"
    {
        return work(Path::new(folder), peers).await;
    }
    let begun = Instant::now();
    let folder = std::env::temp_dir().join(format!("levqor-quickstart-{}", JobId::run(SystemClock::machine())));
    let peers = peers::start()
        .await
        .map_err(|e| Error::internal(format!("the local server did not start: {e}")))?;
    let engine = open(&folder, &peers.url).await?;
    say(
        "store",
        &format!("SQLite, synchronous=FULL, {}", folder.join("levqor.db").display()),
    );

    engine
        .credits()
        .grant(ACCOUNT, "200".parse()?, GrantOptions::default(), Some("welcome"))
        .await?;
    say("credits", &format!("granted 200 to `{ACCOUNT}`"));

    let orders: Value = serde_json::from_str(ORDERS).map_err(|e| Error::internal(e.to_string()))?;
    let pipeline: Value = serde_json::from_str(PIPELINE).map_err(|e| Error::internal(e.to_string()))?;
    let request = || RunRequest::new(ACCOUNT, pipeline.clone(), json!({"orders": orders})).key("batch-2026-11-21");
    let run = engine.pipelines().submit(request()).await?;
    say(
        "submitted",
        &format!(
            "{} over {} orders, {} credits held",
            run.id,
            orders.as_array().map_or(0, Vec::len),
            run.held
        ),
    );

    let again = engine.pipelines().submit(request()).await?;
    assert_eq!(
        (again.id == run.id, again.replayed),
        (true, true),
        "the same key is the same run"
    );
    say(
        "again",
        &format!("same key, same payload: {} again, nothing more held", again.id),
    );

    match engine.pipelines().submit(request()).await {
        Ok(_) => return Err(Error::internal("the limit did not refuse")),
        Err(e) => {
            say("limited", &e.to_string());
            for (name, value) in e.headers() {
                println!("{:>12}    {name}: {value}", "");
            }
        }
    }

    // A worker process takes the run, and is killed in the middle of it.
    let mut first = spawn(&folder, &peers.url)?;
    let before = wait_for_items(&engine, &run.id, 100).await?;
    first
        .kill()
        .and_then(|()| first.wait())
        .map_err(|e| Error::internal(format!("the worker could not be killed: {e}")))?;
    say(
        "kill -9",
        &format!("worker process {} is dead, {before} of 300 items were journaled", first.id()),
    );

    let resumed = Instant::now();
    let mut second = spawn(&folder, &peers.url)?;
    let view = engine.pipelines().wait(&run.id, Duration::from_secs(30)).await;
    let _ = second.kill();
    let _ = second.wait();
    let view = view?;
    say(
        "resumed",
        &format!(
            "by worker process {}, {:.1} s after the kill",
            second.id(),
            resumed.elapsed().as_secs_f64()
        ),
    );
    if view.state != JobState::Done {
        return Err(view
            .failure()
            .unwrap_or_else(|| Error::internal(format!("the run is {}", view.state.as_str()))));
    }

    let summary = folder.join("summary.json");
    let text = serde_json::to_string_pretty(&view.result).unwrap_or_default();
    std::fs::write(&summary, text).map_err(|e| Error::internal(format!("{} cannot be written: {e}", summary.display())))?;
    receipt(&engine, &view, &peers, before).await?;
    say("summary", &summary.display().to_string());
    say("database", &folder.join("levqor.db").display().to_string());
    say("took", &format!("{:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// An engine on the folder's database, with the connections that the pipeline names.
async fn open(folder: &Path, peers: &str) -> Result<Engine> {
    let url = format!("sqlite://{}", folder.join("levqor.db").display());
    // The two other systems are on this machine, which requests reach only when they are allowed to.
    let host = peers.trim_start_matches("http://").to_owned();
    let backend = levqor::backend::open(&url, SystemClock::machine()).await?;
    levqor::builder(backend, &[&host])?
        .connection(Connection::new("stock", json!({"base_url": peers})))
        .connection(Connection::new(
            "warehouse",
            json!({"url": format!("{peers}/hooks"), "secret": peers::SECRET}),
        ))
        .submit_limit("runs", Quota::per_minute(2))
        .build()
}

/// What the worker process does, until it is killed.
async fn work(folder: &Path, peers: &str) -> Result<()> {
    let engine = open(folder, peers).await?;
    engine.worker().lease(Millis::secs(2)).run(std::future::pending()).await?;
    Ok(())
}

fn spawn(folder: &PathBuf, peers: &str) -> Result<Child> {
    let me = std::env::current_exe().map_err(|e| Error::internal(format!("this program does not find itself: {e}")))?;
    let child = Command::new(me)
        .arg("worker")
        .arg(folder)
        .arg(peers)
        .stdin(Stdio::null())
        .spawn();
    child.map_err(|e| Error::internal(format!("a worker process could not be started: {e}")))
}

/// Waits until so many items of `enrich` are journaled; gives how many are.
async fn wait_for_items(engine: &Engine, run: &JobId, n: usize) -> Result<usize> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let view = engine.pipelines().status(run).await?;
        let done = view
            .steps
            .iter()
            .filter(|s| s.path.starts_with("enrich[") && s.status == StepStatus::Done)
            .count();
        if done >= n {
            return Ok(done);
        }
        if Instant::now() > end || view.state.ended() {
            return Err(Error::internal(format!(
                "{done} items are done and the run is {}: {:?}",
                view.state.as_str(),
                view.failure()
            )));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn say(what: &str, text: &str) {
    println!("{what:>12}  {text}");
}

async fn receipt(engine: &Engine, view: &RunView, peers: &peers::Peers, before: usize) -> Result<()> {
    println!("\n  {:<10} {:>8} {:>9} {:>10}  status", "step", "items", "attempts", "ms");
    for id in ["parse", "enrich", "summary", "notify"] {
        let items: Vec<_> = view.steps.iter().filter(|s| s.path.starts_with(&format!("{id}["))).collect();
        let Some(step) = view.steps.iter().find(|s| s.path == id) else {
            continue;
        };
        let attempts: i64 = if items.is_empty() {
            step.attempts
        } else {
            items.iter().map(|s| s.attempts).sum()
        };
        let start = items
            .iter()
            .map(|s| s.started_at)
            .chain([step.started_at])
            .min()
            .unwrap_or(step.started_at);
        let took = step.ended_at.unwrap_or(start) - start;
        let count = if items.is_empty() {
            "-".to_owned()
        } else {
            items.len().to_string()
        };
        println!("  {id:<10} {count:>8} {attempts:>9} {:>10}  {:?}", took.0, step.status);
    }
    let balance = engine.credits().balance(ACCOUNT).await?;
    let held: levqor::types::MicroCredits = "50".parse()?;
    println!();
    say(
        "credits",
        &format!(
            "held {held}, captured {}, released {}",
            view.captured,
            held.checked_sub(view.captured)?
        ),
    );
    say("balance", &format!("{} available, {} held", balance.available, balance.held));
    let audit = engine.credits().audit().await?;
    say(
        "audit",
        &format!(
            "{} entries, sum {}, {} violations",
            audit.entries,
            audit.sum,
            audit.violations.len()
        ),
    );
    let (calls, failed) = peers.calls();
    say(
        "stock",
        &format!("{calls} calls arrived, {failed} were answered with 503; {before} items were not asked again after the kill"),
    );
    say(
        "webhook",
        &format!("{} delivered, {} with a good signature", peers.hooks().0, peers.hooks().1),
    );
    if balance.held.0 != 0 || !audit.violations.is_empty() || audit.sum != 0 || peers.hooks() != (1, 1) {
        return Err(Error::internal("the receipt does not add up"));
    }
    Ok(())
}
