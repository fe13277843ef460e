//! The engine: what a run and each of its steps cost beside what their connectors do.

use std::time::Instant;

use levqor::backend::{self, Backend};
use levqor::clock::SystemClock;
use levqor::engine::{Engine, RunRequest};
use levqor::error::Result;
use serde_json::json;

use crate::harness::{Folder, block_on, median};
use crate::noop;
use crate::results::Row;

/// Steps of the long pipeline.
const STEPS: usize = 50;
/// Rounds; the median of them is reported.
const ROUNDS: usize = 11;
/// Runs of a round.
const RUNS: usize = 40;

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    block_on(async {
        let mut rows = Vec::new();
        rows.extend(measure("memory", Backend::memory(), 1).await?);
        let folder = Folder::new("engine")?;
        let store = backend::open(&folder.sqlite("a"), SystemClock::machine()).await?;
        rows.extend(measure("SQLite FULL", store, 16).await?);
        Ok(rows)
    })
}

/// One after another on memory, where nothing waits; many at a time on a disk, where a commit serves many.
async fn measure(store: &str, backend: Backend, concurrency: usize) -> Result<Vec<Row>> {
    let engine = noop::engine(backend).await?;
    let (mut submits, mut runs, mut steps) = (vec![], vec![], vec![]);
    for name in ["short", "long"] {
        let n = if name == "long" { STEPS } else { 1 };
        engine.pipelines().register(&noop::pipeline(name, n)).await?;
    }
    for _ in 0..ROUNDS {
        let (submit, short) = round(&engine, "short", concurrency).await?;
        let (_, long) = round(&engine, "long", concurrency).await?;
        submits.push(submit);
        runs.push(short);
        steps.push((long - short) / (STEPS - 1) as f64);
    }
    let at_once = if concurrency == 1 {
        String::new()
    } else {
        format!(", {concurrency} at once")
    };
    Ok(vec![
        Row::new(format!("submit a run, {store}{at_once}"), median(submits), "us"),
        Row::new(format!("lease, one step, settle, {store}{at_once}"), median(runs), "us"),
        Row::new(
            format!("one more step over a no-op connector, {store}{at_once}"),
            median(steps),
            "us",
        ),
    ])
}

/// Microseconds for submitting a run and for carrying it out.
async fn round(engine: &Engine, pipeline: &str, concurrency: usize) -> Result<(f64, f64)> {
    let start = Instant::now();
    let mut going = Vec::new();
    for n in 0..RUNS {
        let engine = engine.clone();
        let pipeline = json!(pipeline);
        let submit = async move {
            engine
                .pipelines()
                .submit(RunRequest::new(noop::ACCOUNT, pipeline, json!({"n": n})))
                .await
        };
        if concurrency == 1 {
            submit.await?;
        } else {
            going.push(tokio::spawn(submit));
        }
    }
    for task in going {
        task.await.map_err(|e| levqor::error::Error::internal(e.to_string()))??;
    }
    let submitted = start.elapsed();
    let start = Instant::now();
    let report = engine.worker().concurrency(concurrency).drain().await?;
    assert_eq!(report.done, RUNS as u64, "every run ends well");
    let per_run = |span: std::time::Duration| span.as_secs_f64() * 1e6 / RUNS as f64;
    Ok((per_run(submitted), per_run(start.elapsed())))
}
