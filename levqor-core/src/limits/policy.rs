//! One limit applied to one key: which algorithm, what was asked, and the verdict.
//!
//! Everything here is a plain function of its arguments. A store keeps the [`State`] of a key (or the
//! algorithm's own, which is smaller), and makes the step from one to the next atomic.

use serde::{Deserialize, Serialize};

use super::concurrency::Concurrency;
use super::gcra::{Gcra, Tat};
use super::windows::{Fixed, FixedWindow, Log, Sliding, SlidingLog, SlidingWindow};
use crate::types::Millis;

/// The latest instant the rules calculate with, in the year 2096; later ones are taken for it.
const LATEST: i64 = 4_000_000_000_000;

/// Brings an instant into the range the rules calculate with.
#[inline]
pub(crate) fn instant(now: Millis) -> i64 {
    now.0.clamp(0, LATEST)
}

/// How a key stands under a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Units that would pass right now.
    pub remaining: i64,
    /// Milliseconds until all is as if the key had never been seen.
    pub reset_after: i64,
}

/// What an algorithm must answer. Times are milliseconds from 1970 to 2096, costs are units within what
/// [`Quota::check`](super::Quota::check) allows.
pub(crate) trait Algorithmic {
    /// What is remembered of a key; its default is a key that was never seen.
    type State: Default + Clone;

    /// How long until a call of this cost passes; zero if it passes now. The cost must not be more than
    /// the quota can ever hold.
    fn wait(&self, state: &Self::State, cost: i64, now: i64) -> i64;

    /// Charges units without asking whether they fit; a negative number gives back, down to nothing used.
    /// The debt is bounded at twice what the quota holds.
    fn charge(&self, state: &mut Self::State, units: i64, now: i64);

    /// How long until a queue takes a call of this cost, if whoever calls is ready to wait for `patience`
    /// milliseconds. Only a token bucket has a queue; elsewhere nobody waits.
    fn queue(&self, state: &Self::State, cost: i64, patience: i64, now: i64) -> i64 {
        let _ = patience;
        self.wait(state, cost, now)
    }

    /// Gives back units that were taken at an instant. Only calls in flight are told apart by it.
    fn release(&self, state: &mut Self::State, units: i64, at: i64, now: i64) {
        let _ = at;
        self.charge(state, -units, now);
    }

    /// How the key stands.
    fn look(&self, state: &Self::State, now: i64) -> Standing;

    /// From this instant on the state says no more than a key that was never seen.
    fn idle_at(state: &Self::State) -> i64;

    /// Whether the last charge left less than one unit.
    fn spent(state: &Self::State) -> bool;
}

/// What is asked of a key's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Pass if the cost fits, and be charged for it. A cost of 0 reads how the key stands and passes
    /// unless the key is blocked or in debt.
    #[default]
    Take,
    /// The same verdict as [`Take`](Op::Take), but nothing is charged.
    Peek,
    /// Give the cost back (a reward, or a call that turned out free). Never below nothing used.
    Refund,
    /// Charge the cost even if it does not fit. The debt is bounded at one full quota.
    Penalty,
    /// Forget what was used, and lift a block.
    Reset,
    /// Refuse the key until this instant whatever its quota says; an instant that is past lifts the block.
    Block(Millis),
    /// Be charged now and go on after a wait of at most this long: the verdict's `ready_after`. Refused if
    /// the wait would be longer, or the queue deeper than one full quota. A token bucket's only.
    Queue(Millis),
    /// Give back what was taken at this instant ([`Decision::at`](super::Decision::at) of the call that
    /// took it). Nothing happens once its lease has run out, as the place is somebody else's then.
    /// [`Concurrency`](super::Algorithm::Concurrency)'s only.
    Release(Millis),
    /// [`Release`](Op::Release) and [`Take`](Op::Take) in one step: a new lease for what was taken at this
    /// instant. If the lease has run out it passes only if there is still room.
    /// [`Concurrency`](super::Algorithm::Concurrency)'s only.
    Renew(Millis),
}

impl Op {
    /// Whether the verdict can be a refusal.
    pub(crate) fn can_refuse(self) -> bool {
        matches!(self, Op::Take | Op::Peek | Op::Queue(_) | Op::Renew(_))
    }

    /// Whether it can make a key known that was not.
    pub(crate) fn can_charge(self) -> bool {
        matches!(self, Op::Take | Op::Penalty | Op::Queue(_) | Op::Renew(_))
    }
}

/// Why a limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The quota is used up for now.
    Exceeded,
    /// The call costs more than the quota can ever hold: it will never pass.
    TooCostly,
    /// The key is blocked.
    Blocked,
    /// The limiter's store is down, and the policy for that is to refuse.
    Unavailable,
    /// The key is on the deny list.
    Denied,
}

/// The answer for one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether this limit lets the call pass.
    pub admitted: bool,
    /// Units that are left after it.
    pub remaining: u32,
    /// How long until the key stands as if it had never been seen.
    pub reset_after: Millis,
    /// How long until the same call passes. `None` if it passed, or never will.
    pub retry_after: Option<Millis>,
    /// How long to wait before going on, for a call that was [queued](Op::Queue). Zero for all others.
    pub ready_after: Millis,
    /// Why not.
    pub reason: Option<Reason>,
}

/// A quota, checked and made ready for its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Token bucket.
    Gcra(Gcra),
    /// Aligned windows.
    FixedWindow(FixedWindow),
    /// Weighted windows.
    SlidingWindow(SlidingWindow),
    /// Every call remembered.
    SlidingLog(SlidingLog),
    /// Calls in flight.
    Concurrency(Concurrency),
}

/// What is remembered of one key under one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Token bucket.
    Gcra(Tat),
    /// Aligned windows.
    FixedWindow(Fixed),
    /// Weighted windows.
    SlidingWindow(Sliding),
    /// Every call remembered, and calls in flight.
    SlidingLog(Log),
}

/// Whether an ask passes, before anything is charged: the wait, or why it is refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Milliseconds until it passes; of a call that was queued, until it may go on.
    pub(crate) wait: i64,
    pub(crate) reason: Option<Reason>,
}

/// What is asked of one key at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) op: Op,
    pub(crate) cost: i64,
    /// Until when the key is blocked; zero if it is not.
    pub(crate) blocked_until: i64,
    pub(crate) now: i64,
}

/// Judges what is asked under an algorithm of a given capacity.
#[inline]
pub(crate) fn judge<A: Algorithmic>(a: &A, capacity: i64, state: &A::State, asked: Asked) -> Judgement {
    if !asked.op.can_refuse() {
        return Judgement { wait: 0, reason: None };
    }
    if asked.cost > capacity {
        return Judgement {
            wait: 0,
            reason: Some(Reason::TooCostly),
        };
    }
    let wait = match asked.op {
        Op::Queue(patience) => a.queue(state, asked.cost, instant(patience), asked.now),
        Op::Renew(at) => {
            let mut without = state.clone();
            a.release(&mut without, asked.cost, instant(at), asked.now);
            a.wait(&without, asked.cost, asked.now)
        }
        _ => a.wait(state, asked.cost, asked.now),
    };
    if asked.blocked_until > asked.now {
        Judgement {
            wait: wait.max(asked.blocked_until - asked.now),
            reason: Some(Reason::Blocked),
        }
    } else if wait > 0 {
        Judgement {
            wait,
            reason: Some(Reason::Exceeded),
        }
    } else {
        let wait = match asked.op {
            Op::Queue(_) => a.wait(state, asked.cost, asked.now),
            _ => 0,
        };
        Judgement { wait, reason: None }
    }
}

/// Does what was asked. Blocks are not part of an algorithm's state and are the caller's to keep.
#[inline]
pub(crate) fn apply<A: Algorithmic>(a: &A, state: &mut A::State, asked: Asked) {
    match asked.op {
        Op::Take | Op::Penalty | Op::Queue(_) if asked.cost > 0 => a.charge(state, asked.cost, asked.now),
        Op::Refund if asked.cost > 0 => a.charge(state, -asked.cost, asked.now),
        Op::Release(at) if asked.cost > 0 => a.release(state, asked.cost, instant(at), asked.now),
        Op::Renew(at) if asked.cost > 0 => {
            a.release(state, asked.cost, instant(at), asked.now);
            a.charge(state, asked.cost, asked.now);
        }
        Op::Reset => *state = A::State::default(),
        _ => {}
    }
}

/// Puts a verdict together from the judgement and how the key stands after it.
#[inline]
pub(crate) fn verdict(judgement: Judgement, standing: Standing) -> Verdict {
    Verdict {
        admitted: judgement.reason.is_none(),
        remaining: u32::try_from(standing.remaining).unwrap_or(u32::MAX),
        reset_after: Millis(standing.reset_after),
        retry_after: match judgement.reason {
            None | Some(Reason::TooCostly) => None,
            Some(_) => Some(Millis(judgement.wait)),
        },
        ready_after: match judgement.reason {
            None => Millis(judgement.wait),
            Some(_) => Millis::ZERO,
        },
        reason: judgement.reason,
    }
}

/// Runs an expression with the algorithm and its state, whichever it is.
macro_rules! each {
    ($rule:expr, $state:expr, |$a:ident, $s:ident| $body:expr) => {
        match ($rule, $state) {
            (Rule::Gcra($a), State::Gcra($s)) => $body,
            (Rule::FixedWindow($a), State::FixedWindow($s)) => $body,
            (Rule::SlidingWindow($a), State::SlidingWindow($s)) => $body,
            (Rule::SlidingLog($a), State::SlidingLog($s)) => $body,
            (Rule::Concurrency($a), State::SlidingLog($s)) => $body,
            _ => unreachable!("the state was checked to belong to the rule"),
        }
    };
}

impl Rule {
    /// Units the quota can hold at most: what one call may cost.
    pub fn capacity(&self) -> i64 {
        match self {
            Rule::Gcra(g) => g.capacity / g.interval,
            Rule::FixedWindow(w) => w.limit,
            Rule::SlidingWindow(w) => w.limit,
            Rule::SlidingLog(w) | Rule::Concurrency(Concurrency(w)) => w.limit,
        }
    }

    /// The state of a key that was never seen.
    pub fn unseen(&self) -> State {
        match self {
            Rule::Gcra(_) => State::Gcra(Tat::default()),
            Rule::FixedWindow(_) => State::FixedWindow(Fixed::default()),
            Rule::SlidingWindow(_) => State::SlidingWindow(Sliding::default()),
            Rule::SlidingLog(_) | Rule::Concurrency(_) => State::SlidingLog(Log::default()),
        }
    }

    /// One ask against one key: the verdict, and the state after it. A refused ask changes nothing.
    ///
    /// A state that belongs to another algorithm counts as a key that was never seen.
    ///
    /// ```
    /// use levqor_core::limits::{Op, Quota};
    /// use levqor_core::types::Millis;
    ///
    /// let rule = Quota::per_minute(60).burst(2).rule().unwrap();
    /// let now = Millis(1_700_000_000_000);
    /// let (first, state) = rule.decide(rule.unseen(), Op::Take, 2, now);
    /// assert!(first.admitted);
    /// let (second, _) = rule.decide(state, Op::Take, 1, now);
    /// assert_eq!(second.retry_after, Some(Millis(1_000)));
    /// ```
    pub fn decide(&self, state: State, op: Op, cost: u32, now: Millis) -> (Verdict, State) {
        let mut state = if self.owns(&state) { state } else { self.unseen() };
        let asked = Asked {
            op,
            cost: i64::from(cost),
            blocked_until: 0,
            now: instant(now),
        };
        let verdict = each!(self, &mut state, |a, s| {
            let judgement = judge(a, self.capacity(), s, asked);
            if judgement.reason.is_none() {
                apply(a, s, asked);
            }
            verdict(judgement, a.look(s, asked.now))
        });
        (verdict, state)
    }

    fn owns(&self, state: &State) -> bool {
        matches!(
            (self, state),
            (Rule::Gcra(_), State::Gcra(_))
                | (Rule::FixedWindow(_), State::FixedWindow(_))
                | (Rule::SlidingWindow(_), State::SlidingWindow(_))
                | (Rule::SlidingLog(_) | Rule::Concurrency(_), State::SlidingLog(_))
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::limits::{Algorithm, Quota};

    const NOW: Millis = Millis(1_700_000_000_000);

    fn algorithms() -> [Algorithm; 5] {
        [
            Algorithm::Gcra,
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
            Algorithm::SlidingLog,
            Algorithm::Concurrency,
        ]
    }

    #[test]
    fn every_algorithm_knows_every_operation() {
        for algorithm in algorithms() {
            let rule = Quota::per_minute(5).algorithm(algorithm).rule().unwrap();
            let step = |state, op, cost| rule.decide(state, op, cost, NOW);
            let (v, s) = step(rule.unseen(), Op::Take, 3);
            assert_eq!((v.admitted, v.remaining), (true, 2), "{algorithm:?}");
            let (v, s) = step(s, Op::Peek, 3);
            assert_eq!(
                (v.admitted, v.remaining, v.reason),
                (false, 2, Some(Reason::Exceeded)),
                "{algorithm:?}"
            );
            let (v, s) = step(s, Op::Peek, 2);
            assert_eq!((v.admitted, v.remaining), (true, 2), "{algorithm:?}");
            let (v, s) = step(s, Op::Take, 6);
            assert_eq!((v.reason, v.retry_after), (Some(Reason::TooCostly), None), "{algorithm:?}");
            let (v, s) = step(s, Op::Penalty, 4);
            assert_eq!((v.admitted, v.remaining), (true, 0), "{algorithm:?}");
            let (v, s) = step(s, Op::Take, 0);
            assert_eq!(v.reason, Some(Reason::Exceeded), "in debt: {algorithm:?}");
            let (v, s) = step(s, Op::Refund, 3);
            assert_eq!(v.remaining, 1, "7 of 5 were used, 3 came back: {algorithm:?}");
            let (v, s) = step(s, Op::Refund, u32::MAX);
            assert_eq!((v.remaining, v.reset_after), (5, Millis::ZERO), "{algorithm:?}");
            let (_, s) = step(s, Op::Penalty, u32::MAX);
            let (v, s) = step(s, Op::Refund, 10);
            assert_eq!(v.remaining, 5, "the debt is bounded at one quota: {algorithm:?}");
            let (_, s) = step(s, Op::Take, 5);
            let (v, _) = step(s, Op::Reset, 0);
            assert_eq!((v.remaining, v.reset_after), (5, Millis::ZERO), "{algorithm:?}");
        }
    }

    #[test]
    fn a_queue_tells_how_long_to_wait_and_is_no_deeper_than_a_quota() {
        let rule = Quota::per_second(10).burst(1).rule().unwrap();
        let (mut state, mut waits) = (rule.unseen(), Vec::new());
        loop {
            let (v, after) = rule.decide(state.clone(), Op::Queue(Millis::mins(1)), 1, NOW);
            if !v.admitted {
                assert_eq!((v.retry_after, v.ready_after), (Some(Millis(100)), Millis::ZERO));
                break;
            }
            waits.push(v.ready_after.0);
            state = after;
        }
        assert_eq!(waits, (0..20).map(|n| n * 100).collect::<Vec<_>>());
        let (v, _) = rule.decide(state.clone(), Op::Queue(Millis(300)), 1, NOW + Millis(1_000));
        assert_eq!(
            (v.admitted, v.retry_after),
            (false, Some(Millis(700))),
            "its turn is in 1000 ms"
        );
        let (v, _) = rule.decide(state, Op::Queue(Millis(300)), 1, NOW + Millis(1_700));
        assert_eq!((v.admitted, v.ready_after), (true, Millis(300)));
    }

    #[test]
    fn a_renewed_lease_begins_anew_and_a_lost_one_needs_room() {
        let rule = "2/10s concurrent".parse::<Quota>().unwrap().rule().unwrap();
        let (v, s) = rule.decide(rule.unseen(), Op::Take, 2, NOW);
        assert!(v.admitted);
        let later = NOW + Millis::secs(6);
        assert!(!rule.decide(s.clone(), Op::Take, 1, later).0.admitted);
        let (v, s) = rule.decide(s, Op::Renew(NOW), 2, later);
        assert_eq!((v.admitted, v.remaining, v.reset_after), (true, 0, Millis::secs(10)));
        let (v, s) = rule.decide(s, Op::Release(NOW), 2, later);
        assert_eq!(v.remaining, 0, "it is held from later on");
        let (_, s) = rule.decide(s, Op::Release(later), 1, later);
        let over = later + Millis::secs(10);
        let (_, s) = rule.decide(s, Op::Take, 2, over);
        let (v, _) = rule.decide(s, Op::Renew(later), 1, over);
        assert_eq!(
            (v.admitted, v.reason),
            (false, Some(Reason::Exceeded)),
            "others hold all by now"
        );
    }

    #[test]
    fn a_limit_of_nothing_refuses_for_good_and_extreme_clocks_do_no_harm() {
        for algorithm in algorithms() {
            let rule = Quota::per_second(0).algorithm(algorithm).rule().unwrap();
            let (v, _) = rule.decide(rule.unseen(), Op::Take, 1, NOW);
            assert_eq!((v.reason, v.retry_after), (Some(Reason::TooCostly), None));
            let rule = Quota::per_second(3).algorithm(algorithm).rule().unwrap();
            for now in [Millis(i64::MIN), Millis(-1), Millis::ZERO, Millis(i64::MAX)] {
                let (v, s) = rule.decide(rule.unseen(), Op::Take, 3, now);
                assert!(v.admitted, "{algorithm:?} at {now:?}");
                assert!(!rule.decide(s, Op::Take, 1, now).0.admitted, "{algorithm:?} at {now:?}");
            }
        }
    }

    #[test]
    fn the_edge_of_a_window_admits_a_hundred_of_a_hundred() {
        let edge = NOW.0;
        assert_eq!(edge % 1_000, 0);
        for (algorithm, most) in [
            (Algorithm::Gcra, 100),
            (Algorithm::SlidingLog, 100),
            (Algorithm::FixedWindow, 200),
        ] {
            let rule = Quota::per_second(100).algorithm(algorithm).rule().unwrap();
            let (mut state, mut admitted) = (rule.unseen(), 0);
            for at in [edge - 1; 100].into_iter().chain([edge; 100]) {
                let (v, s) = rule.decide(state, Op::Take, 1, Millis(at));
                admitted += u32::from(v.admitted);
                state = s;
            }
            assert_eq!(admitted, most, "{algorithm:?}");
        }
    }
}
