//! The shape of a template: which JSON objects are operators, and what stands in them.

use serde_json::{Map, Value};

use super::path::{Part, Path, format_parts};
use super::suggest::did_you_mean;
use crate::json::clip;

/// Every operator, as it is written.
const OPERATORS: [&str; 7] = ["$ref", "$fmt", "$coalesce", "$literal", "$count", "$sum", "$collect"];

/// One node of a template.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// Null, a boolean, a number or a string: stands for itself.
    Scalar(&'a Value),
    /// An array of templates.
    Array(&'a [Value]),
    /// An object of templates.
    Object(&'a Map<String, Value>),
    /// `$literal`: stands for itself, whatever it looks like.
    Literal(&'a Value),
    /// `$ref`
    Ref(Path<'a>),
    /// `$fmt`
    Fmt(Vec<Part<'a>>),
    /// `$coalesce`
    Coalesce(&'a [Value]),
    /// `$count`
    Count(&'a Value),
    /// `$sum`
    Sum(Each<'a>),
    /// `$collect`
    Collect(Each<'a>),
}

/// The operand of an operator that goes over the items of an array.
#[derive(Debug)]
pub(super) struct Each<'a> {
    /// A template that gives the array.
    pub of: &'a Value,
    /// Where to look in each item; `None` takes the item itself.
    pub path: Option<Path<'a>>,
    /// Whether an item that has nothing there, or null, is passed over instead of being an error.
    pub skip_missing: bool,
}

/// What is wrong with a template, and where below the node.
#[derive(Debug)]
pub(super) struct Wrong {
    /// A JSON pointer that starts at the node.
    pub below: String,
    pub code: &'static str,
    pub message: String,
}

impl Wrong {
    fn template(below: impl Into<String>, message: impl Into<String>) -> Self {
        Wrong {
            below: below.into(),
            code: "pipeline.bad_template",
            message: message.into(),
        }
    }

    fn reference(below: &str, text: &str, why: &str) -> Self {
        Wrong {
            below: below.to_owned(),
            code: "pipeline.bad_reference",
            message: format!("`{}` is not a reference: {why}", clip(text)),
        }
    }
}

/// Reads one node of a template. An object is an operator if it has a key that starts with `$`; then it has
/// only that key.
pub(super) fn node(value: &Value) -> Result<Node<'_>, Wrong> {
    let map = match value {
        Value::Array(list) => return Ok(Node::Array(list)),
        Value::Object(map) => map,
        scalar => return Ok(Node::Scalar(scalar)),
    };
    let Some((name, operand)) = map.iter().find(|(key, _)| key.starts_with('$')) else {
        return Ok(Node::Object(map));
    };
    let below = format!("/{}", escape(name));
    if !OPERATORS.contains(&name.as_str()) {
        let meant = did_you_mean(name, OPERATORS);
        let message = format!(
            "there is no operator `{}`{meant}; to send such a key, wrap the object in `$literal`",
            clip(name)
        );
        return Err(Wrong::template(below, message));
    }
    if map.len() > 1 {
        let message = format!("`{name}` must be the only key of its object");
        return Err(Wrong::template("", message));
    }
    let text = || {
        operand
            .as_str()
            .ok_or_else(|| Wrong::template(&*below, format!("`{name}` takes a string")))
    };
    match name.as_str() {
        "$literal" => Ok(Node::Literal(operand)),
        "$ref" => {
            let text = text()?;
            Path::parse(text)
                .map(Node::Ref)
                .map_err(|why| Wrong::reference(&below, text, &why))
        }
        "$fmt" => {
            let parts = format_parts(text()?);
            parts
                .map(Node::Fmt)
                .map_err(|why| Wrong::template(&*below, format!("the format text is wrong: {why}")))
        }
        "$coalesce" => match operand.as_array() {
            Some(list) if !list.is_empty() => Ok(Node::Coalesce(list)),
            _ => Err(Wrong::template(below, "`$coalesce` takes an array of at least one template")),
        },
        "$count" => {
            computed(operand, &below)?;
            Ok(Node::Count(operand))
        }
        "$sum" => each(operand, name, &below).map(Node::Sum),
        _ => each(operand, name, &below).map(Node::Collect),
    }
}

/// Reads `{"of": template, "path"?: "a.b", "skip_missing"?: true}`.
fn each<'a>(operand: &'a Value, name: &str, below: &str) -> Result<Each<'a>, Wrong> {
    const FIELDS: [&str; 3] = ["of", "path", "skip_missing"];
    let form =
        || format!("`{name}` takes {{\"of\": array, \"path\": \"field\", \"skip_missing\": true}}, of which only `of` is needed");
    let map = operand.as_object().ok_or_else(|| Wrong::template(below, form()))?;
    if let Some(key) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(Wrong::template(format!("{below}/{}", escape(key)), form()));
    }
    let of = map.get("of").ok_or_else(|| Wrong::template(below, form()))?;
    computed(of, &format!("{below}/of"))?;
    let path = match map.get("path") {
        None => None,
        Some(path) => {
            let place = format!("{below}/path");
            let text = path.as_str().ok_or_else(|| Wrong::template(&*place, form()))?;
            Some(Path::parse(text).map_err(|why| Wrong::reference(&place, text, &why))?)
        }
    };
    let skip_missing = match map.get("skip_missing") {
        None => false,
        Some(Value::Bool(b)) => *b,
        Some(_) => return Err(Wrong::template(format!("{below}/skip_missing"), form())),
    };
    Ok(Each { of, path, skip_missing })
}

/// Refuses a bare scalar where an array is worked on: who writes `"input.orders"` there means a reference.
fn computed(operand: &Value, below: &str) -> Result<(), Wrong> {
    match operand {
        Value::String(text) => {
            let message = format!("a text is not an array; write {{\"$ref\": \"{}\"}}", clip(text));
            Err(Wrong::template(below, message))
        }
        Value::Array(_) | Value::Object(_) => Ok(()),
        _ => Err(Wrong::template(below, "an array is needed here, most often by a `$ref`")),
    }
}

/// What [`visit`] meets.
pub(super) enum Found<'a> {
    /// A reference; `optional` where its absence is no error, inside `$coalesce`.
    Reference {
        at: &'a str,
        path: &'a Path<'a>,
        optional: bool,
    },
    /// A node that is none.
    Wrong {
        at: &'a str,
        code: &'static str,
        message: String,
    },
}

/// Walks over a template and reports its references and faults. `at` is the pointer of the template and is
/// given back as it was.
pub(super) fn visit(value: &Value, at: &mut String, optional: bool, report: &mut dyn FnMut(Found<'_>)) {
    let length = at.len();
    let mut below = |suffix: &str, value: &Value, optional: bool, report: &mut dyn FnMut(Found<'_>)| {
        at.push_str(suffix);
        visit(value, at, optional, report);
        at.truncate(length);
    };
    match node(value) {
        Ok(Node::Scalar(_) | Node::Literal(_)) => {}
        Ok(Node::Array(list)) => {
            for (i, item) in list.iter().enumerate() {
                below(&format!("/{i}"), item, optional, report);
            }
        }
        Ok(Node::Object(map)) => {
            for (key, item) in map {
                below(&format!("/{}", escape(key)), item, optional, report);
            }
        }
        Ok(Node::Coalesce(list)) => {
            for (i, item) in list.iter().enumerate() {
                below(&format!("/$coalesce/{i}"), item, true, report);
            }
        }
        Ok(Node::Count(operand)) => below("/$count", operand, optional, report),
        Ok(Node::Sum(each)) => below("/$sum/of", each.of, optional, report),
        Ok(Node::Collect(each)) => below("/$collect/of", each.of, optional, report),
        Ok(Node::Ref(path)) => {
            at.push_str("/$ref");
            report(Found::Reference {
                at,
                path: &path,
                optional,
            });
        }
        Ok(Node::Fmt(parts)) => {
            at.push_str("/$fmt");
            for part in &parts {
                if let Part::Path(path) = part {
                    report(Found::Reference { at, path, optional });
                }
            }
        }
        Err(wrong) => {
            at.push_str(&wrong.below);
            report(Found::Wrong {
                at,
                code: wrong.code,
                message: wrong.message,
            });
        }
    }
    at.truncate(length);
}

/// What a template will surely give, where that can be told without rendering it: the name of the JSON type
/// with its article.
pub(super) fn known_kind(value: &Value) -> Option<&'static str> {
    match node(value).ok()? {
        Node::Scalar(v) | Node::Literal(v) => Some(super::path::kind_name(v)),
        Node::Array(_) | Node::Collect(_) => Some("an array"),
        Node::Object(_) => Some("an object"),
        Node::Fmt(_) => Some("a string"),
        Node::Count(_) | Node::Sum(_) => Some("a number"),
        Node::Ref(_) | Node::Coalesce(_) => None,
    }
}

/// A key as it stands in a JSON pointer (RFC 6901).
pub(super) fn escape(key: &str) -> std::borrow::Cow<'_, str> {
    if key.contains(['~', '/']) {
        key.replace('~', "~0").replace('/', "~1").into()
    } else {
        key.into()
    }
}
