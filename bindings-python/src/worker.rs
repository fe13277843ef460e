//! A worker on the engine's threads, and what happens to runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levqor::engine::{Engine as Core, RunEvent, WorkerReport};
use levqor::error::{Error, Result};
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

use crate::bridge::future_of;
use crate::convert::to_python;
use crate::engine::Shared;
use crate::error::raise;
use crate::fork::Born;
use crate::runtime::{runtime, wait};
use crate::verbs::{Answer, Span};

/// How a worker works.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    queues: Option<Vec<String>>,
    concurrency: Option<usize>,
    lease: Option<Span>,
    grace: Option<Span>,
    poll: Option<Span>,
    schedules: Option<bool>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<WorkerReport>>,
}

/// Takes jobs and does them, on threads of the engine.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    options: Options,
    running: Mutex<Option<Born<Running>>>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, options: Options) -> Self {
        Worker {
            shared,
            options,
            running: Mutex::default(),
        }
    }

    fn core(&self, engine: &Core) -> levqor::engine::Worker {
        let o = &self.options;
        let mut worker = engine.worker();
        if let Some(queues) = &o.queues {
            worker = worker.queues(queues.iter().map(String::as_str));
        }
        if let Some(n) = o.concurrency {
            worker = worker.concurrency(n);
        }
        if let Some(lease) = o.lease {
            worker = worker.lease(lease.0);
        }
        if let Some(grace) = o.grace {
            worker = worker.grace(grace.0.to_duration());
        }
        if let Some(poll) = o.poll {
            worker = worker.poll(poll.0.to_duration());
        }
        if let Some(fire) = o.schedules {
            worker = worker.schedules(fire);
        }
        worker
    }

    fn take(&self) -> Option<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.and_then(Born::into_inner)
    }
}

async fn ended(running: Running) -> Result<WorkerReport> {
    drop(running.stop);
    running
        .ended
        .await
        .map_err(|e| Error::internal(format!("the worker died: {e}")))?
}

#[pymethods]
impl Worker {
    /// Begins to work. A second time does nothing.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_running() {
            return Ok(());
        }
        let engine = wait(py, self.shared.open())?.map_err(|e| raise(py, &e))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = self.core(&engine);
        drop(engine);
        let runtime = runtime().map_err(|e| raise(py, &e))?;
        let ended = runtime.spawn(worker.run(async {
            // Sent or dropped: both mean stop.
            let _ = stopped.await;
        }));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Born::new(Running { stop, ended }));
        Ok(())
    }

    /// Takes nothing more, lets what runs come to its end within the grace, gives the rest back, and says what was
    /// done; `None` if it did not work.
    fn stop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(running) = self.take() else { return Ok(None) };
        let report = wait(py, ended(running))?.map_err(|e| raise(py, &e))?;
        let report = serde_json::to_value(&report).unwrap_or(Value::Null);
        to_python(py, &report).map(Some)
    }

    /// Whether it works. One that has ended by a fault does not.
    #[getter]
    fn is_running(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().and_then(Born::get).is_some_and(|r| !r.ended.is_finished())
    }

    /// Works until nothing is left that is due.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let report = wait(py, self.drained())?.map_err(|e| raise(py, &e))?;
        report.into_python(py)
    }

    /// The same to be awaited.
    fn adrain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        future_of(py, self.drained(), None)
    }
}

impl Worker {
    fn drained(&self) -> impl Future<Output = Result<Answer>> + Send + 'static {
        let shared = self.shared.clone();
        let options = Worker::new(shared, self.options.clone());
        async move {
            let engine = options.shared.open().await?;
            let report = options.core(&engine).drain().await?;
            Answer::json(&report)
        }
    }
}

/// What happens to runs in this process, from its making on.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Events(Arc<Mutex<Option<broadcast::Receiver<RunEvent>>>>);

impl Events {
    pub(crate) fn new(events: broadcast::Receiver<RunEvent>) -> Self {
        Events(Arc::new(Mutex::new(Some(events))))
    }

    fn next_one(&self, at_most: Option<f64>) -> impl Future<Output = Result<Answer>> + Send + 'static {
        let shared = self.0.clone();
        let span = at_most.filter(|s| (0.0..1e9).contains(s)).map(Duration::from_secs_f64);
        async move {
            let taken = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut events = taken.ok_or_else(|| Error::conflict("events.busy", "somebody waits for these events already"))?;
            let next = async {
                loop {
                    match events.recv().await {
                        Ok(event) => return Some(event),
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            };
            let event = match span {
                Some(span) => tokio::time::timeout(span, next).await.unwrap_or(None),
                None => next.await,
            };
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
            Answer::json(&event)
        }
    }
}

#[pymethods]
impl Events {
    /// The next event; `None` if none came within so many seconds, or none will come any more.
    #[pyo3(signature = (at_most=None))]
    fn next<'py>(&self, py: Python<'py>, at_most: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        wait(py, self.next_one(at_most))?.map_err(|e| raise(py, &e))?.into_python(py)
    }

    /// The same to be awaited.
    #[pyo3(signature = (at_most=None))]
    fn anext<'py>(&self, py: Python<'py>, at_most: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        future_of(py, self.next_one(at_most), None)
    }
}
