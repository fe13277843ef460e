use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::handlers::Handlers;
use super::{Engine, Handler, HandlerOptions, Inner};
use crate::access::key::{self, KeyCache};
use crate::access::webhook::Verifier;
use crate::backend::Backend;
use crate::clock::{Clock, SystemClock};
use crate::connector::{Connection, Connector, Registry};
use crate::error::{Error, ErrorKind, Result};
use crate::layers::{Layer, StackOptions, stack};
use crate::limits::{Policies, Quota};
use crate::pipeline::Catalog;
use crate::transport::{Request, Response, Transport};
use crate::types::{Millis, Tenant};
use crate::vault::{Sealer, Secrets, Vault};

/// What may be set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The largest pipeline or request text, in bytes.
    pub max_body: usize,
    /// The largest input of a run, in bytes.
    pub max_payload: usize,
    /// The largest output of a step, in bytes.
    pub max_output: usize,
    /// Limits that the host asks for by name; see [`Engine::limits`].
    pub limits: Policies,
    /// Limits on submitting runs, each counted for every account by itself.
    pub submit_limits: Vec<(String, Quota)>,
    /// After how many leases in a row that ran out without progress a job is called poison.
    pub max_crashes: i64,
    /// The longest wait for a retry that a worker sleeps through; for a longer one the run is put away.
    pub max_sleep: Millis,
    /// The time-out of one attempt of a step that sets none.
    pub step_timeout: Millis,
    /// What the texts of API keys begin with; see [`check_prefix`](key::check_prefix).
    pub key_prefix: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_body: 512 << 10,
            max_payload: 200 << 10,
            max_output: 1 << 20,
            limits: Policies::default(),
            submit_limits: Vec::new(),
            max_crashes: 3,
            max_sleep: Millis::secs(5),
            step_timeout: Millis::secs(30),
            key_prefix: key::DEFAULT_PREFIX.to_owned(),
        }
    }
}

/// An engine to be.
pub struct Builder {
    backend: Backend,
    clock: Option<Arc<dyn Clock>>,
    transport: Arc<dyn Transport>,
    connectors: Vec<Arc<dyn Connector>>,
    layers: Vec<Arc<dyn Layer>>,
    connections: HashMap<String, Arc<Connection>>,
    handlers: Vec<(String, HandlerOptions, Arc<dyn Handler>)>,
    webhooks: HashMap<String, Verifier>,
    sealer: Option<Sealer>,
    secrets: Option<Arc<dyn Secrets>>,
    tenant: Tenant,
    options: Options,
}

impl Builder {
    pub(super) fn new(backend: Backend) -> Self {
        Builder {
            backend,
            clock: None,
            transport: Arc::new(NoTransport),
            connectors: Vec::new(),
            layers: Vec::new(),
            connections: HashMap::new(),
            handlers: Vec::new(),
            webhooks: HashMap::new(),
            sealer: None,
            secrets: None,
            tenant: Tenant::default(),
            options: Options::default(),
        }
    }

    /// Takes the time from here instead of from the machine (corrected by the store's clock).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sends requests through this.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// Adds a connector.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connectors.push(connector);
        self
    }

    /// Puts a layer around the store, the limits, every connector and the network; the last one added is
    /// the outermost.
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds credentials that steps can name.
    #[must_use]
    pub fn connection(mut self, connection: Connection) -> Self {
        self.connections.insert(connection.name().to_owned(), Arc::new(connection));
        self
    }

    /// Adds a handler: what does the jobs that are enqueued for this name.
    #[must_use]
    pub fn handler(mut self, name: &str, options: HandlerOptions, handler: impl Handler) -> Self {
        self.handlers.push((name.to_owned(), options, Arc::new(handler)));
        self
    }

    /// Takes webhooks under a name; see [`Engine::webhooks`].
    #[must_use]
    pub fn webhook(mut self, name: &str, verifier: Verifier) -> Self {
        self.webhooks.insert(name.to_owned(), verifier);
        self
    }

    /// Seals what tenants store: connections, and tokens that were renewed, which all processes then share.
    #[must_use]
    pub fn sealer(mut self, sealer: Sealer) -> Self {
        self.sealer = Some(sealer);
        self
    }

    /// Where `{"$secret": "name"}` in stored connections is looked up.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Works on another tenant's data than `default`.
    #[must_use]
    pub fn tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// The limits that the host asks for by name, instead of the usual ones.
    #[must_use]
    pub fn limits(mut self, policies: Policies) -> Self {
        self.options.limits = policies;
        self
    }

    /// Limits how often an account may submit runs.
    #[must_use]
    pub fn submit_limit(mut self, name: &str, quota: Quota) -> Self {
        self.options.submit_limits.push((name.to_owned(), quota));
        self
    }

    /// Changes the options.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Makes the engine. Nothing is started.
    ///
    /// # Errors
    /// What [`Registry::add`] says of a connector's names, the same of a handler's, and `key.bad_prefix`.
    pub fn build(self) -> Result<Engine> {
        key::check_prefix(&self.options.key_prefix)?;
        let offset = self.backend.store.info().clock_offset;
        let clock = self.clock.unwrap_or_else(|| {
            let clock = SystemClock::default();
            clock.set_offset(offset);
            Arc::new(clock)
        });
        let mut registry = Registry::new();
        let backend = self.layers.iter().fold(self.backend, |inner, layer| Backend {
            store: layer.store(inner.store),
            limits: layer.limits(inner.limits),
            ..inner
        });
        let shared = StackOptions::new(backend.limits.clone());
        let mut catalog = Catalog::new();
        for connector in self.connectors {
            let connector = self
                .layers
                .iter()
                .fold(stack(connector, &shared), |inner, layer| layer.connector(inner));
            let manifest = connector.manifest();
            for action in &manifest.actions {
                catalog.add(&manifest.name, &action.name, action.input.clone(), action.output.clone());
            }
            registry.add(connector)?;
        }
        let handlers = Handlers::default();
        for (name, options, handler) in self.handlers {
            handlers.add(&name, options, handler)?;
        }
        let transport = self.layers.iter().fold(self.transport, |inner, layer| layer.transport(inner));
        let vault = self.sealer.map(|sealer| {
            let vault = Vault::new(backend.store.clone(), backend.claims.clone(), clock.clone(), sealer);
            Arc::new(match self.secrets {
                Some(secrets) => vault.with_secrets(secrets),
                None => vault,
            })
        });
        // Whoever can store connections can name more than those that are known now.
        let catalog = match &vault {
            Some(_) => catalog,
            None => catalog.with_connections(self.connections.keys().cloned()),
        };
        let inner = Inner {
            backend,
            clock,
            transport,
            registry,
            meter: shared.meter,
            handlers,
            catalog,
            connections: self.connections,
            webhooks: self.webhooks,
            keys: KeyCache::default(),
            key_uses: tokio::sync::Mutex::default(),
            vault,
            options: self.options,
            events: broadcast::channel(1024).0,
            pipelines: Mutex::default(),
        };
        Ok(Engine {
            inner: Arc::new(inner),
            tenant: self.tenant,
        })
    }
}

/// The network of an engine that was built without one.
struct NoTransport;

#[async_trait]
impl Transport for NoTransport {
    async fn send(&self, request: Request) -> Result<Response> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "transport.none",
            format!("this engine has no network: {request:?}"),
        )
        .hint("build with the feature `http`, or give the builder a transport"))
    }
}
