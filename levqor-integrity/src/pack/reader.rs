//! Reads a table of a pack: every fault with its path, and "did you mean" for what nobody asked for.

use std::cell::RefCell;

use levqor_core::error::Fault;
use levqor_core::pipeline::suggest::did_you_mean;
use levqor_core::types::{Millis, parse_duration};
use serde_json::{Map, Value};
use url::Url;

use crate::check::CheckCx;
use crate::environment::Environment;
use crate::outcome::{Finding, Outcome};
use crate::runner::LONGEST;

/// The faults of a whole pack.
pub(crate) type Faults = RefCell<Vec<Fault>>;

/// One table, with what was asked of it so far.
pub(crate) struct Reader<'a> {
    map: Map<String, Value>,
    at: String,
    faults: &'a Faults,
    asked: RefCell<Vec<&'static str>>,
}

/// A text that stands in the pack, or in a variable that the pack names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Literal(String),
    Env(String),
}

impl Text {
    /// The text; `None` if the variable is not set.
    pub(crate) fn get<'a>(&'a self, env: &'a Environment) -> Option<&'a str> {
        match self {
            Text::Literal(text) => Some(text),
            Text::Env(name) => env.get(name).filter(|v| !v.is_empty()),
        }
    }

    /// The text; or the outcome of a check that cannot do without it.
    pub(crate) fn need<'a>(&'a self, cx: &'a CheckCx) -> Result<&'a str, Outcome> {
        self.get(cx.env()).ok_or_else(|| {
            let Text::Env(name) = self else { return Outcome::default() };
            Finding::error("pack.unset", format!("the variable {name}, which the pack names, is not set"))
                .expected("a value")
                .actual("not set")
                .at(name.as_str())
                .hint("set it where the run is started")
                .into()
        })
    }
}

/// An address of the system: one of the pack's targets with a path, or a URL.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) base: Option<Text>,
    pub(crate) target: String,
    pub(crate) path: String,
}

impl Endpoint {
    /// The whole URL; or the outcome of a check that has none.
    pub(crate) fn url(&self, cx: &CheckCx) -> Result<String, Outcome> {
        let Some(base) = &self.base else {
            return Err(Outcome::skip(format!("the pack names no target `{}`", self.target)));
        };
        let base = base.need(cx)?;
        if self.path.is_empty() {
            return Ok(base.to_owned());
        }
        Ok(format!(
            "{}/{}",
            base.trim_end_matches('/'),
            self.path.trim_start_matches('/')
        ))
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(value: &Value, at: impl Into<String>, faults: &'a Faults) -> Self {
        let at = at.into();
        let map = value.as_object().cloned().unwrap_or_else(|| {
            faults
                .borrow_mut()
                .push(Fault::new(&*at, "pack.not_a_table", "a table is expected here"));
            Map::new()
        });
        Reader {
            map,
            at,
            faults,
            asked: RefCell::default(),
        }
    }

    /// The path of a key.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("{}/{}", self.at, key.replace('~', "~0").replace('/', "~1"))
    }

    /// Something is wrong with a key.
    pub(crate) fn fault(&self, key: &str, code: &str, message: impl Into<String>) {
        let at = if key.is_empty() { self.at.clone() } else { self.place(key) };
        self.faults.borrow_mut().push(Fault::new(at, code, message));
    }

    fn wrong(&self, key: &str, expected: &str) {
        self.fault(key, "pack.wrong_type", format!("`{key}` has to be {expected}"));
    }

    pub(crate) fn raw(&self, key: &'static str) -> Option<&Value> {
        self.asked.borrow_mut().push(key);
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn read<T>(&self, key: &'static str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.raw(key)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(key, expected);
        }
        read
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.read(key, "a text", |v| v.as_str().map(str::to_owned))
    }

    pub(crate) fn text_or(&self, key: &'static str, default: &str) -> String {
        self.text(key).unwrap_or_else(|| default.to_owned())
    }

    pub(crate) fn bool_or(&self, key: &'static str, default: bool) -> bool {
        self.read(key, "true or false", Value::as_bool).unwrap_or(default)
    }

    pub(crate) fn int_or(&self, key: &'static str, range: std::ops::RangeInclusive<i64>, default: i64) -> i64 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |v| v.as_i64().filter(|n| range.contains(n)))
            .unwrap_or(default)
    }

    /// A span: `"250ms"`, `"10s"`.
    pub(crate) fn span(&self, key: &'static str) -> Option<Millis> {
        let value = self.raw(key)?;
        let Some(text) = value.as_str() else {
            self.wrong(key, "a span with its unit, like \"10s\"");
            return None;
        };
        match parse_duration(text) {
            Ok(span) if span > Millis::ZERO => Some(span),
            Ok(_) => {
                self.fault(key, "pack.bad_value", format!("`{key}` has to be longer than nothing"));
                None
            }
            Err(e) => {
                self.fault(key, "pack.bad_value", e.to_string());
                None
            }
        }
    }

    /// A span that somebody waits for: at most a day.
    pub(crate) fn wait(&self, key: &'static str) -> Option<Millis> {
        let span = self.span(key)?;
        if span.to_duration() > LONGEST {
            self.fault(key, "pack.bad_value", format!("`{key}` may be a day at most"));
            return None;
        }
        Some(span)
    }

    /// A list of texts; one text alone is a list too.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "a text or a list of texts", |v| match v {
            Value::String(s) => Some(vec![s.clone()]),
            Value::Array(list) => list.iter().map(|i| i.as_str().map(str::to_owned)).collect(),
            _ => None,
        })
    }

    /// A list of whole numbers; one alone is a list too.
    pub(crate) fn ints(&self, key: &'static str) -> Option<Vec<i64>> {
        self.read(key, "a whole number or a list of them", |v| match v {
            Value::Array(list) => list.iter().map(Value::as_i64).collect(),
            other => other.as_i64().map(|n| vec![n]),
        })
    }

    /// A text, or `{ env = "NAME" }`.
    pub(crate) fn source(&self, key: &'static str) -> Option<Text> {
        self.read(key, "a text or { env = \"NAME\" }", text_of)
    }

    /// Texts by name, each maybe `{ env = "NAME" }`.
    pub(crate) fn sources(&self, key: &'static str) -> Vec<(String, Text)> {
        let mut found = Vec::new();
        for (name, value) in self.members(key) {
            match text_of(&value) {
                Some(text) => found.push((name, text)),
                None => self.fault(
                    key,
                    "pack.wrong_type",
                    format!("`{name}` has to be a text or {{ env = \"NAME\" }}"),
                ),
            }
        }
        found
    }

    /// The members of a table.
    pub(crate) fn members(&self, key: &'static str) -> Vec<(String, Value)> {
        let found = self.read(key, "a table", |v| v.as_object().cloned());
        found.unwrap_or_default().into_iter().collect()
    }

    /// The members of a table that are tables themselves.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<(String, Reader<'a>)> {
        let at = self.place(key);
        self.members(key)
            .into_iter()
            .map(|(name, value)| {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                let reader = Reader::new(&value, at, self.faults);
                (name, reader)
            })
            .collect()
    }

    /// The elements of a list that are tables.
    pub(crate) fn list(&self, key: &'static str) -> Vec<Reader<'a>> {
        let at = self.place(key);
        let found = self
            .read(key, "a list of tables", |v| v.as_array().cloned())
            .unwrap_or_default();
        found
            .iter()
            .enumerate()
            .map(|(i, value)| Reader::new(value, format!("{at}/{i}"), self.faults))
            .collect()
    }

    /// A table, empty if it is not there.
    pub(crate) fn table(&self, key: &'static str) -> Reader<'a> {
        let empty = Value::Object(Map::new());
        let value = self.raw(key).unwrap_or(&empty);
        Reader::new(value, self.place(key), self.faults)
    }

    /// A word out of a list of them.
    pub(crate) fn choice(&self, key: &'static str, words: &[&'static str], default: &'static str) -> &'static str {
        let Some(text) = self.text(key) else { return default };
        if let Some(word) = words.iter().find(|w| **w == text) {
            return word;
        }
        let known = did_you_mean(&text, words.iter().copied());
        let message = format!("`{text}` is none of {}{known}", words.join(", "));
        self.fault(key, "pack.bad_value", message);
        default
    }

    /// Where a check looks: `url`, or `target` and `path`.
    pub(crate) fn endpoint(&self, targets: &[(String, Text)], target: &str, path: &str) -> Endpoint {
        let path = self.text_or("path", path);
        if let Some(url) = self.source("url") {
            if let Text::Literal(text) = &url {
                self.url_is_good("url", text);
            }
            let path = if self.map.contains_key("path") { path } else { String::new() };
            return Endpoint {
                base: Some(url),
                target: target.to_owned(),
                path,
            };
        }
        let named = self.text("target");
        let target = named.as_deref().unwrap_or(target).to_owned();
        let base = targets.iter().find(|(name, _)| *name == target).map(|(_, t)| t.clone());
        if base.is_none() && named.is_some() {
            let known = did_you_mean(&target, targets.iter().map(|(n, _)| n.as_str()));
            self.fault(
                "target",
                "pack.unknown_target",
                format!("there is no target `{target}`{known}"),
            );
        }
        Endpoint { base, target, path }
    }

    /// Complains about a text that is no address.
    pub(crate) fn url_is_good(&self, key: &str, text: &str) {
        let good = Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if !good {
            self.fault(
                key,
                "pack.bad_url",
                format!("`{key}` has to be an address like https://api.example.com"),
            );
        }
    }

    /// Complains about every key that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.map.keys().filter(|k| !asked.contains(&k.as_str())) {
            let known = did_you_mean(key, asked.iter().copied());
            let message = format!("there is no key `{key}` here{known}");
            self.faults
                .borrow_mut()
                .push(Fault::new(self.place(key), "pack.unknown_key", message));
        }
    }
}

fn text_of(value: &Value) -> Option<Text> {
    match value {
        Value::String(s) => Some(Text::Literal(s.clone())),
        Value::Object(o) if o.len() == 1 => o.get("env")?.as_str().map(|n| Text::Env(n.to_owned())),
        _ => None,
    }
}
