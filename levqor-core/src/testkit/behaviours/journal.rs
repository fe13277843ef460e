//! The journal of a run.

use std::sync::Arc;

use super::kit::{at, enqueue, job, lease_one, must, refused};
use crate::jobs::{Job, JournalOp, JournalRow, StepStatus};
use crate::testkit::stores::Stores;

fn step(job: &Job, path: &str, status: StepStatus, output: Option<&str>) -> JournalRow {
    JournalRow {
        job: job.id.clone(),
        path: path.into(),
        status,
        attempts: 1,
        output: output.map(Into::into),
        error: None,
        started_at: at(1),
        ended_at: status.settled().then_some(at(2)),
    }
}

fn write(job: &Arc<Job>, rows: Vec<JournalRow>) -> JournalOp {
    JournalOp {
        job: job.id.clone(),
        fence: job.fence,
        rows,
    }
}

/// Whoever lost the lease writes nothing, not even the rows before the wrong one.
pub async fn steps_are_written_under_the_lease_only(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    let lost = lease_one(store, at(0), "q").await;
    must(store, at(1), write(&lost, vec![step(&lost, "a", StepStatus::Intent, None)])).await;
    let taken = lease_one(&s.second, at(60_000), "q").await;
    let late = write(&lost, vec![step(&lost, "b", StepStatus::Done, Some("1"))]);
    assert_eq!(refused(store, at(60_001), late).await, "jobs.lease_lost");
    must(
        &s.second,
        at(60_002),
        write(&taken, vec![step(&taken, "a", StepStatus::Done, Some("{\"n\":1}"))]),
    )
    .await;
    let steps = store.reads().journal.steps(&taken.id).await.unwrap();
    let found: Vec<_> = steps.iter().map(|s| (&*s.path, s.status, s.output.as_deref())).collect();
    assert_eq!(found, [("a", StepStatus::Done, Some("{\"n\":1}"))]);
    // A sign of progress: the crash is forgiven.
    assert_eq!(super::kit::read_job(store, &taken.id).await.crashes, 0);
}

/// The same again is no error; anything else is, and changes nothing.
pub async fn settled_steps_stay(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    let leased = lease_one(store, at(0), "q").await;
    let settled = step(&leased, "a", StepStatus::Done, Some("1"));
    must(store, at(1), write(&leased, vec![settled.clone()])).await;
    must(store, at(2), write(&leased, vec![settled.clone()])).await;
    let changed = write(
        &leased,
        vec![
            step(&leased, "b", StepStatus::Intent, None),
            step(&leased, "a", StepStatus::Failed, None),
        ],
    );
    assert_eq!(refused(store, at(3), changed).await, "journal.settled");
    let steps = store.reads().journal.steps(&leased.id).await.unwrap();
    assert_eq!(steps, [Arc::new(settled)]);
}
