use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::table::{row, text_enum};
use crate::types::{BatchId, HoldId, JobId, MicroCredits, Millis, Tenant};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker.
    Ready,
    /// A worker has it.
    Leased,
    /// It ended well.
    Done,
    /// It failed for good: the dead letters.
    Dead,
    /// Somebody called it off.
    Cancelled,
}

text_enum!(JobState {
    Scheduled = "scheduled",
    Ready = "ready",
    Leased = "leased",
    Done = "done",
    Dead = "dead",
    Cancelled = "cancelled",
});

/// What a job has to do with signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signalled {
    /// It waits for one.
    Waits,
    /// One came since it was leased last.
    Came,
}

text_enum!(Signalled {
    Waits = "waits",
    Came = "came",
});

impl JobState {
    /// Whether it has ended, one way or another.
    pub const fn ended(self) -> bool {
        matches!(self, JobState::Done | JobState::Dead | JobState::Cancelled)
    }
}

row! {
    /// A job: something to be done once, by whichever worker comes first.
    pub struct Job in "levqor_job" {
        /// Its id; of a run of a pipeline it starts with `run_`.
        id: JobId, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// Which queue it stands in. Queues are shared by all tenants of a store.
        queue: Arc<str>, fixed;
        /// What does it: `pipeline`, or the name of a handler.
        handler: Arc<str>, fixed;
        /// The account that pays for it.
        account: Option<Arc<str>>, fixed;
        /// The input that it was enqueued with, JSON; see [`Job::input`].
        args: Arc<str>, fixed;
        /// What the handler needs beside the input (the digest of a pipeline).
        spec: Option<Arc<str>>, fixed;
        /// When it was enqueued.
        created_at: Millis, fixed;
        /// Its unique key.
        unique_key: Option<Arc<str>>, fixed;
        /// What is held for it while it waits and runs.
        held: MicroCredits, fixed;
        /// Jobs with the same key share the queue's limits per key.
        concurrency_key: Option<Arc<str>>, fixed;
        /// The batch that it is a member of.
        batch: Option<BatchId>, fixed;
        /// Where workers find it: the queue; or, while it is kept back because too many with its key run, a
        /// place of that key.
        lane: Arc<str>;
        /// Where it stands.
        state: JobState;
        /// Its place among the jobs of its queue and state: see [`Job::order`].
        ord: i64;
        /// The input that took the place of the first one, while the job waited (debouncing).
        late_args: Option<Arc<str>>;
        /// 0 is served first, 255 last.
        priority: i64;
        /// Not before this.
        run_at: Millis;
        /// Attempts that were started and not given back.
        attempt: i64;
        /// Attempts that may be started.
        max_attempts: i64;
        /// Leases that ran out since the last sign of progress.
        crashes: i64;
        /// Grows with every lease.
        fence: i64;
        /// Who has the lease.
        worker: Option<Arc<str>>;
        /// When the lease runs out.
        lease_until: Option<Millis>;
        /// The hold that pays for it, until it ends.
        hold: Option<HoldId>;
        /// Whether somebody asked to call it off while it runs.
        cancel: bool;
        /// What it has to do with signals.
        signal: Option<Signalled>;
        /// What a done job gave back, JSON.
        result: Option<Arc<str>>;
        /// Why it failed last, an error as JSON.
        error: Option<Arc<str>>;
        /// How far it is, JSON.
        progress: Option<Arc<str>>;
        /// What it cost.
        captured: MicroCredits;
        /// When a worker first took it.
        started_at: Option<Millis>;
        /// When it ended.
        ended_at: Option<Millis>;
    }
    key(id: JobId)
    group(lane: Arc<str>, state: JobState) when |job| !job.state.ended();
    open "state IN ('scheduled', 'ready', 'leased')";
    rank ord;
    lock true
}

impl Job {
    /// The integer by which the jobs of one queue and state are ordered: ready ones by priority and
    /// then by time, scheduled ones by the time they are due, leased ones by the end of the lease.
    pub fn order(state: JobState, priority: i64, run_at: Millis, lease_until: Option<Millis>) -> i64 {
        // 47 bits hold milliseconds until the year 6429.
        const TIME: i64 = (1 << 47) - 1;
        match state {
            JobState::Ready => (priority.clamp(0, 255) << 47) | run_at.0.clamp(0, TIME),
            JobState::Leased => lease_until.unwrap_or(Millis::ZERO).0,
            _ => run_at.0,
        }
    }

    /// Whether one more crash makes the job poison. It is then given to a worker alone, so that it does not
    /// die for what a neighbour does: what crashed beside it comes back beside it.
    pub fn last_chance(&self, max_crashes: i64) -> bool {
        self.crashes > 0 && self.crashes + 1 >= max_crashes
    }

    /// The input, JSON.
    pub fn input(&self) -> &str {
        self.late_args.as_deref().unwrap_or(&self.args)
    }

    /// Where jobs are kept back of which as many run as may. (A queue's name has no space.)
    pub(super) fn parking(&self) -> Option<Arc<str>> {
        let key = self.concurrency_key.as_deref()?;
        Some(format!("{} {} {key}", self.queue, self.tenant).into())
    }

    /// Whether it is kept back because as many with its key run as may.
    pub fn parked(&self) -> bool {
        self.state == JobState::Ready && self.lane != self.queue
    }

    /// The job in another state, with everything that follows from it.
    pub(super) fn moved(&self, state: JobState, now: Millis) -> Job {
        let mut job = self.clone();
        job.state = state;
        job.lane = job.queue.clone();
        job.signal = None;
        if state != JobState::Leased {
            job.worker = None;
            job.lease_until = None;
        }
        if state.ended() {
            job.ended_at = Some(now);
            job.hold = None;
        }
        job
    }

    /// Brings the order up to date with the other fields.
    pub(super) fn placed(mut self) -> Job {
        self.ord = Job::order(self.state, self.priority, self.run_at, self.lease_until);
        self
    }
}

/// The tables of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_job (
        id TEXT NOT NULL PRIMARY KEY,
        tenant TEXT NOT NULL,
        queue TEXT NOT NULL,
        handler TEXT NOT NULL,
        account TEXT,
        args TEXT NOT NULL,
        spec TEXT,
        created_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        ord BIGINT NOT NULL,
        priority BIGINT NOT NULL,
        run_at BIGINT NOT NULL,
        attempt BIGINT NOT NULL,
        max_attempts BIGINT NOT NULL,
        crashes BIGINT NOT NULL,
        fence BIGINT NOT NULL,
        worker TEXT,
        lease_until BIGINT,
        hold TEXT,
        cancel BIGINT NOT NULL,
        result TEXT,
        error TEXT,
        progress TEXT,
        captured BIGINT NOT NULL,
        started_at BIGINT,
        ended_at BIGINT
    )",
    "CREATE INDEX levqor_job_live ON levqor_job (queue, state, ord, id) WHERE state IN ('scheduled', 'ready', 'leased')",
    "CREATE INDEX levqor_job_dead ON levqor_job (tenant, created_at, id) WHERE state = 'dead'",
    "CREATE INDEX levqor_job_list ON levqor_job (tenant, created_at, id)",
    "CREATE INDEX levqor_job_account ON levqor_job (tenant, account, created_at, id) WHERE account IS NOT NULL",
    "CREATE TABLE levqor_journal (
        job TEXT NOT NULL,
        path TEXT NOT NULL,
        status TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        output TEXT,
        error TEXT,
        started_at BIGINT NOT NULL,
        ended_at BIGINT,
        PRIMARY KEY (job, path)
    )",
];

/// What was added to them later.
pub const DDL_2: &[&str] = &[
    "ALTER TABLE levqor_job ADD COLUMN unique_key TEXT",
    "ALTER TABLE levqor_job ADD COLUMN concurrency_key TEXT",
    "ALTER TABLE levqor_job ADD COLUMN batch TEXT",
    "ALTER TABLE levqor_job ADD COLUMN held BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE levqor_job ADD COLUMN lane TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE levqor_job ADD COLUMN signal TEXT",
    "ALTER TABLE levqor_job ADD COLUMN late_args TEXT",
    "UPDATE levqor_job SET lane = queue",
    "DROP INDEX levqor_job_live",
    "CREATE INDEX levqor_job_lane ON levqor_job (lane, state, ord, id) WHERE state IN ('scheduled', 'ready', 'leased')",
    "CREATE INDEX levqor_job_batch_members ON levqor_job (tenant, batch, created_at, id) WHERE batch IS NOT NULL",
    super::settings::DDL,
    super::group::DDL,
    super::unique::DDL[0],
    super::unique::DDL[1],
];
