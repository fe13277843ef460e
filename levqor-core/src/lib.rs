//! Levqor's core: the domain rules, the ports, the backends and the engine. It knows no vendor and no check.
//!
//! The floors, from the ground up: `error types clock json table` · the rules (`credits limits jobs pipeline
//! records usage access`) · the ports (`store limits claims connector transport layers`) · the adapters
//! (`backend`, the layers, the HTTP transport) · the [`engine`].

pub mod access;
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
pub mod vault;
