//! What connectors share: schemas from types, input into types, checked settings.

use levqor_core::connector::{Connection, Cx, Setting};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::{Millis, parse_duration};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

/// The JSON Schema (2020-12, without references) of a type.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Reads an action's input. The validate layer names faults one by one; this is for callers without it.
pub(crate) fn read<T: DeserializeOwned>(action: &str, input: &Value) -> Result<T> {
    T::deserialize(input).map_err(|_| {
        Error::invalid(
            "connector.input_invalid",
            format!("the input of `{action}` does not fit its schema"),
        )
        .hint("the action's manifest has the schema")
    })
}

/// The time-out of an attempt: what the input asks for, within what the caller gives.
pub(crate) fn timeout(cx: &Cx, asked: Option<&str>) -> Result<Millis> {
    match asked {
        None => Ok(cx.timeout),
        Some(text) => Ok(parse_duration(text).map_err(|e| e.at("/timeout"))?.min(cx.timeout)),
    }
}

/// Settings for a manifest: names, and what they are.
pub(crate) fn settings(list: &[(&str, &str)]) -> Vec<Setting> {
    let setting = |(name, description): &(&str, &str)| Setting {
        name: (*name).into(),
        description: (*description).into(),
    };
    list.iter().map(setting).collect()
}

/// A fault of a connection's settings.
pub(crate) fn setting_error(connection: &Connection, field: &str, message: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        "connection.invalid",
        format!("the connection `{}`: {message}", connection.name()),
    )
    .at(field)
}

/// Refuses settings that a connector does not know, so that a misspelt one is not silently without effect.
pub(crate) fn known_settings(connection: &Connection, known: &[&str]) -> Result<()> {
    match connection.settings().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let e = setting_error(connection, name, "there is no such setting");
            Err(e.hint(format!("the settings are {}", known.join(", "))))
        }
    }
}

/// A text setting that must be a text if it is there.
pub(crate) fn text<'a>(connection: &'a Connection, field: &str) -> Result<Option<&'a str>> {
    match connection.value(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) if !s.is_empty() => Ok(Some(s)),
        Some(_) => Err(setting_error(
            connection,
            field,
            "the setting must be a text that is not empty",
        )),
    }
}

/// A setting that is an address, ending in a slash.
pub(crate) fn base_url(connection: &Connection, field: &str) -> Result<Option<Url>> {
    let Some(base) = text(connection, field)? else {
        return Ok(None);
    };
    let bad = |message: &str| setting_error(connection, field, message);
    let mut url = Url::parse(base).map_err(|_| bad("the address cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad("the address is not an absolute http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("the address must have no query, fragment, user or password"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(Some(url))
}

/// A yes-or-no setting; no if it is missing.
pub(crate) fn flag(connection: &Connection, field: &str) -> Result<bool> {
    match connection.value(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(b)) => Ok(*b),
        Some(_) => Err(setting_error(connection, field, "the setting must be true or false")),
    }
}

/// A text from outside as it may be shown: one line, no control characters, cut.
pub(crate) fn shown(text: &str, longest: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
