//! Schedules: jobs and runs that start by themselves, each tick once over all processes.
//!
//! There is no leader. A schedule is a row that says which tick stands next; whoever finds it due sends a
//! [`ScheduleOp::Fire`], and one commit moves the row on, writes the tick's line of history, holds the credits
//! and enqueues the job. Of many who try the same tick, one finds the row as it was; the others are told
//! `schedule.taken`. A process that dies before the commit has done nothing, one that dies after it everything.
//! Besides, the job's id follows from schedule and tick, so that not even a backfill can start a tick twice.
//!
//! [`Plan`] knows the ticks (cron expressions with the rules for clock changes in [`cron`](super::cron),
//! intervals, jitter, what is missed), [`apply()`] changes rows.

mod apply;
mod definition;
mod op;
mod plan;
mod row;

pub use apply::{ScheduleRows, apply, refresh, refused, wants};
pub use definition::{MAX_CATCH_UP, MAX_HISTORY, MIN_INTERVAL, Misfire, Overlap, Schedule, Target, When};
pub use op::{Fire, Launch, MAX_BACKFILL, ScheduleAnswer, ScheduleOp, Start, Task, TickTask};
pub use plan::{Plan, Turn};
pub use row::{DDL, ScheduleRow, ScheduleState, Tick, TickOutcome, Trigger, Waiting};
