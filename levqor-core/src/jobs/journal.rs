//! The journal of a run: what each step came to, so that no step is done twice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Job;
use super::apply::leased;
use crate::error::Error;
use crate::table::{Step, Table, row, text_enum};
use crate::types::{JobId, Millis};

/// What the journal knows of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// A call that must not be repeated blindly was about to be made; what came of it is not known.
    Intent,
    /// It failed, and will be tried again.
    Retrying,
    /// It waits for its time.
    Waiting,
    /// It ended well; the output is here.
    Done,
    /// Its condition did not hold.
    Skipped,
    /// It failed for good; the error is here.
    Failed,
}

text_enum!(StepStatus {
    Intent = "intent",
    Retrying = "retrying",
    Waiting = "waiting",
    Done = "done",
    Skipped = "skipped",
    Failed = "failed",
});

impl StepStatus {
    /// Whether nothing will change any more.
    pub const fn settled(self) -> bool {
        matches!(self, StepStatus::Done | StepStatus::Skipped | StepStatus::Failed)
    }
}

row! {
    /// One step of a run, or one item of a step that goes over many.
    pub struct JournalRow in "levqor_journal" {
        /// The run.
        job: JobId, fixed;
        /// The step's id, with `[n]` behind it for an item.
        path: Arc<str>, fixed;
        /// What is known.
        status: StepStatus;
        /// Attempts made.
        attempts: i64;
        /// What it gave back, JSON.
        output: Option<Arc<str>>;
        /// Why it failed, an error as JSON.
        error: Option<Arc<str>>;
        /// When its first attempt began.
        started_at: Millis;
        /// When it was settled.
        ended_at: Option<Millis>;
    }
    key(job: JobId, path: Arc<str>)
    group(job: JobId) when |_row| true;
    lock false
}

/// Writes steps of one leased run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalOp {
    /// The run.
    pub job: JobId,
    /// The fence of its lease.
    pub fence: i64,
    /// The steps as they are now.
    pub rows: Vec<JournalRow>,
}

/// Writes the rows, if the lease still holds. A settled row never changes again; writing the same
/// again is no error. Progress clears the job's count of crashes.
pub fn journal(jobs: &mut Table<Job>, rows: &mut Table<JournalRow>, op: &JournalOp) -> Step<()> {
    let job = leased(jobs, &op.job, op.fence)?;
    for row in &op.rows {
        if row.job != op.job {
            return Err(Error::internal("a journal row of another run").at(row.path.as_ref()).into());
        }
        match rows.get(&(row.job.clone(), row.path.clone()))? {
            Some(old) if old.status.settled() && *old != *row => {
                return Err(Error::conflict(
                    "journal.settled",
                    format!("step {} of {} is settled already", row.path, row.job),
                )
                .into());
            }
            Some(old) if *old == *row => {}
            _ => rows.put(row.clone())?,
        }
    }
    if job.crashes > 0 {
        jobs.put(Job {
            crashes: 0,
            ..(*job).clone()
        })?;
    }
    Ok(())
}

/// Whoever takes a run up again has looked at the other side: a call that was cut off may be made again.
pub fn reopen(rows: &mut Table<JournalRow>, job: &JobId) -> Step<()> {
    for row in rows.group(&(job.clone(),))? {
        if matches!(row.status, StepStatus::Intent | StepStatus::Retrying) {
            rows.put(JournalRow {
                status: StepStatus::Retrying,
                // A step of a handler that was given up is tried anew.
                error: row.error.clone().filter(|text| !text.contains("\"gave_up\"")),
                ..(*row).clone()
            })?;
        }
    }
    Ok(())
}

/// Keeps a signal for its job: the first of a name under `signal:name`, the second under `signal:name#2`, and so on.
pub fn signal(rows: &mut Table<JournalRow>, job: &JobId, name: &str, payload: &Arc<str>, now: Millis) -> Step<()> {
    let known = rows.group(&(job.clone(),))?;
    let first = format!("signal:{name}");
    let path = (1..=known.len() + 1)
        .map(|n| nth(&first, n))
        .find(|path| known.iter().all(|row| *row.path != **path));
    rows.put(JournalRow {
        job: job.clone(),
        path: path.unwrap_or_default().into(),
        status: StepStatus::Done,
        attempts: 1,
        output: Some(payload.clone()),
        error: None,
        started_at: now,
        ended_at: Some(now),
    })
}

/// The path of the `n`th step (from 1) of a name.
pub(crate) fn nth(name: &str, n: usize) -> String {
    if n <= 1 { name.to_owned() } else { format!("{name}#{n}") }
}
