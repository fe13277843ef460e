//! What must not be shared with a forked child.
//!
//! Threads, sockets and locks do not survive `fork`. A counter grows in every child; whatever holds such
//! things remembers the count under which it was made, and is neither used nor dropped under another one.

use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(1);

/// How many forks lie between the first process and this one, from 1. Costs one load.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Begins to count, by every way to fork that goes through the C library.
#[allow(unsafe_code)]
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler does nothing but add to an atomic, which is allowed in a forked child, and this
        // library is never unloaded by Python.
        #[cfg(unix)]
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        #[cfg(not(unix))]
        let _ = in_child;
    });
}

/// Something of one process. In a forked child it is left alone: dropping it there would close what is the
/// parent's, or wait for threads that are not there.
pub(crate) struct Born<T> {
    value: ManuallyDrop<T>,
    generation: u32,
}

impl<T> Born<T> {
    pub(crate) fn new(value: T) -> Self {
        Born {
            value: ManuallyDrop::new(value),
            generation: generation(),
        }
    }

    /// The value, unless it is another process's.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        (self.generation == generation()).then_some(&*self.value)
    }
}

impl Born<pyo3::Py<pyo3::PyAny>> {
    /// Something of Python's, which goes over a fork; only the engine's things do not.
    pub(crate) fn lasting(value: pyo3::Py<pyo3::PyAny>) -> Self {
        Born::new(value)
    }

    /// The object, in whatever process.
    pub(crate) fn any(&self) -> &pyo3::Py<pyo3::PyAny> {
        &self.value
    }
}

impl<T> Drop for Born<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.generation == generation() {
            // SAFETY: the value is dropped here only, and nobody can use it after this.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

impl<T> Born<T> {
    /// The value by itself, unless it is another process's; that one is left alone.
    #[allow(unsafe_code)]
    pub(crate) fn into_inner(self) -> Option<T> {
        let mut this = ManuallyDrop::new(self);
        if this.generation != generation() {
            return None;
        }
        // SAFETY: `this` is never dropped, so the value is taken once.
        Some(unsafe { ManuallyDrop::take(&mut this.value) })
    }
}

/// Something that every process has anew, made when it is first asked for. Reading it takes no lock, since a lock
/// that another thread holds while the process is forked is never given back in the child.
pub(crate) struct PerProcess<T>(AtomicPtr<Born<T>>);

impl<T: Send + 'static> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The value of this process.
    #[allow(unsafe_code)]
    pub(crate) fn get<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let known = self.0.load(Ordering::Acquire);
        // SAFETY: what is stored there is leaked and never freed.
        if let Some(value) = unsafe { known.as_ref() }.and_then(Born::get) {
            return Ok(value);
        }
        let made = Box::into_raw(Box::new(Born::new(make()?)));
        let stored = match self.0.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: it was made above and nobody else has seen it.
                let lost = unsafe { Box::from_raw(made) };
                // Not here: a runtime may not be dropped by one of its own threads.
                std::thread::spawn(move || drop(lost));
                other
            }
        };
        // SAFETY: what is stored there is leaked and never freed; it is of this process, since no fork lies between.
        Ok(unsafe { &(*stored).value })
    }
}

/// Something that changes rarely, is read without a lock, and goes over a fork. What it was before is never freed.
pub(crate) struct Snapshot<T>(AtomicPtr<T>);

impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Snapshot(AtomicPtr::new(Box::into_raw(Box::new(value))))
    }

    #[allow(unsafe_code)]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: what is stored there is leaked and never freed.
        unsafe { &*self.0.load(Ordering::Acquire) }
    }

    pub(crate) fn set(&self, value: T) {
        self.0.store(Box::into_raw(Box::new(value)), Ordering::Release);
    }
}

impl<T> Drop for PerProcess<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let last = *self.0.get_mut();
        if !last.is_null() {
            // SAFETY: it was made by `Box::into_raw`, and nobody can borrow from what is being dropped. What is
            // another process's is left alone by `Born`.
            drop(unsafe { Box::from_raw(last) });
        }
    }
}

impl<T> Drop for Snapshot<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it was made by `Box::into_raw`, and nobody can borrow from what is being dropped.
        drop(unsafe { Box::from_raw(*self.0.get_mut()) });
    }
}
