//! From enqueue to start at low load: one job at a time, in one process and over two.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use levqor::backend;
use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::harness::block_on;
use crate::noop::Work;

/// Tells a copy of this program whose jobs to do.
const WORK: &str = "LEVQOR_BENCH_START";
/// Jobs of a measurement, and the pause before each.
pub(crate) const STARTS: usize = 150;
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// Nanoseconds of the clock that all processes of the machine share.
fn shared_clock() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// Milliseconds of each, with the worker in this process.
pub(crate) async fn one_process(url: &str) -> Result<Vec<f64>> {
    let (started, mut hear) = mpsc::unbounded_channel();
    let work = Work::new(backend::open(url, SystemClock::machine()).await?, 1, Some(started))?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(work.worker(8).run(async {
        let _ = stopped.await;
    }));
    let mut times = Vec::new();
    for n in 0..STARTS {
        tokio::time::sleep(PAUSE).await;
        let begin = Instant::now();
        work.enqueue(n).await?;
        let heard = tokio::time::timeout(PATIENCE, hear.recv()).await.ok().flatten();
        let (_, at) = heard.ok_or_else(|| Error::internal("a job did not start"))?;
        times.push(at.saturating_duration_since(begin).as_secs_f64() * 1e3);
    }
    let _ = stop.send(());
    worker.await.map_err(|e| Error::internal(e.to_string()))??;
    Ok(times)
}

/// Milliseconds of each, with the worker in a process of its own.
pub(crate) async fn two_processes(url: &str, jobs: usize) -> Result<Vec<f64>> {
    let work = Work::new(backend::open(url, SystemClock::machine()).await?, 1, None)?;
    let program = std::env::current_exe().map_err(|e| Error::internal(e.to_string()))?;
    let mut child = Command::new(program)
        .env(WORK, url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::internal(e.to_string()))?;
    let out = child.stdout.take().ok_or_else(|| Error::internal("no pipe"))?;
    let mut lines = BufReader::new(out).lines();
    let mut line = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(std::result::Result::ok).flatten();
        line.ok_or_else(|| Error::internal("a job did not start"))
    };
    line().await?;
    let mut times = Vec::new();
    for n in 0..jobs {
        tokio::time::sleep(PAUSE).await;
        let begin = shared_clock();
        work.enqueue(n).await?;
        let at: i128 = line().await?.parse().map_err(|_| Error::internal("no instant"))?;
        times.push((at - begin) as f64 / 1e6);
    }
    drop(child.stdin.take());
    child.wait().await.map_err(|e| Error::internal(e.to_string()))?;
    Ok(times)
}

/// Whether this process was started to work; then it has done so.
pub(crate) fn is_worker() -> bool {
    let Ok(url) = std::env::var(WORK) else { return false };
    let done = block_on(async move {
        let (started, mut hear) = mpsc::unbounded_channel();
        let work = Work::new(backend::open(&url, SystemClock::machine()).await?, 1, Some(started))?;
        let stop = tokio::task::spawn_blocking(|| {
            // Until whoever started us is gone or has enough.
            let mut rest = String::new();
            let _ = std::io::stdin().read_line(&mut rest);
        });
        let worker = tokio::spawn(work.worker(8).run(async {
            let _ = stop.await;
        }));
        say("ready");
        let said = tokio::spawn(async move {
            while let Some((_, at)) = hear.recv().await {
                let behind = i128::try_from(at.elapsed().as_nanos()).unwrap_or_default();
                say(&(shared_clock() - behind).to_string());
            }
        });
        worker.await.map_err(|e| Error::internal(e.to_string()))??;
        drop(work);
        said.abort();
        Ok(())
    });
    if let Err(e) = done {
        eprintln!("error: the worker: {e}");
    }
    true
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Who does not listen any more needs nothing.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
