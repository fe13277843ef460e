//! Cron expressions, and what becomes of them where a zone sets its clock forward or back.
//!
//! Five fields (minute, hour, day of month, month, day of week) or six (with seconds in front), with names
//! (`JAN`, `MON`), lists, ranges, steps, `L` (last), `W` (nearest weekday), `#` (the nth weekday of a month) and
//! the nicknames `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly`. If both the
//! day of the month and the day of the week are given, one of them is enough, as cron has always had it; a `+`
//! before the day of the week asks for both. The calendar is croner's; the clock changes are ours.
//!
//! # Clock changes
//!
//! The rule is Vixie cron's (crontab(5), cron(8)), and it asks how the expression is written:
//!
//! * **Fixed time**, no `*` in the minute and the hour field (`30 2 * * *`, `0 1-5 * * *`): every time that the
//!   calendar names is run once. One that a gap leaves out runs right after the gap, several of them together
//!   once; one that comes twice runs the first time only.
//! * **Wildcard**, a `*` in one of them (`*/15 * * * *`, `0 * * * *`): it follows the wall clock. In a gap nothing
//!   is run, for those minutes do not exist; in an overlap it runs in both hours, for both are real.
//!
//! A gap of three hours or more (a zone that leaves out a day to change sides of the date line) is a correction
//! and no daylight saving: nothing is made up for.

use std::cmp::Ordering;
use std::sync::Arc;

use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};
use crate::types::Millis;

/// The longest cron expression, in bytes.
pub const MAX_EXPRESSION: usize = 256;
/// How many years are searched. The rarest expressions that fire (29 February on a given weekday, over a year
/// like 2100) need forty.
const HORIZON: i16 = 48;
/// A gap at least so long, in seconds, is no daylight saving.
const LONGEST_SHIFT: i64 = 3 * 3_600;
/// How many gaps and overlaps one search passes by: two a year, and then some.
const MAX_CHANGES: usize = 2 * HORIZON as usize + 8;

/// A cron expression that was understood.
///
/// ```
/// use levqor_core::jobs::cron::Cron;
/// use levqor_core::types::Millis;
///
/// let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
/// let nightly: Cron = "30 2 * * *".parse().unwrap();
/// let from = Millis::parse_rfc3339("2026-03-28T12:00:00Z").unwrap();
/// // There is no half past two on that night; it runs as soon as the clock goes on, at three.
/// assert_eq!(nightly.next_after(&berlin, from).unwrap().rfc3339(), "2026-03-29T01:00:00.000Z");
/// ```
#[derive(Clone)]
pub struct Cron {
    text: Arc<str>,
    calendar: croner::Cron,
    fixed: bool,
}

impl std::fmt::Debug for Cron {
    // The calendar has a cell for every year until 5000.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cron").field(&self.text).finish()
    }
}

impl std::str::FromStr for Cron {
    type Err = Error;

    /// # Errors
    /// `schedule.bad_cron` if it is no cron expression.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::invalid("schedule.bad_cron", format!("`{}` is no cron expression: {why}", clip(text))).hint(
                "write minute, hour, day of month, month and day of week, like `30 2 * * MON-FRI`; six fields start with the second",
            )
        };
        if text.len() > MAX_EXPRESSION || !text.is_ascii() {
            return Err(bad(format!("it has at most {MAX_EXPRESSION} ASCII characters")));
        }
        let trimmed = text.trim();
        let spelled = if trimmed.eq_ignore_ascii_case("@midnight") {
            "@daily"
        } else {
            trimmed
        };
        let fields: Vec<&str> = spelled.split_ascii_whitespace().collect();
        check_words(&fields).map_err(bad)?;
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let calendar = parser.parse(spelled).map_err(|e| bad(reason(&e)))?;
        // The day's fields have no say; of the nicknames, only `@hourly` has a wildcard.
        let fixed = match fields.as_slice() {
            [nickname] => !nickname.eq_ignore_ascii_case("@hourly"),
            [.., minute, hour, _, _, _] => !minute.contains('*') && !hour.contains('*'),
            _ => return Err(bad("it has 5 or 6 fields".to_owned())),
        };
        Ok(Cron {
            text: trimmed.into(),
            calendar,
            fixed,
        })
    }
}

const MONTHS: &[&str] = &[
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Checks the words of every field. The parser puts numbers for names wherever they stand, so that `JAN1` would be
/// November, and `MON` January in the field of the month.
fn check_words(fields: &[&str]) -> std::result::Result<(), String> {
    let [.., minute, hour, day, month, weekday] = fields else {
        // A nickname, or too few; the parser knows.
        return Ok(());
    };
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let named = |word: &str, names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(word));
    let without = |word: &str, end: char| word.strip_suffix([end, end.to_ascii_lowercase()]).map(str::to_owned);
    let last = |word: &str| word.eq_ignore_ascii_case("L");
    let time = |word: &str| word == "*" || number(word);
    let of_month =
        |word: &str| time(word) || word == "?" || last(word) || without(word, 'W').is_some_and(|w| number(&w) || last(&w));
    let of_week = |word: &str| {
        let day = |word: &str| number(word) || named(word, WEEKDAYS);
        word == "*" || word == "?" || day(word) || last(word) || without(word, 'L').is_some_and(|w| day(&w))
    };
    let check = |field: &str, fits: &dyn Fn(&str) -> bool| match field.split([',', '-', '/', '#']).find(|word| !fits(word)) {
        Some("") => Err(format!("something is missing in `{field}`")),
        Some(word) => Err(format!("`{}` has no meaning in `{field}`", clip(word))),
        None => Ok(()),
    };
    if let [second, _, _, _, _, _] = fields {
        check(second, &time)?;
    }
    check(minute, &time)?;
    check(hour, &time)?;
    check(day, &of_month)?;
    check(month, &|word| time(word) || named(word, MONTHS))?;
    check(weekday.strip_prefix('+').unwrap_or(weekday), &of_week)
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

fn reason(e: &CronError) -> String {
    match e {
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::InvalidPattern(why) | CronError::IllegalCharacters(why) | CronError::ComponentError(why) => {
            why.trim_end_matches('.').to_owned()
        }
        CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => {
            "a number is out of range".to_owned()
        }
    }
}

impl Cron {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names times of the day, and not every hour or minute: see the [module](self).
    pub fn fixed_time(&self) -> bool {
        self.fixed
    }

    /// The first whole second after an instant at which it fires in a zone; `None` if it does not within the next
    /// 48 years.
    pub fn next_after(&self, zone: &TimeZone, after: Millis) -> Option<Millis> {
        let seconds = self.next(zone, after.0.div_euclid(1_000))?;
        seconds.checked_mul(1_000).map(Millis)
    }

    fn next(&self, zone: &TimeZone, after: i64) -> Option<i64> {
        let offset = offset_at(zone, after)?;
        let wall = wall_at(offset, after)?;
        let until = wall.year().checked_add(HORIZON)?;
        let first = self.search(zone, wall, after, until);
        if self.fixed {
            return first;
        }
        // The search follows the wall clock forward. Where this hour comes a second time, that starts with
        // times of the day which the search has behind it.
        let second = self.second_pass(zone, wall, after, until);
        match (first, second) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The first match on the wall clock after `wall`, as an instant after `after`.
    fn search(&self, zone: &TimeZone, mut wall: DateTime, after: i64, until: i16) -> Option<i64> {
        let mut inclusive = false;
        for _ in 0..MAX_CHANGES {
            let found = self.on_the_wall(wall, inclusive, until)?;
            match zone.to_ambiguous_timestamp(found).offset() {
                AmbiguousOffset::Unambiguous { offset } => return instant_of(offset, found),
                AmbiguousOffset::Fold { before, after: later } => {
                    let (one, two) = (instant_of(before, found)?, instant_of(later, found)?);
                    if one > after {
                        return Some(one);
                    }
                    if !self.fixed && two > after {
                        return Some(two);
                    }
                    // The first of the two hours is over, and with it all that a fixed time has there.
                    wall = wall_at(before, change(zone, one, two)?)?;
                }
                AmbiguousOffset::Gap { before, after: later } => {
                    let at = change(zone, instant_of(later, found)?, instant_of(before, found)?)?;
                    let shift = i64::from(later.seconds()) - i64::from(before.seconds());
                    if self.fixed && at > after && shift < LONGEST_SHIFT {
                        return Some(at);
                    }
                    wall = wall_at(later, at)?;
                }
            }
            inclusive = true;
        }
        None
    }

    /// The first match in the second of two equal hours, if `after` lies in the first.
    fn second_pass(&self, zone: &TimeZone, wall: DateTime, after: i64, until: i16) -> Option<i64> {
        let AmbiguousOffset::Fold { before, after: later } = zone.to_ambiguous_timestamp(wall).offset() else {
            return None;
        };
        let (one, two) = (instant_of(before, wall)?, instant_of(later, wall)?);
        let at = change(zone, one, two)?;
        if after >= at {
            return None;
        }
        let found = self.on_the_wall(wall_at(later, at)?, true, until)?;
        (found < wall_at(before, at)?).then(|| instant_of(later, found)).flatten()
    }

    /// The first match on a wall clock without zone.
    fn on_the_wall(&self, from: DateTime, inclusive: bool, until: i16) -> Option<DateTime> {
        let found = self.calendar.find_next_occurrence(&Wall { at: from, until }, inclusive);
        found.ok().map(|wall| wall.at)
    }
}

fn offset_at(zone: &TimeZone, seconds: i64) -> Option<Offset> {
    Some(zone.to_offset(Timestamp::from_second(seconds).ok()?))
}

fn wall_at(offset: Offset, seconds: i64) -> Option<DateTime> {
    Some(offset.to_datetime(Timestamp::from_second(seconds).ok()?))
}

fn instant_of(offset: Offset, wall: DateTime) -> Option<i64> {
    Some(offset.to_timestamp(wall).ok()?.as_second())
}

/// The second at which the offset changes between two instants.
fn change(zone: &TimeZone, mut before: i64, mut after: i64) -> Option<i64> {
    let old = offset_at(zone, before)?;
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset_at(zone, middle)? == old {
            before = middle;
        } else {
            after = middle;
        }
    }
    Some(after)
}

/// A wall clock on which croner searches, and the last year in which it may.
#[derive(Clone, Copy, Debug)]
struct Wall {
    at: DateTime,
    until: i16,
}

impl CronDateTime for Wall {
    fn to_civil(&self) -> CivilDateTime {
        let part = |n: i8| u32::from(n.unsigned_abs());
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(self.at.year()), part(self.at.month()), part(self.at.day())),
            CivilTime::from_parts_unchecked(part(self.at.hour()), part(self.at.minute()), part(self.at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::from(self.at.weekday().to_sunday_zero_offset().unsigned_abs()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> std::result::Result<Resolution<Self>, CronError> {
        if civil.year() > i32::from(self.until) {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        let part = |n: u32| i8::try_from(n).map_err(|_| CronError::InvalidDate);
        let at = DateTime::new(
            i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        );
        let at = at.map_err(|_| CronError::InvalidDate)?;
        Ok(Resolution::Single(Wall { at, until: self.until }))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let at = self.at.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        Some(Wall { at, until: self.until })
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn next(expression: &str, zone_name: &str, from: &str, n: usize) -> Vec<String> {
        let cron: Cron = expression.parse().unwrap();
        let zone = zone(zone_name);
        let mut at = Millis(from.parse::<jiff::Zoned>().map_or_else(
            |_| from.parse::<Timestamp>().unwrap().as_millisecond(),
            |z| z.timestamp().as_millisecond(),
        ));
        let mut found = Vec::new();
        while found.len() < n {
            let Some(tick) = cron.next_after(&zone, at) else { break };
            assert!(tick > at);
            at = tick;
            let shown = Timestamp::from_millisecond(tick.0).unwrap().to_zoned(zone.clone());
            found.push(shown.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
        }
        found
    }

    #[test]
    fn a_fixed_time_in_a_gap_runs_once_right_after_it() {
        let from = "2026-03-28T00:00:00Z";
        let found = next("30 2 * * *", "Europe/Berlin", from, 3);
        assert_eq!(
            found,
            [
                "2026-03-28T02:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:30:00+02:00"
            ]
        );
        // Several that fall into it are one, and so is one that was due at its end anyway.
        let found = next("0,20,40 2,3 29 3 *", "Europe/Berlin", from, 4);
        assert_eq!(
            found,
            [
                "2026-03-29T03:00:00+02:00",
                "2026-03-29T03:20:00+02:00",
                "2026-03-29T03:40:00+02:00",
                "2027-03-29T02:00:00+02:00"
            ]
        );
    }

    #[test]
    fn a_fixed_time_in_an_overlap_runs_the_first_time_only() {
        let found = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
        // From within the second of the two hours, and from their seam.
        for from in ["2026-10-25T01:00:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:59:59Z"] {
            assert_eq!(
                next("30 2 * * *", "Europe/Berlin", from, 1),
                ["2026-10-26T02:30:00+01:00"],
                "{from}"
            );
        }
    }

    #[test]
    fn a_wildcard_follows_the_wall_clock_through_both_hours() {
        let found = next("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 5);
        let shown = [
            "02:30:00+02:00",
            "02:00:00+01:00",
            "02:30:00+01:00",
            "03:00:00+01:00",
            "03:30:00+01:00",
        ];
        assert_eq!(found, shown.map(|t| format!("2026-10-25T{t}")));
        let found = next("15 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3);
        let shown = ["01:15:00+01:00", "03:15:00+02:00", "04:15:00+02:00"];
        assert_eq!(found, shown.map(|t| format!("2026-03-29T{t}")));
        // Half an hour, and a match in the second half hour whose wall clock time was behind us.
        let found = next("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:44:00Z", 3);
        let shown = ["01:45:00+11:00", "01:45:00+10:30", "02:45:00+10:30"];
        assert_eq!(found, shown.map(|t| format!("2026-04-05T{t}")));
    }

    #[test]
    fn a_day_that_a_zone_leaves_out_is_not_made_up_for() {
        let found = next("0 12 * * *", "Pacific/Apia", "2011-12-28T23:00:00Z", 3);
        assert_eq!(
            found,
            [
                "2011-12-29T12:00:00-10:00",
                "2011-12-31T12:00:00+14:00",
                "2012-01-01T12:00:00+14:00"
            ]
        );
    }

    #[test]
    fn a_gap_at_midnight_moves_the_day_and_loses_nothing() {
        let found = next("0 0 * * *", "Africa/Cairo", "2026-04-22T23:00:00Z", 3);
        assert_eq!(
            found,
            [
                "2026-04-24T01:00:00+03:00",
                "2026-04-25T00:00:00+03:00",
                "2026-04-26T00:00:00+03:00"
            ]
        );
    }

    #[test]
    fn what_never_fires_is_found_out_in_bounded_time() {
        for (never, zone) in [("30 2 30 2 *", "UTC"), ("0 0 31 4,6 *", "UTC"), ("0 0 31 * +MON#1", "UTC")] {
            assert_eq!(next(never, zone, "2026-01-01T00:00:00Z", 1), [""; 0], "{never}");
        }
        // Only the minutes that the gap swallows.
        assert_eq!(next("* 2 * 3 +SUNL", "Europe/Berlin", "2026-01-01T00:00:00Z", 1), [""; 0]);
        // A year like 2100 has no such day: forty years from one Monday to the next.
        let rare = next("0 0 29 2 +MON", "UTC", "2072-03-01T00:00:00Z", 2);
        assert_eq!(rare, ["2112-02-29T00:00:00+00:00", "2140-02-29T00:00:00+00:00"]);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let long = "* ".repeat(200);
        for text in [
            "",
            "   ",
            "* * * *",
            "* * * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "* * * * MON#6",
            "@reboot",
            "@never",
            "0 2 * * MONDAY",
            "ä * * * *",
            "1,,2 * * * *",
            "* * * JAN1 *",
            "* * * MON *",
            "* JAN * * *",
            "* * * JANFEB *",
            "* * W * *",
            "L * * * *",
            "1-,2 * * * *",
            long.as_str(),
        ] {
            let e = text.parse::<Cron>().expect_err(text);
            assert_eq!(e.code(), "schedule.bad_cron", "{text}");
        }
    }

    #[test]
    fn the_kind_of_an_expression_is_how_it_is_written() {
        let fixed = |text: &str| text.parse::<Cron>().unwrap().fixed_time();
        for text in [
            "30 2 * * *",
            "0 1-5 * * *",
            "* 30 2 * * *",
            "@daily",
            "@midnight",
            "0,30 2 1 * *",
        ] {
            assert!(fixed(text), "{text}");
        }
        for text in ["*/5 2 * * *", "0 * * * *", "0 */2 * * *", "@hourly", "0 0 * * * *"] {
            assert!(!fixed(text), "{text}");
        }
    }
}
