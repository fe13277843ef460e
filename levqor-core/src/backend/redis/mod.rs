//! Limits, claims and wake-ups over Redis: what several hosts share and may lose. Never money or jobs.
//!
//! Every key starts with `levqor:{tenant}`. The braces are Redis Cluster's hash tag: all keys of a tenant
//! lie in one slot, which is what lets several limits be decided in one atomic step there.
//!
//! A [`RedisLink`] speaks to one address and does not follow a cluster's redirections: before a cluster put
//! a proxy that does, or give each shard of tenants the address of its primary. Calls that run at the same
//! time share the connection and travel together, so nothing needs to be batched by hand.

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
