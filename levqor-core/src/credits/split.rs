//! Shares that add up, and what is carried into the next period.

use crate::error::{Error, Result};
use crate::types::MicroCredits;

/// Splits a whole into parts by weight: each part is rounded towards zero, and what is left over goes one
/// unit at a time to the parts from the first on. The parts always sum to the whole.
///
/// Units are whatever the whole is counted in: cents, micro-credits.
///
/// ```
/// use levqor_core::credits::split;
/// assert_eq!(split(99, &[1, 1, 1, 1, 1]).unwrap(), [20, 20, 20, 20, 19]);
/// assert_eq!(split(-7, &[1, 1]).unwrap(), [-4, -3]);
/// ```
pub fn split(whole: i64, weights: &[u32]) -> Result<Vec<i64>> {
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if sum == 0 {
        return Err(Error::invalid("split.no_weight", "at least one part must have a weight").at("weights"));
    }
    let floor = |w: &u32| i128::from(whole) * i128::from(*w) / sum;
    let mut parts: Vec<i128> = weights.iter().map(floor).collect();
    let mut left = i128::from(whole) - parts.iter().sum::<i128>();
    // A part without a weight gets nothing; there are fewer units left than parts with one.
    for (part, _) in parts.iter_mut().zip(weights).filter(|(_, w)| **w > 0) {
        *part += left.signum();
        left -= left.signum();
    }
    // Every part lies between zero and the whole.
    Ok(parts.into_iter().map(|p| i64::try_from(p).unwrap_or(whole)).collect())
}

/// What may be carried from one period into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollover {
    /// At least so much, even if less is left.
    pub min: MicroCredits,
    /// At most so much.
    pub max: MicroCredits,
}

impl Rollover {
    /// What an account begins the next period with: of what is left, as much as may be carried over, less
    /// what was used beyond the allowance, and the new period's credits.
    ///
    /// ```
    /// use levqor_core::credits::Rollover;
    /// use levqor_core::types::MicroCredits;
    /// let credits = |n| MicroCredits::credits(n).unwrap();
    /// let rule = Rollover { min: credits(0), max: credits(2_000) };
    /// assert_eq!(rule.next(credits(400), credits(0), credits(1_000)).unwrap(), credits(1_400));
    /// ```
    pub fn next(self, ending: MicroCredits, overage: MicroCredits, granted: MicroCredits) -> Result<MicroCredits> {
        if self.min.0 < 0 || self.max.0 < 0 || overage.0 < 0 || granted.0 < 0 {
            return Err(Error::invalid(
                "ledger.invalid_amount",
                "what is carried over cannot be less than nothing",
            ));
        }
        let carried = ending.max(self.min).min(self.max);
        carried.checked_sub(overage)?.checked_add(granted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_sum_to_the_whole_and_lie_within_one_unit_of_their_share(
            whole: i64,
            weights in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            prop_assume!(weights.iter().any(|w| *w > 0));
            let parts = split(whole, &weights).unwrap();
            prop_assert_eq!(parts.iter().map(|p| i128::from(*p)).sum::<i128>(), i128::from(whole));
            let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = i128::from(whole) * i128::from(*weight);
                prop_assert!((i128::from(*part) * sum - exact).abs() <= sum);
                prop_assert!(*weight > 0 || *part == 0);
            }
        }
    }

    #[test]
    fn without_weights_there_is_nothing_to_split_by() {
        for weights in [&[][..], &[0, 0]] {
            assert_eq!(split(5, weights).unwrap_err().code(), "split.no_weight");
        }
        assert_eq!(split(10, &[0, 1, 0, 2]).unwrap(), [0, 4, 0, 6]);
    }
}
