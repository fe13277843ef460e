//! The main job, from the submission to the settled run, over every store.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::backend::Backend;
use levqor_core::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::engine::{Engine, GrantOptions, RunRequest};
use levqor_core::error::{Error, Result};
use levqor_core::jobs::JobState;
use levqor_core::layers::Layer;
use levqor_core::limits::{Ask, Decision, Limits, Quota};
use levqor_core::store::{Batch, Page, Reads, Receipt, Store, StoreInfo, Wakes};
use levqor_core::types::{MicroCredits, Millis, Tenant};
use serde_json::{Value, json};

/// A connector that echoes, and fails where it is told to.
struct Echo {
    manifest: Manifest,
    calls: Arc<AtomicUsize>,
}

impl Echo {
    fn new() -> (Arc<Self>, Arc<AtomicUsize>) {
        let action = |name: &str, idempotency| Action {
            name: name.into(),
            title: name.into(),
            description: "Gives back what it gets.".into(),
            input: json!({"type": "object"}),
            output: json!({}),
            side_effect: SideEffect::Read,
            idempotency,
            scopes: vec![],
        };
        let manifest = Manifest {
            name: "echo".into(),
            title: "Echo".into(),
            description: "Gives back what it gets.".into(),
            docs: None,
            auth: vec![],
            settings: vec![],
            budgets: vec![],
            triggers: vec![],
            actions: vec![action("say", Idempotency::Natural), action("once", Idempotency::None)],
        };
        let calls = Arc::new(AtomicUsize::new(0));
        (
            Arc::new(Echo {
                manifest,
                calls: calls.clone(),
            }),
            calls,
        )
    }
}

#[async_trait]
impl Connector for Echo {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, _cx: &Cx, _action: &str, input: &Value) -> Result<Output> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if input.get("fail").is_some() {
            return Err(Error::invalid("echo.told_to_fail", "it was told to fail"));
        }
        if input.get("hang").is_some() {
            std::future::pending::<()>().await;
        }
        assert!(input.get("panic").is_none(), "it was told to panic");
        Ok(Output::new(input.clone()))
    }
}

async fn engine(backend: Backend) -> (Engine, Arc<AtomicUsize>) {
    let (echo, calls) = Echo::new();
    let engine = Engine::builder(backend).connector(echo).build().unwrap();
    engine
        .credits()
        .grant("acme", MicroCredits::credits(100).unwrap(), GrantOptions::default(), None)
        .await
        .unwrap();
    (engine, calls)
}

fn pipeline() -> Value {
    json!({
        "version": 1, "name": "greet",
        "credits": {"hold": "10", "base": "1", "per_call": "0.5"},
        "steps": [
            {"id": "all", "for_each": {"in": {"$ref": "input.names"}, "as": "n", "parallel": 4}, "action": "echo.say", "input": {"hello": {"$ref": "n"}}},
            {"id": "none", "when": {"==": [{"$ref": "input.names[0]"}, "nobody"]}, "action": "echo.say", "input": {}},
            {"id": "sum", "set": {"count": {"$count": {"$ref": "steps.all.output"}}}}
        ],
        "output": {"n": {"$ref": "steps.sum.output.count"}, "skipped": {"$ref": "steps.none.status"}}
    })
}

async fn backends() -> Vec<(Backend, tempfile::Guard)> {
    let mut all = vec![(Backend::memory(), tempfile::Guard(None))];
    #[cfg(feature = "sqlite")]
    {
        let dir = std::env::temp_dir().join(format!("levqor-engine-{}", levqor_core::types::JobId::new(Millis::ZERO)));
        let url = format!("sqlite://{}/t.db", dir.display());
        all.push((
            levqor_core::backend::open(&url, Millis::ZERO).await.unwrap(),
            tempfile::Guard(Some(dir)),
        ));
    }
    all
}

mod tempfile {
    /// Removes a folder at the end.
    pub struct Guard(pub Option<std::path::PathBuf>);
    impl Drop for Guard {
        fn drop(&mut self) {
            if let Some(dir) = &self.0 {
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_accepted_done_and_settled() {
    for (backend, _guard) in backends().await {
        let (engine, calls) = engine(backend).await;
        let request = || RunRequest::new("acme", pipeline(), json!({"names": ["ann", "bob", "cy"]})).key("k1");
        let first = engine.pipelines().submit(request()).await.unwrap();
        let again = engine.pipelines().submit(request()).await.unwrap();
        assert_eq!(
            (first.id.clone(), false, true),
            (again.id.clone(), first.replayed, again.replayed)
        );
        let held = engine.credits().balance("acme").await.unwrap();
        assert_eq!((held.posted.to_string(), held.held.to_string()), ("100".into(), "10".into()));

        let other = RunRequest::new("acme", pipeline(), json!({"names": []})).key("k1");
        assert_eq!(
            engine.pipelines().submit(other).await.unwrap_err().code(),
            "idempotency.mismatch"
        );

        let report = engine.worker().drain().await.unwrap();
        assert_eq!(report.done, 1, "{report:?}");
        let view = engine.pipelines().wait(&first.id, Duration::from_secs(5)).await.unwrap();
        assert_eq!(view.state, JobState::Done, "{view:?}");
        assert_eq!(view.result, Some(json!({"n": 3, "skipped": "skipped"})));
        assert_eq!(view.captured.to_string(), "2.5");
        assert_eq!(view.steps.len(), 6);
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        let after = engine.credits().balance("acme").await.unwrap();
        assert_eq!(
            (after.posted.to_string(), after.held.to_string()),
            ("97.5".into(), "0".into())
        );
        let audit = engine.credits().audit().await.unwrap();
        assert!(audit.violations.is_empty() && audit.sum == 0, "{audit:?}");
        assert_eq!(
            engine
                .pipelines()
                .list(Some("acme"), None, &Page::default())
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_fails_is_a_dead_letter_without_cost_and_can_be_redriven() {
    for (backend, _guard) in backends().await {
        let (engine, calls) = engine(backend).await;
        let pipeline = json!({
            "version": 1, "name": "fails", "credits": {"hold": "10", "base": "1"},
            "steps": [
                {"id": "ok", "action": "echo.say", "input": {"a": 1}},
                {"id": "bad", "action": "echo.say", "input": {"fail": true}}
            ],
            "on_error": [{"id": "tell", "action": "echo.say", "input": {"why": {"$ref": "error.code"}}}]
        });
        let run = engine
            .pipelines()
            .submit(RunRequest::new("acme", pipeline, json!({})))
            .await
            .unwrap();
        engine.worker().drain().await.unwrap();
        let view = engine.pipelines().status(&run.id).await.unwrap();
        assert_eq!(
            (view.state, view.failure().unwrap().code().to_owned()),
            (JobState::Dead, "echo.told_to_fail".to_owned())
        );
        assert_eq!(view.failure().unwrap().details()["step"], "bad");
        assert_eq!(view.steps.last().unwrap().output, Some(json!({"why": "echo.told_to_fail"})));
        assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "100");
        assert_eq!(engine.jobs().dead(&Page::default()).await.unwrap().len(), 1);

        engine.pipelines().retry(&run.id).await.unwrap();
        assert_eq!(engine.credits().balance("acme").await.unwrap().held.to_string(), "10");
        engine.worker().drain().await.unwrap();
        // ok, bad, tell; then bad alone: what was done stays done.
        assert_eq!(calls.load(Ordering::SeqCst), 4);
        assert_eq!(engine.credits().balance("acme").await.unwrap().available.to_string(), "100");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_and_nothing_is_written() {
    for (backend, _guard) in backends().await {
        let (echo, _) = Echo::new();
        let engine = Engine::builder(backend)
            .connector(echo)
            .submit_limit("runs", Quota::per_minute(2))
            .build()
            .unwrap();
        let submit = async |pipeline: Value, input: Value| {
            engine
                .pipelines()
                .submit(RunRequest::new("acme", pipeline, input))
                .await
                .map(|_| ())
        };
        let code = |r: Result<()>| r.unwrap_err().code().to_owned();
        let with = |steps: Value| json!({"version": 1, "name": "x", "steps": steps});
        let fault = |r: Result<()>| r.unwrap_err().fault_list()[0].clone();

        let f = fault(submit(with(json!([{"id": "a", "set": 1, "colour": 2}])), json!({})).await);
        assert_eq!(
            (f.code.as_str(), f.at.as_str()),
            ("pipeline.unknown_field", "/steps/0/colour")
        );
        let f = fault(
            submit(
                with(json!([{"id": "a", "set": {"$ref": "steps.b.output"}}, {"id": "b", "set": 1}])),
                json!({}),
            )
            .await,
        );
        assert_eq!((f.code.as_str(), f.at.as_str()), ("pipeline.later_step", "/steps/0/set/$ref"));
        let f = fault(
            submit(
                with(json!([{"id": "a", "needs": ["b"], "set": 1}, {"id": "b", "needs": ["a"], "set": 1}])),
                json!({}),
            )
            .await,
        );
        assert_eq!(f.code, "pipeline.cycle");
        let f = fault(submit(with(json!([{"id": "a", "action": "ecko.say"}])), json!({})).await);
        assert_eq!(
            (f.code.as_str(), f.at.as_str()),
            ("pipeline.unknown_connector", "/steps/0/action")
        );
        assert_eq!(
            code(submit(pipeline(), json!({"names": ["x".repeat(300_000)]})).await),
            "body.too_large"
        );
        assert_eq!(
            code(submit(pipeline(), json!({"names": ["x"]})).await),
            "ledger.insufficient_credits"
        );
        assert!(engine.jobs().counts().await.unwrap().is_empty());
        assert_eq!(engine.credits().balance("acme").await.unwrap().posted, MicroCredits::ZERO);

        let free = with(json!([{"id": "a", "set": 1}]));
        submit(free.clone(), json!({})).await.unwrap();
        let refused = submit(free, json!({})).await.unwrap_err();
        assert_eq!(refused.code(), "limits.exceeded");
        assert!(
            refused.headers().iter().any(|(n, _)| n.eq_ignore_ascii_case("retry-after")),
            "{:?}",
            refused.headers()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_gives_its_work_back_and_waits_are_slept_elsewhere() {
    for (backend, _guard) in backends().await {
        let (engine, calls) = engine(backend).await;
        let hang = json!({"version": 1, "name": "hang", "steps": [{"id": "a", "action": "echo.say", "input": {"x": 1}}, {"id": "b", "action": "echo.say", "input": {"hang": true}}]});
        let run = engine
            .pipelines()
            .submit(RunRequest::new("acme", hang, json!({})))
            .await
            .unwrap();
        let seen = calls.clone();
        let stop = async move {
            while seen.load(Ordering::SeqCst) < 2 {
                tokio::task::yield_now().await;
            }
        };
        let report = engine.worker().grace(Duration::from_millis(1)).run(stop).await.unwrap();
        assert_eq!(report.released, 1, "{report:?}");
        let job = engine.jobs().get(&run.id).await.unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Ready, 0));
        engine.pipelines().cancel(&run.id).await.unwrap();

        let wait =
            json!({"version": 1, "name": "wait", "steps": [{"id": "w", "wait": {"duration": "1h"}}, {"id": "z", "set": 1}]});
        let run = engine
            .pipelines()
            .submit(RunRequest::new("acme", wait, json!({})))
            .await
            .unwrap();
        let report = engine.worker().drain().await.unwrap();
        assert_eq!(report.snoozed, 1, "{report:?}");
        let job = engine.jobs().get(&run.id).await.unwrap();
        assert_eq!((job.state, job.attempt), (JobState::Scheduled, 0));
        assert!(job.run_at > engine.now() + Millis::mins(59));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_its_run_and_nothing_else() {
    for (backend, _guard) in backends().await {
        let (engine, _) = engine(backend).await;
        let step = |input: Value| {
            json!({"version": 1, "name": "p", "credits": {"hold": "10", "base": "1"},
                "steps": [{"id": "a", "action": "echo.say", "input": input}]})
        };
        let bad = engine
            .pipelines()
            .submit(RunRequest::new("acme", step(json!({"panic": 1})), json!({})))
            .await
            .unwrap();
        let good = engine
            .pipelines()
            .submit(RunRequest::new("acme", step(json!({"fine": 1})), json!({})))
            .await
            .unwrap();
        let report = engine.worker().drain().await.unwrap();
        assert_eq!((report.done, report.failed), (1, 1));
        let bad = engine.pipelines().status(&bad.id).await.unwrap();
        assert_eq!(bad.state, JobState::Dead);
        assert_eq!(bad.error.unwrap()["code"], "internal");
        assert_eq!(engine.pipelines().status(&good.id).await.unwrap().state, JobState::Done);
        let balance = engine.credits().balance("acme").await.unwrap();
        assert_eq!(
            (balance.posted.to_string(), balance.held.to_string()),
            ("99".into(), "0".into())
        );
    }
}

/// Counts what passes it on the planes of the store and the limits.
#[derive(Default)]
struct Counting(Arc<AtomicUsize>, Arc<AtomicUsize>);

struct CountedStore(Arc<dyn Store>, Arc<AtomicUsize>);
struct CountedLimits(Arc<dyn Limits>, Arc<AtomicUsize>);

impl Layer for Counting {
    fn store(&self, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(CountedStore(inner, self.0.clone()))
    }

    fn limits(&self, inner: Arc<dyn Limits>) -> Arc<dyn Limits> {
        Arc::new(CountedLimits(inner, self.1.clone()))
    }
}

#[async_trait]
impl Store for CountedStore {
    async fn commit(&self, batch: Batch) -> Result<Receipt> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.commit(batch).await
    }

    fn reads(&self) -> Reads {
        self.0.reads()
    }

    async fn wakes(&self, topic: &str) -> Result<Box<dyn Wakes>> {
        self.0.wakes(topic).await
    }

    fn info(&self) -> StoreInfo {
        self.0.info()
    }
}

#[async_trait]
impl Limits for CountedLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.take(tenant, asks, now).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_stands_around_the_store_and_the_limits() {
    let layer = Arc::new(Counting::default());
    let engine = Engine::builder(Backend::memory()).layer(layer.clone()).build().unwrap();
    let grant = MicroCredits::credits(1).unwrap();
    engine
        .credits()
        .grant("acme", grant, GrantOptions::default(), None)
        .await
        .unwrap();
    let ask = Ask::new("calls", "acme", Quota::per_minute(1));
    assert!(engine.limit(std::slice::from_ref(&ask)).await.unwrap().admitted);
    assert!(!engine.limit(&[ask]).await.unwrap().admitted);
    assert_eq!((layer.0.load(Ordering::SeqCst), layer.1.load(Ordering::SeqCst)), (1, 2));
}
