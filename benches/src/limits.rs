//! Limits in this process, beside `governor`: nanoseconds per decision and bytes per key, and what passes at
//! the edge of a window.
//!
//! Each cell measures ours and the peer's in turn, many times, and reports the medians, so that what else
//! the machine does meets both alike. Each side reads its own clock in every call, as it would in a service.
#![allow(clippy::cast_precision_loss, reason = "counts of a bench are small")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::Instant;

use governor::RateLimiter;
use levqor::backend::memory::{Limiter, MemoryLimits};
use levqor::limits::{Op, Quota};
use levqor::types::{Millis, Tenant};
use peak_alloc::PeakAlloc;

use crate::harness::median;
use crate::results::Row;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PEER: &str = "governor";
const PEER_VERSION: &str = "0.10.4";
/// A quota under which every call passes: the usual case, and the dearer one.
const PER_SECOND: u32 = 1_000_000_000;
const ROUNDS: usize = 41;
const CALLS: usize = 120_000;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (label, count) in [("hot key", 1), ("100 k keys", 100_000), ("1 M keys", 1_000_000)] {
        rows.extend(cells("String", label, &strings(count)));
        rows.extend(cells("u64", label, &numbers(count)));
    }
    rows.push(refused());
    rows.extend(window_edge());
    rows.extend(eviction());
    rows
}

fn strings(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("user-{i:08}")).collect()
}

fn numbers(count: usize) -> Vec<[u8; 8]> {
    (0..count as u64).map(|i| (i * 7_919).to_le_bytes()).collect()
}

/// An order to ask for keys in, the same for both sides: without pattern, each equally often.
fn order(keys: usize) -> Vec<u32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let keys = keys as u64;
    let length = CALLS.max(2 * usize::try_from(keys).unwrap_or(0));
    (0..length).map(|_| u32::try_from(next() % keys).unwrap_or(0)).collect()
}

/// What can be a key of both sides.
trait Key: AsRef<[u8]> + Sync {
    type Peers: std::hash::Hash + Eq + Clone + Send + Sync + 'static;
    fn peers(&self) -> Self::Peers;
}

impl Key for String {
    type Peers = String;
    fn peers(&self) -> String {
        self.clone()
    }
}

impl Key for [u8; 8] {
    type Peers = u64;
    fn peers(&self) -> u64 {
        u64::from_le_bytes(*self)
    }
}

fn cells<K: Key>(kind: &str, label: &str, keys: &[K]) -> Vec<Row> {
    let theirs: Vec<K::Peers> = keys.iter().map(Key::peers).collect();
    let order = order(keys.len());

    let before = ALLOCATED.current_usage();
    let limits = MemoryLimits::with_capacity(1_250_000);
    let limiter =
        Limiter::of(limits, &Tenant::default(), "bench", Quota::per_second(PER_SECOND)).unwrap_or_else(|e| panic!("{e}"));
    for key in keys {
        black_box(limiter.check(key));
    }
    let ours_bytes = ALLOCATED.current_usage() - before;

    let before = ALLOCATED.current_usage();
    let quota = governor::Quota::per_second(NonZeroU32::new(PER_SECOND).unwrap_or(NonZeroU32::MIN));
    let peer = RateLimiter::keyed(quota);
    // The peer keeps its own copy of each key.
    for key in &theirs {
        let _ = black_box(peer.check_key(key));
    }
    let theirs_bytes = ALLOCATED.current_usage() - before;

    let mut rows = Vec::new();
    for threads in [1, 2] {
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        // Each round asks for other keys than the one before, so that none finds them in the cache.
        let parts = order.chunks_exact(CALLS).cycle();
        for part in parts.take(ROUNDS) {
            mine.push(round(threads, part, |i| limiter.check(&keys[i]).admitted));
            others.push(round(threads, part, |i| peer.check_key(&theirs[i]).is_ok()));
        }
        let name = format!(
            "{kind} keys, {label}, {threads} thread{}",
            if threads == 1 { "" } else { "s" }
        );
        rows.push(beside(name, median(mine), median(others), "ns"));
    }
    if keys.len() > 1 {
        let per_key = |bytes: usize| bytes as f64 / keys.len() as f64;
        let name = format!("{kind} keys, {label}, memory");
        rows.push(beside(name, per_key(ours_bytes), per_key(theirs_bytes), "bytes per key"));
    }
    rows
}

/// Nanoseconds per call while so many threads call, each in its own part of the order.
fn round(threads: usize, order: &[u32], call: impl Fn(usize) -> bool + Sync) -> f64 {
    let run = |part: &[u32]| {
        let start = Instant::now();
        for i in part {
            black_box(call(*i as usize));
        }
        start.elapsed().as_secs_f64() * 1e9 / part.len() as f64
    };
    if threads == 1 {
        return run(order);
    }
    let barrier = Barrier::new(threads);
    let part = order.len() / threads;
    std::thread::scope(|s| {
        let handles: Vec<_> = order
            .chunks_exact(part)
            .take(threads)
            .map(|mine| {
                let (barrier, run) = (&barrier, &run);
                s.spawn(move || {
                    barrier.wait();
                    run(mine)
                })
            })
            .collect();
        let times = handles.into_iter().map(|h| h.join().unwrap_or(f64::NAN));
        times.sum::<f64>() / threads as f64
    })
}

fn beside(name: String, ours: f64, theirs: f64, unit: &str) -> Row {
    Row {
        peer: Some(PEER.to_owned()),
        peer_version: Some(PEER_VERSION.to_owned()),
        theirs: Some(theirs),
        ratio: Some(theirs / ours),
        ..Row::new(name, ours, unit)
    }
}

/// A hot key whose quota is used up.
fn refused() -> Row {
    let limiter = Limiter::new(Quota::per_day(1)).unwrap_or_else(|e| panic!("{e}"));
    let quota = governor::Quota::with_period(std::time::Duration::from_hours(24));
    let peer = RateLimiter::keyed(quota.unwrap_or_else(|| panic!("a period of a day")));
    let key = "user-00000000".to_owned();
    let order = vec![0; CALLS];
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(round(1, &order, |_| limiter.check(&key).admitted));
        others.push(round(1, &order, |_| peer.check_key(&key).is_ok()));
    }
    beside(
        "String keys, hot key, refused, 1 thread".into(),
        median(mine),
        median(others),
        "ns",
    )
}

/// How many of 100 per second pass within 0.3 s, if callers come in masses 0.15 s before a boundary and
/// 0.15 s after it.
fn window_edge() -> Vec<Row> {
    let passed = |quota: &str| {
        let quota: Quota = quota.parse().unwrap_or_else(|e| panic!("{e}"));
        let limiter = Limiter::new(quota).unwrap_or_else(|e| panic!("{e}"));
        let edge = Millis(1_700_000_000_000);
        // One has come right after the boundary before, as with every window that is in use.
        black_box(limiter.take("key", 1, edge - Millis(999)));
        let mut passed = 0;
        for ms in -150..=150 {
            for _ in 0..10 {
                passed += u32::from(limiter.take("key", 1, edge + Millis(ms)).admitted);
            }
        }
        f64::from(passed)
    };
    [
        ("token bucket, burst 70", "100/second burst 70"),
        ("token bucket, burst 100", "100/second"),
        ("sliding log", "100/second log"),
        ("sliding window", "100/second sliding"),
        ("fixed window", "100/second fixed"),
    ]
    .map(|(label, quota)| Row::new(format!("window edge, {label}"), passed(quota), "of 100 within 0.3 s"))
    .into()
}

/// A million new keys through a limiter with room for a tenth of them.
fn eviction() -> Vec<Row> {
    let limits = MemoryLimits::with_capacity(100_000);
    let tenant = Tenant::default();
    let of = |name: &str, quota| Limiter::of(limits.clone(), &tenant, name, quota).unwrap_or_else(|e| panic!("{e}"));
    let now = Millis(1_700_000_000_000);
    let (used, blocked) = (of("used", Quota::per_day(5)), of("blocked", Quota::per_day(5)));
    let victims: Vec<String> = (0..1_000).map(|i| format!("victim-{i}")).collect();
    for key in &victims {
        black_box(used.take(key, 5, now));
        let block = levqor::limits::Ask::new("blocked", key.as_bytes(), Quota::per_day(5)).op(Op::Block(now + Millis::hours(1)));
        drop(black_box(limits.decide(&tenant, &[block], now)));
    }
    let flood = of("flood", Quota::per_day(10));
    let start = Instant::now();
    for i in 0..1_000_000_u64 {
        black_box(flood.take(i.to_le_bytes(), 1, now));
    }
    let ns = start.elapsed().as_secs_f64() * 1e9 / 1e6;
    let refused = |l: &Limiter| victims.iter().filter(|k| !l.take(k, 1, now).admitted).count() as f64 / 10.0;
    vec![
        Row::new("a new key that another makes room for", ns, "ns"),
        Row::new("used-up keys still refused after a flood", refused(&used), "%"),
        Row::new("blocked keys still refused after a flood", refused(&blocked), "%"),
    ]
}
