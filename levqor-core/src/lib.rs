//! Levqor's core.

pub mod claims;
pub mod clock;
pub mod connector;
pub mod error;
pub mod jobs;
pub mod json;
pub mod layers;
pub mod limits;
pub mod pipeline;
pub mod transport;
pub mod types;
