//! What must not be shared with a forked child.
//!
//! Threads, sockets and locks do not survive `fork`. A counter grows in every child; whatever holds such
//! things remembers the count under which it was made, and is neither used nor dropped under another one.

use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

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
