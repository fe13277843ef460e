//! Handlers of the host: steps that stay done, waits that outlive the process, and what becomes of the job.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use levqor_core::backend::Backend;
use levqor_core::clock::ManualClock;
use levqor_core::engine::{Engine, GrantOptions, HandlerOptions, JobRequest, RunView, StepOptions, Wf, handler};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::jobs::retry::RetryPolicy;
use levqor_core::jobs::{JobState, StepStatus};
use levqor_core::store::{JobFilter, Page};
use levqor_core::types::{JobId, MicroCredits, Millis};
use serde_json::{Value, json};

/// Engines over one backend, as processes over one database: each has the handlers it is given.
struct Place {
    backend: Backend,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Place {
            backend: Backend::memory(),
            clock: Arc::new(ManualClock::at(Millis(1_000_000))),
        }
    }

    fn engine<F, I, O, Fut>(&self, f: F) -> Engine
    where
        F: Fn(Wf, I) -> Fut + Send + Sync + 'static,
        I: serde::de::DeserializeOwned + Send + 'static,
        O: serde::Serialize + 'static,
        Fut: Future<Output = Result<O>> + Send + 'static,
    {
        let options = HandlerOptions::default();
        Engine::builder(self.backend.clone())
            .clock(self.clock.clone())
            .handler("work", options, handler(f))
            .build()
            .unwrap()
    }
}

fn busy() -> Error {
    Error::unavailable("test.busy", "not now")
}

async fn drain(engine: &Engine) -> RunViewOf<'_> {
    engine.worker().drain().await.unwrap();
    RunViewOf(engine)
}

struct RunViewOf<'a>(&'a Engine);

impl RunViewOf<'_> {
    async fn of(&self, id: &JobId) -> RunView {
        self.0.pipelines().status(id).await.unwrap()
    }
}

#[tokio::test]
async fn a_step_that_is_done_stays_done_when_the_job_is_tried_again() {
    let place = Place::new();
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (a, b) = (first.clone(), second.clone());
    let engine = place.engine(move |wf: Wf, name: String| {
        let (a, b) = (a.clone(), b.clone());
        async move {
            let user: String = wf
                .step("create", || async {
                    a.fetch_add(1, Ordering::SeqCst);
                    Ok(format!("user of {name}"))
                })
                .await?;
            wf.step("welcome", || async {
                match b.fetch_add(1, Ordering::SeqCst) {
                    0 | 1 => Err(busy()),
                    _ => Ok(()),
                }
            })
            .await?;
            Ok(json!({"user": user, "attempt": wf.attempt()}))
        }
    });
    let job = engine.jobs().enqueue(JobRequest::new("work", json!("ann"))).await.unwrap();
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!((view.state, view.attempt), (JobState::Scheduled, 1));
    assert_eq!(view.failure().unwrap().code(), "test.busy");
    for _ in 0..2 {
        place.clock.advance(Millis::mins(10));
        drain(&engine).await;
    }
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!(
        (view.state, view.result),
        (JobState::Done, Some(json!({"user": "user of ann", "attempt": 3})))
    );
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (1, 3));
    let steps: Vec<_> = view.steps.iter().map(|s| (s.path.as_str(), s.status, s.attempts)).collect();
    assert_eq!(steps, [("create", StepStatus::Done, 1), ("welcome", StepStatus::Done, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_step_is_tried_again_by_its_own_policy_first() {
    let place = Place::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let made = calls.clone();
    let engine = place.engine(move |wf: Wf, (): ()| {
        let made = made.clone();
        async move {
            let policy = RetryPolicy {
                max_attempts: 3,
                initial: Millis(10),
                max: Millis(20),
                on: vec![],
            };
            wf.step_with("call", StepOptions::default().retry(policy), || async {
                match made.fetch_add(1, Ordering::SeqCst) {
                    0 | 1 => Err(busy()),
                    n => Ok(n),
                }
            })
            .await
        }
    });
    let job = engine.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!((view.state, view.result, view.attempt), (JobState::Done, Some(json!(2)), 1));
    assert_eq!(view.steps[0].attempts, 3);
}

#[tokio::test]
async fn an_error_that_cannot_pass_makes_a_dead_letter_and_releases_the_hold() {
    let place = Place::new();
    let engine = place.engine(|_wf: Wf, (): ()| async { Err::<(), _>(Error::invalid("test.wrong", "never right")) });
    engine
        .credits()
        .grant("acme", "10".parse().unwrap(), GrantOptions::default(), None)
        .await
        .unwrap();
    let request = JobRequest::new("work", Value::Null)
        .account("acme")
        .hold("4".parse().unwrap());
    let job = engine.jobs().enqueue(request).await.unwrap();
    assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "6");
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!((view.state, view.attempt), (JobState::Dead, 1));
    assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "10");
    // Brought back, it holds the same again.
    engine.jobs().redrive(&job.id).await.unwrap();
    assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "6");
}

#[tokio::test]
async fn a_job_pays_what_its_handler_says() {
    let place = Place::new();
    let engine = place.engine(|wf: Wf, due: String| async move {
        wf.capture(due.parse()?);
        Ok(())
    });
    engine
        .credits()
        .grant("acme", "10".parse().unwrap(), GrantOptions::default(), None)
        .await
        .unwrap();
    let request = JobRequest::new("work", json!("1.5"))
        .account("acme")
        .hold("4".parse().unwrap());
    engine.jobs().enqueue(request).await.unwrap();
    drain(&engine).await;
    let balance = engine.credits().balance("acme").await.unwrap();
    assert_eq!(
        (balance.posted.to_string(), balance.held),
        ("8.5".to_owned(), MicroCredits::ZERO)
    );
}

#[tokio::test]
async fn a_sleep_outlives_the_process_and_is_no_attempt() {
    let place = Place::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let started = calls.clone();
    let work = move |wf: Wf, (): ()| {
        let started = started.clone();
        async move {
            started.fetch_add(1, Ordering::SeqCst);
            wf.sleep("a day", Millis::hours(24)).await?;
            wf.sleep("another", Millis::hours(24)).await?;
            Ok(wf.attempt())
        }
    };
    let engine = place.engine(work.clone());
    let job = engine.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!(
        (view.state, view.run_at),
        (JobState::Scheduled, place.clock_now() + Millis::hours(24))
    );
    // Another process takes it up.
    let engine = place.engine(work);
    place.clock.advance(Millis::hours(24) - Millis(1));
    assert_eq!(drain(&engine).await.of(&job.id).await.state, JobState::Scheduled);
    place.clock.advance(Millis(1));
    assert_eq!(drain(&engine).await.of(&job.id).await.state, JobState::Scheduled);
    place.clock.advance(Millis::hours(24));
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!((view.state, view.result), (JobState::Done, Some(json!(1))));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

impl Place {
    fn clock_now(&self) -> Millis {
        use levqor_core::clock::Clock;
        self.clock.now()
    }
}

#[tokio::test]
async fn a_signal_is_waited_for_and_a_missing_one_runs_out() {
    let place = Place::new();
    let engine = place.engine(|wf: Wf, (): ()| async move {
        let first = wf.signal("approve", Millis::hours(1)).await?;
        let second = wf.signal("approve", Millis::hours(1)).await?;
        Ok(json!([first, second]))
    });
    let early = engine.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    let late = engine.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    // One signal before the job was ever started.
    engine.jobs().signal(&early.id, "approve", &json!("ann")).await.unwrap();
    let seen = drain(&engine).await;
    assert_eq!(seen.of(&early.id).await.state, JobState::Scheduled, "it waits for the second");
    engine.jobs().signal(&early.id, "approve", &json!("bob")).await.unwrap();
    engine.jobs().signal(&late.id, "other", &json!("nobody asked")).await.unwrap();
    let view = drain(&engine).await.of(&early.id).await;
    assert_eq!(view.result, Some(json!(["ann", "bob"])));
    place.clock.advance(Millis::hours(1));
    drain(&engine).await;
    place.clock.advance(Millis::hours(1));
    let view = drain(&engine).await.of(&late.id).await;
    assert_eq!((view.state, view.result), (JobState::Done, Some(json!([null, null]))));
}

#[tokio::test]
async fn a_step_that_must_not_be_repeated_is_not() {
    let place = Place::new();
    let died = place.engine(|wf: Wf, (): ()| async move {
        let once = StepOptions::default().at_most_once();
        wf.step_with("charge", once, || async { std::future::pending::<Result<()>>().await })
            .await
    });
    let job = died.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    // The worker is gone in the middle of the step.
    let work = died.worker().drain();
    let _ = tokio::time::timeout(Duration::from_millis(200), work).await;
    place.clock.advance(Millis::mins(1));
    let after = place.engine(|wf: Wf, (): ()| async move {
        let once = StepOptions::default().at_most_once();
        wf.step_with("charge", once, || async { Ok(panics()) }).await
    });
    let view = drain(&after).await.of(&job.id).await;
    let e = view.failure().unwrap();
    assert_eq!(
        (view.state, e.code(), e.effect()),
        (JobState::Dead, "job.effect_unknown", Effect::Unknown)
    );
    // Whoever redrives it has looked.
    let again = place.engine(|wf: Wf, (): ()| async move {
        let once = StepOptions::default().at_most_once();
        wf.step_with("charge", once, || async { Ok(7) }).await
    });
    again.jobs().redrive(&job.id).await.unwrap();
    assert_eq!(drain(&again).await.of(&job.id).await.result, Some(json!(7)));
}

fn panics() -> i32 {
    panic!("it must not be made again")
}

#[tokio::test]
async fn a_handler_that_catches_a_failed_step_sees_it_again_when_it_is_taken_up() {
    let place = Place::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let made = calls.clone();
    let engine = place.engine(move |wf: Wf, (): ()| {
        let made = made.clone();
        async move {
            let first = wf
                .step("try", || async {
                    made.fetch_add(1, Ordering::SeqCst);
                    Err::<i32, _>(Error::invalid("test.no", "no"))
                })
                .await;
            let code = first.unwrap_err().code().to_owned();
            wf.sleep("a while", Millis::hours(1)).await?;
            Ok(code)
        }
    });
    let job = engine.jobs().enqueue(JobRequest::new("work", Value::Null)).await.unwrap();
    drain(&engine).await;
    place.clock.advance(Millis::hours(1));
    let view = drain(&engine).await.of(&job.id).await;
    assert_eq!((view.result, calls.load(Ordering::SeqCst)), (Some(json!("test.no")), 1));
}

#[tokio::test]
async fn the_same_name_in_a_loop_is_another_step() {
    let place = Place::new();
    let engine = place.engine(|wf: Wf, n: i64| async move {
        let mut sum = 0;
        for i in 0..n {
            sum += wf.step("add", || async { Ok(i) }).await?;
        }
        Ok(sum)
    });
    let job = engine.jobs().enqueue(JobRequest::new("work", json!(4))).await.unwrap();
    let view = drain(&engine).await.of(&job.id).await;
    let paths: Vec<_> = view.steps.iter().map(|s| s.path.as_str()).collect();
    assert_eq!((view.result, paths), (Some(json!(6)), vec!["add", "add#2", "add#3", "add#4"]));
}

#[tokio::test]
async fn wrong_uses_of_the_context_are_told() {
    let place = Place::new();
    let engine = place.engine(|wf: Wf, what: String| async move {
        match what.as_str() {
            "name" => wf.step("a#b", || async { Ok(()) }).await,
            "swallow" => {
                let _ = wf.sleep("long", Millis::hours(1)).await;
                Ok(())
            }
            "big" => wf.step("big", || async { Ok("x".repeat(2 << 20)) }).await.map(|_| ()),
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        }
    });
    for (what, code) in [
        (json!("name"), "job.bad_step"),
        (json!("swallow"), "job.swallowed"),
        (json!("big"), "job.output_too_large"),
        (json!("panic"), "internal"),
        (json!(7), "jobs.bad_input"),
    ] {
        let job = engine.jobs().enqueue(JobRequest::new("work", what.clone())).await.unwrap();
        let view = drain(&engine).await.of(&job.id).await;
        assert_eq!((view.state, view.failure().unwrap().code()), (JobState::Dead, code), "{what}");
    }
    let refused = |request: JobRequest| {
        let engine = engine.clone();
        async move { engine.jobs().enqueue(request).await.unwrap_err().code().to_owned() }
    };
    assert_eq!(refused(JobRequest::new("pipeline", json!({}))).await, "jobs.bad_name");
    assert_eq!(
        refused(JobRequest::new("work", json!("x".repeat(300_000)))).await,
        "body.too_large"
    );
    let unpaid = JobRequest::new("work", json!("")).hold(MicroCredits(1));
    assert_eq!(refused(unpaid).await, "jobs.no_account");
    let known = Engine::builder(Backend::memory()).handler(
        "pipeline",
        HandlerOptions::default(),
        handler(|_: Wf, (): ()| async { Ok(()) }),
    );
    assert_eq!(known.build().map(|_| ()).unwrap_err().code(), "jobs.bad_name");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_stopped() {
    let options = |retry| {
        let mut options = HandlerOptions::default();
        options.timeout = Some(Millis(50));
        options.retry = retry;
        options
    };
    let engine = Engine::builder(Backend::memory())
        .handler(
            "slow",
            options(RetryPolicy::never()),
            handler(|_wf: Wf, (): ()| async { std::future::pending::<Result<()>>().await }),
        )
        .build()
        .unwrap();
    let job = engine.jobs().enqueue(JobRequest::new("slow", Value::Null)).await.unwrap();
    let view = drain(&engine).await.of(&job.id).await;
    let e = view.failure().unwrap();
    assert_eq!(
        (view.state, e.kind(), e.code()),
        (JobState::Dead, ErrorKind::Timeout, "job.timeout")
    );
}

#[tokio::test]
async fn a_unique_job_that_is_not_needed_holds_nothing() {
    let place = Place::new();
    let engine = place.engine(|_wf: Wf, (): ()| async { Ok(()) });
    engine
        .credits()
        .grant("acme", "10".parse().unwrap(), GrantOptions::default(), None)
        .await
        .unwrap();
    let request = || {
        JobRequest::new("work", Value::Null)
            .account("acme")
            .hold("4".parse().unwrap())
            .unique("report", Millis::ZERO)
    };
    let first = engine.jobs().enqueue(request()).await.unwrap();
    let second = engine.jobs().enqueue(request()).await.unwrap();
    assert_eq!((&first.id, first.duplicate, second.duplicate), (&second.id, false, true));
    assert_eq!(engine.credits().balance("acme").await.unwrap().held.to_string(), "4");
    drain(&engine).await;
    assert_eq!(engine.credits().balance("acme").await.unwrap().posted.to_string(), "6");
}

#[tokio::test]
async fn one_key_makes_one_job_of_many_requests() {
    let place = Place::new();
    let engine = place.engine(|_wf: Wf, n: i64| async move { Ok(n) });
    let first = engine
        .jobs()
        .enqueue(JobRequest::new("work", json!(1)).key("k"))
        .await
        .unwrap();
    let again = engine
        .jobs()
        .enqueue(JobRequest::new("work", json!(1)).key("k"))
        .await
        .unwrap();
    assert_eq!(
        (&first.id, first.replayed, again.replayed, again.duplicate),
        (&again.id, false, true, false)
    );
    let other = engine.jobs().enqueue(JobRequest::new("work", json!(2)).key("k")).await;
    assert_eq!(other.unwrap_err().code(), "idempotency.mismatch");
    let many = |n: i64| (0..n).map(|i| JobRequest::new("work", json!(i))).collect::<Vec<_>>();
    let made = engine.jobs().enqueue_many(many(3), Some("many")).await.unwrap();
    let same = engine.jobs().enqueue_many(many(3), Some("many")).await.unwrap();
    assert_eq!(
        made.iter().map(|e| &e.id).collect::<Vec<_>>(),
        same.iter().map(|e| &e.id).collect::<Vec<_>>()
    );
    assert!(engine.jobs().enqueue_many(many(4), Some("many")).await.is_err());
    assert_eq!(engine.worker().drain().await.unwrap().done, 4);
}

#[tokio::test]
async fn dead_letters_are_brought_back_by_what_they_died_of() {
    let place = Place::new();
    let engine = place.engine(|wf: Wf, code: String| async move {
        if wf.engine().jobs().dead(&Page::default()).await?.len() >= 40 || wf.stopped() {
            return Ok(());
        }
        Err(Error::invalid(code, "on purpose"))
    });
    for n in 0..40 {
        let code = if n % 4 == 0 { "test.rare" } else { "test.often" };
        engine
            .jobs()
            .enqueue(JobRequest::new("work", json!(code)).queue("a"))
            .await
            .unwrap();
    }
    engine.worker().queues(["a"]).concurrency(1).drain().await.unwrap();
    let of = JobFilter {
        queue: Some("a".into()),
        ..JobFilter::default()
    };
    let rare = engine.jobs().redrive_all(&of, Some("test.rare"), 7).await.unwrap();
    assert_eq!((rare.jobs.len(), rare.refused.len()), (7, 0));
    let rare = engine.jobs().redrive_all(&of, Some("test.rare"), 100).await.unwrap();
    assert_eq!(rare.jobs.len(), 3);
    let none = JobFilter {
        queue: Some("b".into()),
        ..JobFilter::default()
    };
    assert!(engine.jobs().redrive_all(&none, None, 100).await.unwrap().jobs.is_empty());
    assert_eq!(engine.jobs().redrive_all(&of, None, 100).await.unwrap().jobs.len(), 30);
}

#[tokio::test]
async fn a_sealed_input_is_read_by_who_has_the_key_only() {
    use levqor_core::vault::Sealer;
    let backend = Backend::memory();
    let key = Sealer::generate();
    let engine = |key: Option<&str>| {
        let mut builder = Engine::builder(backend.clone()).handler(
            "work",
            HandlerOptions::default(),
            handler(|_: Wf, input: Value| async move { Ok(input["card"].as_str().map(str::len)) }),
        );
        if let Some(key) = key {
            builder = builder.sealer(Sealer::parse(key).unwrap());
        }
        builder.build().unwrap()
    };
    let (with, without) = (engine(Some(&key)), engine(None));
    let request = || JobRequest::new("work", json!({"card": "4242424242424242"})).sealed();
    let refused = without.jobs().enqueue(request()).await.unwrap_err();
    assert_eq!(refused.code(), "jobs.no_sealing_key");

    let job = with.jobs().enqueue(request()).await.unwrap();
    let stored = format!("{:?}", with.jobs().get(&job.id).await.unwrap());
    assert!(!stored.contains("4242"), "{stored}");
    without.worker().drain().await.unwrap();
    let view = without.pipelines().status(&job.id).await.unwrap();
    assert_eq!(
        (view.state, view.failure().unwrap().code()),
        (JobState::Dead, "jobs.no_sealing_key")
    );
    with.jobs().redrive(&job.id).await.unwrap();
    with.worker().drain().await.unwrap();
    assert_eq!(with.pipelines().status(&job.id).await.unwrap().result, Some(json!(16)));
}
