//! The back office of a small SaaS as one engine inside your process: rate limits, prepaid credits, durable
//! jobs and pipelines over connectors, on SQLite until you outgrow it and on Postgres after that.
//!
//! This crate is the front door. It re-exports [`levqor_core`] (rules, ports, backends, engine) and, by
//! feature, the connectors.

pub use levqor_core::*;

/// README's Rust is compiled like every example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
