//! Jobs that do nothing: enqueued, run and settled, all durable.
//!
//! End to end means that all are enqueued in bulk and then worked off, both times together: the same for us and for
//! every peer. What is enqueued one by one is durable before the next begins.

use std::time::{Duration, Instant};

use levqor::backend;
use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use levqor::testkit::services::Service;

use crate::duel::{Duel, Place};
use crate::harness::{Folder, block_on, callers, database, postgres, quantile};
use crate::jobs_raw::Raw;
use crate::jobs_start::{STARTS, one_process, two_processes};
use crate::noop::Work;
use crate::peers::{Peer, Runs};
use crate::results::Row;

const ROUNDS: usize = 2;
/// Jobs of a round, end to end: as many as take some seconds, at most so many.
const JOBS: usize = 20_000;
const SECONDS: f64 = 3.0;
/// Jobs from which that is told.
const FIRST: usize = 1_000;
/// Jobs that a worker has at a time: also the batch of the raw limit.
const AT_ONCE: usize = 512;
const SPAN: Duration = Duration::from_secs(1);

/// Names of figures, ours and the peers'.
mod figures {
    pub(super) const SQLITE: &str = "end to end, SQLite";
    pub(super) const POSTGRES: &str = "end to end, Postgres";
    pub(super) const REDIS: &str = "end to end, Redis";
    pub(super) const RAW: &str = "raw limit";
    pub(super) const BULK: [&str; 2] = ["enqueue in bulk, Postgres", "enqueue in bulk, Redis"];
    pub(super) const ONE: [&str; 3] = [
        "enqueue one by one, 1 caller, SQLite",
        "enqueue one by one, 1 caller, Postgres",
        "enqueue one by one, 1 caller, Redis",
    ];
    pub(super) const MANY: [&str; 2] = [
        "enqueue one by one, 64 callers, Postgres",
        "enqueue one by one, 64 callers, Redis",
    ];
    pub(super) const P50: [&str; 3] = [
        "enqueue to start p50, SQLite, one process",
        "enqueue to start p50, Postgres",
        "enqueue to start p50, Redis",
    ];
    pub(super) const P99: [&str; 3] = [
        "enqueue to start p99, SQLite, one process",
        "enqueue to start p99, Postgres",
        "enqueue to start p99, Redis",
    ];
}
use figures::{BULK, MANY, ONE, P50, P99, POSTGRES, RAW, REDIS, SQLITE};

const HUEY: Peer = Peer {
    name: "huey",
    runs: Runs::Python,
    script: "jobs_huey.py",
    args: &[],
    figures: &[SQLITE, ONE[0], P50[0], P99[0]],
};
const fn graphile(name: &'static str, args: &'static [&'static str]) -> Peer {
    Peer {
        name,
        runs: Runs::Node,
        script: "jobs_graphile.mjs",
        args,
        figures: &[POSTGRES, BULK[0], ONE[1], MANY[0], P50[1], P99[1]],
    }
}
const fn bullmq(name: &'static str, args: &'static [&'static str]) -> Peer {
    Peer {
        name,
        runs: Runs::Node,
        script: "jobs_bullmq.mjs",
        args,
        figures: &[REDIS, BULK[1], ONE[2], MANY[1], P50[2], P99[2]],
    }
}

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    let server = postgres();
    block_on(async {
        let folder = Folder::new("jobs")?;
        let mut raw = Raw::new(&folder).await?;
        let mut duel = Duel::default();
        for round in 0..ROUNDS {
            let new = async |phase: &str| Ok(folder.sqlite(&format!("jobs-{round}-{phase}")));
            ours(&mut duel, "SQLite FULL", Place::Sqlite("FULL"), new).await?;
            duel_raw(&mut duel, &mut raw).await?;
            let new = async |phase: &str| database(&server, &format!("levqor_{round}_{phase}")).await;
            ours(&mut duel, "Postgres", Place::Other, new).await?;

            let count = |n: usize| ("PEER_COUNT", n.to_string());
            let at = folder.path().display().to_string();
            duel.peer(&HUEY, &[("PEER_FOLDER", at), count(2_000)]);
            let modes = [
                (graphile("graphile-worker, default", &["default"]), 2_000),
                (graphile("graphile-worker, batched", &["batched"]), JOBS),
            ];
            for (i, (peer, jobs)) in modes.iter().enumerate() {
                let url = database(&server, &format!("graphile_{round}_{i}")).await?;
                duel.peer(peer, &[("PEER_POSTGRES", url), count(*jobs)]);
            }
            for (policy, peer) in [
                ("everysec", bullmq("BullMQ on Redis, appendfsync everysec", &["everysec"])),
                ("always", bullmq("BullMQ on Redis, appendfsync always", &["always"])),
            ] {
                let redis = Service::redis_with(&["--appendonly", "yes", "--appendfsync", policy]);
                duel.peer(&peer, &[("PEER_REDIS", redis.url()), count(JOBS / 2)]);
            }
        }
        let mut rows = duel.rows();
        // The limit is a figure of ours too, told once as a peer of the first row.
        rows.retain(|row| row.ours.is_some());
        Ok(rows)
    })
}

/// The raw limit at two sizes of batch; that of a worker's is what ours is compared with.
async fn duel_raw(duel: &mut Duel, raw: &mut Raw) -> Result<()> {
    for batch in [100, AT_ONCE] {
        let rate = raw.jobs_per_second(batch, JOBS).await?;
        let name = format!("raw limit: three bare commits for each {batch} jobs, SQLite FULL");
        duel.ours(&name, Place::Sqlite("FULL"), rate, "jobs/s", &[]);
        if batch == AT_ONCE {
            duel.theirs(&format!("bare SQLite, batches of {batch}"), "", RAW, "jobs/s", rate);
        }
    }
    Ok(())
}

/// Measures ours; `new` makes an empty store for each part of it.
async fn ours(duel: &mut Duel, store: &str, place: Place, new: impl AsyncFn(&str) -> Result<String>) -> Result<()> {
    let on_sqlite = place != Place::Other;
    let only = |sqlite: &[&'static str], postgres: &[&'static str]| if on_sqlite { sqlite.to_vec() } else { postgres.to_vec() };
    let work = open(&new("work").await?).await?;
    // The pipeline is kept and what is prepared is prepared by the first jobs.
    let (enqueued, worked) = end_to_end(&work, FIRST).await?;
    let jobs = FIRST as f64 * SECONDS / (enqueued + worked);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of jobs")]
    let jobs = (jobs as usize).clamp(FIRST, JOBS);
    let (enqueued, worked) = end_to_end(&work, jobs).await?;
    drop(work);
    let jobs = jobs as f64;
    duel.ours(
        &format!("end to end, {store}"),
        place,
        jobs / (enqueued + worked),
        "jobs/s",
        &only(&[SQLITE, RAW, REDIS], &[POSTGRES, REDIS]),
    );
    duel.ours(
        &format!("enqueue in bulk, {store}"),
        place,
        jobs / enqueued,
        "jobs/s",
        &only(&[], &BULK),
    );
    duel.ours(&format!("run and settle, {store}"), place, jobs / worked, "jobs/s", &[]);

    let work = open(&new("enqueue").await?).await?;
    for (count, against) in [(1, only(&[ONE[0]], &[ONE[1], ONE[2]])), (64, only(&[], &MANY))] {
        let mine = work.clone();
        let one = move |_, n| {
            let work = mine.clone();
            async move { work.enqueue(n).await.map(|_| ()) }
        };
        let (rate, _) = callers(count, SPAN, one).await?;
        let callers = if count == 1 { "caller" } else { "callers" };
        let name = format!("enqueue one by one, {count} {callers}, {store}");
        duel.ours(&name, place, rate, "jobs/s", &against);
    }
    drop(work);

    let (label, times) = if on_sqlite {
        ("one process", one_process(&new("start").await?).await?)
    } else {
        ("two processes, NOTIFY", two_processes(&new("start").await?, STARTS).await?)
    };
    let name = |which: &str, how: &str| format!("enqueue to start {which}, {store}, {how}");
    let (p50, p99) = (quantile(times.clone(), 0.5), quantile(times, 0.99));
    duel.ours(&name("p50", label), place, p50, "ms", &only(&[P50[0]], &[P50[1], P50[2]]));
    duel.ours(&name("p99", label), place, p99, "ms", &only(&[P99[0]], &[P99[1], P99[2]]));
    if on_sqlite {
        let times = two_processes(&new("starts").await?, STARTS / 4).await?;
        duel.ours(&name("p50", "two processes"), place, quantile(times.clone(), 0.5), "ms", &[]);
        duel.ours(&name("p99", "two processes"), place, quantile(times, 0.99), "ms", &[]);
    }
    Ok(())
}

async fn open(url: &str) -> Result<Work> {
    Work::new(backend::open(url, SystemClock::machine()).await?, 0, None)
}

/// Seconds for enqueueing jobs in bulk, and for working them off.
async fn end_to_end(work: &Work, jobs: usize) -> Result<(f64, f64)> {
    let enqueued = work.enqueue_all(jobs).await?;
    let start = Instant::now();
    let report = work.worker(AT_ONCE).drain().await?;
    if report.done != jobs as u64 {
        return Err(Error::internal(format!("{} of {jobs} jobs were done", report.done)));
    }
    Ok((enqueued, start.elapsed().as_secs_f64()))
}
