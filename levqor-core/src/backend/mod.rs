//! Where state lies: adapters of the ports.

pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
