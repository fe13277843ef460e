//! A connector that does nothing, so that what is measured is everything around it.

use std::sync::Arc;

use async_trait::async_trait;
use levqor::backend::Backend;
use levqor::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor::engine::{Engine, GrantOptions};
use levqor::error::Result;
use levqor::types::MicroCredits;
use serde_json::{Value, json};

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

/// An engine with the connector `noop` and an account that is rich enough.
pub(crate) async fn engine(backend: Backend) -> Result<Engine> {
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
    let engine = Engine::builder(backend).connector(Arc::new(Noop(manifest))).build()?;
    let rich = MicroCredits(1_000_000_000 * 1_000_000);
    engine.credits().grant(ACCOUNT, rich, GrantOptions::default(), None).await?;
    Ok(engine)
}

/// A pipeline of so many steps, one after another.
pub(crate) fn pipeline(name: &str, steps: usize) -> Value {
    let steps: Vec<Value> = (0..steps)
        .map(|i| json!({"id": format!("s{i}"), "action": "noop.call", "input": {"n": {"$ref": "input.n"}}}))
        .collect();
    json!({"version": 1, "name": name, "credits": {"hold": "1", "base": "1"}, "steps": steps})
}
