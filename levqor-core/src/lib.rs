//! Levqor's core.

pub mod backend;
pub mod claims;
pub mod clock;
pub mod connector;
pub mod error;
pub mod jobs;
pub mod layers;
pub mod limits;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod transport;
pub mod types;
