//! A connector that does nothing, so that what is measured is everything around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use levqor::backend::Backend;
use levqor::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor::engine::{Engine, GrantOptions, RunRequest, Worker};
use levqor::error::Result;
use levqor::types::{JobId, MicroCredits};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

struct Noop {
    manifest: Manifest,
    started: Option<Started>,
}

/// Hears the number of each job that starts, with the instant.
pub(crate) type Started = UnboundedSender<(u64, Instant)>;

#[async_trait]
impl Connector for Noop {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, _cx: &Cx, _action: &str, input: &Value) -> Result<Output> {
        if let (Some(started), Some(n)) = (&self.started, input["n"].as_u64()) {
            // Nobody hears any more when the measurement is over.
            let _ = started.send((n, Instant::now()));
        }
        Ok(Output::new(json!({})))
    }
}

/// The account that pays for what is measured.
pub(crate) const ACCOUNT: &str = "bench";

/// An engine with the connector `noop` and an account that is rich enough.
pub(crate) async fn engine(backend: Backend) -> Result<Engine> {
    let engine = build(backend, None)?;
    let rich = MicroCredits(1_000_000_000 * 1_000_000);
    engine.credits().grant(ACCOUNT, rich, GrantOptions::default(), None).await?;
    Ok(engine)
}

/// An engine whose jobs tell when they start.
pub(crate) fn build(backend: Backend, started: Option<Started>) -> Result<Engine> {
    let manifest = Manifest {
        name: "noop".into(),
        title: "No-op".into(),
        description: "Does nothing.".into(),
        docs: None,
        auth: vec![],
        settings: vec![],
        budgets: vec![],
        actions: vec![Action {
            name: "call".into(),
            title: "Call".into(),
            description: "Does nothing.".into(),
            input: json!({"type": "object"}),
            output: json!({}),
            side_effect: SideEffect::Read,
            idempotency: Idempotency::Natural,
            scopes: vec![],
        }],
    };
    Engine::builder(backend)
        .connector(Arc::new(Noop { manifest, started }))
        .build()
}

/// Jobs that do nothing, of so many journaled steps: the one place that knows how they are made, enqueued and done.
#[derive(Clone)]
pub(crate) struct Work {
    engine: Engine,
    pipeline: Arc<Value>,
}

impl Work {
    /// Jobs without a step that is called, or of so many steps that are.
    pub(crate) fn new(backend: Backend, steps: usize, started: Option<Started>) -> Result<Self> {
        let steps: Vec<Value> = match steps {
            0 => vec![json!({"id": "done", "set": {"$ref": "input.n"}})],
            n => (0..n).map(step).collect(),
        };
        Ok(Work {
            engine: build(backend, started)?,
            pipeline: Arc::new(json!({"version": 1, "name": "noop", "steps": steps})),
        })
    }

    /// Makes one durable.
    pub(crate) async fn enqueue(&self, n: usize) -> Result<JobId> {
        let request = RunRequest::new(ACCOUNT, self.pipeline.as_ref().clone(), json!({"n": n}));
        Ok(self.engine.pipelines().submit(request).await?.id)
    }

    /// Waits until one has ended.
    pub(crate) async fn ended(&self, job: &JobId) -> Result<()> {
        self.engine.pipelines().wait(job, Duration::from_secs(30)).await.map(|_| ())
    }

    /// A worker with room for so many at a time.
    pub(crate) fn worker(&self, concurrency: usize) -> Worker {
        self.engine.worker().concurrency(concurrency)
    }
}

/// A pipeline of so many steps, one after another.
pub(crate) fn pipeline(name: &str, steps: usize) -> Value {
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({"version": 1, "name": name, "credits": {"hold": "1", "base": "1"}, "steps": steps})
}

fn step(i: usize) -> Value {
    json!({"id": format!("s{i}"), "action": "noop.call", "input": {"n": {"$ref": "input.n"}}})
}
