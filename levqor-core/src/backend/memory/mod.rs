//! The memory backend: always there, and the executable specification of the others.

mod claims;
mod ledger;
mod limiter;
mod limits;
mod packed;
mod store;
mod tables;

pub use claims::MemoryClaims;
#[cfg(test)]
pub(crate) use claims::behaviour as claims_behaviour;
pub use limiter::Limiter;
pub use limits::{LimitStats, MemoryLimits, Prepared};
pub use store::MemoryStore;
