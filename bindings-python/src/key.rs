//! A checked API key, and the short way to one.

use std::sync::Arc;

use levqor::access::key::{KeyInfo, credential};
use pyo3::prelude::*;

use crate::convert::to_python;
use crate::engine::Engine;
use crate::error::raise;

/// An API key that may pass.
#[pyclass(frozen, module = "levqor._native", freelist = 64)]
pub(crate) struct Key(Arc<KeyInfo>);

impl Key {
    pub(crate) fn new(info: Arc<KeyInfo>) -> Self {
        Key(info)
    }
}

#[pymethods]
impl Key {
    /// Its id.
    #[getter]
    fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// What its owner calls it.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose it is.
    #[getter]
    fn account(&self) -> Option<&str> {
        self.0.account.as_deref()
    }

    /// What it may do.
    #[getter]
    fn scopes(&self) -> Vec<String> {
        self.0.scopes.clone()
    }

    /// How often it may be used.
    #[getter]
    fn limit(&self) -> Option<&str> {
        self.0.limit.as_deref()
    }

    /// What its owner wrote beside it.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &serde_json::Value::Object(self.0.metadata.clone()))
    }

    /// Refuses it if it lacks one of the scopes.
    fn require(&self, py: Python<'_>, scopes: Vec<String>) -> PyResult<()> {
        self.0.require(&scopes).map_err(|e| raise(py, &e))
    }

    /// The key as plain data.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &crate::verbs::key_info(&self.0))
    }

    fn __repr__(&self) -> String {
        format!("<Key {} {:?}>", self.0.id, self.0.name)
    }
}

/// Checks the key of a request's headers `Authorization` and `X-Api-Key`. Raises `Unauthorized` or `ScopeMissing`.
#[pyfunction]
#[pyo3(signature = (engine, authorization, api_key, scopes))]
pub(crate) fn key_of(
    py: Python<'_>,
    engine: &Bound<'_, Engine>,
    authorization: Option<&str>,
    api_key: Option<&str>,
    scopes: Vec<String>,
) -> PyResult<Key> {
    let text = credential(authorization, api_key).map_err(|e| raise(py, &e))?;
    engine.get().key(py, text, scopes)
}
