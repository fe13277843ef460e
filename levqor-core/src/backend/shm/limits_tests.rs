#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::PathBuf;
use std::sync::Barrier;

use super::*;
use crate::limits::behaviour::{self, T0};
use crate::limits::{Algorithm, Reason};
use crate::testkit::stores::Folder;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Gcra,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::SlidingLog,
];

fn file(folder: &Folder) -> PathBuf {
    folder.path().join("table.limits")
}

fn small(folder: &Folder) -> ShmLimits {
    ShmLimits::with_capacity(file(folder), 1_000).unwrap()
}

#[tokio::test]
async fn it_decides_as_the_pure_rules_do() {
    let folder = Folder::new();
    // Two handles, as two processes have.
    let limits = [small(&folder), small(&folder)];
    for seed in 0..40 {
        let tenant = Tenant::new(format!("t{seed}")).unwrap();
        let one = &limits[usize::try_from(seed % 2).unwrap()];
        behaviour::decides_as_the_pure_rules_do(one, &tenant, 300, seed).await;
    }
}

#[tokio::test]
async fn it_behaves_as_limits_do() {
    let folder = Folder::new();
    let limits = ShmLimits::open(file(&folder)).unwrap();
    let t = |name| Tenant::new(name).unwrap();
    behaviour::several_limits_pass_together_or_not_at_all(&limits, &t("together")).await;
    behaviour::a_block_holds_for_its_time(&limits, &t("block")).await;
    behaviour::wrong_asks_are_errors(&limits, &t("wrong")).await;
    behaviour::agrees_with_the_vectors(&limits).await;
    assert_eq!(limits.capacity(), 100_000);
}

#[test]
fn threads_on_two_handles_get_exactly_the_limit() {
    for algorithm in ALGORITHMS {
        let folder = Folder::new();
        let handles = [small(&folder), small(&folder)];
        let quota = Quota::per_hour(4_000).algorithm(algorithm);
        let barrier = Barrier::new(4);
        let admitted: usize = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    let (limits, barrier) = (&handles[i % 2], &barrier);
                    s.spawn(move || {
                        let prepared = limits.prepare(&Tenant::default(), "hot", quota).unwrap();
                        barrier.wait();
                        (0..2_000)
                            .filter(|_| limits.take_one(&prepared, b"key", 1, T0).unwrap().admitted)
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(admitted, 4_000, "{algorithm:?}");
    }
}

#[test]
fn what_was_counted_is_there_when_it_is_opened_again() {
    let folder = Folder::new();
    let ask = [Ask::new("a", "k", Quota::per_hour(3))];
    for left in [2, 1, 0] {
        let d = small(&folder).decide(&Tenant::default(), &ask, T0).unwrap();
        assert_eq!((d.admitted, d.asks[0].remaining), (true, left));
    }
    let d = ShmLimits::open(file(&folder))
        .unwrap()
        .decide(&Tenant::default(), &ask, T0)
        .unwrap();
    assert!(!d.admitted);
}

#[test]
fn a_full_table_forgets_what_matters_least_first() {
    // One bucket of each kind. Windows share theirs with blocks.
    for (algorithm, slots) in [(Algorithm::Gcra, 63), (Algorithm::FixedWindow, 61)] {
        let folder = Folder::new();
        let limits = ShmLimits::with_capacity(file(&folder), 10).unwrap();
        let t = Tenant::default();
        let hour = limits.prepare(&t, "hour", Quota::per_hour(2).algorithm(algorithm)).unwrap();
        let second = limits
            .prepare(&t, "second", Quota::per_second(2).algorithm(algorithm))
            .unwrap();
        let take = |p: &Prepared, i: u32, cost, now| limits.take_one(p, &i.to_le_bytes(), cost, now).unwrap().admitted;
        // A blocked key, one that is used up, and then keys that are used in part.
        let mallory = Ask::new("login", "mallory", Quota::per_hour(9).algorithm(algorithm));
        let block = [mallory.clone().op(Op::Block(T0 + Millis::hours(1)))];
        assert!(limits.decide(&t, &block, T0).unwrap().admitted);
        assert!(take(&hour, 0, 2, T0));
        for i in 1..30 {
            assert!(take(&second, i, 1, T0));
        }
        for i in 30..5_000 {
            assert!(take(&hour, i, 1, T0 + Millis::secs(2)));
        }
        let stats = limits.stats().unwrap();
        assert_eq!((stats.keys, stats.blocked), (slots, 1), "{algorithm:?}");
        assert_eq!((stats.evicted_idle, stats.evicted_spent), (29, 0), "{algorithm:?}");
        assert_eq!(stats.evicted_used, 5_000 - slots as u64 - 29, "{algorithm:?}");
        assert!(
            !take(&hour, 0, 1, T0 + Millis::secs(2)),
            "what is used up stays: {algorithm:?}"
        );
        let d = limits
            .decide(&t, std::slice::from_ref(&mallory), T0 + Millis::mins(59))
            .unwrap();
        assert_eq!(d.reason, Some(Reason::Blocked), "{algorithm:?}");
        assert!(limits.decide(&t, &[mallory], T0 + Millis::hours(1)).unwrap().admitted);
    }
}

#[test]
fn blocks_have_a_cap_and_are_never_dropped() {
    let folder = Folder::new();
    let limits = ShmLimits::with_capacity(file(&folder), 10).unwrap();
    let t = Tenant::default();
    let block = |i: u32| {
        let ask = Ask::new("b", i.to_le_bytes(), Quota::per_hour(1)).op(Op::Block(T0 + Millis(1_000)));
        limits.decide(&t, &[ask], T0)
    };
    for i in 0..62 {
        assert!(block(i).unwrap().admitted);
    }
    assert_eq!(block(62).unwrap_err().code(), "limits.full");
    let new = Ask::new("c", "k", Quota::per_hour(1).algorithm(Algorithm::FixedWindow));
    assert_eq!(
        limits.decide(&t, std::slice::from_ref(&new), T0).unwrap_err().code(),
        "limits.full"
    );
    for i in 0_u32..62 {
        let ask = Ask::new("b", i.to_le_bytes(), Quota::per_hour(1)).cost(0);
        assert_eq!(limits.decide(&t, &[ask], T0).unwrap().reason, Some(Reason::Blocked));
    }
    assert!(
        limits.decide(&t, &[new], T0 + Millis(1_000)).unwrap().admitted,
        "they have run out"
    );
}

#[test]
fn asks_of_one_call_do_not_make_way_for_each_other() {
    let folder = Folder::new();
    let limits = ShmLimits::with_capacity(file(&folder), 10).unwrap();
    let t = Tenant::default();
    for round in 0..400_u32 {
        let asks: Vec<Ask> = (0..16)
            .map(|i| Ask::new(format!("n{i}"), round.to_le_bytes(), Quota::per_hour(2)))
            .collect();
        assert!(limits.decide(&t, &asks, T0).unwrap().admitted);
        let again = limits.decide(&t, &asks, T0).unwrap();
        assert!(again.admitted && again.asks.iter().all(|a| a.remaining == 0), "round {round}");
        assert_eq!(limits.decide(&t, &asks, T0).unwrap().violated().count(), 16, "round {round}");
    }
}

#[test]
fn logs_of_every_length_are_exact_or_refused() {
    let folder = Folder::new();
    let limits = small(&folder);
    let t = Tenant::default();
    for limit in [1_u32, 14, 15, 126, 127, 1_100] {
        let quota = Quota::per_day(limit).algorithm(Algorithm::SlidingLog);
        let p = limits.prepare(&t, "log", quota).unwrap();
        let take = |i: u32| limits.take_one(&p, b"k", 1, T0 + Millis(i64::from(i))).unwrap();
        assert!((0..limit).all(|i| take(i).admitted), "{limit}");
        let refused = take(limit);
        assert_eq!(
            refused.retry_after,
            Some(Millis::hours(24) - Millis(i64::from(limit))),
            "{limit}"
        );
        // Penalties, to the bound.
        let ask = |op| [Ask::new("log", "k", quota).op(op).cost(1)];
        for i in 0..=limit {
            let now = T0 + Millis(i64::from(limit + i));
            assert!(limits.decide(&t, &ask(Op::Penalty), now).unwrap().admitted, "{limit}");
        }
    }
    limits
        .prepare(&t, "log", Quota::per_day(8_190).algorithm(Algorithm::SlidingLog))
        .unwrap();
    let long = Quota::per_day(8_191).algorithm(Algorithm::SlidingLog);
    let e = limits.prepare(&t, "log", long).unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Unsupported, "limits.log_too_long"));
    // A short period bounds the log whatever the limit.
    limits
        .prepare(&t, "log", Quota::per_second(100_000).algorithm(Algorithm::SlidingLog))
        .unwrap();
}

#[test]
fn another_layout_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(small(&folder));
    let code = |e: Error| (e.kind(), e.code().to_owned());
    let layout = (ErrorKind::Config, "limits.shm_layout".to_owned());
    assert_eq!(code(ShmLimits::with_capacity(file(&folder), 2_000).unwrap_err()), layout);
    let mut other = std::fs::read(file(&folder)).unwrap();
    other[8] = 99;
    std::fs::write(file(&folder), &other).unwrap();
    assert_eq!(code(ShmLimits::open(file(&folder)).unwrap_err()), layout);
    for foreign in [b"hello".to_vec(), vec![0; 10_000], b"SQLite format 3\0".to_vec()] {
        std::fs::write(file(&folder), &foreign).unwrap();
        assert_eq!(code(ShmLimits::open(file(&folder)).unwrap_err()), layout);
        assert_eq!(std::fs::read(file(&folder)).unwrap(), foreign);
    }
    let e = ShmLimits::open(folder.path().join("no/such/folder")).unwrap_err();
    assert_eq!(e.code(), "limits.shm_unreachable");
    let e = ShmLimits::with_capacity(file(&folder), 0).unwrap_err();
    assert_eq!(e.code(), "limits.shm_capacity");
}

#[test]
fn a_file_whose_maker_died_is_made_anew() {
    let folder = Folder::new();
    drop(small(&folder));
    let mut half = std::fs::read(file(&folder)).unwrap();
    half[..8].copy_from_slice(b"levqorL?");
    half.truncate(5_000);
    std::fs::write(file(&folder), &half).unwrap();
    let limits = small(&folder);
    let ask = [Ask::new("a", "k", Quota::per_hour(3))];
    assert!(limits.decide(&Tenant::default(), &ask, T0).unwrap().admitted);
}

#[test]
fn a_lock_that_was_left_is_freed_when_the_table_is_opened_alone() {
    use std::os::unix::fs::FileExt;
    let folder = Folder::new();
    let ask = [Ask::new("a", "k", Quota::per_hour(3))];
    let limits = ShmLimits::with_capacity(file(&folder), 10).unwrap();
    // As if process 1, which lives, held the lock: nobody may take it, and nobody waits for ever.
    let raw = std::fs::File::options().write(true).open(file(&folder)).unwrap();
    raw.write_all_at(&(1_u64 << 32).to_ne_bytes(), 4_096).unwrap();
    let started = std::time::Instant::now();
    let e = limits.decide(&Tenant::default(), &ask, T0).unwrap_err();
    assert_eq!((e.code(), e.retryable()), ("limits.busy", true));
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    drop(limits);
    let limits = ShmLimits::with_capacity(file(&folder), 10).unwrap();
    assert!(limits.decide(&Tenant::default(), &ask, T0).unwrap().admitted);
    drop(raw);
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    drop(small(&folder));
    let mode = std::fs::metadata(file(&folder)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A table that is cut short is not opened.
    std::fs::File::options()
        .write(true)
        .open(file(&folder))
        .unwrap()
        .set_len(8_192)
        .unwrap();
    assert_eq!(ShmLimits::open(file(&folder)).unwrap_err().code(), "limits.shm_unreachable");
    std::fs::File::create(file(&folder)).unwrap().write_all(b"").unwrap();
    small(&folder);
}
