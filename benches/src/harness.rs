//! Measuring: time per call, and how long this disk takes to make 4 KiB durable.

use std::fs::OpenOptions;
use std::future::Future;
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// Microseconds (p50 of 200) from a write of 4 KiB to its being durable in `folder`.
///
/// A durable commit cannot be faster than this, so no number about commits means anything without it.
pub(crate) fn fsync_p50_us(folder: &Path) -> std::io::Result<f64> {
    let path = folder.join(format!("fsync-probe-{}", std::process::id()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = [7_u8; 4096];
    // The file gets its size first: a commit overwrites a log more often than it grows one.
    for _ in 0..16 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for i in 0..200 {
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

/// The middle one of some measurements; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Runs a section that waits, on as many threads as a host would have here.
pub(crate) fn block_on<T>(section: impl Future<Output = levqor::error::Result<T>>) -> Result<T, String> {
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
    pub(crate) fn new(section: &str) -> levqor::error::Result<Self> {
        let path = crate::target_folder().join(format!("levqor-bench-{section}-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|e| levqor::error::Error::unavailable("bench.no_folder", format!("{}: {e}", path.display())))?;
        Ok(Folder(path))
    }

    /// The URL of a SQLite database in it.
    pub(crate) fn sqlite(&self, name: &str) -> String {
        format!("sqlite://{}/{name}.db", self.0.display())
    }
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
        assert!(fsync_p50_us(&folder).unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]).to_bits(), 5.0_f64.to_bits());
        assert_eq!(median(vec![]).to_bits(), 0.0_f64.to_bits());
    }
}
