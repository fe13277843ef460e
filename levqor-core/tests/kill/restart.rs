//! A database server that goes away and comes back.

use std::time::Duration;

use levqor_core::engine::RunRequest;
use levqor_core::jobs::JobState;
use levqor_core::testkit::services::Service;
use levqor_core::testkit::stores::Folder;
use levqor_core::testkit::{PostgresStop, RunningPostgres};
use levqor_core::types::Millis;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::process::Process;
use crate::world::{World, submit, worker};

const RUNS: usize = 60;

/// Submits the runs, each until it is acknowledged, and counts them.
async fn submit_all(world: &World, acked: &watch::Sender<usize>) {
    for number in 0..RUNS {
        while let Err(e) = submit(&world.engine, "submitter", number).await {
            assert!(e.retryable(), "a restart is nothing to give up for: {e}");
        }
        acked.send_modify(|n| *n += 1);
    }
}

/// The server is stopped and started twice under a worker that works and somebody who submits.
async fn heals(server: RunningPostgres) {
    let world = World::over(server.url("postgres"), Folder::new()).await;
    // A call that must not be repeated, and that is under way during the first restart.
    let tenant = world.engine.tenant("gate").unwrap();
    let steps = json!([{"id": "a", "action": "mark.once_gate", "input": {"gate": "call"}}, {"id": "b", "action": "mark.put", "input": {}}]);
    let request = RunRequest::new("ann", json!({"version": 1, "name": "call", "steps": steps}), json!({}));
    let call = tenant.pipelines().submit(request).await.unwrap().id;

    let (other, mark) = world.second("worker", world.gates.clone(), Millis::ZERO).await;
    let (stop, stopped) = oneshot::channel();
    let work = worker(&other).lease(Millis::secs(15)).run(async { drop(stopped.await) });
    let acked = watch::Sender::new(0);
    let restarts = async {
        let mut seen = acked.subscribe();
        mark.wait_begun(call.as_str()).await;
        seen.wait_for(|n| *n >= RUNS / 3).await.unwrap();
        let server = order(server, |s| s.stop(PostgresStop::Fast)).await;
        // The call ends while there is nobody to tell it to.
        world.gates.open("call");
        let server = order(server, RunningPostgres::start).await;
        seen.wait_for(|n| *n >= 2 * RUNS / 3).await.unwrap();
        let server = order(server, |s| s.stop(PostgresStop::Immediate)).await;
        let server = order(server, RunningPostgres::start).await;
        seen.wait_for(|n| *n == RUNS).await.unwrap();
        world.all_ended().await;
        let view = tenant.pipelines().wait(&call, Duration::from_mins(1)).await.unwrap();
        assert_eq!(view.state, JobState::Done, "{:?}", view.failure());
        stop.send(()).unwrap();
        server
    };
    let (report, (), _server) = tokio::join!(work, submit_all(&world, &acked), restarts);
    report.unwrap();
    let calls = world
        .effects()
        .iter()
        .filter(|[run, step, ..]| run == call.as_str() && step == "a")
        .count();
    assert_eq!(calls, 1);
    std::fs::write(world.effects_file(), without(&world, call.as_str())).unwrap();
    let found = world.verify().await;
    assert!(
        found.unknown.is_empty(),
        "a restart of the server made these doubtful: {:?}",
        found.unknown
    );
}

/// Has something done to the server while everything else goes on.
async fn order(mut server: RunningPostgres, what: impl FnOnce(&mut RunningPostgres) + Send + 'static) -> RunningPostgres {
    let done = tokio::task::spawn_blocking(move || {
        what(&mut server);
        server
    });
    done.await.unwrap()
}

/// The effects without those of one run.
fn without(world: &World, run: &str) -> String {
    let lines = world.effects().into_iter().filter(|[of, ..]| of != run);
    lines.map(|line| line.join(" ") + "\n").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_and_restarted_server_costs_no_run_anything() {
    heals(Service::postgres()).await;
}

/// A worker in the middle of a run is told to stop while nobody can be told of it. It does not wait for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_although_its_server_was_killed() {
    let mut server = Service::postgres();
    let world = World::over(server.url("postgres"), Folder::new()).await;
    let mut life = world.life("stopped");
    (life.grace, life.concurrency) = (Millis(500), 1);
    let mut child = Process::start(&life);
    let run = world.step("mark.gate", json!({"gate": "step"})).await;
    child.expect(&format!("begun {run}")).await;

    server.stop(PostgresStop::Immediate);
    child.open("step").await;
    child.signal("TERM").await;
    // A heartbeat may be waiting for a connection, for five seconds at most.
    let within = life.grace.to_duration() + Duration::from_secs(1) + Duration::from_secs(5) + Duration::from_secs(1);
    let report = tokio::time::timeout(within, child.expect("report")).await;
    let report: Value = serde_json::from_str(&report.expect("it waits for the server")).unwrap();
    assert_eq!((&report["done"], &report["lost"]), (&json!(0), &json!(1)), "{report}");
    assert!(child.ended().await.success());

    // Another does it, once there is a server again and the lease has run out.
    server.start();
    world.gates.open("step");
    assert_eq!(world.finish().await.done, 1);
}
