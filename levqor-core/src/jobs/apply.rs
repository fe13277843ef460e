use std::sync::Arc;

use super::unique::Admission;
use super::{
    Capture, Ended, Finish, Job, JobBatch, JobState, LeaseState, NewJob, QueueAnswer, QueueChange, QueueOp, QueueSettings,
    Signalled, Unique, group, unique,
};
use crate::error::{Error, Result};
use crate::limits::LimitRow;
use crate::table::{Step, Stop, Table};
use crate::types::{HoldId, JobId, MicroCredits, Millis, Tenant};

/// The queues' rows.
pub struct QueueRows {
    /// Queues that were told something.
    pub settings: Table<QueueSettings>,
    /// Unique keys.
    pub uniques: Table<Unique>,
    /// Jobs.
    pub jobs: Table<Job>,
    /// Batches.
    pub batches: Table<JobBatch>,
}

impl QueueRows {
    /// Tables that are everything there is.
    pub fn complete() -> Self {
        QueueRows {
            settings: Table::complete(),
            uniques: Table::complete(),
            jobs: Table::complete(),
            batches: Table::complete(),
        }
    }

    /// Tables that hold what is loaded into them.
    pub fn partial() -> Self {
        QueueRows {
            settings: Table::partial(),
            uniques: Table::partial(),
            jobs: Table::partial(),
            batches: Table::partial(),
        }
    }
}

/// What an operation brought about besides its answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// Jobs that ended, so that their holds can be settled in the same commit.
    pub ended: Vec<Ended>,
    /// Other jobs that a worker can take now.
    pub ready: Vec<Arc<Job>>,
}

/// Carries out an operation.
pub fn apply(
    rows: &mut QueueRows,
    limits: &mut Table<LimitRow>,
    tenant: &Tenant,
    op: &QueueOp,
    now: Millis,
    effects: &mut Effects,
) -> Step<QueueAnswer> {
    match op {
        QueueOp::Enqueue(new) => enqueue(rows, tenant, new, now).map(QueueAnswer::Job),
        QueueOp::Lease(ask) => super::lease::lease(rows, limits, ask, now, effects),
        QueueOp::Heartbeat { beats, lease } => {
            let mut states = Vec::with_capacity(beats.len());
            for beat in beats {
                states.push(heartbeat(rows, &beat.job, beat.fence, *lease, now)?);
            }
            Ok(QueueAnswer::Leases(states))
        }
        QueueOp::Finish { job, fence, how } => finish(rows, job, *fence, how, now, effects),
        QueueOp::Progress { job, fence, progress } => {
            let job = leased(&mut rows.jobs, job, *fence)?;
            rows.jobs.put(Job {
                progress: Some(progress.clone()),
                ..(*job).clone()
            })?;
            Ok(QueueAnswer::Ok)
        }
        QueueOp::Cancel { job } => cancel(rows, tenant, job, now, effects),
        QueueOp::Redrive { job, hold } => redrive(rows, tenant, job, hold.as_ref(), now),
        QueueOp::Signal { job, .. } => signal(rows, tenant, job, now),
        QueueOp::Change { queue, change } => {
            settings(rows, queue, change, now)?;
            Ok(QueueAnswer::Ok)
        }
        QueueOp::OpenBatch(new) => {
            group::open(rows, tenant, new, now)?;
            Ok(QueueAnswer::Batch(new.id.clone()))
        }
        QueueOp::SealBatch { batch } => {
            let follows = group::seal(rows, tenant, batch, now)?;
            follow(rows, tenant, follows, now, effects)?;
            Ok(QueueAnswer::Ok)
        }
    }
}

/// How many jobs whose lease ran out, or whose time has come, one lease operation looks after.
pub(super) const UPKEEP: usize = 64;

/// Asks ahead for the rows that an operation surely needs.
pub fn wants(rows: &mut QueueRows, tenant: &Tenant, op: &QueueOp, now: Millis) {
    match op {
        QueueOp::Enqueue(new) => {
            if let Some(unique) = &new.unique {
                rows.uniques.want((tenant.clone(), unique.key.clone()));
            }
            if let Some(batch) = &new.batch {
                rows.batches.want((batch.clone(),));
            }
        }
        QueueOp::Lease(ask) => {
            for queue in &ask.queues {
                rows.settings.want((queue.clone(),));
                let mut want = |state, n, upto| rows.jobs.want_first((queue.clone(), state), n, upto);
                want(JobState::Leased, UPKEEP, now.0);
                want(JobState::Scheduled, UPKEEP, now.0);
                want(JobState::Ready, ask.max, i64::MAX);
            }
        }
        QueueOp::Heartbeat { beats, .. } => beats.iter().for_each(|b| rows.jobs.want((b.job.clone(),))),
        QueueOp::Finish { job, .. }
        | QueueOp::Progress { job, .. }
        | QueueOp::Cancel { job }
        | QueueOp::Redrive { job, .. }
        | QueueOp::Signal { job, .. } => rows.jobs.want((job.clone(),)),
        QueueOp::Change { queue, .. } => rows.settings.want((queue.clone(),)),
        QueueOp::OpenBatch(_) => {}
        QueueOp::SealBatch { batch } => rows.batches.want((batch.clone(),)),
    }
}

pub(super) fn put(rows: &mut QueueRows, job: Job) -> Step<Arc<Job>> {
    let job = job.placed();
    rows.jobs.put(job.clone())?;
    Ok(Arc::new(job))
}

/// The job, if it is leased with this fence.
pub(super) fn leased(rows: &mut Table<Job>, id: &JobId, fence: i64) -> Step<Arc<Job>> {
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
    match rows.jobs.get(&(id.clone(),))? {
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

fn enqueue(rows: &mut QueueRows, tenant: &Tenant, new: &NewJob, now: Millis) -> Step<Arc<Job>> {
    check(new)?;
    let run_at = match &new.unique {
        None => new.run_at,
        Some(unique) => match unique::admit(rows, tenant, new, unique, now)? {
            Admission::Existing(job) => return Ok(job),
            Admission::New(run_at) => run_at,
        },
    };
    if let Some(batch) = &new.batch {
        group::join(rows, tenant, batch)?;
    }
    let job = fresh(&NewJob { run_at, ..new.clone() }, tenant, now);
    rows.jobs.insert(job.clone());
    Ok(Arc::new(job))
}

/// The row of a job that was never there before.
pub(crate) fn fresh(new: &NewJob, tenant: &Tenant, now: Millis) -> Job {
    Job {
        id: new.id.clone(),
        tenant: tenant.clone(),
        queue: new.queue.clone(),
        handler: new.handler.clone(),
        account: new.account.clone(),
        args: new.args.clone(),
        spec: new.spec.clone(),
        created_at: now,
        unique_key: new.unique.as_ref().map(|unique| unique.key.clone()),
        held: new.held,
        concurrency_key: new.concurrency_key.clone(),
        batch: new.batch.clone(),
        lane: new.queue.clone(),
        state: if new.run_at > now {
            JobState::Scheduled
        } else {
            JobState::Ready
        },
        ord: 0,
        late_args: None,
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
        signal: None,
        result: None,
        error: None,
        progress: None,
        captured: MicroCredits::ZERO,
        started_at: None,
        ended_at: None,
    }
    .placed()
}

/// Enqueues the job that follows a batch.
fn follow(rows: &mut QueueRows, tenant: &Tenant, new: Option<NewJob>, now: Millis, effects: &mut Effects) -> Step<()> {
    if let Some(new) = new {
        let job = enqueue(rows, tenant, &new, now)?;
        effects.ready.push(job);
    }
    Ok(())
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
    let key = |place: &str, text: Option<&str>| match text {
        Some(text) if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) => {
            Err(Error::invalid("jobs.bad_key", "a key of a job has 1 to 255 bytes and no control characters").at(place))
        }
        _ => Ok(()),
    };
    key("unique", new.unique.as_ref().map(|unique| unique.key.as_ref()))?;
    key("concurrency_key", new.concurrency_key.as_deref())?;
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

fn heartbeat(rows: &mut QueueRows, id: &JobId, fence: i64, lease: Millis, now: Millis) -> Step<LeaseState> {
    match rows.jobs.get(&(id.clone(),))? {
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

pub(super) fn end(
    rows: &mut QueueRows,
    job: &Job,
    state: JobState,
    capture: Capture,
    now: Millis,
    effects: &mut Effects,
) -> Step<Arc<Job>> {
    effects.ended.push(Ended {
        job: job.id.clone(),
        hold: job.hold.clone(),
        capture,
    });
    let after = put(rows, job.moved(state, now))?;
    unique::leave(rows, job, now)?;
    make_way(rows, job, effects)?;
    let follows = group::count(rows, &after, None, now)?;
    follow(rows, &job.tenant, follows, now, effects)?;
    Ok(after)
}

/// One less with its key runs or may run: the first of those that were kept back comes forward.
pub(super) fn make_way(rows: &mut QueueRows, job: &Job, effects: &mut Effects) -> Step<()> {
    let Some(parking) = job.parking() else { return Ok(()) };
    for next in rows.jobs.first(&(parking, JobState::Ready), 1, i64::MAX)? {
        let next = Job {
            lane: next.queue.clone(),
            ..(*next).clone()
        };
        effects.ready.push(put(rows, next)?);
    }
    Ok(())
}

fn finish(rows: &mut QueueRows, id: &JobId, fence: i64, how: &Finish, now: Millis, effects: &mut Effects) -> Step<QueueAnswer> {
    let job = match leased(&mut rows.jobs, id, fence) {
        // The answer to an earlier try was lost: it counted.
        Err(Stop::Refused(e)) => {
            return match rows.jobs.get(&(id.clone(),))? {
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
            let capture = capture.map_or(Capture::All, Capture::Amount);
            end(rows, &done, JobState::Done, capture, now, effects)?
        }
        Finish::Failed { error, retry_at } => {
            let failed = Job {
                error: Some(error.clone()),
                crashes: 0,
                ..job
            };
            match retry_at {
                _ if failed.cancel => end(rows, &failed, JobState::Cancelled, Capture::Nothing, now, effects)?,
                Some(at) if failed.attempt < failed.max_attempts => later(rows, &failed, *at, now, effects)?,
                _ => end(rows, &failed, JobState::Dead, Capture::Nothing, now, effects)?,
            }
        }
        Finish::Snoozed { until, signal } => {
            // What came while it ran may be what it is about to wait for.
            let came = *signal && job.signal == Some(Signalled::Came);
            let away = Job {
                attempt: job.attempt - 1,
                crashes: 0,
                ..job
            };
            let away = later(rows, &away, if came { now } else { *until }, now, effects)?;
            if *signal && away.state == JobState::Scheduled {
                let signal = Some(Signalled::Waits);
                put(
                    rows,
                    Job {
                        signal,
                        ..(*away).clone()
                    },
                )?
            } else {
                away
            }
        }
        Finish::Released => {
            let mut free = job.moved(JobState::Ready, now);
            free.attempt -= 1;
            put(rows, free)?
        }
        Finish::Cancelled => end(rows, &job, JobState::Cancelled, Capture::Nothing, now, effects)?,
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

fn later(rows: &mut QueueRows, job: &Job, at: Millis, now: Millis, effects: &mut Effects) -> Step<Arc<Job>> {
    let state = if at > now { JobState::Scheduled } else { JobState::Ready };
    let after = Job {
        run_at: at.max(now),
        ..job.moved(state, now)
    };
    let after = put(rows, after)?;
    if state == JobState::Scheduled {
        make_way(rows, job, effects)?;
    }
    Ok(after)
}

fn cancel(rows: &mut QueueRows, tenant: &Tenant, id: &JobId, now: Millis, effects: &mut Effects) -> Step<QueueAnswer> {
    let job = owned(rows, tenant, id)?;
    let after = match job.state {
        JobState::Leased => put(
            rows,
            Job {
                cancel: true,
                ..(*job).clone()
            },
        )?,
        JobState::Scheduled | JobState::Ready => end(rows, &job, JobState::Cancelled, Capture::Nothing, now, effects)?,
        JobState::Cancelled => job,
        JobState::Done | JobState::Dead => return Err(not_in_state(&job, "waiting or running").into()),
    };
    Ok(QueueAnswer::Job(after))
}

fn redrive(rows: &mut QueueRows, tenant: &Tenant, id: &JobId, hold: Option<&HoldId>, now: Millis) -> Step<QueueAnswer> {
    let old = owned(rows, tenant, id)?;
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
    job.hold = hold.cloned();
    let job = put(rows, job)?;
    group::count(rows, &job, Some(old.state), now)?;
    unique::come_back(rows, &job, now)?;
    Ok(QueueAnswer::Job(job))
}

fn signal(rows: &mut QueueRows, tenant: &Tenant, id: &JobId, now: Millis) -> Step<QueueAnswer> {
    let job = owned(rows, tenant, id)?;
    let after = match job.state {
        JobState::Done | JobState::Dead | JobState::Cancelled => return Err(not_in_state(&job, "waiting or running").into()),
        JobState::Scheduled if job.signal == Some(Signalled::Waits) => Job {
            run_at: now,
            ..job.moved(JobState::Ready, now)
        },
        _ => (*job).clone(),
    };
    let signal = Some(Signalled::Came);
    Ok(QueueAnswer::Job(put(rows, Job { signal, ..after })?))
}

fn settings(rows: &mut QueueRows, queue: &Arc<str>, change: &QueueChange, now: Millis) -> Step<()> {
    let known = rows.settings.get(&(queue.clone(),))?;
    let mut row = known.map_or_else(|| QueueSettings::new(queue.clone(), now), |row| (*row).clone());
    match change {
        QueueChange::Pause => row.paused = true,
        QueueChange::Resume => row.paused = false,
        QueueChange::Limit(limits) => {
            limits.check()?;
            let text = serde_json::to_string(limits).map_err(|e| Error::internal(format!("limits cannot be written: {e}")))?;
            row.limits = text.into();
        }
    }
    row.updated_at = now;
    rows.settings.put(row)
}
