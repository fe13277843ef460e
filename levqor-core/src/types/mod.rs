//! Units, ids and amounts. Every number that has a unit carries it in its type.

mod amount;
mod duration;
mod id;

pub use amount::{MicroCredits, Money};
pub use duration::parse_duration;
pub(crate) use id::is_id_byte;
pub use id::{BatchId, GrantId, HoldId, JobId, KeyId, Tenant, TxnId, WorkerId, random_bytes, secure_random};

use serde::{Deserialize, Serialize};

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds: an instant since 1970-01-01T00:00:00Z, or a span between two of them.
///
/// Printed as RFC 3339 by [`Millis::rfc3339`] where it is an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);
    /// The end of time: what never expires sorts last.
    pub const MAX: Millis = Millis(i64::MAX);

    /// A span of whole seconds.
    pub const fn secs(n: i64) -> Self {
        Millis(n * 1_000)
    }

    /// A span of whole minutes.
    pub const fn mins(n: i64) -> Self {
        Millis(n * 60_000)
    }

    /// A span of whole hours.
    pub const fn hours(n: i64) -> Self {
        Millis(n * 3_600_000)
    }

    /// Whole seconds, rounded up: what `Retry-After` takes.
    pub const fn as_secs_ceil(self) -> i64 {
        self.0.div_euclid(1_000) + (self.0.rem_euclid(1_000) != 0) as i64
    }

    /// The span as the standard library's type; a negative span is none.
    pub fn to_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Addition that stops at the ends of the range instead of wrapping.
    #[must_use]
    pub const fn saturating_add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }

    /// The instant as RFC 3339 text in UTC with milliseconds, `2026-03-01T00:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => format!("{t:.3}"),
            Err(_) => format!("{} ms", self.0),
        }
    }

    /// Reads RFC 3339 text. `None` if it is not a point in time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Millis(t.as_millisecond()))
    }
}

impl Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        self.saturating_add(other)
    }
}

impl Sub for Millis {
    type Output = Millis;
    fn sub(self, other: Millis) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for Millis {
    fn from(d: Duration) -> Self {
        Millis(i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
