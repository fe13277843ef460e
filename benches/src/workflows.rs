//! Durable workflows of three journaled steps that do nothing, beside DBOS on the same database.

use std::time::{Duration, Instant};

use levqor::backend;
use levqor::clock::SystemClock;
use levqor::error::{Error, Result};

use crate::duel::{Duel, Place};
use crate::harness::{Folder, block_on, database, median, postgres};
use crate::noop::Work;
use crate::peers::{Peer, Runs};
use crate::results::Row;

const ROUNDS: usize = 3;
const STEPS: usize = 3;
/// Workflows of a round: as many as take some seconds, from so many to so many.
const RUNS: [usize; 2] = [500, 10_000];
const SECONDS: f64 = 3.0;
/// Workflows at a time.
const AT_ONCE: usize = 256;
/// Workflows that are measured alone.
const ALONE: usize = 100;

const SQLITE: [&str; 2] = ["three steps, SQLite", "latency of one, p50, SQLite"];
const POSTGRES: [&str; 2] = ["three steps, Postgres", "latency of one, p50, Postgres"];

const PEERS: [Peer; 2] = [
    Peer {
        name: "DBOS on SQLite",
        runs: Runs::Python,
        script: "workflows_dbos.py",
        args: &["sqlite"],
        figures: &SQLITE,
    },
    Peer {
        name: "DBOS on Postgres",
        runs: Runs::Python,
        script: "workflows_dbos.py",
        args: &["postgres"],
        figures: &POSTGRES,
    },
];

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    let server = postgres();
    block_on(async {
        let folder = Folder::new("workflows")?;
        let mut duel = Duel::default();
        for round in 0..ROUNDS {
            let sqlite = folder.sqlite(&format!("flows-{round}"));
            let own = database(&server, &format!("levqor_{round}")).await?;
            for (store, place, url, against) in [
                ("SQLite FULL", Place::Sqlite("FULL"), &sqlite, SQLITE),
                ("Postgres", Place::Other, &own, POSTGRES),
            ] {
                let work = Work::new(backend::open(url, SystemClock::machine()).await?, STEPS, None)?;
                let rate = throughput(&work).await?;
                duel.ours(&format!("three steps, {store}"), place, rate, "workflows/s", &[against[0]]);
                let alone = latency(&work).await?;
                duel.ours(&format!("latency of one, p50, {store}"), place, alone, "ms", &[against[1]]);
            }
            let peers = database(&server, &format!("dbos_{round}")).await?;
            let env = [
                ("PEER_POSTGRES", peers),
                ("PEER_FOLDER", folder.path().display().to_string()),
                ("PEER_SECONDS", "3".to_owned()),
            ];
            for peer in &PEERS {
                duel.peer(peer, &env);
            }
        }
        Ok(duel.rows())
    })
}

/// Workflows per second, from their being submitted to their end.
async fn throughput(work: &Work) -> Result<f64> {
    let first = RUNS[0] as f64 / round(work, RUNS[0]).await?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of workflows")]
    let runs = ((first * SECONDS) as usize).clamp(RUNS[0], RUNS[1]);
    Ok(runs as f64 / round(work, runs).await?)
}

/// Seconds for so many.
async fn round(work: &Work, runs: usize) -> Result<f64> {
    let submitted = work.enqueue_all(runs).await?;
    let start = Instant::now();
    let report = work.worker(AT_ONCE).drain().await?;
    if report.done != runs as u64 {
        return Err(Error::internal(format!("{} of {runs} workflows were done", report.done)));
    }
    Ok(submitted + start.elapsed().as_secs_f64())
}

/// Milliseconds from submitting one to knowing that it has ended, with a worker that waits for it.
async fn latency(work: &Work) -> Result<f64> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(work.worker(8).run(async {
        let _ = stopped.await;
    }));
    let mut times = Vec::new();
    for n in 0..ALONE {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let start = Instant::now();
        let run = work.enqueue(n).await?;
        work.ended(&run).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let _ = stop.send(());
    worker.await.map_err(|e| Error::internal(e.to_string()))??;
    Ok(median(times))
}
