//! The engine's threads, one set per process, and waiting for them.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::error::raise;
use crate::fork::Born;
use levqor::error::{Error, Result};

/// How often a call that blocks looks whether Ctrl-C was pressed.
const SIGNALS: Duration = Duration::from_millis(50);

static RUNTIME: AtomicPtr<Born<Runtime>> = AtomicPtr::new(std::ptr::null_mut());

/// The runtime of this process; made when it is first asked for. It is never stopped: its threads wait for
/// work, and those of a parent are left to the parent.
#[allow(unsafe_code)]
pub(crate) fn runtime() -> Result<&'static Runtime> {
    loop {
        let known = RUNTIME.load(Ordering::Acquire);
        // SAFETY: what is stored there is leaked and never freed.
        if let Some(runtime) = unsafe { known.as_ref() }.and_then(Born::get) {
            return Ok(runtime);
        }
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4));
        let made = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(256)
            .thread_name("levqor")
            .enable_all()
            .build()
            .map_err(|e| Error::unavailable("python.no_runtime", format!("no threads can be started: {e}")))?;
        let made = Box::into_raw(Box::new(Born::new(made)));
        if RUNTIME
            .compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: it was made above and nobody else has seen it.
            let lost = unsafe { Box::from_raw(made) };
            std::thread::spawn(move || drop(lost));
        }
    }
}

/// Polls once. What needs no waiting is done then.
pub(crate) fn first<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for a future while other Python threads go on; Ctrl-C ends the wait, and with it the future.
pub(crate) fn wait<F>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let runtime = runtime().map_err(|e| raise(py, &e))?;
    let mut future = pin!(future);
    loop {
        let next = py.detach(|| {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    done = &mut future => Some(done),
                    () = tokio::time::sleep(SIGNALS) => None,
                }
            })
        });
        match next {
            Some(done) => return Ok(done),
            None => py.check_signals()?,
        }
    }
}
