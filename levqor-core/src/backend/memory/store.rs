use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::backend::Hub;
use crate::error::{Error, Result};
use crate::jobs::schedule::{ScheduleRow, ScheduleState, Tick};
use crate::jobs::{Job, JobBatch, JobState, JournalRow, QueueSettings};
use crate::records::Record;
use crate::store::{
    Batch, BatchRead, JobFilter, JournalRead, Page, QueueRead, Reads, Receipt, RecordRead, Rows, ScheduleRead, Store, StoreInfo,
    Wakes, apply,
};
use crate::table::Stop;
use crate::types::{BatchId, JobId, Tenant};

/// A store in memory: complete tables behind a lock. Every commit answers at once.
#[derive(Clone)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    hub: Hub,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore {
            rows: Arc::new(Mutex::new(Rows::complete())),
            hub: Hub::default(),
        }
    }
}

impl MemoryStore {
    pub(super) fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a batch without waiting for anything.
    pub fn commit_now(&self, batch: &Batch) -> Result<Receipt> {
        let outcome = {
            let mut rows = self.lock();
            let outcome = apply(&mut rows, batch, 0);
            rows.settle();
            outcome
        };
        match outcome {
            Ok(Ok(receipt)) => {
                self.hub.wake(receipt.wakes.iter().map(String::as_str));
                Ok(receipt)
            }
            Ok(Err(e)) | Err(Stop::Refused(e)) => Err(e),
            Err(Stop::Missing) => Err(Error::internal("a complete table misses a row")),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<Receipt> {
        self.commit_now(&batch)
    }

    fn reads(&self) -> Reads {
        let me = Arc::new(self.clone());
        Reads {
            ledger: me.clone(),
            queue: me.clone(),
            batches: me.clone(),
            schedules: me.clone(),
            journal: me.clone(),
            records: me,
        }
    }

    async fn wakes(&self, topic: &str) -> Result<Box<dyn Wakes>> {
        Ok(self.hub.listen(topic))
    }

    fn info(&self) -> StoreInfo {
        StoreInfo::new("memory", "this process")
    }
}

#[async_trait]
impl QueueRead for MemoryStore {
    async fn job(&self, tenant: &Tenant, id: &JobId) -> Result<Option<Arc<Job>>> {
        Ok(self
            .lock()
            .queue
            .jobs
            .peek(&(id.clone(),))
            .filter(|j| j.tenant == *tenant)
            .cloned())
    }

    async fn jobs(&self, tenant: &Tenant, filter: &JobFilter, page: &Page) -> Result<Vec<Arc<Job>>> {
        let fits = |job: &Job| {
            job.tenant == *tenant
                && filter.state.is_none_or(|s| job.state == s)
                && filter.queue.as_deref().is_none_or(|q| *job.queue == *q)
                && filter.account.as_deref().is_none_or(|a| job.account.as_deref() == Some(a))
                && filter.handler.as_deref().is_none_or(|h| *job.handler == *h)
                && filter.batch.as_ref().is_none_or(|b| job.batch.as_ref() == Some(b))
        };
        let rows = self.lock();
        let mut found: Vec<_> = rows.queue.jobs.iter().filter(|j| fits(j)).cloned().collect();
        found.sort_unstable_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        if let Some(after) = &page.after {
            // The job itself may not fit any more; its place is still its place.
            let Some(last) = rows.queue.jobs.peek(&(JobId::stored(after.clone()),)) else {
                return Ok(Vec::new());
            };
            found.retain(|j| (j.created_at, &j.id) < (last.created_at, &last.id));
        }
        found.truncate(page.limit);
        Ok(found)
    }

    async fn counts(&self, tenant: &Tenant) -> Result<Vec<(String, JobState, u64)>> {
        let mut counts = BTreeMap::new();
        for job in self.lock().queue.jobs.iter() {
            if job.tenant == *tenant && (job.state == JobState::Dead || !job.state.ended()) {
                *counts.entry((job.queue.to_string(), job.state)).or_insert(0) += 1;
            }
        }
        Ok(counts.into_iter().map(|((queue, state), n)| (queue, state, n)).collect())
    }

    async fn queues(&self) -> Result<Vec<Arc<QueueSettings>>> {
        let mut found: Vec<_> = self.lock().queue.settings.iter().cloned().collect();
        found.sort_unstable_by(|a, b| a.queue.cmp(&b.queue));
        Ok(found)
    }
}

#[async_trait]
impl BatchRead for MemoryStore {
    async fn batch(&self, tenant: &Tenant, id: &BatchId) -> Result<Option<Arc<JobBatch>>> {
        let rows = self.lock();
        Ok(rows
            .queue
            .batches
            .peek(&(id.clone(),))
            .filter(|b| b.tenant == *tenant)
            .cloned())
    }
}

#[async_trait]
impl ScheduleRead for MemoryStore {
    async fn schedule(&self, tenant: &Tenant, id: &str) -> Result<Option<Arc<ScheduleRow>>> {
        Ok(self.lock().schedules.all.peek(&(tenant.clone(), id.into())).cloned())
    }

    async fn schedules(&self, tenant: &Tenant, page: &Page) -> Result<Vec<Arc<ScheduleRow>>> {
        let rows = self.lock();
        let mut found: Vec<_> = rows.schedules.all.iter().filter(|s| s.tenant == *tenant).cloned().collect();
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(behind(found, page, |s| &s.id))
    }

    async fn due_first(&self, limit: usize) -> Result<Vec<Arc<ScheduleRow>>> {
        let rows = self.lock();
        let active = rows.schedules.all.iter().filter(|s| s.state == ScheduleState::Active);
        let mut found: Vec<_> = active.cloned().collect();
        found.sort_unstable_by(|a, b| (a.due_at, &a.tenant, &a.id).cmp(&(b.due_at, &b.tenant, &b.id)));
        found.truncate(limit);
        Ok(found)
    }

    async fn ticks(&self, tenant: &Tenant, id: &str, before: i64, limit: usize) -> Result<Vec<Arc<Tick>>> {
        let rows = self.lock();
        let group = (tenant.clone(), Arc::from(id));
        let mut found: Vec<_> = rows
            .schedules
            .ticks
            .peek_group(&group)
            .filter(|t| t.seq < before)
            .cloned()
            .collect();
        found.sort_unstable_by_key(|t| std::cmp::Reverse(t.seq));
        found.truncate(limit);
        Ok(found)
    }
}

#[async_trait]
impl JournalRead for MemoryStore {
    async fn steps(&self, job: &JobId) -> Result<Vec<Arc<JournalRow>>> {
        let rows = self.lock();
        let mut steps: Vec<_> = rows.journal.peek_group(&(job.clone(),)).cloned().collect();
        steps.sort_by(|a, b| (a.started_at, &a.path).cmp(&(b.started_at, &b.path)));
        Ok(steps)
    }
}

#[async_trait]
impl RecordRead for MemoryStore {
    async fn record(&self, tenant: &Tenant, kind: &str, name: &str) -> Result<Option<Arc<Record>>> {
        Ok(self.lock().records.peek(&(tenant.clone(), kind.into(), name.into())).cloned())
    }

    async fn records(&self, tenant: &Tenant, kind: &str, page: &Page) -> Result<Vec<Arc<Record>>> {
        let rows = self.lock();
        let mut found: Vec<_> = rows
            .records
            .iter()
            .filter(|r| r.tenant == *tenant && *r.kind == *kind)
            .cloned()
            .collect();
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(behind(found, page, |r| &r.name))
    }
}

/// The page of a list that is sorted by a name.
pub(super) fn behind<T>(list: Vec<T>, page: &Page, name: impl Fn(&T) -> &str) -> Vec<T> {
    let after = page.after.as_deref().unwrap_or("");
    list.into_iter().filter(|t| name(t) > after).take(page.limit).collect()
}
