//! The store port: one commit over ledger, queue, schedules, journal, records and usage.
//!
//! A [`Batch`] is an ordered list of operations from every durable domain, all or nothing, with one
//! idempotency key. [`apply()`] is the whole meaning of a batch, a pure function over [`Rows`]; a store
//! only makes it atomic and durable.

mod apply;
mod batch;
mod group;
mod reads;
mod rows;

pub use apply::{apply, exists, wants};
pub use batch::{Answer, Batch, IdemRow, Key, Op, Receipt};
pub use group::{Grouped, run};
pub use reads::{
    AsOf, BatchRead, EntryFilter, JobFilter, JournalRead, LedgerRead, LedgerScope, Page, QueueRead, Reads, RecordRead,
    ScheduleRead,
};
pub use rows::{DDL, Rows};

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::Millis;

/// Where everything durable lies.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Carries out a batch: all of it, durably, or nothing.
    ///
    /// An error whose [effect](crate::error::Error::effect) is unknown means that the answer was lost;
    /// the same batch with an idempotency key may then be sent again.
    async fn commit(&self, batch: Batch) -> Result<Receipt>;

    /// What can be read.
    fn reads(&self) -> Reads;

    /// Hears of wake-ups on a topic (see [`topic`]).
    async fn wakes(&self, topic: &str) -> Result<Box<dyn Wakes>>;

    /// What kind of store it is.
    fn info(&self) -> StoreInfo;
}

/// A database transaction that the host has open. Implemented for sqlx's Postgres connection (feature `postgres`).
#[async_trait]
pub trait HostTransaction: Send {
    /// Carries out a batch in it: what the batch does is committed, or undone, with the rest of the transaction. A
    /// refused batch leaves the transaction as it was.
    async fn carry_out(&mut self, batch: &Batch) -> Result<Receipt>;
}

/// Wake-ups: hints that something may have changed. They can be lost, never invented twice for ever;
/// who waits also looks by itself from time to time.
#[async_trait]
pub trait Wakes: Send {
    /// Waits for the next wake-up, at most so long. `true` if one came.
    async fn next(&mut self, at_most: Duration) -> bool;
}

/// The names of wake-ups.
pub mod topic {
    use crate::types::JobId;

    /// The Postgres channel on which they travel.
    pub const CHANNEL: &str = "levqor_wakes";

    /// A schedule was made or changed: its next tick may be nearer than was known.
    pub const SCHEDULES: &str = "s";

    /// A job became ready in a queue.
    pub fn queue(name: &str) -> String {
        format!("q:{name}")
    }

    /// A job changed in a way that somebody who waits for it wants to see.
    pub fn job(id: &JobId) -> String {
        format!("j:{id}")
    }
}

/// What kind of store it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// `memory`, `sqlite` or `postgres`.
    pub kind: &'static str,
    /// The engine's version, where there is one.
    pub version: String,
    /// Whether what was committed outlives the process.
    pub durable: bool,
    /// Whether other processes see it.
    pub shared: bool,
    /// Where it lies, without credentials.
    pub place: String,
    /// The store's clock minus ours, where the store has a clock of its own.
    pub clock_offset: Millis,
}

impl StoreInfo {
    /// The facts of a store.
    pub fn new(kind: &'static str, place: impl Into<String>) -> Self {
        StoreInfo {
            kind,
            version: String::new(),
            durable: false,
            shared: false,
            place: place.into(),
            clock_offset: Millis::ZERO,
        }
    }
}
