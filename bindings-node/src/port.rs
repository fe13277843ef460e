//! Ports: the way from the engine's threads to a thread of JavaScript.
//!
//! What happens is collected; one call into JavaScript delivers all that came since the last, so that a hundred
//! answers cost one change of threads. A port keeps no process alive: JavaScript does so itself while it waits.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures_util::FutureExt;
use levqor::error::{Error, Result};
use napi::Status;
use napi::bindgen_prelude::{Env, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error::told;
use crate::runtime::runtime;

/// Work under way; its answer is JSON text.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<String>> + Send>>;

type Deliver = ThreadsafeFunction<(), (), String, Status, false, true, 0>;

/// The port of one thread of JavaScript.
pub(crate) struct Port {
    outbox: Arc<Outbox>,
    deliver: Deliver,
    next: AtomicU32,
    under_way: Mutex<HashMap<u32, AbortHandle>>,
    asked: Mutex<HashMap<u32, oneshot::Sender<Result<Value>>>>,
}

#[derive(Default)]
struct Outbox {
    messages: Mutex<Vec<String>>,
    /// Whether somebody is on the way to collect them.
    called: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By number. A place is given anew once its thread has ended.
static PORTS: RwLock<Vec<Option<Arc<Port>>>> = RwLock::new(Vec::new());

/// Makes the port of this thread.
pub(crate) fn attach(env: Env, deliver: &Function<'_, String, ()>) -> napi::Result<u32> {
    let outbox = Arc::new(Outbox::default());
    let box_of_it = outbox.clone();
    let deliver: Deliver = deliver
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .build_callback(move |_| {
            // What comes from here on calls again.
            box_of_it.called.store(false, Ordering::SeqCst);
            let messages = std::mem::take(&mut *locked(&box_of_it.messages));
            Ok(format!("[{}]", messages.join(",")))
        })?;
    let port = Arc::new(Port {
        outbox,
        deliver,
        next: AtomicU32::new(1),
        under_way: Mutex::default(),
        asked: Mutex::default(),
    });
    let mut ports = PORTS.write().unwrap_or_else(PoisonError::into_inner);
    let place = ports.iter().position(Option::is_none).unwrap_or(ports.len());
    if place == ports.len() {
        ports.push(Some(port));
    } else {
        ports[place] = Some(port);
    }
    drop(ports);
    env.add_env_cleanup_hook(place, detach)?;
    u32::try_from(place).map_err(|_| napi::Error::from_reason("too many threads"))
}

/// The thread ends: what it waited for is given up, and whoever waits for it is told.
fn detach(place: usize) {
    let mut ports = PORTS.write().unwrap_or_else(PoisonError::into_inner);
    let port = ports.get_mut(place).and_then(Option::take);
    drop(ports);
    if let Some(port) = port {
        locked(&port.under_way).drain().for_each(|(_, work)| work.abort());
        locked(&port.asked).clear();
    }
}

/// The port of a number.
pub(crate) fn get(number: u32) -> Result<Arc<Port>> {
    let ports = PORTS.read().unwrap_or_else(PoisonError::into_inner);
    let port = usize::try_from(number).ok().and_then(|n| ports.get(n).cloned().flatten());
    port.ok_or_else(gone)
}

/// The error of a call whose thread has ended.
pub(crate) fn gone() -> Error {
    Error::unavailable("node.thread_gone", "the thread that this function belongs to has ended")
}

impl Port {
    fn id(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends one message, JSON text, with the next delivery.
    pub(crate) fn send(&self, message: String) {
        locked(&self.outbox.messages).push(message);
        if !self.outbox.called.swap(true, Ordering::SeqCst) {
            // A thread that is ending takes nothing any more.
            let _ = self.deliver.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Carries work out and delivers what comes of it.
    pub(crate) fn spawn(self: &Arc<Self>, work: Work, can_cancel: bool) -> u32 {
        let id = self.id();
        let port = self.clone();
        let task = async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err(Error::internal("a verb panicked")));
            if can_cancel {
                locked(&port.under_way).remove(&id);
            }
            port.send(match outcome {
                Ok(text) => format!("[{id},1,{text}]"),
                Err(e) => format!("[{id},0,{}]", told(&e)),
            });
        };
        let Ok(runtime) = runtime() else { return id };
        if can_cancel {
            // Held meanwhile, so that work that ends at once finds itself here.
            let mut under_way = locked(&self.under_way);
            under_way.insert(id, runtime.spawn(task).abort_handle());
        } else {
            drop(runtime.spawn(task));
        }
        id
    }

    /// Gives work up.
    pub(crate) fn cancel(&self, id: u32) {
        if let Some(work) = locked(&self.under_way).remove(&id) {
            work.abort();
        }
    }

    /// Calls a function of this thread and waits for its answer.
    pub(crate) async fn ask(&self, function: u32, argument: &Value) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        let id = self.id();
        locked(&self.asked).insert(id, answer);
        self.send(format!("[\"call\",{id},{function},{argument}]"));
        let waiting = Waiting { port: self, id };
        let outcome = answered.await.unwrap_or_else(|_| Err(gone()));
        drop(waiting);
        outcome
    }

    /// The answer to [`ask`](Port::ask).
    pub(crate) fn replied(&self, id: u32, ok: bool, text: &str) {
        let Some(answer) = locked(&self.asked).remove(&id) else {
            return;
        };
        let value = serde_json::from_str(text).unwrap_or(Value::Null);
        let outcome = if ok { Ok(value) } else { Err(Error::from_json(&value)) };
        // Whoever asked may have given up.
        let _ = answer.send(outcome);
    }
}

/// Tells JavaScript that nobody waits for an answer any more.
struct Waiting<'a> {
    port: &'a Port,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if locked(&self.port.asked).remove(&self.id).is_some() {
            self.port.send(format!("[\"stop\",{}]", self.id));
        }
    }
}
