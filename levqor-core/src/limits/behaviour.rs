//! What limits of every backend must do: compared with the pure rules call by call, and with the golden
//! vectors that Rust, Python and Node share.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::Value;

use super::policy::{Verdict, instant};
use super::*;
use crate::types::{Millis, Tenant};

pub(crate) const T0: Millis = Millis(1_700_000_000_000);

/// The specification: a map of states, and the pure rules.
#[derive(Default)]
pub(crate) struct Model {
    states: HashMap<(String, Vec<u8>, String), State>,
    blocks: HashMap<(String, Vec<u8>), i64>,
}

impl Model {
    pub(crate) fn decide(&mut self, asks: &[Ask], now: Millis) -> Decision {
        let slot = |a: &Ask| {
            let q = a.quota;
            (
                a.name.to_string(),
                a.key.clone(),
                format!("{:?} {} {}", q.algorithm_used(), q.limit(), q.period()),
            )
        };
        let mut next = Vec::new();
        for ask in asks {
            let rule = ask.quota.rule().unwrap();
            let state = self.states.get(&slot(ask)).cloned().unwrap_or_else(|| rule.unseen());
            let (mut verdict, after) = rule.decide(state.clone(), ask.op, ask.cost, now);
            let blocked = self
                .blocks
                .get(&(ask.name.to_string(), ask.key.clone()))
                .copied()
                .unwrap_or(0)
                - instant(now);
            if blocked > 0 && ask.op.can_refuse() && verdict.reason != Some(Reason::TooCostly) {
                let (unchanged, _) = rule.decide(state.clone(), Op::Peek, ask.cost, now);
                let wait = verdict.retry_after.unwrap_or_default().max(Millis(blocked));
                verdict = Verdict {
                    admitted: false,
                    ready_after: Millis::ZERO,
                    retry_after: Some(wait),
                    reason: Some(Reason::Blocked),
                    ..unchanged
                };
            }
            next.push((ask, state, verdict, after));
        }
        let all = next.iter().all(|(_, _, v, _)| v.admitted);
        let verdicts: Vec<Verdict> = next
            .into_iter()
            .map(|(ask, state, verdict, after)| {
                if !all {
                    // Nothing is done, so how the key stands is told as it was.
                    let (unchanged, _) = ask.quota.rule().unwrap().decide(state, Op::Peek, 0, now);
                    return Verdict {
                        remaining: unchanged.remaining,
                        reset_after: unchanged.reset_after,
                        ..verdict
                    };
                }
                self.states.insert(slot(ask), after);
                let block = (ask.name.to_string(), ask.key.clone());
                match ask.op {
                    Op::Block(until) if until > now => drop(self.blocks.insert(block, instant(until))),
                    Op::Block(_) | Op::Reset => drop(self.blocks.remove(&block)),
                    _ => {}
                }
                verdict
            })
            .collect();
        Decision::new(asks, verdicts, now)
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let windows = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::SlidingLog),
        Just(Algorithm::Concurrency)
    ];
    let periods = prop_oneof![Just(7_i64), Just(1_000), Just(60_000), 1_i64..100_000];
    prop_oneof![
        (0_u32..12, periods.clone(), windows).prop_map(|(n, p, a)| Quota::new(n, Millis(p)).algorithm(a)),
        (0_u32..12, periods.clone(), 1_u32..15).prop_map(|(n, p, b)| Quota::new(n, Millis(p)).burst(b)),
        (900_000_u32..1_000_000, periods).prop_map(|(n, p)| Quota::new(n, Millis(p))),
        Just(Quota::per_second(999_983).burst(500_000_000)),
        Just(Quota::new(1_000_000, Millis(1_000_000)).algorithm(Algorithm::SlidingWindow)),
        Just(Quota::new(3, MAX_PERIOD)),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => Just(Op::Take),
        2 => Just(Op::Peek),
        2 => Just(Op::Refund),
        1 => Just(Op::Penalty),
        1 => Just(Op::Reset),
        1 => (-1_000_i64..3_000).prop_map(|ms| Op::Block(T0 + Millis(ms))),
        2 => (0_i64..3_000).prop_map(|ms| Op::Queue(Millis(ms))),
        // Instants are chosen among those of the last calls.
        3 => (0_i64..8).prop_map(|n| Op::Release(Millis(n))),
        2 => (0_i64..8).prop_map(|n| Op::Renew(Millis(n))),
    ]
}

/// Random calls over few quotas and keys, on a clock that mostly runs forward: every decision must be the
/// model's. `calls` of them, from a fixed seed so that a failure can be repeated.
pub(crate) async fn decides_as_the_pure_rules_do(limits: &dyn Limits, tenant: &Tenant, calls: usize, seed: u64) {
    let config = Config {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let set = prop::collection::vec(quotas(), 6).new_tree(&mut runner).unwrap().current();
    let ask = (0..set.len(), 0_u8..3, 0_u32..7, any::<bool>(), ops());
    let call = (
        prop::collection::vec(ask, 1..4),
        prop_oneof![6 => 0_i64..300, 2 => 0_i64..60_000, 1 => -90_000_i64..0],
    );
    let (mut model, mut now, mut times) = (Model::default(), T0, vec![T0; 8]);
    for n in 0..calls {
        let (asks, gap) = call.new_tree(&mut runner).unwrap().current();
        now = now + Millis(gap);
        times.push(now);
        let asks: Vec<Ask> = asks
            .into_iter()
            .map(|(q, key, cost, large, op)| {
                let cost = if large && set[q].limit() > 100 { cost * 137_731 } else { cost };
                let nth = |n: Millis| times[times.len() - 1 - usize::try_from(n.0).unwrap()];
                let op = match op {
                    Op::Block(until) => Op::Block(until - T0 + now),
                    Op::Queue(_) if set[q].algorithm_used() != Algorithm::Gcra => Op::Take,
                    Op::Release(_) if set[q].algorithm_used() != Algorithm::Concurrency => Op::Refund,
                    Op::Renew(_) if set[q].algorithm_used() != Algorithm::Concurrency => Op::Take,
                    Op::Release(n) => Op::Release(nth(n)),
                    Op::Renew(n) => Op::Renew(nth(n)),
                    op => op,
                };
                Ask::new(format!("q{}", q % 4), vec![key, 0, 0xff], set[q]).cost(cost).op(op)
            })
            .collect();
        if check_asks(&asks).is_err() {
            continue;
        }
        let expected = model.decide(&asks, now);
        let found = limits.take(tenant, &asks, now).await.unwrap();
        assert_eq!(found, expected, "call {n} of seed {seed} at {now:?}: {asks:?}");
    }
}

/// All of several limits are charged, or none.
pub(crate) async fn several_limits_pass_together_or_not_at_all(limits: &dyn Limits, tenant: &Tenant) {
    let user = Ask::new("user", "u", Quota::per_minute(60));
    let ip = Ask::new("ip", "1.2.3.4", Quota::per_minute(20));
    let global = Ask::new("global", "", Quota::per_minute(5).algorithm(Algorithm::SlidingLog));
    let all = [user.clone(), ip.clone(), global.clone()];
    let mut admitted = 0;
    for _ in 0..10 {
        admitted += u32::from(limits.take(tenant, &all, T0).await.unwrap().admitted);
    }
    assert_eq!(admitted, 5);
    for (ask, left) in [(user, 55), (ip, 15), (global, 0)] {
        let d = limits.take(tenant, &[ask.cost(0)], T0).await.unwrap();
        assert_eq!(d.asks[0].remaining, left, "{}", d.asks[0].name);
    }
}

/// A block holds whatever the quota says, for its time, under every quota of the name.
pub(crate) async fn a_block_holds_for_its_time(limits: &dyn Limits, tenant: &Tenant) {
    let ask = Ask::new("login", "mallory", Quota::per_minute(60));
    let until = T0 + Millis::mins(10);
    let _ = limits.take(tenant, &[ask.clone().op(Op::Block(until))], T0).await.unwrap();
    let other_tier = Ask::new("login", "mallory", Quota::per_hour(9).algorithm(Algorithm::FixedWindow));
    for a in [&ask, &other_tier] {
        let d = limits.take(tenant, std::slice::from_ref(a), until - Millis(1)).await.unwrap();
        assert_eq!((d.reason, d.retry_after), (Some(Reason::Blocked), Some(Millis(1))));
        assert!(limits.take(tenant, std::slice::from_ref(a), until).await.unwrap().admitted);
    }
    let bob = Ask::new("login", "bob", Quota::per_minute(60));
    assert!(limits.take(tenant, &[bob], T0).await.unwrap().admitted);
    let other = Tenant::new("another").unwrap();
    assert!(
        limits.take(&other, &[ask], T0).await.unwrap().admitted,
        "tenants do not share blocks"
    );
}

/// Wrong asks are errors before anything is touched.
pub(crate) async fn wrong_asks_are_errors(limits: &dyn Limits, tenant: &Tenant) {
    let q = Quota::per_minute(1);
    let twice = [Ask::new("dup", "k", q), Ask::new("dup", "k", q)];
    assert_eq!(
        limits.take(tenant, &twice, T0).await.unwrap_err().code(),
        "limits.duplicate_ask"
    );
    assert!(limits.take(tenant, &twice[..1], T0).await.unwrap().admitted);
    assert!(limits.take(tenant, &[], T0).await.unwrap().admitted);
    let long = Ask::new("long", vec![7; MAX_KEY], q);
    assert!(limits.take(tenant, std::slice::from_ref(&long), T0).await.unwrap().admitted);
    let mut longer = vec![7; MAX_KEY - 1];
    longer.push(8);
    assert!(
        limits
            .take(tenant, &[Ask::new("long", longer, q)], T0)
            .await
            .unwrap()
            .admitted,
        "another key"
    );
    assert!(!limits.take(tenant, &[long], T0).await.unwrap().admitted);
}

fn vector_ask(ask: &Value) -> Ask {
    let op = match ask["op"].as_str() {
        None | Some("take") => Op::Take,
        Some("peek") => Op::Peek,
        Some("refund") => Op::Refund,
        Some("penalty") => Op::Penalty,
        Some("reset") => Op::Reset,
        Some("queue") => Op::Queue(Millis(ask["patience_ms"].as_i64().unwrap())),
        Some("release") => Op::Release(Millis(ask["taken_ms"].as_i64().unwrap())),
        Some("renew") => Op::Renew(Millis(ask["taken_ms"].as_i64().unwrap())),
        Some("block") => Op::Block(Millis(ask["until_ms"].as_i64().unwrap())),
        Some(other) => panic!("unknown op {other}"),
    };
    let quota: Quota = serde_json::from_value(ask["quota"].clone()).unwrap();
    let cost = ask["cost"].as_u64().map_or(1, |n| u32::try_from(n).unwrap());
    Ask::new(ask["name"].as_str().unwrap(), ask["key"].as_str().unwrap(), quota)
        .cost(cost)
        .op(op)
}

/// The golden vectors, each case under its own tenant.
pub(crate) async fn agrees_with_the_vectors(limits: &dyn Limits) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/limits.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for (i, case) in cases.iter().enumerate() {
        let tenant = Tenant::new(format!("vector-{i}")).unwrap();
        for (n, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let asks: Vec<Ask> = step["asks"].as_array().unwrap().iter().map(vector_ask).collect();
            let at = Millis(step["at_ms"].as_i64().unwrap());
            let d = limits.take(&tenant, &asks, at).await.unwrap();
            let place = format!("{} step {n}", case["name"]);
            let expected = &step["expect"];
            assert_eq!(d.admitted, expected["admitted"].as_bool().unwrap(), "{place}");
            let ms = |m: Option<Millis>| m.map_or(Value::Null, |m| m.0.into());
            assert_eq!(ms(d.retry_after), expected["retry_after_ms"], "{place}");
            assert_eq!(d.ready_after.0, expected["ready_after_ms"].as_i64().unwrap_or(0), "{place}");
            assert_eq!(serde_json::to_value(d.reason).unwrap(), expected["reason"], "{place}");
            for (a, e) in d.asks.iter().zip(expected["asks"].as_array().unwrap()) {
                assert_eq!(a.admitted, e["admitted"].as_bool().unwrap(), "{place} {}", a.name);
                assert_eq!(u64::from(a.remaining), e["remaining"].as_u64().unwrap(), "{place} {}", a.name);
                assert_eq!(ms(Some(a.reset_after)), e["reset_after_ms"], "{place} {}", a.name);
                assert_eq!(ms(a.retry_after), e["retry_after_ms"], "{place} {}", a.name);
            }
            let headers: serde_json::Map<String, Value> = d.headers().into_iter().map(|(n, v)| (n, v.into())).collect();
            assert_eq!(Value::Object(headers), expected["headers"], "{place}");
        }
    }
}
