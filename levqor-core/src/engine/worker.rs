use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::pipelines::HANDLER;
use super::schedules::Agenda;
use super::wf::SUSPENDED;
use super::{Engine, RunEvent, Wf};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::jobs::retry::{Next, RetryPolicy, next};
use crate::jobs::{Beat, Finish, Job, JobState, JournalOp, JournalRow, Lease, LeaseState, QueueAnswer, QueueOp};
use crate::json;
use crate::store::{Answer, Batch, topic};
use crate::types::{JobId, Millis, WorkerId, random_bytes};
use crate::usage::NewUsage;

/// How long to wait before the end of a job is written again.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// How long after the grace a stopping worker tries to give its jobs back.
const GIVING_BACK: Duration = Duration::from_millis(700);

/// Takes jobs from queues and does them.
pub struct Worker {
    engine: Engine,
    queues: Vec<Arc<str>>,
    concurrency: usize,
    lease: Millis,
    poll: Duration,
    grace: Duration,
    schedules: bool,
}

/// What a worker did, said when it stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerReport {
    /// Jobs that ended well.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Jobs that were put away until later.
    pub snoozed: u64,
    /// Jobs that were called off.
    pub cancelled: u64,
    /// Jobs that were given back because the worker stopped.
    pub released: u64,
    /// Leases that were lost.
    pub lost: u64,
}

/// Why a job has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    Cancel,
    Release,
    Lost,
}

enum Outcome {
    Finished(JobState),
    Snoozed,
    Released,
    Lost,
}

/// How an attempt ended, and what is still to be journaled of it.
type End = (Finish, Vec<JournalRow>);
/// A job and the fence of its lease: what was given back can be leased anew before its end here is noticed.
type Leased = (JobId, i64);
/// A lease that is under way: how many were asked for, and what came.
type Taking<'a> = Pin<Box<dyn Future<Output = (usize, Result<(Vec<Arc<Job>>, Option<Millis>)>)> + Send + 'a>>;
type Running = HashMap<Leased, (Arc<Job>, watch::Sender<Order>)>;

/// How many jobs may be taken. A slot is free once its job's handler has ended: the next job is leased in the
/// commit that writes how that one went.
struct Slots {
    free: AtomicUsize,
    freed: Notify,
}

impl Slots {
    fn new(n: usize) -> Arc<Self> {
        Arc::new(Slots {
            free: AtomicUsize::new(n),
            freed: Notify::new(),
        })
    }

    fn take(self: &Arc<Self>) -> Slot {
        self.free.fetch_sub(1, Ordering::Relaxed);
        Slot(self.clone())
    }
}

/// The place of a job that runs.
struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

impl Worker {
    pub(super) fn new(engine: Engine) -> Self {
        Worker {
            engine,
            queues: vec!["default".into()],
            concurrency: 8,
            lease: Millis::secs(15),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(10),
            schedules: true,
        }
    }

    /// From these queues, the first one first.
    #[must_use]
    pub fn queues<'a>(mut self, queues: impl IntoIterator<Item = &'a str>) -> Self {
        self.queues = queues.into_iter().map(Arc::from).collect();
        self
    }

    /// How many jobs at the same time; 8 unless said otherwise.
    #[must_use]
    pub fn concurrency(mut self, n: usize) -> Self {
        self.concurrency = n.max(1);
        self
    }

    /// How long a lease holds without a heartbeat: 15 s unless said otherwise, 2 s at least. A dead
    /// worker's jobs are taken by another after that.
    #[must_use]
    pub fn lease(mut self, lease: Millis) -> Self {
        self.lease = lease.max(Millis::secs(2));
        self
    }

    /// How often to look for jobs when no wake-up comes.
    #[must_use]
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every.max(Duration::from_millis(1));
        self
    }

    /// How long running jobs may go on after the worker was told to stop.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Whether it also fires schedules (of all queues and tenants) that are due; it does unless told otherwise.
    /// Any number of workers may: each tick is fired once.
    #[must_use]
    pub fn schedules(mut self, fire: bool) -> Self {
        self.schedules = fire;
        self
    }

    /// Works until `stop` ends; then takes nothing more, lets what runs come to its end within the
    /// grace, and gives the rest back, unspent, for another worker. A store that does not answer is not
    /// waited for: then the rest is left to its leases.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<WorkerReport> {
        self.work(stop, false).await
    }

    /// Works until nothing is left that is due.
    pub async fn drain(self) -> Result<WorkerReport> {
        self.work(std::future::pending(), true).await
    }

    async fn work(self, stop: impl Future<Output = ()> + Send, until_idle: bool) -> Result<WorkerReport> {
        let name: Arc<str> = WorkerId::new(self.engine.now()).as_str().into();
        let mut wakes = Vec::new();
        for queue in &self.queues {
            wakes.push(self.engine.inner.backend.store.wakes(&topic::queue(queue)).await?);
        }
        let mut agenda = Agenda::new(self.engine.clone());
        if self.schedules {
            wakes.push(self.engine.inner.backend.store.wakes(topic::SCHEDULES).await?);
        }
        let mut report = WorkerReport::default();
        let mut tasks: JoinSet<(Leased, Outcome)> = JoinSet::new();
        let mut running = Running::new();
        let mut beat = tokio::time::interval(self.lease.to_duration() / 3);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.tick().await;
        let mut stop = std::pin::pin!(stop);
        let mut look = true;
        let slots = Slots::new(self.concurrency);
        let mut next_poll = tokio::time::Instant::now();
        let max_crashes = self.engine.inner.options.max_crashes;
        let mut taking: Option<Taking<'_>> = None;
        loop {
            if self.schedules {
                look |= agenda.look().await;
            }
            // A job on its last chance gets no new neighbours.
            let free = match slots.free.load(Ordering::Relaxed) {
                _ if running.values().any(|(job, _)| job.last_chance(max_crashes)) => 0,
                // What has ended but is not written yet is still ours to look after.
                free => free.min((2 * self.concurrency).saturating_sub(running.len())),
            };
            if look && free > 0 && taking.is_none() {
                look = false;
                next_poll = tokio::time::Instant::now() + self.poll;
                let (worker, name) = (&self, &name);
                taking = Some(Box::pin(async move { (free, worker.take(name, free).await) }));
            }
            tokio::select! {
                // The wish to stop and the heartbeats come before everything that comes often.
                biased;
                () = &mut stop => break,
                _ = beat.tick(), if !running.is_empty() => self.heartbeat(&running).await,
                (asked, taken) = pending_or(&mut taking) => {
                    taking = None;
                    match taken {
                        Ok((jobs, again)) => {
                            look |= jobs.len() == asked;
                            if let Some(again) = again {
                                next_poll = next_poll.min(tokio::time::Instant::now() + again.to_duration());
                            }
                            if until_idle && jobs.is_empty() && running.is_empty() && !agenda.behind() {
                                return Ok(report);
                            }
                            for job in jobs {
                                let (order, orders) = watch::channel(Order::Go);
                                let lease = (job.id.clone(), job.fence);
                                running.insert(lease.clone(), (job.clone(), order));
                                let engine = self.engine.clone();
                                let slot = slots.take();
                                tasks.spawn(async move { (lease, attend(engine, job, orders, slot).await) });
                            }
                        }
                        Err(e) if e.retryable() => tracing::warn!(error = %e, "no jobs can be taken; trying again"),
                        Err(e) => return Err(e),
                    }
                }
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    settle(ended, &mut running, &mut report);
                    while let Some(ended) = tasks.try_join_next() {
                        settle(ended, &mut running, &mut report);
                    }
                    look = true;
                }
                () = slots.freed.notified() => {
                    // Others end at the same time: one lease for all of them, in one commit with their ends.
                    tokio::task::yield_now().await;
                    look = true;
                }
                () = tokio::time::sleep(agenda.quiet()), if self.schedules => {}
                woken = any(&mut wakes, next_poll.saturating_duration_since(tokio::time::Instant::now())), if free > 0 => match woken {
                    Some(n) if n == self.queues.len() => agenda.woken(),
                    _ => look = true,
                },
            }
        }
        // Draining: what runs may end; then it is given back.
        let unwanted = async {
            // What was being leased just now is nobody's if it is not given back.
            if let Some((_, Ok((jobs, _)))) = match taking {
                Some(taking) => Some(taking.await),
                None => None,
            } {
                give_back(&self.engine, &jobs).await
            } else {
                0
            }
        };
        let drained = async {
            let end = tokio::time::sleep(self.grace);
            tokio::pin!(end);
            let mut told = false;
            while !tasks.is_empty() {
                tokio::select! {
                    Some(ended) = tasks.join_next() => settle(ended, &mut running, &mut report),
                    _ = beat.tick() => self.heartbeat(&running).await,
                    () = &mut end, if !told => {
                        told = true;
                        running.values().for_each(|(_, order)| { order.send_replace(Order::Release); });
                    }
                }
            }
        };
        let both = tokio::time::timeout(self.grace + GIVING_BACK, async { tokio::join!(unwanted, drained) }).await;
        if let Ok((released, ())) = both {
            report.released += released;
        } else {
            tracing::warn!(
                jobs = running.len(),
                "the store does not answer; these jobs are left to their leases"
            );
            report.lost += running.len() as u64;
        }
        Ok(report)
    }

    async fn take(&self, name: &Arc<str>, max: usize) -> Result<(Vec<Arc<Job>>, Option<Millis>)> {
        let ask = Lease {
            queues: self.queues.clone(),
            worker: name.clone(),
            max,
            lease: self.lease,
            max_crashes: self.engine.inner.options.max_crashes,
        };
        let receipt = self
            .engine
            .inner
            .backend
            .store
            .commit(self.engine.batch().op(QueueOp::Lease(ask)))
            .await?;
        match receipt.answers.into_iter().next() {
            Some(Answer::Queue(QueueAnswer::Leased { jobs, again })) => Ok((jobs, again)),
            _ => Err(Error::internal("a lease without jobs")),
        }
    }

    async fn heartbeat(&self, running: &Running) {
        let list: Vec<_> = running.values().collect();
        let beats = list
            .iter()
            .map(|(job, _)| Beat {
                job: job.id.clone(),
                fence: job.fence,
            })
            .collect();
        let op = QueueOp::Heartbeat {
            beats,
            lease: self.lease,
        };
        match self.engine.inner.backend.store.commit(self.engine.batch().op(op)).await {
            Ok(receipt) => {
                let Some(Answer::Queue(QueueAnswer::Leases(states))) = receipt.answers.into_iter().next() else {
                    return;
                };
                for ((_, order), state) in list.into_iter().zip(states) {
                    match state {
                        LeaseState::Kept => {}
                        LeaseState::CancelAsked => {
                            order.send_replace(Order::Cancel);
                        }
                        LeaseState::Lost => {
                            order.send_replace(Order::Lost);
                        }
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "a heartbeat was missed"),
        }
    }
}

/// Waits for jobs that are being taken; for ever, if none are.
async fn pending_or(taking: &mut Option<Taking<'_>>) -> (usize, Result<(Vec<Arc<Job>>, Option<Millis>)>) {
    match taking {
        Some(taking) => taking.await,
        None => std::future::pending().await,
    }
}

/// Gives jobs back that were leased and not begun. How many were.
async fn give_back(engine: &Engine, jobs: &[Arc<Job>]) -> u64 {
    let back = |batch: Batch, job: &Arc<Job>| {
        batch.op(QueueOp::Finish {
            job: job.id.clone(),
            fence: job.fence,
            how: Finish::Released,
        })
    };
    let batch = jobs.iter().fold(engine.batch(), back);
    match engine.inner.backend.store.commit(batch).await {
        Ok(_) => jobs.len() as u64,
        Err(e) => {
            tracing::warn!(error = %e, jobs = jobs.len(), "jobs that were just leased are left to their leases");
            0
        }
    }
}

/// Counts how a job ended.
fn settle(
    ended: std::result::Result<(Leased, Outcome), tokio::task::JoinError>,
    running: &mut Running,
    report: &mut WorkerReport,
) {
    let Ok((lease, outcome)) = ended else {
        tracing::error!("a job's task died; its lease will run out");
        // Nobody hears its orders any more: no heartbeat may keep its lease.
        running.retain(|_, (_, order)| !order.is_closed());
        return;
    };
    running.remove(&lease);
    match outcome {
        Outcome::Finished(JobState::Done) => report.done += 1,
        Outcome::Finished(JobState::Cancelled) => report.cancelled += 1,
        Outcome::Finished(_) => report.failed += 1,
        Outcome::Snoozed => report.snoozed += 1,
        Outcome::Released => report.released += 1,
        Outcome::Lost => report.lost += 1,
    }
}

/// Waits until one of the topics is woken, at most so long, and says which.
async fn any(wakes: &mut [Box<dyn crate::store::Wakes>], at_most: Duration) -> Option<usize> {
    match wakes {
        [one] => one.next(at_most).await.then_some(0),
        many => {
            let waits = many.iter_mut().map(|w| w.next(at_most));
            let (woken, which, _) = futures_util::future::select_all(waits.map(Box::pin)).await;
            woken.then_some(which)
        }
    }
}

/// Does one job, obeys orders meanwhile, and writes how it ended.
async fn attend(engine: Engine, job: Arc<Job>, mut orders: watch::Receiver<Order>, slot: Slot) -> Outcome {
    let engine = Engine {
        tenant: job.tenant.clone(),
        ..engine
    };
    let wf = OnceLock::new();
    let finish = tokio::select! {
        finish = guarded(perform(&engine, &job, &wf), &job) => finish,
        order = ordered(&mut orders) => match order {
            Order::Cancel => Ok((Finish::Cancelled, vec![])),
            Order::Release => Ok((Finish::Released, vec![])),
            Order::Lost | Order::Go => {
                if let Some(wf) = wf.get() {
                    wf.stop();
                }
                return Outcome::Lost;
            }
        },
    };
    if let Some(wf) = wf.get() {
        wf.stop();
    }
    drop(slot);
    match finish {
        Ok(end) => write_end(&engine, &job, end, &mut orders).await,
        // Nothing is lost but time; whoever takes it next may fare better.
        Err(e) if e.retryable() => {
            tracing::warn!(job = %job.id, error = %e, "a job is given back");
            write_end(&engine, &job, (Finish::Released, vec![]), &mut orders).await
        }
        Err(e) => {
            tracing::warn!(job = %job.id, error = %e, "a job is left to its lease");
            Outcome::Lost
        }
    }
}

/// A panic in what a job calls fails the job; the worker goes on.
async fn guarded(work: impl Future<Output = Result<End>>, job: &Job) -> Result<End> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned());
        tracing::error!(job = %job.id, panic = said.as_deref().unwrap_or("no message"), "a job panicked");
        let e = Error::internal("the job panicked; what it panicked with is in the worker's log")
            .effect_is(Effect::Unknown)
            .retry(false);
        let failed = Finish::Failed {
            error: e.to_json().to_string().into(),
            retry_at: None,
        };
        Ok((failed, vec![]))
    })
}

async fn ordered(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.wait_for(|o| *o != Order::Go).await {
        Ok(order) => *order,
        Err(_) => Order::Lost,
    }
}

async fn perform(engine: &Engine, job: &Arc<Job>, shared: &OnceLock<Wf>) -> Result<End> {
    if *job.handler == *HANDLER {
        return super::run::run(engine, job).await;
    }
    let failed = |e: &Error, retry_at| Finish::Failed {
        error: e.to_json().to_string().into(),
        retry_at,
    };
    let Some(known) = engine.inner.handlers.get(&job.handler) else {
        let e = Error::new(
            ErrorKind::Config,
            "jobs.unknown_handler",
            format!("no handler `{}` is known to this worker", job.handler),
        )
        .hint("run a worker that has it");
        return Ok((failed(&e, Some(engine.now() + Millis::secs(30))), vec![]));
    };
    let input = match serde_json::from_str(job.input()) {
        Ok(input) => input,
        Err(e) => {
            let e = Error::new(
                ErrorKind::Corrupt,
                "jobs.corrupt_input",
                format!("the stored input cannot be read: {e}"),
            );
            return Ok((failed(&e, None), vec![]));
        }
    };
    let wf = Wf::open(engine, job).await?;
    let wf = shared.get_or_init(|| wf);
    engine.emit(RunEvent::Started {
        run: job.id.clone(),
        at: engine.now(),
        steps: 0,
    });
    let work = known.handler.run(wf, input);
    let outcome = match known.options.timeout {
        None => work.await,
        Some(span) => tokio::time::timeout(span.to_duration(), work).await.unwrap_or_else(|_| {
            wf.stop();
            let message = format!("`{}` has not ended within {} ms", job.handler, span.0);
            Err(Error::new(ErrorKind::Timeout, "job.timeout", message).retry(true))
        }),
    };
    let finish = match (outcome, wf.away()) {
        (Err(e), Some(away)) if e.code() == SUSPENDED => Finish::Snoozed {
            until: away.until,
            signal: away.signal,
        },
        (Err(e), None) if e.code() == SUSPENDED => {
            failed(&Error::internal("a handler that did not wait said that it does"), None)
        }
        (Ok(_), Some(_)) => {
            let e = Error::conflict("job.swallowed", "the handler went on although its job was put away")
                .hint("let errors with the code `job.suspended` through");
            failed(&e, None)
        }
        (Ok(result), None) => {
            let text = json::canonical(&result);
            let most = engine.inner.options.max_output;
            if text.len() > most {
                let message = format!("the result has {} bytes, {most} are allowed", text.len());
                failed(&Error::invalid("job.output_too_large", message).effect_is(Effect::Done), None)
            } else {
                Finish::Done {
                    result: text.into(),
                    capture: wf.captured(),
                }
            }
        }
        // The store or the lease is gone: nothing can be written.
        (Err(e), _) if e.code() == "jobs.lease_lost" => return Err(e),
        (Err(e), _) => {
            let policy = RetryPolicy {
                max_attempts: u32::try_from(job.max_attempts).unwrap_or(u32::MAX),
                ..known.options.retry
            };
            let made = u32::try_from(job.attempt).unwrap_or(u32::MAX);
            let waited = policy.usual_wait(made.saturating_sub(1));
            let random = u64::from_be_bytes(random_bytes());
            // What a step has done stays done, so that calling the handler again does no harm.
            match next(&policy, made, waited, &e, true, random) {
                Next::Retry { after } => failed(&e, Some(engine.now() + after)),
                Next::GiveUp => failed(&e, None),
            }
        }
    };
    Ok((finish, vec![]))
}

/// Writes the end of an attempt; where the store is away, again until the lease is lost.
async fn write_end(engine: &Engine, job: &Job, (how, mut rows): End, orders: &mut watch::Receiver<Order>) -> Outcome {
    let outcome = |state| match (&how, state) {
        (Finish::Snoozed { .. }, _) => Outcome::Snoozed,
        (Finish::Released, _) => Outcome::Released,
        (_, state) => Outcome::Finished(state),
    };
    let mut wait = FIRST_WAIT;
    loop {
        let batch = settlement(engine.batch(), job, &how, &rows, engine.now());
        match engine.inner.backend.store.commit(batch).await {
            Ok(receipt) => {
                let state = receipt.answers.into_iter().find_map(|answer| match answer {
                    Answer::Queue(QueueAnswer::Job(after)) => Some(after.state),
                    _ => None,
                });
                let state = state.unwrap_or(job.state);
                engine.emit(RunEvent::Ended {
                    run: job.id.clone(),
                    state,
                    at: engine.now(),
                });
                return outcome(state);
            }
            Err(e) if e.retryable() => {
                tracing::warn!(job = %job.id, error = %e, "the end of a job could not be written; trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = orders.wait_for(|o| *o == Order::Lost) => return Outcome::Lost,
                }
                wait = (wait * 2).min(Duration::from_secs(2));
            }
            // If it was an earlier try that ended the job, then the end alone is recognised.
            Err(e) if e.code() == "jobs.lease_lost" && !rows.is_empty() && wait > FIRST_WAIT => rows.clear(),
            Err(e) => {
                tracing::warn!(job = %job.id, error = %e, "the end of a job was refused");
                return Outcome::Lost;
            }
        }
    }
}

/// Everything that the end of an attempt changes, in one batch: the last steps, the job, its hold, and the usage
/// event.
fn settlement(mut batch: Batch, job: &Job, how: &Finish, rows: &[JournalRow], now: Millis) -> Batch {
    if !rows.is_empty() {
        batch = batch.op(JournalOp {
            job: job.id.clone(),
            fence: job.fence,
            rows: rows.to_vec(),
        });
    }
    batch = batch.op(QueueOp::Finish {
        job: job.id.clone(),
        fence: job.fence,
        how: how.clone(),
    });
    match (how, &job.account) {
        (Finish::Done { .. }, Some(owner)) => batch.op(NewUsage {
            source: "run".into(),
            id: job.id.as_str().into(),
            meter: "runs".into(),
            owner: owner.clone(),
            at: job.started_at.unwrap_or(now),
            value: 1,
        }),
        _ => batch,
    }
}
