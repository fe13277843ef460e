use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::request::{Enqueued, JobRequest};
use super::{Engine, RunView, key};
use crate::credits::LedgerOp;
use crate::error::{Error, Result};
use crate::jobs::{Job, JobBatch, JobState, NewBatch, QueueAnswer, QueueChange, QueueLimits, QueueOp, QueueSettings};
use crate::json;
use crate::store::{Answer, Batch, JobFilter, Page};
use crate::types::{BatchId, HoldId, JobId, MicroCredits};

/// Dead letters that are looked at together.
const AT_ONCE: usize = 100;

/// Jobs: enqueue them, look at them, call them off, bring them back; and their queues.
pub struct Jobs<'a>(pub(super) &'a Engine);

/// What became of many dead letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Redriven {
    /// Jobs that wait for a worker again.
    pub jobs: Vec<JobId>,
    /// Those that could not be brought back, each with its error: for lack of credits, for instance.
    pub refused: Vec<(JobId, Value)>,
}

impl Jobs<'_> {
    /// Puts a job into its queue. With a key, however often it is sent; with a hold, only if its account can pay.
    pub async fn enqueue(&self, request: JobRequest) -> Result<Enqueued> {
        let idempotency = request.key.clone();
        let payload = request.payload();
        self.all(vec![request], idempotency.as_deref(), &payload)
            .await?
            .pop()
            .ok_or_else(|| Error::internal("a job without an answer"))
    }

    /// Puts many jobs into their queues, in one commit: all of them or none. The answers come in the order of the
    /// requests. Keys of the single requests count for nothing here: give one for all of them.
    pub async fn enqueue_many(&self, requests: Vec<JobRequest>, idempotency: Option<&str>) -> Result<Vec<Enqueued>> {
        let payload = Value::Array(requests.iter().map(JobRequest::payload).collect());
        self.all(requests, idempotency, &payload).await
    }

    async fn all(&self, requests: Vec<JobRequest>, idempotency: Option<&str>, payload: &Value) -> Result<Vec<Enqueued>> {
        let mut tx = self.0.atomic(None)?;
        let places: Vec<_> = requests
            .into_iter()
            .map(|request| tx.enqueue(request))
            .collect::<Result<_>>()?;
        tx.bind(key(idempotency, &json!(["enqueue", payload]))?);
        let done = tx.commit().await?;
        places.into_iter().map(|place| done.job(place)).collect()
    }

    /// Enqueues jobs that belong together, and one that follows when all of them have ended: with `always`, however
    /// they ended; without it, only when all ended well. Read with [`Jobs::batch`], and by the job that follows with
    /// [`Wf::follows`](super::Wf::follows).
    ///
    /// A member can add members to the batch while it runs: enqueue them with [`JobRequest::batch`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, store::{JobFilter, Page}};
    /// # use serde_json::{Value, json};
    /// let square = handler(|_wf: Wf, n: i64| async move { Ok(n * n) });
    /// let sum = handler(|wf: Wf, (): ()| async move {
    ///     let of = JobFilter { batch: wf.follows(), ..JobFilter::default() };
    ///     let members = wf.engine().jobs().list(&of, &Page::default()).await?;
    ///     Ok(members.iter().filter_map(|job| job.result.as_ref()?.parse::<i64>().ok()).sum::<i64>())
    /// });
    /// let engine = Engine::builder(Backend::memory())
    ///     .handler("square", HandlerOptions::default(), square)
    ///     .handler("sum", HandlerOptions::default(), sum)
    ///     .build()?;
    /// let members = (1..=3).map(|n| JobRequest::new("square", json!(n))).collect();
    /// let batch = engine.jobs().enqueue_batch(members, Some(JobRequest::new("sum", Value::Null)), false, None).await?;
    /// engine.worker().drain().await?;
    /// assert_eq!(engine.jobs().batch(&batch).await?.done, 3);
    /// let sums = JobFilter { handler: Some("sum".into()), ..JobFilter::default() };
    /// assert_eq!(engine.jobs().list(&sums, &Page::default()).await?[0].result.as_deref(), Some("14"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn enqueue_batch(
        &self,
        members: Vec<JobRequest>,
        then: Option<JobRequest>,
        always: bool,
        idempotency: Option<&str>,
    ) -> Result<BatchId> {
        let payload: Vec<Value> = members.iter().chain(&then).map(JobRequest::payload).collect();
        let id = BatchId::new(self.0.now());
        let then = match then {
            Some(request) if request.hold.is_some() || request.unique.is_some() => {
                return Err(Error::invalid(
                    "jobs.bad_follower",
                    "the job that follows a batch can neither hold credits nor have a unique key",
                )
                .hint("let it enqueue another job that does"));
            }
            Some(request) => Some(Box::new(request.job(self.0)?)),
            None => None,
        };
        let mut tx = self.0.atomic(None)?;
        tx.bind(key(idempotency, &json!(["batch", payload, always]))?);
        let open = tx.op(QueueOp::OpenBatch(Box::new(NewBatch {
            id: id.clone(),
            then,
            always,
        })));
        for member in members {
            tx.enqueue(member.batch(id.clone()))?;
        }
        tx.op(QueueOp::SealBatch { batch: id });
        match tx.commit().await?.answer(open) {
            Some(Answer::Queue(QueueAnswer::Batch(id))) => Ok(id.clone()),
            _ => Err(Error::internal("a batch without an answer")),
        }
    }

    /// A batch by its id.
    pub async fn batch(&self, id: &BatchId) -> Result<Arc<JobBatch>> {
        let found = self.0.inner.backend.store.reads().batches.batch(&self.0.tenant, id).await?;
        found.ok_or_else(|| Error::not_found("jobs.unknown_batch", format!("there is no batch {id}")))
    }

    /// A job by its id.
    pub async fn get(&self, id: &JobId) -> Result<Arc<Job>> {
        let found = self.0.inner.backend.store.reads().queue.job(&self.0.tenant, id).await?;
        found.ok_or_else(|| Error::not_found("jobs.unknown", format!("there is no job {id}")))
    }

    /// Waits until a job has ended, at most so long, and tells how, with its steps.
    pub async fn wait(&self, id: &JobId, at_most: Duration) -> Result<RunView> {
        self.0.pipelines().wait(id, at_most).await
    }

    /// Jobs, newest first.
    pub async fn list(&self, filter: &JobFilter, page: &Page) -> Result<Vec<Arc<Job>>> {
        self.0
            .inner
            .backend
            .store
            .reads()
            .queue
            .jobs(&self.0.tenant, filter, page)
            .await
    }

    /// The dead letters, newest first.
    pub async fn dead(&self, page: &Page) -> Result<Vec<Arc<Job>>> {
        self.list(
            &JobFilter {
                state: Some(JobState::Dead),
                ..JobFilter::default()
            },
            page,
        )
        .await
    }

    /// How many jobs stand in each queue and state (done and cancelled ones are not counted).
    pub async fn counts(&self) -> Result<Vec<(String, JobState, u64)>> {
        self.0.inner.backend.store.reads().queue.counts(&self.0.tenant).await
    }

    /// Calls a job off: at once if it waits, at its worker's next heartbeat if it runs.
    pub async fn cancel(&self, id: &JobId) -> Result<Arc<Job>> {
        self.one(self.0.batch().op(QueueOp::Cancel { job: id.clone() })).await
    }

    /// Tells a job something that it waits for (see [`Wf::signal`](super::Wf::signal)), or will wait for.
    pub async fn signal(&self, id: &JobId, name: &str, payload: &Value) -> Result<Arc<Job>> {
        let text = json::canonical(payload);
        let most = self.0.inner.options.max_payload;
        if text.len() > most {
            let message = format!("the payload has {} bytes, {most} are allowed", text.len());
            return Err(Error::invalid("body.too_large", message).at("payload"));
        }
        if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c == '#') {
            return Err(Error::invalid(
                "jobs.bad_signal",
                "a signal's name has 1 to 64 bytes, and neither `#` nor control characters",
            )
            .at("name"));
        }
        let op = QueueOp::Signal {
            job: id.clone(),
            name: name.into(),
            payload: text.into(),
        };
        self.one(self.0.batch().op(op)).await
    }

    /// Puts a dead or cancelled job back to where it failed: done steps stay done. A run that costs
    /// credits holds them anew, in the same commit.
    pub async fn redrive(&self, id: &JobId) -> Result<Arc<Job>> {
        let job = self.get(id).await?;
        let batch = self.redriving(self.0.batch(), &job);
        self.one(batch).await
    }

    fn redriving(&self, mut batch: Batch, job: &Job) -> Batch {
        let amount = Some(job.held).filter(|held| *held > MicroCredits::ZERO);
        let hold = amount.map(|_| HoldId::new(self.0.now()));
        if let (Some(amount), Some(hold), Some(owner)) = (amount, &hold, &job.account) {
            batch = batch.op(LedgerOp::Hold {
                hold: hold.clone(),
                owner: owner.clone(),
                amount,
                expires: None,
            });
        }
        batch.op(QueueOp::Redrive {
            job: job.id.clone(),
            hold,
        })
    }

    /// Brings the dead letters back that a filter picks and whose error has this code (any, if `None`), at most so
    /// many, the newest first. One that cannot be paid for harms no other.
    pub async fn redrive_all(&self, filter: &JobFilter, code: Option<&str>, at_most: usize) -> Result<Redriven> {
        let filter = JobFilter {
            state: Some(JobState::Dead),
            ..filter.clone()
        };
        let mut report = Redriven::default();
        let mut page = Page {
            after: None,
            limit: AT_ONCE,
        };
        loop {
            // What was brought back is no longer on the list, but still marks the place where it was.
            let found = self.list(&filter, &page).await?;
            let Some(last) = found.last() else { return Ok(report) };
            page.after = Some(last.id.to_string());
            for job in found
                .iter()
                .filter(|job| code.is_none_or(|code| error_code(job).as_deref() == Some(code)))
            {
                if report.jobs.len() >= at_most {
                    return Ok(report);
                }
                match self.redrive(&job.id).await {
                    Ok(job) => report.jobs.push(job.id.clone()),
                    // Somebody else was faster.
                    Err(e) if e.code() == "jobs.wrong_state" => {}
                    Err(e) if e.retryable() => return Err(e),
                    Err(e) => report.refused.push((job.id.clone(), e.to_json())),
                }
            }
        }
    }

    /// Takes nothing more from a queue, in all processes, until it is [resumed](Jobs::resume). What runs goes on.
    /// Queues are shared by all tenants of a store.
    pub async fn pause(&self, queue: &str) -> Result<()> {
        self.change(queue, QueueChange::Pause).await
    }

    /// Takes jobs from a queue again.
    pub async fn resume(&self, queue: &str) -> Result<()> {
        self.change(queue, QueueChange::Resume).await
    }

    /// Gives a queue other limits; they hold over all workers of all processes.
    pub async fn limit(&self, queue: &str, limits: QueueLimits) -> Result<()> {
        self.change(queue, QueueChange::Limit(limits)).await
    }

    async fn change(&self, queue: &str, change: QueueChange) -> Result<()> {
        let op = QueueOp::Change {
            queue: queue.into(),
            change,
        };
        self.0.inner.backend.store.commit(self.0.batch().op(op)).await.map(|_| ())
    }

    /// The queues that were told something, by name.
    pub async fn queues(&self) -> Result<Vec<Arc<QueueSettings>>> {
        self.0.inner.backend.store.reads().queue.queues().await
    }

    async fn one(&self, batch: Batch) -> Result<Arc<Job>> {
        let receipt = self.0.inner.backend.store.commit(batch).await?;
        match receipt.answers.into_iter().next_back() {
            Some(Answer::Queue(QueueAnswer::Job(job))) => Ok(job),
            _ => Err(Error::internal("a job operation without a job's answer")),
        }
    }
}

fn error_code(job: &Job) -> Option<String> {
    let error: Value = serde_json::from_str(job.error.as_deref()?).ok()?;
    error.get("code")?.as_str().map(str::to_owned)
}
