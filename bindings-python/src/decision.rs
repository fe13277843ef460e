//! What a limit decided. Built in nanoseconds; everything but the verdict is worked out when it is asked for.

use std::sync::Arc;

use levqor::limits::{Ask, AskOutcome, Decision as Core, HeaderStyle, Quota, Reason, Verdict};
use levqor::types::Millis;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde_json::{Value, json};

use crate::convert::to_python;
use crate::error::raise;

/// A limit's name and quota.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) quota: Quota,
}

enum Held {
    One {
        verdict: Verdict,
        at: Millis,
        named: Arc<Named>,
    },
    Full(Box<Core>),
}

/// What a limit decided. True in a condition if the call may go on.
#[pyclass(frozen, module = "levqor._native", freelist = 256)]
pub(crate) struct Decision(Held);

impl Decision {
    #[inline]
    pub(crate) fn one(verdict: Verdict, at: Millis, named: Arc<Named>) -> Self {
        Decision(Held::One { verdict, at, named })
    }

    pub(crate) fn full(decision: Core) -> Self {
        Decision(Held::Full(Box::new(decision)))
    }

    /// The core's own form.
    fn core(&self) -> Core {
        match &self.0 {
            Held::One { verdict, at, named } => Core::new(&[Ask::new(named.name.clone(), "", named.quota)], [*verdict], *at),
            Held::Full(decision) => (**decision).clone(),
        }
    }

    fn tightest<T>(&self, one: impl FnOnce(&Verdict, &Named) -> T, full: impl FnOnce(&AskOutcome) -> T) -> Option<T> {
        match &self.0 {
            Held::One { verdict, named, .. } => Some(one(verdict, named)),
            Held::Full(decision) => decision.tightest().map(full),
        }
    }

    fn why(&self) -> Option<Reason> {
        match &self.0 {
            Held::One { verdict, .. } => verdict.reason,
            Held::Full(decision) => decision.reason,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "spans are far below 2^53 milliseconds")]
fn seconds(span: Millis) -> f64 {
    span.0 as f64 / 1_000.0
}

fn outcome(a: &AskOutcome) -> Value {
    json!({
        "name": a.name, "quota": a.quota.to_string(), "admitted": a.admitted, "limit": a.limit, "remaining": a.remaining,
        "reset_after": seconds(a.reset_after), "retry_after": a.retry_after.map(seconds), "ready_after": seconds(a.ready_after),
        "reason": a.reason,
    })
}

#[pymethods]
impl Decision {
    /// Whether the call may go on.
    #[getter]
    fn admitted(&self) -> bool {
        match &self.0 {
            Held::One { verdict, .. } => verdict.admitted,
            Held::Full(decision) => decision.admitted,
        }
    }

    fn __bool__(&self) -> bool {
        self.admitted()
    }

    /// Units per period of the limit that binds most; `None` if nothing was asked.
    #[getter]
    fn limit(&self) -> Option<u32> {
        self.tightest(|_, named| named.quota.limit(), |a| a.limit)
    }

    /// Units left of the limit that binds most.
    #[getter]
    fn remaining(&self) -> Option<u32> {
        self.tightest(|v, _| v.remaining, |a| a.remaining)
    }

    /// Seconds until that limit stands as if the key had never been seen.
    #[getter]
    fn reset_after(&self) -> Option<f64> {
        self.tightest(|v, _| seconds(v.reset_after), |a| seconds(a.reset_after))
    }

    /// Seconds until the same call passes; `None` if it passed, or never will.
    #[getter]
    fn retry_after(&self) -> Option<f64> {
        match &self.0 {
            Held::One { verdict, .. } => verdict.retry_after.map(seconds),
            Held::Full(decision) => decision.retry_after.map(seconds),
        }
    }

    /// Seconds to wait before going on, for a call that was queued.
    #[getter]
    fn ready_after(&self) -> f64 {
        match &self.0 {
            Held::One { verdict, .. } => seconds(verdict.ready_after),
            Held::Full(decision) => seconds(decision.ready_after),
        }
    }

    /// Why it was refused: `exceeded`, `too_costly`, `blocked`, `unavailable` or `denied`.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.why().map(|reason| match reason {
            Reason::TooCostly => "too_costly",
            Reason::Blocked => "blocked",
            Reason::Unavailable => "unavailable",
            Reason::Denied => "denied",
            _ => "exceeded",
        })
    }

    /// Whether it was decided without the shared store, which was down.
    #[getter]
    fn degraded(&self) -> bool {
        matches!(&self.0, Held::Full(decision) if decision.degraded)
    }

    /// Seconds since 1970 at which it was decided.
    #[getter]
    fn at(&self) -> f64 {
        match &self.0 {
            Held::One { at, .. } => seconds(*at),
            Held::Full(decision) => seconds(decision.at),
        }
    }

    /// One outcome per limit that was asked.
    #[getter]
    fn asks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.core().asks.iter().map(outcome).collect())
    }

    /// What policies in a dry run would have said.
    #[getter]
    fn shadow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.core().shadow.iter().map(outcome).collect())
    }

    /// The names of the limits that refused.
    #[getter]
    fn violated<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.core().violated())
    }

    /// The header fields of an answer: `all`, `legacy` (X-RateLimit-*), `standard` (RateLimit) or `none`.
    #[pyo3(signature = (style="all"))]
    fn headers<'py>(&self, py: Python<'py>, style: &str) -> PyResult<Bound<'py, PyDict>> {
        let style = match style {
            "all" => HeaderStyle::All,
            "legacy" => HeaderStyle::Legacy,
            "standard" => HeaderStyle::Standard,
            "none" => HeaderStyle::None,
            _ => return Err(PyValueError::new_err("a style is one of all, legacy, standard, none")),
        };
        let fields = PyDict::new(py);
        for (name, value) in self.core().headers_in(style) {
            fields.set_item(name, value)?;
        }
        Ok(fields)
    }

    /// The decision in words, for people who wonder why.
    fn explain(&self) -> String {
        self.core().explain()
    }

    /// Itself if the call may go on; else raises `RateLimited`.
    fn admit(this: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if this.get().admitted() {
            return Ok(this);
        }
        match this.get().core().to_error() {
            Some(e) => Err(raise(this.py(), &e)),
            None => Ok(this),
        }
    }

    /// The decision as plain data.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.core();
        let list = |asks: &[AskOutcome]| asks.iter().map(outcome).collect::<Value>();
        let document = json!({
            "admitted": core.admitted, "limit": self.limit(), "remaining": self.remaining(), "reset_after": self.reset_after(),
            "retry_after": core.retry_after.map(seconds), "ready_after": seconds(core.ready_after), "reason": core.reason,
            "degraded": core.degraded, "at": seconds(core.at), "asks": list(&core.asks), "shadow": list(&core.shadow),
        });
        to_python(py, &document)
    }

    fn __repr__(&self) -> String {
        format!("<Decision {}>", self.core().explain().replace('\n', " "))
    }
}
