//! The pipeline format against its golden cases, and against whatever chance comes up with.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use levqor_core::error::{Error, Result};
use levqor_core::json;
use levqor_core::pipeline::{
    Catalog, Condition, Item, Limits, MAX_FAULTS, RunInfo, Scope, StepState, Wait, check, check_text, evaluate, pipeline_schema,
    references, render,
};
use levqor_core::types::Millis;
use proptest::prelude::*;
use serde_json::{Value, json};

fn vectors() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/pipeline.json"));
    json::parse(text.as_bytes(), "the vectors", 1 << 20).unwrap()
}

fn cases(of: &str) -> Vec<Value> {
    let list = vectors()[of].as_array().unwrap().clone();
    assert!(!list.is_empty());
    list
}

fn catalog() -> Catalog {
    let data = &vectors()["catalog"];
    let names: Vec<String> = serde_json::from_value(data["connections"].clone()).unwrap();
    let mut catalog = Catalog::new().with_connections(names);
    for (name, action) in data["actions"].as_object().unwrap() {
        let (connector, action_name) = name.split_once('.').unwrap();
        catalog.add(connector, action_name, action["input"].clone(), action["output"].clone());
    }
    catalog
}

/// What the vectors' scope owns.
struct World {
    data: Value,
    steps: BTreeMap<String, StepState>,
}

impl World {
    fn load() -> Self {
        let data = vectors()["scope"].clone();
        let steps = serde_json::from_value(data["steps"].clone()).unwrap();
        World { data, steps }
    }

    fn scope(&self) -> Scope<'_> {
        let (run, item) = (&self.data["run"], &self.data["item"]);
        Scope {
            input: &self.data["input"],
            steps: &self.steps,
            run: RunInfo {
                id: run["id"].as_str().unwrap(),
                account: run["account"].as_str().unwrap(),
                started_at: Millis(run["started_at"].as_i64().unwrap()),
            },
            item: Some(Item {
                name: item["name"].as_str().unwrap(),
                value: &item["value"],
                index: 1,
            }),
            error: Some(&self.data["error"]),
        }
    }
}

/// The faults of a refusal as the vectors write them.
fn faults(e: &Error) -> Value {
    let sorted: BTreeSet<(&str, &str)> = e.fault_list().iter().map(|f| (f.at.as_str(), f.code.as_str())).collect();
    sorted.into_iter().map(|(at, code)| json!({"at": at, "code": code})).collect()
}

fn outcome(result: Result<Value>) -> Value {
    match result {
        Ok(value) => json!({"value": value}),
        Err(e) => json!({"error": e.code(), "at": e.place().unwrap_or_default()}),
    }
}

#[test]
fn pipelines_are_taken_or_refused_with_every_fault() {
    let (catalog, schema) = (catalog(), jsonschema::validator_for(&pipeline_schema()).unwrap());
    for case in cases("pipelines") {
        let (name, pipeline) = (&case["name"], &case["pipeline"]);
        match check(pipeline, &catalog, &Limits::default()) {
            Ok(checked) => {
                assert_eq!(case["expect"], "ok", "{name}");
                assert!(schema.is_valid(pipeline), "{name}: the published schema must take it too");
                assert_eq!(checked.graph.len(), checked.pipeline.steps.len(), "{name}");
                let written = serde_json::to_value(&checked.pipeline).unwrap();
                let again = check(&written, &catalog, &Limits::default()).unwrap();
                assert_eq!(again.pipeline, checked.pipeline, "{name}: written and read again");
            }
            Err(e) => {
                assert_eq!(case["expect"]["faults"], faults(&e), "{name}: {e:?}");
                assert_eq!(e.code(), "pipeline.invalid", "{name}");
                assert!(e.fault_list().iter().all(|f| !f.message.is_empty()), "{name}");
            }
        }
    }
}

#[test]
fn inputs_are_taken_or_refused_with_every_fault() {
    for case in cases("inputs") {
        let pipeline = json!({"version": 1, "name": "t", "input_schema": case["schema"], "steps": [{"id": "a", "set": 1}]});
        let checked = check(&pipeline, &Catalog::new(), &Limits::default()).unwrap();
        let found: Vec<String> = match checked.validate_input(&case["input"]) {
            Ok(()) => Vec::new(),
            Err(e) => {
                assert!(e.fault_list().iter().all(|f| f.code == "run.input_invalid") && e.code() == "run.input_invalid");
                let places: BTreeSet<String> = e.fault_list().iter().map(|f| f.at.clone()).collect();
                places.into_iter().collect()
            }
        };
        assert_eq!(json!(found), case["faults"], "{}", case["name"]);
    }
}

#[test]
fn templates_give_what_they_should() {
    let world = World::load();
    for case in cases("templates") {
        assert_eq!(
            outcome(render(&case["template"], &world.scope())),
            case["expect"],
            "{}",
            case["name"]
        );
    }
}

#[test]
fn conditions_decide_as_they_should() {
    let world = World::load();
    for case in cases("conditions") {
        let condition = Condition::parse(&case["condition"]).unwrap();
        let decided = evaluate(&condition, &world.scope()).map(Value::from);
        assert_eq!(outcome(decided), case["expect"], "{}", case["name"]);
    }
}

#[test]
fn unknown_names_come_with_what_was_meant() {
    let catalog = catalog();
    let step = |extra: Value| {
        let mut step = json!({"id": "find", "action": "http.request", "input": {"url": "x"}});
        step.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"version": 1, "name": "t", "steps": [step, {"id": "last", "set": {"$ref": "steps.find.status"}}]})
    };
    for (pipeline, meant) in [
        (step(json!({"retyr": {}})), "`retry`"),
        (step(json!({"action": "htpp.request"})), "`http`"),
        (step(json!({"action": "http.requets"})), "`http.request`"),
        (step(json!({"connection": "cmr"})), "`crm`"),
        (step(json!({"input": {"ulr": "x", "url": "x"}})), "`url`"),
        (step(json!({"input": {"url": {"$rfe": "input"}}})), "`$ref`"),
        (step(json!({"input": {"url": {"$ref": "inputs.a"}}})), "`input`"),
        (step(json!({"when": {"exits": {"$ref": "input"}}})), "`exists`"),
        (step(json!({"on_error": "contniue"})), "`continue`"),
    ] {
        let e = check(&pipeline, &catalog, &Limits::default()).unwrap_err();
        let hint = format!("did you mean {meant}?");
        assert!(e.fault_list().iter().any(|f| f.message.contains(&hint)), "{meant}: {e:?}");
    }
    let circle = json!({"version": 1, "name": "t", "steps": [{"id": "a", "set": 1, "needs": ["b"]}, {"id": "b", "set": 1}]});
    let e = check(&circle, &catalog, &Limits::default()).unwrap_err();
    assert!(e.message().contains("a → b → a"), "{e}");
}

fn sets(n: usize) -> Value {
    let steps: Vec<Value> = (0..n).map(|i| json!({"id": format!("s{i}"), "set": i})).collect();
    json!({"version": 1, "name": "t", "steps": steps})
}

#[test]
fn limits_hold() {
    let (catalog, limits) = (Catalog::new(), Limits::default());
    assert!(check(&sets(200), &catalog, &limits).is_ok());
    let e = check(&sets(201), &catalog, &limits).unwrap_err();
    assert_eq!(faults(&e), json!([{"at": "/steps", "code": "pipeline.too_many_steps"}]));

    let mut large = sets(1);
    large["steps"][0]["set"] = json!("x".repeat(limits.max_bytes));
    assert_eq!(check(&large, &catalog, &limits).unwrap_err().code(), "body.too_large");
    assert_eq!(
        check_text(large.to_string().as_bytes(), &catalog, &limits)
            .unwrap_err()
            .code(),
        "body.too_large"
    );

    let mut deep = sets(1);
    for _ in 0..62 {
        deep["steps"][0]["set"] = json!([deep["steps"][0]["set"].take()]);
    }
    assert_eq!(check(&deep, &catalog, &limits).unwrap_err().code(), "pipeline.too_deep");
    let text = "[".repeat(100_000);
    assert_eq!(
        check_text(text.as_bytes(), &catalog, &limits).unwrap_err().code(),
        "json.too_deep"
    );
    assert_eq!(
        check_text(b"{\"name\": \"\xff\"}", &catalog, &limits).unwrap_err().code(),
        "json.invalid_utf8"
    );
    assert_eq!(
        check_text(b"{\"name\":1,\"name\":2}", &catalog, &limits).unwrap_err().code(),
        "json.duplicate_key"
    );
}

#[test]
fn a_flood_of_faults_is_cut_and_counted() {
    let mut pipeline = sets(1);
    pipeline["steps"][0]["set"] = json!(vec![json!({"$ref": "steps.none.output"}); 5_000]);
    let e = check(&pipeline, &Catalog::new(), &Limits::default()).unwrap_err();
    assert_eq!(e.fault_list().len(), MAX_FAULTS);
    assert_eq!(e.details()["omitted"], json!(5_000 - MAX_FAULTS));
}

#[test]
fn the_graph_follows_needs_or_the_order() {
    let pipeline = json!({"version": 1, "name": "t", "steps": [
        {"id": "a", "set": 1}, {"id": "b", "set": 1}, {"id": "c", "set": 1, "needs": []},
        {"id": "d", "set": 1, "needs": ["c", "a", "c"]}, {"id": "e", "set": 1}
    ]});
    let checked = check(&pipeline, &Catalog::new(), &Limits::default()).unwrap();
    assert_eq!(checked.graph, [vec![], vec![0], vec![], vec![0, 2], vec![3]]);
}

#[test]
fn the_digest_depends_on_the_data_alone() {
    let digest = |text: &str| {
        check_text(text.as_bytes(), &Catalog::new(), &Limits::default())
            .unwrap()
            .digest
    };
    let one = digest(r#"{"version":1,"name":"t","steps":[{"id":"a","set":{"x":1.0,"y":2}}]}"#);
    let same = digest(r#"{ "steps":[{"set":{"y":2,"x":1},"id":"a"}], "name":"\u0074", "version":1 }"#);
    let other = digest(r#"{"version":1,"name":"t","steps":[{"id":"a","set":{"x":1,"y":3}}]}"#);
    // sha256sum of {"name":"t","steps":[{"id":"a","set":{"x":1,"y":2}}],"version":1}
    assert_eq!(one, "a4991de7a8c604d96475c013f081c203c73354f960ba0dea8693c8867cee76f8");
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[test]
fn an_input_schema_without_bounds_is_refused() {
    let twice = |n: usize| json!({"allOf": vec![json!({"$ref": format!("#/$defs/a{n}")}); 2]});
    let mut bomb = json!({"$ref": "#/$defs/a0", "$defs": {"a31": {}}});
    for n in 0..31 {
        bomb["$defs"][format!("a{n}")] = twice(n + 1);
    }
    for schema in [bomb, json!({"$ref": "#"}), json!({"properties": {"a": {"$ref": "#"}}})] {
        let mut pipeline = sets(1);
        pipeline["input_schema"] = schema;
        let e = check(&pipeline, &Catalog::new(), &Limits::default()).unwrap_err();
        assert_eq!(e.fault_list()[0].code, "pipeline.input_schema");
    }
}

#[test]
fn a_wait_is_due_when_it_says() {
    let world = World::load();
    let due = |wait: Value| {
        let wait: Wait = serde_json::from_value(wait).unwrap();
        wait.due(Millis(1_000), &world.scope())
    };
    assert_eq!(due(json!({"duration": "10m"})).unwrap(), Millis(601_000));
    assert_eq!(
        due(json!({"until": {"$ref": "run.started_at"}})).unwrap(),
        Millis(1_772_323_200_000)
    );
    assert_eq!(due(json!({"until": 5})).unwrap(), Millis(5));
    assert_eq!(
        due(json!({"until": "2026-03-01T01:00:00+01:00"})).unwrap(),
        Millis(1_772_323_200_000)
    );
    let e = due(json!({"until": {"$ref": "input.name"}})).unwrap_err();
    assert_eq!((e.code(), e.place()), ("pipeline.type_mismatch", Some("/until")));
}

/// JSON that is often nearly a pipeline, a template or a condition.
fn likely_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "version",
        "name",
        "steps",
        "id",
        "set",
        "action",
        "input",
        "needs",
        "when",
        "wait",
        "until",
        "duration",
        "for_each",
        "in",
        "as",
        "on_error",
        "output",
        "input_schema",
        "$ref",
        "$fmt",
        "$coalesce",
        "$count",
        "$sum",
        "$collect",
        "$literal",
        "of",
        "path",
        "==",
        "<",
        "contains",
        "exists",
        "and",
        "or",
        "not",
        "type",
        "properties",
        "retry",
        "credits",
        "hold",
    ]);
    let texts = prop::sample::select(vec![
        "a",
        "b",
        "input.a",
        "steps.a.output",
        "steps.b.status",
        "item.index",
        "o",
        "http.request",
        "10s",
        "{input.a}",
        "{",
        "",
        "run.id",
        "object",
        "#/$defs/a",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|x| json!(x)),
        texts.prop_map(Value::from),
        ".{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let key = prop_oneof![4 => words.clone().prop_map(str::to_owned), 1 => ".{0,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner.clone()), 1..2).prop_map(|m| Value::Object(m.into_iter().collect())),
            prop::collection::vec((key, inner), 0..6).prop_map(|m| Value::Object(m.into_iter().collect()))
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rendering_anything_ends(template in likely_json()) {
        let world = World::load();
        let _ = render(&template, &world.scope());
        for reference in references(&template) {
            prop_assert!(template.pointer(&reference.at).is_some());
        }
    }

    #[test]
    fn deciding_anything_ends(source in likely_json()) {
        match Condition::parse(&source) {
            Ok(condition) => {
                let _ = evaluate(&condition, &World::load().scope());
            }
            Err(faults) => prop_assert!(!faults.is_empty()),
        }
    }

    #[test]
    fn checking_anything_ends(value in likely_json()) {
        prop_assert!(check(&value, &Catalog::new(), &Limits::default()).is_err());
    }

    /// A sound pipeline with one part replaced is taken or refused with places that exist, save for missing fields.
    #[test]
    fn checking_nearly_a_pipeline_ends(part in likely_json(), at in 0..12usize) {
        let catalog = catalog();
        let mut pipeline = cases("pipelines")[1]["pipeline"].clone();
        let places = [
            "/steps/0/set", "/steps/0/when", "/steps/1/input", "/steps/1/for_each", "/steps/3/wait", "/steps/1/needs", "/input_schema",
            "/output", "/on_error/0", "/steps/2", "/credits", "/steps/1/retry",
        ];
        *pipeline.pointer_mut(places[at]).unwrap() = part;
        match check(&pipeline, &catalog, &Limits::default()) {
            Ok(checked) => {
                let _ = checked.validate_input(&json!({"a": 1}));
            }
            Err(e) => {
                prop_assert!(!e.fault_list().is_empty());
                for fault in e.fault_list() {
                    let parent = fault.at.rsplit_once('/').map_or("", |(parent, _)| parent);
                    prop_assert!(pipeline.pointer(parent).is_some(), "{:?}", fault);
                }
            }
        }
    }
}
