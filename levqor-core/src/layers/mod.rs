//! Layers: behaviour that is put around a port without the port knowing.
//!
//! [`stack`] puts all of them around a connector. A call passes them from the top; only what lies under
//! `retry` happens once per attempt:
//!
//! ```text
//!   call ──► trace      one span: connector, action, step; outcome, never a value
//!            meter      counts and latency by outcome
//!            redact     no error leaves with a secret of the connection in it
//!            validate   input against the action's JSON Schema, every fault at once
//!            retry      decorrelated jitter, Retry-After, never a second effect
//!              ├─ breaker    what is down is left alone for a while
//!              ├─ budget     the provider's rate limit, before the provider says 429
//!              └─ timeout    the end of one attempt
//!                   └─ connector ──► transport (guard, redirects, size cap)
//! ```
//!
//! The breaker and the budget lie inside retry (as in Polly's standard pipeline and resilience4j), so that
//! each attempt counts and an open circuit stops the repetition at once or makes it wait.

pub mod breaker;
pub mod budget;
pub mod meter;
#[cfg(test)]
pub(crate) mod probe;
pub mod redact;
pub mod retry;
pub mod timeout;
pub mod trace;
pub mod validate;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::connector::{Connector, Cx, Manifest, Output, Triggers};
use crate::error::Result;
use crate::limits::Limits;
use crate::store::Store;
use crate::transport::Transport;

pub use breaker::Breakers;
pub use meter::Meter;
pub use redact::Redactor;

/// One identity hook per plane; a layer overrides the planes that it changes.
pub trait Layer: Send + Sync + 'static {
    /// Wraps the store.
    fn store(&self, inner: Arc<dyn Store>) -> Arc<dyn Store> {
        inner
    }

    /// Wraps the limits.
    fn limits(&self, inner: Arc<dyn Limits>) -> Arc<dyn Limits> {
        inner
    }

    /// Wraps a connector.
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        inner
    }

    /// Wraps the network.
    fn transport(&self, inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        inner
    }
}

/// What the layers of several connectors share. A clone shares it too.
#[derive(Clone)]
pub struct StackOptions {
    /// Where calls are counted.
    pub meter: Arc<Meter>,
    /// Which other sides are down.
    pub breakers: Arc<Breakers>,
    /// Where the providers' budgets are counted.
    pub limits: Arc<dyn Limits>,
}

impl StackOptions {
    /// A new meter, breakers that are all closed, and budgets that are counted here.
    pub fn new(limits: Arc<dyn Limits>) -> Self {
        StackOptions {
            meter: Arc::default(),
            breakers: Arc::default(),
            limits,
        }
    }
}

/// Puts every layer around a connector, in the order of the picture [above](self).
pub fn stack(connector: Arc<dyn Connector>, options: &StackOptions) -> Arc<dyn Connector> {
    let inside_out: [&dyn Layer; 8] = [
        &timeout::Timeout,
        &budget::BudgetLayer(Arc::clone(&options.limits)),
        &breaker::Breaker(Arc::clone(&options.breakers)),
        &retry::Retry,
        &validate::Validate,
        &redact::Redact,
        &meter::MeterLayer(Arc::clone(&options.meter)),
        &trace::Trace,
    ];
    inside_out.iter().fold(connector, |inner, layer| layer.connector(inner))
}

/// What a layer does around a call.
trait Around: Send + Sync + 'static {
    fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> impl Future<Output = Result<Output>> + Send;
}

/// A connector with a layer around it.
struct Layered<A> {
    inner: Arc<dyn Connector>,
    around: A,
}

impl<A: Around> Layered<A> {
    fn shared(around: A, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Arc::new(Layered { inner, around })
    }
}

#[async_trait]
impl<A: Around> Connector for Layered<A> {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        self.around.around(&*self.inner, cx, action, input).await
    }

    fn repeatable(&self, cx: &Cx, action: &str, input: &Value) -> bool {
        self.inner.repeatable(cx, action, input)
    }

    fn destination(&self, cx: &Cx, action: &str, input: &Value) -> Option<String> {
        self.inner.destination(cx, action, input)
    }

    fn triggers(&self) -> Option<&dyn Triggers> {
        self.inner.triggers()
    }
}

/// What is counted apart by breaker and budget: whose connection to what.
fn account(connector: &dyn Connector, cx: &Cx) -> String {
    let connection = cx.connection.as_ref().map_or("", |c| c.name());
    format!("{}/{}/{connection}", cx.tenant, connector.manifest().name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::probe::{Probe, cx};
    use super::*;
    use crate::error::Error;

    #[tokio::test(start_paused = true)]
    async fn the_whole_stack_answers_counts_and_repeats() {
        let options = StackOptions::new(Arc::new(crate::backend::memory::MemoryLimits::new()));
        let probe = Probe::answering([Err(Error::unavailable("x.down", "down")), Ok(json!({"ok": true}))]);
        let stacked = stack(probe.clone().shared(), &options);
        let out = stacked.call(&cx(), "write", &json!({"n": 1})).await.unwrap();
        assert_eq!((out.data, out.attempts, probe.calls()), (json!({"ok": true}), 2, 2));

        let e = stacked.call(&cx(), "write", &json!({"n": "one"})).await.unwrap_err();
        assert_eq!(
            (e.code(), probe.calls()),
            ("connector.input_invalid", 2),
            "refused before anything is called"
        );

        let stats = options.meter.snapshot();
        let write = stats.iter().find(|s| s.action == "write").unwrap();
        assert_eq!((write.outcomes["ok"], write.outcomes["invalid"], write.attempts), (1, 1, 3));
    }
}
