use std::sync::Arc;

use async_trait::async_trait;

use crate::credits::{Account, Entry, LedgerRows};
use crate::error::Result;
use crate::jobs::schedule::{ScheduleRow, Tick};
use crate::jobs::{Job, JobBatch, JobState, JournalRow, QueueSettings};
use crate::records::Record;
use crate::types::{BatchId, HoldId, JobId, MicroCredits, Millis, Tenant, TxnId};

/// What a store lets read, by domain.
#[derive(Clone)]
pub struct Reads {
    /// Credits.
    pub ledger: Arc<dyn LedgerRead>,
    /// Jobs and queues.
    pub queue: Arc<dyn QueueRead>,
    /// Batches of jobs.
    pub batches: Arc<dyn BatchRead>,
    /// Schedules.
    pub schedules: Arc<dyn ScheduleRead>,
    /// Steps of runs.
    pub journal: Arc<dyn JournalRead>,
    /// Documents.
    pub records: Arc<dyn RecordRead>,
}

/// Which part of a long list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Only what comes behind this (the last key of the page before).
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Page { after: None, limit: 50 }
    }
}

/// Which entries of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntryFilter {
    /// Booked in this window, half-open.
    pub booked: (Millis, Millis),
    /// With a version greater than this.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// By which time a balance of the past is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// What counts at this instant, also what was written down later.
    Booked(Millis),
    /// What was written down by this instant.
    Recorded(Millis),
}

/// Which rows of a ledger.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LedgerScope {
    /// All of them.
    Everything,
    /// A page of the accounts by name, system accounts included.
    Accounts(Page),
    /// The grants of an account: those that are not used up, or all.
    Grants {
        /// The account.
        owner: String,
        /// Also those that are used up.
        all: bool,
    },
    /// One hold.
    Hold(HoldId),
    /// Transactions.
    Txns(Vec<TxnId>),
}

/// Reads credits.
#[async_trait]
pub trait LedgerRead: Send + Sync + 'static {
    /// An account; `None` if nothing ever happened on it.
    async fn account(&self, tenant: &Tenant, owner: &str) -> Result<Option<Arc<Account>>>;

    /// Entries of an account, by version.
    async fn entries(&self, tenant: &Tenant, owner: &str, filter: &EntryFilter) -> Result<Vec<Arc<Entry>>>;

    /// The sum of the entries up to and including an instant.
    async fn as_of(&self, tenant: &Tenant, owner: &str, at: AsOf) -> Result<MicroCredits>;

    /// Rows of a tenant, all read at one moment, in tables that hold these and no others.
    async fn rows(&self, tenant: &Tenant, scope: &LedgerScope) -> Result<LedgerRows>;
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFilter {
    /// In this state.
    pub state: Option<JobState>,
    /// In this queue.
    pub queue: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// With this handler.
    pub handler: Option<String>,
    /// Members of this batch.
    pub batch: Option<BatchId>,
}

/// Reads jobs.
#[async_trait]
pub trait QueueRead: Send + Sync + 'static {
    /// A job by its id.
    async fn job(&self, tenant: &Tenant, id: &JobId) -> Result<Option<Arc<Job>>>;

    /// Jobs, newest first.
    async fn jobs(&self, tenant: &Tenant, filter: &JobFilter, page: &Page) -> Result<Vec<Arc<Job>>>;

    /// How many jobs stand in each queue and state, live and dead ones; done ones are not counted.
    async fn counts(&self, tenant: &Tenant) -> Result<Vec<(String, JobState, u64)>>;

    /// The queues that were told something, by name.
    async fn queues(&self) -> Result<Vec<Arc<QueueSettings>>>;
}

/// Reads batches of jobs.
#[async_trait]
pub trait BatchRead: Send + Sync + 'static {
    /// A batch by its id.
    async fn batch(&self, tenant: &Tenant, id: &BatchId) -> Result<Option<Arc<JobBatch>>>;
}

/// Reads schedules.
#[async_trait]
pub trait ScheduleRead: Send + Sync + 'static {
    /// A schedule by its name.
    async fn schedule(&self, tenant: &Tenant, id: &str) -> Result<Option<Arc<ScheduleRow>>>;

    /// Schedules, by name.
    async fn schedules(&self, tenant: &Tenant, page: &Page) -> Result<Vec<Arc<ScheduleRow>>>;

    /// The active schedules of all tenants that are due first, in that order, due or not.
    async fn due_first(&self, limit: usize) -> Result<Vec<Arc<ScheduleRow>>>;

    /// A schedule's history, newest first: lines with a number less than `before`.
    async fn ticks(&self, tenant: &Tenant, id: &str, before: i64, limit: usize) -> Result<Vec<Arc<Tick>>>;
}

/// Reads journals.
#[async_trait]
pub trait JournalRead: Send + Sync + 'static {
    /// The steps of a run, in the order of their start.
    async fn steps(&self, job: &JobId) -> Result<Vec<Arc<JournalRow>>>;
}

/// Reads documents.
#[async_trait]
pub trait RecordRead: Send + Sync + 'static {
    /// A document, expired or not.
    async fn record(&self, tenant: &Tenant, kind: &str, name: &str) -> Result<Option<Arc<Record>>>;

    /// The documents of a kind, by name.
    async fn records(&self, tenant: &Tenant, kind: &str, page: &Page) -> Result<Vec<Arc<Record>>>;
}
