//! The three algorithms that look at a window of time: fixed, sliding counter, sliding log.
//!
//! Windows are aligned to 1970-01-01T00:00:00Z, so `1/d` starts anew at midnight UTC.
//!
//! A clock that runs up to one window behind what was already seen (another process, another host) counts
//! in the newest window, so going back gains nothing; one that was set back further starts where it is.

use std::collections::VecDeque;

use super::policy::{Algorithmic, Standing};

/// At most `limit` in each aligned window. Cheap, and up to twice the limit around a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    pub(crate) limit: i64,
    pub(crate) period: i64,
}

/// What a fixed window remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// When the window that `used` belongs to ends, in milliseconds since 1970.
    pub(super) ends: i64,
    pub(super) used: u32,
    pub(super) spent: bool,
}

/// Where the window that `now` lies in begins.
fn aligned(now: i64, period: i64) -> i64 {
    now - now.rem_euclid(period)
}

/// A count that penalties drive to at most twice the limit, and refunds to no less than nothing.
fn bounded(used: i64, limit: i64) -> u32 {
    u32::try_from(used.clamp(0, 2 * limit)).unwrap_or(u32::MAX)
}

impl FixedWindow {
    /// When the window to count in ends, and what was used in it.
    fn current(&self, state: &Fixed, now: i64) -> (i64, i64) {
        let ends = aligned(now, self.period) + self.period;
        let used = i64::from(state.used);
        if state.ends == ends || state.ends > ends + self.period {
            (ends, used)
        } else if state.ends == ends + self.period {
            (state.ends, used)
        } else {
            (ends, 0)
        }
    }
}

impl Algorithmic for FixedWindow {
    type State = Fixed;

    fn wait(&self, state: &Fixed, cost: i64, now: i64) -> i64 {
        let (ends, used) = self.current(state, now);
        if used + cost <= self.limit { 0 } else { ends - now }
    }

    fn charge(&self, state: &mut Fixed, units: i64, now: i64) {
        let (ends, used) = self.current(state, now);
        let used = bounded(used.saturating_add(units), self.limit);
        *state = match used {
            0 => Fixed::default(),
            _ => Fixed {
                ends,
                used,
                spent: i64::from(used) >= self.limit,
            },
        };
    }

    fn look(&self, state: &Fixed, now: i64) -> Standing {
        let (ends, used) = self.current(state, now);
        Standing {
            remaining: (self.limit - used).max(0),
            reset_after: if used == 0 { 0 } else { ends - now },
        }
    }

    fn idle_at(state: &Fixed) -> i64 {
        state.ends
    }

    fn spent(state: &Fixed) -> bool {
        state.spent
    }
}

/// Counts this window and, weighted by how much of it the last `period` still covers, the one before.
///
/// As cheap as a fixed window and nearly as smooth as a log: it supposes that the calls of the window
/// before came evenly, so right after a boundary it can admit somewhat more than the limit within one
/// period, or somewhat less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    pub(crate) limit: i64,
    pub(crate) period: i64,
}

/// What a sliding window counter remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sliding {
    /// Where the window that `used` belongs to begins, in milliseconds since 1970.
    pub(super) start: i64,
    /// When both counts stop to matter.
    pub(super) idle_at: i64,
    pub(super) used: u32,
    pub(super) before: u32,
    pub(super) spent: bool,
}

/// The counts as they stand at an instant.
struct Counts {
    start: i64,
    /// Milliseconds since `start`.
    elapsed: i64,
    used: i64,
    before: i64,
}

impl SlidingWindow {
    fn current(&self, state: &Sliding, now: i64) -> Counts {
        let start = aligned(now, self.period);
        let (used, before) = (i64::from(state.used), i64::from(state.before));
        let (start, used, before) = if state.start == start {
            (start, used, before)
        } else if state.start == start - self.period {
            (start, 0, used)
        } else if state.start == start + self.period {
            (state.start, used, before)
        } else if state.start > start {
            (start, used, 0)
        } else {
            (start, 0, 0)
        };
        Counts {
            start,
            elapsed: (now - start).max(0),
            used,
            before,
        }
    }

    /// What of the limit is taken, in units times period: exact without a fraction.
    fn weighed(&self, c: &Counts) -> i64 {
        c.before * (self.period - c.elapsed) + c.used * self.period
    }

    /// The part of a window that must have passed until `before` weighs no more than `room` units.
    fn until_fits(&self, before: i64, room: i64) -> i64 {
        if before == 0 {
            0
        } else {
            (self.period - room * self.period / before).max(0)
        }
    }
}

impl Algorithmic for SlidingWindow {
    type State = Sliding;

    fn wait(&self, state: &Sliding, cost: i64, now: i64) -> i64 {
        let c = self.current(state, now);
        if self.weighed(&c) + cost * self.period <= self.limit * self.period {
            return 0;
        }
        let room = self.limit - c.used - cost;
        if room >= 0 {
            c.start + self.until_fits(c.before, room) - now
        } else {
            c.start + self.period + self.until_fits(c.used, (self.limit - cost).max(0)) - now
        }
    }

    fn charge(&self, state: &mut Sliding, units: i64, now: i64) {
        let c = self.current(state, now);
        let sum = c.used.saturating_add(units);
        let used = bounded(sum, self.limit);
        // A refund of more than this window's calls goes on with those of the window before.
        let before = bounded(c.before + sum.min(0), self.limit);
        *state = match (used, before) {
            (0, 0) => Sliding::default(),
            _ => Sliding {
                start: c.start,
                idle_at: c.start + if used > 0 { 2 * self.period } else { self.period },
                used,
                before,
                spent: false,
            },
        };
        let c = self.current(state, now);
        state.spent = self.weighed(&c) + self.period > self.limit * self.period;
    }

    fn look(&self, state: &Sliding, now: i64) -> Standing {
        let c = self.current(state, now);
        let left = self.limit * self.period - self.weighed(&c);
        Standing {
            remaining: left.max(0) / self.period,
            reset_after: match (c.used, c.before) {
                (0, 0) => 0,
                (0, _) => c.start + self.period - now,
                _ => c.start + 2 * self.period - now,
            },
        }
    }

    fn idle_at(state: &Sliding) -> i64 {
        state.idle_at
    }

    fn spent(state: &Sliding) -> bool {
        state.spent
    }
}

/// Remembers when each call came: exact in every window, at the cost of memory that grows with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    pub(crate) limit: i64,
    pub(crate) period: i64,
}

/// What a sliding log remembers. Calls of one millisecond share an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub(super) entries: VecDeque<(i64, i64)>,
    pub(super) used: i64,
    pub(super) idle_at: i64,
    pub(super) spent: bool,
}

impl SlidingLog {
    /// The entries that still count, oldest first.
    fn counting<'a>(&self, state: &'a Log, now: i64) -> impl Iterator<Item = (i64, i64)> + use<'a> {
        let gone = now - self.period;
        state.entries.iter().copied().skip_while(move |(at, _)| *at <= gone)
    }

    fn used(&self, state: &Log, now: i64) -> i64 {
        let gone = now - self.period;
        let expired: i64 = state.entries.iter().take_while(|(at, _)| *at <= gone).map(|(_, n)| n).sum();
        state.used - expired
    }

    /// Whether the clock was set back by more than the period since the last entry.
    fn outruns(&self, state: &Log, now: i64) -> bool {
        state.entries.back().is_some_and(|(at, _)| *at > now + self.period)
    }

    /// Puts units in at their own instant, though others may have come since.
    pub(crate) fn insert(&self, state: &mut Log, units: i64, now: i64) {
        self.prune(state, now);
        let units = units.min(2 * self.limit - state.used);
        if units <= 0 {
            return;
        }
        let behind = state.entries.iter().rev().take_while(|(at, _)| *at > now).count();
        let index = state.entries.len() - behind;
        match index.checked_sub(1).and_then(|i| state.entries.get_mut(i)) {
            Some((at, n)) if *at == now => *n += units,
            _ => state.entries.insert(index, (now, units)),
        }
        self.note(state, units);
    }

    /// Takes units out that came at an instant, if they still count.
    pub(crate) fn remove(&self, state: &mut Log, units: i64, at: i64, now: i64) {
        self.prune(state, now);
        let Ok(index) = state.entries.binary_search_by_key(&at, |(at, _)| *at) else {
            return;
        };
        let held = state.entries[index].1;
        let back = units.min(held);
        if back == held {
            state.entries.remove(index);
        } else {
            state.entries[index].1 -= back;
        }
        self.note(state, -back);
    }

    /// Brings the sums up to date after a change.
    fn note(&self, state: &mut Log, units: i64) {
        state.used += units;
        state.spent = state.used >= self.limit;
        state.idle_at = state.entries.back().map_or(0, |(at, _)| at + self.period);
    }

    /// Forgets what no longer counts.
    fn prune(&self, state: &mut Log, now: i64) {
        if self.outruns(state, now) {
            state.entries = VecDeque::from([(now, state.used)]);
        }
        let gone = now - self.period;
        while let Some((at, n)) = state.entries.front().copied().filter(|(at, _)| *at <= gone) {
            debug_assert!(at <= gone);
            state.used -= n;
            state.entries.pop_front();
        }
    }
}

impl Algorithmic for SlidingLog {
    type State = Log;

    fn wait(&self, state: &Log, cost: i64, now: i64) -> i64 {
        let mut over = self.used(state, now) + cost - self.limit;
        if over <= 0 {
            return 0;
        }
        if self.outruns(state, now) {
            return self.period;
        }
        for (at, n) in self.counting(state, now) {
            over -= n;
            if over <= 0 {
                return at + self.period - now;
            }
        }
        self.period
    }

    fn charge(&self, state: &mut Log, units: i64, now: i64) {
        self.prune(state, now);
        let units = units.clamp(-state.used, 2 * self.limit - state.used);
        if units > 0 {
            match state.entries.back_mut() {
                Some((at, n)) if *at >= now => *n += units,
                _ => state.entries.push_back((now, units)),
            }
        } else {
            // A refund takes back the newest calls first.
            let mut back = -units;
            while let Some((at, n)) = state.entries.pop_back() {
                if n > back {
                    state.entries.push_back((at, n - back));
                    break;
                }
                back -= n;
            }
        }
        self.note(state, units);
    }

    fn look(&self, state: &Log, now: i64) -> Standing {
        let used = self.used(state, now);
        let last = if self.outruns(state, now) {
            now
        } else {
            state.entries.back().map_or(0, |(at, _)| *at)
        };
        Standing {
            remaining: (self.limit - used).max(0),
            reset_after: if used == 0 { 0 } else { last + self.period - now },
        }
    }

    fn idle_at(state: &Log) -> i64 {
        state.idle_at
    }

    fn spent(state: &Log) -> bool {
        state.spent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_700_000_000_000;

    fn take<A: Algorithmic>(a: &A, state: &mut A::State, cost: i64, now: i64) -> bool {
        let passes = a.wait(state, cost, now) == 0;
        if passes {
            a.charge(state, cost, now);
        }
        passes
    }

    /// A hundred tries just before the boundary and a hundred just after it.
    fn across_the_edge<A: Algorithmic>(a: &A) -> usize {
        let mut state = A::State::default();
        let edge = T0 + 1_000;
        assert_eq!(edge % 1_000, 0);
        let before = (0..100).filter(|_| take(a, &mut state, 1, edge - 1)).count();
        before + (0..100).filter(|_| take(a, &mut state, 1, edge)).count()
    }

    #[test]
    fn the_window_edge_lets_twice_the_limit_through_only_where_documented() {
        assert_eq!(
            across_the_edge(&SlidingLog {
                limit: 100,
                period: 1_000
            }),
            100
        );
        assert_eq!(
            across_the_edge(&SlidingWindow {
                limit: 100,
                period: 1_000
            }),
            100
        );
        assert_eq!(
            across_the_edge(&FixedWindow {
                limit: 100,
                period: 1_000
            }),
            200
        );
    }

    #[test]
    fn a_clock_that_lags_by_less_than_a_window_gains_nothing() {
        let fixed = FixedWindow { limit: 5, period: 1_000 };
        let mut state = Fixed::default();
        assert!(take(&fixed, &mut state, 5, T0));
        for _ in 0..10 {
            assert!(!take(&fixed, &mut state, 1, T0 - 1), "another host is a millisecond behind");
            assert!(!take(&fixed, &mut state, 1, T0 + 1));
        }
        let sliding = SlidingWindow { limit: 5, period: 1_000 };
        let mut state = Sliding::default();
        assert!(take(&sliding, &mut state, 5, T0));
        assert!(!take(&sliding, &mut state, 1, T0 - 1));
        assert!(!take(&sliding, &mut state, 1, T0 + 1));
        let log = SlidingLog { limit: 5, period: 1_000 };
        let mut state = Log::default();
        assert!(take(&log, &mut state, 5, T0));
        assert!(!take(&log, &mut state, 1, T0 - 1));
    }

    #[test]
    fn a_clock_set_back_by_a_day_locks_nobody_out_for_a_day() {
        let back = T0 - 86_400_000;
        let fixed = FixedWindow { limit: 5, period: 1_000 };
        let mut state = Fixed::default();
        fixed.charge(&mut state, 5, T0);
        assert!(fixed.wait(&state, 1, back) <= 1_000);
        let sliding = SlidingWindow { limit: 5, period: 1_000 };
        let mut state = Sliding::default();
        sliding.charge(&mut state, 5, T0);
        assert!(sliding.wait(&state, 1, back) <= 2_000);
        let log = SlidingLog { limit: 5, period: 1_000 };
        let mut state = Log::default();
        log.charge(&mut state, 5, T0);
        assert_eq!(log.wait(&state, 1, back), 1_000);
        log.charge(&mut state, 1, back);
        assert_eq!(
            log.look(&state, back),
            Standing {
                remaining: 0,
                reset_after: 1_000
            }
        );
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0_i64..400, 0_i64..6), 1..200)
    }

    /// The wait is the shortest after which the call passes.
    fn wait_is_exact<A: Algorithmic>(a: &A, state: &A::State, cost: i64, now: i64) -> Result<(), TestCaseError> {
        let wait = a.wait(state, cost, now);
        if wait > 0 {
            prop_assert_eq!(a.wait(state, cost, now + wait), 0, "too early by its own word");
            prop_assert!(a.wait(state, cost, now + wait - 1) > 0, "it could have come earlier");
        }
        Ok(())
    }

    fn reset_is_exact<A: Algorithmic>(a: &A, state: &A::State, full: i64, now: i64) -> Result<(), TestCaseError> {
        let reset = a.look(state, now).reset_after;
        prop_assert_eq!(
            a.look(state, now + reset),
            Standing {
                remaining: full,
                reset_after: 0
            }
        );
        prop_assert!(reset == 0 || a.look(state, now + reset - 1).reset_after == 1);
        prop_assert!(A::idle_at(state) <= now + reset);
        Ok(())
    }

    proptest! {
        /// The log admits a call exactly when the brute-force sum over the last period leaves room.
        #[test]
        fn the_log_is_exact_in_every_window(limit in 1_i64..20, period in 1_i64..1_000, steps in steps()) {
            let log = SlidingLog { limit, period };
            let (mut state, mut now, mut all) = (Log::default(), T0, Vec::<(i64, i64)>::new());
            for (gap, cost) in steps {
                now += gap;
                let used: i64 = all.iter().filter(|(at, _)| *at > now - period).map(|(_, n)| n).sum();
                if cost <= limit {
                    wait_is_exact(&log, &state, cost, now)?;
                }
                prop_assert_eq!(take(&log, &mut state, cost, now), used + cost <= limit);
                if used + cost <= limit {
                    all.push((now, cost));
                }
                reset_is_exact(&log, &state, limit, now)?;
            }
        }

        #[test]
        fn the_fixed_window_counts_its_window_only(limit in 1_i64..20, period in 1_i64..1_000, steps in steps()) {
            let fixed = FixedWindow { limit, period };
            let (mut state, mut now, mut all) = (Fixed::default(), T0, Vec::<(i64, i64)>::new());
            for (gap, cost) in steps {
                now += gap;
                let used: i64 = all.iter().filter(|(at, _)| at / period == now / period).map(|(_, n)| n).sum();
                if cost <= limit {
                    wait_is_exact(&fixed, &state, cost, now)?;
                }
                prop_assert_eq!(take(&fixed, &mut state, cost, now), used + cost <= limit);
                if used + cost <= limit {
                    all.push((now, cost));
                }
                reset_is_exact(&fixed, &state, limit, now)?;
            }
        }

        #[test]
        fn the_sliding_window_weighs_the_window_before(limit in 1_i64..20, period in 1_i64..1_000, steps in steps()) {
            let sliding = SlidingWindow { limit, period };
            let (mut state, mut now, mut all) = (Sliding::default(), T0, Vec::<(i64, i64)>::new());
            for (gap, cost) in steps {
                now += gap;
                let sum = |w: i64| -> i64 { all.iter().filter(|(at, _)| at / period == w).map(|(_, n)| n).sum() };
                let (used, before) = (sum(now / period), sum(now / period - 1));
                let fits = before * (period - now % period) <= (limit - used - cost) * period;
                if cost <= limit {
                    wait_is_exact(&sliding, &state, cost, now)?;
                }
                prop_assert_eq!(take(&sliding, &mut state, cost, now), fits);
                if fits {
                    all.push((now, cost));
                }
                reset_is_exact(&sliding, &state, limit, now)?;
            }
        }

        #[test]
        fn a_refund_undoes_a_charge(limit in 1_i64..20, before in 0_i64..20, cost in 0_i64..20, gap in 0_i64..3_000) {
            fn check<A: Algorithmic>(a: &A, before: i64, cost: i64, gap: i64, limit: i64) -> Result<(), TestCaseError> {
                let mut state = A::State::default();
                a.charge(&mut state, before.min(limit), T0);
                let (now, stood) = (T0 + gap, a.look(&state, T0 + gap));
                a.charge(&mut state, cost.min(limit), now);
                a.charge(&mut state, -cost.min(limit), now);
                prop_assert_eq!(a.look(&state, now), stood);
                a.charge(&mut state, -1_000_000, now);
                prop_assert_eq!(a.look(&state, now), Standing { remaining: limit, reset_after: 0 });
                Ok(())
            }
            check(&FixedWindow { limit, period: 1_000 }, before, cost, gap, limit)?;
            check(&SlidingWindow { limit, period: 1_000 }, before, cost, gap, limit)?;
            check(&SlidingLog { limit, period: 1_000 }, before, cost, gap, limit)?;
        }
    }
}
