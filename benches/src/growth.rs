//! Growth: what an operation costs when a lot is stored already.
//!
//! SQLite with a thousand accounts, and with a million accounts, a million jobs and ten million entries
//! (`GROWTH=small` takes a tenth of that); memory with a million runs that were submitted one by one.

use std::time::{Duration, Instant};

use levqor::backend::{self, Backend};
use levqor::clock::SystemClock;
use levqor::engine::{CaptureOptions, Engine, GrantOptions, RunRequest};
use levqor::error::{Error, Result};
use levqor::types::{HoldId, MicroCredits, Millis};
use serde_json::json;

use crate::growth_fill::{Size, TEMPLATE, account, fill};
use crate::harness::{Folder, block_on, callers, median, scattered, spread};
use crate::noop;
use crate::results::{Row, number};

/// How many runs are stored in memory at the end.
const STORED: usize = 1_000_000;
/// Submissions of one measurement in memory.
const SAMPLE: usize = 2_000;
/// Callers at a time, as a busy host has them.
const CALLERS: usize = 256;
/// Runs of one measurement that are submitted and worked off.
const RUNS: usize = 2_000;
/// How long each of the other measurements takes.
const SPAN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

const FEW: Size = Size {
    accounts: 1_000,
    jobs: 1_000,
};

/// What is measured, in microseconds.
const COSTS: [&str; 5] = [
    "a hold or its end",
    "a spend with its key",
    "balance and statement of an account",
    "submit a run",
    "lease, one step, settle",
];

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    let many = match std::env::var("GROWTH").as_deref() {
        Err(_) | Ok("" | "full") => 1_000_000,
        Ok("small") => 100_000,
        Ok(other) => return Err(format!("GROWTH={other} is neither `full` nor `small`")),
    };
    let many = Size {
        accounts: many,
        jobs: many,
    };
    block_on(async {
        let mut rows = sqlite(many).await?;
        rows.extend(memory().await?);
        Ok(rows)
    })
}

async fn sqlite(many: Size) -> Result<Vec<Row>> {
    let folder = Folder::new("growth")?;
    let url = folder.sqlite("a");
    {
        let engine = open(&url).await?;
        let credits = engine.credits();
        let rich = MicroCredits(1_000_000_000 * 1_000_000);
        credits.grant(TEMPLATE, rich, GrantOptions::default(), None).await?;
        credits.spend(TEMPLATE, MicroCredits(1_000_000), None).await?;
        run(&engine, 1).await?;
    }
    fill(&url, Size { accounts: 0, jobs: 0 }, FEW).await?;
    let first = measure(&open(&url).await?, FEW, "few").await?;
    let start = Instant::now();
    fill(&url, FEW, many).await?;
    eprintln!("note: the large store was filled in {:.0} s", start.elapsed().as_secs_f64());
    let last = measure(&open(&url).await?, many, "many").await?;

    let said = |n: usize| {
        if n >= 1_000_000 {
            format!("{} M", number(n as f64 / 1e6))
        } else {
            format!("{} k", n / 1_000)
        }
    };
    let stored = format!(
        "{} accounts, {} jobs, {} entries",
        said(many.accounts),
        said(many.jobs),
        said(many.entries())
    );
    let rows = COSTS
        .iter()
        .zip(first.into_iter().zip(last))
        .map(|(name, (first, last))| Row {
            theirs: Some(first),
            synchronous: Some("FULL".to_owned()),
            ..Row::new(format!("{name}, {stored}, SQLite FULL"), last, "us").beside(
                "the same with 1 k accounts",
                "",
                first / last,
            )
        });
    Ok(rows.collect())
}

async fn open(url: &str) -> Result<Engine> {
    let engine = noop::build(backend::open(url, SystemClock::machine()).await?)?;
    engine.pipelines().register(&noop::pipeline("short", 1)).await?;
    Ok(engine)
}

/// Microseconds of each of [`COSTS`].
async fn measure(engine: &Engine, size: Size, label: &'static str) -> Result<[f64; 5]> {
    let mut costs: [Vec<f64>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let seed = round << 48;
        let who = move |caller: usize, n: usize| account(scattered(seed | caller << 32 | n) % size.accounts);
        let one = MicroCredits(1_000_000);

        let mine = engine.clone();
        let cycle = move |caller, n| {
            let engine = mine.clone();
            async move {
                let credits = engine.credits();
                let hold: HoldId = credits.hold(&who(caller, n), one, None, None).await?.id.parse()?;
                credits.capture(&hold, CaptureOptions::default(), None).await.map(|_| ())
            }
        };
        let holds = 1e6 / (2.0 * callers(CALLERS, SPAN, cycle).await?.0);

        let mine = engine.clone();
        let spend = move |caller, n| {
            let engine = mine.clone();
            async move {
                let key = format!("{label}-{round}-{caller}-{n}");
                engine.credits().spend(&who(caller, n), one, Some(&key)).await.map(|_| ())
            }
        };
        let spends = 1e6 / callers(CALLERS, SPAN, spend).await?.0;

        let mine = engine.clone();
        let read = move |caller, n| {
            let engine = mine.clone();
            async move {
                let who = who(caller, n);
                engine.credits().balance(&who).await?;
                let always = (Millis::ZERO, Millis::MAX);
                engine.credits().statement(&who, always, 0, 10).await.map(|_| ())
            }
        };
        let reads = 1e6 / callers(16, SPAN / 2, read).await?.0;
        let (submits, works) = run(engine, RUNS).await?;
        // The first round warms up.
        if round > 0 {
            for (cost, value) in costs.iter_mut().zip([holds, spends, reads, submits, works]) {
                cost.push(value);
            }
        }
    }
    Ok(costs.map(median))
}

/// Microseconds of a submission and of its being worked off.
async fn run(engine: &Engine, runs: usize) -> Result<(f64, f64)> {
    let mine = engine.clone();
    let submit = move |n| {
        let engine = mine.clone();
        async move {
            let request = RunRequest::new(TEMPLATE, json!("short"), json!({"n": n}));
            engine.pipelines().submit(request).await.map(|_| ())
        }
    };
    let submitted = spread(runs, CALLERS, submit).await?;
    let start = Instant::now();
    let report = engine.worker().concurrency(CALLERS).drain().await?;
    if report.done != runs as u64 {
        return Err(Error::internal(format!("{} of {runs} runs were done", report.done)));
    }
    let each = |seconds: f64| seconds * 1e6 / runs as f64;
    Ok((each(submitted), each(start.elapsed().as_secs_f64())))
}

async fn memory() -> Result<Vec<Row>> {
    let engine = noop::engine(Backend::memory()).await?;
    engine.pipelines().register(&noop::pipeline("short", 1)).await?;
    let mut stored = 0;
    submit(&engine, &mut stored, SAMPLE).await?;
    let first = sampled(&engine, &mut stored).await?;
    while stored < STORED {
        let more = 50_000.min(STORED - stored);
        submit(&engine, &mut stored, more).await?;
    }
    let last = sampled(&engine, &mut stored).await?;
    let name = format!("submit with 1 million runs stored, memory, {CALLERS} callers");
    Ok(vec![Row {
        theirs: Some(first),
        ..Row::new(name, last, "us").beside("the same with 2 thousand", "", first / last)
    }])
}

async fn sampled(engine: &Engine, stored: &mut usize) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(submit(engine, stored, SAMPLE).await? * 1e6 / SAMPLE as f64);
    }
    Ok(median(times))
}

/// Submits so many runs, each with a key of its own, as real hosts do; answers the seconds it took.
async fn submit(engine: &Engine, stored: &mut usize, n: usize) -> Result<f64> {
    let (mine, from) = (engine.clone(), *stored);
    let one = move |i| {
        let engine = mine.clone();
        async move {
            let request = RunRequest::new(noop::ACCOUNT, json!("short"), json!({"n": i}));
            let keyed = request.key(format!("key-{}", from + i));
            engine.pipelines().submit(keyed).await.map(|_| ())
        }
    };
    *stored += n;
    spread(n, CALLERS, one).await
}
