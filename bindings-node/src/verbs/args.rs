//! Arguments: read by their names and Rust types.

use levqor::credits::Expiry;
use levqor::error::{Error, Result};
use levqor::types::{MicroCredits, Millis, parse_duration};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The arguments of a call, by name.
pub(crate) struct Args(Map<String, Value>);

impl Args {
    pub(crate) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map(Args)
            .map_err(|_| Error::invalid("argument.invalid", "the arguments are not an object"))
    }

    /// One argument; `None` if it was left out.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str, kind: &str) -> Result<Option<T>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value, name, kind).map(Some),
        }
    }

    /// Refuses what no parameter took: a misspelt option would silently do nothing.
    pub(crate) fn none_left(&self) -> Result<()> {
        match self.0.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(40).collect();
                Err(Error::invalid("argument.unknown", format!("there is no option `{shown}`")))
            }
        }
    }
}

fn read<T: DeserializeOwned>(value: Value, name: &str, kind: &str) -> Result<T> {
    if kind.contains("Amount") && value.is_f64() {
        let e = Error::invalid("amount.float", "an amount of credits is never a fraction of floating point");
        return Err(e.at(name).hint("give a bigint, a whole number, or a text like \"2.5\""));
    }
    // With the code that the amount's own fault has.
    if kind.contains("Amount")
        && let Value::String(text) = &value
    {
        text.parse::<MicroCredits>().map_err(|e| e.at(name))?;
    }
    serde_json::from_value(value).map_err(|e| Error::invalid("argument.invalid", e.to_string()).at(name))
}

/// What a parameter is where nothing was given.
pub(crate) fn missing<T: DeserializeOwned>(name: &str) -> Result<T> {
    let none = serde_json::from_value(Value::Null);
    none.map_err(|_| Error::invalid("argument.missing", format!("`{name}` is missing")).at(name))
}

macro_rules! arg {
    ($args:ident, $name:ident: $t:ty) => {
        match $args.take::<$t>(stringify!($name), stringify!($t))? {
            Some(value) => value,
            None => $crate::verbs::args::missing(stringify!($name))?,
        }
    };
    ($args:ident, $name:ident: $t:ty = $d:expr) => {
        match $args.take::<$t>(stringify!($name), stringify!($t))? {
            Some(value) => value,
            None => $d.into(),
        }
    };
}

pub(crate) use arg;

/// Credits: a whole number or a decimal text.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(crate) struct Amount(pub(crate) MicroCredits);

/// An instant: milliseconds since 1970, or RFC 3339.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) Millis);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let read = match Value::deserialize(d)? {
            Value::String(text) => Millis::parse_rfc3339(&text),
            Value::Number(n) => n.as_i64().map(Millis),
            _ => None,
        };
        read.map(At).ok_or_else(|| {
            D::Error::custom("an instant is a Date, whole milliseconds since 1970, or a text like 2026-03-01T12:00:00Z")
        })
    }
}

/// A span: a text with units, or milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Millis);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => parse_duration(&text).map(Span).map_err(D::Error::custom),
            Value::Number(n) => {
                let ms = n.as_i64().filter(|ms| *ms >= 0);
                ms.map(|ms| Span(Millis(ms)))
                    .ok_or_else(|| D::Error::custom("a span is whole milliseconds, and not negative"))
            }
            _ => Err(D::Error::custom("a span is a text like 10m, or milliseconds")),
        }
    }
}

/// When something ends: an instant (a Date or RFC 3339), or a span from its beginning (a text with units).
#[derive(Clone, Copy)]
pub(crate) struct Until(pub(crate) Expiry);

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        if let Some(at) = value
            .as_i64()
            .map(Millis)
            .or_else(|| value.as_str().and_then(Millis::parse_rfc3339))
        {
            return Ok(Until(Expiry::At(at)));
        }
        match value.as_str().map(parse_duration) {
            Some(Ok(span)) => Ok(Until(Expiry::In(span))),
            _ => Err(D::Error::custom(
                "an end is a Date, a text like 2026-03-01T12:00:00Z, or a span like 30d",
            )),
        }
    }
}
