use std::sync::Arc;

use super::{Capture, Ended, Finish, Job, JobState, Lease, LeaseState, NewJob, QueueAnswer, QueueOp};
use crate::error::{Error, Result};
use crate::table::{Step, Table};
use crate::types::{JobId, MicroCredits, Millis, Tenant};

/// The queue's rows.
pub type QueueRows = Table<Job>;

/// How many jobs whose lease ran out, or whose time has come, one lease operation looks after.
const UPKEEP: usize = 64;

/// Carries out an operation. Jobs that ended by it are added to `ended`, so that their holds can be
/// settled in the same commit.
pub fn apply(rows: &mut QueueRows, tenant: &Tenant, op: &QueueOp, now: Millis, ended: &mut Vec<Ended>) -> Step<QueueAnswer> {
    match op {
        QueueOp::Enqueue(new) => enqueue(rows, tenant, new, now),
        QueueOp::Lease(ask) => lease(rows, ask, now, ended),
        QueueOp::Heartbeat { beats, lease } => {
            let mut states = Vec::with_capacity(beats.len());
            for beat in beats {
                states.push(heartbeat(rows, &beat.job, beat.fence, *lease, now)?);
            }
            Ok(QueueAnswer::Leases(states))
        }
        QueueOp::Finish { job, fence, how } => finish(rows, job, *fence, how, now, ended),
        QueueOp::Progress { job, fence, progress } => {
            let job = leased(rows, job, *fence)?;
            rows.put(Job {
                progress: Some(progress.clone()),
                ..(*job).clone()
            })?;
            Ok(QueueAnswer::Ok)
        }
        QueueOp::Cancel { job } => cancel(rows, tenant, job, now, ended),
        QueueOp::Redrive { job, hold } => {
            let old = owned(rows, tenant, job)?;
            if !matches!(old.state, JobState::Dead | JobState::Cancelled) {
                return Err(not_in_state(&old, "dead or cancelled").into());
            }
            let mut job = old.moved(JobState::Ready, now);
            job.run_at = now;
            job.attempt = 0;
            job.crashes = 0;
            job.cancel = false;
            job.error = None;
            job.ended_at = None;
            job.hold.clone_from(hold);
            Ok(QueueAnswer::Job(put(rows, job)?))
        }
    }
}

/// Asks ahead for the rows that an operation surely needs.
pub fn wants(rows: &mut QueueRows, op: &QueueOp, now: Millis) {
    match op {
        QueueOp::Enqueue(_) => {}
        QueueOp::Lease(ask) => {
            for queue in &ask.queues {
                let mut want = |state, n, upto| rows.want_first((queue.clone(), state), n, upto);
                want(JobState::Leased, UPKEEP, now.0);
                want(JobState::Scheduled, UPKEEP, now.0);
                want(JobState::Ready, ask.max, i64::MAX);
            }
        }
        QueueOp::Heartbeat { beats, .. } => beats.iter().for_each(|b| rows.want((b.job.clone(),))),
        QueueOp::Finish { job, .. } | QueueOp::Progress { job, .. } | QueueOp::Cancel { job } | QueueOp::Redrive { job, .. } => {
            rows.want((job.clone(),));
        }
    }
}

fn put(rows: &mut QueueRows, job: Job) -> Step<Arc<Job>> {
    let job = job.placed();
    rows.put(job.clone())?;
    Ok(Arc::new(job))
}

/// The job, if it is leased with this fence.
pub(super) fn leased(rows: &mut QueueRows, id: &JobId, fence: i64) -> Step<Arc<Job>> {
    match rows.get(&(id.clone(),))? {
        Some(job) if job.state == JobState::Leased && job.fence == fence => Ok(job),
        Some(job) => Err(lease_lost(id, fence, &job).into()),
        None => Err(unknown(id).into()),
    }
}

fn lease_lost(id: &JobId, fence: i64, job: &Job) -> Error {
    Error::conflict(
        "jobs.lease_lost",
        format!(
            "the lease of {id} with fence {fence} is over; the job is {} with fence {}",
            job.state.as_str(),
            job.fence
        ),
    )
    .hint("stop working on it: another worker has it or has finished it, and nothing that is written now counts")
}

/// The job, if it is this tenant's.
fn owned(rows: &mut QueueRows, tenant: &Tenant, id: &JobId) -> Step<Arc<Job>> {
    match rows.get(&(id.clone(),))? {
        Some(job) if job.tenant == *tenant => Ok(job),
        _ => Err(unknown(id).into()),
    }
}

/// The error for a job that does not exist (or is another tenant's, which must look the same).
fn unknown(id: &JobId) -> Error {
    Error::not_found("jobs.unknown", format!("there is no job {id}")).hint("see `levqor jobs list` for the jobs of this tenant")
}

fn not_in_state(job: &Job, needed: &str) -> Error {
    Error::conflict(
        "jobs.wrong_state",
        format!("{} is {}, not {needed}", job.id, job.state.as_str()),
    )
}

fn enqueue(rows: &mut QueueRows, tenant: &Tenant, new: &NewJob, now: Millis) -> Step<QueueAnswer> {
    check(new)?;
    let job = Job {
        id: new.id.clone(),
        tenant: tenant.clone(),
        queue: new.queue.clone(),
        handler: new.handler.clone(),
        account: new.account.clone(),
        args: new.args.clone(),
        spec: new.spec.clone(),
        created_at: now,
        state: if new.run_at > now {
            JobState::Scheduled
        } else {
            JobState::Ready
        },
        ord: 0,
        priority: new.priority,
        run_at: new.run_at.max(now),
        attempt: 0,
        max_attempts: new.max_attempts,
        crashes: 0,
        fence: 0,
        worker: None,
        lease_until: None,
        hold: new.hold.clone(),
        cancel: false,
        result: None,
        error: None,
        progress: None,
        captured: MicroCredits::ZERO,
        started_at: None,
        ended_at: None,
    }
    .placed();
    rows.insert(job.clone());
    Ok(QueueAnswer::Job(Arc::new(job)))
}

/// Checks what can be said of a job by itself.
pub(crate) fn check(new: &NewJob) -> Result<()> {
    let name = |what: &str, text: &str| {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(())
        } else {
            Err(Error::invalid(
                "jobs.bad_name",
                format!("a {what}'s name has 1 to 128 printable ASCII characters without spaces"),
            )
            .at(what))
        }
    };
    name("queue", &new.queue)?;
    name("handler", &new.handler)?;
    if !(0..=255).contains(&new.priority) {
        return Err(Error::invalid(
            "jobs.bad_priority",
            format!("a priority lies between 0 and 255, not {}", new.priority),
        )
        .at("priority"));
    }
    if !(1..=1_000).contains(&new.max_attempts) {
        return Err(Error::invalid(
            "jobs.bad_attempts",
            format!("a job has 1 to 1000 attempts, not {}", new.max_attempts),
        )
        .at("max_attempts"));
    }
    Ok(())
}

fn lease(rows: &mut QueueRows, ask: &Lease, now: Millis, ended: &mut Vec<Ended>) -> Step<QueueAnswer> {
    let mut taken = Vec::new();
    for queue in &ask.queues {
        let of = |state| (queue.clone(), state);
        for job in rows.first(&of(JobState::Leased), UPKEEP, now.0)? {
            ran_out(rows, &job, ask.max_crashes, now, ended)?;
        }
        for job in rows.first(&of(JobState::Scheduled), UPKEEP, now.0)? {
            put(rows, job.moved(JobState::Ready, now))?;
        }
        for job in rows.first(&of(JobState::Ready), ask.max - taken.len(), i64::MAX)? {
            let alone = job.last_chance(ask.max_crashes);
            if alone && !taken.is_empty() {
                return Ok(QueueAnswer::Leased(taken));
            }
            let mut job = job.moved(JobState::Leased, now);
            job.attempt += 1;
            job.fence += 1;
            job.worker = Some(ask.worker.clone());
            job.lease_until = Some(now + ask.lease);
            job.started_at = job.started_at.or(Some(now));
            taken.push(put(rows, job)?);
            if alone {
                return Ok(QueueAnswer::Leased(taken));
            }
        }
        if taken.len() == ask.max {
            break;
        }
    }
    Ok(QueueAnswer::Leased(taken))
}

/// A lease ran out: its worker died or froze. The attempt is not counted, the crash is.
fn ran_out(rows: &mut QueueRows, job: &Job, max_crashes: i64, now: Millis, ended: &mut Vec<Ended>) -> Step<()> {
    let crashes = job.crashes + 1;
    let worker = job.worker.as_deref().unwrap_or("?");
    if job.cancel {
        end(rows, job, JobState::Cancelled, Capture::Nothing, now, ended)?;
    } else if crashes >= max_crashes {
        let error = Error::new(
            crate::error::ErrorKind::Internal,
            "jobs.poison",
            format!("{crashes} workers in a row died or froze while they had this job, the last one was {worker}"),
        )
        .hint("find out what it does to its worker before it is redriven");
        let dead = Job {
            crashes,
            error: Some(error.to_json().to_string().into()),
            ..job.clone()
        };
        end(rows, &dead, JobState::Dead, Capture::Nothing, now, ended)?;
    } else {
        let mut job = job.moved(JobState::Ready, now);
        job.attempt -= 1;
        job.crashes = crashes;
        put(rows, job)?;
    }
    Ok(())
}

fn heartbeat(rows: &mut QueueRows, id: &JobId, fence: i64, lease: Millis, now: Millis) -> Step<LeaseState> {
    match rows.get(&(id.clone(),))? {
        Some(job) if job.state == JobState::Leased && job.fence == fence => {
            let state = if job.cancel {
                LeaseState::CancelAsked
            } else {
                LeaseState::Kept
            };
            put(
                rows,
                Job {
                    lease_until: Some(now + lease),
                    ..(*job).clone()
                },
            )?;
            Ok(state)
        }
        _ => Ok(LeaseState::Lost),
    }
}

fn end(
    rows: &mut QueueRows,
    job: &Job,
    state: JobState,
    capture: Capture,
    now: Millis,
    ended: &mut Vec<Ended>,
) -> Step<Arc<Job>> {
    ended.push(Ended {
        job: job.id.clone(),
        hold: job.hold.clone(),
        capture,
    });
    put(rows, job.moved(state, now))
}

fn finish(rows: &mut QueueRows, id: &JobId, fence: i64, how: &Finish, now: Millis, ended: &mut Vec<Ended>) -> Step<QueueAnswer> {
    let job = match leased(rows, id, fence) {
        // The answer to an earlier try was lost: it counted.
        Err(crate::table::Stop::Refused(e)) => {
            return match rows.get(&(id.clone(),))? {
                Some(job) if job.fence == fence && job.state.ended() && finished_as(&job, how) => Ok(QueueAnswer::Job(job)),
                _ => Err(e.into()),
            };
        }
        other => other?,
    };
    let job = (*job).clone();
    let after = match how {
        Finish::Done { result, capture } => {
            let done = Job {
                result: Some(result.clone()),
                error: None,
                ..job
            };
            end(
                rows,
                &done,
                JobState::Done,
                capture.map_or(Capture::All, Capture::Amount),
                now,
                ended,
            )?
        }
        Finish::Failed { error, retry_at } => {
            let failed = Job {
                error: Some(error.clone()),
                crashes: 0,
                ..job
            };
            match retry_at {
                _ if failed.cancel => end(rows, &failed, JobState::Cancelled, Capture::Nothing, now, ended)?,
                Some(at) if failed.attempt < failed.max_attempts => later(rows, &failed, *at, now)?,
                _ => end(rows, &failed, JobState::Dead, Capture::Nothing, now, ended)?,
            }
        }
        Finish::Snoozed { until } => later(
            rows,
            &Job {
                attempt: job.attempt - 1,
                crashes: 0,
                ..job
            },
            *until,
            now,
        )?,
        Finish::Released => {
            let mut free = job.moved(JobState::Ready, now);
            free.attempt -= 1;
            put(rows, free)?
        }
        Finish::Cancelled => end(rows, &job, JobState::Cancelled, Capture::Nothing, now, ended)?,
    };
    Ok(QueueAnswer::Job(after))
}

fn finished_as(job: &Job, how: &Finish) -> bool {
    match how {
        Finish::Done { result, .. } => job.state == JobState::Done && job.result.as_ref() == Some(result),
        Finish::Failed { error, .. } => job.state == JobState::Dead && job.error.as_ref() == Some(error),
        Finish::Cancelled => job.state == JobState::Cancelled,
        Finish::Snoozed { .. } | Finish::Released => false,
    }
}

fn later(rows: &mut QueueRows, job: &Job, at: Millis, now: Millis) -> Step<Arc<Job>> {
    let state = if at > now { JobState::Scheduled } else { JobState::Ready };
    put(
        rows,
        Job {
            run_at: at.max(now),
            ..job.moved(state, now)
        },
    )
}

fn cancel(rows: &mut QueueRows, tenant: &Tenant, id: &JobId, now: Millis, ended: &mut Vec<Ended>) -> Step<QueueAnswer> {
    let job = owned(rows, tenant, id)?;
    let after = match job.state {
        JobState::Leased => put(
            rows,
            Job {
                cancel: true,
                ..(*job).clone()
            },
        )?,
        JobState::Scheduled | JobState::Ready => end(rows, &job, JobState::Cancelled, Capture::Nothing, now, ended)?,
        JobState::Cancelled => job,
        JobState::Done | JobState::Dead => return Err(not_in_state(&job, "waiting or running").into()),
    };
    Ok(QueueAnswer::Job(after))
}
