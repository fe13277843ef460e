use std::sync::Arc;

use super::Engine;
use crate::credits::LedgerOp;
use crate::error::{Error, Result};
use crate::jobs::{Job, JobState, QueueAnswer, QueueOp};
use crate::store::{Answer, Batch, JobFilter, Page};
use crate::types::{HoldId, JobId};

/// Jobs: look at them, call them off, bring them back.
pub struct Jobs<'a>(pub(super) &'a Engine);

impl Jobs<'_> {
    /// A job by its id.
    pub async fn get(&self, id: &JobId) -> Result<Arc<Job>> {
        let found = self.0.inner.backend.store.reads().queue.job(&self.0.tenant, id).await?;
        found.ok_or_else(|| Error::not_found("jobs.unknown", format!("there is no job {id}")))
    }

    /// Jobs, newest first.
    pub async fn list(&self, filter: &JobFilter, page: &Page) -> Result<Vec<Arc<Job>>> {
        self.0
            .inner
            .backend
            .store
            .reads()
            .queue
            .jobs(&self.0.tenant, filter, page)
            .await
    }

    /// The dead letters, newest first.
    pub async fn dead(&self, page: &Page) -> Result<Vec<Arc<Job>>> {
        self.list(
            &JobFilter {
                state: Some(JobState::Dead),
                ..JobFilter::default()
            },
            page,
        )
        .await
    }

    /// How many jobs stand in each queue and state (done and cancelled ones are not counted).
    pub async fn counts(&self) -> Result<Vec<(String, JobState, u64)>> {
        self.0.inner.backend.store.reads().queue.counts(&self.0.tenant).await
    }

    /// Calls a job off: at once if it waits, at its worker's next heartbeat if it runs.
    pub async fn cancel(&self, id: &JobId) -> Result<Arc<Job>> {
        self.one(self.0.batch().op(QueueOp::Cancel { job: id.clone() })).await
    }

    /// Puts a dead or cancelled job back to where it failed: done steps stay done. A run that costs
    /// credits holds them anew, in the same commit.
    pub async fn redrive(&self, id: &JobId) -> Result<Arc<Job>> {
        let job = self.get(id).await?;
        let amount = self.0.pipelines().hold_of(&job).await?;
        let mut batch = self.0.batch();
        let hold = amount.map(|_| HoldId::new(self.0.now()));
        if let (Some(amount), Some(hold), Some(owner)) = (amount, &hold, &job.account) {
            batch = batch.op(LedgerOp::Hold {
                hold: hold.clone(),
                owner: owner.clone(),
                amount,
                expires: None,
            });
        }
        self.one(batch.op(QueueOp::Redrive { job: id.clone(), hold })).await
    }

    async fn one(&self, batch: Batch) -> Result<Arc<Job>> {
        let receipt = self.0.inner.backend.store.commit(batch).await?;
        match receipt.answers.into_iter().next_back() {
            Some(Answer::Queue(QueueAnswer::Job(job))) => Ok(job),
            _ => Err(Error::internal("a job operation without a job's answer")),
        }
    }
}
