//! Schedules in the engine: declared by the host, fired by its workers, paid by its accounts.
#![cfg(all(feature = "testkit", feature = "sqlite"))]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use levqor_core::backend::Backend;
use levqor_core::clock::ManualClock;
use levqor_core::engine::{Engine, GrantOptions, RunEvent};
use levqor_core::jobs::JobState;
use levqor_core::jobs::schedule::{Misfire, Overlap, Schedule, Target, TickOutcome, Trigger};
use levqor_core::store::{JobFilter, Page};
use levqor_core::testkit::stores::{Stores, memory, sqlite};
use levqor_core::types::{MicroCredits, Millis};
use serde_json::{Value, json};

/// 2025-06-15T15:06:40Z.
const T0: Millis = Millis(1_750_000_000_000);

fn pipeline(version: i64) -> Value {
    json!({
        "version": 1, "name": "report", "credits": {"hold": "2", "base": "1"},
        "input_schema": {"type": "object", "properties": {"for": {"type": "string"}}, "additionalProperties": false},
        "steps": [{"id": "a", "set": {"$fmt": format!("v{version} {{input.for}}")}}],
        "output": {"$ref": "steps.a.output"}
    })
}

async fn engine(stores: &Stores) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(T0));
    let engine = Engine::builder(Backend::of(stores.first.clone()))
        .clock(clock.clone())
        .build()
        .unwrap();
    let credits = MicroCredits::credits(5).unwrap();
    engine
        .credits()
        .grant("acme", credits, GrantOptions::default(), None)
        .await
        .unwrap();
    engine.pipelines().register(&pipeline(1)).await.unwrap();
    (engine, clock)
}

/// Every day at noon in Berlin, which is ten in the morning of UTC in summer.
fn daily() -> Schedule {
    let mut target = Target::run("acme", "report", json!({}));
    if let Target::Run { tick_field, .. } = &mut target {
        *tick_field = Some("for".to_owned());
    }
    Schedule::cron("daily", "0 12 * * *", target).zone("Europe/Berlin")
}

fn day(n: i64) -> Millis {
    let noon = Millis::parse_rfc3339("2025-06-15T10:00:00Z").unwrap();
    noon + Millis::hours(24 * n)
}

async fn both() -> [Stores; 2] {
    [memory().await, sqlite().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_fires_what_is_due_and_the_run_is_paid() {
    for stores in both().await {
        let (engine, clock) = engine(&stores).await;
        let schedules = engine.schedules();
        let declared = schedules.put(daily()).await.unwrap();
        assert_eq!((declared.changed, declared.view.next_tick), (true, Some(day(1))));
        assert!(!schedules.put(daily()).await.unwrap().changed);
        assert_eq!(schedules.next("daily", 3).await.unwrap(), [day(1), day(2), day(3)]);

        assert_eq!(engine.worker().drain().await.unwrap().done, 0);
        clock.set(day(1));
        assert_eq!(engine.worker().schedules(false).drain().await.unwrap().done, 0);
        assert_eq!(engine.worker().drain().await.unwrap().done, 1);
        // A new version under the same name is what the next tick runs.
        engine.pipelines().register(&pipeline(2)).await.unwrap();
        clock.set(day(2) + Millis(5));
        assert_eq!(engine.worker().drain().await.unwrap().done, 1);

        let runs = engine
            .pipelines()
            .list(Some("acme"), Some(JobState::Done), &Page::default())
            .await
            .unwrap();
        let results: Vec<_> = runs.iter().rev().map(|run| run.result.clone().unwrap()).collect();
        assert_eq!(
            results,
            ["v1 2025-06-16T10:00:00.000Z", "v2 2025-06-17T10:00:00.000Z"],
            "the tick's own time"
        );
        let history = schedules.history("daily", None, 10).await.unwrap();
        assert_eq!(
            history.iter().map(|l| l.job.clone().unwrap()).collect::<Vec<_>>(),
            runs.iter().map(|r| r.id.clone()).collect::<Vec<_>>()
        );
        let balance = engine.credits().balance("acme").await.unwrap();
        assert_eq!(
            (balance.posted.to_string(), balance.held.to_string()),
            ("3".into(), "0".into())
        );

        // A week without a worker: fired once, for all of them.
        clock.set(day(9) + Millis::hours(1));
        assert_eq!(engine.worker().drain().await.unwrap().done, 1);
        let history = schedules.history("daily", None, 2).await.unwrap();
        let told: Vec<_> = history.iter().map(|l| (l.tick, l.outcome, l.ticks)).collect();
        assert_eq!(told, [(day(9), TickOutcome::Fired, 1), (day(3), TickOutcome::Missed, 6)]);
        // They are made up for on demand, one after another, the credits there are.
        let report = schedules
            .backfill("daily", day(1), day(10) - Millis::hours(24))
            .await
            .unwrap();
        assert_eq!((report.ticks, report.known, report.waiting), (8, 2, 6));
        for _ in 0..8 {
            engine.worker().drain().await.unwrap();
            clock.advance(Millis::secs(1));
        }
        let view = schedules.get("daily").await.unwrap();
        // Of two credits, one was left after one run, and a run holds two.
        assert_eq!((view.fires, view.waiting, view.running), (4, 0, vec![]));
        let history = schedules.history("daily", None, 20).await.unwrap();
        let of = |outcome| {
            history
                .iter()
                .filter(|l| l.cause == Trigger::Backfill && l.outcome == outcome)
                .count()
        };
        assert_eq!((of(TickOutcome::Fired), of(TickOutcome::Refused)), (1, 5));
        let audit = engine.credits().audit().await.unwrap();
        assert!(audit.violations.is_empty() && audit.sum == 0, "{audit:?}");
    }
}

/// With a poll of an hour, only knowing when the next tick is due brings it about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_wakes_when_a_tick_is_due_and_when_a_schedule_is_added() {
    let stores = memory().await;
    let engine = Engine::builder(Backend::of(stores.first.clone())).build().unwrap();
    let mut events = engine.events();
    let (started, go) = tokio::sync::oneshot::channel();
    let adding = engine.clone();
    let adds = tokio::spawn(async move {
        go.await.unwrap();
        let pipeline = json!({"version": 1, "name": "p", "steps": [{"id": "a", "set": 1}]});
        let schedule = Schedule::every("beat", Millis::secs(1), Target::run("acme", pipeline, json!({})));
        adding.schedules().put(schedule).await.unwrap();
    });
    let mut ended = 0;
    let mut started = Some(started);
    let stop = async {
        if let Some(started) = started.take() {
            started.send(()).unwrap();
        }
        while ended < 2 {
            if let RunEvent::Ended { state, .. } = events.recv().await.unwrap() {
                assert_eq!(state, JobState::Done);
                ended += 1;
            }
        }
    };
    let work = engine.worker().poll(Duration::from_hours(1)).run(stop);
    let report = tokio::time::timeout(Duration::from_secs(30), work).await.unwrap().unwrap();
    adds.await.unwrap();
    assert!(report.done >= 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_fires_for_every_tenant() {
    for stores in both().await {
        let (engine, clock) = engine(&stores).await;
        let other = engine.tenant("other").unwrap();
        let job = |id: &str| Schedule::every(id, Millis::secs(10), Target::job("work", json!({"a": 1}))).overlap(Overlap::Allow);
        engine.schedules().put(job("s")).await.unwrap();
        other.schedules().put(job("s")).await.unwrap();
        other.schedules().put(job("t")).await.unwrap();
        clock.advance(Millis::secs(20));
        let report = engine.schedules().fire_due().await.unwrap();
        assert_eq!((report.fired, report.next_due), (6, Some(T0 + Millis::secs(30))));
        assert_eq!(engine.schedules().fire_due().await.unwrap().fired, 0);
        let jobs = async |engine: &Engine| engine.jobs().list(&JobFilter::default(), &Page::default()).await.unwrap();
        assert_eq!((jobs(&engine).await.len(), jobs(&other).await.len()), (2, 4));
        assert_eq!(&*jobs(&other).await[0].args, "{\"a\":1}");
        assert_eq!(engine.schedules().list(&Page::default()).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_missed_ticks_is_fired_in_order_up_to_its_limit() {
    for stores in both().await {
        let (engine, clock) = engine(&stores).await;
        let schedule = Schedule::every("s", Millis::secs(10), Target::job("work", json!({})))
            .overlap(Overlap::Allow)
            .misfire(Misfire::All(20), Millis::secs(5));
        engine.schedules().put(schedule).await.unwrap();
        clock.advance(Millis::hours(1));
        assert_eq!(engine.schedules().fire_due().await.unwrap().fired, 20);
        let history = engine.schedules().history("s", None, 30).await.unwrap();
        assert_eq!(history.len(), 21);
        let ticks: Vec<_> = history[..20].iter().map(|l| l.tick).collect();
        let expected: Vec<_> = (0..20).map(|n| T0 + Millis::hours(1) - Millis::secs(10 * n)).collect();
        assert_eq!(ticks, expected);
        assert_eq!((history[20].outcome, history[20].ticks), (TickOutcome::Missed, 340));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_started_is_refused_when_it_is_declared() {
    let stores = memory().await;
    let (engine, _) = engine(&stores).await;
    let schedules = engine.schedules();
    let code = async |schedule: Schedule| schedules.put(schedule).await.unwrap_err().code().to_owned();
    let run = |account: &str, pipeline: Value, input: Value| Schedule::cron("s", "@daily", Target::run(account, pipeline, input));
    assert_eq!(code(run("acme", json!("nothing"), json!({}))).await, "pipeline.unknown");
    assert_eq!(code(run("acme", json!({"version": 1}), json!({}))).await, "pipeline.invalid");
    assert_eq!(code(run("", json!("report"), json!({}))).await, "run.bad_account");
    assert_eq!(
        code(run("acme", json!("report"), json!({"colour": 1}))).await,
        "run.input_invalid"
    );
    let job = |handler: &str| Schedule::cron("s", "@daily", Target::job(handler, json!({})));
    assert_eq!(code(job("")).await, "jobs.bad_name");
    assert_eq!(
        code(Schedule::cron("s", "@daily", Target::job("h", json!("x".repeat(300_000))))).await,
        "body.too_large"
    );
    assert_eq!(schedules.list(&Page::default()).await.unwrap(), []);
    // A lack of credits is no reason: there may be some when its time has come.
    schedules.put(run("poor", json!("report"), json!({}))).await.unwrap();
    assert_eq!(
        schedules.run_now("s", None).await.unwrap_err().code(),
        "ledger.insufficient_credits"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_by_hand_under_a_key_it_is_started_once() {
    for stores in both().await {
        let (engine, clock) = engine(&stores).await;
        let schedules = engine.schedules();
        schedules.put(daily()).await.unwrap();
        let first = schedules.run_now("daily", Some("k")).await.unwrap();
        clock.advance(Millis::secs(1));
        assert_eq!(schedules.run_now("daily", Some("k")).await.unwrap(), first);
        let second = schedules.run_now("daily", None).await.unwrap();
        assert_ne!(second, first);
        assert_eq!(schedules.get("daily").await.unwrap().fires, 2);
        let code = async |from, to| schedules.backfill("daily", from, to).await.unwrap_err().code().to_owned();
        assert_eq!(code(day(0), day(0)).await, "schedule.backfill_range");
        assert_eq!(code(day(0), day(1)).await, "schedule.backfill_range");
        assert_eq!(code(day(-1_100), day(0)).await, "schedule.backfill_range");
        assert_eq!(
            schedules.backfill("nothing", day(-1), day(0)).await.unwrap_err().code(),
            "schedule.unknown"
        );
    }
}
