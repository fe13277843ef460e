#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::clock::SystemClock;
use crate::limits::Quota;
use crate::limits::behaviour::{self, T0};
use crate::testkit::exact;
use crate::testkit::services::{RunningService, Service};

/// The promise: whatever Redis does, an answer within this time.
const PROMISED: Duration = Duration::from_millis(150);
const BACK_WITHIN: Duration = Duration::from_secs(2);

fn limits(redis: &RunningService) -> RedisLimits {
    RedisLimits::new(RedisLink::new(&redis.url()).unwrap())
}

#[tokio::test]
async fn it_decides_as_the_pure_rules_do() {
    let redis = Service::redis();
    for seed in 0..20 {
        let limits = limits(&redis).time(TimeSource::Caller);
        let tenant = Tenant::new(format!("t{seed}")).unwrap();
        behaviour::decides_as_the_pure_rules_do(&limits, &tenant, 300, seed).await;
    }
}

#[tokio::test]
async fn it_behaves_as_limits_do() {
    let redis = Service::redis();
    let limits = limits(&redis).time(TimeSource::Caller);
    let t = |name| Tenant::new(name).unwrap();
    behaviour::several_limits_pass_together_or_not_at_all(&limits, &t("together")).await;
    behaviour::a_block_holds_for_its_time(&limits, &t("block")).await;
    behaviour::wrong_asks_are_errors(&limits, &t("wrong")).await;
    behaviour::agrees_with_the_vectors(&limits).await;
}

#[tokio::test]
async fn many_links_on_one_key_get_exactly_the_limit_by_redis_own_clock() {
    let redis = Service::redis();
    let mut tasks = Vec::new();
    for host in 0..4_i64 {
        let limits = limits(&redis).on_down(OnDown::Closed);
        tasks.push(tokio::spawn(async move {
            let ask = [Ask::new("hot", "key", Quota::per_day(100))];
            let (mut admitted, mut degraded) = (0, 0);
            for _ in 0..50 {
                // Every host's clock is an hour off the next one's, which must not matter.
                let now = T0 + Millis::hours(host);
                let d = limits.take(&Tenant::default(), &ask, now).await.unwrap();
                admitted += u32::from(d.admitted);
                degraded += u32::from(d.degraded);
            }
            (admitted, degraded)
        }));
    }
    let (mut admitted, mut degraded) = (0, 0);
    for task in tasks {
        let (a, d) = task.await.unwrap();
        admitted += a;
        degraded += d;
    }
    assert_eq!((admitted, degraded), (100, 0));
}

#[tokio::test]
async fn four_processes_get_what_one_would() {
    if exact::serve(async |url| RedisLimits::new(RedisLink::new(&url).unwrap()).time(TimeSource::Caller)).await {
        return;
    }
    let redis = Service::redis();
    let mut workers = exact::Workers::start(module_path!(), "four_processes_get_what_one_would", 4, &redis.url());
    exact::at_fixed_instants(&mut workers);
}

#[tokio::test]
async fn four_processes_get_what_one_would_by_redis_own_clock() {
    if exact::serve(async |url| RedisLimits::new(RedisLink::new(&url).unwrap())).await {
        return;
    }
    let redis = Service::redis();
    let test = "four_processes_get_what_one_would_by_redis_own_clock";
    let mut workers = exact::Workers::start(module_path!(), test, 4, &redis.url());
    exact::by_the_clock_of_the_store(&mut workers, 2_000);
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let redis = Service::redis();
    let limits = limits(&redis);
    let ask = [Ask::new("a", "k", Quota::per_day(2))];
    let t = Tenant::default();
    assert!(limits.take(&t, &ask, T0).await.unwrap().admitted);
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    limits.link.command::<()>(&flush).await.unwrap();
    let d = limits.take(&t, &ask, T0).await.unwrap();
    assert_eq!((d.admitted, d.degraded, d.asks[0].remaining), (true, false, 0));
}

#[tokio::test]
async fn keys_carry_the_prefix_and_leave_by_themselves() {
    let redis = Service::redis();
    let limits = limits(&redis);
    let t = Tenant::new("acme").unwrap();
    for algorithm in ["gcra", "fixed", "sliding", "log"] {
        let quota = format!("5/minute {algorithm}").parse().unwrap();
        let block = Op::Block(SystemClock::machine() + Millis::mins(1));
        let d = limits.take(&t, &[Ask::new(algorithm, "k", quota)], T0).await.unwrap();
        assert!(d.admitted && !d.degraded);
        assert!(
            limits
                .take(&t, &[Ask::new(algorithm, "k", quota).op(block)], T0)
                .await
                .unwrap()
                .admitted
        );
    }
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let keys: Vec<String> = limits.link.command(&all).await.unwrap();
    assert_eq!(keys.len(), 9, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("levqor:{acme}:"), "{key}");
        let mut life = redis::cmd("PTTL");
        life.arg(&key);
        let life: i64 = limits.link.command(&life).await.unwrap();
        assert!((1..=122_000).contains(&life), "{key} lives {life} ms");
    }
}

/// Calls until an answer comes from Redis; every answer on the way must come in time.
async fn until_back(limits: &RedisLimits, ask: &[Ask], since: Instant) {
    loop {
        let start = Instant::now();
        let d = limits.take(&Tenant::default(), ask, T0).await.unwrap();
        assert!(start.elapsed() < PROMISED, "took {:?}", start.elapsed());
        if !d.degraded {
            break;
        }
        assert!(since.elapsed() < BACK_WITHIN, "Redis is back, but not used");
        tokio::task::yield_now().await;
    }
}

async fn down(limits: &RedisLimits, ask: &[Ask]) -> Decision {
    let start = Instant::now();
    let d = limits.take(&Tenant::default(), ask, T0).await.unwrap();
    assert!(start.elapsed() < PROMISED, "took {:?}", start.elapsed());
    assert!(d.degraded);
    d
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_delays_nobody_and_is_used_again_when_it_thaws() {
    let redis = Service::redis();
    let ask = [
        Ask::new("a", "k", Quota::per_day(8)),
        Ask::new("b", "k", Quota::per_day(100_000)),
    ];
    let local = limits(&redis).on_down(OnDown::Local { shares: 4 });
    let open = limits(&redis).on_down(OnDown::Open);
    let closed = limits(&redis).on_down(OnDown::Closed);
    for l in [&local, &open, &closed] {
        assert!(!l.take(&Tenant::default(), &ask, T0).await.unwrap().degraded);
    }
    redis.freeze();
    let admitted = {
        let mut n = 0;
        for _ in 0..20 {
            n += u32::from(down(&local, &ask).await.admitted);
        }
        n
    };
    assert_eq!(admitted, 2, "a quarter of the limit in each of four processes");
    for _ in 0..20 {
        assert!(down(&open, &ask).await.admitted);
        let d = down(&closed, &ask).await;
        assert_eq!((d.admitted, d.reason), (false, Some(Reason::Unavailable)));
        assert_eq!(d.admit().unwrap_err().kind(), crate::error::ErrorKind::Unavailable);
    }
    let block = [ask[0].clone().op(Op::Block(T0))];
    let e = local.take(&Tenant::default(), &block, T0).await.unwrap_err();
    assert_eq!(e.code(), "limits.unavailable", "a block that would be lost is an error");
    let thawed = Instant::now();
    redis.thaw();
    for l in [&local, &open, &closed] {
        until_back(l, &[ask[1].clone().cost(0)], thawed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_a_frozen_redis_all_get_their_answer_in_time() {
    let redis = Service::redis();
    let limits = std::sync::Arc::new(limits(&redis).on_down(OnDown::Open));
    let ask = Ask::new("a", "k", Quota::per_day(8));
    assert!(
        !limits
            .take(&Tenant::default(), std::slice::from_ref(&ask), T0)
            .await
            .unwrap()
            .degraded
    );
    redis.freeze();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (limits, ask) = (limits.clone(), [ask.clone()]);
            tokio::spawn(async move { down(&limits, &ask).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().admitted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_or_was_never_there_is_used_once_it_comes() {
    let mut redis = Service::redis();
    let ask = [Ask::new("a", "k", Quota::per_day(5_000_000)).cost(0)];
    redis.kill();
    let limits = limits(&redis).on_down(OnDown::Open);
    for _ in 0..20 {
        assert!(down(&limits, &ask).await.admitted);
    }
    redis.restart();
    until_back(&limits, &ask, Instant::now()).await;
    redis.kill();
    for _ in 0..20 {
        assert!(down(&limits, &ask).await.admitted);
    }
    redis.restart();
    until_back(&limits, &ask, Instant::now()).await;
}

#[test]
fn the_address_of_redis_is_never_shown() {
    let link = RedisLink::new("redis://user:geheim@127.0.0.1:1/").unwrap();
    assert!(!format!("{link:?} {:?}", RedisLimits::new(link.clone())).contains("geheim"));
    let e = RedisLink::new("http://user:geheim@host/").unwrap_err();
    assert_eq!(e.code(), "redis.invalid_url");
    assert!(!format!("{e:?}").contains("geheim"));
}
