//! When to try again: a pure function of the policy, the attempts so far and the error.

use serde::{Deserialize, Serialize};

use crate::error::{Effect, Error, ErrorKind};
use crate::types::Millis;

/// How failures are repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included. 0 counts as 1.
    pub max_attempts: u32,
    /// The shortest wait between two attempts.
    pub initial: Millis,
    /// The longest wait that the policy chooses by itself. A provider that asks for a longer one gets it.
    pub max: Millis,
    /// Which classes of error are repeated; empty for every error that says it is
    /// [retryable](Error::retryable). A class that is listed is still not repeated where the error itself
    /// says that it cannot help.
    pub on: Vec<ErrorKind>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 4,
            initial: Millis(500),
            max: Millis::secs(30),
            on: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// One attempt, no repetition.
    pub fn never() -> Self {
        RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        }
    }

    /// About how long the wait was that came before the next attempt: for a caller that was put away in
    /// between and kept only the number of attempts. Doubles from `initial` up to `max`.
    pub fn usual_wait(&self, attempts_made: u32) -> Millis {
        if attempts_made == 0 {
            return Millis::ZERO;
        }
        let doubled = self.initial.0.max(0).saturating_mul(1_i64 << (attempts_made - 1).min(30));
        Millis(doubled.min(self.max.0.max(0)))
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time.
    Retry {
        /// From now.
        after: Millis,
    },
    /// The error is the answer.
    GiveUp,
}

/// Decides what follows a failed attempt.
///
/// It is repeated only if the error says that this can help, and only if a repetition can do no harm:
/// either nothing happened at the other side, or the call is `idempotent` (by nature, or because it
/// carries a key that the provider honours).
///
/// The wait is *decorrelated jitter*, `min(max, random_between(initial, 3 * previous_wait))`, from Marc
/// Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), but never shorter than the
/// error's [`retry_after`](Error::retry_after).
///
/// * `attempts_made`: the failed one included.
/// * `previous_wait`: the wait before that attempt; zero if it was the first.
/// * `random`: 64 uniformly random bits.
///
/// ```
/// use levqor_core::error::Error;
/// use levqor_core::jobs::retry::{next, Next, RetryPolicy};
/// use levqor_core::types::Millis;
///
/// let busy = Error::unavailable("http.unavailable", "503").after(Millis::secs(7));
/// let policy = RetryPolicy::default();
/// assert_eq!(next(&policy, 1, Millis::ZERO, &busy, false, 0), Next::Retry { after: Millis::secs(7) });
/// assert_eq!(next(&policy, 4, Millis::ZERO, &busy, false, 0), Next::GiveUp);
/// ```
pub fn next(
    policy: &RetryPolicy,
    attempts_made: u32,
    previous_wait: Millis,
    error: &Error,
    idempotent: bool,
    random: u64,
) -> Next {
    let wanted = error.retryable() && (policy.on.is_empty() || policy.on.contains(&error.kind()));
    let harmless = error.effect() == Effect::None || idempotent;
    if !wanted || !harmless || attempts_made >= policy.max_attempts {
        return Next::GiveUp;
    }
    let longest = policy.max.0.max(0);
    let shortest = policy.initial.0.clamp(0, longest);
    let upper = previous_wait.0.max(0).saturating_mul(3).max(shortest);
    let span = u128::from(upper.abs_diff(shortest)) + 1;
    let step = i64::try_from((u128::from(random) * span) >> 64).unwrap_or(i64::MAX);
    let jittered = Millis(shortest.saturating_add(step).min(longest));
    Next::Retry {
        after: error.retry_after().map_or(jittered, |asked| asked.max(jittered)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_error() -> impl Strategy<Value = Error> {
        let kinds = prop::sample::select(ErrorKind::ALL.to_vec());
        let effects = prop::sample::select(vec![Effect::None, Effect::Unknown, Effect::Done]);
        (
            kinds,
            effects,
            prop::option::of(0..600_000_i64),
            prop::option::of(any::<bool>()),
        )
            .prop_map(|(kind, effect, after, retryable)| {
                let mut e = Error::new(kind, "x", "x").effect_is(effect);
                if let Some(ms) = after {
                    e = e.after(Millis(ms));
                }
                if let Some(r) = retryable {
                    e = e.retry(r);
                }
                e
            })
    }

    fn any_policy() -> impl Strategy<Value = RetryPolicy> {
        let on = prop::collection::vec(prop::sample::select(ErrorKind::ALL.to_vec()), 0..3);
        (0..8_u32, 0..5_000_i64, 0..60_000_i64, on).prop_map(|(max_attempts, initial, max, on)| RetryPolicy {
            max_attempts,
            initial: Millis(initial),
            max: Millis(max),
            on,
        })
    }

    proptest! {
        #[test]
        fn repeats_only_what_helps_and_does_no_harm(
            policy in any_policy(), made in 1..10_u32, previous in 0..100_000_i64, error in any_error(),
            idempotent: bool, random: u64,
        ) {
            let allowed = error.retryable()
                && made < policy.max_attempts
                && (policy.on.is_empty() || policy.on.contains(&error.kind()))
                && (idempotent || error.effect() == Effect::None);
            match next(&policy, made, Millis(previous), &error, idempotent, random) {
                Next::GiveUp => prop_assert!(!allowed),
                Next::Retry { after } => {
                    prop_assert!(allowed);
                    let asked = error.retry_after().unwrap_or(Millis::ZERO);
                    prop_assert!(after >= asked);
                    prop_assert!(after >= policy.initial.min(policy.max));
                    prop_assert!(after <= policy.max.max(asked));
                    let ceiling = Millis(previous * 3).max(policy.initial);
                    prop_assert!(after <= ceiling.max(asked));
                }
            }
        }

        #[test]
        fn extreme_numbers_do_not_overflow(initial: i64, max: i64, previous: i64, made: u32, random: u64) {
            let policy = RetryPolicy { max_attempts: u32::MAX, initial: Millis(initial), max: Millis(max), on: vec![] };
            let error = Error::unavailable("x", "x");
            if let Next::Retry { after } = next(&policy, made, Millis(previous), &error, false, random) {
                prop_assert!(after >= Millis::ZERO);
            }
            prop_assert!(policy.usual_wait(made) >= Millis::ZERO);
        }
    }

    #[test]
    fn the_wait_spreads_over_the_whole_range() {
        let policy = RetryPolicy::default();
        let error = Error::unavailable("x", "x");
        let at = |random| match next(&policy, 1, Millis(1_000), &error, false, random) {
            Next::Retry { after } => after.0,
            Next::GiveUp => unreachable!(),
        };
        assert_eq!((at(0), at(u64::MAX / 2), at(u64::MAX)), (500, 1_750, 3_000));
    }

    #[test]
    fn a_lost_answer_is_repeated_only_where_that_is_safe() {
        let policy = RetryPolicy::default();
        let lost = Error::new(ErrorKind::Timeout, "x", "x").effect_is(Effect::Unknown);
        assert_eq!(next(&policy, 1, Millis::ZERO, &lost, false, 0), Next::GiveUp);
        assert_eq!(
            next(&policy, 1, Millis::ZERO, &lost, true, 0),
            Next::Retry { after: Millis(500) }
        );
    }

    #[test]
    fn the_usual_wait_doubles_to_the_maximum() {
        let policy = RetryPolicy::default();
        let waits: Vec<i64> = [0, 1, 2, 3, 40].map(|n| policy.usual_wait(n).0).to_vec();
        assert_eq!(waits, [0, 500, 1_000, 2_000, 30_000]);
    }
}
