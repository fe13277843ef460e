//! The engine: what a host calls.
//!
//! An [`Engine`] is one cloneable handle. It starts nothing until it is told to: a
//! [worker](Engine::worker) runs when its `run` is awaited.

mod atomic;
mod builder;
mod call;
mod connections;
mod credits;
mod events;
mod handlers;
mod jobs;
mod keys;
mod limits;
mod pipelines;
mod request;
mod run;
mod schedules;
mod sql_enqueue;
mod view;
mod webhooks;
mod wf;
mod worker;

pub use atomic::{Atomic, Committed, Place};
pub use builder::{Builder, Options};
pub use call::DirectCall;
pub use connections::Connections;
pub use credits::{CaptureOptions, Credits, GrantOptions, Linked, RefundOptions, StatementLine, Totals};
pub use events::RunEvent;
pub use handlers::{Handler, HandlerOptions, handler};
pub use jobs::{Jobs, Redriven};
pub use keys::{KeyFilter, Keys};
pub use limits::{Permit, RateLimits};
pub use pipelines::{Pipelines, RunRequest, Submitted};
pub use request::{Enqueued, JobRequest};
pub use schedules::{Backfilled, Declared, FireReport, ScheduleView, Schedules};
pub use sql_enqueue::{Placeholder, SqlEnqueue, Statement};
pub use view::{RunView, StepView};
pub use webhooks::{Delivery, Turn, Webhooks};
pub use wf::{After, Begun, SUSPENDED, StepOptions, Ticket, Wf};
pub use worker::{Worker, WorkerReport};

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::access::key::KeyCache;
use crate::access::webhook::Verifier;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::connector::{Connection, Registry};
use crate::error::{Error, Result};
use crate::json;
use crate::layers::Meter;
use crate::limits::{Ask, Decision};
use crate::pipeline::{Catalog, Checked};
use crate::store::{Batch, Key};
use crate::transport::Transport;
use crate::types::{Millis, Tenant};
use crate::vault::Vault;

/// The engine. Cloning it shares it.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    tenant: Tenant,
}

pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) registry: Registry,
    pub(crate) meter: Arc<Meter>,
    handlers: handlers::Handlers,
    pub(crate) catalog: Catalog,
    pub(crate) connections: HashMap<String, Arc<Connection>>,
    pub(crate) webhooks: HashMap<String, Verifier>,
    pub(crate) keys: KeyCache,
    /// Held by whoever writes down the last uses of keys.
    pub(crate) key_uses: tokio::sync::Mutex<()>,
    pub(crate) vault: Option<Arc<Vault>>,
    pub(crate) options: Options,
    pub(crate) events: broadcast::Sender<RunEvent>,
    /// Pipelines that are known to be good and to be in the store, by digest.
    pub(crate) pipelines: Mutex<HashMap<(Tenant, String), Arc<Checked>>>,
}

impl Engine {
    /// Says how an engine is to be, step by step.
    pub fn builder(backend: Backend) -> Builder {
        Builder::new(backend)
    }

    /// The same engine working on another tenant's data.
    pub fn tenant(&self, name: &str) -> Result<Engine> {
        Ok(Engine {
            inner: self.inner.clone(),
            tenant: Tenant::new(name)?,
        })
    }

    /// Whose data the verbs work on.
    pub fn tenant_name(&self) -> &Tenant {
        &self.tenant
    }

    /// The engine's time.
    pub fn now(&self) -> Millis {
        self.inner.clock.now()
    }

    /// Where its state lies.
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// Its connectors.
    pub fn connectors(&self) -> &Registry {
        &self.inner.registry
    }

    /// What its connectors were called for: counts and latencies.
    pub fn meter(&self) -> &Meter {
        &self.inner.meter
    }

    /// Credits.
    pub fn credits(&self) -> Credits<'_> {
        Credits(self)
    }

    /// Collects operations of every kind that are then carried out in one commit.
    pub fn atomic(&self, idempotency: Option<&str>) -> Result<Atomic> {
        Atomic::new(self, idempotency)
    }

    /// Adds a handler, or puts another in the place of one: for hosts that learn of them after the engine was built.
    pub fn register(&self, name: &str, options: HandlerOptions, handler: Arc<dyn Handler>) -> Result<()> {
        self.inner.handlers.add(name, options, handler)
    }

    /// The names of its handlers, in order.
    pub fn handlers(&self) -> Vec<String> {
        self.inner.handlers.names()
    }

    /// Jobs.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Pipelines and their runs.
    pub fn pipelines(&self) -> Pipelines<'_> {
        Pipelines(self)
    }

    /// Connections that the tenant stored.
    pub fn connections(&self) -> Connections<'_> {
        Connections(self)
    }

    /// Schedules.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules(self)
    }

    /// API keys.
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// Webhooks of others, by the names the engine was built with.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks(self)
    }

    /// A worker: takes jobs and does them, once its `run` is awaited.
    pub fn worker(&self) -> Worker {
        Worker::new(self.clone())
    }

    /// Limits, by the names of the policies the engine was built with.
    pub fn limits(&self) -> RateLimits<'_> {
        RateLimits::new(self)
    }

    /// Decides limits: see [`crate::limits`].
    pub async fn limit(&self, asks: &[Ask]) -> Result<Decision> {
        self.inner.backend.limits.take(&self.tenant, asks, self.now()).await
    }

    /// What happens to runs in this process, from now on.
    pub fn events(&self) -> broadcast::Receiver<RunEvent> {
        self.inner.events.subscribe()
    }

    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.tenant.clone(), self.now())
    }

    pub(crate) fn emit(&self, event: RunEvent) {
        // Nobody listening is no fault.
        let _ = self.inner.events.send(event);
    }

    pub(crate) fn known_pipelines(&self) -> std::sync::MutexGuard<'_, HashMap<(Tenant, String), Arc<Checked>>> {
        self.inner.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, bytes).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// An idempotency key bound to what it stands for.
pub(crate) fn key(text: Option<&str>, payload: &Value) -> Result<Option<Key>> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(Error::invalid(
            "idempotency.bad_key",
            "an idempotency key has 1 to 255 bytes and no control characters",
        )
        .at("key"));
    }
    let fingerprint = sha256_hex(json::canonical(payload).as_bytes());
    Ok(Some(Key {
        text: text.into(),
        fingerprint: fingerprint.into(),
    }))
}
