//! The engine's verbs, one line each: its name in Python, its parameters, the call.
//!
//! A line gives the verb twice, for callers that block and for asyncio, since [`Engine`](crate::engine::Engine)
//! runs every line both ways. Parameters before the `;` may be given by position, those behind it by name only;
//! a parameter of the type `Option` may be left out. Positions, names and defaults are read out by a test that
//! compares them with the Python signatures.

mod access;
mod args;
mod credits;
mod integrity;
mod jobs;
mod limits;
mod records;
mod runs;
mod schedules;

use std::pin::Pin;

use levqor::error::{Error, Result};
use levqor::limits::Decision;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Scene;
pub(crate) use access::{info as key_info, security_headers};
pub(crate) use args::{Amount, Args, At, Bytes, Param, Span, Until, arg, missing as args_missing, read};

/// What a verb gives back.
pub(crate) enum Answer {
    Json(Value),
    Decision(Box<Decision>),
    /// An object with a life of its own.
    Make(Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>),
}

impl Answer {
    pub(crate) fn json(value: &impl Serialize) -> Result<Self> {
        let value = serde_json::to_value(value);
        value
            .map(Answer::Json)
            .map_err(|e| Error::internal(format!("an answer is no plain data: {e}")))
    }

    pub(crate) fn decision(decision: Decision) -> Self {
        Answer::Decision(Box::new(decision))
    }

    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Answer::Json(value) => crate::convert::to_python(py, &value),
            Answer::Decision(decision) => Ok(Bound::new(py, crate::decision::Decision::full(*decision))?.into_any()),
            Answer::Make(make) => make(py).map(|made| made.into_bound(py)),
        }
    }
}

/// Work under way.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

/// One verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) run: fn(Scene, Args) -> Work,
}

/// `$engine; room.verb(by position; by name) [-> kind] => answer;` …
macro_rules! verbs {
    ($table:ident: $engine:ident; $($room:ident.$verb:ident(
        $($p:ident: $t:ty $(= $d:expr)?),* $(; $($k:ident: $kt:ty $(= $kd:expr)?),*)?
    ) $(-> $kind:ident)? => $body:expr;)*) => {
        pub(super) const $table: &[$crate::verbs::Verb] = &[$($crate::verbs::Verb {
            name: concat!(stringify!($room), ".", stringify!($verb)),
            params: &[
                $($crate::verbs::param!($p: $t $(= $d)?; true),)*
                $($($crate::verbs::param!($k: $kt $(= $kd)?; false),)*)?
            ],
            #[allow(unused_mut, unused_variables)]
            run: |$engine: $crate::engine::Scene, mut args: $crate::verbs::Args| Box::pin(async move {
                $(let $p: $t = $crate::verbs::arg!(args, $p: $t $(= $d)?)?;)*
                $($(let $k: $kt = $crate::verbs::arg!(args, $k: $kt $(= $kd)?)?;)*)?
                $crate::verbs::answer!($($kind)? $body)
            }),
        },)*];
    };
}

macro_rules! param {
    ($name:ident: $t:ty; $by_position:literal) => {
        $crate::verbs::Param {
            name: stringify!($name),
            kind: stringify!($t),
            by_position: $by_position,
            default: None,
        }
    };
    ($name:ident: $t:ty = $d:expr; $by_position:literal) => {
        $crate::verbs::Param {
            name: stringify!($name),
            kind: stringify!($t),
            by_position: $by_position,
            default: Some(|| serde_json::json!($d)),
        }
    };
}

macro_rules! answer {
    (decision $body:expr) => {
        Ok($crate::verbs::Answer::decision($body))
    };
    (object $body:expr) => {
        Ok($crate::verbs::Answer::Make(Box::new($body)))
    };
    ($body:expr) => {
        $crate::verbs::Answer::json(&$body)
    };
}

pub(crate) use {answer, param, verbs};

/// Every verb.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    [
        access::TABLE,
        limits::TABLE,
        credits::TABLE,
        runs::TABLE,
        jobs::TABLE,
        schedules::TABLE,
        records::TABLE,
        integrity::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The verb of a name, `credits.grant`. Asked once for each when the package is imported.
#[pyfunction]
pub(crate) fn verb(name: &str) -> PyResult<usize> {
    let found = all().position(|verb| verb.name == name);
    found.ok_or_else(|| pyo3::exceptions::PyAttributeError::new_err(format!("there is no verb {name}")))
}

/// Every verb with its parameters, as plain data.
#[pyfunction]
pub(crate) fn verbs_list(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let list: Vec<Value> = all()
        .map(|verb| {
            let params = verb.params.iter();
            let params = params.map(|p| {
                json!({
                    "name": p.name, "type": p.kind, "by_position": p.by_position,
                    "required": p.required(), "default": p.default.map(|d| d()),
                })
            });
            json!({"name": verb.name, "params": params.collect::<Vec<_>>()})
        })
        .collect();
    crate::convert::to_python(py, &Value::Array(list)).map(Bound::unbind)
}
