//! What is read from files and standard input.

use std::io::Read;

use crate::connector::Connection;
use crate::error::{Error, Result};
use crate::json;
use serde_json::{Map, Value};

/// More than this is not even read.
const MAX_READ: u64 = 64 << 20;

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn read(path: &str, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == "-" {
        std::io::stdin().lock().take(MAX_READ + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(MAX_READ + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 > MAX_READ => {
            let message = format!("{what} has more than {} MiB", MAX_READ >> 20);
            Err(Error::invalid("body.too_large", message).at(path))
        }
        Ok(_) => Ok(bytes),
        Err(e) => {
            let hint = "give the path of a file that can be read, or - for standard input";
            let e = Error::invalid("cli.unreadable_file", format!("{what} cannot be read: {e}"));
            Err(e.at(path).hint(hint))
        }
    }
}

/// A JSON document from a file, or from standard input for `-`.
pub(crate) fn read_json(path: &str, what: &str, max: usize) -> Result<Value> {
    json::parse(&read(path, what)?, what, max)
}

/// Connections by name. `{"$env": "NAME"}` stands for the value of a variable, so that no secret has to
/// lie in the file.
pub(crate) fn connections(path: &str) -> Result<Vec<Connection>> {
    let document = read_json(path, "the connections file", 1 << 20)?;
    connections_of(document, &|name| std::env::var(name).ok()).map_err(|e| match e.place() {
        Some(place) => {
            let place = format!("{path}: {place}");
            e.at(place)
        }
        None => e.at(path),
    })
}

fn connections_of(document: Value, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Connection>> {
    let wrong = |message: &str| {
        Error::invalid("connections.invalid", message).hint("write {\"name\": {\"token\": {\"$env\": \"MY_TOKEN\"}}, ...}")
    };
    let Value::Object(map) = document else {
        return Err(wrong("the connections file is no JSON object"));
    };
    let mut all = Vec::with_capacity(map.len());
    for (name, values) in map {
        let place = format!("/{}", pointer(&name));
        if !values.is_object() {
            return Err(wrong(&format!("the settings of the connection `{name}` are no JSON object")).at(place));
        }
        all.push(Connection::new(name, resolve(values, &place, variable)?));
    }
    Ok(all)
}

fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Replaces every `{"$env": "NAME"}`. Errors never show a value.
fn resolve(value: Value, place: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Value> {
    match value {
        Value::Object(map) if map.contains_key("$env") => {
            let Some(Value::String(name)) = map.get("$env").filter(|_| map.len() == 1) else {
                let e = Error::invalid("connections.invalid", "`$env` stands alone and names a variable");
                return Err(e.at(place).hint("write {\"$env\": \"NAME\"}"));
            };
            variable(name).map(Value::String).ok_or_else(|| {
                let message = format!("the environment variable `{name}` is not set");
                Error::invalid("connections.missing_variable", message)
                    .at(place)
                    .hint("set it before the command, or take the connection out of the file")
            })
        }
        Value::Object(map) => {
            let mut resolved = Map::new();
            for (name, value) in map {
                let value = resolve(value, &format!("{place}/{}", pointer(&name)), variable)?;
                resolved.insert(name, value);
            }
            Ok(Value::Object(resolved))
        }
        Value::Array(list) => {
            let resolved = list.into_iter().enumerate();
            let resolved = resolved.map(|(i, v)| resolve(v, &format!("{place}/{i}"), variable));
            resolved.collect::<Result<_>>().map(Value::Array)
        }
        plain => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(document: Value) -> Result<Vec<Connection>> {
        connections_of(document, &|name| (name == "SET").then(|| "s3cret".to_owned()))
    }

    #[test]
    fn variables_are_put_in_wherever_they_stand() {
        let found = of(json!({"a": {"token": {"$env": "SET"}, "deep": [{"x": {"$env": "SET"}}], "n": 1}})).unwrap();
        assert_eq!(found[0].name(), "a");
        assert_eq!(found[0].text("token"), Some("s3cret"));
        assert_eq!(found[0].value("deep"), Some(&json!([{"x": "s3cret"}])));
        assert_eq!(found[0].value("n"), Some(&json!(1)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_without_values() {
        for (document, code, place) in [
            (json!([]), "connections.invalid", None),
            (json!({"a": "top-s3cret"}), "connections.invalid", Some("/a")),
            (
                json!({"a/b": {"p": [{"$env": "UNSET"}]}}),
                "connections.missing_variable",
                Some("/a~1b/p/0"),
            ),
            (
                json!({"a": {"p": {"$env": "SET", "q": "top-s3cret"}}}),
                "connections.invalid",
                Some("/a/p"),
            ),
            (json!({"a": {"p": {"$env": 1}}}), "connections.invalid", Some("/a/p")),
        ] {
            let e = of(document).unwrap_err();
            assert_eq!((e.code(), e.place()), (code, place));
            assert!(!format!("{e:?}").contains("s3cret"), "{e:?}");
        }
        let e = of(json!({"a": {"p": {"$env": "UNSET"}}})).unwrap_err();
        assert!(e.message().contains("`UNSET`"), "{e}");
    }
}
