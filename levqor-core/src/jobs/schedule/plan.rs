use jiff::tz::TimeZone;

use super::definition::{MIN_INTERVAL, Misfire, Schedule, When};
use crate::error::{Error, Result};
use crate::jobs::cron::Cron;
use crate::types::Millis;

/// How many missed ticks are counted one by one; "a thousand" then means a thousand or more.
const COUNTED: i64 = 1_000;

/// A schedule's ticks: what follows from its definition and nothing else.
///
/// ```
/// use levqor_core::jobs::schedule::{Plan, Schedule, Target};
/// use levqor_core::types::Millis;
///
/// let every = Schedule::every("poll", Millis::mins(15), Target::job("poll", serde_json::json!({})));
/// let plan = Plan::of(&every).unwrap();
/// let noon = Millis::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
/// assert_eq!(plan.next_after(noon).unwrap(), noon + Millis::mins(15));
/// assert_eq!(plan.ticks_between(noon, noon + Millis::hours(1), 100).len(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    ticks: Ticks,
    from: Millis,
    until: Millis,
    jitter: i64,
    grace: Millis,
    misfire: Misfire,
    seed: u64,
}

#[derive(Clone, Debug)]
enum Ticks {
    Cron(Box<Cron>, TimeZone),
    Every { interval: i64, anchor: i64 },
}

/// What is to be done with a schedule that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The tick to fire, if one is.
    pub fire: Option<Millis>,
    /// Ticks before it that are dropped: the first of them, and how many (1,000 stands for any more).
    pub missed: Option<(Millis, i64)>,
    /// The tick that stands next then.
    pub next: Option<Millis>,
}

impl Plan {
    /// Understands a definition.
    ///
    /// # Errors
    /// `schedule.bad_cron`, `schedule.bad_zone`, `schedule.bad_interval`.
    pub fn of(schedule: &Schedule) -> Result<Plan> {
        let ticks = match &schedule.when {
            When::Cron(text) => {
                let cron: Cron = text.parse().map_err(|e: Error| e.at("when.cron"))?;
                Ticks::Cron(Box::new(cron), zone(&schedule.zone)?)
            }
            When::Every(interval) if *interval < MIN_INTERVAL || *interval > Millis::hours(24 * 366) => {
                let message = format!("an interval lies between {MIN_INTERVAL} and a year, not {interval}");
                return Err(Error::invalid("schedule.bad_interval", message).at("when.every"));
            }
            When::Every(interval) => {
                zone(&schedule.zone)?;
                Ticks::Every {
                    interval: interval.0,
                    anchor: schedule.starts_at.unwrap_or(Millis::ZERO).0,
                }
            }
        };
        Ok(Plan {
            ticks,
            from: schedule.starts_at.unwrap_or(Millis(i64::MIN)),
            until: schedule.ends_at.unwrap_or(Millis::MAX),
            jitter: schedule.jitter.0.max(0),
            grace: schedule.grace,
            misfire: schedule.misfire,
            seed: fnv(schedule.id.as_bytes()),
        })
    }

    /// The first tick after an instant; `None` if there is none any more, or not within 48 years.
    pub fn next_after(&self, after: Millis) -> Option<Millis> {
        let after = after.max(Millis(self.from.0.saturating_sub(1)));
        let tick = match &self.ticks {
            Ticks::Cron(cron, zone) => cron.next_after(zone, after)?,
            Ticks::Every { interval, anchor } => {
                let since = after.0.checked_sub(*anchor)?;
                let n = since.div_euclid(*interval).checked_add(1)?;
                Millis(n.checked_mul(*interval)?.checked_add(*anchor)?)
            }
        };
        (tick < self.until).then_some(tick)
    }

    /// The ticks in `[from, to)`, at most so many.
    pub fn ticks_between(&self, from: Millis, to: Millis, at_most: usize) -> Vec<Millis> {
        let mut found = Vec::new();
        let mut at = Millis(from.0.saturating_sub(1));
        while found.len() < at_most {
            match self.next_after(at).filter(|tick| *tick < to) {
                Some(tick) => {
                    found.push(tick);
                    at = tick;
                }
                None => break,
            }
        }
        found
    }

    /// When a tick is to be fired: its time, and the jitter of this schedule and tick.
    pub fn due(&self, tick: Millis) -> Millis {
        if self.jitter == 0 {
            return tick;
        }
        let random = mix(self.seed ^ mix(tick.0.cast_unsigned()));
        let span = u128::from(self.jitter.unsigned_abs()) + 1;
        let off = i64::try_from((u128::from(random) * span) >> 64).unwrap_or(0);
        tick + Millis(off)
    }

    /// What is to be done now with a schedule whose next tick is `next`; `None` if it is not due.
    pub fn turn(&self, next: Millis, now: Millis) -> Option<Turn> {
        if self.due(next) > now {
            return None;
        }
        let fire = if self.late(next, now) {
            self.made_up(next, now)
        } else {
            Some(next)
        };
        let end = match fire {
            Some(tick) => Some(tick),
            // All that is late is dropped.
            None => self.first_in_time(next, now),
        };
        let missed = self.count(next, end, now);
        Some(Turn {
            fire,
            missed: (missed > 0).then_some((next, missed)),
            next: match fire {
                Some(tick) => self.next_after(tick),
                None => end,
            },
        })
    }

    fn late(&self, tick: Millis, now: Millis) -> bool {
        now - self.due(tick) > self.grace
    }

    /// The tick that is fired where the next one was missed.
    fn made_up(&self, next: Millis, now: Millis) -> Option<Millis> {
        match self.misfire {
            Misfire::Skip => self.first_in_time(next, now).filter(|tick| self.due(*tick) <= now),
            Misfire::Once => Some(self.newest(next, now)),
            Misfire::All(n) => {
                let mut nth = next;
                for _ in 0..n {
                    match self.next_after(nth).filter(|tick| self.due(*tick) <= now) {
                        Some(tick) => nth = tick,
                        // There are not more than may be made up for.
                        None => return Some(next),
                    }
                }
                let mut oldest = self.newest(next, now);
                for _ in 1..n {
                    oldest = self.latest(next, oldest - Millis(1));
                }
                Some(oldest)
            }
        }
    }

    /// The first tick from `next` on that is not late, due or not.
    fn first_in_time(&self, next: Millis, now: Millis) -> Option<Millis> {
        // Whatever is older than this is late, however long its jitter.
        let old = now - self.grace - Millis(self.jitter) - Millis(1);
        let mut tick = if next > old { next } else { self.next_after(old)? };
        while self.late(tick, now) {
            tick = self.next_after(tick)?;
        }
        Some(tick)
    }

    /// The newest tick that is due; `next` is.
    fn newest(&self, next: Millis, now: Millis) -> Millis {
        // Whatever is older than this is due, however long its jitter.
        let sure = now - Millis(self.jitter);
        let mut newest = if sure > next { self.latest(next, sure) } else { next };
        while let Some(tick) = self.next_after(newest).filter(|tick| self.due(*tick) <= now) {
            newest = tick;
        }
        newest
    }

    /// The newest tick in `[from, to]`; `from` is one.
    fn latest(&self, from: Millis, to: Millis) -> Millis {
        let reaches = |at: i64| self.next_after(Millis(at)).filter(|tick| *tick <= to);
        // A window that ends at `to` and has a tick in it, doubled until it has.
        let mut width = 1_000_i64;
        let mut low = loop {
            let start = to.0.saturating_sub(width);
            if start <= from.0 {
                break from.0 - 1;
            }
            if reaches(start).is_some() {
                break start;
            }
            width = width.saturating_mul(2);
        };
        let mut high = to.0;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if reaches(middle).is_some() {
                low = middle;
            } else {
                high = middle;
            }
        }
        reaches(low).unwrap_or(from)
    }

    /// How many ticks stand in `[next, end)`; with no end, as many as are late.
    fn count(&self, next: Millis, end: Option<Millis>, now: Millis) -> i64 {
        let mut n = 0;
        let mut at = Some(next);
        while let Some(tick) = at.filter(|tick| end.map_or(*tick <= now, |end| *tick < end)) {
            n += 1;
            if n == COUNTED {
                break;
            }
            at = self.next_after(tick);
        }
        n
    }
}

fn zone(name: &str) -> Result<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        let name: String = name.chars().take(60).collect();
        Error::invalid("schedule.bad_zone", format!("`{name}` is no time zone"))
            .at("zone")
            .hint("write an IANA name such as Europe/Berlin, or UTC")
    })
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
