use serde::{Deserialize, Serialize};

use crate::jobs::StepStatus;
use crate::types::{JobId, Millis};

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunEvent {
    /// A worker took it.
    Started {
        /// The run.
        run: JobId,
        /// When.
        at: Millis,
        /// Steps of its pipeline.
        steps: usize,
    },
    /// A step, or an item of one, changed.
    Step {
        /// The run.
        run: JobId,
        /// The step's id, with `[n]` behind it for an item.
        path: String,
        /// What is known of it now.
        status: StepStatus,
        /// Attempts so far.
        attempts: i64,
        /// When.
        at: Millis,
    },
    /// A step that goes over many items has begun.
    Items {
        /// The run.
        run: JobId,
        /// The step's id.
        path: String,
        /// How many.
        total: usize,
        /// How many of them were done in an earlier life of the run.
        done: usize,
    },
    /// It ended, or was put away.
    Ended {
        /// The run.
        run: JobId,
        /// Where it stands now.
        state: crate::jobs::JobState,
        /// When.
        at: Millis,
    },
}
