//! Arguments: bound to their parameters by the rules of Python, read by their Rust types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor::credits::Expiry;
use levqor::error::{Error, Result};
use levqor::types::{MicroCredits, Millis, parse_duration};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Verb;
use crate::convert::{BYTES, to_json};
use crate::error::raise;

/// One parameter of a verb.
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) by_position: bool,
    pub(crate) default: Option<fn() -> Value>,
}

impl Param {
    pub(crate) fn required(&self) -> bool {
        self.default.is_none() && !self.kind.starts_with("Option")
    }
}

/// The arguments of a call, in the order of the parameters.
pub(crate) struct Args {
    values: std::vec::IntoIter<Option<Value>>,
}

impl Args {
    /// Binds arguments as Python binds them to a function: too many, unknown, twice or missing is a `TypeError`.
    pub(crate) fn bind(
        py: Python<'_>,
        verb: &Verb,
        given: &Bound<'_, PyTuple>,
        named: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let params = verb.params;
        let mut values: Vec<Option<Value>> = vec![None; params.len()];
        let by_position = params.iter().filter(|p| p.by_position).count();
        if given.len() > by_position {
            let message = format!(
                "{}() takes {by_position} arguments by position, {} were given",
                verb.name,
                given.len()
            );
            return Err(PyTypeError::new_err(message));
        }
        let convert = |value: &Bound<'_, PyAny>, param: &Param| to_json(value).map_err(|e| raise(py, &place(e, param.name)));
        for (i, value) in given.iter().enumerate() {
            values[i] = Some(convert(&value, &params[i])?);
        }
        for (name, value) in named.into_iter().flat_map(pyo3::types::PyDictMethods::iter) {
            let name: String = name.extract()?;
            let Some(i) = params.iter().position(|p| p.name == name) else {
                return Err(PyTypeError::new_err(format!("{}() has no argument {name:?}", verb.name)));
            };
            if values[i].is_some() {
                return Err(PyTypeError::new_err(format!("{}() was given {name:?} twice", verb.name)));
            }
            values[i] = Some(convert(&value, &params[i])?);
        }
        if let Some(missing) = params.iter().zip(&values).find(|(p, v)| p.required() && v.is_none()) {
            return Err(PyTypeError::new_err(format!(
                "{}() needs the argument {:?}",
                verb.name, missing.0.name
            )));
        }
        Ok(Args {
            values: values.into_iter(),
        })
    }

    /// The next argument; `None` if it was left out.
    pub(crate) fn next<T: DeserializeOwned>(&mut self, name: &str, kind: &str) -> Result<Option<T>> {
        match self.values.next().flatten() {
            None => Ok(None),
            Some(value) => read(value, name, kind).map(Some),
        }
    }
}

/// Reads one argument by its type.
pub(crate) fn read<T: DeserializeOwned>(value: Value, name: &str, kind: &str) -> Result<T> {
    if kind.contains("Amount") && value.is_f64() {
        let e = Error::invalid("amount.float", "an amount of credits is never a float");
        return Err(e.at(name).hint("give an int, a str like \"2.5\" or a Decimal"));
    }
    if kind.contains("Amount")
        && let Some(text) = value.as_str()
    {
        // Its own errors are better than those of a reader of data.
        text.parse::<MicroCredits>().map_err(|e| place(e, name))?;
    }
    serde_json::from_value(value).map_err(|e| place(Error::invalid("argument.invalid", e.to_string()), name))
}

fn place(e: Error, name: &str) -> Error {
    let at = format!("{name}{}", e.place().unwrap_or_default());
    e.at(at)
}

/// An argument with what stands for it where it is left out.
macro_rules! arg {
    ($args:ident, $name:ident: $t:ty) => {
        match $args.next::<$t>(stringify!($name), stringify!($t)) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => $crate::verbs::args_missing(stringify!($name)),
            Err(e) => Err(e),
        }
    };
    ($args:ident, $name:ident: $t:ty = $d:expr) => {
        $args.next::<$t>(stringify!($name), stringify!($t)).map(|value| {
            value.unwrap_or_else(|| {
                #[allow(clippy::useless_conversion)]
                <$t>::from($d)
            })
        })
    };
}

pub(crate) use arg;

/// What an optional parameter is where nothing was given.
pub(crate) fn missing<T: DeserializeOwned>(name: &str) -> Result<T> {
    read(Value::Null, name, "")
}

/// Credits: a whole number or a decimal text, never a float.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(crate) struct Amount(pub(crate) MicroCredits);

/// An instant: RFC 3339.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) Millis);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let read = Millis::parse_rfc3339(&text).map(At);
        read.ok_or_else(|| D::Error::custom("an instant is an aware datetime or a text like 2026-03-01T12:00:00Z"))
    }
}

/// A span: a text with units, or seconds.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Millis);

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(self.0.0 / 1_000)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let seconds = |s: f64| {
            let ms = (s * 1_000.0).round();
            // 2^53: every whole number up to there is exact.
            if (0.0..=9_007_199_254_740_992.0).contains(&ms) {
                #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
                Ok(Span(Millis(ms as i64)))
            } else {
                Err(D::Error::custom("a span is not negative"))
            }
        };
        match Value::deserialize(d)? {
            Value::String(text) => parse_duration(&text).map(Span).map_err(D::Error::custom),
            Value::Number(n) => seconds(n.as_f64().unwrap_or(-1.0)),
            _ => Err(D::Error::custom("a span is a timedelta, a text like 10m, or seconds")),
        }
    }
}

/// When something ends: an instant, or a span from its beginning.
#[derive(Clone, Copy)]
pub(crate) struct Until(pub(crate) Expiry);

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        if let Some(at) = value.as_str().and_then(Millis::parse_rfc3339) {
            return Ok(Until(Expiry::At(at)));
        }
        let span: Span = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Until(Expiry::In(span.0)))
    }
}

/// Any bytes; a text stands for its UTF-8, a whole number for its digits.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bad = || D::Error::custom("a text or bytes are needed");
        match Value::deserialize(d)? {
            Value::String(text) => Ok(Bytes(text.into_bytes())),
            Value::Number(n) if !n.is_f64() => Ok(Bytes(n.to_string().into_bytes())),
            Value::Object(map) => match map.get(BYTES) {
                Some(Value::String(text)) if map.len() == 1 => STANDARD.decode(text).map(Bytes).map_err(|_| bad()),
                _ => Err(bad()),
            },
            _ => Err(bad()),
        }
    }
}
