//! When to try again: a pure function of the policy, the attempt and the error.

use serde::{Deserialize, Serialize};

use crate::types::Millis;

/// How failures are repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// The first wait.
    pub initial: Millis,
    /// The longest wait.
    pub max: Millis,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 4,
            initial: Millis(500),
            max: Millis::secs(30),
        }
    }
}
