//! A place among the calls in flight.

use std::sync::{Mutex, PoisonError};

use levqor::engine::Permit as Core;
use pyo3::prelude::*;

use crate::decision::Decision;
use crate::error::raise;
use crate::fork::Born;
use crate::runtime::{runtime, wait};

/// A place among the calls in flight, given back by `release` or at the end of a `with`.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Permit {
    core: Mutex<Option<Born<Core>>>,
    decision: Py<Decision>,
}

impl Permit {
    pub(crate) fn new(py: Python<'_>, core: Core) -> PyResult<Py<PyAny>> {
        let decision = Py::new(py, Decision::full(core.decision().clone()))?;
        let permit = Permit {
            core: Mutex::new(Some(Born::new(core))),
            decision,
        };
        Ok(Py::new(py, permit)?.into_any())
    }

    fn take(&self) -> Option<Born<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Ok(runtime) = runtime() {
            let _inside = runtime.enter();
            drop(self.take());
        }
    }
}

#[pymethods]
impl Permit {
    /// The decision that gave it.
    #[getter]
    fn decision(&self, py: Python<'_>) -> Py<Decision> {
        self.decision.clone_ref(py)
    }

    /// Gives the place back; a second time does nothing.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let Some(core) = self.take().and_then(Born::into_inner) else {
            return Ok(());
        };
        wait(py, core.release())?.map_err(|e| raise(py, &e))
    }

    /// Begins a new lease. Refused only if the old one had run out and others have taken the place.
    fn renew(&self, py: Python<'_>) -> PyResult<Decision> {
        let Some(mut core) = self.take().and_then(Born::into_inner) else {
            let e = levqor::error::Error::conflict("limits.no_lease", "the place was given back already");
            return Err(raise(py, &e));
        };
        let decision = wait(py, core.renew())?;
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = Some(Born::new(core));
        decision.map(Decision::full).map_err(|e| raise(py, &e))
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release(py)
    }
}
