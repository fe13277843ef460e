//! How many may be at work at the same time: calls that are in flight, each with a lease.
//!
//! A call takes its place at an instant and gives it back by naming that instant. Calls of one millisecond
//! are alike, so none needs a name of its own. A place that nobody gives back (its holder crashed) is free
//! again when the lease, which is the quota's period, has run out; a holder that needs longer renews it.

use super::policy::{Algorithmic, Standing};
use super::windows::{Log, SlidingLog};

/// At most `limit` at the same time, each for at most one period unless it is renewed.
///
/// What is remembered is a log of who came when: it leaves the log when its lease runs out, as in a
/// sliding log, or when it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency(pub(crate) SlidingLog);

impl Algorithmic for Concurrency {
    type State = Log;

    /// Until leases have run out: the longest it can take. It comes earlier if somebody gives back.
    fn wait(&self, state: &Log, cost: i64, now: i64) -> i64 {
        self.0.wait(state, cost, now)
    }

    fn charge(&self, state: &mut Log, units: i64, now: i64) {
        if units > 0 {
            self.0.insert(state, units, now);
        } else {
            self.0.charge(state, units, now);
        }
    }

    fn look(&self, state: &Log, now: i64) -> Standing {
        self.0.look(state, now)
    }

    fn release(&self, state: &mut Log, units: i64, at: i64, now: i64) {
        self.0.remove(state, units, at, now);
    }

    fn idle_at(state: &Log) -> i64 {
        SlidingLog::idle_at(state)
    }

    fn spent(state: &Log) -> bool {
        SlidingLog::spent(state)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_700_000_000_000;

    fn of(limit: i64, period: i64) -> Concurrency {
        Concurrency(SlidingLog { limit, period })
    }

    #[test]
    fn a_crashed_holder_comes_back_when_its_lease_is_over() {
        let (c, mut s) = (of(2, 1_000), Log::default());
        c.charge(&mut s, 1, T0);
        c.charge(&mut s, 1, T0 + 400);
        assert_eq!(c.wait(&s, 1, T0 + 500), 500);
        assert_eq!(c.wait(&s, 1, T0 + 1_000), 0);
        c.release(&mut s, 1, T0 + 400, T0 + 500);
        assert_eq!(c.wait(&s, 1, T0 + 500), 0);
        c.release(&mut s, 1, T0 + 400, T0 + 500);
        assert_eq!(c.look(&s, T0 + 500).remaining, 1, "given back twice is given back once");
    }

    #[test]
    fn a_place_whose_lease_has_run_out_cannot_be_given_back() {
        let (c, mut s) = (of(1, 1_000), Log::default());
        c.charge(&mut s, 1, T0);
        c.charge(&mut s, 1, T0 + 1_000);
        c.release(&mut s, 1, T0, T0 + 1_001);
        assert_eq!(c.look(&s, T0 + 1_001).remaining, 0, "the place is somebody else's by now");
    }

    #[test]
    fn a_clock_that_lags_takes_its_own_place() {
        let (c, mut s) = (of(3, 1_000), Log::default());
        c.charge(&mut s, 1, T0 + 5);
        c.charge(&mut s, 1, T0);
        c.release(&mut s, 1, T0, T0 + 6);
        assert_eq!(
            c.look(&s, T0 + 6),
            Standing {
                remaining: 2,
                reset_after: 999
            }
        );
    }

    proptest! {
        /// Against a map of who holds since when.
        #[test]
        fn never_more_are_at_work_than_the_limit(
            limit in 1_i64..8, lease in 1_i64..500,
            steps in prop::collection::vec((0_i64..200, 1_i64..4, any::<bool>(), 0_usize..6), 1..120),
        ) {
            let (c, mut s) = (of(limit, lease), Log::default());
            let (mut now, mut held) = (T0, BTreeMap::<i64, i64>::new());
            for (gap, units, give_back, which) in steps {
                now += gap;
                held.retain(|at, _| *at > now - lease);
                if give_back {
                    let at = held.keys().copied().nth(which).unwrap_or(now - lease - 1);
                    c.release(&mut s, units, at, now);
                    if let Some(n) = held.get_mut(&at) {
                        *n = (*n - units).max(0);
                    }
                    held.retain(|_, n| *n > 0);
                } else if units <= limit {
                    let fits = held.values().sum::<i64>() + units <= limit;
                    let wait = c.wait(&s, units, now);
                    prop_assert_eq!(wait == 0, fits);
                    if fits {
                        c.charge(&mut s, units, now);
                        *held.entry(now).or_default() += units;
                    } else {
                        prop_assert_eq!(c.wait(&s, units, now + wait), 0);
                        prop_assert!(c.wait(&s, units, now + wait - 1) > 0);
                    }
                }
                prop_assert_eq!(c.look(&s, now).remaining, limit - held.values().sum::<i64>());
            }
        }
    }
}
