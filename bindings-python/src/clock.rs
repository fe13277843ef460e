//! A clock that tests move.

use std::sync::Arc;

use levqor::clock::{Clock, ManualClock as Manual};
use levqor::types::Millis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A clock that stands still until it is moved.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct ManualClock(Arc<Manual>);

impl ManualClock {
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.0.clone()
    }
}

#[pymethods]
impl ManualClock {
    /// A clock that shows an instant, RFC 3339.
    #[new]
    fn new(at: &str) -> PyResult<Self> {
        Ok(ManualClock(Arc::new(Manual::at(instant(at)?))))
    }

    /// Sets it.
    fn set(&self, at: &str) -> PyResult<()> {
        self.0.set(instant(at)?);
        Ok(())
    }

    /// Moves it forward by seconds; back, if they are negative.
    fn advance(&self, seconds: f64) -> PyResult<()> {
        let ms = (seconds * 1_000.0).round();
        // 2^53: every whole number up to there is exact.
        if ms.is_nan() || ms.abs() > 9_007_199_254_740_992.0 {
            return Err(PyValueError::new_err("a clock is moved by a number of seconds"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
        self.0.advance(Millis(ms as i64));
        Ok(())
    }

    /// What it shows, RFC 3339.
    fn now(&self) -> String {
        self.0.now().rfc3339()
    }
}

fn instant(text: &str) -> PyResult<Millis> {
    Millis::parse_rfc3339(text).ok_or_else(|| PyValueError::new_err("an instant is written like 2026-03-01T12:00:00Z"))
}
