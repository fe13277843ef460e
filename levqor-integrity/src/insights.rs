//! Figures of a quarter that may leave the house: sums over many customers, with nobody in them.
//!
//! What goes in are readings by customer and day; what comes out are sums by month and for the quarter. A sum over fewer than
//! `k` customers is not shown, nor one in which a single customer makes up more than four fifths (from such a sum they could
//! work out each other's share), nor, where only one month is hidden, the month that would let it be found by subtraction from
//! the quarter. Names of customers are used for counting and stand in no output.
//!
//! ```
//! use levqor_integrity::insights::{Insights, Quarter, Reading};
//! let readings: Vec<Reading> = (0..12)
//!     .map(|i| Reading { account: format!("a{i}"), day: "2026-07-04".into(), revenue: 1_000 + i, ..Reading::default() })
//!     .collect();
//! let insights = Insights::of(&readings, &[], Quarter::parse("2026-Q3").unwrap(), "EUR", 5).unwrap();
//! assert_eq!(insights.total.revenue, Some(12_066));
//! let few = Insights::of(&readings[..3], &[], Quarter::parse("2026-Q3").unwrap(), "EUR", 5).unwrap();
//! assert_eq!(few.total.revenue, None);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use levqor_core::error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::status::Verdict;

/// The least number of customers that a sum can be over.
pub const LEAST_K: u32 = 5;

/// What one customer did on one day. Amounts are in the smallest unit of the currency (cents).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// Who. Counted, never shown.
    pub account: String,
    /// The day in UTC, `2026-07-04`.
    pub day: String,
    /// What was taken in.
    pub revenue: i64,
    /// What it cost.
    pub cost: i64,
    /// What the customer's subscriptions bring in a month, as of this day.
    pub mrr: i64,
    /// Calls of the API.
    pub api_calls: u64,
}

/// How often a service was asked and answered on a day. It is about the service, so no customer is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// The day in UTC.
    pub day: String,
    /// How often it was asked.
    pub asked: u64,
    /// How often it answered well.
    pub well: u64,
}

/// Three months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quarter {
    year: u16,
    part: u8,
}

impl Quarter {
    /// Reads `2026-Q3`.
    pub fn parse(text: &str) -> Result<Self> {
        let read = || {
            let (year, part) = text.split_once("-Q")?;
            let quarter = Quarter {
                year: year.parse().ok().filter(|y| (1970..=9999).contains(y))?,
                part: part.parse().ok().filter(|p| (1..=4).contains(p))?,
            };
            (quarter.to_string() == text).then_some(quarter)
        };
        read().ok_or_else(|| Error::invalid("insights.bad_quarter", format!("`{text}` is no quarter like 2026-Q3")))
    }

    /// Its months, `2026-07` and the two behind it.
    pub fn months(self) -> [String; 3] {
        [0, 1, 2].map(|i| format!("{:04}-{:02}", self.year, (self.part - 1) * 3 + 1 + i))
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-Q{}", self.year, self.part)
    }
}

impl From<Quarter> for String {
    fn from(q: Quarter) -> Self {
        q.to_string()
    }
}

impl TryFrom<String> for Quarter {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Quarter::parse(&text)
    }
}

/// The figures of a time. What is `None` is hidden or was not measured; `hidden` says which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// `2026-07`, or the quarter.
    pub name: String,
    /// How many customers, rounded down to a multiple of `k`.
    pub customers: Option<u64>,
    /// Money taken in, in the smallest unit.
    pub revenue: Option<i64>,
    /// Monthly recurring revenue at the end.
    pub mrr: Option<i64>,
    /// Calls of the API.
    pub api_calls: Option<u64>,
    /// Net margin in hundredths of a per cent of the revenue.
    pub margin_bp: Option<i64>,
    /// Answers in hundredths of a per cent of the questions.
    pub uptime_bp: Option<u64>,
    /// Integrity runs.
    pub runs: u64,
    /// Of these ready, with warnings or without.
    pub ready: u64,
    /// Why sums over customers are not shown, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// The figures of a quarter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insights {
    /// Which.
    pub quarter: Quarter,
    /// The currency of all amounts, ISO 4217.
    pub currency: String,
    /// The least number of customers in a sum.
    pub k: u32,
    /// The whole quarter.
    pub total: Figures,
    /// Its months.
    pub months: Vec<Figures>,
    /// How the figures were made.
    pub method: Vec<String>,
}

/// What is summed of a time.
#[derive(Default)]
struct Sum {
    revenue: BTreeMap<String, i128>,
    cost: i128,
    calls: BTreeMap<String, u128>,
    /// The last day and amount of each customer.
    mrr: BTreeMap<String, (String, i64)>,
    asked: u64,
    well: u64,
    runs: u64,
    ready: u64,
    customers: BTreeSet<String>,
}

fn bad_day(day: &str) -> Error {
    Error::invalid("insights.bad_day", format!("`{day}` is no day like 2026-07-04"))
}

fn month_of(day: &str) -> Result<&str> {
    let good = day.len() == 10 && day.parse::<jiff::civil::Date>().is_ok();
    day.get(..7).filter(|_| good).ok_or_else(|| bad_day(day))
}

impl Sum {
    fn add(&mut self, reading: &Reading) {
        let name = &reading.account;
        self.customers.insert(name.clone());
        *self.revenue.entry(name.clone()).or_default() += i128::from(reading.revenue);
        self.cost += i128::from(reading.cost);
        *self.calls.entry(name.clone()).or_default() += u128::from(reading.api_calls);
        let last = self
            .mrr
            .entry(name.clone())
            .or_insert_with(|| (reading.day.clone(), reading.mrr));
        if reading.day >= last.0 {
            *last = (reading.day.clone(), reading.mrr);
        }
    }

    /// Whether one customer makes up more than four fifths of a sum.
    fn dominated(&self) -> bool {
        fn most(parts: impl Iterator<Item = u128> + Clone) -> bool {
            let sum: u128 = parts.clone().sum();
            parts.max().unwrap_or(0) * 5 > sum * 4
        }
        most(self.revenue.values().map(|v| v.unsigned_abs()))
            || most(self.calls.values().copied())
            || most(self.mrr.values().map(|(_, v)| u128::from(v.unsigned_abs())))
    }

    fn hidden(&self, k: u32) -> Option<String> {
        let n = self.customers.len();
        if n == 0 {
            Some("no customer".into())
        } else if n < k as usize {
            Some(format!("fewer than {k} customers"))
        } else if self.dominated() {
            Some("one customer makes up more than four fifths".into())
        } else {
            None
        }
    }

    fn figures(&self, name: String, k: u32, hidden: Option<String>) -> Figures {
        let mut figures = Figures {
            name,
            uptime_bp: (self.asked > 0).then(|| share(u128::from(self.well), u128::from(self.asked))),
            runs: self.runs,
            ready: self.ready,
            hidden,
            ..Figures::default()
        };
        if figures.hidden.is_none() {
            let revenue: i128 = self.revenue.values().sum();
            let mrr: i128 = self.mrr.values().map(|(_, v)| i128::from(*v)).sum();
            let calls: u128 = self.calls.values().sum();
            let k = u64::from(k);
            figures.customers = Some(self.customers.len() as u64 / k * k);
            figures.revenue = i64::try_from(revenue).ok();
            figures.mrr = i64::try_from(mrr).ok();
            figures.api_calls = u64::try_from(calls).ok();
            figures.margin_bp = (revenue > 0)
                .then(|| i64::try_from((revenue - self.cost) * 10_000 / revenue).ok())
                .flatten();
        }
        figures
    }
}

/// A part in hundredths of a per cent, cut off, so that it is never better than the truth.
fn share(part: u128, whole: u128) -> u64 {
    u64::try_from(part.min(whole) * 10_000 / whole.max(1)).unwrap_or(10_000)
}

impl Insights {
    /// The figures of a quarter. `runs` are those of [the history](crate::evidence::History); what lies outside of the quarter is
    /// left out.
    pub fn of(readings: &[Reading], probes: &[Probes], quarter: Quarter, currency: &str, k: u32) -> Result<Self> {
        Insights::with_runs(readings, probes, &[], quarter, currency, k)
    }

    /// The same, with the integrity runs of the quarter.
    pub fn with_runs(
        readings: &[Reading],
        probes: &[Probes],
        runs: &[Evidence],
        quarter: Quarter,
        currency: &str,
        k: u32,
    ) -> Result<Self> {
        if k < LEAST_K {
            return Err(Error::invalid(
                "insights.k_too_small",
                format!("k is {k}; figures are over at least {LEAST_K} customers"),
            )
            .at("/k"));
        }
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Error::invalid("insights.bad_currency", format!("`{currency}` is no currency like EUR")).at("/currency"));
        }
        let names = quarter.months();
        let mut months: [Sum; 3] = Default::default();
        let mut total = Sum::default();
        let place = |day: &str| -> Result<Option<usize>> {
            let month = month_of(day)?;
            Ok(names.iter().position(|n| n == month))
        };
        for reading in readings {
            if let Some(i) = place(&reading.day)? {
                months[i].add(reading);
                total.add(reading);
            }
        }
        for probe in probes {
            if let Some(i) = place(&probe.day)? {
                for sum in [&mut months[i], &mut total] {
                    sum.asked += probe.asked;
                    sum.well += probe.well.min(probe.asked);
                }
            }
        }
        for run in runs {
            if let Some(i) = place(run.run.started.get(..10).unwrap_or_default())? {
                let ready = u64::from(matches!(run.verdict, Verdict::Ready | Verdict::ReadyWithWarnings));
                for sum in [&mut months[i], &mut total] {
                    sum.runs += 1;
                    sum.ready += ready;
                }
            }
        }
        let mut hidden: Vec<Option<String>> = months.iter().map(|m| m.hidden(k)).collect();
        let quarter_hidden = total.hidden(k);
        let secret = |i: usize, hidden: &[Option<String>]| hidden[i].is_some() && !months[i].customers.is_empty();
        // One hidden month is the quarter less the other two: the smaller of those is hidden with it.
        if quarter_hidden.is_none() && (0..3).filter(|i| secret(*i, &hidden)).count() == 1 {
            let smallest = (0..3)
                .filter(|i| hidden[*i].is_none())
                .min_by_key(|i| months[*i].customers.len());
            match smallest {
                Some(i) => hidden[i] = Some("would give another month away".into()),
                // The other months have nobody, so the quarter is the hidden month.
                None => {
                    return Ok(Insights::assemble(
                        quarter,
                        currency,
                        k,
                        &total,
                        Some("would give a month away".into()),
                        &months,
                        hidden,
                    ));
                }
            }
        }
        Ok(Insights::assemble(
            quarter,
            currency,
            k,
            &total,
            quarter_hidden,
            &months,
            hidden,
        ))
    }

    fn assemble(
        quarter: Quarter,
        currency: &str,
        k: u32,
        total: &Sum,
        total_hidden: Option<String>,
        months: &[Sum; 3],
        hidden: Vec<Option<String>>,
    ) -> Self {
        let names = quarter.months();
        Insights {
            quarter,
            currency: currency.to_owned(),
            k,
            total: total.figures(quarter.to_string(), k, total_hidden),
            months: months
                .iter()
                .zip(names)
                .zip(hidden)
                .map(|((sum, name), hidden)| sum.figures(name, k, hidden))
                .collect(),
            method: vec![
                format!("Sums over fewer than {k} customers are not shown."),
                "Nor are sums of which one customer makes up more than four fifths.".into(),
                "Where one month is hidden, the smaller of the others is hidden too, so that it cannot be found by subtraction."
                    .into(),
                format!("The number of customers is rounded down to a multiple of {k}."),
                "Margins and uptimes are cut off after two decimals, never rounded up.".into(),
                "No name, address or other personal data is read into a figure or shown.".into(),
            ],
        }
    }
}

/// An amount in the smallest unit as text with two decimals and groups: `1,234.50`.
pub(crate) fn money(minor: i64) -> String {
    let digits = (minor.unsigned_abs() / 100).to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{text}.{:02}", minor.unsigned_abs() % 100)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reading(account: usize, day: &str, revenue: i64) -> Reading {
        Reading {
            account: format!("customer-{account}"),
            day: day.into(),
            revenue,
            cost: revenue / 4,
            mrr: revenue * 2,
            api_calls: 10,
        }
    }

    fn quarter() -> Quarter {
        Quarter::parse("2026-Q3").unwrap()
    }

    #[test]
    fn sums_are_those_of_the_quarter_and_name_nobody() {
        let mut readings: Vec<Reading> = (0..13).map(|i| reading(i, "2026-07-01", 1_000)).collect();
        readings.extend((0..13).map(|i| reading(i, "2026-08-31", 3_000)));
        readings.extend((0..13).map(|i| reading(i, "2026-09-30", 2_000)));
        readings.push(reading(99, "2026-10-01", 777_777));
        let probes = [Probes {
            day: "2026-09-02".into(),
            asked: 3,
            well: 2,
        }];
        let insights = Insights::of(&readings, &probes, quarter(), "EUR", 5).unwrap();
        let total = &insights.total;
        assert_eq!(
            (total.customers, total.revenue, total.mrr),
            (Some(10), Some(78_000), Some(52_000))
        );
        assert_eq!(
            (total.api_calls, total.margin_bp, total.uptime_bp),
            (Some(390), Some(7_500), Some(6_666))
        );
        assert_eq!(insights.months[1].revenue, Some(39_000));
        assert_eq!(insights.months[0].uptime_bp, None);
        let text = serde_json::to_string(&insights).unwrap();
        assert!(!text.contains("customer-") && serde_json::from_str::<Insights>(&text).unwrap() == insights);
    }

    #[test]
    fn nobody_can_be_found_in_them() {
        let many: Vec<Reading> = (0..20)
            .flat_map(|i| [reading(i, "2026-07-01", 500), reading(i, "2026-08-01", 500)])
            .collect();
        let with_few = |n: usize| {
            let mut list = many.clone();
            list.extend((0..n).map(|i| reading(i, "2026-09-01", 500)));
            Insights::of(&list, &[], quarter(), "EUR", 5).unwrap()
        };
        let shown = |i: &Insights| i.months.iter().filter(|m| m.revenue.is_some()).count();
        // Four in September: hidden, and with it another month, else it were the quarter less the other two.
        let four = with_few(4);
        assert_eq!((shown(&four), four.months[2].revenue), (1, None));
        assert!(four.total.revenue.is_some());
        assert_eq!(shown(&with_few(5)), 3);
        assert_eq!(shown(&with_few(0)), 2);
        // Nobody but three.
        let three: Vec<Reading> = (0..3).map(|i| reading(i, "2026-07-01", 500)).collect();
        assert_eq!(Insights::of(&three, &[], quarter(), "EUR", 5).unwrap().total.revenue, None);
        // One that outweighs all others.
        let mut heavy: Vec<Reading> = (0..20).map(|i| reading(i, "2026-07-01", 10)).collect();
        heavy.push(reading(20, "2026-07-01", 100_000));
        let heavy = Insights::of(&heavy, &[], quarter(), "EUR", 5).unwrap();
        assert_eq!((heavy.total.revenue, shown(&heavy)), (None, 0));
        for (k, currency) in [(4, "EUR"), (5, "euro")] {
            assert!(Insights::of(&three, &[], quarter(), currency, k).is_err());
        }
        assert!(Insights::of(&[reading(1, "2026-13-01", 1)], &[], quarter(), "EUR", 5).is_err());
        for bad in ["2026-Q5", "2026Q1", "26-Q1", "2026-Q01"] {
            assert!(Quarter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_have_groups() {
        for (minor, text) in [
            (0, "0.00"),
            (-5, "-0.05"),
            (123_456_789, "1,234,567.89"),
            (99_999, "999.99"),
            (100_000, "1,000.00"),
        ] {
            assert_eq!(money(minor), text);
        }
    }
}
