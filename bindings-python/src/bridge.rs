//! How answers come back to asyncio, and log lines to `logging`: one thread per process, which takes
//! everything that has gathered while it was away and hands it over at once.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use levqor::error::Result;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::task::AbortHandle;

use crate::error::raise;
use crate::fork::PerProcess;
use crate::logs::{self, Line};
use crate::verbs::Answer;

/// An answer and who waits for it.
pub(crate) struct Done {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
    convert: Option<Py<PyAny>>,
    outcome: Result<Answer>,
}

enum Item {
    Done(Box<Done>),
    Line(Line),
}

#[derive(Default)]
struct Completer {
    queue: Mutex<Vec<Item>>,
    ready: Condvar,
    /// Items that were taken in, and that were handed over.
    taken: AtomicU64,
    given: AtomicU64,
}

static COMPLETER: PerProcess<Arc<Completer>> = PerProcess::new();

/// The completer of this process; made with its thread when it is first needed.
fn completer() -> &'static Completer {
    let made = COMPLETER.get(|| {
        let made = Arc::new(Completer::default());
        let its = made.clone();
        // A system without threads has no runtime either, and nothing comes to be completed.
        let _ = std::thread::Builder::new().name("levqor-py".into()).spawn(move || its.work());
        Ok::<_, Infallible>(made)
    });
    match made {
        Ok(completer) => completer,
        Err(never) => match never {},
    }
}

fn push(item: Item) {
    let completer = completer();
    let mut queue = completer.queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.push(item);
    completer.taken.fetch_add(1, Ordering::Relaxed);
    if queue.len() == 1 {
        completer.ready.notify_one();
    }
}

/// A log line, from any thread.
pub(crate) fn line(line: Line) {
    push(Item::Line(line));
}

impl Completer {
    fn work(&self) {
        loop {
            let items = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                while queue.is_empty() {
                    queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::take(&mut *queue)
            };
            let count = items.len() as u64;
            let mut kept = Some(items);
            let alive = Python::try_attach(|py| {
                for_all(py, kept.take().unwrap_or_default());
            });
            if alive.is_none() {
                // The interpreter ends: nobody waits any more, and nothing of Python may be touched.
                std::mem::forget(kept);
                return;
            }
            self.given.fetch_add(count, Ordering::Release);
        }
    }
}

fn for_all(py: Python<'_>, items: Vec<Item>) {
    let mut batch: Vec<Done> = Vec::new();
    for item in items {
        match item {
            Item::Line(line) => logs::emit(py, &line),
            Item::Done(done) => {
                if batch.last().is_some_and(|last| !last.event_loop.is(&done.event_loop)) {
                    hand_over(py, std::mem::take(&mut batch));
                }
                batch.push(*done);
            }
        }
    }
    hand_over(py, batch);
}

/// Wakes an event loop once for all answers that are for it.
fn hand_over(py: Python<'_>, batch: Vec<Done>) {
    let Some(first) = batch.first() else { return };
    let event_loop = first.event_loop.clone_ref(py);
    let Ok(batch) = Bound::new(py, Batch(Mutex::new(batch))) else {
        return;
    };
    // A loop that was closed has nobody left who waits.
    drop(event_loop.call_method1(py, "call_soon_threadsafe", (batch,)));
}

/// Answers for one event loop, to be called there.
#[pyclass(frozen, module = "levqor._native")]
struct Batch(Mutex<Vec<Done>>);

#[pymethods]
impl Batch {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let batch = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for done in batch {
            let future = done.future.bind(py);
            if future.call_method0("done")?.is_truthy()? {
                continue;
            }
            let answer = done.outcome.map_err(|e| raise(py, &e));
            match answer.and_then(|answer| finish(py, answer, done.convert.as_ref())) {
                Ok(value) => future.call_method1("set_result", (value,))?,
                Err(e) => future.call_method1("set_exception", (e.into_value(py),))?,
            };
        }
        Ok(())
    }
}

/// An answer as Python gets it.
pub(crate) fn finish<'py>(py: Python<'py>, answer: Answer, convert: Option<&Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let value = answer.into_python(py)?;
    match convert {
        Some(convert) => convert.bind(py).call1((value,)),
        None => Ok(value),
    }
}

/// Calls the work off when the future that waits for it is cancelled.
#[pyclass(frozen, module = "levqor._native")]
struct CallOff(AbortHandle);

#[pymethods]
impl CallOff {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            self.0.abort();
        }
        Ok(())
    }
}

/// Something to await that is there already.
#[pyclass(frozen, module = "levqor._native", freelist = 64)]
pub(crate) struct Ready(Mutex<Option<Py<PyAny>>>);

impl Ready {
    pub(crate) fn new(value: Py<PyAny>) -> Self {
        Ready(Mutex::new(Some(value)))
    }
}

#[pymethods]
impl Ready {
    fn __await__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__(&self) -> PyResult<Option<Py<PyAny>>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(value) => Err(PyStopIteration::new_err((value,))),
            None => Ok(None),
        }
    }
}

/// A future of the running event loop for work that was begun on the runtime.
pub(crate) fn future_of<F>(py: Python<'_>, work: F, convert: Option<Py<PyAny>>) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = Result<Answer>> + Send + 'static,
{
    static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let runtime = crate::runtime::runtime().map_err(|e| raise(py, &e))?;
    let event_loop = RUNNING.import(py, "asyncio", "get_running_loop")?.call0()?;
    let future = event_loop.call_method0("create_future")?;
    let (waiting, its_loop) = (future.clone().unbind(), event_loop.unbind());
    let task = runtime.spawn(async move {
        let outcome = work.await;
        push(Item::Done(Box::new(Done {
            event_loop: its_loop,
            future: waiting,
            convert,
            outcome,
        })));
    });
    future.call_method1("add_done_callback", (CallOff(task.abort_handle()),))?;
    Ok(future)
}

/// Waits until log lines that were written have reached `logging`, at most so long.
pub(crate) fn flush(py: Python<'_>, at_most: Duration) {
    let end = std::time::Instant::now() + at_most;
    let completer = completer();
    let all = completer.taken.load(Ordering::Relaxed);
    py.detach(|| {
        while completer.given.load(Ordering::Acquire) < all && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
