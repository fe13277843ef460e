//! The runner: all at once, each within its own time, and no verdict that is better than what was seen.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::clock::{ManualClock, SystemClock};
use levqor_core::error::Result;
use levqor_core::transport::{Request, Response, Transport};
use levqor_core::types::Millis;
use levqor_integrity::{
    Check, CheckCx, Environment, Event, Finding, Format, IntegrityRun, Outcome, Pack, Planned, RunOptions, RunResult, Status,
    Verdict, Waiver,
};

/// No network: whoever asks it fails the test.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(&self, request: Request) -> Result<Response> {
        panic!("nobody asked for {request:?}");
    }
}

type Act = Box<dyn Fn(u32) -> Outcome + Send + Sync>;

struct Fake {
    id: &'static str,
    wait: Duration,
    act: Act,
    needs: Vec<String>,
    eager: bool,
    times: AtomicU32,
}

#[async_trait]
impl Check for Fake {
    fn id(&self) -> &str {
        self.id
    }
    async fn run(&self, _: &CheckCx) -> Outcome {
        tokio::time::sleep(self.wait).await;
        (self.act)(self.times.fetch_add(1, Ordering::SeqCst) + 1)
    }
    fn requires(&self) -> Vec<String> {
        self.needs.clone()
    }
    fn eager(&self) -> bool {
        self.eager
    }
}

fn fake(id: &'static str, act: impl Fn(u32) -> Outcome + Send + Sync + 'static) -> Fake {
    Fake {
        id,
        wait: Duration::ZERO,
        act: Box::new(act),
        needs: Vec::new(),
        eager: false,
        times: AtomicU32::new(0),
    }
}

fn pass(id: &'static str) -> Fake {
    fake(id, |_| Outcome::new("fine"))
}

fn fail(id: &'static str) -> Fake {
    fake(id, |_| Finding::fail("x.broken", "it is broken").into())
}

fn plan(check: Fake) -> Planned {
    Planned::new(Arc::new(check))
}

fn run(plan: Vec<Planned>) -> IntegrityRun {
    IntegrityRun::new(
        plan,
        Arc::new(Nowhere),
        Arc::new(ManualClock::at(Millis::secs(1_800_000_000))),
    )
}

fn status(result: &RunResult, id: &str) -> Status {
    result.checks.iter().find(|c| c.id == id).unwrap().status
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_as_long_as_its_slowest_check() {
    let ids = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u",
    ];
    let mut checks: Vec<Planned> = ids
        .iter()
        .map(|id| {
            plan(Fake {
                wait: Duration::from_millis(300),
                ..pass(id)
            })
        })
        .collect();
    checks.push(Planned {
        timeout: Millis::secs(2),
        ..plan(Fake {
            wait: Duration::from_hours(1),
            ..pass("hangs")
        })
    });
    let begun = tokio::time::Instant::now();
    let result = run(checks).run().await.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 2000);
    assert_eq!(status(&result, "hangs"), Status::Error);
    assert_eq!(result.checks[21].findings[0].cause, "check.timeout");
    assert_eq!((result.counts().pass, result.verdict()), (21, Verdict::Indeterminate));
}

#[tokio::test(start_paused = true)]
async fn the_run_s_deadline_ends_what_is_still_running() {
    let slow = plan(Fake {
        wait: Duration::from_secs(9),
        ..pass("slow")
    });
    let options = RunOptions {
        deadline: Millis::secs(3),
        ..RunOptions::default()
    };
    let begun = tokio::time::Instant::now();
    let result = run(vec![slow, plan(pass("quick"))]).options(options).run().await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(result.checks[0].findings[0].cause, "run.deadline");
    assert_eq!(status(&result, "quick"), Status::Pass);
}

#[tokio::test]
async fn a_panic_is_an_error_of_that_check_alone() {
    let result = run(vec![plan(fake("bad", |_| panic!("oops"))), plan(pass("good"))])
        .run()
        .await
        .unwrap();
    assert_eq!(
        (status(&result, "bad"), status(&result, "good")),
        (Status::Error, Status::Pass)
    );
    let finding = &result.checks[0].findings[0];
    assert_eq!((finding.cause.as_str(), finding.actual.as_str()), ("check.panicked", "oops"));
}

#[tokio::test]
async fn what_needs_a_failed_check_is_blocked_and_names_the_root() {
    let needs = |id: &'static str, of: &str| Fake {
        needs: vec![of.to_owned()],
        ..pass(id)
    };
    let ran = Arc::new(AtomicU32::new(0));
    let seen = ran.clone();
    let third = Fake {
        needs: vec!["second".into()],
        ..fake("third", move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
            Outcome::new("ran")
        })
    };
    let eager = Fake {
        eager: true,
        ..needs("eager", "root")
    };
    let result = run(vec![
        plan(fail("root")),
        plan(needs("second", "root")),
        plan(third),
        plan(eager),
        plan(pass("other")),
    ])
    .run()
    .await
    .unwrap();
    for id in ["second", "third", "eager"] {
        let check = result.checks.iter().find(|c| c.id == id).unwrap();
        assert_eq!(
            (check.status, check.blocked_by.as_deref()),
            (Status::Blocked, Some("root")),
            "{id}"
        );
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(status(&result, "other"), Status::Pass);
    // A failure that says nothing about the others does not block them.
    let mild = fake("root", |_| Finding::fail("x", "x").harmless().into());
    let result = run(vec![plan(mild), plan(needs("second", "root"))]).run().await.unwrap();
    assert_eq!(
        (status(&result, "root"), status(&result, "second")),
        (Status::Fail, Status::Pass)
    );
}

#[tokio::test(start_paused = true)]
async fn a_pass_on_a_repetition_is_a_warning_with_every_attempt_kept() {
    let flaky = fake("flaky", |n| {
        if n < 3 {
            Finding::fail("x.odd", "odd").into()
        } else {
            Outcome::new("fine")
        }
    });
    let planned = Planned {
        retries: 3,
        ..plan(flaky)
    };
    let mut run = run(vec![planned]);
    let mut events = run.events();
    let result = run.run().await.unwrap();
    let check = &result.checks[0];
    assert_eq!(
        (check.status, check.findings[0].cause.as_str(), check.attempts.len()),
        (Status::Warn, "check.flaky", 3)
    );
    assert_eq!(check.attempts[0].outcome.findings[0].cause, "x.odd");
    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        kinds.push(match event {
            Event::Started { .. } => "started",
            Event::Retried { .. } => "retried",
            Event::Ended(_) => "ended",
            Event::Finished { .. } => "finished",
            _ => "?",
        });
    }
    assert_eq!(kinds, ["started", "retried", "retried", "ended", "finished"]);
}

#[tokio::test]
async fn waivers_hold_until_their_day_is_over() {
    // The clock stands at 2027-01-15.
    let waiver = |cause: Option<&str>, expires: &str| Waiver {
        check: "bad".into(),
        cause: cause.map(str::to_owned),
        reason: "known".into(),
        owner: "ann".into(),
        expires: expires.into(),
    };
    for (waiver, expected, second) in [
        (waiver(None, "2027-01-15"), Status::Waived, None),
        (waiver(Some("x.broken"), "2027-02-01"), Status::Waived, None),
        (waiver(Some("x.other"), "2027-02-01"), Status::Fail, None),
        (waiver(None, "2027-01-14"), Status::Fail, Some("waiver.expired")),
        (waiver(None, "someday"), Status::Fail, Some("waiver.expired")),
    ] {
        let result = run(vec![plan(fail("bad")), plan(pass("good"))])
            .waivers(vec![waiver])
            .run()
            .await
            .unwrap();
        assert_eq!(status(&result, "bad"), expected);
        assert_eq!(result.checks[0].findings.get(1).map(|f| f.cause.as_str()), second);
    }
}

#[tokio::test]
async fn plans_that_cannot_be_meant_are_refused() {
    let code = async |plan: Vec<Planned>| run(plan).run().await.unwrap_err().code().to_owned();
    assert_eq!(code(vec![]).await, "integrity.no_checks");
    assert_eq!(code(vec![plan(pass("a")), plan(pass("a"))]).await, "integrity.twice");
    assert_eq!(code(vec![plan(pass("A b"))]).await, "integrity.bad_id");
    let needs = |id: &'static str, of: &str| {
        plan(Fake {
            needs: vec![of.to_owned()],
            ..pass(id)
        })
    };
    assert_eq!(code(vec![needs("a", "b"), needs("b", "a")]).await, "integrity.circle");
    let wrong = Planned {
        requires: vec!["frist".into()],
        ..plan(pass("second"))
    };
    let e = run(vec![plan(pass("first")), wrong]).run().await.unwrap_err();
    assert!(e.message().contains("did you mean `first`?"), "{e}");
}

#[tokio::test]
async fn a_host_adds_its_own_checks_to_a_pack() {
    let pack = Pack::parse("version = 1\ninclude = [\"env.sentry_dsn\"]\n", Format::Toml).unwrap();
    let clock = Arc::new(ManualClock::at(Millis::ZERO));
    let run = pack.run(Arc::new(Nowhere), clock, Environment::default()).unwrap();
    let mine = Planned {
        requires: vec!["env.sentry_dsn".into()],
        ..plan(pass("shop.cart"))
    };
    let result = run.check(mine).run().await.unwrap();
    assert_eq!(status(&result, "env.sentry_dsn"), Status::Skip);
    assert_eq!(status(&result, "shop.cart"), Status::Pass);
}

#[tokio::test]
async fn equal_runs_have_equal_results() {
    let once = async || run(vec![plan(fail("a")), plan(pass("b"))]).seed("pack").run().await.unwrap();
    assert_eq!(once().await, once().await);
    let later = IntegrityRun::new(vec![plan(pass("b"))], Arc::new(Nowhere), Arc::new(SystemClock::default()))
        .run()
        .await
        .unwrap();
    assert_ne!(later.id, once().await.id);
}
