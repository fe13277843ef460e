//! Errors on their way to Python: one function there makes the exception of the error's kind and code.

use levqor::error::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde_json::{Value, json};

use crate::convert::to_python;

/// The error as plain data: what it stores, and what follows from its kind.
pub(crate) fn document(error: &Error) -> Value {
    let mut document = error.to_json();
    if let Some(map) = document.as_object_mut() {
        map.insert("status".into(), json!(error.status()));
        map.insert("retryable".into(), json!(error.retryable()));
        map.insert("class".into(), json!(error.class()));
        map.insert("text".into(), json!(error.to_string()));
        map.insert("problem".into(), error.problem());
    }
    document
}

/// The Python exception of an error.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE.import(py, "levqor.errors", "_of_document").and_then(|make| {
        let document = to_python(py, &document(error))?;
        make.call1((document,))
    });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        // The package is being torn down: say at least what it was.
        Err(_) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// What a Python exception becomes inside the engine. One of ours keeps its kind and code; the text of any
/// other stays in the log of Python, since nobody knows what it holds.
pub(crate) fn absorb(py: Python<'_>, raised: &PyErr, code: &str) -> Error {
    let value = raised.value(py);
    if let Ok(document) = value.getattr("_document")
        && let Ok(document) = crate::convert::to_json(&document)
    {
        let stored = Error::from_json(&document);
        if stored.code() != "error.decode" {
            return stored;
        }
    }
    let name = value
        .get_type()
        .name()
        .map_or_else(|_| "an exception".to_owned(), |n| n.to_string());
    let text = value
        .str()
        .map_or_else(|_| String::new(), |s| s.to_string_lossy().into_owned());
    let text: String = text.chars().take(500).collect();
    // What a host's function raises may pass; what must not be tried again is said by one of our exceptions.
    Error::new(ErrorKind::Internal, code, format!("{name}: {text}")).retry(code.starts_with("job."))
}

/// Every kind of error with its status, for the test that no exception class is missing.
#[pyfunction]
pub(crate) fn error_kinds(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let kinds: Vec<Value> = ErrorKind::ALL
        .iter()
        .map(|k| json!({"kind": k.name(), "status": k.status(), "retryable": k.retryable()}))
        .collect();
    to_python(py, &Value::Array(kinds)).map(Bound::unbind)
}
