//! From TOML, YAML or JSON to one kind of value.

use std::path::Path;

use levqor_core::error::{Error, Result};
use levqor_core::json;
use serde_json::{Map, Value};

/// How a pack is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// No pack is larger, in bytes.
const LARGEST: usize = 1 << 20;

impl Format {
    /// By the end of a file's name; `None` if it is none of ours.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Format::Toml),
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// Reads a text.
    pub(super) fn read(self, text: &str) -> Result<Value> {
        if text.len() > LARGEST {
            return Err(Error::invalid(
                "pack.too_large",
                format!("the pack has {} bytes; at most {LARGEST} are taken", text.len()),
            ));
        }
        let bad = |why: String, place: Option<String>| {
            let e = Error::invalid("pack.syntax", format!("the pack cannot be read: {why}"));
            place.map_or(e.clone(), |p| e.at(p))
        };
        let value = match self {
            Format::Json => json::parse(text.as_bytes(), "the pack", LARGEST)?,
            Format::Toml => {
                let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
                    let place = e.span().map(|s| line_of(text, s.start));
                    bad(e.message().to_owned(), place)
                })?;
                of_toml(toml::Value::Table(table))
            }
            Format::Yaml => serde_saphyr::from_str::<Value>(text).map_err(|e| {
                let said = e.to_string();
                bad(said.lines().next().unwrap_or_default().to_owned(), None)
            })?,
        };
        if !json::depth_ok(&value, json::MAX_DEPTH) {
            return Err(Error::invalid("json.too_deep", "the pack is nested too deeply"));
        }
        if value.is_object() {
            Ok(value)
        } else {
            Err(bad("it is no table".into(), None))
        }
    }
}

fn line_of(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |i| i + 1) + 1;
    format!("line {line}, column {column}")
}

fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(s) => Value::String(s),
        toml::Value::Integer(n) => Value::from(n),
        toml::Value::Float(x) => Value::from(x),
        toml::Value::Boolean(b) => Value::Bool(b),
        toml::Value::Datetime(d) => Value::String(d.to_string()),
        toml::Value::Array(list) => Value::Array(list.into_iter().map(of_toml).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, of_toml(v))).collect::<Map<_, _>>()),
    }
}
