//! Limits, claims and wake-ups over Redis: what several hosts share and may lose. Never money or jobs.
//!
//! Every key starts with `levqor:{tenant}`. The braces are Redis Cluster's hash tag: all keys of a tenant
//! lie in one slot, which is what lets several limits be decided in one atomic step there.

mod claims;
mod limits;
mod link;
mod wakes;
mod woken;

pub use claims::RedisClaims;
pub use limits::{OnDown, RedisLimits};
pub use link::{RedisLink, TimeSource};
pub use wakes::RedisWakes;
pub use woken::WokenStore;
