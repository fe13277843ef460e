//! Checks that run against a live engine, and the evidence they leave behind.
//!
//! This crate knows [`levqor_core`] only: a check reads through the core's ports, so that it sees what the engine
//! sees on every backend, and its outcome is a record that can be shown to others. The checks themselves are not in
//! this version yet.
