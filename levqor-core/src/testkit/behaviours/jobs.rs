//! The life of a job.

use super::kit::{at, done, enqueue, failed, finish, job, job_answer, lease, lease_one, must, read_job, refused};
use crate::jobs::{Beat, Finish, JobState, LeaseState, NewJob, QueueAnswer, QueueOp};
use crate::store::Answer;
use crate::testkit::stores::Stores;
use crate::types::{JobId, Millis};

/// Smaller priorities first; among equals, earlier times; among those, earlier ids.
pub async fn jobs_come_by_priority_then_time_then_id(s: &Stores) {
    let store = &s.first;
    let of = |priority, run_at| NewJob {
        priority,
        run_at: at(run_at),
        ..job("q")
    };
    // Given out of order on purpose; the number is the place that is expected.
    let jobs = [
        (3, of(100, 5)),
        (1, of(7, 9)),
        (2, of(100, 0)),
        (4, of(100, 5)),
        (5, of(255, 0)),
        (0, of(0, 9)),
    ];
    for (_, new) in jobs.iter().rev() {
        must(store, at(0), enqueue(new)).await;
    }
    let mut expected: Vec<_> = jobs.iter().collect();
    expected.sort_by_key(|(place, _)| *place);
    let expected: Vec<JobId> = expected.iter().map(|(_, new)| new.id.clone()).collect();
    let mut found = Vec::new();
    for max in [1, 2, 10] {
        found.extend(lease(store, at(10), "q", max).await.iter().map(|j| j.id.clone()));
    }
    assert_eq!(found, expected);
    assert!(lease(store, at(10), "q", 10).await.is_empty());
}

/// Not before its time, and then after ready ones of better priority.
pub async fn a_scheduled_job_comes_when_it_is_due(s: &Stores) {
    let store = &s.first;
    let new = NewJob {
        run_at: at(500),
        ..job("q")
    };
    let answer = must(store, at(0), enqueue(&new)).await;
    assert_eq!(job_answer(&answer).state, JobState::Scheduled);
    assert!(lease(store, at(499), "q", 10).await.is_empty());
    let leased = lease_one(store, at(500), "q").await;
    assert_eq!(
        (&leased.id, leased.state, leased.attempt, leased.fence),
        (&new.id, JobState::Leased, 1, 1)
    );
    assert_eq!(
        (leased.started_at, leased.lease_until),
        (Some(at(500)), Some(at(500) + Millis::secs(60)))
    );
    assert_eq!(read_job(store, &new.id).await, leased);
}

/// Scheduled or ready: it is over at once, and calling off twice is no error.
pub async fn a_waiting_job_is_cancelled_at_once(s: &Stores) {
    let store = &s.first;
    for run_at in [0, 500] {
        let new = NewJob {
            run_at: at(run_at),
            ..job("q")
        };
        must(store, at(0), enqueue(&new)).await;
        for _ in 0..2 {
            must(store, at(1), QueueOp::Cancel { job: new.id.clone() }).await;
        }
        let job = read_job(store, &new.id).await;
        assert_eq!((job.state, job.ended_at), (JobState::Cancelled, Some(at(1))));
    }
    assert!(lease(store, at(1_000), "q", 10).await.is_empty());
    assert_eq!(
        refused(store, at(1), QueueOp::Cancel { job: JobId::new(at(0)) }).await,
        "jobs.unknown"
    );
}

/// Its worker hears of it with the next heartbeat.
pub async fn a_running_job_is_asked_to_stop(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    let leased = lease_one(store, at(0), "q").await;
    must(&s.second, at(1), QueueOp::Cancel { job: leased.id.clone() }).await;
    assert_eq!(read_job(store, &leased.id).await.state, JobState::Leased);
    let beats = vec![Beat {
        job: leased.id.clone(),
        fence: leased.fence,
    }];
    let answer = must(
        store,
        at(2),
        QueueOp::Heartbeat {
            beats,
            lease: Millis::secs(60),
        },
    )
    .await;
    assert_eq!(answer, Answer::Queue(QueueAnswer::Leases(vec![LeaseState::CancelAsked])));
    must(store, at(3), finish(&leased, Finish::Cancelled)).await;
    let ended = read_job(store, &leased.id).await;
    assert_eq!(
        (ended.state, ended.lease_until, ended.worker.as_deref()),
        (JobState::Cancelled, None, None)
    );
    assert_eq!(refused(store, at(4), finish(&leased, done(None))).await, "jobs.lease_lost");
}

/// However often it waits, its attempts are not used up.
pub async fn a_snooze_is_no_attempt(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    for i in 0..10 {
        let leased = lease_one(store, at(i * 10), "q").await;
        assert_eq!((leased.attempt, leased.fence), (1, i + 1));
        must(
            store,
            at(i * 10 + 1),
            finish(
                &leased,
                Finish::Snoozed {
                    until: at(i * 10 + 10),
                    signal: false,
                },
            ),
        )
        .await;
        assert!(lease(store, at(i * 10 + 9), "q", 10).await.is_empty());
    }
    let leased = lease_one(store, at(100), "q").await;
    must(store, at(101), finish(&leased, Finish::Released)).await;
    assert_eq!(lease_one(store, at(101), "q").await.attempt, 1);
}

/// Three attempts, then the dead letters; the last error is kept.
pub async fn a_job_is_retried_until_its_attempts_are_used(s: &Stores) {
    let store = &s.first;
    let new = job("q");
    must(store, at(0), enqueue(&new)).await;
    for attempt in 1..=3 {
        let now = at(attempt * 1_000);
        let leased = lease_one(store, now, "q").await;
        assert_eq!(leased.attempt, attempt);
        must(store, now, finish(&leased, failed(Some(now + Millis::secs(1))))).await;
        let expected = if attempt < 3 { JobState::Scheduled } else { JobState::Dead };
        assert_eq!(read_job(store, &new.id).await.state, expected);
    }
    let dead = read_job(store, &new.id).await;
    assert_eq!(dead.error.as_deref(), Some("{\"code\":\"handler.failed\"}"));
    assert_eq!(dead.ended_at, Some(at(3_000)));
    assert!(lease(store, at(1_000_000), "q", 10).await.is_empty());
}

/// A dead job starts over with all its attempts; a done one does not.
pub async fn a_dead_job_is_redriven(s: &Stores) {
    let store = &s.first;
    let new = job("q");
    must(store, at(0), enqueue(&new)).await;
    let redrive = || QueueOp::Redrive {
        job: new.id.clone(),
        hold: None,
    };
    assert_eq!(refused(store, at(0), redrive()).await, "jobs.wrong_state");
    let leased = lease_one(store, at(0), "q").await;
    must(store, at(1), finish(&leased, failed(None))).await;
    must(store, at(2), redrive()).await;
    let again = lease_one(store, at(3), "q").await;
    assert_eq!((again.attempt, again.error.as_deref(), again.ended_at), (1, None, None));
    assert!(again.fence > leased.fence);
    must(store, at(4), finish(&again, done(None))).await;
    assert_eq!(refused(store, at(5), redrive()).await, "jobs.wrong_state");
}

/// Whoever lost the answer says it again; another fence or another result is refused.
pub async fn finishing_twice_is_finishing_once(s: &Stores) {
    let store = &s.first;
    must(store, at(0), enqueue(&job("q"))).await;
    let leased = lease_one(store, at(0), "q").await;
    let first = must(store, at(1), finish(&leased, done(None))).await;
    let second = must(store, at(9), finish(&leased, done(None))).await;
    assert_eq!(first, second);
    assert_eq!(job_answer(&second).ended_at, Some(at(1)));
    let other = Finish::Done {
        result: "{\"ok\":false}".into(),
        capture: None,
    };
    assert_eq!(refused(store, at(9), finish(&leased, other)).await, "jobs.lease_lost");
    let mut wrong = (*leased).clone();
    wrong.fence += 1;
    assert_eq!(refused(store, at(9), finish(&wrong, done(None))).await, "jobs.lease_lost");
}

/// Names, priorities and numbers of attempts outside their bounds.
pub async fn bad_jobs_are_refused(s: &Stores) {
    let store = &s.first;
    let bad = [
        (
            NewJob {
                queue: "".into(),
                ..job("q")
            },
            "jobs.bad_name",
        ),
        (
            NewJob {
                queue: "a b".into(),
                ..job("q")
            },
            "jobs.bad_name",
        ),
        (
            NewJob {
                handler: "\0".into(),
                ..job("q")
            },
            "jobs.bad_name",
        ),
        (
            NewJob {
                priority: 256,
                ..job("q")
            },
            "jobs.bad_priority",
        ),
        (
            NewJob {
                max_attempts: 0,
                ..job("q")
            },
            "jobs.bad_attempts",
        ),
    ];
    for (new, code) in bad {
        assert_eq!(refused(store, at(0), enqueue(&new)).await, code);
    }
}
