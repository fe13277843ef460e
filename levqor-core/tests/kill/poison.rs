//! Jobs that kill whoever does them.

use std::os::unix::process::ExitStatusExt;

use levqor_core::jobs::JobState;
use levqor_core::types::{MicroCredits, Millis};
use serde_json::json;

use crate::process::Process;
use crate::world::World;

/// Which of the jobs are poison: two side by side, and one among the last.
const POISON: [usize; 3] = [10, 11, 55];
const JOBS: usize = 60;

/// What runs beside it on the same worker dies with it each time, and is no poison for that.
async fn only_poison_is_put_away(world: World) {
    let mut jobs = Vec::new();
    for i in 0..JOBS {
        jobs.push(world.step("mark.abort", json!({"abort": POISON.contains(&i)})).await);
    }
    let mut crashes = 0;
    loop {
        let mut life = world.life(&format!("life-{crashes}"));
        life.max_crashes = 3;
        // For each the leases of the dead ones have run out.
        life.ahead = Millis::hours(crashes);
        let child = Process::start(&life);
        tokio::select! {
            status = child.ended() => {
                assert_eq!(status.signal(), Some(6), "it ended otherwise than by abort()");
                crashes += 1;
                assert!(crashes <= 9, "three jobs killed more than three workers each");
            }
            views = world.all_ended() => {
                assert_eq!(views.len(), JOBS);
                break;
            }
        }
    }
    for (i, id) in jobs.iter().enumerate() {
        let job = world.job(id).await;
        if POISON.contains(&i) {
            let e = world.engine.pipelines().status(id).await.unwrap().failure().unwrap();
            assert_eq!((job.state, job.crashes, e.code()), (JobState::Dead, 3, "jobs.poison"));
            assert!(e.message().contains("3 workers") && e.help().is_some(), "{e}");
        } else {
            assert_eq!(job.state, JobState::Done, "job {i} died for what its neighbour did: {job:?}");
        }
    }
    let audit = world.engine.credits().audit().await.unwrap();
    assert!(audit.violations.is_empty(), "{audit:?}");
    assert_eq!(world.engine.credits().balance("ann").await.unwrap().held, MicroCredits::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_put_away_and_its_neighbours_are_not_on_sqlite() {
    only_poison_is_put_away(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_put_away_and_its_neighbours_are_not_on_postgres() {
    only_poison_is_put_away(World::postgres().await).await;
}
