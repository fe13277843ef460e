//! Kills at random moments. `LEVQOR_SOAK_KILLS` says how many on each store; 200 without it.

use std::collections::BTreeMap;
use std::time::Duration;

use levqor_core::types::random_bytes;

use crate::process::Process;
use crate::world::{World, submit};

/// Runs that each child submits in its life.
const PER_LIFE: usize = 3;

fn kills() -> usize {
    match std::env::var("LEVQOR_SOAK_KILLS") {
        Ok(text) => text.parse().expect("LEVQOR_SOAK_KILLS is a number"),
        Err(_) => 200,
    }
}

fn random_below(n: u64) -> u64 {
    u64::from_be_bytes(random_bytes()) % n
}

/// Takes down what a child said of its submissions.
fn heard(message: &str, acked: &mut BTreeMap<usize, String>) {
    if let Some(rest) = message.strip_prefix("acked ") {
        let (number, run) = rest.split_once(' ').unwrap();
        let before = acked.insert(number.parse().unwrap(), run.to_owned());
        assert!(before.is_none_or(|b| b == run), "one key, two runs: {message}");
    }
}

async fn loses_nothing(world: World) {
    let (kills, mut acked, mut most, mut parents) = (kills(), BTreeMap::new(), 0, Vec::new());
    for life in 0..kills {
        let mut doing = world.life(&format!("life-{life}"));
        // What the last one submitted without hearing the answer is submitted again.
        doing.submits = acked.len()..acked.len() + PER_LIFE;
        most = most.max(doing.submits.end);
        let mut child = Process::start(&doing);
        parents.push(submit(&world.engine, "parent", life).await.unwrap().id);
        // One in eight dies while it is still starting.
        if random_below(8) > 0 {
            while let Some(message) = child.hear().await {
                heard(&message, &mut acked);
                if message == "ready" {
                    break;
                }
            }
        }
        // After so many effects of its own, or of none because it has nothing to do: in the middle of a run.
        let until = std::time::Instant::now() + Duration::from_millis(250);
        let enough = world.effects_of(&doing.name) + usize::try_from(random_below(7)).unwrap();
        while world.effects_of(&doing.name) < enough && std::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        child.kill().await.iter().for_each(|message| heard(message, &mut acked));
    }
    // What was acknowledged is there; all the other numbers are now, once.
    for number in 0..most {
        let run = submit(&world.engine, "child", number).await.unwrap();
        if let Some(before) = acked.get(&number) {
            assert_eq!(
                (before.as_str(), true),
                (run.id.as_str(), run.replayed),
                "an acknowledged run is gone"
            );
        }
    }
    for (number, id) in parents.iter().enumerate() {
        let run = submit(&world.engine, "parent", number).await.unwrap();
        assert_eq!((id, true), (&run.id, run.replayed));
    }
    assert_eq!(world.jobs().await.len(), most + kills);

    world.finish().await;
    let found = world.verify().await;
    // The kills did hit runs in the middle.
    let hit = i64::try_from(kills / 40).unwrap();
    assert!(found.redelivered >= hit, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_random_loses_nothing_on_sqlite() {
    loses_nothing(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_at_random_loses_nothing_on_postgres() {
    loses_nothing(World::postgres().await).await;
}
