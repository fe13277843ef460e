//! Ticks of cron expressions: golden vectors, properties, and other implementations as witnesses.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what was run")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan, Zoned};
use levqor_core::jobs::cron::Cron;
use levqor_core::jobs::schedule::{Plan, Schedule, Target};
use levqor_core::types::Millis;
use proptest::prelude::*;
use serde_json::Value;

/// What a cron expression means, written down a second time and as plainly as can be: numbers, names, lists,
/// ranges, steps, `L` and `#`, and the ticks by looking at every day.
#[allow(clippy::struct_excessive_bools, reason = "each says how one field is written")]
struct Reference {
    seconds: BTreeSet<i8>,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: BTreeSet<i8>,
    last_day: bool,
    months: BTreeSet<i8>,
    weekdays: BTreeSet<i8>,
    nth: Vec<(i8, i8)>,
    any_day: bool,
    any_weekday: bool,
    fixed: bool,
}

fn numbers(field: &str, low: i8, high: i8, names: &[&str]) -> BTreeSet<i8> {
    let number = |text: &str| match names.iter().position(|n| *n == text) {
        Some(at) => low + i8::try_from(at).unwrap(),
        None => text.parse().unwrap(),
    };
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(r, s)| (r, s.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from), number(to)),
            None => (number(range), number(range)),
        };
        all.extend((from..=to).step_by(step));
    }
    all
}

impl Reference {
    fn of(text: &str) -> Self {
        let months = [
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ];
        let days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        let mut fields: Vec<&str> = text.split(' ').collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let (day, weekday) = (fields[3], fields[5]);
        let nth = weekday.split_once('#').map(|(d, n)| (d.parse().unwrap(), n.parse().unwrap()));
        Reference {
            seconds: numbers(fields[0], 0, 59, &[]),
            minutes: numbers(fields[1], 0, 59, &[]),
            hours: numbers(fields[2], 0, 23, &[]),
            last_day: day == "L",
            days: if day == "L" {
                BTreeSet::new()
            } else {
                numbers(day, 1, 31, &[])
            },
            months: numbers(fields[4], 1, 12, &months),
            weekdays: if nth.is_some() {
                BTreeSet::new()
            } else {
                numbers(weekday, 0, 6, &days)
            },
            nth: nth.into_iter().collect(),
            any_day: day == "*",
            any_weekday: weekday == "*",
            fixed: !fields[1].contains('*') && !fields[2].contains('*'),
        }
    }

    fn on(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let by_day = self.days.contains(&date.day()) || self.last_day && date.day() == date.days_in_month();
        let nth = (date.day() - 1) / 7 + 1;
        let by_weekday = self.weekdays.contains(&weekday) || self.nth.contains(&(weekday, nth));
        let fits = match (self.any_day, self.any_weekday) {
            (true, true) => true,
            (true, false) => by_weekday,
            (false, true) => by_day,
            (false, false) => by_day || by_weekday,
        };
        fits && self.months.contains(&date.month())
    }

    /// The instants of one time on the wall.
    fn instants(&self, zone: &TimeZone, wall: DateTime) -> Vec<i64> {
        let at = |offset: jiff::tz::Offset| offset.to_timestamp(wall).unwrap().as_second();
        match zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => vec![at(offset)],
            AmbiguousOffset::Fold { before, .. } if self.fixed => vec![at(before)],
            AmbiguousOffset::Fold { before, after } => vec![at(before), at(after)],
            AmbiguousOffset::Gap { before, after } if self.fixed && after.seconds() - before.seconds() < 3 * 3_600 => {
                let earlier = Timestamp::from_second(at(after)).unwrap();
                vec![zone.following(earlier).next().unwrap().timestamp().as_second()]
            }
            AmbiguousOffset::Gap { .. } => vec![],
        }
    }

    /// The first `n` ticks after an instant; fewer if there are not so many within so many days.
    fn ticks(&self, zone: &TimeZone, after: i64, n: usize, days: usize) -> Vec<i64> {
        let start = Timestamp::from_second(after).unwrap().to_zoned(zone.clone()).date();
        let mut found = BTreeSet::new();
        let mut enough = 0;
        for date in start.yesterday().unwrap().series(1.day()).take(days) {
            if self.on(date) {
                for hour in &self.hours {
                    for minute in &self.minutes {
                        for second in &self.seconds {
                            found.extend(self.instants(zone, date.at(*hour, *minute, *second, 0)));
                        }
                    }
                }
                found = found.split_off(&(after + 1));
            }
            // Where a clock goes back at midnight, the day after may still come before.
            enough += usize::from(found.len() >= n);
            if enough > 2 {
                break;
            }
        }
        found.into_iter().take(n).collect()
    }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|e| panic!("{e}"))
}

fn ticks(text: &str, zone: &TimeZone, after: i64, n: usize) -> Vec<i64> {
    let cron: Cron = text.parse().unwrap_or_else(|e| panic!("{e:?}"));
    let mut at = Millis(after * 1_000);
    let mut found = Vec::new();
    while found.len() < n {
        let Some(next) = cron.next_after(zone, at) else { break };
        assert!(next > at && next.0 % 1_000 == 0, "`{text}` fires at {next:?} after {at:?}");
        at = next;
        found.push(at.0 / 1_000);
    }
    found
}

fn shown(zone: &TimeZone, seconds: &[i64]) -> Vec<String> {
    let text = |s: &i64| {
        let at = Timestamp::from_second(*s).unwrap().to_zoned(zone.clone());
        at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    seconds.iter().map(text).collect()
}

#[test]
fn the_golden_vectors_hold() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/cron.json"));
    let vectors: Value = serde_json::from_str(text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let field = |name: &str| case[name].as_str().unwrap();
        let zone = zone(field("zone"));
        let from: Timestamp = field("from").parse().unwrap();
        let found = ticks(field("expression"), &zone, from.as_second(), 5);
        let expected: Vec<&str> = case["next"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        assert_eq!(
            shown(&zone, &found),
            expected,
            "{}: `{}` in {}",
            field("about"),
            field("expression"),
            field("zone")
        );
    }
    let refused = vectors["refused"].as_array().unwrap();
    for text in refused.iter().map(|t| t.as_str().unwrap()) {
        assert_eq!(text.parse::<Cron>().expect_err(text).code(), "schedule.bad_cron", "{text}");
    }
}

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
];

fn field(low: i8, high: i8) -> impl Strategy<Value = String> {
    let one = low..=high;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => one.clone().prop_map(|n| n.to_string()),
        1 => prop::collection::btree_set(one.clone(), 2..4).prop_map(|set| {
            set.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }),
        1 => (one.clone(), one, 1..8_i8).prop_map(|(a, b, s)| format!("{}-{}/{s}", a.min(b), a.max(b))),
        1 => (2..30_i8).prop_map(move |s| format!("*/{}", s.min(high))),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let day = prop_oneof![5 => field(1, 31), 1 => Just("L".to_owned())];
    let weekday = prop_oneof![
        5 => field(0, 6),
        1 => (0..7, 1..5).prop_map(|(d, n)| format!("{d}#{n}")),
    ];
    // Clocks change at night.
    let hour = prop_oneof![field(0, 23), (0..4_i8).prop_map(|h| h.to_string())];
    (
        prop::option::weighted(0.1, 0..60),
        field(0, 59),
        hour,
        day,
        field(1, 12),
        weekday,
    )
        .prop_map(|(second, minute, hour, day, month, weekday)| {
            let second = second.map(|s| format!("{s} ")).unwrap_or_default();
            format!("{second}{minute} {hour} {day} {month} {weekday}")
        })
}

/// An instant near a change of the zone's clock, or anywhere.
fn start() -> impl Strategy<Value = (&'static str, i64)> {
    (
        prop::sample::select(ZONES),
        1_262_304_000..2_082_758_400_i64,
        -100_000..100_000_i64,
        any::<bool>(),
    )
        .prop_map(|(name, anywhere, off, near)| {
            let at = Timestamp::from_second(anywhere).unwrap();
            let change = zone(name).following(at).next().map(|t| t.timestamp().as_second());
            (name, change.filter(|_| near).map_or(anywhere, |change| change + off))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No tick that the reference does not know, none that it knows and we do not.
    #[test]
    fn ticks_are_those_of_the_reference(text in expression(), (name, after) in start()) {
        let zone = zone(name);
        let expected = Reference::of(&text).ticks(&zone, after, 10, 800);
        let found = ticks(&text, &zone, after, expected.len());
        prop_assert_eq!(shown(&zone, &found), shown(&zone, &expected), "`{}` in {} after {}", text, name, after);
    }

    /// However a range is cut, its parts have the ticks of the whole: none twice, none lost, in order.
    #[test]
    fn ranges_add_up(text in expression(), (name, from) in start(), cuts in prop::collection::vec(0..200_000_i64, 1..5)) {
        let schedule = Schedule::cron("s", text, Target::job("h", Value::Null)).zone(name);
        let plan = Plan::of(&schedule).unwrap();
        let mut cuts: Vec<i64> = cuts.into_iter().chain([0, 200_000]).collect();
        cuts.sort_unstable();
        // In milliseconds that are no whole seconds, too.
        let at = |cut: i64| Millis((from + cut) * 1_000 + cut % 1_000);
        let whole = plan.ticks_between(at(0), at(200_000), usize::MAX);
        let parts: Vec<Millis> = cuts.windows(2).flat_map(|w| plan.ticks_between(at(w[0]), at(w[1]), usize::MAX)).collect();
        prop_assert_eq!(&parts, &whole);
        prop_assert!(whole.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(whole.iter().all(|t| at(0) <= *t && *t < at(200_000)));
    }

    /// Where croner calls an expression fixed or wildcard as we do, its own rule for clock changes, which is
    /// written to the Open Cron Pattern Specification, agrees with ours.
    #[test]
    fn croner_agrees_on_clock_changes(minute in 0..60, hour in 0..24, star in any::<bool>(), (name, after) in start()) {
        let text = if star { format!("{minute} * * * *") } else { format!("{minute} {hour} * * *") };
        let croner: croner::Cron = text.parse().unwrap();
        let zone = zone(name);
        let mut at: Zoned = Timestamp::from_second(after).unwrap().to_zoned(zone.clone());
        let mut expected = Vec::new();
        for _ in 0..5 {
            // It gives up at a day that is left out.
            let Ok(next) = croner.find_next_occurrence(&at, false) else { return Ok(()) };
            expected.push(next.timestamp().as_second());
            at = next;
        }
        prop_assert_eq!(shown(&zone, &ticks(&text, &zone, after, 5)), shown(&zone, &expected), "`{}` in {}", text, name);
    }

    /// Nothing that is written as an expression makes it panic or search for long.
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9*/,#LW?@+A-Z -]{0,24}") {
        if let Ok(cron) = text.parse::<Cron>() {
            cron.next_after(&TimeZone::UTC, Millis(1_750_000_000_000));
        }
    }
}

/// How croniter differs, and why it may: each known difference is put right, and then the ticks have to agree.
/// In every one of these cases, we have to agree with the reference.
fn difference(text: &str, zone: &TimeZone, after: i64, ours: &[i64], theirs: &[i64]) -> &'static str {
    let reference = Reference::of(text);
    if theirs.is_empty() || reference.ticks(zone, after, ours.len().max(1), 20_000) != ours {
        return "unexplained";
    }
    let wall = |s: i64| Timestamp::from_second(s).unwrap().to_zoned(zone.clone()).datetime();
    let second_hour = |s: i64| match zone.to_ambiguous_timestamp(wall(s)).offset() {
        AmbiguousOffset::Fold { after, .. } => after.to_timestamp(wall(s)).unwrap().as_second() == s,
        _ => false,
    };
    let after_gap = |s: i64| wall(s).duration_since(wall(s - 60)).as_secs() > 60;
    // The first ticks of both, away from changes of the clock.
    let agree = |ours: &[i64]| {
        let calm = |ticks: &[i64]| {
            let calm = |s: &i64| !(after_gap(*s) || reference.fixed && second_hour(*s));
            ticks.iter().copied().filter(calm).collect::<Vec<_>>()
        };
        let (ours, theirs) = (calm(ours), calm(theirs));
        let n = ours.len().min(theirs.len());
        // Five ticks may all lie in the second of two equal hours.
        (n > 0 || theirs.is_empty()) && ours[..n] == theirs[..n]
    };
    if agree(ours) {
        return match reference.fixed {
            true if theirs.iter().any(|s| second_hour(*s)) => "a fixed time in an overlap runs in both hours",
            true => "a fixed time in a gap keeps its seconds, or is made up for after three hours",
            false => "what a wildcard has in a gap is run once after it",
        };
    }
    // A field with every value in it (`0-6`) is no `*` to us, who go by how it is written, as Vixie cron does.
    let mut full = Reference::of(text);
    full.any_day |= full.days.len() == 31;
    full.any_weekday |= full.weekdays.len() == 7;
    if agree(&full.ticks(zone, after, 10, 20_000)) {
        return "a day's field with all values is taken for `*`";
    }
    // A range with one value in it (`6-6`, `4-4/2`) stands for every value (`0-6`, `1-12/2`) there.
    let whole = ["0-59", "0-59", "0-23", "1-31", "1-12", "0-6"];
    let fields: Vec<&str> = text.split(' ').collect();
    let spread = fields
        .iter()
        .zip(&whole[6 - fields.len()..])
        .map(|(field, whole)| match field.split_once('-') {
            Some((from, rest)) if rest.split('/').next() == Some(from) => format!("{whole}{}", &rest[from.len()..]),
            _ => (*field).to_owned(),
        });
    let all: Vec<String> = spread.collect();
    let mut spread = Reference::of(&all.join(" "));
    for as_star in [false, true] {
        spread.any_day |= as_star && spread.days.len() == 31;
        spread.any_weekday |= as_star && spread.weekdays.len() == 7;
        if agree(&spread.ticks(zone, after, 10, 20_000)) {
            return "a range from a value to itself is taken for all values";
        }
    }
    "unexplained"
}

/// With `LEVQOR_SOAK_CRON=1`, 100,000 new cases over all zones (`LEVQOR_SOAK_CRON=n` for n) from
/// `scripts/cron-oracle.py`, which needs `pip install croniter`; without it, the cases that are kept in the
/// repository.
#[test]
fn cron_agrees_with_croniter() {
    let text = match std::env::var("LEVQOR_SOAK_CRON") {
        Err(_) => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/cron-croniter.jsonl")).to_owned(),
        Ok(n) => {
            let cases = if n == "1" { "100000".to_owned() } else { n };
            let seed = u32::from_be_bytes(levqor_core::types::random_bytes()).to_string();
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/cron-oracle.py");
            let output = Command::new("python3").args([script, &cases, &seed]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            println!("{cases} new cases with seed {seed}");
            String::from_utf8(output.stdout).unwrap()
        }
    };
    let (mut cases, mut zones, mut never) = (0, BTreeSet::new(), 0);
    let mut differences: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (expression, name, after, theirs): (String, String, i64, Option<Vec<i64>>) = serde_json::from_str(line).unwrap();
        let zone = zone(&name);
        let ours = ticks(&expression, &zone, after, 5);
        let theirs = theirs.unwrap_or_default();
        cases += 1;
        never += usize::from(ours.is_empty());
        if ours != theirs {
            let why = difference(&expression, &zone, after, &ours, &theirs);
            let said = format!(
                "`{expression}` in {name} after {after}: {:?}, croniter {:?}",
                shown(&zone, &ours),
                shown(&zone, &theirs)
            );
            differences.entry(why).or_default().push(said);
        }
        zones.insert(name);
    }
    println!("{cases} cases over {} zones, {never} of them never fire", zones.len());
    for (why, cases) in &differences {
        println!("croniter differs in {} cases: {why}; for example {}", cases.len(), cases[0]);
    }
    assert!(
        cases >= 1_000 && zones.len() >= 20,
        "{cases} cases over {} zones",
        zones.len()
    );
    let unexplained = differences.get("unexplained").map(|c| c.iter().take(20).collect::<Vec<_>>());
    assert_eq!(unexplained, None);
}
