//! Limits over the processes of a host, in shared memory and in a store, beside the limiter of one process.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use levqor::backend::memory::{Limiter, MemoryLimits};
use levqor::backend::shm::ShmLimits;
use levqor::clock::SystemClock;
use levqor::limits::{Ask, Limits, Quota};
use levqor::types::{Millis, Tenant};

use crate::harness::median;
use crate::results::Row;

/// Tells a copy of this program what to do: the file, how many keys, how many calls, and the limit.
const WORK: &str = "LEVQOR_BENCH_SHM";
const PER_SECOND: u32 = 1_000_000_000;
const CALLS: usize = 400_000;
const ROUNDS: usize = 11;
const PROCESSES: usize = 4;
const NAME: &str = "bench";

pub(crate) fn rows() -> Vec<Row> {
    let folder = std::env::temp_dir().join(format!("levqor-bench-shm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{e}"));
    let mut rows = Vec::new();
    for (label, keys) in [("hot key", 1), ("100 k keys", 100_000), ("1 M keys", 1_000_000)] {
        let path = folder.join(format!("{keys}.limits"));
        rows.push(one_thread(label, keys, &path));
        rows.push(many_processes(label, keys, &path));
    }
    rows.push(exact(&folder.join("exact.limits")));
    rows.extend(in_a_store(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    rows
}

fn key(i: u32) -> [u8; 8] {
    (u64::from(i) * 7_919).to_le_bytes()
}

/// An order without pattern; every caller begins elsewhere.
fn order(keys: u32, seed: u64) -> Vec<u32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..CALLS)
        .map(|_| u32::try_from(next() % u64::from(keys)).unwrap_or(0))
        .collect()
}

fn shm(path: &Path, keys: u32) -> ShmLimits {
    ShmLimits::with_capacity(path, (keys as usize).max(1_000)).unwrap_or_else(|e| panic!("{e}"))
}

fn timed(order: &[u32], call: impl Fn(u32) -> bool) -> f64 {
    let start = Instant::now();
    for i in order {
        black_box(call(*i));
    }
    start.elapsed().as_secs_f64() * 1e9 / order.len() as f64
}

fn beside(name: String, ours: f64, memory: f64) -> Row {
    Row {
        peer: Some("the limiter in memory".to_owned()),
        theirs: Some(memory),
        ratio: Some(memory / ours),
        ..Row::new(name, ours, "ns")
    }
}

fn one_thread(label: &str, keys: u32, path: &Path) -> Row {
    let limits = shm(path, keys);
    let tenant = Tenant::default();
    let prepared = limits
        .prepare(&tenant, NAME, Quota::per_second(PER_SECOND))
        .unwrap_or_else(|e| panic!("{e}"));
    let memory = MemoryLimits::with_capacity(1_250_000);
    let limiter = Limiter::of(memory, &tenant, NAME, Quota::per_second(PER_SECOND)).unwrap_or_else(|e| panic!("{e}"));
    let order = order(keys, 0);
    let in_shm = |i| {
        let verdict = limits.take_one(&prepared, &key(i), 1, SystemClock::coarse());
        verdict.is_ok_and(|v| v.admitted)
    };
    let in_memory = |i| limiter.check(key(i)).admitted;
    (0..keys).for_each(|i| {
        black_box((in_shm(i), in_memory(i)));
    });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(&order, in_shm));
        theirs.push(timed(&order, in_memory));
    }
    beside(format!("shared memory, {label}, 1 thread"), median(ours), median(theirs))
}

/// Processor time of a call while four processes ask, beside four threads that ask the limiter in memory:
/// whatever the number of processors, and whatever else they do.
fn many_processes(label: &str, keys: u32, path: &Path) -> Row {
    let mut ours = Vec::new();
    let mut workers: Vec<Worker> = (0..PROCESSES).map(|n| Worker::start(path, keys, n, PER_SECOND)).collect();
    for _ in 0..9 {
        workers.iter_mut().for_each(Worker::go);
        let spent: f64 = workers.iter_mut().map(|w| w.answer().1).sum();
        ours.push(spent / (CALLS * PROCESSES) as f64);
    }
    drop(workers);
    let memory = MemoryLimits::with_capacity(1_250_000);
    let limiter = Limiter::of(memory, &Tenant::default(), NAME, Quota::per_second(PER_SECOND)).unwrap_or_else(|e| panic!("{e}"));
    let orders: Vec<Vec<u32>> = (0..PROCESSES as u64).map(|n| order(keys, n)).collect();
    let theirs = (0..9).map(|_| {
        let barrier = Barrier::new(PROCESSES);
        let before = spent_ns();
        std::thread::scope(|s| {
            for order in &orders {
                let (limiter, barrier) = (&limiter, &barrier);
                s.spawn(move || {
                    barrier.wait();
                    timed(order, |i| limiter.check(key(i)).admitted)
                });
            }
        });
        (spent_ns() - before) / (CALLS * PROCESSES) as f64
    });
    let theirs = median(theirs.collect());
    beside(format!("shared memory, {label}, {PROCESSES} processes"), median(ours), theirs)
}

/// Processor time that this process has used.
fn spent_ns() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// Four processes ask far more often than the limit allows.
fn exact(path: &Path) -> Row {
    let mut workers: Vec<Worker> = (0..PROCESSES).map(|n| Worker::start(path, 1, n, 0)).collect();
    workers.iter_mut().for_each(Worker::go);
    let admitted: f64 = workers.iter_mut().map(|w| w.answer().0).sum();
    Row::new(
        format!("shared memory, admitted by {PROCESSES} processes"),
        admitted,
        "of 100",
    )
}

struct Worker {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    fn start(path: &Path, keys: u32, seed: usize, per_second: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap_or_default())
            .env(WORK, format!("{keys} {seed} {per_second} {}", path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{e}"));
        let out = child.stdout.take().map_or_else(|| panic!("no pipe"), BufReader::new);
        let mut worker = Worker { child, out };
        worker.answer();
        worker
    }

    fn go(&mut self) {
        let told = self.child.stdin.as_mut().map(|to| to.write_all(b"\n"));
        assert!(matches!(told, Some(Ok(()))), "a worker is gone");
    }

    /// How many calls of a round passed, and the time they took.
    fn answer(&mut self) -> (f64, f64) {
        let mut line = String::new();
        let _ = self.out.read_line(&mut line);
        let numbers: Vec<f64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        match numbers[..] {
            [passed, spent] => (passed, spent),
            _ => panic!("a worker is gone"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Works as one of several processes, if this is one: for every line it reads it makes its calls and tells
/// how many passed.
pub(crate) fn is_worker() -> bool {
    let Ok(work) = std::env::var(WORK) else { return false };
    let parts: Vec<&str> = work.splitn(4, ' ').collect();
    let number = |i: usize| parts.get(i).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    let (keys, path) = (number(0), PathBuf::from(parts.last().copied().unwrap_or_default()));
    let order = order(keys.max(1), number(1).into());
    let quota = if number(2) == 0 {
        Quota::per_day(100)
    } else {
        Quota::per_second(number(2))
    };
    let limits = shm(&path, keys);
    let prepared = limits
        .prepare(&Tenant::default(), NAME, quota)
        .unwrap_or_else(|e| panic!("{e}"));
    println!("0 0");
    let fixed = Millis(1_700_000_000_000);
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let (mut passed, before) = (0, spent_ns());
        for i in &order {
            let now = if number(2) == 0 { fixed } else { SystemClock::coarse() };
            passed += u32::from(limits.take_one(&prepared, &key(*i), 1, now).is_ok_and(|v| v.admitted));
        }
        println!("{passed} {}", spent_ns() - before);
    }
    true
}

/// What a call takes where limits lie in a SQLite file, and how many pass per second with many callers.
fn in_a_store(folder: &Path) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("{e}"));
    let mut urls = vec![("SQLite", format!("sqlite://{}", folder.join("levqor.db").display()))];
    urls.extend(std::env::var("LEVQOR_BENCH_POSTGRES_URL").ok().map(|url| ("Postgres", url)));
    let mut rows = Vec::new();
    for (store, url) in urls {
        let backend = runtime
            .block_on(levqor::backend::open(&url, SystemClock::machine()))
            .unwrap_or_else(|e| panic!("{e}"));
        let limits = backend.limits.clone();
        for (what, quota) in [("passes", Quota::per_second(1_000_000)), ("is refused", Quota::per_day(1))] {
            let alone = runtime.block_on(callers(limits.clone(), 1, 300, quota, "alone"));
            rows.push(Row::new(format!("{store}, a call that {what}, alone"), alone, "us"));
            for keys in ["one key", "a key each"] {
                let us = runtime.block_on(callers(limits.clone(), 64, 200, quota, keys));
                let rate = 64.0 / us * 1e6;
                rows.push(Row::new(
                    format!("{store}, a call that {what}, 64 callers, {keys}"),
                    rate,
                    "per second",
                ));
            }
        }
    }
    rows
}

/// Microseconds per call of each caller.
async fn callers(limits: Arc<dyn Limits>, callers: usize, calls: usize, quota: Quota, keys: &'static str) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|i| {
            let limits = limits.clone();
            tokio::spawn(async move {
                let key = if keys == "a key each" {
                    i.to_string()
                } else {
                    keys.to_owned()
                };
                let ask = [Ask::new("bench", key, quota)];
                for _ in 0..calls {
                    let decided = limits.take(&Tenant::default(), &ask, SystemClock::machine()).await;
                    drop(black_box(decided.unwrap_or_else(|e| panic!("{e}"))));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap_or_else(|e| panic!("{e}"));
    }
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}
