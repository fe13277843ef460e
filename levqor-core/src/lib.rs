//! Levqor's core.

pub mod backend;
pub mod claims;
pub mod clock;
pub mod connector;
pub mod credits;
pub mod engine;
pub mod error;
pub mod jobs;
pub mod json;
pub mod layers;
pub mod limits;
pub mod pipeline;
pub mod records;
pub mod store;
pub mod table;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod transport;
pub mod types;
pub mod usage;
