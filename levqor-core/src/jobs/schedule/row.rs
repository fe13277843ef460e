use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::error::{Error, ErrorKind, Result};
use crate::table::{row, text_enum};
use crate::types::{JobId, Millis, Tenant};

/// Whether a schedule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// It does.
    Active,
    /// Somebody put it on hold.
    Paused,
}

text_enum!(ScheduleState {
    Active = "active",
    Paused = "paused",
});

/// Why something was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its time had come.
    Tick,
    /// Somebody asked for it.
    Manual,
    /// It was made up for.
    Backfill,
}

text_enum!(Trigger {
    Tick = "tick",
    Manual = "manual",
    Backfill = "backfill",
});

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TickOutcome {
    /// A job was enqueued.
    Fired,
    /// It waits for the job before it to end.
    Waiting,
    /// It was dropped, because the job before it still ran.
    Skipped,
    /// Nobody was there to fire it in time.
    Missed,
    /// The job could not be enqueued: no credits, no such pipeline.
    Refused,
}

text_enum!(TickOutcome {
    Fired = "fired",
    Waiting = "waiting",
    Skipped = "skipped",
    Missed = "missed",
    Refused = "refused",
});

row! {
    /// A schedule and where it stands.
    pub struct ScheduleRow in "levqor_schedule" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// Its name.
        id: Arc<str>, fixed;
        /// When it was made.
        created_at: Millis, fixed;
        /// The [`Schedule`], JSON.
        definition: Arc<str>;
        /// Whether it fires.
        state: ScheduleState;
        /// 1 when it was made; grows by one with every edit.
        revision: i64;
        /// The next tick; `None` if there is none any more.
        next_tick: Option<Millis>;
        /// When somebody has to look at it next: the next tick with its jitter, or a tick that waits.
        due_at: i64;
        /// Lines of history that were ever written.
        seq: i64;
        /// The oldest line that is kept.
        kept_from: i64;
        /// Jobs that it started.
        fires: i64;
        /// Jobs that it started and that had not ended when it last looked, a JSON list. Not kept where
        /// jobs may overlap.
        running: Arc<str>;
        /// Ticks that wait for their turn, a JSON list of [`Waiting`].
        waiting: Arc<str>;
        /// When it was changed or fired last.
        updated_at: Millis;
    }
    key(tenant: Tenant, id: Arc<str>)
    group(tenant: Tenant, id: Arc<str>) when |row| row.state == ScheduleState::Active;
    open "state = 'active'";
    rank due_at;
    lock true
}

row! {
    /// A line of a schedule's history: what became of a tick, or of several that were missed together.
    pub struct Tick in "levqor_schedule_tick" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The schedule.
        schedule: Arc<str>, fixed;
        /// Its number, from 1.
        seq: i64, fixed;
        /// The tick's own time, without jitter; of several, the first one's.
        tick: Millis, fixed;
        /// Why.
        cause: Trigger, fixed;
        /// How many ticks the line stands for. 1,000 missed ones mean 1,000 or more.
        ticks: i64, fixed;
        /// What became of it.
        outcome: TickOutcome;
        /// The job that it started.
        job: Option<JobId>;
        /// Why it was refused, an error as JSON.
        error: Option<Arc<str>>;
        /// When that was.
        at: Millis;
    }
    key(tenant: Tenant, schedule: Arc<str>, seq: i64)
    group(tenant: Tenant, schedule: Arc<str>) when |_row| true;
    lock false
}

/// A tick that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its time.
    pub tick: Millis,
    /// Its line of history.
    pub seq: i64,
    /// Why it is to be started.
    pub cause: Trigger,
}

/// The tables of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_schedule (
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        definition TEXT NOT NULL,
        state TEXT NOT NULL,
        revision BIGINT NOT NULL,
        next_tick BIGINT,
        due_at BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        kept_from BIGINT NOT NULL,
        fires BIGINT NOT NULL,
        running TEXT NOT NULL,
        waiting TEXT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (tenant, id)
    )",
    "CREATE INDEX levqor_schedule_due ON levqor_schedule (due_at, tenant, id) WHERE state = 'active'",
    "CREATE TABLE levqor_schedule_tick (
        tenant TEXT NOT NULL,
        schedule TEXT NOT NULL,
        seq BIGINT NOT NULL,
        tick BIGINT NOT NULL,
        cause TEXT NOT NULL,
        ticks BIGINT NOT NULL,
        outcome TEXT NOT NULL,
        job TEXT,
        error TEXT,
        at BIGINT NOT NULL,
        PRIMARY KEY (tenant, schedule, seq)
    )",
];

impl ScheduleRow {
    /// The definition.
    ///
    /// # Errors
    /// `schedule.corrupt` if it cannot be read.
    pub fn schedule(&self) -> Result<Schedule> {
        self.read(&self.definition)
    }

    /// Jobs that had not ended when it last looked.
    ///
    /// # Errors
    /// `schedule.corrupt` if they cannot be read.
    pub fn running(&self) -> Result<Vec<JobId>> {
        self.read(&self.running)
    }

    /// Ticks that wait.
    ///
    /// # Errors
    /// `schedule.corrupt` if they cannot be read.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        self.read(&self.waiting)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                "schedule.corrupt",
                format!("what is stored of the schedule `{}` cannot be read: {e}", self.id),
            )
            .hint("put the schedule again")
        })
    }
}
