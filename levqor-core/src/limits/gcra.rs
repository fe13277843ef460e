//! The generic cell rate algorithm: a token bucket that remembers one number.
//!
//! Instead of counting tokens, a key remembers its *theoretical arrival time* (TAT): the instant at which
//! everything that was admitted so far will have been paid for at the steady rate. ATM Forum Traffic
//! Management Specification 4.0 (1996), section 4.4.2, "virtual scheduling".
//!
//! A quota of `n` per period of `p` milliseconds has the emission interval `p/n`, in lowest terms `a/b`.
//! Time is counted in ticks of `1/b` millisecond, so one unit costs exactly `a` ticks and one millisecond
//! pays for exactly `b` of them. Nothing is ever rounded, so nothing drifts, however long it runs.

use super::policy::{Algorithmic, Standing};

/// Bits of a [`Tat`] that hold the fraction of a millisecond; no quota has more ticks per millisecond.
pub(crate) const FRACTION_BITS: u32 = 20;
const MILLISECOND_BITS: u32 = 42;
const SPENT: u64 = 1 << 63;

/// The theoretical arrival time in one word: 42 bits of milliseconds since 1970, 20 bits of ticks, and a
/// mark that says that the last charge left less than one unit.
///
/// The word tells by itself when it stops to matter, whatever the quota was, so a store can throw it away
/// without knowing whose it is, and swap it with one atomic operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub(super) u64);

impl Tat {
    /// That of a key that was never seen.
    pub(crate) const UNSEEN: Tat = Tat(0);

    /// The word for a theoretical arrival time of `ms` milliseconds and `ticks` ticks.
    #[inline]
    fn new(ms: i64, ticks: i64, spent: bool) -> Self {
        debug_assert!((0..1 << MILLISECOND_BITS).contains(&ms) && (0..1 << FRACTION_BITS).contains(&ticks));
        Tat((ms.cast_unsigned() << FRACTION_BITS) | ticks.cast_unsigned() | if spent { SPENT } else { 0 })
    }

    #[inline]
    fn ms(self) -> i64 {
        ((self.0 & !SPENT) >> FRACTION_BITS).cast_signed()
    }

    #[inline]
    fn ticks(self) -> i64 {
        (self.0 & ((1 << FRACTION_BITS) - 1)).cast_signed()
    }
}

/// A quota, made ready for the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// Ticks that one unit costs (`a`).
    pub(crate) interval: i64,
    /// Ticks in a millisecond (`b`).
    pub(crate) per_ms: i64,
    /// Ticks that may lie ahead of now: the burst.
    pub(crate) capacity: i64,
    /// Ticks that penalties may bring it to, and no further.
    pub(crate) bound: i64,
}

impl Gcra {
    /// Ticks that are still to be paid for.
    #[inline]
    fn level(&self, state: Tat, now: i64) -> i64 {
        let ahead = state.ms() - now;
        if ahead < 0 {
            0
        } else {
            // No charge ever leaves more than the bound: what is further ahead was written under a clock
            // that has been set back since, and must not lock the key out for as long as that.
            (ahead * self.per_ms + state.ticks()).min(self.bound)
        }
    }

    #[inline]
    fn ceil_ms(&self, ticks: i64) -> i64 {
        if self.per_ms == 1 {
            ticks
        } else {
            (ticks + self.per_ms - 1) / self.per_ms
        }
    }
}

impl Algorithmic for Gcra {
    type State = Tat;

    #[inline]
    fn wait(&self, state: &Tat, cost: i64, now: i64) -> i64 {
        let over = self.level(*state, now) + cost.saturating_mul(self.interval).min(self.bound) - self.capacity;
        if over <= 0 { 0 } else { self.ceil_ms(over) }
    }

    fn queue(&self, state: &Tat, cost: i64, patience: i64, now: i64) -> i64 {
        let over = self.level(*state, now) + cost.saturating_mul(self.interval).min(self.bound) - self.capacity;
        let room = patience.saturating_mul(self.per_ms).min(self.bound - self.capacity);
        if over <= room { 0 } else { self.ceil_ms(over - room) }
    }

    #[inline]
    fn charge(&self, state: &mut Tat, units: i64, now: i64) {
        let level = self
            .level(*state, now)
            .saturating_add(units.saturating_mul(self.interval))
            .clamp(0, self.bound);
        let spent = level + self.interval > self.capacity;
        *state = match (level, self.per_ms) {
            (0, _) => Tat::default(),
            (_, 1) => Tat::new(now + level, 0, spent),
            (_, b) => Tat::new(now + level / b, level % b, spent),
        };
    }

    #[inline]
    fn look(&self, state: &Tat, now: i64) -> Standing {
        let level = self.level(*state, now);
        Standing {
            remaining: (self.capacity - level).max(0) / self.interval,
            reset_after: self.ceil_ms(level),
        }
    }

    fn idle_at(state: &Tat) -> i64 {
        state.ms() + i64::from(state.ticks() > 0)
    }

    fn spent(state: &Tat) -> bool {
        state.0 & SPENT != 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{Quota, Rule};
    use crate::types::Millis;

    fn gcra(quota: Quota) -> Gcra {
        match quota.rule().unwrap() {
            Rule::Gcra(g) => g,
            other => panic!("{other:?}"),
        }
    }

    fn take(g: &Gcra, state: &mut Tat, cost: i64, now: i64) -> bool {
        let passes = g.wait(state, cost, now) == 0;
        if passes {
            g.charge(state, cost, now);
        }
        passes
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_steady_rate() {
        let g = gcra(Quota::per_minute(60).burst(10));
        let mut state = Tat::default();
        let t0 = 1_700_000_000_000;
        assert_eq!((0..20).filter(|_| take(&g, &mut state, 1, t0)).count(), 10);
        assert_eq!(g.wait(&state, 1, t0), 1_000);
        assert!(!take(&g, &mut state, 1, t0 + 999));
        assert!(take(&g, &mut state, 1, t0 + 1_000));
        assert!(!take(&g, &mut state, 1, t0 + 1_000));
        assert_eq!(
            g.look(&state, t0 + 1_000),
            Standing {
                remaining: 0,
                reset_after: 10_000
            }
        );
    }

    #[test]
    fn a_billion_units_do_not_drift() {
        // A prime limit, whose interval is a whole number in no decimal unit. Whoever takes all there is,
        // every millisecond for a thousand seconds, gets the burst and what the time since paid for.
        let n = 999_983_i64;
        let g = gcra(Quota::per_second(999_983));
        let (start, mut state, mut admitted) = (1_700_000_000_000_i64, Tat::default(), 0_i64);
        for ms in 0..=1_000_000_i64 {
            let all = g.look(&state, start + ms).remaining;
            assert!(!take(&g, &mut state, all + 1, start + ms));
            assert!(take(&g, &mut state, all, start + ms));
            admitted += all;
            assert_eq!(admitted, n + ms * n / 1_000);
        }
        assert!(admitted > 1_000_000_000);
    }

    #[test]
    fn a_clock_set_back_by_a_year_does_not_lock_the_key_out() {
        let g = gcra(Quota::per_minute(60));
        let mut state = Tat::default();
        let now = 1_700_000_000_000;
        g.charge(&mut state, 60, now);
        let earlier = now - 365 * 86_400_000;
        assert!(g.wait(&state, 1, earlier) <= 2 * 60_000);
    }

    proptest! {
        /// In any window of length w at most burst + w/interval units are admitted, and a caller is never
        /// refused when that bound would allow it: the brute-force bucket with exact fractions agrees.
        #[test]
        fn agrees_with_a_bucket_of_exact_fractions(
            limit in 1_u32..200, period in 1_i64..5_000, burst in 1_u32..50,
            steps in prop::collection::vec((0_i64..2_000, 0_i64..8), 1..200),
        ) {
            let quota = Quota::new(limit, Millis(period)).burst(burst);
            prop_assume!(quota.check().is_ok());
            let g = gcra(quota);
            let mut state = Tat::default();
            // Tokens times period, so that one millisecond adds `limit` and a unit takes `period`.
            let full = i128::from(burst) * i128::from(period);
            let (mut tokens, mut now) = (full, 1_700_000_000_000_i64);
            for (gap, cost) in steps {
                now += gap;
                tokens = (tokens + i128::from(gap) * i128::from(limit)).min(full);
                let passes = tokens >= i128::from(cost) * i128::from(period);
                let wait = g.wait(&state, cost, now);
                prop_assert_eq!(wait == 0, passes);
                if !passes && cost <= i64::from(burst) {
                    prop_assert!(g.wait(&state, cost, now + wait) == 0);
                    prop_assert!(g.wait(&state, cost, now + wait - 1) > 0);
                }
                if passes {
                    tokens -= i128::from(cost) * i128::from(period);
                    g.charge(&mut state, cost, now);
                }
                let left = i64::try_from(tokens / i128::from(period)).unwrap();
                prop_assert_eq!(g.look(&state, now).remaining, left);
            }
        }

        #[test]
        fn a_refund_undoes_a_charge(limit in 1_u32..1_000, period in 1_i64..100_000, used in 0_i64..500, cost in 0_i64..500) {
            let quota = Quota::new(limit, Millis(period)).burst(1_000);
            prop_assume!(quota.check().is_ok());
            let (g, now) = (gcra(quota), 1_700_000_000_000);
            let mut state = Tat::default();
            g.charge(&mut state, used, now);
            let before = state;
            g.charge(&mut state, cost, now);
            g.charge(&mut state, -cost, now);
            prop_assert_eq!(state, before);
            g.charge(&mut state, -1_000_000, now);
            prop_assert_eq!(g.look(&state, now), Standing { remaining: 1_000, reset_after: 0 });
        }
    }
}
