//! Schedules from the command line.

use serde_json::{Value, json};

use crate::Place;

#[test]
fn schedules_are_added_fired_paused_and_told() {
    let place = Place::new();
    let pipeline = place.json(
        "free.json",
        &json!({"version": 1, "name": "free", "steps": [{"id": "a", "set": 1}]}),
    );
    let add: &[&str] = &[
        "schedules",
        "add",
        "nightly",
        "--cron",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
    ];
    let add = [add, &["--run", &pipeline, "--account", "acme"]].concat();
    let added = place.ok(&add);
    assert_eq!((&added["changed"], &added["view"]["revision"]), (&json!(true), &json!(1)));
    assert_eq!(place.ok(&add)["changed"], false);
    let said = place.run(&add);
    assert!(said.out.starts_with("nightly is as it was; next tick "), "{}", said.out);

    // A day's worth of the past, one after another.
    let day = 24 * 3_600_000;
    let now = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap();
    let at = |ms: i64| levqor::types::Millis(ms).rfc3339();
    let (from, to) = (at(now - 3 * day), at(now - day));
    let backfill = ["schedules", "backfill", "nightly", "--from", &from, "--to", &to];
    let report = place.ok(&backfill);
    assert_eq!(
        (&report["ticks"], &report["waiting"], &report["known"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(place.ok(&backfill)["known"], 2);
    let started = place.ok(&["schedules", "run", "nightly", "--key", "k"]);
    assert_eq!(place.ok(&["schedules", "run", "nightly", "--key", "k"]), started);

    let next = place.ok(&["schedules", "next", "nightly", "--count", "3"]);
    assert_eq!(
        (next["next"].as_array().unwrap().len(), &next["state"]),
        (3, &json!("active"))
    );
    place.ok(&["schedules", "pause", "nightly"]);
    let said = place.run(&["schedules", "next", "nightly"]);
    assert!(said.out.ends_with("but it is paused\n"), "{}", said.out);
    let list = place.ok(&["schedules", "list"]);
    assert_eq!(
        (&list["schedules"][0]["state"], &list["next"]),
        (&json!("paused"), &Value::Null)
    );
    assert!(place.run(&["schedules", "list"]).out.contains("30 2 * * * Europe/Berlin"));
    place.ok(&["schedules", "resume", "nightly"]);
    let history = place.ok(&["schedules", "history", "nightly", "--limit", "1"]);
    assert_eq!(
        (&history["history"][0]["cause"], &history["next"]),
        (&json!("manual"), &json!(3))
    );
    assert!(place.run(&["schedules", "history", "nightly"]).out.contains("waiting"));

    place.ok(&["schedules", "delete", "nightly"]);
    let gone = place.run(&["schedules", "next", "nightly", "--json"]);
    assert_eq!((gone.code, &gone.problem()["code"]), (3, &json!("schedule.unknown")));
}

#[test]
fn a_wrong_schedule_is_refused_before_a_store_is_made() {
    let place = Place::new();
    let nonsense = place.json(
        "s.json",
        &json!({"id": "n", "when": {"cron": "* * * * *"}, "target": {"kind": "job"}}),
    );
    for (args, code) in [
        (vec!["n", "--cron", "61 * * * *", "--job", "h"], "schedule.bad_cron"),
        (
            vec!["n", "--cron", "0 0 * * *", "--zone", "Mars", "--job", "h"],
            "schedule.bad_zone",
        ),
        (vec!["n", "--every", "1ms", "--job", "h"], "schedule.bad_interval"),
        (vec!["n n", "--every", "1h", "--job", "h"], "schedule.bad_id"),
        (
            vec!["n", "--every", "1h", "--job", "h", "--misfire", "all:0"],
            "schedule.bad_limits",
        ),
        (vec!["n", "--every", "1h", "--job", "h", "--misfire", "some"], "cli.usage"),
        (vec!["n", "--every", "1h"], "cli.usage"),
        (vec!["n", "--job", "h"], "cli.usage"),
        (vec!["--file", &nonsense], "schedule.bad_definition"),
    ] {
        let args = [vec!["schedules", "add"], args, vec!["--json"]].concat();
        let said = place.run(&args);
        assert_eq!((said.code, &said.problem()["code"]), (2, &json!(code)), "{args:?}");
    }
    assert!(!place.0.join("levqor.db").exists());
    let never = place.run(&["schedules", "add", "n", "--cron", "30 2 30 2 *", "--job", "h", "--json"]);
    assert_eq!((never.code, &never.problem()["code"]), (2, &json!("schedule.never_fires")));
}
