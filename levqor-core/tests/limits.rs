//! Limits by name, as a host uses them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use levqor_core::backend::Backend;
use levqor_core::clock::{Clock, ManualClock};
use levqor_core::engine::Engine;
use levqor_core::error::ErrorKind;
use levqor_core::limits::{Policies, Reason, Subject};
use levqor_core::types::Millis;

const T0: Millis = Millis(1_700_000_000_000);

fn engine(policies: Policies) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(T0));
    let engine = Engine::builder(Backend::memory())
        .clock(clock.clone())
        .limits(policies)
        .build()
        .unwrap();
    (engine, clock)
}

fn of(text: &str) -> (Engine, Arc<ManualClock>) {
    engine(text.parse().unwrap())
}

fn user(name: &str) -> Subject {
    Subject::new().user(name)
}

async fn admitted(engine: &Engine, who: &Subject, calls: usize) -> usize {
    let mut n = 0;
    for _ in 0..calls {
        n += usize::from(engine.limits().take(who).await.unwrap().admitted);
    }
    n
}

#[tokio::test]
async fn without_a_word_users_addresses_and_all_together_are_limited() {
    let (engine, _) = engine(Policies::default());
    let ip = |n: u8| std::net::IpAddr::from([203, 0, 113, n]);
    assert_eq!(admitted(&engine, &user("ann").ip(ip(1)), 30).await, 20, "20 for an address");
    assert_eq!(admitted(&engine, &user("ann"), 70).await, 40, "and 60 for a user");
    assert_eq!(admitted(&engine, &user("bob"), 100).await, 60);
    assert_eq!(admitted(&engine, &user("cy"), 100).await, 60);
    assert_eq!(admitted(&engine, &user("dee"), 100).await, 20, "and 200 for all");
    let d = engine.limits().take(&user("eve").ip(ip(2))).await.unwrap();
    assert_eq!(d.violated().collect::<Vec<_>>(), ["global"]);
    let left: Vec<u32> = d.asks.iter().map(|a| a.remaining).collect();
    assert_eq!(left, [60, 20, 0], "a refused call costs nothing");
}

#[tokio::test]
async fn lists_come_before_every_limit() {
    let (engine, _) = of("user: 1/minute by user\nallow user admin\ndeny user mallory");
    assert_eq!(admitted(&engine, &user("admin"), 9).await, 9);
    assert_eq!(admitted(&engine, &user("mallory"), 9).await, 0);
    assert_eq!(admitted(&engine, &user("ann"), 9).await, 1);
    let d = engine.limits().peek(&user("mallory")).await.unwrap();
    assert_eq!((d.reason, d.retry_after), (Some(Reason::Denied), None));
    let e = d.admit().unwrap_err();
    assert_eq!(
        (e.kind(), e.code(), e.retryable()),
        (ErrorKind::Denied, "limits.denied", false)
    );
    let now = engine.limits().take_now(&user("mallory")).unwrap().unwrap();
    assert!(!now.admitted);
}

#[tokio::test]
async fn a_dry_run_tells_and_refuses_nobody() {
    let (engine, _) = of("user: 5/minute by user\nstrict: 2/minute by user; dry-run");
    let mut told = Vec::new();
    for _ in 0..6 {
        let d = engine.limits().take(&user("ann")).await.unwrap();
        assert!(!d.headers().iter().any(|(_, v)| v.contains("strict")));
        told.push((d.admitted, d.shadow[0].admitted));
    }
    assert_eq!(
        told,
        [
            (true, true),
            (true, true),
            (true, false),
            (true, false),
            (true, false),
            (false, false)
        ]
    );
}

#[tokio::test]
async fn only_what_fails_counts_if_the_host_charges_after_the_answer() {
    let (engine, clock) = of("login: 3/hour by user\nall: 100/second");
    let login = || engine.limits().only(&["login"]).unwrap();
    let ann = user("ann");
    for _ in 0..10 {
        assert!(login().peek(&ann).await.unwrap().admitted, "right passwords cost nothing");
    }
    for _ in 0..3 {
        assert!(login().peek(&ann).await.unwrap().admitted);
        let _ = login().charge(&ann).await.unwrap();
    }
    assert!(!login().peek(&ann).await.unwrap().admitted);
    let _ = login().refund(&ann).await.unwrap();
    assert!(login().peek(&ann).await.unwrap().admitted);
    let _ = login().block(&ann, Millis::mins(5)).await.unwrap();
    clock.advance(Millis::mins(4));
    assert_eq!(login().peek(&ann).await.unwrap().reason, Some(Reason::Blocked));
    let _ = login().unblock(&ann).await.unwrap();
    assert!(login().peek(&ann).await.unwrap().admitted);
    let _ = login().charge(&ann.clone().cost(3)).await.unwrap();
    let _ = login().reset(&ann).await.unwrap();
    assert_eq!(login().peek(&ann).await.unwrap().asks[0].remaining, 3);
    assert_eq!(
        engine.limits().peek(&ann).await.unwrap().asks[1].remaining,
        100,
        "nobody asked `all`"
    );
    let e = engine.limits().only(&["logon"]).err().unwrap();
    assert_eq!((e.code(), e.help()), ("limits.no_policy", Some("there are: login, all")));
}

#[tokio::test]
async fn a_prepared_limit_counts_with_the_policy() {
    let (engine, clock) = of("user: 5/minute by user; pro 50/minute");
    let limiter = engine.limits().limiter("user", None).unwrap().unwrap();
    assert_eq!(admitted(&engine, &user("ann"), 3).await, 3);
    assert_eq!((0..9).filter(|_| limiter.take(b"ann", 1, clock.now()).admitted).count(), 2);
    assert_eq!(admitted(&engine, &user("ann"), 3).await, 0);
    assert_eq!(
        admitted(&engine, &user("ann").tier("pro"), 60).await,
        50,
        "another tier, another count"
    );
    let _ = engine.limits().block(&user("bob"), Millis::mins(1)).await.unwrap();
    assert_eq!(limiter.take(b"bob", 1, clock.now()).reason, Some(Reason::Blocked));
}

#[tokio::test]
async fn a_place_comes_back_when_released_dropped_or_lost() {
    let (engine, clock) = of("work: 2/30s concurrent by user\nrate: 100/minute by user");
    let ann = user("ann");
    let acquire = async || engine.limits().acquire(&ann).await;
    let first = acquire().await.unwrap();
    let mut second = acquire().await.unwrap();
    let e = acquire().await.err().unwrap();
    assert_eq!((e.code(), e.retry_after()), ("limits.exceeded", Some(Millis::secs(30))));
    first.release().await.unwrap();
    let third = acquire().await.unwrap();
    drop(third);
    let lost = acquire().await.unwrap();
    std::mem::forget(lost);
    clock.advance(Millis::secs(20));
    assert!(second.renew().await.unwrap().admitted);
    assert!(acquire().await.is_err());
    clock.advance(Millis::secs(10));
    let fourth = acquire().await.unwrap();
    assert!(acquire().await.is_err(), "the renewed one still holds its place");
    clock.advance(Millis::secs(20));
    drop((second, fourth));
    let left = engine.limits().peek(&ann).await.unwrap();
    assert_eq!(left.asks[0].remaining, 2);
    assert_eq!(left.asks[1].remaining, 100, "50 seconds have paid for six calls");
}

/// A clock that goes with tokio's, which a test can stop.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Millis {
        T0 + Millis(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

fn in_tokio_time(policies: &str) -> Engine {
    Engine::builder(Backend::memory())
        .clock(Arc::new(TokioClock(tokio::time::Instant::now())))
        .limits(policies.parse().unwrap())
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_served_in_turn_at_the_steady_rate() {
    let engine = in_tokio_time("api: 10/second burst 1 by user");
    let ann = user("ann");
    let limits = engine.limits();
    let waiting = (0..8).map(|_| async {
        let d = limits.wait(&ann, Millis(500)).await.unwrap();
        (d.admitted, (engine.now() - T0).0)
    });
    let served = futures_util::future::join_all(waiting).await;
    let expected: Vec<(bool, i64)> = (0..8).map(|n| if n < 6 { (true, n * 100) } else { (false, 0) }).collect();
    assert_eq!(
        served, expected,
        "who would wait for too long is told at once, and costs nothing"
    );
    assert!(limits.wait(&ann, Millis(100)).await.unwrap().admitted);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_window_or_a_place_gets_it_when_it_comes() {
    let engine = in_tokio_time("day: 2/10s fixed by user\nwork: 1/60s concurrent by folder");
    let limits = engine.limits();
    let ann = user("ann");
    for at in [0, 0, 10_000, 10_000, 20_000] {
        assert!(limits.wait(&ann, Millis::secs(15)).await.unwrap().admitted);
        assert_eq!((engine.now() - T0).0, at);
    }
    let home = Subject::new().with("folder", "home");
    let permit = limits.acquire(&home).await.unwrap();
    let begin = engine.now();
    let (waited, ()) = tokio::join!(limits.wait(&home, Millis::secs(5)), async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        drop(permit);
    });
    assert!(waited.unwrap().admitted);
    let took = engine.now() - begin;
    assert!(took >= Millis(2_000) && took < Millis(2_100), "{took:?}");
    assert!(!limits.wait(&home, Millis::secs(1)).await.unwrap().admitted);
}
