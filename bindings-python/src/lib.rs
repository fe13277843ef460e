//! Levqor for Python: a thin module over the Rust facade, without logic of its own.

use levqor::error::{Error, ErrorKind};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// The Python exception for an error, with its stable code as the attribute `code`.
fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let raised = match error.kind() {
        ErrorKind::Invalid => PyValueError::new_err(error.to_string()),
        _ => PyRuntimeError::new_err(error.to_string()),
    };
    match raised.value(py).setattr("code", error.code()) {
        Ok(()) => raised,
        Err(other) => other,
    }
}

/// The compiled half of the package `levqor`.
#[pymodule]
mod _native {
    use levqor::types::MicroCredits;
    use pyo3::{PyResult, Python, pyfunction};

    use super::raise;

    /// The version of the engine.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Reads credits written as a decimal string; returns micro-credits, millionths of a credit.
    #[pyfunction]
    fn parse_credits(py: Python<'_>, text: &str) -> PyResult<i64> {
        let credits: MicroCredits = text.parse().map_err(|e| raise(py, &e))?;
        Ok(credits.0)
    }
}
