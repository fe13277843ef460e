//! Jobs: a queue whose every transition is a pure function of the job's row, the operation and `now`.
//!
//! ```text
//!              enqueue
//!                 │
//!   ┌─────────────┴───────────┐
//!   ▼            due          ▼      lease        finish
//! scheduled ───────────────▶ ready ─────────▶ leased ─────▶ done | dead | cancelled
//!   ▲                         ▲                 │
//!   │      retry, snooze      │ lease ran out,  │
//!   └─────────────────────────┴── released ◀────┘
//! ```
//!
//! A lease carries a *fence*, a number that grows with every lease of the job: a worker that was frozen
//! and wakes up late writes with an old fence and is refused (`jobs.lease_lost`).

mod apply;
pub mod cron;
mod group;
mod journal;
mod lease;
mod op;
pub mod retry;
mod row;
pub mod schedule;
mod settings;
mod unique;

pub use apply::{Effects, QueueRows, apply, wants};
pub(crate) use apply::{check, fresh};
pub use group::{BatchState, JobBatch, NewBatch};
pub(crate) use journal::nth;
pub use journal::{JournalOp, JournalRow, StepStatus, journal, reopen, signal};
pub use op::{Beat, Capture, Ended, Finish, Lease, LeaseState, NewJob, QueueAnswer, QueueOp};
pub use row::{DDL, DDL_2, Job, JobState, Signalled};
pub use settings::{QueueChange, QueueLimits, QueueSettings};
pub use unique::{Duplicate, Unique, UniqueKey};
