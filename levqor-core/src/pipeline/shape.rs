//! The shape of a pipeline against its JSON Schema, and the list of faults that the check fills.

use serde::Deserialize as _;
use serde_json::Value;

use super::schema::{self, Class, PIPELINE};
use super::spec::{Credits, Step};
use crate::error::{Error, Fault};

/// A refusal names this many faults at most, and says how many more there are.
pub const MAX_FAULTS: usize = 100;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    omitted: usize,
}

impl Faults {
    /// Notes a fault; its message is only made where there is room for it.
    pub(super) fn add(&mut self, at: impl Into<String>, code: &str, message: impl FnOnce() -> String) {
        if self.list.len() < MAX_FAULTS {
            self.list.push(Fault::new(at, code, message()));
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_error(self) -> Error {
        let count = self.list.len() + self.omitted;
        let first = self.list.first().map_or("", |f| f.message.as_str());
        let message = match count {
            1 => format!("the pipeline is wrong: {first}"),
            _ => format!("the pipeline has {count} faults; the first: {first}"),
        };
        let e = Error::faults("pipeline.invalid", message, self.list);
        if self.omitted > 0 {
            e.with("omitted", self.omitted)
        } else {
            e
        }
    }
}

/// Compares the pipeline with its JSON Schema.
pub(super) fn shape(value: &Value, faults: &mut Faults) {
    let (schema, Some(validator)) = (&PIPELINE.0, &PIPELINE.1) else {
        return faults.add("", "internal", || "the schema of pipelines does not compile".to_owned());
    };
    for violation in validator.iter_errors(value).flat_map(|e| schema::explain(&e, schema)) {
        let at = violation.at.as_str();
        if at.ends_with("/when") && !matches!(violation.class, Class::UnknownField | Class::MissingField) {
            continue; // the reading of conditions says it better
        }
        let code = match violation.class {
            _ if at == "/version" && violation.class != Class::MissingField => "pipeline.unsupported_version",
            Class::UnknownField => "pipeline.unknown_field",
            Class::MissingField => "pipeline.missing_field",
            Class::WrongType => "pipeline.wrong_type",
            // The only choice in the schema that is not one of words.
            Class::OneOf => {
                if value.pointer(at).is_some_and(Value::is_object) {
                    let message = || "a step has exactly one of `action`, `wait` and `set`".to_owned();
                    faults.add(at, "pipeline.step_kind", message);
                }
                continue;
            }
            Class::Size | Class::Other => "pipeline.bad_value",
        };
        faults.add(at, code, || violation.message);
    }
}

/// Finds the place of what the schema takes and the types do not: an integer written as `3.0`, an amount of
/// credits that is too large.
pub(super) fn untyped(value: &Value, whole: &serde_json::Error, faults: &mut Faults) {
    let mut note = |at: String, e: Option<serde_json::Error>| {
        if let Some(e) = e {
            faults.add(at, "pipeline.bad_value", || e.to_string());
        }
    };
    if let Some(credits) = value.get("credits") {
        note("/credits".to_owned(), Credits::deserialize(credits).err());
    }
    for list in ["steps", "on_error"] {
        for (i, step) in items(value.get(list)).iter().enumerate() {
            note(format!("/{list}/{i}"), Step::deserialize(step).err());
        }
    }
    if faults.is_empty() {
        faults.add("", "pipeline.bad_value", || whole.to_string());
    }
}

/// A list of the pipeline; empty where it is none.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
