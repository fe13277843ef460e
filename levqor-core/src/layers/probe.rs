//! A connector for the tests of the layers: it answers as it was told to.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::clock::ManualClock;
use crate::connector::{Action, Budget, Connection, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use crate::error::{Error, Result};
use crate::transport::{Request, Response, Transport};
use crate::types::Millis;

#[derive(Clone)]
pub(crate) struct Probe {
    manifest: Arc<Manifest>,
    answers: Arc<Mutex<VecDeque<Result<Value>>>>,
    calls: Arc<Mutex<u32>>,
    hangs: bool,
}

impl Probe {
    /// Gives its input back.
    pub(crate) fn named(name: &str) -> Self {
        let action = |name: &str, side_effect, idempotency| Action {
            name: name.to_owned(),
            title: name.to_owned(),
            description: String::new(),
            input: json!({
                "type": "object", "additionalProperties": false,
                "properties": {"n": {"type": "integer"}, "url": {"type": "string", "format": "uri"}},
            }),
            output: json!({}),
            side_effect,
            idempotency,
            scopes: vec![],
        };
        Probe {
            manifest: Arc::new(Manifest {
                name: name.to_owned(),
                title: name.to_owned(),
                description: String::new(),
                docs: None,
                auth: vec![],
                settings: vec![],
                budgets: vec![],
                triggers: vec![],
                actions: vec![
                    action("read", SideEffect::Read, Idempotency::Natural),
                    action("write", SideEffect::Write, Idempotency::None),
                ],
            }),
            answers: Arc::default(),
            calls: Arc::default(),
            hangs: false,
        }
    }

    /// Gives these answers, one after another, and then its input.
    pub(crate) fn answering(answers: impl IntoIterator<Item = Result<Value>>) -> Self {
        let probe = Probe::named("probe");
        probe.answers.lock().unwrap().extend(answers);
        probe
    }

    /// Never answers.
    pub(crate) fn hanging() -> Self {
        Probe {
            hangs: true,
            ..Probe::named("probe")
        }
    }

    pub(crate) fn with_budgets(mut self, budgets: Vec<Budget>) -> Self {
        Arc::make_mut(&mut self.manifest).budgets = budgets;
        self
    }

    pub(crate) fn shared(self) -> Arc<dyn Connector> {
        Arc::new(self)
    }

    pub(crate) fn calls(&self) -> u32 {
        *self.calls.lock().unwrap()
    }
}

#[async_trait]
impl Connector for Probe {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, _cx: &Cx, _action: &str, input: &Value) -> Result<Output> {
        *self.calls.lock().unwrap() += 1;
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| Ok(input.clone())).map(Output::new)
    }

    fn destination(&self, _cx: &Cx, _action: &str, input: &Value) -> Option<String> {
        input["url"].as_str().map(str::to_owned)
    }
}

struct NoNetwork;

#[async_trait]
impl Transport for NoNetwork {
    async fn send(&self, _request: Request) -> Result<Response> {
        Err(Error::internal("a test of the layers uses no network"))
    }
}

/// A place to call from: the manual clock stands at 1,000,000 s.
pub(crate) fn cx() -> Cx {
    at(Arc::new(ManualClock::at(Millis::secs(1_000_000))))
}

pub(crate) fn at(clock: Arc<ManualClock>) -> Cx {
    Cx::direct(Arc::new(NoNetwork), clock)
}

pub(crate) fn with_connection(values: Value) -> Cx {
    Cx {
        connection: Some(Arc::new(Connection::new("main", values))),
        ..cx()
    }
}
