//! Pipelines, runs, jobs, workers, schedules, connectors, and how the engine stands.

use levqor::connector::Manifest;
use levqor::engine::{DirectCall, RunRequest, Submitted};
use levqor::error::Error;
use levqor::jobs::JobState;
use levqor::jobs::schedule::Schedule;
use levqor::store::Page;
use levqor::types::{JobId, Millis};
use serde_json::{Value, json};

use super::jobs::shown as job;
use super::{Amount, At, Here, Span, verbs};
use crate::worker;

type Text = Option<String>;

pub(super) fn page(after: Text, limit: usize) -> Page {
    Page {
        after,
        limit: limit.min(1_000),
    }
}

fn submitted(run: &Submitted) -> Value {
    let headers = run
        .decision
        .as_ref()
        .map(levqor::limits::Decision::headers)
        .unwrap_or_default();
    json!({"id": run.id, "replayed": run.replayed, "held": run.held, "headers": headers})
}

/// Where the data lies, without credentials.
fn info(e: &Here) -> Value {
    let info = e.backend().store.info();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "store": info.kind, "store_version": info.version, "place": info.place,
        "durable": info.durable, "shared": info.shared, "clock_offset": info.clock_offset, "tenant": e.tenant_name().as_str(),
        "connectors": e.connectors().names().collect::<Vec<_>>(),
    })
}

/// What actions took: upper ends of the buckets in microseconds, with how many calls lay in each.
fn stats(e: &Here) -> Vec<Value> {
    let stats = e.meter().snapshot();
    let one = stats.iter().map(|s| {
        json!({
            "connector": s.connector, "action": s.action, "outcomes": s.outcomes, "attempts": s.attempts, "micros": s.micros,
            "latency": s.latency,
        })
    });
    one.collect()
}

verbs! { e;
    runs.submit(account: String, pipeline: Value, input: Value = json!({}), idempotency_key: Text, hold: Option<Amount>,
        queue: String = "default", priority: i64 = 100i64, run_at: Option<At>, max_attempts: i64 = 1i64) => {
        let request = RunRequest {
            key: idempotency_key, hold: hold.map(|h| h.0), queue, priority, run_at: run_at.map(|a| a.0), max_attempts,
            ..RunRequest::new(account, pipeline, input)
        };
        submitted(&e.pipelines().submit(request).await?)
    };
    runs.status(run: JobId) => e.pipelines().status(&run).await?;
    runs.wait(run: JobId, at_most: Span = Span(Millis::secs(60))) => e.pipelines().wait(&run, at_most.0.to_duration()).await?;
    runs.cancel(run: JobId) => job(&*e.pipelines().cancel(&run).await?);
    runs.retry(run: JobId) => job(&*e.pipelines().retry(&run).await?);
    runs.list(account: Text, state: Option<JobState>, after: Text, limit: usize = 50usize)
        => e.pipelines().list(account.as_deref(), state, &page(after, limit)).await?;

    pipelines.check(pipeline: Value) => {
        let checked = match &pipeline {
            Value::String(text) => e.pipelines().check_text(text.as_bytes())?,
            document => e.pipelines().check(document)?,
        };
        json!({"name": checked.pipeline.name, "digest": checked.digest})
    };
    pipelines.register(pipeline: Value) => { let c = e.pipelines().register(&pipeline).await?; json!({"name": c.pipeline.name, "digest": c.digest}) };

    worker.start(name: String = "main", options: worker::Options = worker::Options::default())
        => e.shared.workers.start(&name, worker::make(&e, options))?;
    worker.stop(name: String = "main") => e.shared.workers.stop(&name).await?;
    worker.works(name: String = "main") => e.shared.workers.works(&name);
    worker.drain(options: worker::Options = worker::Options::default()) => worker::make(&e, options).drain().await?;

    schedules.put(schedule: Schedule) => e.schedules().put(schedule).await?;
    schedules.get(name: String) => e.schedules().get(&name).await?;
    schedules.list(after: Text, limit: usize = 50usize) => e.schedules().list(&page(after, limit)).await?;
    schedules.pause(name: String) => e.schedules().pause(&name).await?;
    schedules.resume(name: String) => e.schedules().resume(&name).await?;
    schedules.delete(name: String) => e.schedules().delete(&name).await?;
    schedules.run_now(name: String, idempotency_key: Text) => e.schedules().run_now(&name, idempotency_key.as_deref()).await?;
    schedules.backfill(name: String, since: At, until: At) => e.schedules().backfill(&name, since.0, until.0).await?;
    schedules.history(name: String, before: Option<i64>, limit: usize = 50usize)
        => e.schedules().history(&name, before, limit.min(1_000)).await?;
    schedules.next(name: String, count: usize = 5usize) => e.schedules().next(&name, count).await?;
    schedules.fire_due() => e.schedules().fire_due().await?;

    connectors.call(action: String, input: Value = json!({}), connection: Text, idempotency_key: Text, timeout: Option<Span>) => {
        let call = DirectCall { connection, key: idempotency_key, timeout: timeout.map(|t| t.0), ..DirectCall::new(action, input) };
        let output = e.call(&call).await?;
        json!({"data": output.data, "attempts": output.attempts})
    };
    connectors.manifests() => e.connectors().manifests().collect::<Vec<&Manifest>>();

    engine.open() => info(&e);
    engine.info() => info(&e);
    engine.now() => e.now();
    engine.set_time(at: At) => match &e.shared.clock {
        Some(clock) => clock.set(at.0),
        None => return Err(Error::invalid("clock.not_manual", "the engine's time is the machine's").hint("open it with `clock`")),
    };
    engine.metrics() => e.meter().prometheus();
    engine.stats() => stats(&e);
    engine.close() => e.shared.close().await?;
}
