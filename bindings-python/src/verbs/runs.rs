//! Pipelines, runs, jobs and connectors.

use levqor::connector::Manifest;
use levqor::engine::{DirectCall, Engine, RunRequest, Submitted};
use levqor::error::Result;
use levqor::jobs::JobState;
use levqor::store::Page;
use levqor::types::JobId;
use serde_json::{Value, json};

use super::jobs::shown as job;
use super::{Amount, At, Span, verbs};

fn page(after: Option<String>, limit: usize) -> Page {
    Page {
        after,
        limit: limit.min(1_000),
    }
}

fn submitted(run: &Submitted) -> Value {
    json!({"id": run.id, "replayed": run.replayed, "held": run.held,
        "headers": run.decision.as_ref().map(levqor::limits::Decision::headers).unwrap_or_default()})
}

/// The names of registered pipelines.
async fn names(e: &Engine, page: &Page) -> Result<Vec<Value>> {
    let rows = e
        .backend()
        .store
        .reads()
        .records
        .records(e.tenant_name(), "pipeline_name", page)
        .await?;
    let digest = |body: &str| serde_json::from_str::<Value>(body).unwrap_or_default();
    Ok(rows
        .iter()
        .map(|r| json!({"name": r.name, "digest": digest(&r.body), "updated_at": r.updated_at}))
        .collect())
}

verbs! { TABLE: e;
    runs.submit(account: String, pipeline: Value, input: Value = json!({}); idempotency_key: Option<String>, hold: Option<Amount>,
        queue: String = "default", priority: i64 = 100i64, run_at: Option<At>, max_attempts: i64 = 1i64) => {
        let request = RunRequest {
            key: idempotency_key, hold: hold.map(|h| h.0), queue, priority, run_at: run_at.map(|a| a.0), max_attempts,
            ..RunRequest::new(account, pipeline, input)
        };
        submitted(&e.pipelines().submit(request).await?)
    };
    runs.status(run: JobId) => e.pipelines().status(&run).await?;
    runs.wait(run: JobId, at_most: Span = Span(levqor::types::Millis::secs(60))) => e.pipelines().wait(&run, at_most.0.to_duration()).await?;
    runs.cancel(run: JobId) => job(&*e.pipelines().cancel(&run).await?);
    runs.redrive(run: JobId) => job(&*e.pipelines().retry(&run).await?);
    runs.list(account: Option<String>; state: Option<JobState>, after: Option<String>, limit: usize = 50usize)
        => e.pipelines().list(account.as_deref(), state, &page(after, limit)).await?;


    pipelines.check(pipeline: Value) => { let c = e.pipelines().check(&pipeline)?; json!({"name": c.pipeline.name, "digest": c.digest}) };
    pipelines.register(pipeline: Value) => { let c = e.pipelines().register(&pipeline).await?; json!({"name": c.pipeline.name, "digest": c.digest}) };
    pipelines.list(; after: Option<String>, limit: usize = 50usize) => names(&e, &page(after, limit)).await?;

    connectors.call(action: String, input: Value = json!({}); connection: Option<String>, idempotency_key: Option<String>, timeout: Option<Span>) => {
        let call = DirectCall { connection, key: idempotency_key, timeout: timeout.map(|t| t.0), ..DirectCall::new(action, input) };
        let output = e.call(&call).await?;
        json!({"data": output.data, "attempts": output.attempts})
    };
    connectors.manifests() => e.connectors().manifests().collect::<Vec<&Manifest>>();
}
