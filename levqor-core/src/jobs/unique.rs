//! One job instead of many: unique jobs, throttling and debouncing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Job, JobState, NewJob, QueueRows};
use crate::error::Error;
use crate::table::{Step, row};
use crate::types::{JobId, Millis, Tenant};

row! {
    /// Which job has a unique key.
    pub struct Unique in "levqor_job_unique" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The key.
        key: Arc<str>, fixed;
        /// The job that has it.
        job: JobId;
        /// When the key is free again; for ever, while the job waits or runs.
        until: Millis;
        /// Until when the job has the key even if it ends before.
        window_until: Millis;
        /// When the first of the enqueues came that a debounced job stands for.
        since: Millis;
    }
    key(tenant: Tenant, key: Arc<str>)
    group() when |_row| false;
    lock true
}

/// The tables of this room, for both databases.
pub(super) const DDL: &[&str] = &[
    "CREATE TABLE levqor_job_unique (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        job TEXT NOT NULL,
        until BIGINT NOT NULL,
        window_until BIGINT NOT NULL,
        since BIGINT NOT NULL,
        PRIMARY KEY (tenant, key)
    )",
    "CREATE INDEX levqor_job_unique_until ON levqor_job_unique (until)",
];

/// Later than any time that a store is asked about.
const LIVE: Millis = Millis(i64::MAX);

/// What is enqueued only if no other job has its key.
///
/// A job has its key while it waits or runs, and for `window` after it was enqueued, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The key, 1 to 255 bytes. It is the tenant's: put the handler's name in it if two handlers may use the same.
    pub key: Arc<str>,
    /// For how long after it was enqueued the job has the key, even if it has ended: throttling.
    pub window: Millis,
    /// What happens to a second enqueue.
    pub then: Duplicate,
}

/// What happens to an enqueue whose unique key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicate {
    /// It is dropped, and answered with the job that has the key.
    Drop,
    /// It is refused (`jobs.duplicate`).
    Refuse,
    /// If the job that has the key still waits, it gets the new arguments and waits for `quiet` from now on, but not
    /// longer than `at_most` after the first enqueue: debouncing. Otherwise like [`Drop`](Duplicate::Drop).
    Debounce {
        /// How long nothing more must come.
        quiet: Millis,
        /// After which time it runs all the same.
        at_most: Millis,
    },
}

/// What becomes of an enqueue with a unique key.
pub(super) enum Admission {
    /// Nobody has the key: a new job takes it, to run not before this.
    New(Millis),
    /// The answer is this job.
    Existing(Arc<Job>),
}

/// Decides an enqueue with a unique key, and gives the key to a new job.
pub(super) fn admit(rows: &mut QueueRows, tenant: &Tenant, new: &NewJob, unique: &UniqueKey, now: Millis) -> Step<Admission> {
    let place = (tenant.clone(), unique.key.clone());
    if let Some(row) = rows.uniques.get(&place)? {
        let holder = rows.jobs.get(&(row.job.clone(),))?;
        if let Some(job) = holder.filter(|_| row.until > now) {
            return match unique.then {
                Duplicate::Refuse => Err(Error::conflict(
                    "jobs.duplicate",
                    format!("{} has the unique key `{}`", job.id, unique.key),
                )
                .with("job", job.id.as_str())
                .into()),
                Duplicate::Debounce { quiet, at_most } if job.state == JobState::Scheduled && job.started_at.is_none() => {
                    let run_at = (now + quiet).min(row.since + at_most).max(now);
                    let later = Job {
                        late_args: Some(new.args.clone()),
                        run_at,
                        ..(*job).clone()
                    };
                    Ok(Admission::Existing(super::apply::put(rows, later)?))
                }
                _ => Ok(Admission::Existing(job)),
            };
        }
    }
    let run_at = match unique.then {
        Duplicate::Debounce { quiet, .. } => new.run_at.max(now + quiet),
        _ => new.run_at,
    };
    rows.uniques.put(Unique {
        tenant: tenant.clone(),
        key: unique.key.clone(),
        job: new.id.clone(),
        until: LIVE,
        window_until: now + unique.window,
        since: now,
    })?;
    Ok(Admission::New(run_at))
}

/// A job that ended gives its key back, unless it keeps it for a while.
pub(super) fn leave(rows: &mut QueueRows, job: &Job, now: Millis) -> Step<()> {
    let Some(key) = &job.unique_key else { return Ok(()) };
    let place = (job.tenant.clone(), key.clone());
    match rows.uniques.get(&place)? {
        Some(row) if row.job != job.id => Ok(()),
        Some(row) if row.window_until > now => rows.uniques.put(Unique {
            until: row.window_until,
            ..(*row).clone()
        }),
        Some(_) => rows.uniques.remove(&place),
        None => Ok(()),
    }
}

/// A job that came back from where it had ended has its key again, if nobody else has it.
pub(super) fn come_back(rows: &mut QueueRows, job: &Job, now: Millis) -> Step<()> {
    let Some(key) = &job.unique_key else { return Ok(()) };
    let place = (job.tenant.clone(), key.clone());
    let row = match rows.uniques.get(&place)? {
        Some(row) if row.job != job.id && row.until > now => return Ok(()),
        Some(row) => Unique {
            job: job.id.clone(),
            until: LIVE,
            ..(*row).clone()
        },
        None => Unique {
            tenant: place.0,
            key: place.1,
            job: job.id.clone(),
            until: LIVE,
            window_until: now,
            since: now,
        },
    };
    rows.uniques.put(row)
}
