//! Measuring: time per call, and how long this disk takes to make 4 KiB durable.

use std::fs::OpenOptions;
use std::future::Future;
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use levqor::error::{Error, Result};
use levqor::testkit::RunningPostgres;
use levqor::testkit::services::Service;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// Batches measured; the median of them is reported.
const BATCHES: usize = 21;
/// How long one batch should take.
const BATCH: Duration = Duration::from_millis(20);

/// Nanoseconds per call of `f`: the median of several batches, each long enough for the clock.
pub(crate) fn ns_per_call<T>(mut f: impl FnMut() -> T) -> f64 {
    // Grow the batch until it fills its time; this warms up as well.
    let mut calls: u32 = 1;
    loop {
        let took = batch(calls, &mut f);
        if took >= BATCH || calls > u32::MAX / 2 {
            break;
        }
        calls *= 2;
    }
    median(
        (0..BATCHES)
            .map(|_| batch(calls, &mut f).as_secs_f64() * 1e9 / f64::from(calls))
            .collect(),
    )
}

fn batch<T>(calls: u32, f: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(f());
    }
    start.elapsed()
}

/// Microseconds (p50 of so many) from a write of 4 KiB to its being durable in `folder`.
///
/// A durable commit cannot be faster than this, so no number about commits means anything without it.
pub(crate) fn fsync_p50_us(folder: &Path, writes: u64) -> std::io::Result<f64> {
    let path = folder.join(format!("fsync-probe-{}", std::process::id()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = [7_u8; 4096];
    // The file gets its size first: a commit overwrites a log more often than it grows one.
    for _ in 0..16 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for i in 0..writes {
        file.seek(SeekFrom::Start(i % 16 * 4096))?;
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(median(times))
}

/// The value below which a part of some measurements lie; zero of none.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

/// The middle one of some measurements; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Runs a section that waits, on as many threads as a host would have here.
pub(crate) fn block_on<T>(section: impl Future<Output = Result<T>>) -> std::result::Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime: {e}"))?;
    runtime.block_on(section).map_err(|e| e.to_string())
}

/// A folder for databases, beside this program (on the disk whose fsync is measured), removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub(crate) fn new(section: &str) -> Result<Self> {
        let path = crate::target_folder().join(format!("levqor-bench-{section}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| Error::unavailable("bench.no_folder", format!("{}: {e}", path.display())))?;
        Ok(Folder(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The URL of a SQLite database in it.
    pub(crate) fn sqlite(&self, name: &str) -> String {
        format!("sqlite://{}/{name}.db", self.0.display())
    }
}

/// A private Postgres that keeps what it says (fsync and synchronous commit are on), with the memory that a small
/// server would be given.
pub(crate) fn postgres() -> RunningPostgres {
    Service::postgres_with(&["shared_buffers=256MB", "max_wal_size=2GB"])
}

/// The URL of a new database on a server.
pub(crate) async fn database(server: &RunningPostgres, name: &str) -> Result<String> {
    let made = async {
        let mut conn = PgConnection::connect(&server.url("postgres")).await?;
        conn.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        conn.close().await
    };
    made.await
        .map_err(|e| Error::unavailable("bench.no_database", format!("the database {name}: {e}")))?;
    Ok(server.url(name))
}

/// Calls `call` from so many callers until the time is over. Answers calls per second, and the milliseconds of each.
pub(crate) async fn callers<C, F>(count: usize, span: Duration, call: C) -> Result<(f64, Vec<f64>)>
where
    C: Fn(usize, usize) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let start = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..count {
        let call = call.clone();
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < span {
                let begin = Instant::now();
                call(caller, times.len()).await?;
                times.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, Error>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.map_err(|e| Error::internal(e.to_string()))??);
    }
    Ok((times.len() as f64 / start.elapsed().as_secs_f64(), times))
}

/// Does `each` for the numbers below `n`, by so many callers at a time; answers the seconds it took.
pub(crate) async fn spread<C, F>(n: usize, count: usize, each: C) -> Result<f64>
where
    C: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let start = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..count {
        let each = each.clone();
        tasks.push(tokio::spawn(async move {
            for i in (caller..n).step_by(count) {
                each(i).await?;
            }
            Ok::<_, Error>(())
        }));
    }
    for task in tasks {
        task.await.map_err(|e| Error::internal(e.to_string()))??;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Numbers without pattern, the same in every run.
pub(crate) fn scattered(n: usize) -> usize {
    // Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): the finaliser.
    let mut z = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or_default()
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slower_function_takes_longer() {
        let short = ns_per_call(|| (0..black_box(10_u64)).map(black_box).sum::<u64>());
        let long = ns_per_call(|| (0..black_box(10_000_u64)).map(black_box).sum::<u64>());
        assert!(short > 0.0 && long > short * 10.0, "{short} ns, {long} ns");
    }

    #[test]
    fn the_probe_takes_time_and_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("levqor-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(fsync_p50_us(&folder, 50).unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]).to_bits(), 5.0_f64.to_bits());
        assert_eq!(median(vec![]).to_bits(), 0.0_f64.to_bits());
    }
}
