//! Jobs of the host's handlers, queues, contexts of handlers, and many operations in one commit.

use levqor::credits::{OnExpired, Overage};
use levqor::engine::{Atomic, CaptureOptions, Engine, JobRequest, RefundOptions};
use levqor::error::Result;
use levqor::jobs::{Job, JobState, QueueLimits};
use levqor::records::Expect;
use levqor::store::JobFilter;
use levqor::types::{BatchId, HoldId, JobId, Millis, TxnId};
use levqor::usage::NewUsage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credits::Terms;
use super::runs::page;
use super::{Amount, At, Span, Until, verbs};
use crate::handlers;

type Text = Option<String>;

/// A job with its texts read.
pub(super) fn shown(job: &Job) -> Value {
    let read = |text: Option<&str>| text.map(|t| serde_json::from_str(t).unwrap_or_else(|_| Value::String(t.to_owned())));
    json!({
        "id": job.id, "queue": job.queue, "handler": job.handler, "account": job.account, "state": job.state,
        "args": read(Some(&job.args)), "priority": job.priority, "attempt": job.attempt, "max_attempts": job.max_attempts,
        "result": read(job.result.as_deref()), "error": read(job.error.as_deref()), "progress": read(job.progress.as_deref()),
        "captured": job.captured, "hold": job.hold, "cancel_asked": job.cancel, "worker": job.worker,
        "run_at": job.run_at, "created_at": job.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unique {
    key: String,
    #[serde(rename = "for", default)]
    window: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Debounce {
    key: String,
    quiet: Span,
    #[serde(default)]
    at_most: Option<Span>,
}

/// A job to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    handler: String,
    #[serde(default)]
    input: Value,
    queue: Text,
    account: Text,
    idempotency_key: Text,
    hold: Option<Amount>,
    priority: Option<i64>,
    run_at: Option<At>,
    delay: Option<Span>,
    max_attempts: Option<u32>,
    unique: Option<Unique>,
    debounce: Option<Debounce>,
    concurrency_key: Text,
}

impl Request {
    fn request(self, now: Millis) -> JobRequest {
        let mut job = JobRequest::new(self.handler, self.input);
        job.queue = self.queue.unwrap_or(job.queue);
        job.account = self.account;
        job.key = self.idempotency_key;
        job.hold = self.hold.map(|h| h.0);
        job.priority = self.priority.unwrap_or(job.priority);
        job.run_at = self.run_at.map(|a| a.0).or(self.delay.map(|d| now + d.0));
        job.max_attempts = self.max_attempts;
        job.concurrency_key = self.concurrency_key;
        if let Some(unique) = self.unique {
            job = job.unique(unique.key, unique.window.map_or(Millis::ZERO, |s| s.0));
        }
        if let Some(d) = self.debounce {
            job = job.debounce(d.key, d.quiet.0, d.at_most.map_or(Millis::hours(24), |s| s.0));
        }
        job
    }
}

fn requests(e: &Engine, all: Vec<Request>) -> Vec<JobRequest> {
    let now = e.now();
    all.into_iter().map(|r| r.request(now)).collect()
}

/// One of several operations of one commit.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Grant {
        account: String,
        amount: Amount,
        #[serde(default)]
        terms: Terms,
    },
    Spend {
        account: String,
        amount: Amount,
    },
    Hold {
        account: String,
        amount: Amount,
        expires: Option<Until>,
    },
    Capture {
        hold: HoldId,
        amount: Option<Amount>,
        last: Option<bool>,
        #[serde(default)]
        overage: Overage,
    },
    Release {
        hold: HoldId,
    },
    Refund {
        txn: TxnId,
        amount: Option<Amount>,
        #[serde(default)]
        on_expired: OnExpired,
    },
    Transfer {
        from: String,
        to: String,
        amount: Amount,
    },
    Enqueue {
        job: Box<Request>,
    },
    Usage {
        source: String,
        id: String,
        meter: String,
        account: String,
        value: i64,
        at: Option<At>,
    },
    Record {
        kind: String,
        name: String,
        body: Value,
        version: Option<i64>,
    },
}

async fn atomic(e: &Engine, steps: Vec<Step>, idempotency: Text) -> Result<Value> {
    let mut tx: Atomic = e.atomic(idempotency.as_deref())?;
    let mut places = Vec::new();
    for step in steps {
        let is_job = matches!(step, Step::Enqueue { .. });
        let is_credits = !matches!(step, Step::Enqueue { .. } | Step::Usage { .. } | Step::Record { .. });
        let place = match step {
            Step::Grant { account, amount, terms } => tx.grant(&account, amount.0, terms.options()),
            Step::Spend { account, amount } => tx.spend(&account, amount.0),
            Step::Hold {
                account,
                amount,
                expires,
            } => tx.hold(&account, amount.0, expires.map(|u| u.0)).0,
            Step::Capture {
                hold,
                amount,
                last,
                overage,
            } => {
                let amount = amount.map(|a| a.0);
                tx.capture(
                    &hold,
                    CaptureOptions {
                        amount,
                        last: last.unwrap_or(true),
                        overage,
                    },
                )
            }
            Step::Release { hold } => tx.release(&hold),
            Step::Refund { txn, amount, on_expired } => tx.refund(
                &txn,
                RefundOptions {
                    amount: amount.map(|a| a.0),
                    on_expired,
                },
            ),
            Step::Transfer { from, to, amount } => tx.transfer(&from, &to, amount.0),
            Step::Enqueue { job } => tx.enqueue(job.request(e.now()))?,
            Step::Usage {
                source,
                id,
                meter,
                account,
                value,
                at,
            } => tx.usage(NewUsage {
                source: source.into(),
                id: id.into(),
                meter: meter.into(),
                owner: account.into(),
                value,
                at: at.map_or(e.now(), |a| a.0),
            }),
            Step::Record {
                kind,
                name,
                body,
                version,
            } => {
                let expect = match version {
                    None => Expect::Any,
                    Some(0) => Expect::Absent,
                    Some(version) => Expect::Version(version),
                };
                // What a host keeps lies apart from what the engine keeps for itself.
                tx.record(&format!("host:{kind}"), &name, &body, expect)
            }
        };
        places.push((place, is_credits, is_job));
    }
    let done = tx.commit().await?;
    let mut answers = Vec::new();
    for (place, is_credits, is_job) in places {
        answers.push(match (is_credits, is_job) {
            (true, _) => json!(done.credits(place)?),
            (_, true) => json!(done.job(place)?),
            _ => Value::Null,
        });
    }
    Ok(json!({"answers": answers, "replayed": done.replayed()}))
}

verbs! { e;
    jobs.enqueue(job: Request) => e.jobs().enqueue(job.request(e.now())).await?;
    jobs.enqueue_many(jobs: Vec<Request>, idempotency_key: Text)
        => e.jobs().enqueue_many(requests(&e, jobs), idempotency_key.as_deref()).await?;
    jobs.enqueue_batch(jobs: Vec<Request>, then: Option<Request>, always: bool = false, idempotency_key: Text) => {
        let then = then.map(|r| r.request(e.now()));
        e.jobs().enqueue_batch(requests(&e, jobs), then, always, idempotency_key.as_deref()).await?
    };
    jobs.batch(id: BatchId) => e.jobs().batch(&id).await?;
    jobs.get(job_id: JobId) => shown(&*e.jobs().get(&job_id).await?);
    jobs.wait(job_id: JobId, at_most: Span = Span(Millis::secs(60))) => e.jobs().wait(&job_id, at_most.0.to_duration()).await?;
    jobs.list(state: Option<JobState>, queue: Text, account: Text, handler: Text, batch: Option<BatchId>, after: Text, limit: usize = 50usize) => {
        let filter = JobFilter { state, queue, account, handler, batch };
        e.jobs().list(&filter, &page(after, limit)).await?.iter().map(|j| shown(j)).collect::<Vec<_>>()
    };
    jobs.dead(after: Text, limit: usize = 50usize)
        => e.jobs().dead(&page(after, limit)).await?.iter().map(|j| shown(j)).collect::<Vec<_>>();
    jobs.counts() => e.jobs().counts().await?.into_iter()
        .map(|(queue, state, count)| json!({"queue": queue, "state": state, "count": count})).collect::<Vec<_>>();
    jobs.cancel(job_id: JobId) => shown(&*e.jobs().cancel(&job_id).await?);
    jobs.signal(job_id: JobId, name: String, payload: Value = Value::Null) => shown(&*e.jobs().signal(&job_id, &name, &payload).await?);
    jobs.redrive(job_id: JobId) => shown(&*e.jobs().redrive(&job_id).await?);
    jobs.redrive_all(queue: Text, account: Text, handler: Text, code: Text, at_most: usize = 1_000usize) => {
        let filter = JobFilter { queue, account, handler, ..JobFilter::default() };
        let done = e.jobs().redrive_all(&filter, code.as_deref(), at_most).await?;
        json!({"jobs": done.jobs, "refused": done.refused})
    };
    jobs.pause(queue: String) => e.jobs().pause(&queue).await?;
    jobs.resume(queue: String) => e.jobs().resume(&queue).await?;
    jobs.limit(queue: String, limits: QueueLimits) => e.jobs().limit(&queue, limits).await?;
    jobs.queues() => e.jobs().queues().await?.iter()
        .map(|q| json!({"queue": q.queue, "paused": q.paused, "limits": serde_json::from_str::<Value>(&q.limits).unwrap_or_default()}))
        .collect::<Vec<_>>();

    atomic.commit(operations: Vec<Step>, idempotency_key: Text) => atomic(&e, operations, idempotency_key).await?;

    wf.begin(context: u32, name: String, options: handlers::Step = handlers::Step::default())
        => handlers::begin(context, &name, options).await?;
    wf.end(context: u32, ticket: u32, ok: bool, value: Value = Value::Null) => handlers::end(context, ticket, ok, value).await?;
    wf.sleep(context: u32, name: String, span: Span) => handlers::sleep(context, &name, span.0).await?;
    wf.signal(context: u32, name: String, at_most: Span) => handlers::signal(context, &name, at_most.0).await?;
    wf.progress(context: u32, progress: Value = Value::Null) => handlers::progress(context, &progress).await?;
    wf.capture(context: u32, amount: Amount) => handlers::capture(context, amount.0)?;
    wf.snooze(context: u32, span: Span) => handlers::snooze(context, span.0)?;
}
