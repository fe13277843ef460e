//! Schedules: ticks are claimed in the store, once each.

use std::sync::Arc;

use super::kit::{all, at, batch, code, credits, done, finish, grant, job, lease_one, must, read_job, refused, tenant, together};
use crate::error::Result;
use crate::jobs::schedule::TickOutcome::{Fired, Refused, Skipped, Waiting};
use crate::jobs::schedule::{
    Fire, Misfire, Overlap, Schedule, ScheduleAnswer, ScheduleOp, ScheduleRow, ScheduleState, Start, Target, Task, Tick,
    TickOutcome, TickTask, Trigger,
};
use crate::jobs::{JobState, NewJob};
use crate::store::{Answer, Batch, Page, Receipt, Store};
use crate::testkit::stores::Stores;
use crate::types::{HoldId, JobId, MicroCredits, Millis, Tenant};

/// Fires every ten seconds; its ticks are `at(10_000 * n)`, since the kit's beginning is one.
fn every_ten(id: &str) -> Schedule {
    Schedule::every(id, Millis::secs(10), Target::job("work", serde_json::json!({})))
}

/// Second `n` after the beginning.
fn s(n: i64) -> Millis {
    at(n * 1_000)
}

fn put(schedule: &Schedule) -> ScheduleOp {
    ScheduleOp::Put(Box::new(schedule.clone()))
}

fn task(tick: Millis) -> TickTask {
    let new = NewJob {
        run_at: tick,
        ..job("q")
    };
    TickTask {
        tick,
        task: Ok(Task { job: new, held: None }),
    }
}

fn schedule_answer(answer: Answer) -> ScheduleAnswer {
    match answer {
        Answer::Schedule(answer) => answer,
        other => panic!("a schedule's operation was answered with {other:?}"),
    }
}

async fn read(store: &Arc<dyn Store>, id: &str) -> Arc<ScheduleRow> {
    match store.reads().schedules.schedule(&tenant(), id).await {
        Ok(Some(row)) => row,
        other => panic!("the schedule {id} should be there, found {other:?}"),
    }
}

/// Claims what is due, with tasks for whatever tick that may be.
async fn fire(store: &Arc<dyn Store>, id: &str, now: Millis) -> ScheduleAnswer {
    schedule_answer(must(store, now, claim(&*read(store, id).await)).await)
}

fn claim(row: &ScheduleRow) -> ScheduleOp {
    let first = row.next_tick.unwrap_or(s(0));
    let waiting = row.waiting().unwrap().into_iter().map(|w| w.tick);
    ScheduleOp::Fire(Fire {
        id: row.id.clone(),
        revision: row.revision,
        tasks: waiting
            .chain((0..200).map(|n| first + Millis::secs(10 * n)))
            .map(task)
            .collect(),
    })
}

async fn history(store: &Arc<dyn Store>, id: &str) -> Vec<Arc<Tick>> {
    store.reads().schedules.ticks(&tenant(), id, i64::MAX, 1_000).await.unwrap()
}

/// Tick (in seconds) and outcome of each line, oldest first.
async fn told(store: &Arc<dyn Store>, id: &str) -> Vec<(i64, TickOutcome)> {
    let lines = history(store, id).await;
    lines.iter().rev().map(|t| ((t.tick - s(0)).0 / 1_000, t.outcome)).collect()
}

fn won(outcomes: &[Result<Receipt>]) -> usize {
    outcomes.iter().filter(|o| o.is_ok()).count()
}

/// Of a hundred who try the same tick, one fires it; the others are told so, and nothing happens twice.
pub async fn a_tick_is_fired_once_however_many_try(stores: &Stores) {
    let store = &stores.first;
    must(store, s(1), put(&every_ten("n"))).await;
    for tick in 1..=5 {
        let row = read(store, "n").await;
        assert_eq!((row.next_tick, row.due_at), (Some(s(10 * tick)), s(10 * tick).0));
        assert_eq!(refused(store, s(10 * tick) - Millis(1), claim(&row)).await, "schedule.taken");
        let tries = || -> Vec<Batch> { (0..50).map(|_| batch(s(10 * tick), vec![claim(&row).into()])).collect() };
        let (a, b) = tokio::join!(together(&stores.first, tries()), together(&stores.second, tries()));
        assert_eq!(won(&a) + won(&b), 1);
        assert!(a.iter().chain(&b).all(|o| ["ok", "schedule.taken"].contains(&code(o))));
        // Its job has to end before the next tick.
        let leased = lease_one(store, s(10 * tick), "q").await;
        all(store, s(10 * tick), vec![finish(&leased, done(None))]).await;
        let line = history(store, "n").await[0].clone();
        assert_eq!(
            (line.tick, line.outcome, line.job.as_ref(), line.seq, line.ticks, line.cause),
            (s(10 * tick), TickOutcome::Fired, Some(&leased.id), tick, 1, Trigger::Tick)
        );
    }
    let row = read(store, "n").await;
    assert_eq!((row.fires, row.seq, row.next_tick), (5, 5, Some(s(60))));
}

/// Processes that start declare what they need; the same again changes nothing, not even the next tick.
pub async fn declaring_a_schedule_again_changes_nothing(stores: &Stores) {
    let store = &stores.first;
    let schedule = every_ten("n");
    let tries = || -> Vec<Batch> { (0..20).map(|_| batch(s(1), vec![put(&schedule).into()])).collect() };
    let (a, b) = tokio::join!(together(&stores.first, tries()), together(&stores.second, tries()));
    let answers = a.into_iter().chain(b).map(|o| schedule_answer(o.unwrap().answers.remove(0)));
    assert_eq!(answers.filter(|answer| answer.changed).count(), 1);
    let made = read(store, "n").await;
    // Long after its tick was due, too.
    let again = schedule_answer(must(store, s(35), put(&schedule)).await);
    assert_eq!((again.changed, again.row), (false, Some(made.clone())));
    assert_eq!(read(store, "n").await, made);

    // An edit that leaves the ticks alone leaves the next one as it is.
    let gentle = schedule.clone().overlap(Overlap::Allow);
    let edited = schedule_answer(must(store, s(35), put(&gentle)).await).row.unwrap();
    assert_eq!((edited.revision, edited.next_tick), (2, Some(s(10))));
    // Whoever made his tasks by the old definition is too late.
    assert_eq!(refused(store, s(35), claim(&made)).await, "schedule.taken");
    // Other ticks start from now.
    let other = Schedule {
        when: crate::jobs::schedule::When::Every(Millis::secs(60)),
        ..gentle
    };
    let edited = schedule_answer(must(store, s(35), put(&other)).await).row.unwrap();
    assert_eq!(edited.revision, 3);
    assert!(edited.next_tick.is_some_and(|tick| tick > s(35)), "{edited:?}");
    assert_eq!(edited.created_at, s(1));
}

/// What would never fire is refused when it is made, and when it is edited.
pub async fn what_never_fires_is_refused(stores: &Stores) {
    let store = &stores.first;
    let never = Schedule::cron("n", "30 2 30 2 *", Target::job("work", serde_json::json!({})));
    assert_eq!(refused(store, s(0), put(&never)).await, "schedule.never_fires");
    let over = Schedule {
        ends_at: Some(s(5)),
        ..every_ten("n")
    };
    assert_eq!(refused(store, s(0), put(&over)).await, "schedule.never_fires");
    assert!(store.reads().schedules.schedule(&tenant(), "n").await.unwrap().is_none());
    must(store, s(0), put(&every_ten("n"))).await;
    assert_eq!(refused(store, s(0), put(&never)).await, "schedule.never_fires");
    assert_eq!(read(store, "n").await.revision, 1);
}

/// A pause is a pause: nothing fires, and nothing is made up for when it ends.
pub async fn a_paused_schedule_does_not_fire(stores: &Stores) {
    let store = &stores.first;
    must(store, s(0), put(&every_ten("n"))).await;
    let active = read(store, "n").await;
    for _ in 0..2 {
        must(store, s(5), ScheduleOp::Pause { id: "n".into() }).await;
    }
    let paused = read(store, "n").await;
    assert_eq!((paused.state, paused.updated_at), (ScheduleState::Paused, s(5)));
    assert_eq!(refused(store, s(25), claim(&active)).await, "schedule.taken");
    assert_eq!(store.reads().schedules.due_first(10).await.unwrap(), []);
    must(store, s(35), ScheduleOp::Resume { id: "n".into() }).await;
    assert_eq!(read(store, "n").await.next_tick, Some(s(40)));
    assert_eq!(fire(store, "n", s(40)).await.ticks.len(), 1);
    assert_eq!(told(store, "n").await, [(40, TickOutcome::Fired)]);
    assert_eq!(
        refused(store, s(0), ScheduleOp::Pause { id: "other".into() }).await,
        "schedule.unknown"
    );
}

/// A deleted one is gone with its history, and one of the same name starts anew.
pub async fn a_deleted_schedule_is_gone(stores: &Stores) {
    let store = &stores.first;
    must(store, s(0), put(&every_ten("n"))).await;
    let first = fire(store, "n", s(10)).await.ticks[0].job.clone().unwrap();
    must(store, s(11), ScheduleOp::Delete { id: "n".into() }).await;
    assert!(store.reads().schedules.schedule(&tenant(), "n").await.unwrap().is_none());
    assert_eq!(history(store, "n").await, []);
    assert_eq!(
        refused(store, s(11), ScheduleOp::Delete { id: "n".into() }).await,
        "schedule.unknown"
    );
    // What it started goes on.
    assert_eq!(read_job(store, &first).await.state, JobState::Ready);
    must(store, s(12), put(&every_ten("n"))).await;
    assert_eq!(fire(store, "n", s(20)).await.row.unwrap().seq, 1);
}

/// While a job runs, the next tick is dropped, waits or is started, as the schedule says.
pub async fn ticks_that_overlap_are_dropped_wait_or_are_started(stores: &Stores) {
    let store = &stores.first;
    for (id, policy) in [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("allow", Overlap::Allow)] {
        must(store, s(0), put(&every_ten(id).overlap(policy))).await;
        for n in 1..=3 {
            fire(store, id, s(10 * n)).await;
        }
    }
    assert_eq!(told(store, "skip").await, [(10, Fired), (20, Skipped), (30, Skipped)]);
    assert_eq!(told(store, "queue").await, [(10, Fired), (20, Waiting), (30, Waiting)]);
    assert_eq!(told(store, "allow").await, [(10, Fired), (20, Fired), (30, Fired)]);

    // Somebody looks again soon, without the tick being due; the job still runs, so nothing happens.
    let row = read(store, "queue").await;
    assert_eq!((row.due_at, row.waiting().unwrap().len()), (s(31).0, 2));
    assert_eq!(fire(store, "queue", s(31)).await.ticks, []);
    let end_all = async |now| {
        for job in super::kit::lease(store, now, "q", 10).await {
            all(store, now, vec![finish(&job, done(None))]).await;
        }
    };
    end_all(s(32)).await;
    let turn = fire(store, "queue", s(33)).await;
    assert_eq!((turn.ticks[0].tick, turn.ticks[0].outcome), (s(20), Fired));
    assert_eq!(told(store, "queue").await, [(10, Fired), (20, Fired), (30, Waiting)]);
    assert_eq!(fire(store, "queue", s(34)).await.ticks, []);
    end_all(s(35)).await;
    // The next tick has come too; it waits behind the one that waits.
    assert_eq!(fire(store, "queue", s(40)).await.ticks[0].tick, s(30));
    let turn = fire(store, "queue", s(40)).await;
    assert_eq!((turn.ticks[0].tick, turn.ticks[0].outcome), (s(40), Waiting));
    end_all(s(41)).await;
    fire(store, "queue", s(41)).await;
    assert_eq!(
        told(store, "queue").await,
        [(10, Fired), (20, Fired), (30, Fired), (40, Fired)]
    );
    // The one that drops goes on as well.
    assert_eq!(fire(store, "skip", s(40)).await.ticks[0].outcome, Fired);
}

/// Ticks that nobody was there for are told in one line.
pub async fn missed_ticks_are_told(stores: &Stores) {
    let store = &stores.first;
    must(store, s(0), put(&every_ten("n").misfire(Misfire::Once, Millis::secs(5)))).await;
    let answer = fire(store, "n", s(1_004)).await;
    assert_eq!(answer.row.unwrap().next_tick, Some(s(1_010)));
    let lines = history(store, "n").await;
    let shown: Vec<_> = lines.iter().map(|l| (l.tick, l.outcome, l.ticks)).collect();
    assert_eq!(shown, [(s(1_000), TickOutcome::Fired, 1), (s(10), TickOutcome::Missed, 99)]);
}

/// Only as many lines are kept as the schedule says, the newest ones.
pub async fn history_is_bounded(stores: &Stores) {
    let store = &stores.first;
    let mut schedule = every_ten("n").overlap(Overlap::Allow);
    schedule.keep = 3;
    must(store, s(0), put(&schedule)).await;
    for n in 1..=8 {
        fire(store, "n", s(10 * n)).await;
    }
    let seqs = async || history(store, "n").await.iter().map(|l| l.seq).collect::<Vec<_>>();
    assert_eq!(seqs().await, [8, 7, 6]);
    let page = store.reads().schedules.ticks(&tenant(), "n", 8, 1).await.unwrap();
    assert_eq!(page.iter().map(|l| l.seq).collect::<Vec<_>>(), [7]);
    schedule.keep = 0;
    must(store, s(81), put(&schedule)).await;
    fire(store, "n", s(90)).await;
    assert_eq!(seqs().await, [0; 0]);
    schedule.keep = 2;
    must(store, s(91), put(&schedule)).await;
    fire(store, "n", s(100)).await;
    assert_eq!(seqs().await, [10]);
    assert_eq!(read(store, "n").await.fires, 10);

    // A tick that waited for longer than its line was kept gets a new one when its turn comes.
    let mut schedule = every_ten("slow").overlap(Overlap::Queue);
    schedule.keep = 2;
    must(store, s(0), put(&schedule)).await;
    for n in 1..=5 {
        fire(store, "slow", s(10 * n)).await;
    }
    assert_eq!(told(store, "slow").await, [(40, Waiting), (50, Waiting)]);
    let jobs = super::kit::lease(store, s(51), "q", 100).await;
    for job in jobs {
        all(store, s(51), vec![finish(&job, done(None))]).await;
    }
    fire(store, "slow", s(52)).await;
    assert_eq!(told(store, "slow").await, [(50, Waiting), (20, Fired)]);
}

fn paid(tick: Millis, amount: i64) -> TickTask {
    let new = NewJob {
        account: Some("ada".into()),
        hold: Some(HoldId::new(tick)),
        ..job("q")
    };
    TickTask {
        tick,
        task: Ok(Task {
            job: new,
            held: Some(credits(amount)),
        }),
    }
}

/// Credits are held in the commit that fires; where there are none, the tick is told as refused and the
/// schedule goes on.
pub async fn a_tick_that_cannot_be_paid_is_told_and_holds_nobody_up(stores: &Stores) {
    let store = &stores.first;
    must(store, s(0), grant("ada", 10)).await;
    must(store, s(0), put(&every_ten("n"))).await;
    let fire = |n: i64| {
        ScheduleOp::Fire(Fire {
            id: "n".into(),
            revision: 1,
            tasks: vec![paid(s(10 * n), 6)],
        })
    };
    must(store, s(10), fire(1)).await;
    let held = super::kit::account(store, "ada").await.held;
    assert_eq!(held, credits(6));
    let leased = lease_one(store, s(10), "q").await;
    all(store, s(10), vec![finish(&leased, done(None))]).await;
    let answer = schedule_answer(must(store, s(20), fire(2)).await);
    let line = &answer.ticks[0];
    assert_eq!((line.outcome, line.job.as_ref()), (TickOutcome::Refused, None));
    assert!(line.error.as_ref().is_some_and(|e| e.contains("ledger.insufficient_credits")));
    let row = read(store, "n").await;
    assert_eq!(
        (row.fires, row.next_tick, row.running().unwrap()),
        (1, Some(s(30)), Vec::<JobId>::new())
    );
    must(store, s(25), grant("ada", 10)).await;
    must(store, s(30), fire(3)).await;
    assert_eq!(told(store, "n").await, [(10, Fired), (20, Refused), (30, Fired)]);
    assert_eq!(super::kit::account(store, "ada").await.held, credits(6));
    assert!(super::kit::sound(store).await > 0);
    // Started by hand, a refusal is an error and nothing is told.
    let by_hand = ScheduleOp::Start(Start {
        id: "n".into(),
        cause: Trigger::Manual,
        tasks: vec![paid(s(31), 1_000)],
    });
    assert_eq!(refused(store, s(31), by_hand).await, "ledger.insufficient_credits");
    assert_eq!(history(store, "n").await.len(), 3);
    assert_eq!(super::kit::account(store, "ada").await.held.0, MicroCredits::PER_CREDIT * 6);
}

/// A backfill starts what was not started, one after another where jobs may not overlap, and never a tick twice.
pub async fn a_backfill_starts_no_tick_twice(stores: &Stores) {
    let store = &stores.first;
    let backfill = |id: &str, seconds: &[i64]| {
        ScheduleOp::Start(Start {
            id: id.into(),
            cause: Trigger::Backfill,
            tasks: seconds.iter().map(|n| task(s(*n))).collect(),
        })
    };
    must(store, s(0), put(&every_ten("free").overlap(Overlap::Allow))).await;
    fire(store, "free", s(10)).await;
    let tries = |seconds: &'static [i64]| -> Vec<Batch> {
        (0..10)
            .map(|_| batch(s(15), vec![backfill("free", seconds).into()]))
            .collect()
    };
    let (a, b) = tokio::join!(
        together(&stores.first, tries(&[-30, -20, -10, 0, 10])),
        together(&stores.second, tries(&[-20, -10, 0, 10, 20]))
    );
    let lines: usize = a
        .into_iter()
        .chain(b)
        .map(|o| schedule_answer(o.unwrap().answers.remove(0)).ticks.len())
        .sum();
    assert_eq!(lines, 5, "-30 to 20 without 10, which was fired");
    // The tick that was made up for ahead of its time is not started again either.
    let row = fire(store, "free", s(20)).await.row.unwrap();
    assert_eq!((row.fires, row.next_tick), (6, Some(s(30))));
    let ids: std::collections::BTreeSet<_> = history(store, "free").await.iter().filter_map(|l| l.job.clone()).collect();
    assert_eq!(ids.len(), 6);

    must(store, s(0), put(&every_ten("turns"))).await;
    for _ in 0..2 {
        must(store, s(5), backfill("turns", &[-20, -10])).await;
    }
    assert_eq!(
        told(store, "turns").await,
        [(-20, TickOutcome::Waiting), (-10, TickOutcome::Waiting)]
    );
    // They are due at once.
    assert_eq!(read(store, "turns").await.due_at, s(5).0);
    let started = fire(store, "turns", s(5)).await;
    let first = &started.ticks[0];
    assert_eq!((first.tick, first.cause), (s(-20), Trigger::Backfill));
    assert_eq!(fire(store, "turns", s(6)).await.ticks, []);
    let ready = super::kit::lease(store, s(6), "q", 10).await;
    for job in &ready {
        all(store, s(6), vec![finish(job, done(None))]).await;
    }
    assert_eq!(fire(store, "turns", s(7)).await.ticks[0].tick, s(-10));
}

/// Started by hand it runs at once, paused or busy, and its ticks stay as they are.
pub async fn a_schedule_is_started_by_hand(stores: &Stores) {
    let store = &stores.first;
    must(store, s(0), put(&every_ten("n"))).await;
    must(store, s(0), ScheduleOp::Pause { id: "n".into() }).await;
    let by_hand = || {
        ScheduleOp::Start(Start {
            id: "n".into(),
            cause: Trigger::Manual,
            tasks: vec![task(s(3))],
        })
    };
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let answer = schedule_answer(must(store, s(3), by_hand()).await);
        assert_eq!((answer.ticks[0].cause, answer.ticks[0].tick), (Trigger::Manual, s(3)));
        ids.insert(answer.ticks[0].job.clone().unwrap());
    }
    assert_eq!(ids.len(), 2);
    let row = read(store, "n").await;
    assert_eq!((row.state, row.next_tick, row.fires), (ScheduleState::Paused, Some(s(10)), 2));
    // It counts as running when the next tick comes.
    must(store, s(4), ScheduleOp::Resume { id: "n".into() }).await;
    assert_eq!(fire(store, "n", s(10)).await.ticks[0].outcome, TickOutcome::Skipped);
}

/// By the time that they are due, whoever's they are; lists by name, for one tenant.
pub async fn schedules_are_read_in_order(stores: &Stores) {
    let store = &stores.first;
    let other = Tenant::new("other").unwrap();
    for (who, id, interval) in [
        (&tenant(), "b", 300),
        (&other, "c", 100),
        (&tenant(), "a", 200),
        (&tenant(), "B", 400),
    ] {
        let schedule = Schedule::every(id, Millis::secs(interval), Target::job("work", serde_json::json!({})));
        let schedule = Schedule {
            starts_at: Some(s(interval)),
            ..schedule
        };
        let batch = Batch::new(who.clone(), s(0)).op(put(&schedule));
        store.commit(batch).await.unwrap();
    }
    let due = stores.second.reads().schedules.due_first(3).await.unwrap();
    let names: Vec<_> = due.iter().map(|r| (r.tenant.as_str(), &*r.id)).collect();
    assert_eq!(names, [("other", "c"), ("default", "a"), ("default", "b")]);
    let page = async |after: Option<&str>, limit| {
        let page = Page {
            after: after.map(str::to_owned),
            limit,
        };
        let rows = store.reads().schedules.schedules(&tenant(), &page).await.unwrap();
        rows.iter().map(|r| r.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["B", "a", "b"]);
    assert_eq!(page(Some("B"), 1).await, ["a"]);
    assert!(store.reads().schedules.schedule(&other, "a").await.unwrap().is_none());
}
