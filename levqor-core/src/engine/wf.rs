//! What a handler works with: steps that stay done, waits that outlive the process, and the job itself.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Engine, RunEvent};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::jobs::retry::{Next, RetryPolicy, next};
use crate::jobs::{Job, JournalOp, JournalRow, QueueOp, StepStatus, nth};
use crate::json;
use crate::types::{BatchId, JobId, MicroCredits, Millis, Tenant, random_bytes};

/// The code of the error by which a handler that waits gives its place back. It is no failure: let it through.
pub const SUSPENDED: &str = "job.suspended";
/// A shorter wait is slept through.
const NAP: Millis = Millis(1_000);

/// The context of a job, for its handler. Cloning it shares it.
#[derive(Clone)]
pub struct Wf(Arc<Inner>);

struct Inner {
    engine: Engine,
    job: Arc<Job>,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    rows: HashMap<Arc<str>, Arc<JournalRow>>,
    /// How often each name was used in this life.
    used: HashMap<String, usize>,
    away: Option<Away>,
    capture: Option<MicroCredits>,
}

/// A wait for which the handler gives its place back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Away {
    pub(super) until: Millis,
    pub(super) signal: bool,
}

/// How a step is treated.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepOptions {
    /// Whether and how it is tried again before its error reaches the handler; not at all unless said otherwise.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Option<Millis>,
    /// Never made twice: when a worker dies in the middle of it, the step fails with an
    /// [unknown effect](Effect::Unknown) instead of being made again. Costs a commit more.
    pub at_most_once: bool,
}

impl Default for StepOptions {
    fn default() -> Self {
        StepOptions {
            retry: RetryPolicy::never(),
            timeout: None,
            at_most_once: false,
        }
    }
}

impl StepOptions {
    /// Tries it again as the policy says.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Gives one attempt so much time.
    #[must_use]
    pub fn timeout(mut self, span: Millis) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Never makes it twice.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }
}

/// A step that was begun: either it is known what it came to, or it has to be made.
#[derive(Debug)]
pub enum Begun {
    /// It was made before, and gave this.
    Done(Value),
    /// It has to be made, and then [told](Wf::end).
    Go(Ticket),
}

/// A step that is being made.
#[derive(Debug)]
pub struct Ticket {
    path: String,
    attempts: i64,
    waited: Millis,
    began: Millis,
    options: StepOptions,
}

impl Ticket {
    /// How long this attempt may take.
    pub fn timeout(&self) -> Option<Millis> {
        self.options.timeout
    }

    /// 43 characters that are equal for every attempt at this step of this job: for a provider that takes an
    /// idempotency key.
    pub fn idempotency_key(&self, wf: &Wf) -> String {
        super::run::idempotency_key(&wf.0.job, &self.path, "")
    }
}

/// What follows an attempt at a step.
#[derive(Debug)]
pub enum After {
    /// It is done.
    Done(Value),
    /// It is to be made again after this time.
    Again(Ticket, Millis),
}

impl Wf {
    /// The context of a leased job, with what is journaled of it.
    pub(super) async fn open(engine: &Engine, job: &Arc<Job>) -> Result<Self> {
        // Nobody had it before, and nobody told it anything: nothing can be journaled.
        let rows = match (job.fence, job.signal) {
            (1, None) => vec![],
            _ => engine.inner.backend.store.reads().journal.steps(&job.id).await?,
        };
        let state = State {
            rows: rows.into_iter().map(|row| (row.path.clone(), row)).collect(),
            ..State::default()
        };
        Ok(Wf(Arc::new(Inner {
            engine: engine.clone(),
            job: job.clone(),
            state: Mutex::new(state),
            stopped: AtomicBool::new(false),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.0.job.id
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> i64 {
        self.0.job.attempt
    }

    /// Attempts that the job has.
    pub fn max_attempts(&self) -> i64 {
        self.0.job.max_attempts
    }

    /// The handler's name.
    pub fn handler(&self) -> &str {
        &self.0.job.handler
    }

    /// The queue.
    pub fn queue(&self) -> &str {
        &self.0.job.queue
    }

    /// Who pays.
    pub fn account(&self) -> Option<&str> {
        self.0.job.account.as_deref()
    }

    /// Whose job it is.
    pub fn tenant(&self) -> &Tenant {
        &self.0.job.tenant
    }

    /// The batch that this job follows, if it follows one: see [`Jobs::batch`](super::Jobs::batch).
    pub fn follows(&self) -> Option<BatchId> {
        self.0.job.spec.as_deref().and_then(|spec| spec.parse().ok())
    }

    /// The engine, working for the job's tenant.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether the job was called off, or its lease is lost: then nothing that is written counts any more.
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn away(&self) -> Option<Away> {
        self.state().away
    }

    pub(super) fn captured(&self) -> Option<MicroCredits> {
        self.state().capture
    }

    /// Makes a step, or tells what it came to when it was made before.
    ///
    /// The same name may be used again, in a loop: the second use is another step. Uses of one name must come in the
    /// same order every time; give steps that run at the same time names of their own.
    pub async fn step<T, F, Fut>(&self, name: &str, make: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.step_with(name, StepOptions::default(), make).await
    }

    /// Like [`step`](Wf::step), with options.
    pub async fn step_with<T, F, Fut>(&self, name: &str, options: StepOptions, mut make: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let read = |value: Value| {
            serde_json::from_value(value).map_err(|e| {
                let message = format!("what `{name}` came to is not what the handler expects: {e}");
                Error::new(ErrorKind::Corrupt, "job.step_changed", message)
                    .hint("the handler was changed while the job ran; give the step another name")
            })
        };
        let mut ticket = match self.begin(name, options).await? {
            Begun::Done(value) => return read(value),
            Begun::Go(ticket) => ticket,
        };
        loop {
            let made = match ticket.timeout() {
                None => make().await,
                Some(span) => tokio::time::timeout(span.to_duration(), make())
                    .await
                    .unwrap_or_else(|_| Err(timed_out(name, span))),
            };
            let outcome = match made {
                Ok(value) => {
                    serde_json::to_value(&value).map_err(|e| Error::internal(format!("`{name}` gave what is not JSON: {e}")))
                }
                Err(e) => Err(e),
            };
            match self.end(ticket, outcome).await? {
                After::Done(value) => return read(value),
                After::Again(again, wait) => {
                    tokio::time::sleep(wait.to_duration()).await;
                    ticket = again;
                }
            }
        }
    }

    /// Begins a step by hand, for a host in another language: make it, then say how it [ended](Wf::end).
    pub async fn begin(&self, name: &str, options: StepOptions) -> Result<Begun> {
        self.check()?;
        let path = self.path(name)?;
        let known = self.row(&path);
        let mut ticket = Ticket {
            path,
            attempts: 0,
            waited: Millis::ZERO,
            began: known.as_ref().map_or_else(|| self.now(), |row| row.started_at),
            options,
        };
        let Some(row) = known else {
            self.intend(&ticket).await?;
            return Ok(Begun::Go(ticket));
        };
        let failure = row.error.as_deref().map(|text| Error::from_json(&read(Some(text))));
        match (row.status, failure) {
            (StepStatus::Done, _) => return Ok(Begun::Done(read(row.output.as_deref()))),
            (StepStatus::Intent, _) => {
                let message = format!("the worker died while it made the step `{name}`, and nobody knows how far it came");
                return Err(Error::unavailable("job.effect_unknown", message)
                    .effect_is(Effect::Unknown)
                    .retry(false)
                    .hint("look at what the step works on, then redrive the job or enqueue another"));
            }
            // What failed for good in this attempt at the job has failed, however often the job is taken up again.
            (_, Some(e)) if e.details().get(GAVE_UP).and_then(Value::as_i64) == Some(self.attempt()) => return Err(e),
            (_, Some(e)) if !e.details().contains_key(GAVE_UP) => {
                ticket.attempts = row.attempts;
                ticket.waited = ticket
                    .options
                    .retry
                    .usual_wait(u32::try_from(row.attempts).unwrap_or(u32::MAX));
            }
            _ => {}
        }
        self.intend(&ticket).await?;
        Ok(Begun::Go(ticket))
    }

    /// Says how an attempt at a step ended. What is done is durable when this returns.
    ///
    /// # Errors
    /// The step's own, when it is not to be tried again; `job.suspended` when that is so long from now that the
    /// handler gives its place back; and what the store says, when the lease is lost.
    pub async fn end(&self, mut ticket: Ticket, outcome: Result<Value>) -> Result<After> {
        ticket.attempts += 1;
        let mut e = match outcome {
            Ok(value) => {
                let text = json::canonical(&value);
                let most = self.0.engine.inner.options.max_output;
                if text.len() > most {
                    let message = format!("`{}` gave {} bytes, {most} are allowed", ticket.path, text.len());
                    return Err(Error::invalid("job.output_too_large", message)
                        .effect_is(Effect::Done)
                        .hint("keep the data elsewhere and give back where it is"));
                }
                let now = self.now();
                self.write(self.made(&ticket, StepStatus::Done, Some(text.into()), None, Some(now)))
                    .await?;
                return Ok(After::Done(value));
            }
            Err(e) if e.code() == SUSPENDED => return Err(e),
            Err(e) => e,
        };
        let made = u32::try_from(ticket.attempts).unwrap_or(u32::MAX);
        let random = u64::from_be_bytes(random_bytes());
        let again = next(
            &ticket.options.retry,
            made,
            ticket.waited,
            &e,
            !ticket.options.at_most_once,
            random,
        );
        if again == Next::GiveUp {
            e = e.with(GAVE_UP, self.attempt());
        }
        let error = Some(e.to_json().to_string().into());
        self.write(self.made(&ticket, StepStatus::Retrying, None, error, None))
            .await?;
        match again {
            Next::GiveUp => Err(e),
            Next::Retry { after } if after <= self.0.engine.inner.options.max_sleep => {
                ticket.waited = after;
                Ok(After::Again(ticket, after))
            }
            Next::Retry { after } => Err(self.suspend(self.now() + after, false)),
        }
    }

    /// Waits so long. A longer wait outlives the process: the handler gives its place back (by an error, which it
    /// must let through) and is called again when it is over.
    pub async fn sleep(&self, name: &str, span: Millis) -> Result<()> {
        let row = self.waiting(&format!("sleep:{name}")).await?;
        if row.status == StepStatus::Done {
            return Ok(());
        }
        let due = row.started_at + span;
        let left = due - self.now();
        if left > NAP {
            return Err(self.suspend(due, false));
        }
        tokio::time::sleep(left.to_duration()).await;
        self.over(&row, None).await
    }

    /// Waits for a [signal](super::Jobs::signal), at most so long; `None` if none came. The second wait for a name
    /// hears the second signal of that name. One that came before the wait is not lost.
    pub async fn signal(&self, name: &str, at_most: Millis) -> Result<Option<Value>> {
        self.check()?;
        let path = self.path(&format!("signal:{name}"))?;
        if let Some(row) = self.row(&path) {
            return Ok(Some(read(row.output.as_deref())));
        }
        let wait = self.waiting_at(&format!("wait:{path}")).await?;
        if wait.status == StepStatus::Done {
            return Ok(None);
        }
        // It may have come since the journal was read.
        let rows = self.0.engine.inner.backend.store.reads().journal.steps(self.id()).await?;
        if let Some(row) = rows.into_iter().find(|row| *row.path == *path) {
            let value = read(row.output.as_deref());
            self.state().rows.insert(row.path.clone(), row);
            return Ok(Some(value));
        }
        let due = wait.started_at + at_most;
        if due <= self.now() {
            self.over(&wait, None).await?;
            return Ok(None);
        }
        Err(self.suspend(due, true))
    }

    /// Says how far the job is: any JSON, seen by who looks at the job.
    pub async fn progress(&self, progress: &Value) -> Result<()> {
        self.check()?;
        let op = QueueOp::Progress {
            job: self.id().clone(),
            fence: self.0.job.fence,
            progress: json::canonical(progress).into(),
        };
        let engine = &self.0.engine;
        engine.inner.backend.store.commit(engine.batch().op(op)).await.map(|_| ())
    }

    /// How much of the job's hold is due when it ends well; all of it unless this is said. The rest is released, in
    /// the commit that ends the job.
    pub fn capture(&self, amount: MicroCredits) {
        self.state().capture = Some(amount);
    }

    /// The error by which a handler puts its job away until later, without using up an attempt.
    pub fn snooze(&self, span: Millis) -> Error {
        self.suspend(self.now() + span, false)
    }

    fn now(&self) -> Millis {
        self.0.engine.now()
    }

    /// A handler whose job is not its own any more has to stop.
    fn check(&self) -> Result<()> {
        if self.stopped() {
            return Err(Error::conflict(
                "job.stopped",
                format!("{} was called off, or is another worker's now", self.id()),
            )
            .hint("stop working on it: nothing that is written now counts"));
        }
        Ok(())
    }

    fn suspend(&self, until: Millis, signal: bool) -> Error {
        self.state().away = Some(Away { until, signal });
        Error::conflict(SUSPENDED, "the job waits; its handler is called again").hint("let this error through")
    }

    /// The path of the next use of a name.
    fn path(&self, name: &str) -> Result<String> {
        if name.is_empty() || name.len() > 128 || name.chars().any(|c| c.is_control() || c == '#') {
            return Err(Error::invalid(
                "job.bad_step",
                "a step's name has 1 to 128 bytes, and neither `#` nor control characters",
            )
            .at("name"));
        }
        let mut state = self.state();
        let used = state.used.entry(name.to_owned()).or_default();
        *used += 1;
        Ok(nth(name, *used))
    }

    fn row(&self, path: &str) -> Option<Arc<JournalRow>> {
        self.state().rows.get(path).cloned()
    }

    fn made(
        &self,
        ticket: &Ticket,
        status: StepStatus,
        output: Option<Arc<str>>,
        error: Option<Arc<str>>,
        ended_at: Option<Millis>,
    ) -> JournalRow {
        JournalRow {
            job: self.id().clone(),
            path: ticket.path.as_str().into(),
            status,
            attempts: ticket.attempts,
            output,
            error,
            started_at: ticket.began,
            ended_at,
        }
    }

    async fn intend(&self, ticket: &Ticket) -> Result<()> {
        if ticket.options.at_most_once {
            self.write(self.made(ticket, StepStatus::Intent, None, None, None)).await?;
        }
        Ok(())
    }

    /// The row of a wait, made at its first use.
    async fn waiting(&self, name: &str) -> Result<Arc<JournalRow>> {
        self.check()?;
        let path = self.path(name)?;
        self.waiting_at(&path).await
    }

    async fn waiting_at(&self, path: &str) -> Result<Arc<JournalRow>> {
        if let Some(row) = self.row(path) {
            return Ok(row);
        }
        let row = JournalRow {
            job: self.id().clone(),
            path: path.into(),
            status: StepStatus::Waiting,
            attempts: 0,
            output: None,
            error: None,
            started_at: self.now(),
            ended_at: None,
        };
        self.write(row).await
    }

    async fn over(&self, row: &JournalRow, output: Option<Arc<str>>) -> Result<()> {
        let over = JournalRow {
            status: StepStatus::Done,
            output,
            ended_at: Some(self.now()),
            ..row.clone()
        };
        self.write(over).await.map(|_| ())
    }

    /// Writes a row; where the store is away, again until it is back. A lease that was lost meanwhile refuses it.
    async fn write(&self, row: JournalRow) -> Result<Arc<JournalRow>> {
        let engine = &self.0.engine;
        let op = JournalOp {
            job: self.id().clone(),
            fence: self.0.job.fence,
            rows: vec![row.clone()],
        };
        super::run::journaled(engine, &op).await?;
        engine.emit(RunEvent::Step {
            run: row.job.clone(),
            path: row.path.to_string(),
            status: row.status,
            attempts: row.attempts,
            at: self.now(),
        });
        let row = Arc::new(row);
        self.state().rows.insert(row.path.clone(), row.clone());
        Ok(row)
    }
}

/// The detail that says in which attempt at the job a step was given up.
pub(crate) const GAVE_UP: &str = "gave_up";

fn read(text: Option<&str>) -> Value {
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Value::Null)
}

fn timed_out(name: &str, span: Millis) -> Error {
    Error::new(
        ErrorKind::Timeout,
        "job.step_timeout",
        format!("the step `{name}` has not ended within {} ms", span.0),
    )
    .effect_is(Effect::Unknown)
}
