//! Leasing: which jobs a worker gets.

use std::collections::HashMap;
use std::sync::Arc;

use super::apply::{UPKEEP, end, make_way, put};
use super::{Capture, Effects, Job, JobState, Lease, QueueAnswer, QueueLimits, QueueRows};
use crate::error::{Error, ErrorKind};
use crate::limits::{self, Ask, LimitOp, LimitRow};
use crate::table::{Step, Table};
use crate::types::{Millis, Tenant};

/// How many jobs one lease operation puts aside because others with their keys keep them back.
const ASIDE: usize = 256;

/// Leases jobs that are due, and looks after those whose lease ran out.
pub(super) fn lease(
    rows: &mut QueueRows,
    limits: &mut Table<LimitRow>,
    ask: &Lease,
    now: Millis,
    effects: &mut Effects,
) -> Step<QueueAnswer> {
    let mut taking = Taking {
        ask,
        now,
        jobs: Vec::new(),
        again: None,
    };
    for queue in &ask.queues {
        let settings = rows.settings.get(&(queue.clone(),))?;
        let of = |state| (queue.clone(), state);
        for job in rows.jobs.first(&of(JobState::Leased), UPKEEP, now.0)? {
            ran_out(rows, &job, ask.max_crashes, now, effects)?;
        }
        for job in rows.jobs.first(&of(JobState::Scheduled), UPKEEP, now.0)? {
            put(rows, job.moved(JobState::Ready, now))?;
        }
        let bounds = match settings {
            Some(settings) if settings.paused => continue,
            Some(settings) => settings.limits()?,
            None => QueueLimits::default(),
        };
        let on = if bounds == QueueLimits::default() {
            taking.freely(rows, queue)?
        } else {
            taking.within(rows, limits, queue, &bounds, effects)?
        };
        if !on {
            break;
        }
    }
    Ok(QueueAnswer::Leased {
        jobs: taking.jobs,
        again: taking.again,
    })
}

/// What a worker has got so far.
struct Taking<'a> {
    ask: &'a Lease,
    now: Millis,
    jobs: Vec<Arc<Job>>,
    again: Option<Millis>,
}

impl Taking<'_> {
    fn room(&self) -> usize {
        self.ask.max - self.jobs.len()
    }

    /// Takes the first of a queue without limits. Whether to go on with the next queue.
    fn freely(&mut self, rows: &mut QueueRows, queue: &Arc<str>) -> Step<bool> {
        for job in rows.jobs.first(&(queue.clone(), JobState::Ready), self.room(), i64::MAX)? {
            if !self.take(rows, &job)? {
                return Ok(false);
            }
        }
        Ok(self.room() > 0)
    }

    /// Takes the first of a queue that its limits let through. Whether to go on with the next queue.
    fn within(
        &mut self,
        rows: &mut QueueRows,
        limits: &mut Table<LimitRow>,
        queue: &Arc<str>,
        bounds: &QueueLimits,
        effects: &mut Effects,
    ) -> Step<bool> {
        let ready = (queue.clone(), JobState::Ready);
        let mut free = usize::MAX;
        let mut by_key: HashMap<(Tenant, Arc<str>), u32> = HashMap::new();
        if bounds.running.is_some() || bounds.per_key.is_some() {
            let running = rows.jobs.group(&(queue.clone(), JobState::Leased))?;
            free = bounds
                .running
                .map_or(usize::MAX, |most| (most as usize).saturating_sub(running.len()));
            for key in running.iter().filter_map(|job| key_of(job)) {
                *by_key.entry(key).or_default() += 1;
            }
        }
        let mut aside = 0;
        while free > 0 && aside < ASIDE {
            let Some(job) = rows.jobs.first(&ready, 1, i64::MAX)?.into_iter().next() else {
                break;
            };
            let key = key_of(&job);
            if let (Some(most), Some(key), Some(parking)) = (bounds.per_key, &key, job.parking())
                && by_key.get(key).is_some_and(|n| *n >= most)
            {
                aside += 1;
                put(
                    rows,
                    Job {
                        lane: parking,
                        ..(*job).clone()
                    },
                )?;
                continue;
            }
            match started(limits, queue, &job, bounds, self.now)? {
                Pace::Now => {}
                Pace::KeyLater(wait) => {
                    aside += 1;
                    let later = Job {
                        run_at: self.now + wait,
                        ..job.moved(JobState::Scheduled, self.now)
                    };
                    put(rows, later)?;
                    continue;
                }
                Pace::QueueLater(wait) => {
                    self.again = Some(self.again.map_or(wait, |other| other.min(wait)));
                    break;
                }
            }
            let on = self.take(rows, &job)?;
            free -= 1;
            if let (Some(most), Some(key)) = (bounds.per_key, key) {
                let n = by_key.entry(key).or_default();
                *n += 1;
                // The limit was raised, or others ended: one more may come forward.
                if *n < most {
                    make_way(rows, &job, effects)?;
                }
            }
            if !on || self.room() == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leases a job. Whether the worker may get more beside it.
    fn take(&mut self, rows: &mut QueueRows, job: &Arc<Job>) -> Step<bool> {
        let alone = job.last_chance(self.ask.max_crashes);
        if alone && !self.jobs.is_empty() {
            return Ok(false);
        }
        let signal = job.signal;
        let mut job = job.moved(JobState::Leased, self.now);
        job.attempt += 1;
        job.fence += 1;
        job.worker = Some(self.ask.worker.clone());
        job.lease_until = Some(self.now + self.ask.lease);
        job.started_at = job.started_at.or(Some(self.now));
        let leased = put(rows, job)?;
        // The worker is told of the signal, which from now on has been heard.
        self.jobs.push(match signal {
            None => leased,
            signal => Arc::new(Job {
                signal,
                ..(*leased).clone()
            }),
        });
        Ok(!alone)
    }
}

fn key_of(job: &Job) -> Option<(Tenant, Arc<str>)> {
    Some((job.tenant.clone(), job.concurrency_key.clone()?))
}

/// What the rates of a queue say to a job.
enum Pace {
    Now,
    KeyLater(Millis),
    QueueLater(Millis),
}

/// Decides both rates of a queue in one step, and counts the start if both let it through.
fn started(limits: &mut Table<LimitRow>, queue: &Arc<str>, job: &Job, bounds: &QueueLimits, now: Millis) -> Step<Pace> {
    let mut asks = Vec::new();
    if let Some(rate) = bounds.rate {
        asks.push(Ask::new("jobs.queue", queue.as_bytes(), rate));
    }
    if let (Some(rate), Some(parking)) = (bounds.rate_per_key, job.parking()) {
        asks.push(Ask::new("jobs.key", parking.as_bytes(), rate));
    }
    if asks.is_empty() {
        return Ok(Pace::Now);
    }
    // Queues are shared by all tenants, and so are their rates.
    let decision = limits::apply_op(limits, &Tenant::default(), &LimitOp::new(&asks)?, now)?;
    if decision.admitted {
        return Ok(Pace::Now);
    }
    let wait = |outcome: &limits::AskOutcome| outcome.retry_after.unwrap_or(Millis(1)).max(Millis(1));
    let refused = |name: &str| decision.asks.iter().find(|a| &*a.name == name && !a.admitted);
    Ok(match (refused("jobs.queue"), refused("jobs.key")) {
        (Some(outcome), _) => Pace::QueueLater(wait(outcome)),
        (None, Some(outcome)) => Pace::KeyLater(wait(outcome)),
        (None, None) => Pace::QueueLater(Millis(1)),
    })
}

/// A lease ran out: its worker died or froze. The attempt is not counted, the crash is.
fn ran_out(rows: &mut QueueRows, job: &Job, max_crashes: i64, now: Millis, effects: &mut Effects) -> Step<()> {
    let crashes = job.crashes + 1;
    let worker = job.worker.as_deref().unwrap_or("?");
    if job.cancel {
        end(rows, job, JobState::Cancelled, Capture::Nothing, now, effects)?;
    } else if crashes >= max_crashes {
        let error = Error::new(
            ErrorKind::Internal,
            "jobs.poison",
            format!("{crashes} workers in a row died or froze while they had this job, the last one was {worker}"),
        )
        .hint("find out what it does to its worker before it is redriven");
        let dead = Job {
            crashes,
            error: Some(error.to_json().to_string().into()),
            ..job.clone()
        };
        end(rows, &dead, JobState::Dead, Capture::Nothing, now, effects)?;
    } else {
        let mut job = job.moved(JobState::Ready, now);
        job.attempt -= 1;
        job.crashes = crashes;
        put(rows, job)?;
    }
    Ok(())
}
