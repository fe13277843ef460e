//! A connector that does nothing, so that what is measured is everything around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use levqor::backend::Backend;
use levqor::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor::engine::{Engine, GrantOptions, HandlerOptions, JobRequest, Wf, Worker, handler};
use levqor::error::Result;
use levqor::types::{JobId, MicroCredits};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

struct Noop(Manifest);

#[async_trait]
impl Connector for Noop {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    async fn call(&self, _cx: &Cx, _action: &str, _input: &Value) -> Result<Output> {
        Ok(Output::new(json!({})))
    }
}

/// The account that pays for what is measured.
pub(crate) const ACCOUNT: &str = "bench";

/// The same with an account that is rich enough.
pub(crate) async fn engine(backend: Backend) -> Result<Engine> {
    let engine = build(backend)?;
    let rich = MicroCredits(1_000_000_000 * 1_000_000);
    engine.credits().grant(ACCOUNT, rich, GrantOptions::default(), None).await?;
    Ok(engine)
}

/// An engine with the connector `noop`.
pub(crate) fn build(backend: Backend) -> Result<Engine> {
    let manifest = Manifest {
        name: "noop".into(),
        title: "No-op".into(),
        description: "Does nothing.".into(),
        docs: None,
        auth: vec![],
        settings: vec![],
        budgets: vec![],
        triggers: vec![],
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
    Engine::builder(backend).connector(Arc::new(Noop(manifest))).build()
}

/// Jobs that do nothing, of so many journaled steps: the one place that knows how they are made, enqueued and done.
#[derive(Clone)]
pub(crate) struct Work(Engine);

/// Hears the number of each job that starts, with the instant.
pub(crate) type Started = UnboundedSender<(u64, Instant)>;

impl Work {
    /// Jobs of so many steps, which tell when they start.
    pub(crate) fn new(backend: Backend, steps: usize, started: Option<Started>) -> Result<Self> {
        let does = handler(move |wf: Wf, n: u64| {
            if let Some(started) = &started {
                // Nobody hears any more when the measurement is over.
                let _ = started.send((n, Instant::now()));
            }
            async move {
                let mut sum = n;
                for _ in 0..steps {
                    sum = wf.step("next", || async { Ok(sum + 1) }).await?;
                }
                Ok(sum)
            }
        });
        let engine = Engine::builder(backend)
            .handler("noop", HandlerOptions::default(), does)
            .build()?;
        Ok(Work(engine))
    }

    /// Makes one durable.
    pub(crate) async fn enqueue(&self, n: usize) -> Result<JobId> {
        Ok(self.0.jobs().enqueue(JobRequest::new("noop", json!(n))).await?.id)
    }

    /// Makes many durable, a thousand in each commit, as the peers do. Answers the seconds it took.
    pub(crate) async fn enqueue_all(&self, jobs: usize) -> Result<f64> {
        let start = Instant::now();
        for from in (0..jobs).step_by(1_000) {
            let some = from..jobs.min(from + 1_000);
            let requests = some.map(|n| JobRequest::new("noop", json!(n))).collect();
            self.0.jobs().enqueue_many(requests, None).await?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Waits until one has ended.
    pub(crate) async fn ended(&self, job: &JobId) -> Result<()> {
        self.0.jobs().wait(job, Duration::from_secs(30)).await.map(|_| ())
    }

    /// A worker with room for so many at a time.
    pub(crate) fn worker(&self, concurrency: usize) -> Worker {
        self.0.worker().concurrency(concurrency)
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
