//! One limit made ready for many keys: the fast way to ask from Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use levqor::limits::{Ask, OneLimit, Quota};
use levqor::types::{Millis, Tenant};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bridge::{Ready, future_of};
use crate::convert::text_of;
use crate::decision::{Decision, Named};
use crate::engine::Shared;
use crate::error::raise;
use crate::fork::generation;
use crate::runtime::wait;
use crate::verbs::Answer;

/// The limit as the engine of now has it.
struct Prepared {
    generation: u32,
    epoch: u32,
    /// `None` where limits have to be waited for.
    one: Option<Arc<dyn OneLimit>>,
    /// The engine's clock minus the machine's. `None` if the engine's clock is moved by hand.
    offset: Millis,
    manual: Option<levqor::engine::Engine>,
}

/// One limit made ready for many keys.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Limiter {
    shared: Arc<Shared>,
    tenant: Option<Tenant>,
    named: Arc<Named>,
    prepared: AtomicPtr<Prepared>,
}

enum Key<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Key<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Key::Text(text) => text.as_bytes(),
            Key::Bytes(bytes) => bytes,
        }
    }
}

#[inline]
fn key_of<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<Key<'a>> {
    if let Ok(text) = key.cast::<PyString>() {
        return text_of(text).map(Key::Text).map_err(|e| raise(key.py(), &e.at("key")));
    }
    match key.cast::<PyBytes>() {
        Ok(bytes) => Ok(Key::Bytes(bytes.as_bytes())),
        Err(_) => Err(raise(
            key.py(),
            &Error::invalid("argument.invalid", "a key is a text or bytes").at("key"),
        )),
    }
}

impl Limiter {
    pub(crate) fn new(shared: Arc<Shared>, tenant: Option<Tenant>, name: &str, quota: Quota) -> Result<Self> {
        quota.check()?;
        if !(1..=64).contains(&name.len()) || !name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            let e = Error::invalid(
                "limits.invalid_name",
                "the name of a limit has 1 to 64 printable ASCII characters",
            );
            return Err(e.at("name"));
        }
        Ok(Limiter {
            shared,
            tenant,
            named: Arc::new(Named {
                name: name.into(),
                quota,
            }),
            prepared: AtomicPtr::new(std::ptr::null_mut()),
        })
    }

    /// The prepared limit, if it is still the engine's.
    #[inline]
    #[allow(unsafe_code)]
    fn ready(&self) -> Option<&Prepared> {
        // SAFETY: what is stored there is leaked and never freed.
        let prepared = unsafe { self.prepared.load(Ordering::Acquire).as_ref() }?;
        (prepared.generation == generation() && prepared.epoch == self.shared.epoch()).then_some(prepared)
    }

    #[cold]
    #[inline(never)]
    #[allow(unsafe_code)]
    fn prepare(&self, py: Python<'_>) -> PyResult<&Prepared> {
        let shared = self.shared.clone();
        let epoch = shared.epoch();
        let core = match shared.opened() {
            Some(core) => core,
            None => wait(py, shared.open())?.map_err(|e| raise(py, &e))?,
        };
        let tenant = self.tenant.as_ref().unwrap_or_else(|| core.tenant_name());
        let one = core
            .backend()
            .limits
            .prepare(tenant, &self.named.name, self.named.quota)
            .map_err(|e| raise(py, &e))?;
        let manual = self.shared.has_own_clock().then(|| core.clone());
        let prepared = Box::into_raw(Box::new(Prepared {
            generation: generation(),
            epoch,
            one,
            offset: core.now() - SystemClock::machine(),
            manual,
        }));
        // The one before stays where it is: it is rare, small, and another thread may be using it.
        self.prepared.store(prepared, Ordering::Release);
        // SAFETY: it was leaked above.
        Ok(unsafe { &*prepared })
    }

    fn ask(&self, key: &[u8], cost: u32) -> impl Future<Output = Result<Answer>> + Send + 'static {
        let (shared, tenant) = (self.shared.clone(), self.tenant.clone());
        let ask = Ask::new(self.named.name.clone(), key, self.named.quota).cost(cost);
        async move {
            let core = shared.open().await?;
            let core = match tenant {
                Some(tenant) => core.tenant(tenant.as_str())?,
                None => core,
            };
            Ok(Answer::decision(core.limit(&[ask]).await?))
        }
    }

    #[inline]
    fn now(&self, prepared: &Prepared, key: &[u8], cost: u32) -> Option<Decision> {
        let one = prepared.one.as_ref()?;
        let at = match &prepared.manual {
            None => Millis(SystemClock::coarse().0 + prepared.offset.0),
            Some(core) => core.now(),
        };
        Some(Decision::one(one.take(key, cost, at), at, self.named.clone()))
    }
}

impl Drop for Limiter {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let last = *self.prepared.get_mut();
        // SAFETY: it was made by `Box::into_raw`, and nobody can borrow from what is being dropped. A parent's is left
        // alone.
        if unsafe { last.as_ref() }.is_some_and(|p| p.generation == generation()) {
            drop(unsafe { Box::from_raw(last) });
        }
    }
}

#[pymethods]
impl Limiter {
    /// Takes for a key. Waits for nothing if limits lie in memory or in shared memory.
    #[pyo3(signature = (key, cost=1))]
    fn take<'py>(&self, key: &Bound<'py, PyAny>, cost: u32) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let prepared = match self.ready() {
            Some(prepared) => prepared,
            None => self.prepare(py)?,
        };
        let key = key_of(key)?;
        if let Some(decision) = self.now(prepared, key.bytes(), cost) {
            return Ok(Bound::new(py, decision)?.into_any());
        }
        wait(py, self.ask(key.bytes(), cost))?
            .map_err(|e| raise(py, &e))?
            .into_python(py)
    }

    /// The same to be awaited.
    #[pyo3(signature = (key, cost=1))]
    fn atake<'py>(&self, key: &Bound<'py, PyAny>, cost: u32) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let key = key_of(key)?;
        if let Some(prepared) = self.ready()
            && let Some(decision) = self.now(prepared, key.bytes(), cost)
        {
            return Ok(Bound::new(py, Ready::new(Bound::new(py, decision)?.into_any().unbind()))?.into_any());
        }
        if self.ready().is_none() && self.shared.opened().is_some() {
            self.prepare(py)?;
        }
        future_of(py, self.ask(key.bytes(), cost), None)
    }

    /// The limit's name.
    #[getter]
    fn name(&self) -> &str {
        &self.named.name
    }

    /// Its quota.
    #[getter]
    fn quota(&self) -> String {
        self.named.quota.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Limiter {} {}>", self.named.name, self.named.quota)
    }
}
