use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::claims::{Claim, ClaimOp};
use crate::credits::{LedgerAnswer, LedgerOp};
use crate::jobs::schedule::{ScheduleAnswer, ScheduleOp};
use crate::jobs::{JournalOp, QueueAnswer, QueueOp};
use crate::limits::{Decision, LimitOp};
use crate::records::{Record, RecordOp};
use crate::table::row;
use crate::types::{Millis, Tenant};
use crate::usage::NewUsage;

/// Operations that are carried out together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Whose data it changes.
    pub tenant: Tenant,
    /// The time it happens at.
    pub now: Millis,
    /// Makes it happen once, however often it is sent.
    pub key: Option<Key>,
    /// What happens, in this order.
    pub ops: Vec<Op>,
}

impl Batch {
    /// A batch without operations.
    pub fn new(tenant: Tenant, now: Millis) -> Self {
        Batch {
            tenant,
            now,
            key: None,
            ops: Vec::new(),
        }
    }

    /// Binds it to an idempotency key.
    #[must_use]
    pub fn keyed(mut self, key: Option<Key>) -> Self {
        self.key = key;
        self
    }

    /// Whether a power cut may undo it and nobody is worse off: leases and heartbeats (what was leased is leased
    /// again, and whoever held it is gone as well), progress, and the counting of limits.
    pub fn passing(&self) -> bool {
        let passing = |op: &Op| {
            matches!(
                op,
                Op::Limit(_) | Op::Queue(QueueOp::Lease(_) | QueueOp::Heartbeat { .. } | QueueOp::Progress { .. })
            )
        };
        self.key.is_none() && self.ops.iter().all(passing)
    }

    /// Adds an operation.
    #[must_use]
    pub fn op(mut self, op: impl Into<Op>) -> Self {
        self.ops.push(op.into());
        self
    }
}

/// An idempotency key with the fingerprint of what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key, as the caller gave it.
    pub text: Arc<str>,
    /// SHA-256, in hex, of the call and its arguments: the same key with another payload is refused.
    pub fingerprint: Arc<str>,
}

/// One operation of any durable domain.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Credits.
    Ledger(LedgerOp),
    /// Jobs.
    Queue(QueueOp),
    /// Schedules.
    Schedule(ScheduleOp),
    /// Steps of a run.
    Journal(JournalOp),
    /// Documents.
    Record(RecordOp),
    /// Usage events.
    Usage(NewUsage),
    /// Limits.
    Limit(LimitOp),
    /// Claims.
    Claim(ClaimOp),
}

macro_rules! from {
    ($($variant:ident($ty:ty)),*) => {
        $(impl From<$ty> for Op {
            fn from(op: $ty) -> Self {
                Op::$variant(op)
            }
        })*
    };
}
from!(
    Ledger(LedgerOp),
    Queue(QueueOp),
    Schedule(ScheduleOp),
    Journal(JournalOp),
    Record(RecordOp),
    Usage(NewUsage),
    Limit(LimitOp),
    Claim(ClaimOp)
);

/// What an operation gave back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Of [`Op::Ledger`].
    Ledger(LedgerAnswer),
    /// Of [`Op::Queue`].
    Queue(QueueAnswer),
    /// Of [`Op::Schedule`].
    Schedule(ScheduleAnswer),
    /// Of [`Op::Record`]: the record as it is now.
    Record(Option<Arc<Record>>),
    /// Of [`Op::Usage`]: whether the event is new.
    Usage(bool),
    /// Of [`Op::Limit`].
    Limit(Decision),
    /// Of [`Op::Claim`]; something of a claim only.
    Claim(Option<Claim>),
    /// Of [`Op::Journal`].
    Ok,
}

/// The answers to a batch, one for each operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// In the order of the operations.
    pub answers: Vec<Answer>,
    /// Whether the batch had happened before, and this is what came of it then.
    #[serde(default)]
    pub replayed: bool,
    /// Topics to wake.
    #[serde(skip)]
    pub wakes: Vec<String>,
}

row! {
    /// What came of an idempotency key, kept for ever.
    pub struct IdemRow in "levqor_idem" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The key.
        key: Arc<str>, fixed;
        /// What it stands for.
        fingerprint: Arc<str>, fixed;
        /// The receipt or the error, JSON.
        outcome: Arc<str>, fixed;
        /// When.
        recorded_at: Millis, fixed;
    }
    key(tenant: Tenant, key: Arc<str>)
    group() when |_row| false;
    lock false
}
