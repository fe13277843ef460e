//! The engine as Python holds it: opened when it is first needed, once per process, and again after a fork.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use levqor::access::webhook::Verifier;
use levqor::backend::Backend;
use levqor::clock::Clock;
use levqor::connector::{Connection, Connector};
use levqor::engine::Engine as Core;
use levqor::error::{Error, Result};
use levqor::limits::{Limits, Policies, Quota};
use levqor::types::Tenant;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::bridge::{Ready, finish, future_of};
use crate::clock::ManualClock;
use crate::convert::to_json;
use crate::error::raise;
use crate::fork::{PerProcess, Snapshot};
use crate::host::{HostCheck, HostConnector};
use crate::key::Key;
use crate::limiter::Limiter;
use crate::runtime::{first, runtime, wait};
use crate::verbs::{Answer, Args, Verb, Work};
use crate::wf::HostHandler;
use crate::worker::Worker;
use crate::{fork, logs, verbs};

/// How long a fork waits for calls of other threads to end, so that the child inherits no open database.
const BEFORE_FORK: Duration = Duration::from_secs(2);

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    url: String,
    redis: Option<String>,
    tenant: String,
    limits: Option<String>,
    submit_limits: BTreeMap<String, String>,
    connections: BTreeMap<String, Value>,
    allow: Vec<String>,
    /// Whether the vendors' connectors of this build are there.
    vendors: bool,
    webhooks: BTreeMap<String, Value>,
    #[serde(default)]
    key_prefix: Option<String>,
    #[serde(default)]
    max_body: Option<usize>,
    #[serde(default)]
    max_payload: Option<usize>,
}

/// What all handles of one engine share.
pub(crate) struct Shared {
    config: Config,
    clock: Option<Arc<dyn Clock>>,
    connectors: Snapshot<Vec<Arc<HostConnector>>>,
    handlers: Snapshot<Vec<HostHandler>>,
    pub(crate) checks: Snapshot<Vec<Arc<HostCheck>>>,
    slot: PerProcess<Mutex<Slot>>,
    /// Grows whenever the engine is closed.
    epoch: AtomicU32,
    /// Limits in the memory of this process outlive a closed store.
    limits: PerProcess<Mutex<Option<Arc<dyn Limits>>>>,
}

/// Whether this process is about to be forked: nobody opens a store then.
static FORKING: AtomicBool = AtomicBool::new(false);
/// How many stores are being opened.
static OPENING: AtomicUsize = AtomicUsize::new(0);

/// A store is being opened.
struct Busy;

impl Busy {
    fn new() -> Self {
        OPENING.fetch_add(1, Ordering::SeqCst);
        Busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        OPENING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An engine to be.
type Opening = std::pin::Pin<Box<dyn Future<Output = Result<Core>> + Send>>;

/// The engine of one process, once it is open.
type Slot = Arc<OnceCell<Core>>;

/// An engine at work, with what the host brought.
#[derive(Clone)]
pub(crate) struct Scene {
    core: Core,
    pub(crate) host: Arc<Shared>,
}

impl Deref for Scene {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

/// What this process has of something.
fn mine<T: Default + Send + 'static>(of: &PerProcess<T>) -> &T {
    match of.get(|| Ok::<_, Infallible>(T::default())) {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every engine that is alive, for a fork to close.
fn engines() -> &'static Mutex<Vec<Weak<Shared>>> {
    static ENGINES: OnceLock<Mutex<Vec<Weak<Shared>>>> = OnceLock::new();
    ENGINES.get_or_init(Mutex::default)
}

impl Shared {
    fn slot(&self) -> Slot {
        locked(self.cell()).clone()
    }

    fn cell(&self) -> &Mutex<Slot> {
        mine(&self.slot)
    }

    /// The engine, if it is open.
    pub(crate) fn opened(&self) -> Option<Core> {
        self.slot().get().cloned()
    }

    /// Tells the engine of now from one before a fork or a close.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The engine, opened if need be.
    pub(crate) fn open(self: &Arc<Self>) -> Opening {
        let shared = self.clone();
        Box::pin(async move { shared.slot().get_or_try_init(|| shared.make()).await.cloned() })
    }

    async fn make(&self) -> Result<Core> {
        let _busy = loop {
            let busy = Busy::new();
            if !FORKING.load(Ordering::SeqCst) {
                break busy;
            }
            drop(busy);
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        crate::inherited::check(&self.config.url)?;
        let (url, redis) = (self.config.url.clone(), self.config.redis.clone());
        let here = tokio::runtime::Handle::current();
        // On a thread of its own, since opening a file waits for the disk, and its future may not move between threads.
        let opened = tokio::task::spawn_blocking(move || here.block_on(levqor::open_backend(&url, redis.as_deref())));
        let backend = opened
            .await
            .map_err(|e| Error::internal(format!("opening the store died: {e}")))??;
        let core = self.build(self.keep_limits(backend))?;
        for handler in self.handlers.get() {
            core.register(&handler.name, handler.retry.handler(), Arc::new(handler.clone()))?;
        }
        Ok(core)
    }

    fn keep_limits(&self, backend: Backend) -> Backend {
        if !self.config.url.contains("limits=memory") {
            return backend;
        }
        let limits = locked(mine(&self.limits))
            .get_or_insert_with(|| backend.limits.clone())
            .clone();
        Backend { limits, ..backend }
    }

    fn build(&self, backend: Backend) -> Result<Core> {
        let config = &self.config;
        let allow: Vec<&str> = config.allow.iter().map(String::as_str).collect();
        let builder = if config.vendors {
            levqor::builder(backend, &allow)?
        } else {
            Core::builder(backend)
        };
        let mut builder = builder.tenant(Tenant::new(&config.tenant)?);
        if let Some(text) = &config.limits {
            builder = builder.limits(text.parse::<Policies>()?);
        }
        for (name, quota) in &config.submit_limits {
            builder = builder.submit_limit(name, quota.parse::<Quota>()?);
        }
        for (name, values) in &config.connections {
            builder = builder.connection(Connection::new(name, values.clone()));
        }
        for connector in self.connectors.get() {
            builder = builder.connector(connector.clone() as Arc<dyn Connector>);
        }
        for (name, given) in &config.webhooks {
            builder = builder.webhook(name, Verifier::configure(name, given)?);
        }
        if let Some(clock) = &self.clock {
            builder = builder.clock(clock.clone());
        }
        let (body, payload, prefix) = (config.max_body, config.max_payload, config.key_prefix.clone());
        builder
            .options(|o| {
                o.max_body = body.unwrap_or(o.max_body);
                o.max_payload = payload.unwrap_or(o.max_payload);
                if let Some(prefix) = prefix {
                    o.key_prefix = prefix;
                }
            })
            .build()
    }

    /// Whether its time is moved by hand.
    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Lets go of the engine. What runs on it ends; the next call opens it anew.
    fn close(&self) {
        let old = std::mem::take(&mut *locked(self.cell()));
        self.epoch.fetch_add(1, Ordering::Relaxed);
        if let Ok(runtime) = runtime() {
            // Stores end their tasks on the runtime.
            let _inside = runtime.enter();
            drop(old);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// The engine of a store, for one tenant.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    tenant: Option<Tenant>,
}

impl Engine {
    /// Checks an API key: without waiting, if it was looked up a moment ago.
    pub(crate) fn key(&self, py: Python<'_>, text: &str, scopes: Vec<String>) -> PyResult<Key> {
        if let Some(core) = self.shared.opened() {
            let scene = self.scene(core).map_err(|e| raise(py, &e))?;
            if let Some(outcome) = scene.keys().verify_now(text, &scopes) {
                return outcome.map(Key::new).map_err(|e| raise(py, &e));
            }
        }
        let (engine, text) = (
            Engine {
                shared: self.shared.clone(),
                tenant: self.tenant.clone(),
            },
            text.to_owned(),
        );
        let found = wait(py, async move {
            let core = engine.shared.open().await?;
            engine.scene(core)?.keys().verify(&text, &scopes).await
        });
        found?.map(Key::new).map_err(|e| raise(py, &e))
    }

    fn scene(&self, core: Core) -> Result<Scene> {
        let core = match &self.tenant {
            Some(tenant) => core.tenant(tenant.as_str())?,
            None => core,
        };
        Ok(Scene {
            core,
            host: self.shared.clone(),
        })
    }

    fn work(&self, verb: &'static Verb, args: Args) -> Result<Work> {
        if let Some(core) = self.shared.opened() {
            return Ok((verb.run)(self.scene(core)?, args));
        }
        let (shared, tenant) = (self.shared.clone(), self.tenant.clone());
        Ok(Box::pin(async move {
            let core = shared.open().await?;
            let engine = Engine { shared, tenant };
            (verb.run)(engine.scene(core)?, args).await
        }))
    }

    /// Begins a verb: its answer, if it has one at once, or what has to be waited for.
    fn begin(
        &self,
        py: Python<'_>,
        index: usize,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<std::result::Result<Answer, Work>> {
        let verb = verbs::all()
            .nth(index)
            .ok_or_else(|| pyo3::exceptions::PyIndexError::new_err("there is no such verb"))?;
        let args = Args::bind(py, verb, args, kwargs)?;
        let runtime = runtime().map_err(|e| raise(py, &e))?;
        let mut work = self.work(verb, args).map_err(|e| raise(py, &e))?;
        let polled = if verb.name.starts_with("limits.") {
            let _inside = runtime.enter();
            first(&mut work)
        } else {
            py.detach(|| {
                let _inside = runtime.enter();
                first(&mut work)
            })
        };
        match polled {
            Poll::Ready(outcome) => outcome.map(Ok).map_err(|e| raise(py, &e)),
            Poll::Pending => Ok(Err(work)),
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (config, clock=None))]
    fn new(py: Python<'_>, config: &Bound<'_, PyDict>, clock: Option<&Bound<'_, ManualClock>>) -> PyResult<Self> {
        let config = to_json(config.as_any()).and_then(|c| verbs::read::<Config>(c, "config", ""));
        let config = config.map_err(|e| raise(py, &e))?;
        let shared = Arc::new(Shared {
            config,
            clock: clock.map(|clock| clock.get().clock()),
            connectors: Snapshot::new(Vec::new()),
            handlers: Snapshot::new(Vec::new()),
            checks: Snapshot::new(Vec::new()),
            slot: PerProcess::new(),
            epoch: AtomicU32::new(0),
            limits: PerProcess::new(),
        });
        let mut all = locked(engines());
        all.retain(|weak| weak.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        Ok(Engine { shared, tenant: None })
    }

    /// The same engine, working on another tenant's data.
    fn tenant(&self, py: Python<'_>, name: &str) -> PyResult<Self> {
        let tenant = Tenant::new(name).map_err(|e| raise(py, &e))?;
        Ok(Engine {
            shared: self.shared.clone(),
            tenant: Some(tenant),
        })
    }

    /// Carries out a verb and waits for it.
    #[pyo3(signature = (verb, args, kwargs=None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        verb: usize,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let answer = match self.begin(py, verb, args, kwargs)? {
            Ok(answer) => answer,
            Err(work) => {
                if self.shared.opened().is_none() {
                    logs::refresh(py);
                }
                wait(py, work)?.map_err(|e| raise(py, &e))?
            }
        };
        answer.into_python(py)
    }

    /// Begins a verb; what comes back can be awaited.
    #[pyo3(signature = (verb, args, kwargs=None, convert=None))]
    fn acall<'py>(
        &self,
        py: Python<'py>,
        verb: usize,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        convert: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.begin(py, verb, args, kwargs)? {
            Ok(answer) => {
                let value = finish(py, answer, convert.as_ref())?;
                Ok(Bound::new(py, Ready::new(value.unbind()))?.into_any())
            }
            Err(work) => future_of(py, work, convert),
        }
    }

    /// One limit made ready for many keys.
    fn limiter(&self, py: Python<'_>, name: &str, quota: &str) -> PyResult<Limiter> {
        let quota: Quota = quota.parse().map_err(|e| raise(py, &e))?;
        Limiter::new(self.shared.clone(), self.tenant.clone(), name, quota).map_err(|e| raise(py, &e))
    }

    /// A worker, not started.
    fn worker(&self, py: Python<'_>, options: &Bound<'_, PyDict>) -> PyResult<Worker> {
        let options = to_json(options.as_any()).and_then(|o| verbs::read(o, "options", ""));
        Ok(Worker::new(self.shared.clone(), options.map_err(|e| raise(py, &e))?))
    }

    /// Adds a connector that is written in Python. Before the engine is opened.
    fn add_connector(&self, py: Python<'_>, manifest: &Bound<'_, PyAny>, call: Py<PyAny>) -> PyResult<()> {
        if self.shared.opened().is_some() {
            let e = Error::conflict("engine.open", "the engine is open: connectors are added before its first use");
            return Err(raise(py, &e));
        }
        let manifest = to_json(manifest)
            .and_then(|m| verbs::read(m, "manifest", ""))
            .map_err(|e| raise(py, &e))?;
        let mut connectors = self.shared.connectors.get().clone();
        connectors.push(Arc::new(HostConnector::new(manifest, call)));
        self.shared.connectors.set(connectors);
        Ok(())
    }

    /// Adds a check of integrity runs that is written in Python; one of the same name is replaced.
    fn add_check(
        &self,
        py: Python<'_>,
        id: String,
        about: &Bound<'_, PyAny>,
        requires: Vec<String>,
        run: Py<PyAny>,
    ) -> PyResult<()> {
        let about = to_json(about).map_err(|e| raise(py, &e))?;
        let check = HostCheck::new(id, &about, requires, run).map_err(|e| raise(py, &e))?;
        let mut checks = self.shared.checks.get().clone();
        checks.retain(|known| known.name() != check.name());
        checks.push(Arc::new(check));
        self.shared.checks.set(checks);
        Ok(())
    }

    /// Adds a handler of jobs that is written in Python, or puts another in its place.
    fn add_handler(&self, py: Python<'_>, name: String, retry: &Bound<'_, PyAny>, run: Py<PyAny>) -> PyResult<()> {
        let retry = to_json(retry)
            .and_then(|r| verbs::read(r, "retry", ""))
            .map_err(|e| raise(py, &e))?;
        let handler = HostHandler::new(name, retry, run);
        if let Some(core) = self.shared.opened() {
            let added = core.register(&handler.name, handler.retry.handler(), Arc::new(handler.clone()));
            added.map_err(|e| raise(py, &e))?;
        }
        let mut handlers = self.shared.handlers.get().clone();
        handlers.retain(|known| known.name != handler.name);
        handlers.push(handler);
        self.shared.handlers.set(handlers);
        Ok(())
    }

    /// Whether the store is open in this process.
    #[getter]
    fn is_open(&self) -> bool {
        self.shared.opened().is_some()
    }

    /// Lets go of the store; the next call opens it anew.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.shared.close());
    }

    fn __repr__(&self) -> String {
        let scheme = self.shared.config.url.split(':').next().unwrap_or_default();
        format!("Engine({scheme}://…)")
    }
}

/// Closes what a forked child must not inherit: SQLite keeps in memory which locks the process has, and a child
/// would believe that they are its own.
#[pyfunction]
pub(crate) fn before_fork(py: Python<'_>) {
    FORKING.store(true, Ordering::SeqCst);
    let all: Vec<Arc<Shared>> = locked(engines()).iter().filter_map(Weak::upgrade).collect();
    py.detach(|| {
        let end = Instant::now() + BEFORE_FORK;
        let mut places = Vec::new();
        loop {
            // Read first: what was being opened then is open now.
            let opening = OPENING.load(Ordering::SeqCst) > 0;
            for shared in &all {
                let Some(info) = shared.opened().map(|core| core.backend().store.info()) else {
                    continue;
                };
                if info.kind == "sqlite" {
                    places.push(std::path::PathBuf::from(info.place));
                    shared.close();
                }
            }
            let open = places.iter().any(|place| crate::inherited::is_open(place));
            let busy = opening || open || (!places.is_empty() && crate::inherited::has_threads());
            if !busy || Instant::now() > end {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Lets stores be opened again, on both sides of a fork.
#[pyfunction]
pub(crate) fn after_fork() {
    if GENERATION_SEEN.swap(generation(), Ordering::SeqCst) != generation() {
        // In the child, nothing of the parent's goes on.
        OPENING.store(0, Ordering::SeqCst);
    }
    FORKING.store(false, Ordering::SeqCst);
}

static GENERATION_SEEN: AtomicU32 = AtomicU32::new(1);

/// How many forks lie between the first process and this one.
#[pyfunction]
pub(crate) fn generation() -> u32 {
    fork::generation()
}
