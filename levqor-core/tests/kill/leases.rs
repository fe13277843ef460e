//! Leases: of frozen, slow, stopped and dead workers.

use std::time::{Duration, Instant};

use levqor_core::engine::Engine;
use levqor_core::jobs::{Finish, Job, JobState, JournalOp, JournalRow, QueueOp, StepStatus};
use levqor_core::store::{Batch, Op};
use levqor_core::types::{MicroCredits, Millis};
use serde_json::{Value, json};

use crate::mark::Gates;
use crate::process::Process;
use crate::world::{LEASE, World, worker};

async fn refused(engine: &Engine, op: impl Into<Op>) -> String {
    let batch = Batch::new(engine.tenant_name().clone(), engine.now()).op(op);
    engine.backend().store.commit(batch).await.unwrap_err().code().to_owned()
}

/// Writes as the holder of the lease `stale` would: none counts.
async fn writes_are_refused(engine: &Engine, stale: &Job) {
    let row = JournalRow {
        job: stale.id.clone(),
        path: "b".into(),
        status: StepStatus::Done,
        attempts: 1,
        output: Some("1".into()),
        error: None,
        started_at: engine.now(),
        ended_at: Some(engine.now()),
    };
    let journal = JournalOp {
        job: stale.id.clone(),
        fence: stale.fence,
        rows: vec![row],
    };
    assert_eq!(refused(engine, journal).await, "jobs.lease_lost");
    let finish = QueueOp::Finish {
        job: stale.id.clone(),
        fence: stale.fence,
        how: Finish::Done {
            result: "\"late\"".into(),
            capture: None,
        },
    };
    assert_eq!(refused(engine, finish).await, "jobs.lease_lost");
}

/// A worker with this lease is frozen in a step until another, whose clock is `ahead`, has settled the run; then it
/// goes on, and nothing of what it does counts.
async fn frozen(world: World, lease: Millis, ahead: Millis) {
    let mut life = world.life("zombie");
    life.lease = lease;
    let mut child = Process::start(&life);
    child.expect("ready").await;
    let run = world.step("mark.gate", json!({"gate": "step"})).await;
    child.expect(&format!("begun {run}")).await;
    let stale = world.job(&run).await;
    child.signal("STOP").await;

    let gates = Gates::closed();
    gates.open("step");
    let (other, _) = world.second("other", gates, ahead).await;
    let report = world.finish_with(&other).await;
    assert_eq!((report.done, report.lost), (1, 0));
    let settled = world.engine.pipelines().status(&run).await.unwrap();
    assert_eq!((settled.state, settled.captured.to_string()), (JobState::Done, "1".into()));
    assert_eq!(settled.steps[0].output, Some(json!({"by": "other"})));

    child.open("step").await;
    child.signal("CONT").await;
    child.signal("TERM").await;
    let report: Value = serde_json::from_str(&child.expect("report").await).unwrap();
    assert_eq!((&report["lost"], &report["done"]), (&json!(1), &json!(0)), "{report}");
    assert!(child.ended().await.success());
    writes_are_refused(&world.engine, &stale).await;

    assert_eq!(world.engine.pipelines().status(&run).await.unwrap(), settled);
    let reads = world.engine.backend().store.reads();
    let rows = reads
        .ledger
        .rows(world.engine.tenant_name(), &levqor_core::store::LedgerScope::Everything)
        .await
        .unwrap();
    assert_eq!(rows.txns.iter().filter(|t| &*t.kind == "capture").count(), 1);
    let audit = world.engine.credits().audit().await.unwrap();
    assert!(audit.violations.is_empty(), "{audit:?}");
    // The same step of the same run: whoever honours the key did it once.
    let effects = world.effects();
    assert_eq!((effects.len(), &effects[0][..3]), (2, &effects[1][..3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_longer_than_its_lease_writes_nothing_more_on_sqlite() {
    frozen(World::sqlite().await, LEASE, Millis::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_longer_than_its_lease_writes_nothing_more_on_postgres() {
    frozen(World::postgres().await, LEASE, Millis::ZERO).await;
}

/// No heartbeat tells the frozen one that its lease is over: its write itself is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_never_heard_that_its_lease_is_over_writes_nothing_more() {
    frozen(World::sqlite().await, Millis::mins(10), Millis::mins(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_longer_than_two_leases_is_not_given_to_another_worker() {
    let world = World::sqlite().await;
    let (other, other_mark) = world.second("other", world.gates.clone(), Millis::ZERO).await;
    let run = world.step("mark.gate", json!({"gate": "slow"})).await;
    let ended = async || drop(world.ended(&run).await);
    let slow = async {
        tokio::select! {
            () = world.mark.wait_begun(run.as_str()) => {}
            () = other_mark.wait_begun(run.as_str()) => {}
        }
        // Two and a half leases: the span is what is tested.
        tokio::time::sleep(LEASE.to_duration() * 5 / 2).await;
        world.gates.open("slow");
    };
    let (a, b, ()) = tokio::join!(worker(&world.engine).run(ended()), worker(&other).run(ended()), slow);
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.done + b.done, a.lost + b.lost), (1, 0));
    let job = world.job(&run).await;
    assert_eq!(
        (job.state, job.fence, job.attempt, job.crashes),
        (JobState::Done, 1, 1, 0),
        "{job:?}"
    );
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_ends_what_is_short_and_gives_back_what_is_long() {
    let world = World::sqlite().await;
    let mut life = world.life("stopped");
    life.grace = Millis(500);
    let mut child = Process::start(&life);
    let short = world.step("mark.gate", json!({"gate": "short"})).await;
    child.expect(&format!("begun {short}")).await;
    let long = world.step("mark.gate", json!({"gate": "long"})).await;
    child.expect(&format!("begun {long}")).await;

    let told = Instant::now();
    child.signal("TERM").await;
    child.expect("stopping").await;
    // This comes too late to be taken, and is not.
    let late = world.step("mark.put", json!({})).await;
    child.open("short").await;
    let report: Value = serde_json::from_str(&child.expect("report").await).unwrap();
    assert!(child.ended().await.success());
    let took = told.elapsed();
    assert!(took < life.grace.to_duration() + Duration::from_secs(1), "{took:?}");
    assert_eq!(
        (&report["done"], &report["released"], &report["lost"]),
        (&json!(1), &json!(1), &json!(0))
    );

    let back = world.job(&long).await;
    assert_eq!(
        (back.state, back.attempt, back.crashes),
        (JobState::Ready, 0, 0),
        "given back unspent"
    );
    assert_eq!(world.job(&late).await.fence, 0);
    world.gates.open("long");
    // No lease has to run out: another does it at once.
    assert_eq!(world.finish().await.done, 2);
    let job = world.job(&long).await;
    assert_eq!((job.state, job.attempt, job.fence), (JobState::Done, 1, 2));
    assert_eq!(world.engine.credits().balance("ann").await.unwrap().held, MicroCredits::ZERO);
}

async fn noticed(world: World) {
    let mut child = Process::start(&world.life("victim"));
    let run = world.step("mark.gate", json!({"gate": "step"})).await;
    child.expect(&format!("begun {run}")).await;
    let took = async {
        let dead = Instant::now();
        child.kill().await;
        world.gates.open("step");
        world.ended(&run).await;
        dead.elapsed()
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (took, report) = tokio::join!(
        async {
            let took = took.await;
            stop.send(()).unwrap();
            took
        },
        worker(&world.engine).run(async { drop(stopped.await) })
    );
    assert!(took < LEASE.to_duration() * 2, "{took:?}");
    assert_eq!(report.unwrap().done, 1);
    let job = world.job(&run).await;
    assert_eq!(
        (job.state, job.fence, job.attempt, job.captured.to_string()),
        (JobState::Done, 2, 1, "1".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_noticed_within_two_leases_on_sqlite() {
    noticed(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_noticed_within_two_leases_on_postgres() {
    noticed(World::postgres().await).await;
}
