//! Integrity: a run takes as long as its slowest check, the evidence costs little, the report is drawn at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use levqor::integrity::evidence::verify::verify_files;
use levqor::integrity::evidence::{Bundle, Context, History, Link, Signer};
use levqor::integrity::pdf::{Look, render};
use levqor::integrity::report::Report;
use levqor::integrity::{About, Check, CheckCx, IntegrityRun, Outcome, Planned, RunResult, standard};
use levqor::transport::{Request, Response, Transport};
use levqor::types::Millis;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::harness::{Folder, block_on, median, quantile};
use crate::results::Row;

const ROUNDS: usize = 15;
/// The runs of the long history.
const RUNS: u64 = 10_000;

/// A check that waits, as checks do for a network.
struct Waits(String, Duration);

#[async_trait]
impl Check for Waits {
    fn id(&self) -> &str {
        &self.0
    }
    async fn run(&self, cx: &CheckCx) -> Outcome {
        cx.capture(
            "http",
            "> GET https://api.example.com/health\n< 200\n< content-type: application/json\n<\n{\"status\":\"ok\"}\n",
        );
        tokio::time::sleep(self.1).await;
        Outcome::new("200")
    }
    fn about(&self) -> About {
        standard()
            .iter()
            .find(|s| self.0.starts_with(s.id))
            .map_or_else(About::default, levqor::integrity::Standard::about)
    }
}

struct NoNetwork;

#[async_trait]
impl Transport for NoNetwork {
    async fn send(&self, _: Request) -> Result<Response> {
        Err(Error::internal("nothing is sent here"))
    }
}

fn plan(spans: &[u64]) -> Vec<Planned> {
    let id = |i: usize| {
        let list = standard();
        if i < list.len() {
            list[i].id.to_owned()
        } else {
            format!("{}.n{i}", list[i % list.len()].id)
        }
    };
    let one = |(i, ms): (usize, &u64)| Planned::new(Arc::new(Waits(id(i), Duration::from_millis(*ms))));
    spans.iter().enumerate().map(one).collect()
}

async fn run(plan: Vec<Planned>) -> Result<RunResult> {
    IntegrityRun::new(plan, Arc::new(NoNetwork), Arc::new(SystemClock::default()))
        .run()
        .await
}

/// Milliseconds that the same waits take so many at a time: 1 is a plain loop, 3 gatus' default, 10 goss'.
async fn at_a_time(spans: &[u64], n: usize) -> f64 {
    let turns = Arc::new(Semaphore::new(n));
    let begun = Instant::now();
    let tasks: Vec<_> = spans
        .iter()
        .map(|ms| {
            let (turns, span) = (turns.clone(), Duration::from_millis(*ms));
            tokio::spawn(async move {
                let _turn = turns.acquire_owned().await;
                tokio::time::sleep(span).await;
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    begun.elapsed().as_secs_f64() * 1e3
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    block_on(async {
        let mut rows = Vec::new();
        rows.extend(speed().await?);
        rows.extend(reports().await?);
        rows.extend(evidence().await?);
        rows.push(history()?);
        Ok(rows)
    })
}

async fn speed() -> Result<Vec<Row>> {
    // 700 ms in all, the slowest 145.
    let mut mixed = vec![25u64; 21];
    mixed[3] = 55;
    mixed.push(145);
    let mut rows = Vec::new();
    for (name, spans) in [
        ("22 checks, the slowest 145 ms", mixed),
        ("22 checks of 300 ms", vec![300; 22]),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            run(plan(&spans)).await?;
            times.push(ms(begun));
        }
        let ours = median(times.clone());
        for (peer, n) in [
            ("one after the other", 1),
            ("3 at a time (gatus)", 3),
            ("10 at a time (goss)", 10),
        ] {
            let theirs = at_a_time(&spans, n).await;
            rows.push(Row::new(format!("{name}, median"), ours, "ms").beside(peer, "waits alone", theirs / ours));
        }
        rows.push(Row::new(format!("{name}, p95"), quantile(times, 0.95), "ms"));
    }
    let mut hanging = plan(&[20; 22]);
    let id = hanging[5].check.id().to_owned();
    hanging[5] = Planned {
        timeout: Millis::secs(2),
        ..Planned::new(Arc::new(Waits(id, Duration::from_mins(1))))
    };
    let begun = Instant::now();
    let result = run(hanging).await?;
    assert_eq!(result.counts().pass, 21, "the others are whole");
    rows.push(Row::new("22 checks, one hangs with 2 s", ms(begun), "ms"));
    Ok(rows)
}

async fn reports() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for n in [22, 500] {
        let result = run(plan(&vec![1; n])).await?;
        let (bundle, evidence) = Bundle::of(&result, &Context::default())?;
        let report = Report::of(&evidence, None, &Value::Null, None)?.with_files(bundle.files());
        let mut times = Vec::new();
        let mut size = 0;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            size = render(&report, &Look::default())?.len();
            times.push(ms(begun));
        }
        rows.push(Row::new(format!("PDF of {n} checks, warm"), median(times), "ms"));
        rows.push(Row::new(format!("PDF of {n} checks, size"), size as f64 / 1024.0, "KiB"));
    }
    Ok(rows)
}

async fn evidence() -> Result<Vec<Row>> {
    let result = run(plan(&[1; 22])).await?;
    let signer = Signer::generate()?;
    let (mut made, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS * 4 {
        let begun = Instant::now();
        let (bundle, evidence) = Bundle::of(&result, &Context::default())?;
        let bundle = bundle.sign(&signer, &evidence)?;
        made.push(ms(begun));
        let begun = Instant::now();
        let found = verify_files(bundle.files(), Some(&signer.public()));
        verified.push(ms(begun));
        assert!(found.ok(), "what was made is whole");
    }
    Ok(vec![
        Row::new("chain and sign 22 checks", median(made), "ms"),
        Row::new("verify 22 checks", median(verified), "ms"),
    ])
}

/// The chain of many runs, without looking into each again.
fn history() -> Result<Row> {
    let folder = Folder::new("integrity")?;
    let history = History::at(folder.path());
    let mut previous: Option<Link> = None;
    for i in 0..RUNS {
        let at = Millis(1_700_000_000_000 + i64::try_from(i).unwrap_or_default());
        let result = RunResult {
            id: format!("run-{i}"),
            started: at,
            ended: at,
            checks: Vec::new(),
            mask: levqor::integrity::MaskOf::default(),
        };
        let context = Context {
            previous: previous.take(),
            ..Context::default()
        };
        let (bundle, evidence) = Bundle::of(&result, &context)?;
        history.add(&bundle)?;
        previous = Some(Link {
            number: evidence.run.number,
            run: evidence.run.id,
            sha256: bundle.evidence_sha256().to_owned(),
        });
    }
    let begun = Instant::now();
    let found = history.verify(None, None, false)?;
    let took = ms(begun);
    assert!(found.ok(), "the chain is whole: {:?}", found.problems.first());
    Ok(Row::new("verify the chain of 10,000 runs", took, "ms"))
}
