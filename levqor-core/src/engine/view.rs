use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::jobs::{Job, JobState, JournalRow, StepStatus};
use crate::types::{JobId, MicroCredits, Millis};

/// A run as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Who pays.
    pub account: Option<String>,
    /// The digest of its pipeline.
    pub pipeline: Option<String>,
    /// What it gave back.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<Value>,
    /// Attempts started.
    pub attempt: i64,
    /// What it cost.
    pub captured: MicroCredits,
    /// Not before this; where it waits.
    pub run_at: Millis,
    /// When it was submitted.
    pub created_at: Millis,
    /// When a worker first took it.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// Its steps, in the order of their start.
    pub steps: Vec<StepView>,
}

/// A step of a run, or one item of a step that goes over many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// The step's id, with `[n]` behind it for an item.
    pub path: String,
    /// What is known.
    pub status: StepStatus,
    /// Attempts made.
    pub attempts: i64,
    /// What it gave back.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<Value>,
    /// When it began.
    pub started_at: Millis,
    /// When it was settled.
    pub ended_at: Option<Millis>,
}

fn read(text: Option<&str>) -> Option<Value> {
    // What cannot be read is shown as the text that it is.
    text.map(|t| serde_json::from_str(t).unwrap_or_else(|_| Value::String(t.to_owned())))
}

impl RunView {
    pub(super) fn of(job: &Job, steps: &[std::sync::Arc<JournalRow>]) -> Self {
        RunView {
            id: job.id.clone(),
            state: job.state,
            account: job.account.as_deref().map(str::to_owned),
            pipeline: job.spec.as_deref().map(str::to_owned),
            result: read(job.result.as_deref()),
            error: read(job.error.as_deref()),
            attempt: job.attempt,
            captured: job.captured,
            run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            ended_at: job.ended_at,
            steps: steps.iter().map(|row| StepView::of(row, job.state)).collect(),
        }
    }

    /// The error of a failed run.
    pub fn failure(&self) -> Option<Error> {
        self.error.as_ref().map(Error::from_json)
    }
}

impl StepView {
    fn of(row: &JournalRow, state: JobState) -> Self {
        // In a run that has ended, nothing is tried again: what it stopped at has failed.
        let stopped = state.ended() && row.status == StepStatus::Retrying;
        StepView {
            path: row.path.to_string(),
            status: if stopped { StepStatus::Failed } else { row.status },
            attempts: row.attempts,
            output: read(row.output.as_deref()),
            error: read(row.error.as_deref()),
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}
