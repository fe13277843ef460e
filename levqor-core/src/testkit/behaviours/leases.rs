//! Leases: fences, workers that die, many workers at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::kit::{
    account, all, at, batch, code, credits, done, enqueue, finish, grant, hold, job, lease, lease_one, must, read_job, refused,
    sound, together,
};
use crate::jobs::{Beat, JobState, Lease, LeaseState, NewJob, QueueAnswer, QueueOp};
use crate::store::{Answer, Op, Store};
use crate::testkit::stores::Stores;
use crate::types::{HoldId, JobId, Millis};

const MINUTE: i64 = 60_000;

/// With a new fence; the old worker can do nothing any more.
pub async fn a_lease_that_ran_out_gives_the_job_to_another(s: &Stores) {
    let (one, other) = (&s.first, &s.second);
    must(one, at(0), enqueue(&job("q"))).await;
    let lost = lease_one(one, at(0), "q").await;
    assert!(lease(other, at(MINUTE - 1), "q", 10).await.is_empty());
    let taken = lease_one(other, at(MINUTE), "q").await;
    assert_eq!(
        (&taken.id, taken.fence, taken.attempt, taken.crashes),
        (&lost.id, lost.fence + 1, 1, 1)
    );
    assert_eq!(
        refused(one, at(MINUTE + 1), finish(&lost, done(None))).await,
        "jobs.lease_lost"
    );
    let progress = QueueOp::Progress {
        job: lost.id.clone(),
        fence: lost.fence,
        progress: "1".into(),
    };
    assert_eq!(refused(one, at(MINUTE + 1), progress).await, "jobs.lease_lost");
    let beats = vec![
        Beat {
            job: lost.id.clone(),
            fence: lost.fence,
        },
        Beat {
            job: taken.id.clone(),
            fence: taken.fence,
        },
    ];
    let answer = must(
        one,
        at(MINUTE + 1),
        QueueOp::Heartbeat {
            beats,
            lease: Millis::secs(60),
        },
    )
    .await;
    assert_eq!(
        answer,
        Answer::Queue(QueueAnswer::Leases(vec![LeaseState::Lost, LeaseState::Kept]))
    );
    must(other, at(MINUTE + 2), finish(&taken, done(None))).await;
    assert_eq!(read_job(one, &lost.id).await.state, JobState::Done);
}

/// Three leases that ran out in a row: dead, with `jobs.poison`, and nothing is held any more.
pub async fn a_job_that_kills_its_workers_is_dead_and_its_hold_free(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 100)).await;
    let id = HoldId::new(at(0));
    let new = NewJob {
        hold: Some(id.clone()),
        ..job("q")
    };
    all(store, at(0), vec![hold(&id, "ada", 10, None).into(), enqueue(&new)]).await;
    for crash in 0..3 {
        assert_eq!(lease_one(store, at(crash * MINUTE), "q").await.crashes, crash);
        assert_eq!(account(store, "ada").await.held, credits(10));
    }
    assert!(lease(store, at(3 * MINUTE), "q", 10).await.is_empty());
    let dead = read_job(store, &new.id).await;
    assert_eq!((dead.state, dead.crashes, &dead.hold), (JobState::Dead, 3, &None));
    assert!(
        dead.error.as_deref().is_some_and(|e| e.contains("jobs.poison")),
        "{:?}",
        dead.error
    );
    assert_eq!(account(store, "ada").await.held, credits(0));
    sound(store).await;
}

/// However many accounts one commit settles.
pub async fn sixty_jobs_of_sixty_accounts_die_in_one_commit(s: &Stores) {
    let store = &s.first;
    let batches = (0..60).map(|i| {
        let (id, owner) = (HoldId::new(at(0)), format!("a{i}"));
        let new = NewJob {
            hold: Some(id.clone()),
            ..job("q")
        };
        batch(
            at(0),
            vec![grant(&owner, 5).into(), hold(&id, &owner, 5, None).into(), enqueue(&new)],
        )
    });
    together(store, batches.collect())
        .await
        .iter()
        .for_each(|o| assert_eq!(code(o), "ok"));
    assert_eq!(lease(store, at(0), "q", 100).await.len(), 60);
    let ask = Lease {
        queues: vec!["q".into()],
        worker: "w".into(),
        max: 1,
        lease: Millis::secs(60),
        max_crashes: 1,
    };
    let answer = must(store, at(MINUTE), QueueOp::Lease(ask)).await;
    let nothing = QueueAnswer::Leased {
        jobs: vec![],
        again: None,
    };
    assert_eq!(answer, Answer::Queue(nothing));
    for i in 0..60 {
        assert_eq!(account(store, &format!("a{i}")).await.held, credits(0));
    }
    sound(store).await;
}

/// What crashed together comes back together, but the last time each comes alone: only what crashes by itself is poison.
pub async fn a_job_on_its_last_chance_is_leased_alone(s: &Stores) {
    let store = &s.first;
    for _ in 0..3 {
        must(store, at(0), enqueue(&job("q"))).await;
    }
    assert_eq!(lease(store, at(0), "q", 10).await.len(), 3);
    must(store, at(1), enqueue(&job("q"))).await;
    assert_eq!(lease(store, at(MINUTE), "q", 3).await.len(), 3);
    for _ in 0..3 {
        let job = lease_one(store, at(2 * MINUTE), "q").await;
        assert_eq!(job.crashes, 2);
        must(store, at(2 * MINUTE), finish(&job, done(None))).await;
    }
    assert_eq!(lease_one(store, at(2 * MINUTE), "q").await.crashes, 0);
}

/// As long as they come.
pub async fn heartbeats_keep_a_lease(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    let leased = lease_one(store, at(0), "q").await;
    for i in 1..=5 {
        let beats = vec![Beat {
            job: leased.id.clone(),
            fence: leased.fence,
        }];
        let answer = must(
            store,
            at(i * MINUTE - 1),
            QueueOp::Heartbeat {
                beats,
                lease: Millis::secs(60),
            },
        )
        .await;
        assert_eq!(answer, Answer::Queue(QueueAnswer::Leases(vec![LeaseState::Kept])));
        assert!(lease(store, at(i * MINUTE), "q", 10).await.is_empty());
    }
    must(store, at(5 * MINUTE), finish(&leased, done(None))).await;
}

/// A worker of thirty queues empties them in the order it named them.
pub async fn many_queues_are_served_in_their_order(s: &Stores) {
    let store = &s.first;
    let names: Vec<Arc<str>> = (0..30).map(|i| format!("q{i}").into()).collect();
    for name in names.iter().rev() {
        must(store, at(0), enqueue(&job(name))).await;
    }
    let mut found = Vec::new();
    for max in [7, 7, 100] {
        let ask = Lease {
            queues: names.clone(),
            worker: "w".into(),
            max,
            lease: Millis::secs(60),
            max_crashes: 3,
        };
        match must(store, at(1), QueueOp::Lease(ask)).await {
            Answer::Queue(QueueAnswer::Leased { jobs, .. }) => found.extend(jobs.iter().map(|j| j.queue.clone())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found, names);
}

/// 500 jobs, two stores, four workers at each: every job is leased once and done once.
pub async fn two_stores_lease_every_job_once(s: &Stores) {
    let batches = (0..100).map(|_| batch(at(0), (0..5).map(|_| enqueue(&job("q"))).collect()));
    together(&s.first, batches.collect())
        .await
        .iter()
        .for_each(|o| assert_eq!(code(o), "ok"));
    let work = |store: Arc<dyn Store>| async move {
        let mut mine: Vec<JobId> = Vec::new();
        let mut idle = 0;
        // Jobs that another one is just taking may be left out: empty-handed once is not the end.
        while idle < 20 {
            let jobs = lease(&store, at(1), "q", 7).await;
            idle = if jobs.is_empty() { idle + 1 } else { 0 };
            let ends: Vec<Op> = jobs.iter().map(|j| finish(j, done(None))).collect();
            if !ends.is_empty() {
                all(&store, at(2), ends).await;
            }
            mine.extend(jobs.iter().map(|j| j.id.clone()));
        }
        mine
    };
    let workers: Vec<_> = (0..8)
        .map(|i| tokio::spawn(work(if i % 2 == 0 { s.first.clone() } else { s.second.clone() })))
        .collect();
    let mut leased = Vec::new();
    for worker in workers {
        leased.extend(worker.await.unwrap());
    }
    assert_eq!(leased.len(), 500);
    assert_eq!(leased.iter().collect::<BTreeSet<_>>().len(), 500);
    assert!(lease(&s.first, at(3), "q", 10).await.is_empty());
}
