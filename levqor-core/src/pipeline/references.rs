//! Structural references: how a step's input takes values from the run's input and from earlier steps.
//!
//! A template is any JSON value. It stands for itself, except for objects whose one key starts with `$`:
//!
//! | operator | gives |
//! |---|---|
//! | `{"$ref": "input.customer.email"}` | the value at a path; an error where there is none |
//! | `{"$fmt": "order {input.id}"}` | text; strings go in bare, all else as compact JSON; `{{` and `}}` are braces |
//! | `{"$coalesce": [a, b, …]}` | the first that resolves and is not null; null if none does |
//! | `{"$count": array}` | the number of items of an array, or of fields of an object |
//! | `{"$sum": {"of": array, "path": "amount"}}` | the exact sum of integers |
//! | `{"$collect": {"of": array, "path": "id"}}` | the values at a path of every item |
//! | `{"$literal": …}` | its operand as it is, for data whose keys start with `$` |
//!
//! `array` is a template. In `$sum` and `$collect` the `path` may be left out (the items themselves), and
//! `"skip_missing": true` passes over items that have nothing or null there. `$sum` takes integers only, since a sum
//! of doubles depends on their order and money is no double: sum minor units. A double that is a whole number up
//! to 2^53 counts as an integer.
//!
//! A path starts at `input`, `steps.<id>.output`, `steps.<id>.status`, `run.id`, `run.account`, `run.started_at`
//! (RFC 3339), the name of a `for_each`'s item, `item.index` (from 0), or, in a pipeline's `on_error`, `error`.
//! There is no other computation: a template always ends, and gives at most [`MAX_RENDERED`] bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::path::{Part, Path, Stop, kind_name, walk};
use super::template::{Each, Found, Node, escape, node, visit};
use crate::error::{Error, Result};
use crate::json;
use crate::types::Millis;

/// The most that one template may give, in bytes of JSON (about).
pub const MAX_RENDERED: usize = 16 << 20;

/// Templates nested deeper than this are refused.
const MAX_DEPTH: usize = 128;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It did its work.
    Done,
    /// Its `when` was false.
    Skipped,
    /// It failed, and its `on_error` lets the run go on.
    Failed,
}

impl StepStatus {
    /// The word that `steps.<id>.status` gives.
    pub const fn name(self) -> &'static str {
        match self {
            StepStatus::Done => "done",
            StepStatus::Skipped => "skipped",
            StepStatus::Failed => "failed",
        }
    }
}

/// An ended step, as later ones see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// How it ended.
    pub status: StepStatus,
    /// What it gave; null for a step that was skipped or failed.
    pub output: Value,
}

/// What templates may know about the run.
#[derive(Clone, Copy, Debug)]
pub struct RunInfo<'a> {
    /// The run's id.
    pub id: &'a str,
    /// Whose credits it spends.
    pub account: &'a str,
    /// When it was first started.
    pub started_at: Millis,
}

/// The item that a `for_each` step works on.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The name it was given by `as`.
    pub name: &'a str,
    /// The item.
    pub value: &'a Value,
    /// Its place in the array, from 0.
    pub index: usize,
}

/// Everything that a template may refer to. It only borrows.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The run's input.
    pub input: &'a Value,
    /// The steps that ended, by id.
    pub steps: &'a BTreeMap<String, StepState>,
    /// The run.
    pub run: RunInfo<'a>,
    /// The item, inside a `for_each`.
    pub item: Option<Item<'a>>,
    /// The error, inside a pipeline's `on_error`: an object with `code`, `message` and `step`.
    pub error: Option<&'a Value>,
}

/// A reference that stands in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where, as a JSON pointer into the template.
    pub at: String,
    /// What it refers to, as it was written.
    pub path: String,
    /// Whether it may lead nowhere: it stands inside a `$coalesce`.
    pub optional: bool,
}

/// Every reference of a template, those inside format texts included. Parts that are no template are passed over;
/// [`check`](super::check()) names them.
///
/// ```
/// use levqor_core::pipeline::references::references;
/// let template = serde_json::json!({"to": {"$fmt": "{input.name} <{input.email}>"}});
/// let paths: Vec<String> = references(&template).map(|r| r.path).collect();
/// assert_eq!(paths, ["input.name", "input.email"]);
/// ```
pub fn references(template: &Value) -> impl Iterator<Item = Reference> {
    let mut found = Vec::new();
    if json::depth_ok(template, MAX_DEPTH) {
        visit(template, &mut String::new(), false, &mut |f| {
            if let Found::Reference { at, path, optional } = f {
                found.push(Reference {
                    at: at.to_owned(),
                    path: path.text.to_owned(),
                    optional,
                });
            }
        });
    }
    found.into_iter()
}

/// Fills a template in.
///
/// Errors are of kind invalid, with the pointer into the template as their place: `pipeline.unresolved` (a reference
/// leads nowhere; the message says where it stopped), `pipeline.type_mismatch`, `pipeline.overflow`,
/// `pipeline.too_large`, and for a template that was never checked `pipeline.bad_template`,
/// `pipeline.bad_reference`, `pipeline.too_deep`.
pub fn render(template: &Value, scope: &Scope<'_>) -> Result<Value> {
    if !json::depth_ok(template, MAX_DEPTH) {
        let message = format!("the template is nested deeper than {MAX_DEPTH} levels");
        return Err(Error::invalid("pipeline.too_deep", message));
    }
    let mut renderer = Renderer {
        scope,
        left: MAX_RENDERED,
    };
    renderer.value(template).map(Cow::into_owned)
}

/// The value that a reference's path leads to, or `None` where it leads nowhere.
pub(super) fn lookup(template: &Value, scope: &Scope<'_>) -> Result<Option<Value>> {
    match render(template, scope) {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.code() == UNRESOLVED => Ok(None),
        Err(e) => Err(e),
    }
}

const UNRESOLVED: &str = "pipeline.unresolved";

struct Renderer<'a> {
    scope: &'a Scope<'a>,
    /// Bytes that may still be given.
    left: usize,
}

impl<'a> Renderer<'a> {
    fn value(&mut self, template: &'a Value) -> Result<Cow<'a, Value>> {
        let node = node(template).map_err(|w| Error::invalid(w.code, w.message).at(w.below))?;
        let value = match node {
            Node::Scalar(v) | Node::Literal(v) => {
                self.charge(weight(v))?;
                return Ok(Cow::Borrowed(v));
            }
            Node::Ref(path) => {
                let value = self.resolve(&path).map_err(|e| e.at("/$ref"))?;
                self.charge(weight(&value))?;
                return Ok(value);
            }
            Node::Array(list) => {
                let items = list.iter().enumerate().map(|(i, item)| {
                    let value = self.value(item).map_err(|e| below(&e, &format!("/{i}")))?;
                    Ok(value.into_owned())
                });
                Value::Array(items.collect::<Result<_>>()?)
            }
            Node::Object(map) => {
                let mut out = Map::new();
                for (key, item) in map {
                    self.charge(key.len() + 4)?;
                    let value = self.value(item).map_err(|e| below(&e, &format!("/{}", escape(key))))?;
                    out.insert(key.clone(), value.into_owned());
                }
                Value::Object(out)
            }
            Node::Fmt(parts) => Value::String(self.format(&parts).map_err(|e| e.at("/$fmt"))?),
            Node::Coalesce(list) => {
                for (i, item) in list.iter().enumerate() {
                    match self.value(item) {
                        Ok(value) if value.is_null() => {}
                        Err(e) if e.code() == UNRESOLVED => {}
                        other => return other.map_err(|e| below(&e, &format!("/$coalesce/{i}"))),
                    }
                }
                Value::Null
            }
            Node::Count(operand) => {
                let value = self.value(operand).map_err(|e| below(&e, "/$count"))?;
                match value.as_ref() {
                    Value::Array(list) => Value::from(list.len()),
                    Value::Object(map) => Value::from(map.len()),
                    other => return Err(mismatch("`$count` counts items or fields", other).at("/$count")),
                }
            }
            Node::Sum(each) => self.sum(&each)?,
            Node::Collect(each) => {
                let of = self.items(&each, "/$collect/of")?;
                let mut out = Vec::new();
                for item in each_value(&of, &each, "/$collect/of") {
                    let item = item?;
                    self.charge(weight(item))?;
                    out.push(item.clone());
                }
                Value::Array(out)
            }
        };
        Ok(Cow::Owned(value))
    }

    /// The array that `$sum` or `$collect` goes over.
    fn items(&mut self, each: &Each<'a>, at: &str) -> Result<Cow<'a, Value>> {
        let of = self.value(each.of).map_err(|e| below(&e, at))?;
        if of.is_array() {
            Ok(of)
        } else {
            Err(mismatch("an array is needed", &of).at(at))
        }
    }

    fn sum(&mut self, each: &Each<'a>) -> Result<Value> {
        let of = self.items(each, "/$sum/of")?;
        let mut sum: i128 = 0;
        for item in each_value(&of, each, "/$sum/of") {
            let item = item?;
            let n = integer(item).ok_or_else(|| {
                let e = match item {
                    Value::Number(_) => {
                        Error::invalid("pipeline.type_mismatch", "`$sum` adds integers, and a number here is none")
                    }
                    other => mismatch("`$sum` adds integers", other),
                };
                e.at("/$sum").hint("sum amounts in their smallest unit, as integers")
            })?;
            // Fewer than 2^63 items of 64 bits each stay within 128 bits.
            sum += n;
        }
        let fits = i64::try_from(sum)
            .map(Value::from)
            .or_else(|_| u64::try_from(sum).map(Value::from));
        fits.map_err(|_| Error::invalid("pipeline.overflow", "the sum does not fit 64 bits").at("/$sum"))
    }

    fn format(&mut self, parts: &[Part<'_>]) -> Result<String> {
        let mut text = String::new();
        for part in parts {
            let before = text.len();
            match part {
                Part::Text(t) => text.push_str(t),
                Part::Path(path) => match self.resolve(path)?.as_ref() {
                    Value::String(s) => text.push_str(s),
                    other => text.push_str(&json::canonical(other)),
                },
            }
            self.charge(text.len() - before)?;
        }
        Ok(text)
    }

    fn resolve(&self, path: &Path<'_>) -> Result<Cow<'a, Value>> {
        let scope = self.scope;
        let segments = path.segments.as_slice();
        let text = |s: &str| Ok(Cow::Owned(Value::String(s.to_owned())));
        let inside = |value: &'a Value, from: usize| {
            walk(value, &segments[from..]).map(Cow::Borrowed).map_err(|stop| {
                let resolved = from + stop.resolved;
                unresolved(path, &Stop { resolved, ..stop })
            })
        };
        let nowhere = |resolved: usize, why: &str| {
            let why = why.to_owned();
            Err(unresolved(path, &Stop { resolved, why }))
        };
        match segments {
            ["input", ..] => inside(scope.input, 1),
            ["run", "id"] => text(scope.run.id),
            ["run", "account"] => text(scope.run.account),
            ["run", "started_at"] => text(&scope.run.started_at.rfc3339()),
            ["steps", id, field, ..] => match (scope.steps.get(*id), *field) {
                (None, _) => nowhere(1, &format!("has no ended step `{}`", json::clip(id))),
                (Some(step), "status") if segments.len() == 3 => text(step.status.name()),
                (Some(step), "output") => inside(&step.output, 3),
                _ => nowhere(2, "has only `output` and `status`"),
            },
            ["item", "index"] if scope.item.is_some() => {
                let index = scope.item.map_or(0, |item| item.index);
                Ok(Cow::Owned(Value::from(index)))
            }
            ["error", ..] if scope.error.is_some() => inside(scope.error.unwrap_or(&Value::Null), 1),
            [root, ..] => match scope.item {
                Some(item) if item.name == *root => inside(item.value, 1),
                _ => nowhere(0, "has nothing of that name here"),
            },
            [] => nowhere(0, "is asked for nothing"),
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let message = format!("the template gives more than {MAX_RENDERED} bytes");
            Error::invalid("pipeline.too_large", message).with("limit", MAX_RENDERED)
        })?;
        Ok(())
    }
}

/// The values that `$sum` and `$collect` work on.
fn each_value<'v>(of: &'v Value, each: &'v Each<'_>, at: &'v str) -> impl Iterator<Item = Result<&'v Value>> {
    let list = of.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().enumerate().filter_map(move |(i, item)| {
        let found = match &each.path {
            None => Ok(item),
            Some(path) => walk(item, &path.segments).map_err(|stop| {
                let stop = Stop {
                    why: format!("of item {i} {}", stop.why),
                    ..stop
                };
                unresolved(path, &stop).at(at)
            }),
        };
        match found {
            Ok(Value::Null) | Err(_) if each.skip_missing => None,
            found => Some(found),
        }
    })
}

/// A JSON number that is an integer without doubt.
fn integer(value: &Value) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let Value::Number(n) = value else { return None };
    let exact = n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    exact.or_else(|| {
        let x = n.as_f64().filter(|x| x.fract() == 0.0 && x.abs() <= EXACT)?;
        #[allow(clippy::cast_possible_truncation)] // a whole number up to 2^53
        Some(x as i128)
    })
}

fn unresolved(path: &Path<'_>, stop: &Stop) -> Error {
    let head = path.head(stop.resolved);
    let head = if head.is_empty() {
        "the run"
    } else {
        &format!("`{}`", json::clip(&head))
    };
    let message = format!(
        "the reference `{}` does not resolve: {head} {}",
        json::clip(path.text),
        stop.why
    );
    Error::invalid(UNRESOLVED, message).with("reference", path.text)
}

fn mismatch(wanted: &str, got: &Value) -> Error {
    Error::invalid("pipeline.type_mismatch", format!("{wanted}, and this is {}", kind_name(got)))
}

/// The same error, its place further down.
pub(super) fn below(e: &Error, prefix: &str) -> Error {
    let place = format!("{prefix}{}", e.place().unwrap_or_default());
    e.clone().at(place)
}

/// About how many bytes a value has as JSON.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(s) => s.len() + 2,
        Value::Array(list) => list.iter().map(|v| weight(v) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(k, v)| k.len() + 4 + weight(v)).sum::<usize>() + 2,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn with_input(input: &Value, template: &Value) -> Result<Value> {
        let steps = BTreeMap::new();
        let run = RunInfo {
            id: "run_1",
            account: "acme",
            started_at: Millis(0),
        };
        render(
            template,
            &Scope {
                input,
                steps: &steps,
                run,
                item: None,
                error: None,
            },
        )
    }

    #[test]
    fn an_unresolved_reference_says_where_the_path_stopped() {
        let input = json!({"customer": {"emails": ["a"]}, "n": 1});
        for (path, place) in [
            ("input.customer.email", "`input.customer` has no field `email`"),
            (
                "input.customer.emails[1]",
                "`input.customer.emails` has 1 items, so there is no item 1",
            ),
            ("input.customer.emails.first", "`input.customer.emails` is an array"),
            ("input.n.x", "`input.n` is a number"),
            ("steps.a.output", "`steps` has no ended step `a`"),
            ("other", "the run has nothing of that name here"),
        ] {
            let e = with_input(&input, &json!({"to": [{"$ref": path}]})).unwrap_err();
            assert_eq!((e.code(), e.place()), ("pipeline.unresolved", Some("/to/0/$ref")), "{path}");
            assert!(e.message().contains(place), "{path}: {}", e.message());
        }
    }

    #[test]
    fn what_a_template_gives_is_bounded() {
        let input = json!("x".repeat(MAX_RENDERED / 8));
        let template = |n| json!(vec![json!({"$ref": "input"}); n]);
        assert!(with_input(&input, &template(7)).is_ok());
        assert_eq!(with_input(&input, &template(9)).unwrap_err().code(), "pipeline.too_large");
        let text = json!({"$fmt": "{input}".repeat(9)});
        assert_eq!(with_input(&input, &text).unwrap_err().code(), "pipeline.too_large");
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        assert_eq!(with_input(&input, &deep).unwrap_err().code(), "pipeline.too_deep");
    }

    #[test]
    fn no_value_shows_in_an_error() {
        let input = json!({"secret": "hunter2-hunter2", "list": ["hunter2-hunter2"]});
        for template in [
            json!({"$ref": "input.secret.x"}),
            json!({"$count": {"$ref": "input.secret"}}),
            json!({"$sum": {"of": {"$ref": "input.list"}}}),
        ] {
            let e = with_input(&input, &template).unwrap_err();
            assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
        }
    }
}
