//! Batches: many jobs, and one that follows when all of them have ended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Job, JobState, NewJob, QueueRows};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Step, row, text_enum};
use crate::types::{BatchId, Millis, Tenant};

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Members may be added, and nothing follows yet.
    Open,
    /// It is complete, and some of its members have not ended.
    Running,
    /// Every member has ended, and the job that follows was enqueued, if there is one.
    Done,
    /// Every member has ended, but not all of them well, and it was to be followed only then. A member that is
    /// redriven takes it up again.
    Failed,
}

text_enum!(BatchState {
    Open = "open",
    Running = "running",
    Done = "done",
    Failed = "failed",
});

row! {
    /// Jobs that belong together.
    pub struct JobBatch in "levqor_job_batch" {
        /// Its id.
        id: BatchId, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// Where it stands.
        state: BatchState;
        /// Members.
        total: i64;
        /// Members that ended well.
        done: i64;
        /// Members that are dead letters.
        dead: i64;
        /// Members that were called off.
        cancelled: i64;
        /// The job that follows, as JSON.
        follower: Option<Arc<str>>;
        /// Whether it follows also when a member did not end well.
        always: bool;
        /// When it was made.
        created_at: Millis;
        /// When its last member ended.
        ended_at: Option<Millis>;
    }
    key(id: BatchId)
    group() when |_row| false;
    lock true
}

/// The table of this room, for both databases.
pub(super) const DDL: &str = "CREATE TABLE levqor_job_batch (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    state TEXT NOT NULL,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    dead BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    follower TEXT,
    always BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT
)";

/// A batch to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewBatch {
    /// Its id, made by who opens it.
    pub id: BatchId,
    /// The job that follows; its `spec` becomes the batch's id.
    pub then: Option<Box<NewJob>>,
    /// Whether it follows also when a member did not end well.
    pub always: bool,
}

impl JobBatch {
    /// Members that have not ended.
    pub fn pending(&self) -> i64 {
        self.total - self.done - self.dead - self.cancelled
    }
}

/// Makes a batch; members are added by enqueuing them.
pub(super) fn open(rows: &mut QueueRows, tenant: &Tenant, new: &NewBatch, now: Millis) -> Step<()> {
    let then = match &new.then {
        Some(job) => {
            super::apply::check(job)?;
            let text = serde_json::to_string(job).map_err(|e| Error::internal(format!("a job cannot be written: {e}")))?;
            Some(text.into())
        }
        None => None,
    };
    rows.batches.insert(JobBatch {
        id: new.id.clone(),
        tenant: tenant.clone(),
        state: BatchState::Open,
        total: 0,
        done: 0,
        dead: 0,
        cancelled: 0,
        follower: then,
        always: new.always,
        created_at: now,
        ended_at: None,
    });
    Ok(())
}

fn owned(rows: &mut QueueRows, tenant: &Tenant, id: &BatchId) -> Step<Arc<JobBatch>> {
    match rows.batches.get(&(id.clone(),))? {
        Some(batch) if batch.tenant == *tenant => Ok(batch),
        _ => Err(Error::not_found("jobs.unknown_batch", format!("there is no batch {id}")).into()),
    }
}

/// A new member.
pub(super) fn join(rows: &mut QueueRows, tenant: &Tenant, id: &BatchId) -> Step<()> {
    let batch = owned(rows, tenant, id)?;
    if matches!(batch.state, BatchState::Done | BatchState::Failed) {
        return Err(Error::conflict("jobs.batch_ended", format!("every member of {id} has ended"))
            .hint("add members while the batch is open, or while one of its members runs")
            .into());
    }
    rows.batches.put(JobBatch {
        total: batch.total + 1,
        ..(*batch).clone()
    })
}

/// No more members come but from members. Returns the job that follows, if all have ended already.
pub(super) fn seal(rows: &mut QueueRows, tenant: &Tenant, id: &BatchId, now: Millis) -> Step<Option<NewJob>> {
    let batch = owned(rows, tenant, id)?;
    if batch.state != BatchState::Open {
        return Ok(None);
    }
    let sealed = JobBatch {
        state: BatchState::Running,
        ..(*batch).clone()
    };
    settle(rows, sealed, now)
}

/// A member ended (`was` is `None`), or came back from where it had ended. Returns the job that follows, if it was the last.
pub(super) fn count(rows: &mut QueueRows, job: &Job, was: Option<JobState>, now: Millis) -> Step<Option<NewJob>> {
    let Some(id) = &job.batch else { return Ok(None) };
    let Some(batch) = rows.batches.get(&(id.clone(),))? else {
        return Ok(None);
    };
    let mut batch = (*batch).clone();
    let (state, n) = was.map_or((job.state, 1), |was| (was, -1));
    match state {
        JobState::Done => batch.done += n,
        JobState::Dead => batch.dead += n,
        JobState::Cancelled => batch.cancelled += n,
        JobState::Scheduled | JobState::Ready | JobState::Leased => {}
    }
    if batch.state == BatchState::Failed {
        batch.state = BatchState::Running;
        batch.ended_at = None;
    }
    settle(rows, batch, now)
}

/// Writes the batch; if nothing of it is left to end, that is its end.
fn settle(rows: &mut QueueRows, mut batch: JobBatch, now: Millis) -> Step<Option<NewJob>> {
    let mut follows = None;
    if batch.state == BatchState::Running && batch.pending() == 0 {
        batch.ended_at = Some(now);
        batch.state = BatchState::Failed;
        if batch.always || batch.done == batch.total {
            batch.state = BatchState::Done;
            follows = batch.follower.as_deref().map(|text| read(&batch, text)).transpose()?;
        }
    }
    rows.batches.put(batch)?;
    Ok(follows)
}

fn read(batch: &JobBatch, text: &str) -> Result<NewJob> {
    let job: NewJob = serde_json::from_str(text).map_err(|e| {
        Error::new(
            ErrorKind::Corrupt,
            "jobs.corrupt_batch",
            format!("the job that follows {} cannot be read: {e}", batch.id),
        )
    })?;
    Ok(NewJob {
        spec: Some(batch.id.as_str().into()),
        ..job
    })
}
