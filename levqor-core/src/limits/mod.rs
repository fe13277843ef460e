//! Limits: how much of something may happen in how much time.

mod port;

pub use port::{Ask, Decision, Limits, Verdict};
