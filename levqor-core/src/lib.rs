//! Levqor's core.

pub mod backend;
pub mod claims;
pub mod clock;
pub mod connector;
pub mod error;
pub mod jobs;
pub mod layers;
pub mod limits;
pub mod records;
pub mod store;
pub mod table;
pub mod transport;
pub mod types;
pub mod usage;
