//! What web frameworks need of the core: who calls past proxies, and whether a body fits its schema.

use std::net::IpAddr;

use jsonschema::Validator;
use levqor::error::{Error, Fault};
use levqor::limits::keys::{TrustedProxies, address_key};
use pyo3::prelude::*;

use crate::convert::to_json;
use crate::error::raise;

/// Proxies whose word is taken for who calls.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Proxies(TrustedProxies);

#[pymethods]
impl Proxies {
    /// Networks like `10.0.0.0/8`.
    #[new]
    fn new(py: Python<'_>, networks: Vec<String>) -> PyResult<Self> {
        let proxies = TrustedProxies::new(networks.iter().map(String::as_str));
        proxies.map(Proxies).map_err(|e| raise(py, &e))
    }

    /// The address of who calls, and the key to count it by (IPv6 by its /64 network); `None` if the peer has no
    /// address.
    fn client(&self, peer: &str, forwarded_for: Option<&str>) -> Option<(String, String)> {
        let peer: IpAddr = peer.parse().ok()?;
        let client = match forwarded_for {
            Some(list) => self.0.client(peer, [list]),
            None => self.0.client(peer, []),
        };
        Some((client.to_string(), address_key(client)))
    }
}

/// A JSON Schema, made ready.
#[pyclass(frozen, module = "levqor._native")]
pub(crate) struct Schema(Validator);

#[pymethods]
impl Schema {
    /// A schema of JSON Schema 2020-12, without references to elsewhere.
    #[new]
    fn new(py: Python<'_>, schema: &Bound<'_, PyAny>) -> PyResult<Self> {
        let schema = to_json(schema).map_err(|e| raise(py, &e))?;
        let made = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema);
        made.map(Schema).map_err(|e| {
            let e = Error::invalid("schema.invalid", format!("this is no JSON Schema: {}", e.masked()));
            raise(py, &e)
        })
    }

    /// Refuses what does not fit, with every fault and without repeating what was sent.
    fn check(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = to_json(value).map_err(|e| raise(py, &e))?;
        if self.0.is_valid(&value) {
            return Ok(());
        }
        let faults = self.0.iter_errors(&value).take(100);
        let faults = faults.map(|e| Fault::new(e.instance_path().to_string(), "body.invalid", e.masked().to_string()));
        Err(raise(
            py,
            &Error::faults("body.invalid", "the body is not what is asked for", faults.collect()),
        ))
    }
}
