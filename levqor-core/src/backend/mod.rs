//! Backends: where state lies.

mod hub;
pub mod memory;
mod open;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(all(feature = "shm", unix))]
pub mod shm;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
mod stored;

pub use hub::Hub;
pub use open::{Backend, open};
pub use stored::{StoredClaims, StoredLimits};
