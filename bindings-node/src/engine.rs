//! The engine as JavaScript holds it: a number. Opened when it is first needed, once per process.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use levqor::backend::Backend;
use levqor::clock::ManualClock;
use levqor::connector::Connector;
use levqor::engine::Engine as Core;
use levqor::error::{Error, ErrorKind, Result};
use levqor::types::Tenant;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::handlers::HostHandler;
use crate::host::{Functions, HostCheck, HostConnector};
use crate::runtime::runtime;
use crate::worker::Workers;

/// What all handles of one engine share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    core: Mutex<Arc<OnceCell<Core>>>,
    /// The store, as long as this engine uses it.
    store: Mutex<Option<Arc<OnceCell<Backend>>>>,
    /// Functions of JavaScript, by what they are for.
    pub(crate) functions: Arc<Functions>,
    pub(crate) checks: Mutex<Vec<Arc<HostCheck>>>,
    handlers: Mutex<Vec<Arc<HostHandler>>>,
    /// Whether there are handlers that the engine does not know yet.
    new_handlers: AtomicBool,
    pub(crate) workers: Workers,
    /// The time, if it is moved by hand.
    pub(crate) clock: Option<Arc<ManualClock>>,
}

/// An engine for one tenant: what a handle stands for.
#[derive(Clone)]
struct Handle {
    shared: Arc<Shared>,
    tenant: Option<Tenant>,
}

/// An engine at work, with what the host brought.
#[derive(Clone)]
pub(crate) struct Scene {
    core: Core,
    pub(crate) shared: Arc<Shared>,
}

impl Deref for Scene {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static HANDLES: RwLock<Vec<Handle>> = RwLock::new(Vec::new());
/// The number of the shared engine of a configuration. Entries are texts with secrets; they stay in this process.
static SHARED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);
/// Stores that are open, by address: two configurations of one store share its connections.
static BACKENDS: Mutex<Option<HashMap<(String, Option<String>), Weak<OnceCell<Backend>>>>> = Mutex::new(None);

fn keep(handle: Handle) -> Result<u32> {
    let mut handles = HANDLES.write().unwrap_or_else(PoisonError::into_inner);
    let number = u32::try_from(handles.len()).map_err(|_| Error::internal("too many engines"))?;
    handles.push(handle);
    Ok(number)
}

fn get(number: u32) -> Result<Handle> {
    let handles = HANDLES.read().unwrap_or_else(PoisonError::into_inner);
    let found = usize::try_from(number).ok().and_then(|n| handles.get(n).cloned());
    found.ok_or_else(|| Error::invalid("engine.unknown", "there is no such engine"))
}

/// The engine of a configuration.
pub(crate) fn handle(text: &str) -> Result<u32> {
    let config = Config::read(text)?;
    if !config.shared {
        return keep(Handle::new(config));
    }
    // Fields in the order of the struct: equal configurations give equal texts.
    let same = crate::error::text(&config)?;
    let mut shared = locked(&SHARED);
    let known = shared.get_or_insert_with(HashMap::new);
    if let Some(number) = known.get(&same) {
        return Ok(*number);
    }
    let number = keep(Handle::new(config))?;
    known.insert(same, number);
    Ok(number)
}

/// The same engine on another tenant's data.
pub(crate) fn tenant(number: u32, name: &str) -> Result<u32> {
    let tenant = Some(Tenant::new(name)?);
    let shared = get(number)?.shared;
    let handles = HANDLES.read().unwrap_or_else(PoisonError::into_inner);
    let known = handles
        .iter()
        .position(|h| Arc::ptr_eq(&h.shared, &shared) && h.tenant == tenant);
    drop(handles);
    match known.and_then(|n| u32::try_from(n).ok()) {
        Some(number) => Ok(number),
        None => keep(Handle { shared, tenant }),
    }
}

/// What a handle shares with others of its engine.
pub(crate) fn shared(number: u32) -> Result<Arc<Shared>> {
    Ok(get(number)?.shared)
}

/// A handle whose engine may have to be opened first.
pub(crate) struct Opening(Handle);

/// The engine of a handle, to be opened.
pub(crate) fn scene(number: u32) -> Result<Opening> {
    get(number).map(Opening)
}

impl Opening {
    /// The engine, if it is open.
    pub(crate) fn now(&self) -> Option<Result<Scene>> {
        let cell = self.0.shared.cell();
        cell.get().map(|core| self.0.scene(core.clone()))
    }

    /// The engine, opened if need be.
    pub(crate) async fn open(&self) -> Result<Scene> {
        let core = self.0.shared.open().await?;
        self.0.scene(core)
    }

    /// The engine, opened on this thread, which waits for it.
    pub(crate) fn open_here(&self) -> Result<Scene> {
        match self.now() {
            Some(scene) => scene,
            None => runtime()?.block_on(self.open()),
        }
    }
}

impl Handle {
    fn new(config: Config) -> Self {
        let clock = config.clock.map(|at| Arc::new(ManualClock::at(at)));
        let shared = Shared {
            clock,
            config,
            core: Mutex::default(),
            store: Mutex::default(),
            functions: Arc::default(),
            checks: Mutex::default(),
            handlers: Mutex::default(),
            new_handlers: AtomicBool::new(false),
            workers: Workers::default(),
        };
        Handle {
            shared: Arc::new(shared),
            tenant: None,
        }
    }

    fn scene(&self, core: Core) -> Result<Scene> {
        self.shared.register(&core)?;
        let core = match &self.tenant {
            Some(tenant) => core.tenant(tenant.as_str())?,
            None => core,
        };
        Ok(Scene {
            core,
            shared: self.shared.clone(),
        })
    }
}

impl Shared {
    fn cell(&self) -> Arc<OnceCell<Core>> {
        locked(&self.core).clone()
    }

    async fn open(&self) -> Result<Core> {
        let cell = self.cell();
        cell.get_or_try_init(|| self.make()).await.cloned()
    }

    async fn make(&self) -> Result<Core> {
        let backend = if self.config.shared {
            self.backend().await?
        } else {
            open(&self.config).await?
        };
        let builder = self
            .config
            .connectors
            .iter()
            .fold(self.config.builder(backend)?, |builder, manifest| {
                let connector = HostConnector::new(manifest.clone(), self.functions.clone());
                builder.connector(Arc::new(connector) as Arc<dyn Connector>)
            });
        match &self.clock {
            Some(clock) => builder.clock(clock.clone()).build(),
            None => builder.build(),
        }
    }

    /// Makes a handler known, in the place of the one that had its name.
    pub(crate) fn handler(&self, handler: HostHandler) {
        let mut handlers = locked(&self.handlers);
        handlers.retain(|h| h.name != handler.name);
        handlers.push(Arc::new(handler));
        // Under the lock: whoever takes the mark finds the handler.
        self.new_handlers.store(true, Ordering::SeqCst);
    }

    /// Hands handlers on that the engine does not know yet.
    fn register(&self, core: &Core) -> Result<()> {
        if !self.new_handlers.load(Ordering::Relaxed) {
            return Ok(());
        }
        let handlers = locked(&self.handlers);
        for handler in handlers.iter() {
            core.register(&handler.name, handler.options.clone(), handler.clone())?;
        }
        self.new_handlers.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// The store, which all shared engines of its address share.
    async fn backend(&self) -> Result<Backend> {
        let key = (self.config.url.clone(), self.config.redis.clone());
        let cell = {
            let mut backends = locked(&BACKENDS);
            let known = backends.get_or_insert_with(HashMap::new);
            match known.get(&key).and_then(Weak::upgrade) {
                Some(cell) => cell,
                None => {
                    let cell = Arc::new(OnceCell::new());
                    known.insert(key, Arc::downgrade(&cell));
                    cell
                }
            }
        };
        let backend = cell.get_or_try_init(|| open(&self.config)).await?.clone();
        *locked(&self.store) = Some(cell);
        Ok(backend)
    }

    /// Lets go of the engine. What runs on it ends first; the next call opens it anew.
    pub(crate) async fn close(&self) -> Result<()> {
        let cell = std::mem::take(&mut *locked(&self.core));
        self.new_handlers.store(true, Ordering::SeqCst);
        self.workers.stop_all().await;
        if let Some(core) = cell.get() {
            core.keys().flush().await?;
        }
        drop(locked(&self.store).take());
        Ok(())
    }
}

async fn open(config: &Config) -> Result<Backend> {
    if config.url.is_empty() {
        return Err(Error::new(ErrorKind::Config, "store.bad_url", "the engine has no address")
            .hint("give it a url like sqlite://levqor.db"));
    }
    let (url, redis) = (config.url.clone(), config.redis.clone());
    let here = tokio::runtime::Handle::current();
    // On a thread of its own, since opening a file waits for the disk.
    let opened = tokio::task::spawn_blocking(move || here.block_on(levqor::open_backend(&url, redis.as_deref())));
    opened
        .await
        .map_err(|e| Error::internal(format!("opening the store died: {e}")))?
}
