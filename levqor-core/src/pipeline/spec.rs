//! The pipeline format as types. `schema/pipeline.schema.json` is generated from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::condition::Condition;
use super::references::{Scope, below, render};
use crate::error::{Error, Result};
use crate::types::{MicroCredits, Millis, parse_duration};

/// A pipeline: what a run does, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The version of the format: 1.
    #[schemars(schema_with = "version_one")]
    pub version: u32,
    /// The pipeline's name: a letter or digit, then up to 127 of a-z A-Z 0-9 . _ -
    #[schemars(regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$"))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 4000))]
    pub description: Option<String>,
    /// JSON Schema (2020-12) that a run's input must meet. Without it any input is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub input_schema: Option<Value>,
    /// What a run costs. Without it a run is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Credits")]
    pub credits: Option<Credits>,
    /// The longest that a run may take, waits included, like "15m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub timeout: Option<Span>,
    /// The steps. They run in this order, unless `needs` says otherwise.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// Steps that are run, in their order, when the run has failed for good: `action` and `set` only. They may refer to
    /// `error.code`, `error.message` and `error.step`, and inside `$coalesce` to the steps of the pipeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_error: Vec<Step>,
    /// The run's output, a template. Without it a run gives null.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    pub output: Option<Value>,
}

/// What a run costs, in credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RunCredits")]
pub struct Credits {
    /// Held when the run is submitted: the most that it can cost.
    pub hold: MicroCredits,
    /// Charged for a run that succeeds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: MicroCredits,
    /// Charged for each call of an action that succeeds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_call: MicroCredits,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StepFields", into = "StepFields")]
pub struct Step {
    /// The name that others refer to it by.
    pub id: String,
    /// A name for people.
    pub title: Option<String>,
    /// The steps that must have ended before; `None` means the one before it in the list.
    pub needs: Option<Vec<String>>,
    /// Whether to run it at all. Decided once, before `for_each`.
    pub when: Option<Condition>,
    /// Run it once for each item of an array; its output is then the array of theirs.
    pub for_each: Option<ForEach>,
    /// How failures of an action are repeated; `None` leaves it to the engine.
    pub retry: Option<Retry>,
    /// The longest that one attempt of an action may take.
    pub timeout: Option<Span>,
    /// What its failure does to the run.
    pub on_error: OnError,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Calls an action of a connector; gives what the action gives.
    Action {
        /// `connector.action`
        action: String,
        /// The name of the credentials to use.
        connection: Option<String>,
        /// The action's input, a template.
        input: Option<Value>,
    },
    /// Lets time pass.
    Wait(Wait),
    /// Gives the rendered template.
    Set(Value),
}

/// What a step does, how often and on which condition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["action"]}, {"required": ["wait"]}, {"required": ["set"]}]))]
struct StepFields {
    /// The name that others refer to it by: a small letter, then up to 63 of a-z 0-9 _
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,63}$"))]
    id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 200))]
    title: Option<String>,
    /// The steps that must have ended before this one starts. Without it that is the step before it in the list; an empty
    /// list lets it start at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    needs: Option<Vec<String>>,
    /// Run the step only if this holds; otherwise it is skipped and its output is null. Decided once, before `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Condition")]
    when: Option<Condition>,
    /// Run the step once for each item of an array; its output is then an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ForEach")]
    for_each: Option<ForEach>,
    /// How failures of an action are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Retry")]
    retry: Option<Retry>,
    /// The longest that one attempt of an action may take, like "20s".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    timeout: Option<Span>,
    /// What its failure does to the run.
    #[serde(default, skip_serializing_if = "is_default")]
    on_error: OnError,
    /// The action to call, `connector.action`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = r"^[a-z][a-z0-9_-]{0,63}\.[a-z][a-z0-9_.]{0,63}$"))]
    action: Option<String>,
    /// The name of the connection (credentials and settings) that the action uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 128))]
    connection: Option<String>,
    /// The action's input, a template; an empty object without it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    input: Option<Value>,
    /// Let time pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WaitFields")]
    wait: Option<Wait>,
    /// A template; what it gives is the step's output.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    set: Option<Value>,
}

impl TryFrom<StepFields> for Step {
    type Error = String;

    fn try_from(f: StepFields) -> Result<Self, String> {
        let no_action_fields = f.connection.is_none() && f.input.is_none() && f.retry.is_none() && f.timeout.is_none();
        let kind = match (f.action, f.wait, f.set) {
            (Some(action), None, None) => StepKind::Action {
                action,
                connection: f.connection,
                input: f.input,
            },
            (None, Some(wait), None) if no_action_fields => StepKind::Wait(wait),
            (None, None, Some(set)) if no_action_fields => StepKind::Set(set),
            (None, Some(_), None) | (None, None, Some(_)) => {
                return Err("`connection`, `input`, `retry` and `timeout` go with `action` only".to_owned());
            }
            _ => return Err("a step has exactly one of `action`, `wait` and `set`".to_owned()),
        };
        Ok(Step {
            id: f.id,
            title: f.title,
            needs: f.needs,
            when: f.when,
            for_each: f.for_each,
            retry: f.retry,
            timeout: f.timeout,
            on_error: f.on_error,
            kind,
        })
    }
}

impl From<Step> for StepFields {
    fn from(step: Step) -> Self {
        let (mut action, mut connection, mut input, mut wait, mut set) = (None, None, None, None, None);
        match step.kind {
            StepKind::Action {
                action: name,
                connection: with,
                input: template,
            } => (action, connection, input) = (Some(name), with, template),
            StepKind::Wait(w) => wait = Some(w),
            StepKind::Set(template) => set = Some(template),
        }
        StepFields {
            id: step.id,
            title: step.title,
            needs: step.needs,
            when: step.when,
            for_each: step.for_each,
            retry: step.retry,
            timeout: step.timeout,
            on_error: step.on_error,
            action,
            connection,
            input,
            wait,
            set,
        }
    }
}

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        StepFields::json_schema(generator)
    }
}

/// Once for each item of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForEach {
    /// A template that gives the array.
    #[serde(rename = "in")]
    pub items: Value,
    /// The name that the step's templates refer to the item by. Its index is `item.index`.
    #[serde(rename = "as")]
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,63}$"))]
    pub name: String,
    /// How many items are worked on at the same time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub parallel: u32,
    /// A longer array fails the step.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_items: u32,
    /// What the failure of an item does.
    #[serde(default)]
    pub on_item_error: OnItemError,
}

/// What the failure of an item does to its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnItemError {
    /// The step fails.
    #[default]
    Fail,
    /// The step goes on; the item's error stands in the output at the item's place.
    Collect,
    /// The step goes on; the output is shorter by the item.
    Skip,
}

/// What the failure of a step does to the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on; the step's status is `failed` and its output null.
    Continue,
}

/// How failures of an action are repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first one included.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// The first wait, like "500ms".
    #[serde(default = "half_a_second")]
    pub initial: Span,
    /// The longest wait, like "30s".
    #[serde(default = "half_a_minute")]
    pub max: Span,
    /// The failures that are repeated; all of them without it.
    #[serde(default = "every_cause")]
    #[schemars(length(min = 1))]
    pub on: Vec<RetryOn>,
}

/// A failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline, extend("enum" = ["rate_limited", "upstream", "unavailable", "network", "timeout"]))]
pub enum RetryOn {
    /// The provider, or our own budget for it, refused for now.
    RateLimited,
    /// The provider answered that it is broken or overloaded; also written `unavailable`.
    #[serde(alias = "unavailable")]
    Upstream,
    /// The provider was not reached, or the connection broke.
    Network,
    /// It took too long.
    Timeout,
}

/// A pause of a run. Nothing is held meanwhile, and it outlives restarts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WaitFields", into = "WaitFields")]
pub enum Wait {
    /// So long from when the step started.
    Duration(Span),
    /// Until an instant: a template that gives RFC 3339 text or milliseconds since 1970.
    Until(Value),
}

/// A pause: exactly one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1, "maxProperties" = 1))]
struct WaitFields {
    /// So long, like "10m".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    duration: Option<Span>,
    /// Until an instant: a template that gives RFC 3339 text or milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Value")]
    until: Option<Value>,
}

impl TryFrom<WaitFields> for Wait {
    type Error = String;

    fn try_from(f: WaitFields) -> Result<Self, String> {
        match (f.duration, f.until) {
            (Some(span), None) => Ok(Wait::Duration(span)),
            (None, Some(template)) => Ok(Wait::Until(template)),
            _ => Err("`wait` has exactly one of `duration` and `until`".to_owned()),
        }
    }
}

impl From<Wait> for WaitFields {
    fn from(wait: Wait) -> Self {
        let (duration, until) = match wait {
            Wait::Duration(span) => (Some(span), None),
            Wait::Until(template) => (None, Some(template)),
        };
        WaitFields { duration, until }
    }
}

impl Wait {
    /// The instant at which the wait is over, for a step that started at `started`.
    ///
    /// Errors: those of [`render`], their place inside the wait, and `pipeline.type_mismatch` where `until`
    /// gives no instant.
    pub fn due(&self, started: Millis, scope: &Scope<'_>) -> Result<Millis> {
        match self {
            Wait::Duration(span) => Ok(started + span.0),
            Wait::Until(template) => {
                let value = render(template, scope).map_err(|e| below(&e, "/until"))?;
                instant(&value).map_err(|e| e.at("/until"))
            }
        }
    }
}

/// A JSON value as an instant: RFC 3339 text, or whole milliseconds since 1970.
pub(super) fn instant(value: &Value) -> Result<Millis> {
    let read = match value {
        Value::String(text) => Millis::parse_rfc3339(text),
        number => number.as_i64().map(Millis),
    };
    read.ok_or_else(|| {
        Error::invalid("pipeline.type_mismatch", "`until` gives no instant")
            .hint("give RFC 3339 text like 2026-03-01T09:00:00Z, or milliseconds since 1970 as an integer")
    })
}

/// A span of time. In JSON it is text with units: `"250ms"`, `"10s"`, `"1h30m"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Millis);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.0;
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let unit = units.into_iter().find(|(factor, _)| ms != 0 && ms % factor == 0);
        let (factor, unit) = unit.unwrap_or((1, "ms"));
        s.collect_str(&format_args!("{}{unit}", ms / factor))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match parse_duration(&text) {
            Ok(span) if span > Millis::ZERO => Ok(Span(span)),
            Ok(_) => Err(serde::de::Error::custom("a span of time must be longer than nothing")),
            Err(e) => Err(serde::de::Error::custom(e)),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A span of time with its unit: 250ms, 10s, 5m, 2h, 7d, or several parts, 1h30m. Longer than nothing.",
            "type": "string",
            "maxLength": 40,
            "pattern": "^(0+(ms|s|m|h|d))*0*[1-9][0-9]{0,8}(ms|s|m|h|d)([0-9]{1,9}(ms|s|m|h|d))*$"
        })
    }
}

fn version_one(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "const": 1})
}

/// A field that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_default(on_error: &OnError) -> bool {
    *on_error == OnError::default()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(amount: &MicroCredits) -> bool {
    *amount == MicroCredits::ZERO
}

fn one() -> u32 {
    1
}

fn four() -> u32 {
    4
}

fn thousand() -> u32 {
    1_000
}

fn half_a_second() -> Span {
    Span(Millis(500))
}

fn half_a_minute() -> Span {
    Span(Millis::secs(30))
}

fn every_cause() -> Vec<RetryOn> {
    vec![RetryOn::RateLimited, RetryOn::Upstream, RetryOn::Network, RetryOn::Timeout]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_are_written_as_people_write_them() {
        for (ms, text) in [(250, "250ms"), (90_000, "90s"), (900_000, "15m"), (172_800_000, "2d")] {
            assert_eq!(serde_json::to_value(Span(Millis(ms))).unwrap(), json!(text));
            assert_eq!(serde_json::from_value::<Span>(json!(text)).unwrap(), Span(Millis(ms)));
        }
        for bad in [json!("0s"), json!("0h0m"), json!("5"), json!(5), json!(null)] {
            assert!(serde_json::from_value::<Span>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_comes_back_as_it_was_written() {
        for step in [
            json!({"id": "a", "action": "http.request", "connection": "c", "input": {"$ref": "input"}, "timeout": "20s"}),
            json!({"id": "a", "needs": [], "wait": {"until": null}}),
            json!({"id": "a", "set": null, "on_error": "continue", "when": true}),
        ] {
            let read: Step = serde_json::from_value(step.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), step);
        }
        let retry: Retry = serde_json::from_value(json!({"on": ["unavailable", "network"]})).unwrap();
        assert_eq!((retry.max_attempts, retry.on), (4, vec![RetryOn::Upstream, RetryOn::Network]));
    }

    #[test]
    fn a_step_has_one_kind_and_only_its_fields() {
        for step in [
            json!({"id": "a"}),
            json!({"id": "a", "set": 1, "wait": {"duration": "1s"}}),
            json!({"id": "a", "set": 1, "retry": {}}),
            json!({"id": "a", "wait": {}}),
            json!({"id": "a", "wait": {"duration": "1s", "until": 1}}),
            json!({"id": "a", "set": 1, "switch": []}),
        ] {
            assert!(serde_json::from_value::<Step>(step.clone()).is_err(), "{step}");
        }
    }
}
