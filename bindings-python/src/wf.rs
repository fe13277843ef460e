//! Handlers that are written in Python, and what they work with.
//!
//! A handler runs on a thread of its own and may block; its job's lease is kept meanwhile by the engine, which needs
//! no Python for that.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use levqor::engine::{After, Begun, Handler, HandlerOptions, StepOptions, Ticket as CoreTicket, Wf as Core};
use levqor::error::{Error, Result};
use levqor::jobs::retry::RetryPolicy;
use levqor::types::MicroCredits;
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::convert::{to_json, to_python};
use crate::error::{absorb, raise};
use crate::fork::Born;
use crate::runtime::wait;
use crate::verbs::{Amount, Span, read};

/// How often and how long something is tried again.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    attempts: Option<u32>,
    initial: Option<Span>,
    max: Option<Span>,
    timeout: Option<Span>,
    #[serde(default)]
    at_most_once: bool,
}

impl Retry {
    fn policy(&self, or: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.attempts.unwrap_or(or.max_attempts),
            initial: self.initial.map_or(or.initial, |s| s.0),
            max: self.max.map_or(or.max, |s| s.0),
            ..or
        }
    }

    pub(crate) fn handler(&self) -> HandlerOptions {
        let mut options = HandlerOptions::default();
        options.retry = self.policy(options.retry);
        options.timeout = self.timeout.map(|s| s.0);
        options
    }

    fn step(&self) -> StepOptions {
        let mut options = StepOptions::default();
        if let Some(attempts) = self.attempts {
            let more = RetryPolicy {
                max_attempts: attempts,
                ..RetryPolicy::default()
            };
            options.retry = self.policy(more);
        }
        options.timeout = self.timeout.map(|s| s.0);
        options.at_most_once = self.at_most_once;
        options
    }
}

/// A handler that is written in Python: a function of the context and the input.
#[derive(Clone)]
pub(crate) struct HostHandler {
    pub(crate) name: String,
    pub(crate) retry: Retry,
    function: Arc<Born<Py<PyAny>>>,
}

impl HostHandler {
    pub(crate) fn new(name: String, retry: Retry, function: Py<PyAny>) -> Self {
        HostHandler {
            name,
            retry,
            function: Arc::new(Born::lasting(function)),
        }
    }
}

#[async_trait]
impl Handler for HostHandler {
    async fn run(&self, wf: &Core, input: Value) -> Result<Value> {
        let (function, wf) = (self.function.clone(), wf.clone());
        let done = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| {
                let failed = |e: PyErr| absorb(py, &e, "job.raised");
                let context = Bound::new(py, Wf(Born::new(wf))).map_err(failed)?;
                let input = to_python(py, &input).map_err(failed)?;
                let answer = function.any().bind(py).call1((context, input)).map_err(failed)?;
                to_json(&answer)
                    .map_err(|e| Error::invalid("job.bad_result", e.to_string()).hint("give back plain data, or nothing"))
            })
        });
        match done.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(Error::unavailable("python.gone", "the Python interpreter is being shut down")),
            Err(e) => Err(Error::internal(format!("a handler died: {e}"))),
        }
    }
}

/// The context of a job.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Wf(Born<Core>);

/// A step that is being made.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Ticket(Mutex<Option<CoreTicket>>, String);

impl Wf {
    fn core(&self, py: Python<'_>) -> PyResult<&Core> {
        self.0
            .get()
            .ok_or_else(|| raise(py, &Error::conflict("job.stopped", "the job is the parent process's")))
    }
}

fn span(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Span> {
    to_json(value).and_then(|v| read(v, "span", "")).map_err(|e| raise(py, &e))
}

#[pymethods]
impl Wf {
    /// The job's id.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.core(py)?.id().to_string())
    }

    /// Which attempt this is, from 1.
    #[getter]
    fn attempt(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.core(py)?.attempt())
    }

    /// Attempts that the job has.
    #[getter]
    fn max_attempts(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.core(py)?.max_attempts())
    }

    /// The handler's name.
    #[getter]
    fn handler(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.core(py)?.handler().to_owned())
    }

    /// The queue.
    #[getter]
    fn queue(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.core(py)?.queue().to_owned())
    }

    /// Who pays.
    #[getter]
    fn account(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.core(py)?.account().map(str::to_owned))
    }

    /// Whose job it is.
    #[getter]
    fn tenant(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.core(py)?.tenant().as_str().to_owned())
    }

    /// The batch that this job follows.
    #[getter]
    fn follows(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.core(py)?.follows().map(|id| id.to_string()))
    }

    /// Whether the job was called off, or its lease is lost.
    #[getter]
    fn stopped(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.core(py)?.stopped())
    }

    /// Begins a step: what it came to when it was made before, or a ticket to make it.
    fn begin<'py>(&self, py: Python<'py>, name: &str, options: &Bound<'py, PyAny>) -> PyResult<(bool, Bound<'py, PyAny>)> {
        let options = to_json(options)
            .and_then(|o| read::<Retry>(o, "options", ""))
            .map_err(|e| raise(py, &e))?;
        let core = self.core(py)?;
        match wait(py, core.begin(name, options.step()))?.map_err(|e| raise(py, &e))? {
            Begun::Done(value) => Ok((true, to_python(py, &value)?)),
            Begun::Go(ticket) => {
                let key = ticket.idempotency_key(core);
                Ok((false, Bound::new(py, Ticket(Mutex::new(Some(ticket)), key))?.into_any()))
            }
        }
    }

    /// Says how a step ended: its value, or the exception. Gives the value, or a ticket and the seconds until it is to
    /// be made again.
    fn end<'py>(
        &self,
        py: Python<'py>,
        ticket: &Bound<'py, Ticket>,
        value: &Bound<'py, PyAny>,
        raised: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Option<f64>)> {
        let held = ticket.get().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let held = held.ok_or_else(|| raise(py, &Error::conflict("job.step_ended", "the step has ended already")))?;
        let outcome = match raised {
            Some(raised) => Err(absorb(py, &PyErr::from_value(raised), "job.step_raised")),
            None => to_json(value),
        };
        match wait(py, self.core(py)?.end(held, outcome))?.map_err(|e| raise(py, &e))? {
            After::Done(value) => Ok((to_python(py, &value)?, None)),
            After::Again(again, left) => {
                let again = Ticket(Mutex::new(Some(again)), ticket.get().1.clone());
                Ok((Bound::new(py, again)?.into_any(), Some(left.to_duration().as_secs_f64())))
            }
        }
    }

    /// Waits so long; a longer wait outlives the process.
    fn sleep(&self, py: Python<'_>, name: &str, span_: &Bound<'_, PyAny>) -> PyResult<()> {
        let span = span(py, span_)?;
        wait(py, self.core(py)?.sleep(name, span.0))?.map_err(|e| raise(py, &e))
    }

    /// Waits for a signal, at most so long; `None` if none came.
    fn signal<'py>(&self, py: Python<'py>, name: &str, at_most: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let span = span(py, at_most)?;
        let value = wait(py, self.core(py)?.signal(name, span.0))?.map_err(|e| raise(py, &e))?;
        value.map(|v| to_python(py, &v)).transpose()
    }

    /// Says how far the job is.
    fn progress(&self, py: Python<'_>, progress: &Bound<'_, PyAny>) -> PyResult<()> {
        let progress = to_json(progress).map_err(|e| raise(py, &e))?;
        wait(py, self.core(py)?.progress(&progress))?.map_err(|e| raise(py, &e))
    }

    /// How much of the job's hold is due when it ends well.
    fn capture(&self, py: Python<'_>, amount: &Bound<'_, PyAny>) -> PyResult<()> {
        let amount: Result<Amount> = to_json(amount).and_then(|v| read(v, "amount", "Amount"));
        let MicroCredits(micro) = amount.map_err(|e| raise(py, &e))?.0;
        self.core(py)?.capture(MicroCredits(micro));
        Ok(())
    }

    /// Puts the job away until later, without using up an attempt: raises what has to be let through.
    fn snooze(&self, py: Python<'_>, span_: &Bound<'_, PyAny>) -> PyResult<()> {
        let span = span(py, span_)?;
        Err(raise(py, &self.core(py)?.snooze(span.0)))
    }
}

#[pymethods]
impl Ticket {
    /// 43 characters that are equal for every attempt at this step of this job.
    #[getter]
    fn idempotency_key(&self) -> &str {
        &self.1
    }
}
