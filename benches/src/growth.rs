//! Growth: what a call costs when a lot is stored already.

use std::time::Instant;

use levqor::backend::{self, Backend};
use levqor::clock::SystemClock;
use levqor::engine::{Engine, RunRequest};
use levqor::error::{Error, Result};
use serde_json::json;

use crate::harness::{Folder, block_on, median};
use crate::noop;
use crate::results::Row;

/// How many runs are stored at the end.
const STORED: usize = 1_000_000;
/// Submissions of one measurement.
const SAMPLE: usize = 2_000;
/// Callers at a time, as a busy host has them.
const CALLERS: usize = 256;

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    block_on(async {
        let mut rows = measure("memory", Backend::memory()).await?;
        let folder = Folder::new("growth")?;
        let store = backend::open(&folder.sqlite("a"), SystemClock::machine()).await?;
        rows.extend(measure("SQLite FULL", store).await?);
        Ok(rows)
    })
}

async fn measure(store: &str, backend: Backend) -> Result<Vec<Row>> {
    let engine = noop::engine(backend).await?;
    engine.pipelines().register(&noop::pipeline("short", 1)).await?;
    let mut stored = 0;
    submit(&engine, &mut stored, SAMPLE).await?;
    let first = sampled(&engine, &mut stored).await?;
    while stored < STORED {
        let more = 50_000.min(STORED - stored);
        submit(&engine, &mut stored, more).await?;
    }
    let last = sampled(&engine, &mut stored).await?;
    let name = |n: &str| format!("submit with {n} runs stored, {store}, {CALLERS} callers");
    Ok(vec![
        Row::new(name("2 thousand"), first, "us"),
        Row::new(name("1 million"), last, "us").beside("the same with 2 thousand", "", first / last),
    ])
}

async fn sampled(engine: &Engine, stored: &mut usize) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        submit(engine, stored, SAMPLE).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6 / SAMPLE as f64);
    }
    Ok(median(times))
}

/// Submits so many runs, each with a key of its own, as real hosts do.
async fn submit(engine: &Engine, stored: &mut usize, n: usize) -> Result<()> {
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let engine = engine.clone();
        let from = *stored;
        callers.push(tokio::spawn(async move {
            for i in (caller..n).step_by(CALLERS) {
                let request = RunRequest::new(noop::ACCOUNT, json!("short"), json!({"n": i}));
                engine.pipelines().submit(request.key(format!("key-{}", from + i))).await?;
            }
            Ok::<(), Error>(())
        }));
    }
    for caller in callers {
        caller.await.map_err(|e| Error::internal(e.to_string()))??;
    }
    *stored += n;
    Ok(())
}
