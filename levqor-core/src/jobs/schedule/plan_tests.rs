#![allow(clippy::unwrap_used)]

use super::*;
use crate::jobs::schedule::{MAX_CATCH_UP, Target};

const T0: Millis = Millis(1_750_000_000_000);

fn at(seconds: i64) -> Millis {
    T0 + Millis::secs(seconds)
}

/// A tick every ten seconds, and a minute of grace.
fn plan(misfire: Misfire) -> Plan {
    let schedule = Schedule::every("s", Millis::secs(10), Target::job("h", serde_json::Value::Null));
    Plan::of(&schedule.misfire(misfire, Millis::secs(60))).unwrap()
}

/// The turns until nothing is due: fired seconds, and missed ones as `(first second, how many)`.
fn turns(plan: &Plan, from: i64, now: i64) -> (Vec<i64>, Vec<(i64, i64)>, Option<i64>) {
    let second = |tick: Millis| (tick - T0).0 / 1_000;
    let (mut fired, mut missed) = (Vec::new(), Vec::new());
    let mut next = Some(at(from));
    while let Some(turn) = next.and_then(|next| plan.turn(next, at(now))) {
        assert!(turn.next.is_none_or(|after| Some(after) > next), "{turn:?}");
        fired.extend(turn.fire.map(second));
        missed.extend(turn.missed.map(|(first, n)| (second(first), n)));
        next = turn.next;
    }
    (fired, missed, next.map(second))
}

#[test]
fn what_is_not_due_has_no_turn_and_what_is_in_time_is_fired_tick_by_tick() {
    for policy in [Misfire::Skip, Misfire::Once, Misfire::All(3)] {
        let plan = plan(policy);
        assert_eq!(plan.turn(at(10), at(10) - Millis(1)), None);
        assert_eq!(turns(&plan, 10, 10), (vec![10], vec![], Some(20)));
        // Late, but within the grace, which its end belongs to.
        assert_eq!(turns(&plan, 10, 35), (vec![10, 20, 30], vec![], Some(40)));
        assert_eq!(turns(&plan, 10, 70), (vec![10, 20, 30, 40, 50, 60, 70], vec![], Some(80)));
    }
}

#[test]
fn missed_ticks_are_dropped_put_together_or_made_up_for() {
    // At 1000, everything before 940 is late.
    let (skip, once, all) = (plan(Misfire::Skip), plan(Misfire::Once), plan(Misfire::All(3)));
    assert_eq!(
        turns(&skip, 10, 1_000),
        (vec![940, 950, 960, 970, 980, 990, 1_000], vec![(10, 93)], Some(1_010))
    );
    assert_eq!(turns(&once, 10, 1_000), (vec![1_000], vec![(10, 99)], Some(1_010)));
    assert_eq!(turns(&all, 10, 1_000), (vec![980, 990, 1_000], vec![(10, 97)], Some(1_010)));
    // Not more were missed than may be made up for.
    let enough = plan(Misfire::All(MAX_CATCH_UP));
    let (fired, missed, _) = turns(&enough, 10, 1_000);
    assert_eq!((fired.len(), missed.len()), (100, 0));
    // A single late one.
    assert_eq!(turns(&once, 10, 71).0, [70]);
    let lonely = Schedule::every("s", Millis::hours(1), Target::job("h", serde_json::Value::Null));
    let lonely = |misfire| Plan::of(&lonely.clone().misfire(misfire, Millis::secs(60))).unwrap();
    let hour = lonely(Misfire::Once).next_after(T0).unwrap();
    let late = hour + Millis::mins(30);
    let turn = lonely(Misfire::Skip).turn(hour, late).unwrap();
    assert_eq!(
        (turn.fire, turn.missed, turn.next),
        (None, Some((hour, 1)), Some(hour + Millis::hours(1)))
    );
    for policy in [Misfire::Once, Misfire::All(5)] {
        let turn = lonely(policy).turn(hour, late).unwrap();
        assert_eq!((turn.fire, turn.missed), (Some(hour), None));
    }
}

#[test]
fn the_end_of_a_schedule_is_its_last_turn() {
    let mut schedule = Schedule::every("s", Millis::secs(10), Target::job("h", serde_json::Value::Null));
    schedule.starts_at = Some(at(5));
    schedule.ends_at = Some(at(35));
    let plan_of = |misfire| Plan::of(&schedule.clone().misfire(misfire, Millis::ZERO)).unwrap();
    let plan = plan_of(Misfire::Once);
    // Counted from its start, which is its first tick.
    assert_eq!(plan.ticks_between(at(-100), at(100), 10), [at(5), at(15), at(25)]);
    assert_eq!(turns(&plan, 5, 1_000), (vec![25], vec![(5, 2)], None));
    assert_eq!(turns(&plan_of(Misfire::Skip), 5, 1_000), (vec![], vec![(5, 3)], None));
    assert_eq!(turns(&plan_of(Misfire::All(2)), 5, 1_000), (vec![15, 25], vec![(5, 1)], None));
}

#[test]
fn ten_years_of_missed_seconds_are_over_at_once() {
    let cron = Schedule::cron("s", "* * * * * *", Target::job("h", serde_json::Value::Null)).zone("Europe/Berlin");
    let every = Schedule::every("s", Millis::secs(1), Target::job("h", serde_json::Value::Null));
    for schedule in [cron, every] {
        for (policy, fires) in [(Misfire::Skip, 61), (Misfire::Once, 1), (Misfire::All(100), 100)] {
            let schedule = schedule.clone().misfire(policy, Millis::secs(60)).jitter(Millis(0));
            let plan = Plan::of(&schedule).unwrap();
            let (fired, missed, next) = turns(&plan, 0, 315_000_000);
            assert_eq!(fired.len(), fires, "{policy:?}");
            assert_eq!(missed, [(0, 1_000)], "{policy:?}: a thousand stands for any more");
            assert_eq!((fired.last(), next), (Some(&315_000_000), Some(315_000_001)));
        }
    }
}

#[test]
fn jitter_is_the_same_everywhere_spreads_and_stays_in_its_bounds() {
    let of = |id: &str| {
        let schedule = Schedule::every(id, Millis::secs(10), Target::job("h", serde_json::Value::Null));
        Plan::of(&schedule.jitter(Millis(999))).unwrap()
    };
    // Processes of other versions must agree.
    assert_eq!(
        [
            of("a").due(at(0)) - at(0),
            of("a").due(at(10)) - at(10),
            of("b").due(at(0)) - at(0)
        ],
        [838, 642, 709].map(Millis)
    );
    let offs: Vec<i64> = (0..10_000).map(|i| (of("a").due(at(i)) - at(i)).0).collect();
    assert!(offs.iter().all(|off| (0..=999).contains(off)));
    for decile in 0..10 {
        let n = offs.iter().filter(|off| *off / 100 == decile).count();
        assert!((850..1_150).contains(&n), "{n} of 10,000 in decile {decile}");
    }
    // A tick is due with its jitter, not before.
    let plan = of("a");
    let due = plan.due(at(0));
    assert_eq!(plan.turn(at(0), due - Millis(1)), None);
    assert_eq!(plan.turn(at(0), due).unwrap().fire, Some(at(0)));
}

#[test]
fn a_jitter_longer_than_the_interval_loses_no_tick() {
    let schedule = Schedule::every("s", Millis::secs(10), Target::job("h", serde_json::Value::Null));
    let schedule = schedule.jitter(Millis::secs(45)).misfire(Misfire::All(100), Millis::hours(1));
    let plan = Plan::of(&schedule).unwrap();
    let mut next = at(0);
    let mut fired = Vec::new();
    for now in 0..2_000 {
        while let Some(turn) = plan.turn(next, at(now)) {
            assert_eq!(turn.missed, None);
            fired.extend(turn.fire);
            next = turn.next.unwrap();
        }
    }
    assert_eq!(fired, plan.ticks_between(at(0), next, 1_000));
    assert!(fired.len() > 190, "{}", fired.len());
}

#[test]
fn wrong_definitions_are_refused_with_their_place() {
    let job = || Target::job("h", serde_json::json!({}));
    let every = |ms| Schedule::every("s", Millis(ms), job());
    let with = |change: &dyn Fn(&mut Schedule)| {
        let mut schedule = Schedule::cron("s", "0 0 * * *", job());
        change(&mut schedule);
        schedule
    };
    for (schedule, code, place) in [
        (Schedule::cron("", "0 0 * * *", job()), "schedule.bad_id", "id"),
        (Schedule::cron("a b", "0 0 * * *", job()), "schedule.bad_id", "id"),
        (Schedule::cron("s", "0 0 * *", job()), "schedule.bad_cron", "when.cron"),
        (every(999), "schedule.bad_interval", "when.every"),
        (every(i64::MAX), "schedule.bad_interval", "when.every"),
        (with(&|s| s.zone = "Mars/Base".into()), "schedule.bad_zone", "zone"),
        (with(&|s| s.jitter = Millis(-1)), "schedule.bad_limits", "jitter"),
        (with(&|s| s.grace = Millis::MAX), "schedule.bad_limits", "grace"),
        (with(&|s| s.keep = -1), "schedule.bad_limits", "keep"),
        (with(&|s| s.misfire = Misfire::All(0)), "schedule.bad_limits", "misfire"),
        (with(&|s| s.misfire = Misfire::All(101)), "schedule.bad_limits", "misfire"),
        (
            with(&|s| (s.starts_at, s.ends_at) = (Some(at(0)), Some(at(0)))),
            "schedule.bad_limits",
            "ends_at",
        ),
    ] {
        let e = schedule.check().expect_err(code);
        assert_eq!((e.code(), e.place()), (code, Some(place)), "{e:?}");
    }
    let held = Target::Job {
        handler: "h".into(),
        args: serde_json::json!(1),
        tick_field: Some("at".into()),
        account: None,
        hold: None,
        queue: "default".into(),
        priority: 100,
        max_attempts: 1,
    };
    let e = Schedule::cron("s", "@daily", held).check().unwrap_err();
    assert_eq!(e.place(), Some("target.tick_field"));
}

#[test]
fn a_definition_goes_through_json_with_its_defaults() {
    let text = r#"{"id": "n", "when": {"cron": "0 2 * * *"}, "misfire": {"all": 3}, "overlap": "queue",
        "target": {"kind": "run", "account": "acme", "pipeline": "report"}}"#;
    let schedule: Schedule = serde_json::from_str(text).unwrap();
    let same = Schedule::cron("n", "0 2 * * *", Target::run("acme", "report", serde_json::json!({})))
        .misfire(Misfire::All(3), Millis::secs(60))
        .overlap(crate::jobs::schedule::Overlap::Queue);
    assert_eq!(schedule, same);
    let again: Schedule = serde_json::from_str(&serde_json::to_string(&schedule).unwrap()).unwrap();
    assert_eq!(again, schedule);
    assert!(serde_json::from_str::<Schedule>(r#"{"id": "n", "when": {"cron": "0 2 * * *"}, "colour": 1}"#).is_err());
}
