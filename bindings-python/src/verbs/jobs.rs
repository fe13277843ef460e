//! Jobs for handlers, their queues, and several operations in one commit.

use levqor::engine::{Atomic, Engine, Enqueued, JobRequest, Place};
use levqor::error::{Error, Result};
use levqor::jobs::{Duplicate, Job, JobState, QueueLimits, UniqueKey};
use levqor::records::Expect;
use levqor::store::{JobFilter, Page};
use levqor::types::{BatchId, JobId, Millis};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credits::Step;
use super::{Amount, At, Span, verbs};

/// A job to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    handler: String,
    #[serde(default = "nothing")]
    input: Value,
    #[serde(default = "queue")]
    queue: String,
    account: Option<String>,
    hold: Option<Amount>,
    #[serde(default = "priority")]
    priority: i64,
    run_at: Option<At>,
    delay: Option<Span>,
    max_attempts: Option<u32>,
    unique: Option<Unique>,
    debounce: Option<Debounce>,
    concurrency_key: Option<String>,
    batch: Option<BatchId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unique {
    key: String,
    #[serde(rename = "for")]
    window: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Debounce {
    key: String,
    quiet: Span,
    at_most: Option<Span>,
}

fn nothing() -> Value {
    json!({})
}

fn queue() -> String {
    "default".to_owned()
}

fn priority() -> i64 {
    100
}

impl Request {
    fn request(self, e: &Engine) -> Result<JobRequest> {
        let unique = match (self.unique, self.debounce) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("argument.invalid", "a job is either unique or debounced").at("debounce"));
            }
            (Some(u), None) => Some(UniqueKey {
                key: u.key.as_str().into(),
                window: u.window.map_or(Millis::ZERO, |w| w.0),
                then: Duplicate::Drop,
            }),
            (None, Some(d)) => Some(UniqueKey {
                key: d.key.as_str().into(),
                window: Millis::ZERO,
                then: Duplicate::Debounce {
                    quiet: d.quiet.0,
                    at_most: d.at_most.map_or(Millis(d.quiet.0.0.saturating_mul(10)), |m| m.0),
                },
            }),
            (None, None) => None,
        };
        Ok(JobRequest {
            queue: self.queue,
            account: self.account,
            hold: self.hold.map(|h| h.0),
            priority: self.priority,
            run_at: self.run_at.map(|a| a.0).or(self.delay.map(|d| e.now() + d.0)),
            max_attempts: self.max_attempts,
            unique,
            concurrency_key: self.concurrency_key,
            batch: self.batch,
            ..JobRequest::new(self.handler, self.input)
        })
    }
}

fn requests(e: &Engine, list: Vec<Request>) -> Result<Vec<JobRequest>> {
    list.into_iter().map(|r| r.request(e)).collect()
}

fn enqueued(job: &Enqueued) -> Value {
    json!({"id": job.id, "duplicate": job.duplicate, "replayed": job.replayed, "hold": job.hold})
}

fn page(after: Option<String>, limit: usize) -> Page {
    Page {
        after,
        limit: limit.min(1_000),
    }
}

/// A job with its texts read.
pub(super) fn shown(job: &Job) -> Value {
    let read = |text: Option<&str>| text.map(|t| serde_json::from_str(t).unwrap_or_else(|_| Value::String(t.to_owned())));
    json!({
        "id": job.id, "queue": job.queue, "handler": job.handler, "account": job.account, "state": job.state,
        "args": read(Some(&job.args)), "priority": job.priority, "attempt": job.attempt, "max_attempts": job.max_attempts,
        "result": read(job.result.as_deref()), "error": read(job.error.as_deref()), "progress": read(job.progress.as_deref()),
        "captured": job.captured, "held": job.held, "hold": job.hold, "cancel_asked": job.cancel, "worker": job.worker,
        "unique_key": job.unique_key, "concurrency_key": job.concurrency_key, "batch": job.batch,
        "run_at": job.run_at, "created_at": job.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
    })
}

/// Where an operation of a commit stands, by the kind of its answer.
enum Answered {
    Credits(Place),
    Job(Place),
    Nothing,
}

/// Puts the ids of holds that were made before it in place of `{"$op": n}`.
fn resolve(value: &mut Value, ids: &[Option<String>]) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, ids)),
        Value::Object(map) if map.len() == 1 && map.contains_key("$op") => {
            let n = map["$op"].as_u64().and_then(|n| usize::try_from(n).ok());
            let id = n.and_then(|n| ids.get(n)).and_then(Option::as_ref);
            let id =
                id.ok_or_else(|| Error::invalid("atomic.wrong_place", "only a hold that was asked for before can be named"))?;
            *value = Value::String(id.clone());
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|member| resolve(member, ids)),
        _ => Ok(()),
    }
}

fn add(e: &Engine, tx: &mut Atomic, mut op: Value, ids: &mut Vec<Option<String>>) -> Result<Answered> {
    resolve(&mut op, ids)?;
    let bad = |e: serde_json::Error| Error::invalid("argument.invalid", e.to_string());
    let mut made = None;
    let kind = op.get("op").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(map) = op.as_object_mut().filter(|_| kind == "enqueue" || kind == "record") {
        map.remove("op");
    }
    let answered = if kind == "enqueue" {
        let request: Request = serde_json::from_value(op).map_err(bad)?;
        Answered::Job(tx.enqueue(request.request(e)?)?)
    } else if kind == "record" {
        let text = |name: &str| op.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(kind_of), Some(name)) = (text("kind_of"), text("name")) else {
            return Err(Error::invalid("argument.invalid", "a record has a kind and a name").at("kind_of"));
        };
        let body = op.get("body").cloned().unwrap_or_default();
        tx.record(&super::records::kind(&kind_of)?, &name, &body, Expect::Any);
        Answered::Nothing
    } else {
        let step: Step = serde_json::from_value(op).map_err(bad)?;
        let (place, id) = step.add(tx)?;
        made = id;
        Answered::Credits(place)
    };
    ids.push(made);
    Ok(answered)
}

async fn commit(e: &Engine, operations: Vec<Value>, key: Option<&str>) -> Result<Value> {
    let mut tx = e.atomic(key)?;
    let mut ids = Vec::new();
    let mut places = Vec::new();
    for (n, op) in operations.into_iter().enumerate() {
        places.push(add(e, &mut tx, op, &mut ids).map_err(|e| e.with("operation", n))?);
    }
    let done = tx.commit().await?;
    let answers = places.into_iter().map(|place| match place {
        Answered::Credits(place) => Ok(json!(done.credits(place)?)),
        Answered::Job(place) => Ok(enqueued(&done.job(place)?)),
        Answered::Nothing => Ok(Value::Null),
    });
    Ok(json!({"replayed": done.replayed(), "answers": answers.collect::<Result<Vec<_>>>()?}))
}

verbs! { TABLE: e;
    engine.commit(operations: Vec<Value>; idempotency_key: Option<String>) => commit(&e, operations, idempotency_key.as_deref()).await?;
    engine.handlers() => e.handlers();

    jobs.enqueue(handler: String, input: Value = json!({}); idempotency_key: Option<String>, options: Option<Value>) => {
        let mut all = options.unwrap_or_else(|| json!({}));
        let map = all.as_object_mut().ok_or_else(|| Error::invalid("argument.invalid", "options are an object").at("options"))?;
        map.insert("handler".into(), json!(handler));
        map.insert("input".into(), input);
        let request: Request = super::read(all, "options", "")?;
        let mut request = request.request(&e)?;
        request.key = idempotency_key;
        enqueued(&e.jobs().enqueue(request).await?)
    };
    jobs.enqueue_many(requests_: Vec<Request>; idempotency_key: Option<String>)
        => e.jobs().enqueue_many(requests(&e, requests_)?, idempotency_key.as_deref()).await?.iter().map(enqueued).collect::<Vec<_>>();
    jobs.enqueue_batch(members: Vec<Request>; then: Option<Request>, always: bool = false, idempotency_key: Option<String>) => {
        let then = then.map(|r| r.request(&e)).transpose()?;
        e.jobs().enqueue_batch(requests(&e, members)?, then, always, idempotency_key.as_deref()).await?
    };
    jobs.batch(batch_id: BatchId) => e.jobs().batch(&batch_id).await?;
    jobs.get(job_id: JobId) => shown(&*e.jobs().get(&job_id).await?);
    jobs.wait(job_id: JobId, at_most: Span = Span(Millis::secs(60))) => e.jobs().wait(&job_id, at_most.0.to_duration()).await?;
    jobs.list(; state: Option<JobState>, queue: Option<String>, account: Option<String>, handler: Option<String>, batch: Option<BatchId>,
        after: Option<String>, limit: usize = 50usize) => {
        let filter = JobFilter { state, queue, account, handler, batch };
        e.jobs().list(&filter, &page(after, limit)).await?.iter().map(|j| shown(j)).collect::<Vec<_>>()
    };
    jobs.dead(; after: Option<String>, limit: usize = 50usize)
        => e.jobs().dead(&page(after, limit)).await?.iter().map(|j| shown(j)).collect::<Vec<_>>();
    jobs.counts() => e.jobs().counts().await?.into_iter()
        .map(|(queue, state, count)| json!({"queue": queue, "state": state, "count": count})).collect::<Vec<_>>();
    jobs.cancel(job_id: JobId) => shown(&*e.jobs().cancel(&job_id).await?);
    jobs.redrive(job_id: JobId) => shown(&*e.jobs().redrive(&job_id).await?);
    jobs.redrive_all(; queue: Option<String>, account: Option<String>, handler: Option<String>, code: Option<String>, at_most: usize = 1_000usize) => {
        let filter = JobFilter { queue, account, handler, ..JobFilter::default() };
        e.jobs().redrive_all(&filter, code.as_deref(), at_most).await?
    };
    jobs.signal(job_id: JobId, name: String, payload: Option<Value>)
        => shown(&*e.jobs().signal(&job_id, &name, &payload.unwrap_or_default()).await?);
    jobs.pause(queue: String) => e.jobs().pause(&queue).await?;
    jobs.resume(queue: String) => e.jobs().resume(&queue).await?;
    jobs.limit(queue: String, limits: QueueLimits) => e.jobs().limit(&queue, limits).await?;
    jobs.queues() => e.jobs().queues().await?.iter()
        .map(|q| json!({"queue": q.queue, "paused": q.paused, "updated_at": q.updated_at,
            "limits": serde_json::from_str::<Value>(&q.limits).unwrap_or_default()})).collect::<Vec<_>>();
}
