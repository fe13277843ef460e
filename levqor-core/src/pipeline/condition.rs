//! Conditions: the small set of JSON logic that a step's `when` is written in.
//!
//! `{"==": [a, b]}`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `contains`, `{"exists": {"$ref": …}}`,
//! `{"and": [c, …]}`, `{"or": [c, …]}`, `{"not": c}`, `true`, `false`, or a template that gives a boolean.
//! Operands `a` and `b` are [templates](mod@super::references).
//!
//! * Equality is of JSON values: numbers by value (`1` equals `1.0`), nothing is converted.
//! * Order is of two numbers or of two strings (by code point; RFC 3339 instants in UTC order well).
//! * `in` asks whether the left is an item of the right, or a part of its text; `contains` is `in` turned round.
//! * `exists` holds where the reference leads to something that is not null.
//! * `and` and `or` stop as soon as they are decided, so that `exists` may guard what follows it.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use super::path::kind_name;
use super::references::{Scope, below, lookup, render};
use super::suggest::did_you_mean;
use super::template::{Found, Node, escape, known_kind, node, visit};
use crate::error::{Error, Fault, Result};
use crate::json::{self, clip};

/// Conditions nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

const OPERATORS: [&str; 12] = [
    "==", "!=", "<", "<=", ">", ">=", "in", "contains", "exists", "and", "or", "not",
];

/// A condition that has been read and is well formed.
#[derive(Clone, Debug)]
pub struct Condition {
    source: Value,
    tree: Tree,
}

#[derive(Clone, Debug)]
enum Tree {
    Always(bool),
    Template(Value),
    Compare(Operator, Value, Value),
    Exists(Value),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Contains,
}

impl Operator {
    const ALL: [(&'static str, Operator); 8] = [
        ("==", Operator::Eq),
        ("!=", Operator::Ne),
        ("<", Operator::Lt),
        ("<=", Operator::Le),
        (">", Operator::Gt),
        (">=", Operator::Ge),
        ("in", Operator::In),
        ("contains", Operator::Contains),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, op)| *op)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(n, _)| n)
    }
}

impl Condition {
    /// Reads a condition. On failure every fault is given, with its pointer from the condition.
    pub fn parse(source: &Value) -> Result<Self, Vec<Fault>> {
        if !json::depth_ok(source, MAX_DEPTH) {
            let message = format!("the condition is nested deeper than {MAX_DEPTH} levels");
            return Err(vec![Fault::new("", "pipeline.too_deep", message)]);
        }
        let mut reader = Reader { faults: Vec::new() };
        match reader.read(source, &mut String::new()) {
            Some(tree) if reader.faults.is_empty() => Ok(Condition {
                source: source.clone(),
                tree,
            }),
            _ => Err(reader.faults),
        }
    }

    /// The condition as it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let source = Value::deserialize(d)?;
        Condition::parse(&source).map_err(|faults| {
            let text = faults.first().map_or("the condition is wrong", |f| f.message.as_str());
            serde::de::Error::custom(text)
        })
    }
}

impl schemars::JsonSchema for Condition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A condition: true, false, a template that gives a boolean, or an object with one of \
                the keys ==, !=, <, <=, >, >=, in, contains (two templates), exists (a $ref), and, or (conditions), not (a condition).",
            "type": ["object", "boolean"],
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn wrong(&mut self, at: &str, message: impl Into<String>) -> Option<Tree> {
        self.faults.push(Fault::new(at, "pipeline.bad_condition", message));
        None
    }

    fn read(&mut self, value: &Value, at: &mut String) -> Option<Tree> {
        let map = match value {
            Value::Bool(b) => return Some(Tree::Always(*b)),
            Value::Object(map) => map,
            other => {
                let message = format!("a condition is an object or a boolean, and this is {}", kind_name(other));
                return self.wrong(at, message);
            }
        };
        let mut members = map.iter();
        let (Some((name, operand)), None) = (members.next(), members.next()) else {
            let message = "a condition is an object with exactly one key; join several with `and` or `or`";
            return self.wrong(at, message);
        };
        if name.starts_with('$') {
            return self.boolean(value, at);
        }
        let length = at.len();
        at.push('/');
        at.push_str(&escape(name));
        let tree = match name.as_str() {
            "and" | "or" => self.list(name, operand, at),
            "not" => self.read(operand, at).map(|tree| Tree::Not(Box::new(tree))),
            "exists" => match node(operand) {
                Ok(Node::Ref(_)) => Some(Tree::Exists(operand.clone())),
                _ => self.wrong(at, "`exists` takes a reference, like {\"$ref\": \"input.email\"}"),
            },
            _ => {
                if let Some(op) = Operator::named(name) {
                    self.compare(op, operand, at)
                } else {
                    let meant = did_you_mean(name, OPERATORS);
                    self.wrong(at, format!("there is no condition `{}`{meant}", clip(name)))
                }
            }
        };
        at.truncate(length);
        tree
    }

    fn list(&mut self, name: &str, operand: &Value, at: &mut String) -> Option<Tree> {
        let Some(list) = operand.as_array().filter(|l| !l.is_empty()) else {
            return self.wrong(at, format!("`{name}` takes an array of at least one condition"));
        };
        let length = at.len();
        let mut trees = Vec::new();
        for (i, item) in list.iter().enumerate() {
            let _ = write!(at, "/{i}");
            trees.extend(self.read(item, at));
            at.truncate(length);
        }
        Some(if name == "and" { Tree::And(trees) } else { Tree::Or(trees) })
    }

    fn compare(&mut self, op: Operator, operand: &Value, at: &mut String) -> Option<Tree> {
        let Some([left, right]) = operand.as_array().map(Vec::as_slice) else {
            return self.wrong(at, format!("`{}` takes an array of two operands", op.name()));
        };
        let length = at.len();
        let mut fine = true;
        for (suffix, side) in [("/0", left), ("/1", right)] {
            at.push_str(suffix);
            fine &= self.template(side, at);
            at.truncate(length);
        }
        if !fine {
            return None;
        }
        if let Err((side, message)) = fits(op, known_kind(left), known_kind(right)) {
            return self.wrong(&format!("{at}{side}"), message);
        }
        Some(Tree::Compare(op, left.clone(), right.clone()))
    }

    /// A template that stands for a whole condition: it must be able to give a boolean.
    fn boolean(&mut self, value: &Value, at: &mut String) -> Option<Tree> {
        if !self.template(value, at) {
            return None;
        }
        match known_kind(value) {
            None | Some("a boolean") => Some(Tree::Template(value.clone())),
            Some(kind) => self.wrong(at, format!("a condition must give a boolean, and this gives {kind}")),
        }
    }

    /// Whether an operand is a sound template; its faults are noted.
    fn template(&mut self, value: &Value, at: &mut String) -> bool {
        let before = self.faults.len();
        visit(value, at, false, &mut |found| {
            if let Found::Wrong { at, code, message } = found {
                self.faults.push(Fault::new(at, code, message));
            }
        });
        self.faults.len() == before
    }
}

/// Reports the references of a condition, sound or not; one under `exists` may lead nowhere. `at` is given back
/// as it was.
pub(super) fn visit_references(value: &Value, at: &mut String, report: &mut dyn FnMut(Found<'_>)) {
    let mut members = value.as_object().into_iter().flatten();
    let (Some((name, operand)), None) = (members.next(), members.next()) else {
        return visit(value, at, false, report);
    };
    let length = at.len();
    at.push('/');
    at.push_str(&escape(name));
    match (name.as_str(), operand) {
        ("exists", operand) => visit(operand, at, true, report),
        ("not", operand) => visit_references(operand, at, report),
        ("and" | "or", Value::Array(list)) => {
            let length = at.len();
            for (i, item) in list.iter().enumerate() {
                let _ = write!(at, "/{i}");
                visit_references(item, at, report);
                at.truncate(length);
            }
        }
        _ => {
            at.truncate(length);
            visit(value, at, false, report);
        }
    }
    at.truncate(length);
}

/// Whether an operator can work on the types that are known. The error says which side is wrong: a pointer
/// from the operator's operands.
fn fits(op: Operator, left: Option<&str>, right: Option<&str>) -> Result<(), (&'static str, String)> {
    match op {
        Operator::Eq | Operator::Ne => Ok(()),
        Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge => {
            for (side, kind) in [("/0", left), ("/1", right)] {
                if let Some(kind) = kind.filter(|k| !matches!(*k, "a number" | "a string")) {
                    return Err((side, format!("`{}` orders numbers or strings, and this is {kind}", op.name())));
                }
            }
            match (left, right) {
                (Some(l), Some(r)) if l != r => Err((
                    "",
                    format!("`{}` orders two numbers or two strings, not {l} and {r}", op.name()),
                )),
                _ => Ok(()),
            }
        }
        Operator::In => member(op, ("/0", left), ("/1", right)),
        Operator::Contains => member(op, ("/1", right), ("/0", left)),
    }
}

fn member(
    op: Operator,
    (part_at, part): (&'static str, Option<&str>),
    (whole_at, whole): (&'static str, Option<&str>),
) -> Result<(), (&'static str, String)> {
    match (whole, part) {
        (None | Some("an array"), _) | (Some("a string"), None | Some("a string")) => Ok(()),
        (Some("a string"), Some(kind)) => Err((part_at, format!("only a string can be part of a string, and this is {kind}"))),
        (Some(kind), _) => Err((
            whole_at,
            format!("`{}` looks into an array or a string, and this is {kind}", op.name()),
        )),
    }
}

/// Decides a condition.
///
/// Errors are those of [`render`] and `pipeline.type_mismatch`, with their place inside the condition.
pub fn evaluate(condition: &Condition, scope: &Scope<'_>) -> Result<bool> {
    decide(&condition.tree, scope)
}

fn decide(tree: &Tree, scope: &Scope<'_>) -> Result<bool> {
    match tree {
        Tree::Always(b) => Ok(*b),
        Tree::Template(template) => match render(template, scope)? {
            Value::Bool(b) => Ok(b),
            other => {
                let message = format!("a condition must give a boolean, and this gave {}", kind_name(&other));
                Err(Error::invalid("pipeline.type_mismatch", message))
            }
        },
        Tree::Exists(reference) => Ok(lookup(reference, scope)?.is_some_and(|v| !v.is_null())),
        Tree::Not(inner) => decide(inner, scope).map(|b| !b).map_err(|e| below(&e, "/not")),
        Tree::And(list) => all(list, "and", true, scope),
        Tree::Or(list) => all(list, "or", false, scope),
        Tree::Compare(op, left, right) => {
            let name = op.name();
            let side = |template, i: u8| render(template, scope).map_err(|e| below(&e, &format!("/{name}/{i}")));
            compare(*op, &side(left, 0)?, &side(right, 1)?)
        }
    }
}

/// Goes over a list until one answers other than `neutral`.
fn all(list: &[Tree], name: &str, neutral: bool, scope: &Scope<'_>) -> Result<bool> {
    for (i, tree) in list.iter().enumerate() {
        if decide(tree, scope).map_err(|e| below(&e, &format!("/{name}/{i}")))? != neutral {
            return Ok(!neutral);
        }
    }
    Ok(neutral)
}

fn compare(op: Operator, left: &Value, right: &Value) -> Result<bool> {
    fits(op, Some(kind_name(left)), Some(kind_name(right))).map_err(|(side, message)| {
        let place = format!("/{}{side}", op.name());
        Error::invalid("pipeline.type_mismatch", message).at(place)
    })?;
    let (part, whole) = if op == Operator::Contains {
        (right, left)
    } else {
        (left, right)
    };
    let order = order(left, right);
    Ok(match op {
        Operator::Eq => equal(left, right),
        Operator::Ne => !equal(left, right),
        Operator::Lt => order == Ordering::Less,
        Operator::Le => order != Ordering::Greater,
        Operator::Gt => order == Ordering::Greater,
        Operator::Ge => order != Ordering::Less,
        Operator::In | Operator::Contains => match (whole, part) {
            (Value::Array(list), part) => list.iter().any(|item| equal(item, part)),
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            _ => false,
        },
    })
}

/// The order of two numbers or two strings.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => order_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

/// Equality of JSON values, numbers by their value.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order_numbers(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The exact order of two JSON numbers; an integer of 64 bits is never rounded to a double.
fn order_numbers(a: &Number, b: &Number) -> Ordering {
    let integer = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    let double = |n: &Number| n.as_f64().unwrap_or(0.0);
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => order_mixed(a, double(b)),
        (None, Some(b)) => order_mixed(b, double(a)).reverse(),
        (None, None) => double(a).partial_cmp(&double(b)).unwrap_or(Ordering::Equal),
    }
}

fn order_mixed(integer: i128, x: f64) -> Ordering {
    // Beyond 64 bits a double decides by itself; within, its whole part is exact in 128 bits.
    const LIMIT: f64 = 36_893_488_147_419_103_232.0; // 2^65
    if x.abs() >= LIMIT {
        return if x > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[allow(clippy::cast_possible_truncation)] // smaller than 2^65
    let whole = x.trunc() as i128;
    let fraction = if x.fract() > 0.0 {
        Ordering::Less
    } else if x.fract() < 0.0 {
        Ordering::Greater
    } else {
        Ordering::Equal
    };
    integer.cmp(&whole).then(fraction)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_ordered_by_their_exact_value() {
        let sorted = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-1.5),
            json!(-1),
            json!(0),
            json!(0.5),
            json!(1),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_i64),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(order(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert!(equal(&json!({"a": [1, 0.0]}), &json!({"a": [1.0, -0.0]})));
        assert!(!equal(&json!([1]), &json!([1, 1])) && !equal(&json!("1"), &json!(1)));
    }

    #[test]
    fn a_condition_is_read_back_as_it_was_written() {
        let source = json!({"and": [{"exists": {"$ref": "input.a"}}, {"not": {">": [{"$ref": "input.a"}, 3]}}]});
        let condition: Condition = serde_json::from_value(source.clone()).unwrap();
        assert_eq!(serde_json::to_value(&condition).unwrap(), source);
        assert!(serde_json::from_value::<Condition>(json!({"=": [1, 2]})).is_err());
    }

    #[test]
    fn every_fault_of_a_condition_is_named() {
        let faults =
            Condition::parse(&json!({"or": [{"=": [1, 2]}, {"<": [1]}, {"in": ["a", 5]}, {"not": {"$rf": "x"}}, "yes"]}))
                .unwrap_err();
        let places: Vec<&str> = faults.iter().map(|f| f.at.as_str()).collect();
        assert_eq!(places, ["/or/0/=", "/or/1/<", "/or/2/in/1", "/or/3/not/$rf", "/or/4"]);
    }
}
