//! Plain data over the border: JSON values to Python's own types and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor::error::{Error, Result};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};
use serde_json::{Map, Number, Value, json};

/// Deeper data than this is refused: nothing in the engine takes it, and it may be a circle.
const DEEPEST: usize = 128;
/// The member under which bytes travel, base64.
pub(crate) const BYTES: &str = "$bytes";

fn bad(message: impl Into<String>) -> Error {
    Error::invalid("argument.invalid", message)
}

/// A Python value as JSON.
///
/// Beside JSON's own types: tuples are arrays, bytes `{"$bytes": base64}`, decimals texts, aware instants RFC
/// 3339, spans texts like `1500ms`, enums their values.
pub(crate) fn to_json(value: &Bound<'_, PyAny>) -> Result<Value> {
    read(value, 0)
}

fn read(value: &Bound<'_, PyAny>, depth: usize) -> Result<Value> {
    if depth > DEEPEST {
        return Err(Error::invalid(
            "json.too_deep",
            format!("the value is nested deeper than {DEEPEST} levels"),
        ));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(text_of(text)?.to_owned()));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(yes) = value.cast::<PyBool>() {
        return Ok(Value::Bool(yes.is_true()));
    }
    if let Ok(n) = value.cast::<PyInt>() {
        return integer(n);
    }
    if let Ok(x) = value.cast::<PyFloat>() {
        let number = Number::from_f64(x.value());
        return number.map(Value::Number).ok_or_else(|| bad("NaN and infinity are no JSON"));
    }
    if let Ok(map) = value.cast::<PyDict>() {
        let mut object = Map::new();
        for (name, member) in map.iter() {
            let name = name
                .cast::<PyString>()
                .map_err(|_| bad("the keys of a dict are texts here"))?;
            let name = text_of(name)?.to_owned();
            let member = read(&member, depth + 1).map_err(|e| within(e, &name))?;
            object.insert(name, member);
        }
        return Ok(Value::Object(object));
    }
    if let Ok(list) = value.cast::<PyList>() {
        return array(list.iter(), depth);
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return array(tuple.iter(), depth);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(json!({BYTES: STANDARD.encode(bytes.as_bytes())}));
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(json!({BYTES: STANDARD.encode(bytes.to_vec())}));
    }
    other(value, depth)
}

/// What is no type of the language itself.
fn other(value: &Bound<'_, PyAny>, depth: usize) -> Result<Value> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static DATETIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TIMEDELTA: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = value.py();
    let is = |once: &PyOnceLock<Py<PyType>>, module: &str, name: &str| -> bool {
        once.import(py, module, name)
            .and_then(|class| value.is_instance(class))
            .unwrap_or(false)
    };
    let python = |e: PyErr| bad(e.to_string());
    if is(&DECIMAL, "decimal", "Decimal") {
        let plain = value.call_method1("__format__", ("f",)).map_err(python)?;
        return Ok(Value::String(plain.extract().map_err(python)?));
    }
    if is(&DATETIME, "datetime", "datetime") {
        if value.getattr("tzinfo").map_err(python)?.is_none() {
            return Err(bad("an instant needs a time zone: use datetime.now(timezone.utc)"));
        }
        let text: String = value.call_method0("isoformat").and_then(|t| t.extract()).map_err(python)?;
        return Ok(Value::String(text));
    }
    if is(&TIMEDELTA, "datetime", "timedelta") {
        let seconds: f64 = value
            .call_method0("total_seconds")
            .and_then(|s| s.extract())
            .map_err(python)?;
        return Ok(Value::String(format!("{}ms", (seconds * 1_000.0).round())));
    }
    if is(&ENUM, "enum", "Enum") {
        return read(&value.getattr("value").map_err(python)?, depth + 1);
    }
    if is(&UUID, "uuid", "UUID") {
        return Ok(Value::String(value.str().map_err(python)?.to_string()));
    }
    let name = value
        .get_type()
        .name()
        .map_or_else(|_| "an object".to_owned(), |n| n.to_string());
    let name: String = name.chars().take(60).collect();
    Err(bad(format!("a value of type {name} is no plain data")))
}

fn within(e: Error, name: &str) -> Error {
    let name: String = name.chars().take(60).collect();
    let at = format!("/{name}{}", e.place().unwrap_or_default());
    e.at(at)
}

fn array<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> Result<Value> {
    let items = items.enumerate();
    let read = items.map(|(i, item)| read(&item, depth + 1).map_err(|e| within(e, &i.to_string())));
    read.collect::<Result<Vec<_>>>().map(Value::Array)
}

/// A text; one with half a surrogate pair is none.
pub(crate) fn text_of<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str> {
    text.to_str()
        .map_err(|_| bad("the text has half a surrogate pair and cannot be written as UTF-8"))
}

fn integer(n: &Bound<'_, PyInt>) -> Result<Value> {
    if let Ok(n) = n.extract::<i64>() {
        return Ok(json!(n));
    }
    let n: u64 = n
        .extract()
        .map_err(|_| bad("the number has more than 64 bits; write it as a text"))?;
    Ok(json!(n))
}

/// A JSON value as Python's own types.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(yes) => yes.into_bound_py_any(py),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => n.into_bound_py_any(py),
            (_, Some(n)) => n.into_bound_py_any(py),
            _ => n.as_f64().unwrap_or(f64::NAN).into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(map) => {
            let dict = PyDict::new(py);
            for (name, member) in map {
                dict.set_item(name, to_python(py, member)?)?;
            }
            Ok(dict.into_any())
        }
    }
}
