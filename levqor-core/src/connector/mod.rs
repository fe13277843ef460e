//! The connector port: what a run may call.
//!
//! A [`Connector`] shapes requests for one vendor and says in its [`Manifest`] what it can do. Retry,
//! time-out, rate budget, circuit breaker, metering and tracing are [layers](crate::layers) around it,
//! so a connector is small.

mod connection;
mod manifest;
mod registry;
mod suggest;
mod trigger;

pub use connection::Connection;
pub use manifest::{Action, AuthKind, Budget, Idempotency, Manifest, Setting, SideEffect};
pub use registry::Registry;
pub use trigger::{Hook, Polled, Received, Trigger, TriggerEvent, TriggerKind, Triggers};

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::clock::Clock;
use crate::error::Result;
use crate::jobs::retry::RetryPolicy;
use crate::transport::Transport;
use crate::types::{JobId, Millis, Tenant, random_bytes};
use crate::vault::Vault;

/// Something that a pipeline's step, the command line or a planner's tool can call.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// What this connector is and which actions it has.
    fn manifest(&self) -> &Manifest;

    /// Carries out one action.
    ///
    /// `input` has been validated against the action's input schema. An error says by its
    /// [`effect`](crate::error::Error::effect) whether the other side may have done the work.
    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output>;

    /// Whether this call may be repeated after its answer was lost: it does no harm by nature, or it
    /// carries a key that the other side honours. What the manifest says, unless it depends on the input.
    fn repeatable(&self, _cx: &Cx, action: &str, _input: &Value) -> bool {
        let found = self.manifest().action(action).map(|a| a.idempotency);
        matches!(found, Some(Idempotency::Natural | Idempotency::Key))
    }

    /// Which of several other sides this call goes to, where that depends on the input: the host of a URL.
    /// What is down is counted apart for each of them.
    fn destination(&self, _cx: &Cx, _action: &str, _input: &Value) -> Option<String> {
        None
    }

    /// What it can be told of, if the manifest has triggers.
    fn triggers(&self) -> Option<&dyn Triggers> {
        None
    }
}

/// What an action gave back.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Output {
    /// The action's output, by its output schema.
    pub data: Value,
    /// How many attempts it took, the successful one and those of an earlier life of the run included. Set by
    /// the retry layer; 1 without it.
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
    /// The longest that the retry layer may sleep in one call, all its attempts together, and that an attempt
    /// may wait for a provider's budget; a longer wait is given back as an error with its `retry_after`, so
    /// that the run can be put away meanwhile.
    pub max_sleep: Millis,
    /// The time-out of one attempt.
    pub timeout: Millis,
    /// Credentials and settings by the name that the step gave; `None` if it gave none.
    pub connection: Option<Arc<Connection>>,
    /// Where tokens are kept for all processes; `None` where there is no key to seal them with.
    pub vault: Option<Arc<Vault>>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Cx {
    /// Where a call stands that belongs to no run: the default tenant, a random idempotency key, 30 s for an
    /// attempt, the default retry policy with at most a minute of sleep, no connection.
    pub fn direct(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Cx {
            tenant: Tenant::default(),
            run: None,
            step: String::new(),
            attempts_before: 0,
            idempotency_key: URL_SAFE_NO_PAD.encode(random_bytes::<32>()),
            retry: RetryPolicy::default(),
            max_sleep: Millis::mins(1),
            timeout: Millis::secs(30),
            connection: None,
            vault: None,
            transport,
            clock,
        }
    }

    /// An id to give to the other side, equal over every attempt and restart of the same step and different for
    /// each purpose: 43 characters of `A-Z a-z 0-9 - _` (SHA-256 of purpose and idempotency key).
    pub fn derived_id(&self, purpose: &str) -> String {
        let text = format!("{purpose}\n{}", self.idempotency_key);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
    }
}

/// Shows where the call stands, and nothing that could be a credential.
impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("tenant", &self.tenant)
            .field("run", &self.run)
            .field("step", &self.step)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
