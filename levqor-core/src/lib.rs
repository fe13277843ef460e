//! Levqor's core.

pub mod access;
pub mod claims;
pub mod clock;
pub mod connector;
pub mod error;
pub mod jobs;
pub mod layers;
pub mod limits;
pub mod transport;
pub mod types;
