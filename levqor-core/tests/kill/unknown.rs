//! Calls that must not be repeated blindly, and were cut off.

use levqor_core::jobs::JobState;
use levqor_core::types::{MicroCredits, Millis};
use serde_json::json;

use crate::mark::Gates;
use crate::process::Process;
use crate::world::World;

/// Nobody repeats it by himself; whoever decides to take the run up again has it made once more.
async fn waits_for_a_decision(world: World) {
    let mut child = Process::start(&world.life("victim"));
    let run = world.step("mark.once_gate", json!({"gate": "call"})).await;
    child.expect(&format!("begun {run}")).await;
    child.kill().await;

    let gates = Gates::closed();
    gates.open("call");
    // For this one the lease of the dead worker has run out.
    let (other, _) = world.second("other", gates, Millis::mins(1)).await;
    world.finish_with(&other).await;
    let view = world.engine.pipelines().status(&run).await.unwrap();
    assert_eq!(
        (view.state, view.failure().unwrap().code()),
        (JobState::Dead, "run.effect_unknown")
    );
    assert_eq!((view.captured, world.effects().len()), (MicroCredits::ZERO, 1));
    assert_eq!(world.engine.credits().balance("ann").await.unwrap().held, MicroCredits::ZERO);

    other.pipelines().retry(&run).await.unwrap();
    world.finish_with(&other).await;
    let view = world.engine.pipelines().status(&run).await.unwrap();
    assert_eq!(
        (view.state, view.captured.to_string()),
        (JobState::Done, "1".into()),
        "{view:?}"
    );
    let lives: Vec<String> = world.effects().into_iter().map(|[.., life]| life).collect();
    assert_eq!(lives, ["victim", "other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_worker_was_killed_waits_for_a_decision_on_sqlite() {
    waits_for_a_decision(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_worker_was_killed_waits_for_a_decision_on_postgres() {
    waits_for_a_decision(World::postgres().await).await;
}
