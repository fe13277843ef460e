use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleRow, Tick, Trigger};
use crate::error::Error;
use crate::jobs::NewJob;
use crate::types::{MicroCredits, Millis};

/// The most ticks that one backfill starts, and the most that may wait for their turn.
pub const MAX_BACKFILL: usize = 1_000;

/// A change of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleOp {
    /// Makes or edits it. The same definition again changes nothing. Where an edit leaves the ticks as they
    /// are, the next one stays.
    Put(Box<Schedule>),
    /// Puts it on hold.
    Pause {
        /// Its name.
        id: Arc<str>,
    },
    /// Goes on with the first tick after now; what fell into the pause is not made up for.
    Resume {
        /// Its name.
        id: Arc<str>,
    },
    /// Removes it and its history. Jobs that it started go on.
    Delete {
        /// Its name.
        id: Arc<str>,
    },
    /// Does what is due: fires one tick, or notes why it does not.
    Fire(Fire),
    /// Starts ticks because somebody asked for them.
    Start(Start),
}

/// Claims what is due of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Fire {
    /// The schedule.
    pub id: Arc<str>,
    /// The revision that the tasks were made by.
    pub revision: i64,
    /// The jobs of the ticks that may be next.
    pub tasks: Vec<TickTask>,
}

/// Starts ticks out of their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The schedule.
    pub id: Arc<str>,
    /// Manual: at once, whatever runs; a refusal is an error. Backfill: those that were not started before,
    /// one after another unless jobs may overlap; a refusal is noted.
    pub cause: Trigger,
    /// The jobs, oldest tick first.
    pub tasks: Vec<TickTask>,
}

/// The job of a tick, or why there can be none.
#[derive(Clone, Debug, PartialEq)]
pub struct TickTask {
    /// The tick.
    pub tick: Millis,
    /// What is enqueued.
    pub task: Result<Task, Error>,
}

/// A job to be, with what is held for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The job. Its id is given by the schedule.
    pub job: NewJob,
    /// Held on the job's account under the job's hold.
    pub held: Option<MicroCredits>,
}

/// A job that an operation decided to start; the store enqueues it in the same commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The schedule.
    pub id: Arc<str>,
    /// The line of history to correct if it is refused.
    pub seq: i64,
    /// What to enqueue.
    pub task: Task,
    /// Whether a refusal refuses the whole operation.
    pub strict: bool,
}

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleAnswer {
    /// The schedule as it is now; `None` if it is gone.
    pub row: Option<Arc<ScheduleRow>>,
    /// Whether anything changed.
    pub changed: bool,
    /// What became of ticks by this operation.
    pub ticks: Vec<Arc<Tick>>,
}
