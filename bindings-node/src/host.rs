//! What the host brings, written in JavaScript: connectors, checks, handlers of jobs.
//!
//! Their functions run on the thread that made them known; the engine waits for their promises. A function that
//! is made known again under its name takes the place of the one before: so code that was loaded anew is used.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use async_trait::async_trait;
use levqor::connector::{Connector, Cx, Manifest, Output};
use levqor::error::{Error, Result};
use levqor::integrity::{About, Check, CheckCx, Finding, Outcome};
use serde_json::{Map, Value, json};

use crate::engine;
use crate::handlers::HostHandler;
use crate::port::{self, Port};

/// Functions of JavaScript, by what they are for: `connector:shop`, `check:invoices.issued`.
#[derive(Default)]
pub(crate) struct Functions(RwLock<HashMap<String, (Weak<Port>, u32)>>);

impl Functions {
    fn put(&self, name: &str, port: &Arc<Port>, function: u32) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), (Arc::downgrade(port), function));
    }

    /// Calls the function of a name with plain data.
    pub(crate) async fn call(&self, name: &str, argument: &Value) -> Result<Value> {
        let found = {
            let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
            all.get(name).cloned()
        };
        let (port, function) = found.ok_or_else(|| {
            Error::unavailable("node.no_function", format!("no function is known for {name}"))
                .hint("load the module that defines it before the engine is used")
        })?;
        let port = port.upgrade().ok_or_else(port::gone)?;
        port.ask(function, argument).await
    }
}

/// Makes a function of a port known to an engine. `about` is what there is to say of a check, or how a handler's
/// jobs are treated.
pub(crate) fn bind(handle: u32, name: &str, port: u32, function: u32, about: &str) -> Result<()> {
    let shared = engine::shared(handle)?;
    if let Some(id) = name.strip_prefix("check:") {
        let check = HostCheck::new(id, about, shared.functions.clone())?;
        let mut checks = shared.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.retain(|c| c.id != id);
        checks.push(Arc::new(check));
    }
    shared.functions.put(name, &port::get(port)?, function);
    if let Some(id) = name.strip_prefix("handler:") {
        shared.handler(HostHandler::new(id, about, shared.functions.clone())?);
    }
    Ok(())
}

/// A connector that is written in JavaScript.
pub(crate) struct HostConnector {
    manifest: Manifest,
    name: String,
    functions: Arc<Functions>,
}

impl HostConnector {
    pub(crate) fn new(manifest: Manifest, functions: Arc<Functions>) -> Self {
        HostConnector {
            name: format!("connector:{}", manifest.name),
            manifest,
            functions,
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
            let values = c.settings().map(|n| (n.to_owned(), c.value(n).cloned().unwrap_or_default()));
            json!({"name": c.name(), "values": values.collect::<Map<_, _>>()})
        });
        let argument = json!({
            "action": action, "input": input, "tenant": cx.tenant.as_str(), "run": cx.run, "step": cx.step,
            "idempotencyKey": cx.idempotency_key, "timeout": cx.timeout, "connection": connection,
        });
        self.functions.call(&self.name, &argument).await.map(Output::new)
    }
}

/// A check that is written in JavaScript.
pub(crate) struct HostCheck {
    id: String,
    name: String,
    about: About,
    requires: Vec<String>,
    functions: Arc<Functions>,
}

impl HostCheck {
    fn new(id: &str, about: &str, functions: Arc<Functions>) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b);
        if !(1..=128).contains(&id.len()) || !id.bytes().all(plain) {
            let e = Error::invalid("check.bad_id", "a check's name has 1 to 128 of the characters a-z 0-9 _ .");
            return Err(e.at("id").hint("write it like `invoices.issued`"));
        }
        let about: Value = serde_json::from_str(about).unwrap_or_default();
        let text = |name: &str| about.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |name: &str| {
            let list = about.get(name).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Ok(HostCheck {
            id: id.to_owned(),
            name: format!("check:{id}"),
            requires: list("requires"),
            about: About {
                title: text("title"),
                group: text("group"),
                category: text("category"),
                objective: text("objective"),
                severity: text("severity"),
                controls: list("controls"),
            },
            functions,
        })
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

    /// A check that throws, or answers with what is no outcome, could not tell.
    async fn run(&self, cx: &CheckCx) -> Outcome {
        let argument = json!({
            "attempt": cx.attempt(), "live": cx.live(), "now": cx.now(), "left": cx.left(), "nonce": cx.nonce(),
            "previous": cx.previous(),
        });
        let answer = self.functions.call(&self.name, &argument).await;
        let outcome = answer.and_then(|value| {
            serde_json::from_value(value).map_err(|e| Error::invalid("check.no_outcome", format!("this is no outcome: {e}")))
        });
        outcome.unwrap_or_else(|e| Finding::error(e.code(), e.message()).into())
    }
}
