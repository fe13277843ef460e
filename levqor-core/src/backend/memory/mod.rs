//! Everything in this process.

mod claims;
mod limits;

pub use claims::MemoryClaims;
#[cfg(test)]
pub(crate) use claims::behaviour as claims_behaviour;
#[cfg(feature = "redis")]
pub(crate) use claims::{lost, token};
pub use limits::{LimitStats, MemoryLimits, Prepared};
