//! Queues: paused, limited, with unique jobs and batches.

use std::sync::Arc;

use super::kit::{all, at, done, enqueue, failed, finish, job, job_answer, lease, lease_one, must, read_job, refused, tenant};
use crate::jobs::{
    BatchState, Duplicate, Finish, JobState, Lease, NewBatch, NewJob, QueueAnswer, QueueChange, QueueLimits, QueueOp, Signalled,
    UniqueKey,
};
use crate::store::{Answer, JobFilter, Page, Store};
use crate::testkit::stores::Stores;
use crate::types::{BatchId, JobId, Millis};

fn change(queue: &str, change: QueueChange) -> QueueOp {
    QueueOp::Change {
        queue: queue.into(),
        change,
    }
}

fn limit(queue: &str, limits: QueueLimits) -> QueueOp {
    change(queue, QueueChange::Limit(limits))
}

fn keyed(key: &str) -> NewJob {
    NewJob {
        concurrency_key: Some(key.into()),
        ..job("q")
    }
}

async fn ids(store: &Arc<dyn Store>, now: i64, max: usize) -> Vec<JobId> {
    lease(store, at(now), "q", max).await.iter().map(|j| j.id.clone()).collect()
}

/// Nothing is taken from it, what runs goes on, and other queues do not notice.
pub async fn a_paused_queue_gives_nothing(s: &Stores) {
    let store = &s.first;
    for queue in ["q", "q", "other"] {
        must(store, at(0), enqueue(&job(queue))).await;
    }
    let running = lease(store, at(0), "q", 1).await.remove(0);
    must(store, at(0), change("q", QueueChange::Pause)).await;
    assert!(lease(store, at(1), "q", 10).await.is_empty());
    assert_eq!(lease(store, at(1), "other", 10).await.len(), 1);
    must(store, at(1), finish(&running, done(None))).await;
    // Every other process sees it too.
    assert!(lease(&s.second, at(2), "q", 10).await.is_empty());
    let settings = s.second.reads().queue.queues().await.unwrap();
    assert_eq!((settings.len(), &*settings[0].queue, settings[0].paused), (1, "q", true));
    must(&s.second, at(3), change("q", QueueChange::Resume)).await;
    assert_eq!(lease(store, at(3), "q", 10).await.len(), 1);
}

/// No more of a queue run at the same time than may, whoever asks.
pub async fn a_queue_runs_as_many_as_it_may(s: &Stores) {
    let store = &s.first;
    let running = QueueLimits {
        running: Some(3),
        ..QueueLimits::default()
    };
    must(store, at(0), limit("q", running)).await;
    for _ in 0..6 {
        must(store, at(0), enqueue(&job("q"))).await;
    }
    let first = lease(store, at(0), "q", 2).await;
    let more = lease(&s.second, at(0), "q", 10).await;
    assert_eq!((first.len(), more.len()), (2, 1));
    assert!(lease(store, at(0), "q", 10).await.is_empty());
    must(store, at(1), finish(&first[0], done(None))).await;
    assert_eq!(lease(&s.second, at(1), "q", 10).await.len(), 1);
    // A lease that runs out makes room as well.
    assert_eq!(lease(store, at(120_000), "q", 10).await.len(), 3);
}

/// Those that are kept back by their key let others pass, and come forward in their order.
pub async fn jobs_of_one_key_run_one_after_another(s: &Stores) {
    let store = &s.first;
    let per_key = QueueLimits {
        per_key: Some(1),
        ..QueueLimits::default()
    };
    must(store, at(0), limit("q", per_key)).await;
    let jobs = [keyed("a"), keyed("a"), keyed("a"), keyed("b"), job("q")];
    for new in &jobs {
        must(store, at(0), enqueue(new)).await;
    }
    assert_eq!(ids(store, 0, 10).await, [&jobs[0], &jobs[3], &jobs[4]].map(|j| j.id.clone()));
    assert!(ids(store, 0, 10).await.is_empty());
    assert!(read_job(store, &jobs[1].id).await.parked());
    let counts = store.reads().queue.counts(&tenant()).await.unwrap();
    assert_eq!(counts, [("q".into(), JobState::Ready, 2), ("q".into(), JobState::Leased, 3)]);

    // One that is kept back can be called off; the next takes its place.
    must(store, at(1), QueueOp::Cancel { job: jobs[1].id.clone() }).await;
    let first = read_job(store, &jobs[0].id).await;
    must(store, at(1), finish(&first, done(None))).await;
    assert_eq!(ids(&s.second, 1, 10).await, std::slice::from_ref(&jobs[2].id));

    // A retry waits for its turn too, and lets the next one pass.
    let late = keyed("a");
    must(store, at(2), enqueue(&late)).await;
    assert!(ids(store, 2, 10).await.is_empty());
    let third = read_job(store, &jobs[2].id).await;
    must(store, at(3), finish(&third, failed(Some(at(10))))).await;
    assert_eq!(ids(store, 3, 10).await, std::slice::from_ref(&late.id));
    assert!(ids(store, 10, 10).await.is_empty(), "its key runs");
    let late = read_job(store, &late.id).await;
    must(store, at(11), finish(&late, done(None))).await;
    assert_eq!(ids(store, 11, 10).await, std::slice::from_ref(&jobs[2].id));
}

/// Three hundred jobs of a key that may run one at a time do not hide the one behind them; a raised limit is used.
pub async fn a_crowd_of_one_key_hides_nobody(s: &Stores) {
    let store = &s.first;
    let per_key = |n| {
        limit(
            "q",
            QueueLimits {
                per_key: Some(n),
                ..QueueLimits::default()
            },
        )
    };
    must(store, at(0), per_key(1)).await;
    let crowd: Vec<_> = (0..300).map(|_| enqueue(&keyed("a"))).collect();
    all(store, at(0), crowd).await;
    let behind = keyed("b");
    must(store, at(1), enqueue(&behind)).await;
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(ids(store, 1, 5).await);
    }
    assert_eq!((found.len(), found.contains(&behind.id)), (2, true));
    must(store, at(2), per_key(4)).await;
    let mut ended = 0;
    for now in 3..40 {
        let running = JobFilter {
            state: Some(JobState::Leased),
            ..JobFilter::default()
        };
        let running = store.reads().queue.jobs(&tenant(), &running, &Page::default()).await.unwrap();
        assert!(running.iter().filter(|j| j.concurrency_key.as_deref() == Some("a")).count() <= 4);
        for job in &running {
            must(store, at(now), finish(job, done(None))).await;
            ended += 1;
        }
        lease(store, at(now), "q", 10).await;
    }
    assert!(ended > 100, "{ended} of a limit of four at a time");
}

/// As many start as the rate lets, and the worker is told when to ask again.
pub async fn a_queue_starts_jobs_at_its_rate(s: &Stores) {
    let store = &s.first;
    let rate = QueueLimits {
        rate: Some("10/second burst 2".parse().unwrap()),
        ..QueueLimits::default()
    };
    must(store, at(0), limit("q", rate)).await;
    for _ in 0..5 {
        must(store, at(0), enqueue(&job("q"))).await;
    }
    let ask = QueueOp::Lease(Lease {
        queues: vec!["q".into()],
        worker: "w".into(),
        max: 10,
        lease: Millis::secs(60),
        max_crashes: 3,
    });
    let mut started = Vec::new();
    for now in [0, 50, 100, 150, 200, 300, 1_000] {
        let Answer::Queue(QueueAnswer::Leased { jobs, again }) = must(store, at(now), ask.clone()).await else {
            panic!("no answer to a lease");
        };
        started.push((jobs.len(), again.map(|wait| wait.0)));
    }
    assert_eq!(
        started,
        [
            (2, Some(100)),
            (0, Some(50)),
            (1, Some(100)),
            (0, Some(50)),
            (1, Some(100)),
            (1, None),
            (0, None)
        ]
    );
}

/// The rate of one key keeps others from nothing.
pub async fn a_key_starts_jobs_at_its_rate(s: &Stores) {
    let store = &s.first;
    let rate = QueueLimits {
        rate_per_key: Some("1/second".parse().unwrap()),
        ..QueueLimits::default()
    };
    must(store, at(0), limit("q", rate)).await;
    let jobs = [keyed("a"), keyed("a"), keyed("b"), job("q"), job("q")];
    for new in &jobs {
        must(store, at(0), enqueue(new)).await;
    }
    let now = ids(store, 0, 10).await;
    assert_eq!(now, [&jobs[0], &jobs[2], &jobs[3], &jobs[4]].map(|j| j.id.clone()));
    assert!(ids(store, 999, 10).await.is_empty());
    assert_eq!(ids(store, 1_000, 10).await, std::slice::from_ref(&jobs[1].id));
}

/// Limits under which nothing would ever run are refused, and so are keys that are none.
pub async fn bad_limits_are_refused(s: &Stores) {
    let nothing = QueueLimits {
        running: Some(0),
        ..QueueLimits::default()
    };
    assert_eq!(refused(&s.first, at(0), limit("q", nothing)).await, "jobs.bad_limit");
    assert_eq!(refused(&s.first, at(0), enqueue(&keyed(""))).await, "jobs.bad_key");
    assert_eq!(refused(&s.first, at(0), enqueue(&keyed("a\nb"))).await, "jobs.bad_key");
}

fn unique(window: i64, then: Duplicate) -> NewJob {
    NewJob {
        unique: Some(UniqueKey {
            key: "report".into(),
            window: Millis(window),
            then,
        }),
        ..job("q")
    }
}

/// While it waits or runs, another one is answered with it; after it has ended, a new one is made.
pub async fn a_unique_job_is_there_once(s: &Stores) {
    let store = &s.first;
    let (first, second) = (unique(0, Duplicate::Drop), unique(0, Duplicate::Drop));
    must(store, at(0), enqueue(&first)).await;
    assert_eq!(job_answer(&must(&s.second, at(1), enqueue(&second)).await).id, first.id);
    assert_eq!(
        refused(store, at(1), enqueue(&unique(0, Duplicate::Refuse))).await,
        "jobs.duplicate"
    );
    let leased = lease_one(store, at(1), "q").await;
    assert_eq!(job_answer(&must(store, at(2), enqueue(&second)).await).id, first.id);
    must(store, at(3), finish(&leased, done(None))).await;
    assert_eq!(job_answer(&must(store, at(3), enqueue(&second)).await).id, second.id);
    // A tenant's keys are its own.
    let other = unique(0, Duplicate::Drop);
    let batch = crate::store::Batch::new(crate::types::Tenant::new("other").unwrap(), at(4)).op(enqueue(&other));
    let receipt = store.commit(batch).await.unwrap();
    assert_eq!(job_answer(&receipt.answers[0]).id, other.id);
}

/// With a window, also after it has ended; then no more.
pub async fn a_unique_job_keeps_its_key_for_a_while(s: &Stores) {
    let store = &s.first;
    let (first, second) = (unique(100, Duplicate::Drop), unique(100, Duplicate::Drop));
    must(store, at(0), enqueue(&first)).await;
    let leased = lease_one(store, at(0), "q").await;
    must(store, at(1), finish(&leased, done(None))).await;
    assert_eq!(job_answer(&must(store, at(99), enqueue(&second)).await).id, first.id);
    assert_eq!(job_answer(&must(store, at(100), enqueue(&second)).await).id, second.id);
}

/// The last of a quick row of them counts, a while after it; but not later than the longest wait.
pub async fn debounced_jobs_become_one(s: &Stores) {
    let store = &s.first;
    let then = Duplicate::Debounce {
        quiet: Millis(100),
        at_most: Millis(250),
    };
    let made: Vec<NewJob> = (0..4)
        .map(|n| NewJob {
            args: format!("{{\"n\":{n}}}").into(),
            ..unique(0, then)
        })
        .collect();
    for (now, new, due) in [(0, 0, 100), (80, 1, 180), (160, 2, 250), (240, 3, 250)] {
        let answer = must(store, at(now), enqueue(&made[new])).await;
        let job = job_answer(&answer);
        assert_eq!((&job.id, job.run_at, job.input()), (&made[0].id, at(due), &*made[new].args));
    }
    assert!(lease(store, at(249), "q", 10).await.is_empty());
    let leased = lease_one(store, at(250), "q").await;
    assert_eq!(leased.input(), "{\"n\":3}");
    // While it runs, there is nothing to wait for: the next one is dropped.
    let late = unique(0, then);
    assert_eq!(job_answer(&must(store, at(260), enqueue(&late)).await).id, made[0].id);
    must(store, at(270), finish(&leased, done(None))).await;
    assert_eq!(job_answer(&must(store, at(280), enqueue(&late)).await).run_at, at(380));
}

fn batch_of(always: bool, then: Option<&NewJob>, members: &[NewJob]) -> (BatchId, Vec<crate::store::Op>) {
    let id = BatchId::new(at(0));
    let mut ops = vec![
        QueueOp::OpenBatch(Box::new(NewBatch {
            id: id.clone(),
            then: then.cloned().map(Box::new),
            always,
        }))
        .into(),
    ];
    ops.extend(members.iter().map(|new| {
        enqueue(&NewJob {
            batch: Some(id.clone()),
            ..new.clone()
        })
    }));
    ops.push(QueueOp::SealBatch { batch: id.clone() }.into());
    (id, ops)
}

/// One job follows when every member has ended, in the commit that ended the last; a member can bring others.
pub async fn a_job_follows_its_batch(s: &Stores) {
    let store = &s.first;
    let follower = job("then");
    let (id, ops) = batch_of(false, Some(&follower), &[job("q"), job("q")]);
    all(store, at(0), ops).await;
    let members = lease(store, at(0), "q", 10).await;
    let another = NewJob {
        batch: Some(id.clone()),
        ..job("q")
    };
    must(store, at(1), enqueue(&another)).await;
    for member in &members {
        must(store, at(2), finish(member, done(None))).await;
    }
    assert!(lease(store, at(2), "then", 1).await.is_empty(), "one is left");
    let last = lease_one(&s.second, at(3), "q").await;
    must(&s.second, at(3), finish(&last, done(None))).await;
    let follows = lease_one(store, at(3), "then").await;
    assert_eq!((&follows.id, follows.spec.as_deref()), (&follower.id, Some(id.as_str())));
    let batch = store.reads().batches.batch(&tenant(), &id).await.unwrap().unwrap();
    assert_eq!(
        (batch.state, batch.total, batch.done, batch.ended_at),
        (BatchState::Done, 3, 3, Some(at(3)))
    );
    let of = JobFilter {
        batch: Some(id.clone()),
        ..JobFilter::default()
    };
    assert_eq!(
        store
            .reads()
            .queue
            .jobs(&tenant(), &of, &Page::default())
            .await
            .unwrap()
            .len(),
        3
    );
    let late = NewJob {
        batch: Some(id),
        ..job("q")
    };
    assert_eq!(refused(store, at(4), enqueue(&late)).await, "jobs.batch_ended");
}

/// A member that failed keeps the job from following, until it is redriven and ends well; or it follows all the same.
pub async fn a_batch_with_a_failure_waits_or_goes_on(s: &Stores) {
    let store = &s.first;
    let bad = NewJob {
        max_attempts: 1,
        ..job("q")
    };
    for always in [false, true] {
        let follower = job("then");
        let (id, ops) = batch_of(
            always,
            Some(&follower),
            &[NewJob {
                id: JobId::new(at(0)),
                ..bad.clone()
            }],
        );
        all(store, at(0), ops).await;
        let member = lease_one(store, at(0), "q").await;
        must(store, at(1), finish(&member, failed(None))).await;
        let state = store.reads().batches.batch(&tenant(), &id).await.unwrap().unwrap().state;
        assert_eq!(state, if always { BatchState::Done } else { BatchState::Failed });
        if !always {
            assert!(lease(store, at(1), "then", 1).await.is_empty());
            let redrive = QueueOp::Redrive {
                job: member.id.clone(),
                hold: None,
            };
            must(store, at(2), redrive).await;
            let again = lease_one(store, at(2), "q").await;
            must(store, at(3), finish(&again, done(None))).await;
        }
        assert_eq!(lease_one(store, at(3), "then").await.id, follower.id);
    }
    // A batch of nobody is over at once.
    let follower = job("then");
    let (_, ops) = batch_of(false, Some(&follower), &[]);
    all(store, at(4), ops).await;
    assert_eq!(lease_one(store, at(4), "then").await.id, follower.id);
}

/// Who waits for a signal is woken by it, even if it came just before the wait; who does not wait is left alone.
pub async fn a_signal_ends_a_wait(s: &Stores) {
    let store = &s.first;
    let away = |until| Finish::Snoozed {
        until: at(until),
        signal: true,
    };
    let signal = |job: &JobId, n: i64| QueueOp::Signal {
        job: job.clone(),
        name: "go".into(),
        payload: n.to_string().into(),
    };
    let new = job("q");
    must(store, at(0), enqueue(&new)).await;
    let leased = lease_one(store, at(0), "q").await;
    must(store, at(1), finish(&leased, away(1_000))).await;
    assert!(lease(store, at(2), "q", 1).await.is_empty());
    must(&s.second, at(3), signal(&new.id, 1)).await;
    let leased = lease_one(store, at(3), "q").await;
    assert_eq!((leased.attempt, leased.signal), (1, Some(Signalled::Came)));

    // It comes while the job runs, and is about to wait.
    must(store, at(4), signal(&new.id, 2)).await;
    must(store, at(5), finish(&leased, away(1_000))).await;
    let leased = lease_one(store, at(5), "q").await;
    must(store, at(6), finish(&leased, away(1_000))).await;
    assert!(lease(store, at(6), "q", 1).await.is_empty(), "nothing new came");
    let rows = store.reads().journal.steps(&new.id).await.unwrap();
    let told: Vec<_> = rows.iter().map(|r| (&*r.path, r.output.as_deref())).collect();
    assert_eq!(told, [("signal:go", Some("1")), ("signal:go#2", Some("2"))]);

    // One that waits for its time, and for nothing else, is not started early.
    let later = NewJob {
        run_at: at(500),
        ..job("q")
    };
    must(store, at(7), enqueue(&later)).await;
    must(store, at(7), signal(&later.id, 1)).await;
    assert!(lease(store, at(7), "q", 1).await.is_empty());
    assert_eq!(refused(store, at(7), signal(&JobId::new(at(0)), 1)).await, "jobs.unknown");
    let over = read_job(store, &new.id).await;
    must(store, at(8), QueueOp::Cancel { job: over.id.clone() }).await;
    assert_eq!(refused(store, at(8), signal(&over.id, 1)).await, "jobs.wrong_state");
}
