//! The check of a pipeline before anything runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jsonschema::Validator;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::bounds;
use super::catalog::Catalog;
use super::condition::{self, Condition};
use super::graph::{Steps, ancestors};
use super::inputs;
use super::path::Path;
use super::schema;
use super::shape::{Faults, MAX_FAULTS, items, shape, untyped};
use super::spec::{Credits, Pipeline, instant};
use super::suggest::did_you_mean;
use super::template::{Found, Node, known_kind, node, visit};
use crate::error::{Error, Result};
use crate::json::{self, clip};

/// What a pipeline may measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of JSON text.
    pub max_bytes: usize,
    /// Steps, those of `on_error` included.
    pub max_steps: usize,
    /// Arrays and objects in each other.
    pub max_depth: usize,
}

impl Default for Limits {
    /// 512 KiB, 200 steps, 64 levels.
    fn default() -> Self {
        Limits {
            max_bytes: 512 << 10,
            max_steps: 200,
            max_depth: 64,
        }
    }
}

/// A pipeline that may run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// For each step, by its place in the list, those that must have ended before it starts; ascending, each once.
    pub graph: Vec<Vec<usize>>,
    /// SHA-256 of the pipeline's canonical JSON, in hex: equal for equal pipelines however they are spelled.
    pub digest: String,
    input: Option<Validator>,
}

impl Checked {
    /// Checks a run's input against the pipeline's `input_schema`. The error, `run.input_invalid`, holds every fault.
    pub fn validate_input(&self, input: &Value) -> Result<()> {
        let (Some(validator), Some(schema)) = (&self.input, &self.pipeline.input_schema) else {
            return Ok(());
        };
        if validator.is_valid(input) {
            return Ok(());
        }
        let faults = schema::faults(validator, schema, input, "run.input_invalid");
        let why = faults.first().map_or("", |f| f.message.as_str());
        let message = format!("the input is not what `{}` takes: {why}", self.pipeline.name);
        Err(Error::faults("run.input_invalid", message, faults))
    }
}

/// Reads and checks the text of a pipeline. Errors: those of [`json::parse`] and [`check`].
pub fn check_text(text: &[u8], catalog: &Catalog, limits: &Limits) -> Result<Checked> {
    check(&json::parse(text, "the pipeline", limits.max_bytes)?, catalog, limits)
}

/// Checks a pipeline: its shape, its steps and their order, its references, conditions and schemas, the
/// actions it calls and what is known of their input.
///
/// The error `pipeline.invalid` holds every fault with its JSON pointer and its own code; `pipeline.too_deep` and
/// `body.too_large` stand alone.
pub fn check(value: &Value, catalog: &Catalog, limits: &Limits) -> Result<Checked> {
    if !json::depth_ok(value, limits.max_depth) {
        let message = format!("the pipeline is nested deeper than {} levels", limits.max_depth);
        return Err(Error::invalid("pipeline.too_deep", message).with("limit", limits.max_depth));
    }
    let canonical = json::canonical(value);
    if canonical.len() > limits.max_bytes {
        return Err(json::too_large("the pipeline", canonical.len(), limits.max_bytes));
    }
    let mut faults = Faults::default();
    shape(value, &mut faults);
    let (graph, input) = match value.as_object() {
        Some(map) => Checker::new(map, catalog, &mut faults).run(limits),
        None => (Vec::new(), None),
    };
    let pipeline = faults.is_empty().then(|| Pipeline::deserialize(value));
    match pipeline {
        Some(Ok(pipeline)) => Ok(Checked {
            pipeline,
            graph,
            digest: sha256_hex(canonical.as_bytes()),
            input,
        }),
        Some(Err(e)) => {
            untyped(value, &e, &mut faults);
            Err(faults.into_error())
        }
        None => Err(faults.into_error()),
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    })
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In `steps`.
    Step(usize),
    /// In `on_error`.
    Handler(usize),
    /// The pipeline's `output`, after all steps.
    Output,
}

/// Where a reference stands: its step, and the name of the item there.
#[derive(Clone, Copy)]
struct Context<'a> {
    place: Place,
    item: Option<&'a str>,
}

struct Checker<'a, 'f> {
    catalog: &'a Catalog,
    faults: &'f mut Faults,
    map: &'a Map<String, Value>,
    steps: &'a [Value],
    handlers: &'a [Value],
    ids: BTreeMap<&'a str, Place>,
    /// `None` where the steps wait for each other in a circle.
    ancestors: Option<Vec<Steps>>,
}

impl<'a, 'f> Checker<'a, 'f> {
    fn new(map: &'a Map<String, Value>, catalog: &'a Catalog, faults: &'f mut Faults) -> Self {
        Checker {
            catalog,
            faults,
            map,
            steps: items(map.get("steps")),
            handlers: items(map.get("on_error")),
            ids: BTreeMap::new(),
            ancestors: None,
        }
    }

    fn run(mut self, limits: &Limits) -> (Vec<Vec<usize>>, Option<Validator>) {
        let count = self.steps.len() + self.handlers.len();
        if count > limits.max_steps {
            let message = || format!("the pipeline has {count} steps; at most {} are taken", limits.max_steps);
            self.faults.add("/steps", "pipeline.too_many_steps", message);
            return (Vec::new(), None);
        }
        let input = self.input_schema();
        self.credits();
        self.read_ids();
        let graph = self.graph();
        for (i, step) in self.steps.iter().enumerate() {
            self.step(step, Place::Step(i), &format!("/steps/{i}"));
        }
        for (i, step) in self.handlers.iter().enumerate() {
            self.step(step, Place::Handler(i), &format!("/on_error/{i}"));
        }
        if let Some(output) = self.map.get("output") {
            let context = Context {
                place: Place::Output,
                item: None,
            };
            self.template(output, "/output", context);
        }
        (graph, input)
    }

    fn input_schema(&mut self) -> Option<Validator> {
        let schema = self.map.get("input_schema").filter(|s| s.is_object())?;
        match bounds::bounded(schema).and_then(|()| schema::compile(schema)) {
            Ok(validator) => Some(validator),
            Err((at, why)) => {
                self.faults.add(format!("/input_schema{at}"), "pipeline.input_schema", || {
                    format!("the input schema is no JSON Schema that can be used: {why}")
                });
                None
            }
        }
    }

    fn credits(&mut self) {
        let credits = self.map.get("credits").and_then(|c| Credits::deserialize(c).ok());
        if credits.is_some_and(|c| c.base > c.hold) {
            self.faults.add("/credits/base", "pipeline.bad_value", || {
                "`base` is more than `hold`, so no run could be paid".to_owned()
            });
        }
    }

    fn read_ids(&mut self) {
        let steps = self
            .steps
            .iter()
            .enumerate()
            .map(|(i, s)| (Place::Step(i), format!("/steps/{i}/id"), s));
        let handlers = self.handlers.iter().enumerate();
        let handlers = handlers.map(|(i, s)| (Place::Handler(i), format!("/on_error/{i}/id"), s));
        for (place, at, step) in steps.chain(handlers) {
            let Some(id) = step.get("id").and_then(Value::as_str) else {
                continue;
            };
            if self.ids.contains_key(id) {
                self.faults.add(at, "pipeline.duplicate_step", || {
                    format!("another step is called `{}` too", clip(id))
                });
            } else {
                self.ids.insert(id, place);
            }
        }
    }

    /// Which step waits for which, by `needs` or by the order of the list.
    fn graph(&mut self) -> Vec<Vec<usize>> {
        let mut graph = Vec::with_capacity(self.steps.len());
        for (i, step) in self.steps.iter().enumerate() {
            let Some(needs) = step.get("needs") else {
                graph.push(i.checked_sub(1).into_iter().collect());
                continue;
            };
            let mut direct = Vec::new();
            for (k, need) in items(Some(needs)).iter().enumerate() {
                match need.as_str().map(|id| (id, self.ids.get(id))) {
                    Some((_, Some(Place::Step(j)))) => direct.push(*j),
                    Some((id, _)) => self.unknown_step(&format!("/steps/{i}/needs/{k}"), id),
                    None => {}
                }
            }
            direct.sort_unstable();
            direct.dedup();
            graph.push(direct);
        }
        match ancestors(&graph) {
            Ok(sets) => self.ancestors = Some(sets),
            Err(cycles) => {
                for cycle in cycles {
                    let id = |i: &usize| self.steps[*i].get("id").and_then(Value::as_str).unwrap_or("?");
                    let named = |i: &&usize| self.steps[**i].get("needs").is_some();
                    let at = cycle.iter().find(named).or(cycle.first()).copied().unwrap_or(0);
                    let way = cycle.iter().map(id).collect::<Vec<_>>().join(" → ");
                    self.faults.add(format!("/steps/{at}/needs"), "pipeline.cycle", || {
                        format!("these steps wait for each other: {way}")
                    });
                }
            }
        }
        graph
    }

    fn unknown_step(&mut self, at: &str, id: &str) {
        let ids = &self.ids;
        self.faults.add(at, "pipeline.unknown_step", || {
            let known = ids.iter().filter(|(_, p)| matches!(p, Place::Step(_))).map(|(id, _)| *id);
            format!("there is no step `{}`{}", clip(id), did_you_mean(id, known))
        });
    }

    fn step(&mut self, step: &'a Value, place: Place, at: &str) {
        let field = |name: &str| step.get(name);
        if matches!(place, Place::Handler(_)) {
            for name in ["needs", "for_each", "wait"] {
                if field(name).is_some() {
                    self.misplaced(at, name, "does not go into `on_error`, whose steps run one after the other");
                }
            }
        }
        if field("action").is_none() && (field("wait").is_some() || field("set").is_some()) {
            for name in ["connection", "input", "retry", "timeout"] {
                if field(name).is_some() {
                    self.misplaced(at, name, "goes with `action` only");
                }
            }
        }
        if field("wait").is_some() && field("for_each").is_some() {
            self.misplaced(at, "for_each", "does not go with `wait`");
        }
        let bare = Context { place, item: None };
        if let Some(when) = field("when") {
            self.when(when, &format!("{at}/when"), bare);
        }
        let mut inner = bare;
        if let Some(for_each) = field("for_each") {
            if let Some(list) = for_each.get("in") {
                let at = format!("{at}/for_each/in");
                if self.template(list, &at, bare) {
                    self.must_give(list, &at, &["an array"], "`for_each` goes over an array");
                }
            }
            inner.item = for_each.get("as").and_then(Value::as_str);
            if let Some(name) = inner.item.filter(|n| ROOTS.contains(n)) {
                self.faults.add(format!("{at}/for_each/as"), "pipeline.reserved_name", || {
                    format!("`{name}` already means something in references; choose another name")
                });
            }
        }
        if let Some(set) = field("set") {
            self.template(set, &format!("{at}/set"), inner);
        }
        if let Some(until) = field("wait").and_then(|w| w.get("until")) {
            self.until(until, &format!("{at}/wait/until"), inner);
        }
        let input = field("input");
        let sound = input.is_none_or(|input| self.template(input, &format!("{at}/input"), inner));
        if let Some(action) = field("action").and_then(Value::as_str) {
            self.action(action, input.filter(|_| sound), sound, at);
        }
        if let (Some(name), Some(known)) = (field("connection").and_then(Value::as_str), self.catalog.connections())
            && !known.contains(name)
        {
            self.faults
                .add(format!("{at}/connection"), "pipeline.unknown_connection", || {
                    let meant = did_you_mean(name, known.iter().map(String::as_str));
                    format!("there is no connection `{}`{meant}", clip(name))
                });
        }
    }

    fn misplaced(&mut self, at: &str, field: &str, why: &str) {
        self.faults.add(format!("{at}/{field}"), "pipeline.misplaced_field", || {
            format!("`{field}` {why}")
        });
    }

    fn must_give(&mut self, template: &Value, at: &str, kinds: &[&str], rule: &str) {
        if let Some(kind) = known_kind(template).filter(|k| !kinds.contains(k)) {
            self.faults
                .add(at, "pipeline.wrong_type", || format!("{rule}, and this gives {kind}"));
        }
    }

    fn until(&mut self, until: &'a Value, at: &str, context: Context<'a>) {
        if !self.template(until, at, context) {
            return;
        }
        match node(until) {
            Ok(Node::Scalar(v) | Node::Literal(v)) if v.is_string() || v.is_number() => {
                if let Err(e) = instant(v) {
                    self.faults.add(at, "pipeline.bad_value", || e.to_string());
                }
            }
            _ => self.must_give(until, at, &["a string", "a number"], "`until` takes an instant"),
        }
    }

    fn action(&mut self, action: &str, input: Option<&Value>, sound: bool, at: &str) {
        let Some(entry) = self.catalog.entry(action) else {
            let Some((connector, _)) = action.split_once('.') else {
                return;
            };
            let prefix = format!("{connector}.");
            let mut siblings = self.catalog.actions().filter(|a| a.starts_with(&prefix)).peekable();
            let at = format!("{at}/action");
            if siblings.peek().is_some() {
                self.faults.add(at, "pipeline.unknown_action", || {
                    let meant = did_you_mean(action, siblings);
                    format!("`{}` has no action `{}`{meant}", clip(connector), clip(action))
                });
            } else {
                let known = self.catalog.actions().filter_map(|a| a.split_once('.')).map(|(c, _)| c);
                self.faults.add(at, "pipeline.unknown_connector", || {
                    format!(
                        "there is no connector `{}`{}",
                        clip(connector),
                        did_you_mean(connector, known)
                    )
                });
            }
            return;
        };
        if !sound {
            return;
        }
        let empty = Value::Object(Map::new());
        match inputs::violations(entry, input.unwrap_or(&empty), MAX_FAULTS) {
            Err(why) => self.faults.add(format!("{at}/action"), "pipeline.action_schema", || why),
            Ok(violations) => {
                for violation in violations {
                    let place = format!("{at}/input{}", violation.at);
                    self.faults.add(place, "pipeline.action_input", || violation.message);
                }
            }
        }
    }

    fn when(&mut self, when: &'a Value, at: &str, context: Context<'a>) {
        if let Err(faults) = Condition::parse(when) {
            for fault in faults {
                self.faults.add(format!("{at}{}", fault.at), &fault.code, || fault.message);
            }
        }
        condition::visit_references(when, &mut at.to_owned(), &mut |found| {
            if let Found::Reference { at, path, optional } = found {
                self.reference(path, at, optional, context);
            }
        });
    }

    /// Checks a template and its references; whether it is one.
    fn template(&mut self, template: &'a Value, at: &str, context: Context<'a>) -> bool {
        let mut sound = true;
        visit(template, &mut at.to_owned(), false, &mut |found| match found {
            Found::Reference { at, path, optional } => self.reference(path, at, optional, context),
            Found::Wrong { at, code, message } => {
                sound = false;
                self.faults.add(at, code, || message);
            }
        });
        sound
    }

    fn bad_reference(&mut self, path: &Path<'_>, at: &str, why: &str) {
        self.faults.add(at, "pipeline.bad_reference", || {
            format!("the reference `{}` cannot resolve: {why}", clip(path.text))
        });
    }

    fn reference(&mut self, path: &Path<'_>, at: &str, optional: bool, context: Context<'_>) {
        match path.segments.as_slice() {
            ["input", rest @ ..] => {
                if let Some(schema) = self.map.get("input_schema") {
                    self.possible(schema, rest, path, at, "pipeline.unknown_input");
                }
            }
            ["steps", id, "output", rest @ ..] => self.step_reference(id, rest, path, at, optional, context.place),
            ["steps", id, "status"] => self.step_reference(id, &[], path, at, optional, context.place),
            ["steps", ..] => self.bad_reference(path, at, "write `steps.<id>.output` or `steps.<id>.status`"),
            ["run", "id" | "account" | "started_at"] | [] => {}
            ["run", ..] => self.bad_reference(path, at, "a run has `run.id`, `run.account` and `run.started_at`"),
            ["item", "index"] if context.item.is_some() => {}
            ["item", ..] => {
                let why = match context.item {
                    Some(name) => format!("only `item.index` is there; the item itself is `{}`", clip(name)),
                    None => "only a step with `for_each` has items".to_owned(),
                };
                self.bad_reference(path, at, &why);
            }
            ["error"] | ["error", "code" | "message" | "step"] if matches!(context.place, Place::Handler(_)) => {}
            ["error", ..] => {
                let why = "`error.code`, `error.message` and `error.step` are there in the pipeline's `on_error` only";
                self.bad_reference(path, at, why);
            }
            [root, ..] if context.item == Some(*root) => {}
            [root, ..] => {
                let known = ROOTS.into_iter().chain(context.item);
                let meant = did_you_mean(root, known);
                self.bad_reference(path, at, &format!("nothing is called `{}` here{meant}", clip(root)));
            }
        }
    }

    fn step_reference(&mut self, id: &str, rest: &[&str], path: &Path<'_>, at: &str, optional: bool, from: Place) {
        let Some(target) = self.ids.get(id).copied() else {
            return self.unknown_step(at, id);
        };
        let later = || format!("`{id}` stands later, so it has not ended when this is needed");
        match (from, target) {
            (from, target) if from == target => self.faults.add(at, "pipeline.self_reference", || {
                format!(
                    "the step refers to itself; it has no output before it ends: `{}`",
                    clip(path.text)
                )
            }),
            (Place::Handler(i), Place::Handler(j)) if j > i => self.faults.add(at, "pipeline.later_step", later),
            (Place::Step(_) | Place::Output, Place::Handler(_)) => {
                self.bad_reference(path, at, "a step of `on_error` runs only when the run has failed");
            }
            (Place::Handler(_), Place::Step(_)) if !optional => self.faults.add(at, "pipeline.may_be_missing", || {
                format!("`{id}` may not have run when the run failed; put the reference into `$coalesce`")
            }),
            (Place::Step(i), Place::Step(j)) if self.ancestors.as_ref().is_some_and(|sets| !sets[i].contains(j)) => {
                if j > i {
                    self.faults.add(at, "pipeline.later_step", later);
                } else {
                    self.faults.add(at, "pipeline.not_an_ancestor", || {
                        format!("this step does not wait for `{id}`, neither directly nor through others; add it to `needs`")
                    });
                }
            }
            _ => self.step_output(target, rest, path, at),
        }
    }

    /// Whether an action's output can have what is asked of it.
    fn step_output(&mut self, target: Place, rest: &[&str], path: &Path<'_>, at: &str) {
        let step = match target {
            Place::Step(i) => &self.steps[i],
            Place::Handler(i) => &self.handlers[i],
            Place::Output => return,
        };
        if step.get("for_each").is_some() {
            return;
        }
        let catalog = self.catalog;
        let action = step.get("action").and_then(Value::as_str);
        if let Some(entry) = action.and_then(|action| catalog.entry(action)) {
            self.possible(&entry.output, rest, path, at, "pipeline.unknown_output");
        }
    }

    fn possible(&mut self, schema: &Value, rest: &[&str], path: &Path<'_>, at: &str, code: &str) {
        if let Some((fine, known)) = schema::impossible(schema, rest) {
            self.faults.add(at, code, || {
                let head = path.head(path.segments.len() - rest.len() + fine);
                let name = rest.get(fine).copied().unwrap_or_default();
                let meant = did_you_mean(name, known);
                format!("`{}` has no field `{}`{meant}", clip(&head), clip(name))
            });
        }
    }
}

/// The first parts that a path may have everywhere.
const ROOTS: [&str; 5] = ["input", "steps", "run", "item", "error"];
