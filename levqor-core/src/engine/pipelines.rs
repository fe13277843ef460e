use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Engine, RunView, key};
use crate::credits::LedgerOp;
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::schedule::Task;
use crate::jobs::{Job, JobState, NewJob, QueueAnswer, QueueOp};
use crate::json;
use crate::limits::{Ask, Decision};
use crate::pipeline::{Checked, Limits, check};
use crate::records::{Expect, RecordOp};
use crate::store::{Answer, JobFilter, Page, topic};
use crate::types::{HoldId, JobId, MicroCredits, Millis};

/// The handler of jobs that are runs of a pipeline.
pub(crate) const HANDLER: &str = "pipeline";
/// The kind of the records that keep pipelines by their digest.
const BY_DIGEST: &str = "pipeline";
/// The kind of the records that keep the digest of a registered name.
const BY_NAME: &str = "pipeline_name";

/// Pipelines and their runs.
pub struct Pipelines<'a>(pub(super) &'a Engine);

/// A run to be.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Who pays, and whose limits count.
    pub account: String,
    /// The pipeline itself, or the name of a registered one as a JSON string.
    pub pipeline: Value,
    /// The input.
    pub input: Value,
    /// Makes one run of many submissions.
    pub key: Option<String>,
    /// Holds another amount than the pipeline says.
    pub hold: Option<MicroCredits>,
    /// Which queue.
    pub queue: String,
    /// 0 is served first, 255 last.
    pub priority: i64,
    /// Not before this.
    pub run_at: Option<Millis>,
    /// How often the whole run is tried, where what failed it may pass. Done steps are never repeated.
    pub max_attempts: i64,
}

impl RunRequest {
    /// A run of a pipeline for an account.
    pub fn new(account: impl Into<String>, pipeline: Value, input: Value) -> Self {
        RunRequest {
            account: account.into(),
            pipeline,
            input,
            key: None,
            hold: None,
            queue: "default".to_owned(),
            priority: 100,
            run_at: None,
            max_attempts: 1,
        }
    }

    /// Binds it to an idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// A run that was accepted.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The run.
    pub id: JobId,
    /// Whether this key had been submitted before, and this is the run of then.
    pub replayed: bool,
    /// What is held for it.
    pub held: MicroCredits,
    /// The decision of the submit limits, with its headers; `None` where there are none.
    pub decision: Option<Decision>,
}

impl Pipelines<'_> {
    /// Checks a pipeline against the engine's connectors and connections; the error holds every fault.
    pub fn check(&self, pipeline: &Value) -> Result<Checked> {
        let inner = &self.0.inner;
        check(
            pipeline,
            &inner.catalog,
            &Limits {
                max_bytes: inner.options.max_body,
                ..Limits::default()
            },
        )
    }

    /// Reads and checks a pipeline's text.
    pub fn check_text(&self, text: &[u8]) -> Result<Checked> {
        self.check(&json::parse(text, "the pipeline", self.0.inner.options.max_body)?)
    }

    /// Keeps a pipeline under its name; runs can then be submitted by it. Runs that were submitted
    /// before keep the version that they had.
    pub async fn register(&self, pipeline: &Value) -> Result<Arc<Checked>> {
        let checked = self.keep(pipeline).await?;
        let op = RecordOp::Put {
            kind: BY_NAME.into(),
            name: checked.pipeline.name.as_str().into(),
            body: json!(checked.digest).to_string().into(),
            expect: Expect::Any,
            expires_at: None,
        };
        self.0.inner.backend.store.commit(self.0.batch().op(op)).await?;
        Ok(checked)
    }

    /// Accepts a run: checks the pipeline and its input, decides the limits, and in one commit holds
    /// the credits and enqueues it. What is wrong is refused before anything is written.
    pub async fn submit(&self, request: RunRequest) -> Result<Submitted> {
        let engine = self.0;
        let known = self.admissible(&request).await?;
        let decision = self.limit(&request.account).await?;
        let checked = match &request.pipeline {
            Value::String(_) => known,
            pipeline => self.keep(pipeline).await?,
        };
        let task = self.task(&request, &checked);
        let held = task.held.unwrap_or_default();
        let payload = json!([
            "run",
            request.account,
            checked.digest,
            request.input,
            held,
            request.queue,
            request.priority,
            request.run_at,
            request.max_attempts
        ]);
        let mut batch = engine.batch().keyed(key(request.key.as_deref(), &payload)?);
        if let (Some(hold), Some(owner)) = (&task.job.hold, &task.job.account) {
            batch = batch.op(LedgerOp::Hold {
                hold: hold.clone(),
                owner: owner.clone(),
                amount: held,
                expires: None,
            });
        }
        batch = batch.op(QueueOp::Enqueue(Box::new(task.job)));
        let receipt = engine.inner.backend.store.commit(batch).await?;
        let replayed = receipt.replayed;
        match receipt.answers.into_iter().next_back() {
            Some(Answer::Queue(QueueAnswer::Job(job))) => Ok(Submitted {
                id: job.id.clone(),
                replayed,
                held,
                decision,
            }),
            _ => Err(Error::internal("a submission without a job")),
        }
    }

    /// The pipeline of a request whose account, pipeline and input are all right.
    pub(super) async fn admissible(&self, request: &RunRequest) -> Result<Arc<Checked>> {
        let options = &self.0.inner.options;
        if request.account.is_empty() || request.account.len() > 255 {
            return Err(Error::invalid("run.bad_account", "an account's name has 1 to 255 bytes").at("account"));
        }
        let input = json::canonical(&request.input);
        if !json::depth_ok(&request.input, 100) {
            return Err(Error::invalid("json.too_deep", "the input is nested deeper than 100 levels").at("input"));
        }
        if input.len() > options.max_payload {
            let message = format!("the input has {} bytes, {} are allowed", input.len(), options.max_payload);
            return Err(Error::invalid("body.too_large", message)
                .at("input")
                .hint("send less, or keep the data elsewhere and send where it is"));
        }
        let known = match &request.pipeline {
            Value::String(name) => self.registered(name).await?,
            pipeline => Arc::new(self.check(pipeline)?),
        };
        known.validate_input(&request.input)?;
        Ok(known)
    }

    /// The job of a run, with what is held for it.
    pub(super) fn task(&self, request: &RunRequest, checked: &Checked) -> Task {
        let now = self.0.now();
        let held = request
            .hold
            .or(checked.pipeline.credits.map(|c| c.hold))
            .filter(|held| *held > MicroCredits::ZERO);
        Task {
            job: NewJob {
                id: JobId::run(now),
                queue: request.queue.as_str().into(),
                handler: HANDLER.into(),
                account: Some(request.account.as_str().into()),
                args: json::canonical(&request.input).into(),
                spec: Some(checked.digest.as_str().into()),
                priority: request.priority,
                run_at: request.run_at.unwrap_or(now),
                max_attempts: request.max_attempts,
                hold: held.map(|_| HoldId::new(now)),
                held: held.unwrap_or_default(),
                unique: None,
                concurrency_key: None,
                batch: None,
            },
            held,
        }
    }

    pub(super) async fn limit(&self, account: &str) -> Result<Option<Decision>> {
        let limits = &self.0.inner.options.submit_limits;
        if limits.is_empty() {
            return Ok(None);
        }
        let asks: Vec<Ask> = limits
            .iter()
            .map(|(name, quota)| Ask::new(name.as_str(), account, *quota))
            .collect();
        self.0.limit(&asks).await?.admit().map(Some)
    }

    /// A run with its steps.
    pub async fn status(&self, id: &JobId) -> Result<RunView> {
        let job = self.0.jobs().get(id).await?;
        let steps = self.0.inner.backend.store.reads().journal.steps(id).await?;
        Ok(RunView::of(&job, &steps))
    }

    /// Waits until a run has ended, at most so long.
    pub async fn wait(&self, id: &JobId, at_most: Duration) -> Result<RunView> {
        let mut wakes = self.0.inner.backend.store.wakes(&topic::job(id)).await?;
        let end = tokio::time::Instant::now() + at_most;
        loop {
            if self.0.jobs().get(id).await?.state.ended() {
                return self.status(id).await;
            }
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "run.not_ended",
                    format!("{id} has not ended within {} ms", at_most.as_millis()),
                )
                .hint("wait longer, and see that a worker runs"));
            }
            // A wake-up may be lost, and another process's may never come: look from time to time.
            wakes.next(left.min(Duration::from_millis(250))).await;
        }
    }

    /// Calls a run off: see [`Jobs::cancel`](super::Jobs::cancel).
    pub async fn cancel(&self, id: &JobId) -> Result<Arc<Job>> {
        self.0.jobs().cancel(id).await
    }

    /// Takes a failed run up again where it failed: see [`Jobs::redrive`](super::Jobs::redrive).
    pub async fn retry(&self, id: &JobId) -> Result<Arc<Job>> {
        self.0.jobs().redrive(id).await
    }

    /// Runs, newest first, without their steps.
    pub async fn list(&self, account: Option<&str>, state: Option<JobState>, page: &Page) -> Result<Vec<RunView>> {
        let filter = JobFilter {
            state,
            account: account.map(str::to_owned),
            handler: Some(HANDLER.to_owned()),
            ..JobFilter::default()
        };
        Ok(self
            .0
            .jobs()
            .list(&filter, page)
            .await?
            .iter()
            .map(|job| RunView::of(job, &[]))
            .collect())
    }

    /// The checked pipeline of a digest, from the store if need be.
    pub(crate) async fn by_digest(&self, digest: &str) -> Result<Arc<Checked>> {
        let place = (self.0.tenant.clone(), digest.to_owned());
        if let Some(known) = self.0.known_pipelines().get(&place) {
            return Ok(known.clone());
        }
        let record = self
            .0
            .inner
            .backend
            .store
            .reads()
            .records
            .record(&self.0.tenant, BY_DIGEST, digest)
            .await?;
        let record =
            record.ok_or_else(|| Error::not_found("pipeline.lost", format!("the pipeline {digest} is not in the store")))?;
        let value: Value = serde_json::from_str(&record.body).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                "pipeline.corrupt",
                format!("the pipeline {digest} cannot be read: {e}"),
            )
        })?;
        let checked = Arc::new(self.check(&value)?);
        self.0.known_pipelines().insert(place, checked.clone());
        Ok(checked)
    }

    async fn registered(&self, name: &str) -> Result<Arc<Checked>> {
        let record = self
            .0
            .inner
            .backend
            .store
            .reads()
            .records
            .record(&self.0.tenant, BY_NAME, name)
            .await?;
        let record = record.ok_or_else(|| {
            Error::not_found("pipeline.unknown", format!("no pipeline is registered as `{name}`"))
                .hint("register it, or submit the pipeline itself")
        })?;
        let digest: String = serde_json::from_str(&record.body).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                "pipeline.corrupt",
                format!("the name `{name}` cannot be read: {e}"),
            )
        })?;
        self.by_digest(&digest).await
    }

    /// Checks a pipeline and puts it into the store under its digest, once.
    pub(super) async fn keep(&self, pipeline: &Value) -> Result<Arc<Checked>> {
        let checked = Arc::new(self.check(pipeline)?);
        let place = (self.0.tenant.clone(), checked.digest.clone());
        if let Some(known) = self.0.known_pipelines().get(&place) {
            return Ok(known.clone());
        }
        let op = RecordOp::Put {
            kind: BY_DIGEST.into(),
            name: checked.digest.as_str().into(),
            body: json::canonical(pipeline).into(),
            expect: Expect::Absent,
            expires_at: None,
        };
        match self.0.inner.backend.store.commit(self.0.batch().op(op)).await {
            Ok(_) => {}
            // Equal digest, equal pipeline: it is there already.
            Err(e) if e.code() == "record.changed" => {}
            Err(e) => return Err(e),
        }
        self.0.known_pipelines().insert(place, checked.clone());
        Ok(checked)
    }
}
