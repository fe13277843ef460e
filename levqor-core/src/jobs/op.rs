use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Job, NewBatch, QueueChange, UniqueKey};
use crate::types::{BatchId, HoldId, JobId, MicroCredits, Millis};

/// A change of the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum QueueOp {
    /// Puts a job into a queue.
    Enqueue(Box<NewJob>),
    /// Takes jobs that are due.
    Lease(Lease),
    /// Keeps leases alive, and asks whether they still are.
    Heartbeat {
        /// Which jobs, and with which fence they were leased.
        beats: Vec<Beat>,
        /// How long from now the leases hold.
        lease: Millis,
    },
    /// Ends an attempt of a leased job.
    Finish {
        /// The job.
        job: JobId,
        /// The fence of its lease.
        fence: i64,
        /// How it went.
        how: Finish,
    },
    /// Says how far a leased job is.
    Progress {
        /// The job.
        job: JobId,
        /// The fence of its lease.
        fence: i64,
        /// Any JSON.
        progress: Arc<str>,
    },
    /// Calls a job off: at once if no worker has it, else as soon as its worker hears of it.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// Puts a dead or cancelled job back to where it failed.
    Redrive {
        /// The job.
        job: JobId,
        /// The new hold that pays for it.
        hold: Option<HoldId>,
    },
    /// Tells a job something that it waits for, or will.
    Signal {
        /// The job.
        job: JobId,
        /// What it is about.
        name: Arc<str>,
        /// Any JSON.
        payload: Arc<str>,
    },
    /// Changes a queue's settings.
    Change {
        /// The queue.
        queue: Arc<str>,
        /// How.
        change: QueueChange,
    },
    /// Makes a batch, open for members.
    OpenBatch(Box<NewBatch>),
    /// Closes a batch: it is over when all its members have ended.
    SealBatch {
        /// The batch.
        batch: BatchId,
    },
}

/// A job to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// Its id, made by who enqueues it.
    pub id: JobId,
    /// The queue.
    pub queue: Arc<str>,
    /// The handler.
    pub handler: Arc<str>,
    /// The account that pays.
    pub account: Option<Arc<str>>,
    /// The input, JSON.
    pub args: Arc<str>,
    /// See [`Job::spec`].
    pub spec: Option<Arc<str>>,
    /// 0 is served first, 255 last; 100 is ordinary.
    pub priority: i64,
    /// Not before this; in the past means now.
    pub run_at: Millis,
    /// Attempts that may be started.
    pub max_attempts: i64,
    /// The hold that pays for it; it is settled when the job ends.
    pub hold: Option<HoldId>,
    /// What it holds, so that it can be held again when the job is redriven.
    #[serde(default)]
    pub held: MicroCredits,
    /// Enqueued only if no other job has this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<UniqueKey>,
    /// Jobs with the same key, of the same tenant and queue, share the queue's limits per key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<Arc<str>>,
    /// The batch that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
}

impl NewJob {
    /// A job for a handler, to run at once, with one attempt.
    pub fn new(id: JobId, queue: &str, handler: &str, args: impl Into<Arc<str>>) -> Self {
        NewJob {
            id,
            queue: queue.into(),
            handler: handler.into(),
            account: None,
            args: args.into(),
            spec: None,
            priority: 100,
            run_at: Millis::ZERO,
            max_attempts: 1,
            hold: None,
            held: MicroCredits::ZERO,
            unique: None,
            concurrency_key: None,
            batch: None,
        }
    }
}

/// Taking jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// From these queues, in this order.
    pub queues: Vec<Arc<str>>,
    /// Who takes them.
    pub worker: Arc<str>,
    /// At most so many.
    pub max: usize,
    /// For how long.
    pub lease: Millis,
    /// After how many leases that ran out without progress a job goes to the dead letters.
    pub max_crashes: i64,
}

/// One lease that is to be kept alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// The job.
    pub job: JobId,
    /// The fence of the lease.
    pub fence: i64,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Finish {
    /// Well.
    Done {
        /// What it gave back, JSON.
        result: Arc<str>,
        /// How much of its hold is due; the rest is released. `None`: all of it.
        capture: Option<MicroCredits>,
    },
    /// Badly. It is tried again at `retry_at` if there is such a time and an attempt is left;
    /// otherwise it is dead, and its hold is released.
    Failed {
        /// An error as JSON.
        error: Arc<str>,
        /// When to try again.
        retry_at: Option<Millis>,
    },
    /// It waits for something: again at this time, and the attempt does not count.
    Snoozed {
        /// When.
        until: Millis,
        /// Whether a signal ends the waiting as well.
        signal: bool,
    },
    /// The worker is going away: any other may take it now, and the attempt does not count.
    Released,
    /// It heard that it was called off.
    Cancelled,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// It holds.
    Kept,
    /// It holds, but the job was called off.
    CancelAsked,
    /// It is gone: stop, and write nothing.
    Lost,
}

/// A job that ended by an operation, and what is to become of its hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// Its hold.
    pub hold: Option<HoldId>,
    /// What is captured from it; the rest is released.
    pub capture: Capture,
}

/// How much of a hold is captured when its job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capture {
    /// None of it.
    Nothing,
    /// All of it.
    All,
    /// So much.
    Amount(MicroCredits),
}

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum QueueAnswer {
    /// The job as it is now.
    Job(Arc<Job>),
    /// Leased jobs.
    Leased {
        /// The jobs.
        jobs: Vec<Arc<Job>>,
        /// In how long to ask again, where a rate limit keeps more from being leased now.
        again: Option<Millis>,
    },
    /// A batch that was opened.
    Batch(BatchId),
    /// The state of each lease of a heartbeat, in its order.
    Leases(Vec<LeaseState>),
    /// Nothing to say.
    Ok,
}
