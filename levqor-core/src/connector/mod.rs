//! The connector port: what a run may call.
//!
//! A [`Connector`] shapes requests for one vendor and says in its [`Manifest`] what it can do. Retry,
//! time-out, rate budget, circuit breaker, metering and tracing are [layers](crate::layers) around it,
//! so a connector is small.

mod manifest;
mod registry;

pub use manifest::{Action, AuthKind, Budget, Idempotency, Manifest, SideEffect};
pub use registry::Registry;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::Clock;
use crate::error::Result;
use crate::jobs::retry::RetryPolicy;
use crate::transport::Transport;
use crate::types::{JobId, Millis, Tenant};

/// Something that a pipeline's step, the command line or a planner's tool can call.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// What this connector is and which actions it has.
    fn manifest(&self) -> &Manifest;

    /// Carries out one action.
    ///
    /// `input` has been validated against the action's input schema. An error says by its
    /// [`effect`](crate::error::Error::effect) whether the other side may have done the work.
    async fn call(&self, cx: &Cx, action: &str, input: Value) -> Result<Output>;

    /// Whether this input makes the action repeatable, where its manifest says that it
    /// [depends on the input](Idempotency::Input).
    fn repeatable(&self, _action: &str, _input: &Value) -> bool {
        false
    }
}

/// What an action gave back.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Output {
    /// The action's output, by its output schema.
    pub data: Value,
    /// How many attempts it took, the successful one included. Set by the retry layer; 1 without it.
    pub attempts: u32,
}

impl Output {
    /// An output that took one attempt.
    pub fn new(data: Value) -> Self {
        Output { data, attempts: 1 }
    }
}

/// Everything that a call may need to know about where it stands.
#[derive(Clone)]
pub struct Cx {
    /// Whose call it is.
    pub tenant: Tenant,
    /// The run that the call belongs to; `None` for a direct call.
    pub run: Option<JobId>,
    /// Where in the run: the step's id, with `[n]` behind it for the n-th item of a `for_each`.
    pub step: String,
    /// Attempts that were made before this call in an earlier life of the run.
    pub attempts_before: u32,
    /// The key to hand to a provider that takes one: equal over every attempt and restart of the same step.
    pub idempotency_key: String,
    /// How the retry layer treats failures of this call.
    pub retry: RetryPolicy,
    /// The longest that the retry layer may sleep; a longer wait is given back as the error with its
    /// `retry_after`, so that the run can be put away meanwhile.
    pub max_sleep: Millis,
    /// The time-out of one attempt.
    pub timeout: Millis,
    /// Credentials and settings by the name that the step gave; `None` if it gave none.
    pub connection: Option<Arc<Connection>>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Credentials and settings of one account at one vendor. Its values never show in `Debug`.
#[derive(Clone)]
pub struct Connection {
    name: String,
    values: Value,
}

impl Connection {
    /// A connection by its name, with its settings as a JSON object.
    pub fn new(name: impl Into<String>, values: Value) -> Self {
        Connection {
            name: name.into(),
            values,
        }
    }

    /// The name that pipelines use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text setting.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field).and_then(Value::as_str)
    }

    /// Any setting.
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.values.get(field)
    }

    /// Every text in the settings that must never be printed.
    pub fn secrets(&self) -> Vec<&str> {
        fn walk<'a>(v: &'a Value, out: &mut Vec<&'a str>) {
            match v {
                Value::String(s) if s.len() >= 4 => out.push(s),
                Value::Array(a) => a.iter().for_each(|v| walk(v, out)),
                Value::Object(o) => o.values().for_each(|v| walk(v, out)),
                _ => {}
            }
        }
        let mut out = Vec::new();
        walk(&self.values, &mut out);
        out
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}
