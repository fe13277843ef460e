//! The engine's threads, one set per process, and waiting for them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::error::raise;
use crate::fork::PerProcess;
use levqor::error::{Error, Result};

/// How often a call that blocks looks whether Ctrl-C was pressed.
const SIGNALS: Duration = Duration::from_millis(50);

static RUNTIME: PerProcess<Runtime> = PerProcess::new();

/// The runtime of this process; made when it is first asked for. It is never stopped: its threads wait for
/// work, and those of a parent are left to the parent.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    RUNTIME.get(|| {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4));
        Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(256)
            .thread_name("levqor")
            .enable_all()
            .build()
            .map_err(|e| Error::unavailable("python.no_runtime", format!("no threads can be started: {e}")))
    })
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
