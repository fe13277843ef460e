//! What the host brings, written in Python: connectors and checks.
//!
//! Their functions run on threads of their own, so that the engine goes on while they work or wait for Python.

use async_trait::async_trait;
use levqor::connector::{Connector, Cx, Manifest, Output};
use levqor::error::{Error, Result};
use levqor::integrity::{About, Check, CheckCx, Finding, Outcome};
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::convert::{to_json, to_python};
use crate::error::absorb;
use crate::fork::Born;

/// A function of the host's.
struct Function(std::sync::Arc<Born<Py<PyAny>>>);

impl Function {
    fn new(function: Py<PyAny>) -> Self {
        Function(std::sync::Arc::new(Born::new(function)))
    }

    /// Calls it with plain data on a thread for that.
    async fn call(&self, argument: Value, code: &'static str) -> Result<Value> {
        let function = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| {
                let argument = to_python(py, &argument).map_err(|e| absorb(py, &e, code))?;
                let answer = function.any().bind(py).call1((argument,)).map_err(|e| absorb(py, &e, code))?;
                to_json(&answer)
            })
        });
        match done.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(Error::unavailable("python.gone", "the Python interpreter is being shut down")),
            Err(e) => Err(Error::internal(format!("a function of the host's died: {e}"))),
        }
    }
}

/// A connector that is written in Python.
pub(crate) struct HostConnector {
    manifest: Manifest,
    function: Function,
}

impl HostConnector {
    pub(crate) fn new(manifest: Manifest, function: Py<PyAny>) -> Self {
        HostConnector {
            manifest,
            function: Function::new(function),
        }
    }
}

#[async_trait]
impl Connector for HostConnector {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let connection = cx.connection.as_ref().map(|c| {
            let values = c
                .settings()
                .map(|name| (name.to_owned(), c.value(name).cloned().unwrap_or_default()));
            json!({"name": c.name(), "values": values.collect::<serde_json::Map<_, _>>()})
        });
        let argument = json!({
            "action": action, "input": input, "tenant": cx.tenant.as_str(), "run": cx.run, "step": cx.step,
            "idempotency_key": cx.idempotency_key, "timeout": cx.timeout, "connection": connection,
        });
        self.function.call(argument, "connector.failed").await.map(Output::new)
    }
}

/// A check that is written in Python.
pub(crate) struct HostCheck {
    id: String,
    about: About,
    requires: Vec<String>,
    function: Function,
}

impl HostCheck {
    pub(crate) fn new(id: String, about: &Value, requires: Vec<String>, function: Py<PyAny>) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b);
        if !(1..=128).contains(&id.len()) || !id.bytes().all(plain) {
            let e = Error::invalid("check.bad_id", "a check's name has 1 to 128 of the characters a-z 0-9 _ .");
            return Err(e.at("id").hint("write it like `invoices.issued`"));
        }
        let text = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |name: &str| about.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let about = About {
            title: text("title"),
            group: text("group"),
            category: text("category"),
            objective: text("objective"),
            severity: text("severity"),
            controls: list("controls").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        };
        Ok(HostCheck {
            id,
            about,
            requires,
            function: Function::new(function),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.id
    }
}

#[async_trait]
impl Check for HostCheck {
    fn id(&self) -> &str {
        &self.id
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    fn requires(&self) -> Vec<String> {
        self.requires.clone()
    }

    /// A check that raises, or answers with what is no outcome, could not tell.
    async fn run(&self, cx: &CheckCx) -> Outcome {
        let argument = json!({
            "attempt": cx.attempt(), "live": cx.live(), "now": cx.now(), "left": cx.left(), "nonce": cx.nonce(),
            "previous": cx.previous(),
        });
        let answer = self.function.call(argument, "check.raised").await;
        let outcome = answer.and_then(|value| {
            serde_json::from_value(value).map_err(|e| Error::invalid("check.no_outcome", format!("this is no outcome: {e}")))
        });
        outcome.unwrap_or_else(|e| Finding::error(e.code(), e.message()).into())
    }
}
