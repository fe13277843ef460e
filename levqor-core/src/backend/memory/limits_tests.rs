#![allow(clippy::unwrap_used)]

use std::sync::Barrier;

use super::*;
use crate::limits::behaviour::{self, T0};
use crate::limits::{Algorithm, HeaderStyle, Reason};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Gcra,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::SlidingLog,
];

#[tokio::test]
async fn it_decides_as_the_pure_rules_do() {
    for seed in 0..40 {
        let limits = MemoryLimits::new();
        behaviour::decides_as_the_pure_rules_do(&limits, &Tenant::default(), 300, seed).await;
    }
}

#[tokio::test]
async fn it_behaves_as_limits_do() {
    let limits = MemoryLimits::new();
    let t = |name| Tenant::new(name).unwrap();
    behaviour::several_limits_pass_together_or_not_at_all(&limits, &t("together")).await;
    behaviour::a_block_holds_for_its_time(&limits, &t("block")).await;
    behaviour::wrong_asks_are_errors(&limits, &t("wrong")).await;
    behaviour::agrees_with_the_vectors(&limits).await;
}

#[test]
fn the_future_is_ready_at_its_first_poll() {
    let limits = MemoryLimits::new();
    let tenant = Tenant::default();
    let asks = [Ask::new("a", "k", Quota::per_minute(1))];
    let mut future = limits.take(&tenant, &asks, T0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn eight_threads_on_one_key_get_exactly_the_limit() {
    for algorithm in ALGORITHMS {
        let limits = MemoryLimits::new();
        let quota = Quota::per_hour(4_000).algorithm(algorithm);
        let prepared = limits.prepare(&Tenant::default(), "hot", quota).unwrap();
        let barrier = Barrier::new(8);
        let admitted: usize = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    s.spawn(|| {
                        barrier.wait();
                        (0..1_000)
                            .filter(|_| limits.take_one(&prepared, b"key", 1, T0).admitted)
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
fn threads_that_ask_for_several_keys_in_any_order_neither_deadlock_nor_admit_too_much() {
    let limits = MemoryLimits::new();
    let tenant = Tenant::default();
    let ask = |name: &str, n: u32| Ask::new(name, "k", Quota::per_hour(n));
    let (ab, ba) = ([ask("a", 500), ask("b", 700)], [ask("b", 700), ask("a", 500)]);
    let admitted: usize = std::thread::scope(|s| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let (limits, tenant) = (&limits, &tenant);
                let asks = if i % 2 == 0 { &ab } else { &ba };
                s.spawn(move || (0..200).filter(|_| limits.decide(tenant, asks, T0).unwrap().admitted).count())
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(admitted, 500);
    let left = limits.decide(&tenant, &[ask("b", 700).cost(0)], T0).unwrap();
    assert_eq!(left.asks[0].remaining, 200, "no call charged b without a");
}

/// Fills the tables far beyond the cap with keys of one use each.
fn flood(limits: &MemoryLimits, quota: Quota, now: Millis, keys: u32) {
    let prepared = limits.prepare(&Tenant::default(), "flood", quota).unwrap();
    for i in 0..keys {
        assert!(limits.take_one(&prepared, &i.to_le_bytes(), 1, now).admitted);
    }
}

#[test]
fn a_flood_of_new_keys_frees_nobody_who_is_limited_or_blocked() {
    for algorithm in ALGORITHMS {
        let limits = MemoryLimits::with_capacity(2_000);
        let t = Tenant::default();
        let quota = Quota::per_hour(5).algorithm(algorithm);
        let spent: Vec<Ask> = (0..100).map(|i| Ask::new("spent", format!("s{i}"), quota)).collect();
        for ask in &spent {
            assert!(limits.decide(&t, &[ask.clone().cost(5)], T0).unwrap().admitted);
            let block = Ask::new("blocked", ask.key.clone(), quota).op(Op::Block(T0 + Millis::hours(1)));
            assert!(limits.decide(&t, &[block], T0).unwrap().admitted);
        }
        // Longer periods than the spent keys have, so that only their mark keeps these in the tables.
        flood(&limits, Quota::per_day(10).algorithm(algorithm), T0, 50_000);
        let stats = limits.stats();
        assert!(stats.keys <= 2_000 + SHARDS, "{algorithm:?}: {stats:?}");
        assert_eq!((stats.evicted_spent, stats.blocked), (0, 100), "{algorithm:?}: {stats:?}");
        assert!(stats.evicted_used > 40_000, "{algorithm:?}: {stats:?}");
        for ask in &spent {
            assert!(
                !limits.decide(&t, std::slice::from_ref(ask), T0).unwrap().admitted,
                "{algorithm:?}"
            );
            let blocked = Ask::new("blocked", ask.key.clone(), quota);
            assert_eq!(limits.decide(&t, &[blocked], T0).unwrap().reason, Some(Reason::Blocked));
        }
    }
}

#[test]
fn keys_that_stand_as_if_never_seen_go_first() {
    for algorithm in ALGORITHMS {
        let limits = MemoryLimits::with_capacity(9_600);
        flood(&limits, Quota::per_second(10).algorithm(algorithm), T0, 6_000);
        let later = T0 + Millis::secs(5);
        let prepared = limits
            .prepare(&Tenant::default(), "daily", Quota::per_day(10).algorithm(algorithm))
            .unwrap();
        for i in 0..5_000_u32 {
            limits.take_one(&prepared, &i.to_le_bytes(), 1, later);
        }
        let stats = limits.stats();
        assert!(stats.evicted_idle > 1_000, "{algorithm:?}: {stats:?}");
        assert_eq!((stats.evicted_used, stats.evicted_spent), (0, 0), "{algorithm:?}: {stats:?}");
        for i in 0..5_000_u32 {
            let left = limits.take_one(&prepared, &i.to_le_bytes(), 0, later).remaining;
            assert_eq!(left, 9, "{algorithm:?}: used keys stayed");
        }
    }
}

#[test]
fn when_all_are_spent_the_soonest_go_and_it_is_told() {
    let limits = MemoryLimits::with_capacity(640);
    flood(&limits, Quota::per_hour(1), T0, 5_000);
    let stats = limits.stats();
    assert!(stats.keys <= 640 && stats.evicted_spent > 4_000, "{stats:?}");
}

#[test]
fn blocks_are_never_dropped_for_new_ones() {
    let limits = MemoryLimits::with_capacity(64);
    let t = Tenant::default();
    let block = |i: u32, until: i64| {
        let ask = Ask::new("b", i.to_le_bytes(), Quota::per_hour(1)).op(Op::Block(T0 + Millis(until)));
        limits.decide(&t, &[ask], T0)
    };
    for i in 0..64 {
        assert!(block(i, 1_000).unwrap().admitted);
    }
    assert_eq!(block(64, 1_000).unwrap_err().code(), "limits.full");
    assert_eq!(limits.stats().blocked, 64);
    let ask = Ask::new("b", 64_u32.to_le_bytes(), Quota::per_hour(1)).op(Op::Block(T0 + Millis(3_000)));
    assert!(
        limits.decide(&t, &[ask], T0 + Millis(1_000)).unwrap().admitted,
        "the others have run out"
    );
    assert_eq!(limits.stats().blocked, 1);
}

#[test]
fn a_refund_of_everything_leaves_no_trace() {
    for algorithm in ALGORITHMS {
        let limits = MemoryLimits::new();
        let t = Tenant::default();
        let ask = Ask::new("a", "k", Quota::per_hour(5).algorithm(algorithm)).cost(3);
        assert!(limits.decide(&t, std::slice::from_ref(&ask), T0).unwrap().admitted);
        assert_eq!(limits.stats().keys, 1);
        assert!(limits.decide(&t, &[ask.op(Op::Refund)], T0).unwrap().admitted);
        assert_eq!(limits.stats().keys, 0, "{algorithm:?}");
    }
}

#[test]
fn a_decision_goes_through_json() {
    let limits = MemoryLimits::new();
    let asks = [
        Ask::new("a", "k", Quota::per_minute(0)),
        Ask::new("b", "k", Quota::per_minute(3)),
    ];
    let d = limits.decide(&Tenant::default(), &asks, T0).unwrap();
    let back: Decision = serde_json::from_value(serde_json::to_value(&d).unwrap()).unwrap();
    assert_eq!(back, d);
    assert_eq!(back.headers_in(HeaderStyle::Standard), d.headers_in(HeaderStyle::Standard));
}
