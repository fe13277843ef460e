//! How much in how much time, and how it is counted: the [`Quota`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::concurrency::Concurrency;
use super::gcra::{FRACTION_BITS, Gcra};
use super::policy::Rule;
use super::windows::{FixedWindow, SlidingLog, SlidingWindow};
use crate::error::{Error, Result};
use crate::types::{Millis, parse_duration};

/// The highest limit and burst.
pub const MAX_LIMIT: u32 = 1_000_000_000;
/// The highest limit of a sliding log, which keeps every call in memory.
pub const MAX_LOGGED: u32 = 100_000;
/// The longest period.
pub const MAX_PERIOD: Millis = Millis(366 * 86_400_000);
/// Whole numbers up to here are exact in a double, which is all that Redis' scripts count with.
const EXACT: i64 = 1 << 53;
/// A bucket must refill within this many milliseconds, twelve years, from the deepest debt.
const MAX_REFILL: i64 = 390_000_000_000;

/// How a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Algorithm {
    /// Token bucket by the generic cell rate algorithm: a burst at once, then a steady rate, to the
    /// microsecond and without a window. In any span of time `w` it admits at most
    /// `burst + limit * w / period`. The default.
    #[default]
    Gcra,
    /// Windows aligned to the clock (`1/d` begins at midnight UTC). Up to twice the limit passes around a
    /// boundary; what people expect of "1000 a month".
    FixedWindow,
    /// The window before counts in part. Smooth and cheap, about right.
    SlidingWindow,
    /// Every call is remembered: never more than the limit in any period. Limits up to 100,000.
    SlidingLog,
    /// How many are in flight at the same time. The period is the lease: a place that is not
    /// [given back](super::Op::Release) or [renewed](super::Op::Renew) is free again after it. Limits up to
    /// 100,000.
    Concurrency,
}

impl Algorithm {
    /// The word for it in a quota's text.
    pub const fn word(self) -> &'static str {
        match self {
            Algorithm::Gcra => "gcra",
            Algorithm::FixedWindow => "fixed",
            Algorithm::SlidingWindow => "sliding",
            Algorithm::SlidingLog => "log",
            Algorithm::Concurrency => "concurrent",
        }
    }
}

/// So many units per period, with an algorithm, and for a token bucket with a burst.
///
/// ```
/// use levqor_core::limits::{Algorithm, Quota};
/// use levqor_core::types::Millis;
///
/// let q: Quota = "60/minute burst 10".parse().unwrap();
/// assert_eq!(q, Quota::per_minute(60).burst(10));
/// assert_eq!("200 per 15m sliding".parse::<Quota>().unwrap().algorithm_used(), Algorithm::SlidingWindow);
/// let e = "60/minut".parse::<Quota>().unwrap_err();
/// assert_eq!(e.help(), Some("did you mean `minute`?"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u32,
    period: Millis,
    burst: Option<u32>,
    algorithm: Algorithm,
    /// The period over the limit in lowest terms, so that no call pays for the division.
    interval: i64,
    per_ms: i64,
}

impl Quota {
    /// So many units per period. Limits are at most a billion; one of 0 refuses everything.
    ///
    /// What cannot be counted exactly is refused where the quota is used, or before by
    /// [`check`](Quota::check).
    pub fn new(limit: u32, period: Millis) -> Self {
        let (a, b) = (period.0.max(1), i64::from(limit.max(1)));
        let divisor = gcd(a, b);
        Quota {
            limit,
            period,
            burst: None,
            algorithm: Algorithm::default(),
            interval: a / divisor,
            per_ms: b / divisor,
        }
    }

    /// So many units per second.
    pub fn per_second(limit: u32) -> Self {
        Quota::new(limit, Millis::secs(1))
    }

    /// So many units per minute.
    pub fn per_minute(limit: u32) -> Self {
        Quota::new(limit, Millis::mins(1))
    }

    /// So many units per hour.
    pub fn per_hour(limit: u32) -> Self {
        Quota::new(limit, Millis::hours(1))
    }

    /// So many units per 24 hours.
    pub fn per_day(limit: u32) -> Self {
        Quota::new(limit, Millis::hours(24))
    }

    /// So many at the same time, each for no longer than the lease.
    pub fn concurrent(limit: u32, lease: Millis) -> Self {
        Quota::new(limit, lease).algorithm(Algorithm::Concurrency)
    }

    /// How many units a token bucket holds, that is, how many may come at once: the limit itself, unless
    /// set. Other algorithms have none.
    #[must_use]
    pub fn burst(mut self, units: u32) -> Self {
        self.burst = Some(units);
        self
    }

    /// How to count.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Units per period.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The period.
    pub fn period(&self) -> Millis {
        self.period
    }

    /// How it counts.
    pub fn algorithm_used(&self) -> Algorithm {
        self.algorithm
    }

    /// Units that may come at once.
    pub fn capacity(&self) -> u32 {
        match (self.algorithm, self.burst) {
            (Algorithm::Gcra, Some(burst)) if self.limit > 0 => burst,
            _ => self.limit,
        }
    }

    /// The same quota divided among `shares` that do not see each other; never less than one unit each,
    /// unless there was none. Rounded down, and to three leading digits where no other part can be counted
    /// exactly.
    #[must_use]
    pub fn share(self, shares: u32) -> Self {
        let part = |n: u32| (n / shares.max(1)).max(n.min(1));
        let of = |limit: u32| Quota {
            burst: self.burst.map(part),
            ..Quota::new(limit, self.period).algorithm(self.algorithm)
        };
        let exact = part(self.limit);
        let step = 10_u32.pow(exact.checked_ilog10().unwrap_or(0).saturating_sub(2));
        // A million per period is exact whatever the period.
        [exact, exact / step * step, exact.min(1_000_000)]
            .into_iter()
            .map(of)
            .find(|q| q.check().is_ok())
            .unwrap_or(self)
    }

    /// Whether it can be counted exactly. Every refusal has the code `limits.invalid_quota`.
    pub fn check(&self) -> Result<()> {
        self.rule().map(drop)
    }

    /// The quota made ready for its algorithm.
    pub fn rule(&self) -> Result<Rule> {
        if self.limit > MAX_LIMIT || self.burst.is_some_and(|b| b > MAX_LIMIT || b == 0) {
            return Err(invalid(
                self,
                format!("limit and burst go up to {MAX_LIMIT}, and a burst from 1"),
            ));
        }
        if self.period < Millis(1) || self.period > MAX_PERIOD {
            return Err(invalid(self, "the period goes from 1 ms to 366 days"));
        }
        let (limit, period) = (i64::from(self.limit), self.period.0);
        match self.algorithm {
            Algorithm::Gcra => self.gcra(),
            _ if self.burst.is_some() => {
                Err(invalid(self, "a burst belongs to a token bucket").hint("leave `burst` out, or use `gcra`"))
            }
            Algorithm::FixedWindow => Ok(Rule::FixedWindow(FixedWindow { limit, period })),
            Algorithm::SlidingWindow if limit.saturating_mul(period) <= EXACT / 8 => {
                Ok(Rule::SlidingWindow(SlidingWindow { limit, period }))
            }
            Algorithm::SlidingWindow => Err(invalid(self, "limit times period is too large to be counted exactly")
                .hint("use `gcra` or `fixed` for so large a quota")),
            Algorithm::SlidingLog if self.limit <= MAX_LOGGED => Ok(Rule::SlidingLog(SlidingLog { limit, period })),
            Algorithm::SlidingLog => Err(
                invalid(self, format!("a sliding log keeps at most {MAX_LOGGED} calls of a key"))
                    .hint("use `gcra` or `sliding` for so high a limit"),
            ),
            Algorithm::Concurrency if self.limit <= MAX_LOGGED => {
                Ok(Rule::Concurrency(Concurrency(SlidingLog { limit, period })))
            }
            Algorithm::Concurrency => Err(invalid(self, format!("at most {MAX_LOGGED} can be in flight"))),
        }
    }

    fn gcra(&self) -> Result<Rule> {
        let (interval, per_ms) = (self.interval, self.per_ms);
        let capacity = i64::from(self.capacity()).saturating_mul(interval);
        let bound = capacity.max(i64::from(self.limit).saturating_mul(interval)).saturating_mul(2);
        if per_ms >= 1 << FRACTION_BITS {
            return Err(invalid(
                self,
                "the time per unit is too odd a fraction of a millisecond to be counted exactly",
            )
            .hint("round the limit, say to three leading digits"));
        }
        if bound > EXACT / 2 || bound / per_ms > MAX_REFILL {
            return Err(invalid(self, "such a bucket takes more than twelve years to refill")
                .hint("take a smaller burst or a shorter period"));
        }
        Ok(Rule::Gcra(Gcra {
            interval,
            per_ms,
            capacity,
            bound,
        }))
    }

    /// What of a quota makes its counts its own: two quotas of one name and key share a count only if they
    /// agree in this. The burst may change without starting anew.
    pub(crate) fn shape(&self) -> [u8; 16] {
        let mut shape = [0; 16];
        shape[0] = match self.algorithm {
            Algorithm::Gcra => b'g',
            Algorithm::FixedWindow => b'f',
            Algorithm::SlidingWindow => b's',
            Algorithm::SlidingLog => b'l',
            Algorithm::Concurrency => b'c',
        };
        shape[4..8].copy_from_slice(&self.limit.to_le_bytes());
        shape[8..].copy_from_slice(&self.period.0.to_le_bytes());
        shape
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn invalid(quota: &Quota, why: impl fmt::Display) -> Error {
    Error::invalid("limits.invalid_quota", format!("the quota `{quota}` cannot be used: {why}"))
}

/// The period as people write it: the largest unit that leaves a whole number.
pub(crate) fn span(period: Millis) -> String {
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if period.0 >= ms && period.0 % ms == 0 {
            return match period.0 / ms {
                1 => unit.to_owned(),
                n => format!("{n}{unit}"),
            };
        }
    }
    format!("{}ms", period.0)
}

impl fmt::Display for Quota {
    /// The text that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.limit, span(self.period))?;
        if self.algorithm != Algorithm::Gcra {
            write!(f, " {}", self.algorithm.word())?;
        }
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

const UNITS: [(&str, &str); 17] = [
    ("ms", "ms"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("s", "s"),
    ("sec", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("m", "m"),
    ("min", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("h", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("d", "d"),
    ("day", "d"),
    ("days", "d"),
];

const WORDS: [(&str, Algorithm); 13] = [
    ("gcra", Algorithm::Gcra),
    ("bucket", Algorithm::Gcra),
    ("token-bucket", Algorithm::Gcra),
    ("fixed", Algorithm::FixedWindow),
    ("fixed-window", Algorithm::FixedWindow),
    ("sliding", Algorithm::SlidingWindow),
    ("sliding-window", Algorithm::SlidingWindow),
    ("log", Algorithm::SlidingLog),
    ("sliding-log", Algorithm::SlidingLog),
    ("moving", Algorithm::SlidingLog),
    ("concurrent", Algorithm::Concurrency),
    ("concurrency", Algorithm::Concurrency),
    ("in-flight", Algorithm::Concurrency),
];

/// The known word nearest to a mistyped one, if one is near.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = if word.len() < 4 { 1 } else { 2 };
    known
        .map(|k| (distance(word, k), k))
        .filter(|(d, _)| *d <= most)
        .min()
        .map(|(_, k)| k)
}

/// Optimal string alignment distance: insertions, deletions, replacements and swapped neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let best = replaced.min(d[i - 1][j] + 1).min(d[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { best.min(d[i - 2][j - 2] + 1) } else { best }
                }
            };
        }
    }
    d[a.len()][b.len()]
}

impl FromStr for Quota {
    type Err = Error;

    /// Reads `60/minute`, `60 per minute`, `5/10s`, `200/h sliding`, `60/minute burst 10`.
    fn from_str(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(60).collect();
        let bad = |why: String| Error::invalid("limits.invalid_quota", format!("`{shown}` is not a quota: {why}"));
        if text.len() > 200 {
            return Err(bad("it is too long".into()));
        }
        let lower = text.to_ascii_lowercase().replace('/', " / ");
        let mut words = lower.split_whitespace().peekable();
        let form = "write it like `60/minute`, `200/h sliding` or `60/minute burst 10`";
        let number = |word: Option<&str>, what: &str| -> Result<u32> {
            let word = word.ok_or_else(|| bad(format!("the {what} is missing")).hint(form))?;
            let digits = word.replace('_', "");
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad(format!("the {what} `{word}` is not a whole number")).hint(form));
            }
            digits
                .parse()
                .ok()
                .filter(|n| *n <= MAX_LIMIT)
                .ok_or_else(|| bad(format!("the {what} `{word}` is above {MAX_LIMIT}")))
        };
        let limit = number(words.next(), "limit")?;
        match words.next() {
            Some("/" | "per" | "every") => {}
            Some(other) => return Err(bad(format!("after the limit stands `{other}` instead of `/`")).hint(form)),
            None => return Err(bad("the period is missing".into()).hint(form)),
        }
        let word = words.next().ok_or_else(|| bad("the period is missing".into()).hint(form))?;
        let (count, unit) = match word.find(|c: char| !c.is_ascii_digit()) {
            Some(0) => ("1", word),
            Some(i) => word.split_at(i),
            None => (
                word,
                words
                    .next()
                    .ok_or_else(|| bad(format!("the period `{word}` has no unit")).hint(form))?,
            ),
        };
        // `1h30m` is a period too, but its parts must be the short ones that durations have.
        let period = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, short)) => parse_duration(&format!("{count}{short}")),
            None if count != "1" || unit.bytes().any(|b| b.is_ascii_digit()) => parse_duration(word),
            None => Err(bad(String::new())),
        };
        let period = period.map_err(|_| match nearest(unit, UNITS.iter().map(|(name, _)| *name)) {
            Some(near) if near != unit => bad(format!("`{unit}` is no unit of time")).hint(format!("did you mean `{near}`?")),
            _ => bad(format!("`{word}` is no period")).hint("periods are second, minute, hour, day, or like 250ms, 10s, 15m"),
        })?;
        let mut quota = Quota::new(limit, period);
        let mut said: Option<&str> = None;
        while let Some(word) = words.next() {
            if word == "burst" {
                if quota.burst.is_some() {
                    return Err(bad("the burst is given twice".into()));
                }
                quota = quota.burst(number(words.next(), "burst")?);
                continue;
            }
            // `sliding window` and `token bucket` may be two words.
            let joined = words.peek().map(|next| format!("{word}-{next}"));
            let known = |w: &str| WORDS.iter().find(|(name, _)| *name == w);
            let found = match joined.as_deref().and_then(known) {
                Some(found) => {
                    words.next();
                    Some(found)
                }
                None => known(word),
            };
            let Some((name, algorithm)) = found else {
                let e = bad(format!("`{word}` is no algorithm"));
                let all = WORDS.iter().map(|(name, _)| *name).chain(["burst"]);
                return Err(match nearest(word, all) {
                    Some(near) => e.hint(format!("did you mean `{near}`?")),
                    None => e.hint("algorithms are gcra, fixed, sliding, log and concurrent"),
                });
            };
            if let Some(before) = said.replace(name) {
                return Err(bad(format!("it has two algorithms, `{before}` and `{name}`")));
            }
            quota = quota.algorithm(*algorithm);
        }
        quota.check()?;
        Ok(quota)
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A quota as an object.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// Units per period.
    limit: u32,
    /// `"1m"`, `"15m"`, `"1d"`, or milliseconds.
    period: Period,
    /// Units that may come at once; the limit if left out.
    #[serde(default)]
    burst: Option<u32>,
    /// How to count.
    #[serde(default)]
    algorithm: Algorithm,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum Period {
    Text(String),
    Millis(u32),
}

impl<'de> Deserialize<'de> for Quota {
    /// From its text, or from an object of `limit`, `period`, `burst` and `algorithm`.
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Quota;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quota like \"60/minute burst 10\", or an object with limit and period")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Quota, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> std::result::Result<Quota, A::Error> {
                let fields = Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                let period = match fields.period {
                    Period::Text(text) => parse_duration(&text).map_err(A::Error::custom)?,
                    Period::Millis(ms) => Millis(i64::from(ms)),
                };
                let quota = Quota {
                    burst: fields.burst,
                    ..Quota::new(fields.limit, period).algorithm(fields.algorithm)
                };
                quota.check().map_err(A::Error::custom)?;
                Ok(quota)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Quota {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quota".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let object = generator.subschema_for::<Fields>();
        schemars::json_schema!({
            "description": "So much in so much time: `60/minute burst 10`, `200/h sliding`.",
            "anyOf": [{"type": "string", "pattern": "^ *[0-9_]+ *(/|per|every) *[0-9]*[a-z]+"}, object]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn quotas_are_read_as_people_write_them() {
        use Algorithm::{FixedWindow, SlidingLog, SlidingWindow};
        for (text, quota) in [
            ("60/minute", Quota::per_minute(60)),
            ("60 per minute", Quota::per_minute(60)),
            ("60/minute burst 10", Quota::per_minute(60).burst(10)),
            (" 60 / MIN  burst 10 gcra", Quota::per_minute(60).burst(10)),
            ("200/h sliding", Quota::per_hour(200).algorithm(SlidingWindow)),
            ("200/h sliding window", Quota::per_hour(200).algorithm(SlidingWindow)),
            ("1_000/day fixed", Quota::per_day(1_000).algorithm(FixedWindow)),
            ("5/10s log", Quota::new(5, Millis::secs(10)).algorithm(SlidingLog)),
            (
                "5/10 seconds sliding-log",
                Quota::new(5, Millis::secs(10)).algorithm(SlidingLog),
            ),
            ("100 per 15 minutes token bucket", Quota::new(100, Millis::mins(15))),
            ("3/1h30m", Quota::new(3, Millis::mins(90))),
            ("10/250ms", Quota::new(10, Millis(250))),
            ("0/s", Quota::per_second(0)),
        ] {
            assert_eq!(text.parse::<Quota>().unwrap(), quota, "{text}");
            assert_eq!(quota.to_string().parse::<Quota>().unwrap(), quota, "{quota}");
        }
    }

    #[test]
    fn a_wrong_quota_is_refused_with_what_was_probably_meant() {
        for (text, part) in [
            ("", "the limit is missing"),
            ("sixty/minute", "not a whole number"),
            ("-1/minute", "not a whole number"),
            ("60", "the period is missing"),
            ("60/", "the period is missing"),
            ("60 minute", "instead of `/`"),
            ("60/5", "has no unit"),
            ("60/minut", "did you mean `minute`?"),
            ("60/5 minuets", "did you mean `minutes`?"),
            ("60/fortnight", "`fortnight` is no period"),
            ("60/minute slding", "did you mean `sliding`?"),
            ("60/minute brust 10", "did you mean `burst`?"),
            ("60/minute leakybarrel", "algorithms are"),
            ("60/minute burst", "the burst is missing"),
            ("60/minute burst many", "not a whole number"),
            ("60/minute burst 0", "a burst from 1"),
            ("60/minute burst 5 burst 6", "given twice"),
            ("60/minute fixed sliding", "two algorithms"),
            ("60/minute fixed burst 5", "belongs to a token bucket"),
            ("9999999999/s", "above 1000000000"),
            ("1/400d", "366 days"),
            ("100/0s", "1 ms"),
            ("200000/h log", "at most 100000"),
            ("1000000000/300d sliding", "too large"),
            ("1/366d burst 1000", "twelve years"),
            ("999999937/s", "too odd"),
        ] {
            let e = text.parse::<Quota>().unwrap_err();
            assert_eq!(e.code(), "limits.invalid_quota", "{text}");
            assert!(e.to_string().contains(part), "{text}: {e}");
        }
    }

    #[test]
    fn quotas_go_through_json_as_text_or_object() {
        let q = Quota::per_minute(60).burst(10);
        assert_eq!(serde_json::to_value(q).unwrap(), json!("60/m burst 10"));
        for value in [
            json!("60/m burst 10"),
            json!({"limit": 60, "period": "1m", "burst": 10}),
            json!({"limit": 60, "period": 60_000, "burst": 10, "algorithm": "gcra"}),
        ] {
            assert_eq!(serde_json::from_value::<Quota>(value).unwrap(), q);
        }
        for value in [
            json!(60),
            json!({"limit": 60}),
            json!({"limit": 60, "period": "1m", "brust": 1}),
            json!({"limit": -1, "period": "1m"}),
            json!({"limit": 60, "period": "1m", "algorithm": "fixed_window", "burst": 5}),
        ] {
            assert!(serde_json::from_value::<Quota>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_share_is_a_part_but_never_nothing() {
        assert_eq!(Quota::per_minute(60).burst(10).share(4), Quota::per_minute(15).burst(2));
        assert_eq!(Quota::per_minute(3).share(4), Quota::per_minute(1));
        assert_eq!(Quota::per_minute(0).share(4), Quota::per_minute(0));
        // A third of it has no exact interval, so it is rounded until it has.
        assert_eq!(Quota::per_second(20_000_000).share(3), Quota::per_second(6_660_000));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(quota) = text.parse::<Quota>() {
                prop_assert_eq!(quota.to_string().parse::<Quota>().unwrap(), quota);
            }
        }
    }
}
