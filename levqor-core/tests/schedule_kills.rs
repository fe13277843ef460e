//! Eight processes fire the same schedule and are killed at random: every tick fires once.
//!
//! `LEVQOR_SOAK_KILLS` says how often a process is killed; 50 times without it.

#![cfg(all(feature = "testkit", feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what was run")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use levqor_core::backend::{self, Backend};
use levqor_core::clock::{ManualClock, SystemClock};
use levqor_core::engine::Engine;
use levqor_core::jobs::schedule::{Overlap, Schedule, Target, TickOutcome};
use levqor_core::store::{JobFilter, Page};
use levqor_core::testkit::stores::{Folder, postgres_database};
use levqor_core::types::{Millis, random_bytes};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Names the database to a child process.
const CHILD: &str = "LEVQOR_TEST_SCHEDULE_URL";
const PROCESSES: usize = 8;
const TICKS: usize = 1_000;
const T0: Millis = Millis(1_750_000_000_000);

/// A thousand ticks, one a second, each with its jitter.
fn schedule() -> Schedule {
    let mut schedule = Schedule::every("beat", Millis::secs(1), Target::job("count", serde_json::json!({})))
        .jitter(Millis(900))
        .overlap(Overlap::Allow);
    schedule.starts_at = Some(T0 + Millis::secs(1));
    schedule.ends_at = Some(T0 + Millis::secs(1 + i64::try_from(TICKS).unwrap()));
    schedule.keep = 10_000;
    schedule
}

async fn open(url: &str, clock: Arc<ManualClock>) -> Engine {
    let backend: Backend = backend::open(url, SystemClock::machine()).await.unwrap();
    Engine::builder(backend).clock(clock).build().unwrap()
}

/// What a child process does; without its environment, nothing. Its clock jumps to whatever is due next.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let clock = Arc::new(ManualClock::at(T0));
    let engine = open(&url, clock.clone()).await;
    // As every process does when it starts.
    engine.schedules().put(schedule()).await.unwrap();
    loop {
        let next = engine.backend().store.reads().schedules.due_first(1).await.unwrap();
        match next.first().filter(|row| row.next_tick.is_some()) {
            Some(row) => clock.set(Millis(row.due_at)),
            None => return,
        }
        let report = engine.schedules().fire_due().await.unwrap();
        for _ in 0..report.fired {
            eprintln!("fired");
        }
        if report.fired == 0 {
            // Others are at it; a worker, too, takes a breath then.
            tokio::time::sleep(Duration::from_millis(1 + u64::from(random_bytes::<1>()[0]) / 8)).await;
        }
    }
}

struct Firing {
    child: Child,
    ended: bool,
}

fn start(url: &str, n: usize, told: &mpsc::UnboundedSender<(usize, bool)>) -> Firing {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = told.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            assert_eq!(line, "fired", "child {n}");
            let _ = told.send((n, true));
        }
        let _ = told.send((n, false));
    });
    Firing { child, ended: false }
}

async fn every_tick_fires_once(url: &str) {
    let kills: usize = std::env::var("LEVQOR_SOAK_KILLS").map_or(50, |n| n.parse().unwrap());
    let kills = kills.min(TICKS / 2);
    let (told, mut heard) = mpsc::unbounded_channel();
    let mut children: Vec<Firing> = (0..PROCESSES).map(|n| start(url, n, &told)).collect();
    let (mut fired, mut killed) = (0_usize, 0_usize);
    let all = async {
        while children.iter().any(|c| !c.ended) {
            let (n, fires) = heard.recv().await.unwrap();
            if !fires {
                let status = children[n].child.wait().await.unwrap();
                if status.success() {
                    children[n].ended = true;
                } else {
                    // It was killed: another takes its place.
                    assert_eq!(status.code(), None, "child {n} failed");
                    children[n] = start(url, n, &told);
                }
                continue;
            }
            fired += 1;
            if fired > (killed + 1) * TICKS / (kills + 1) && killed < kills {
                let victim = usize::from(random_bytes::<1>()[0]) % PROCESSES;
                // One that is at its end is not killed any more.
                if children[victim].child.start_kill().is_ok() {
                    killed += 1;
                }
            }
        }
    };
    let patience = Duration::from_mins(3) + Duration::from_secs(1) * u32::try_from(kills).unwrap();
    tokio::time::timeout(patience, all).await.unwrap();
    println!("{killed} processes were killed, {fired} fires were told");
    // One that is killed right after its commit tells nobody of it, so the count of kills may lag behind.
    assert!(killed >= kills * 3 / 4, "only {killed} processes were killed");

    let engine = open(url, Arc::new(ManualClock::at(T0))).await;
    let view = engine.schedules().get("beat").await.unwrap();
    assert_eq!((view.fires, view.next_tick), (i64::try_from(TICKS).unwrap(), None));
    let lines = engine.schedules().history("beat", None, 10_000).await.unwrap();
    let mut ticks = BTreeMap::new();
    for line in &lines {
        assert_eq!(line.outcome, TickOutcome::Fired, "{line:?}");
        assert_eq!(ticks.insert(line.tick, line.job.clone().unwrap()), None, "{line:?} twice");
    }
    let expected: Vec<Millis> = (1..=i64::try_from(TICKS).unwrap()).map(|n| T0 + Millis::secs(n)).collect();
    assert!(ticks.keys().copied().eq(expected), "a tick is missing");
    let page = Page {
        after: None,
        limit: 10_000,
    };
    let jobs = engine.jobs().list(&JobFilter::default(), &page).await.unwrap();
    let ids: BTreeSet<_> = jobs.iter().map(|job| job.id.clone()).collect();
    assert_eq!((jobs.len(), ids), (TICKS, ticks.into_values().collect()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_ticks_fire_once_on_sqlite_though_processes_are_killed() {
    let folder = Folder::new();
    every_tick_fires_once(&format!("sqlite://{}", folder.path().join("levqor.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_ticks_fire_once_on_postgres_though_processes_are_killed() {
    every_tick_fires_once(&postgres_database().await).await;
}
