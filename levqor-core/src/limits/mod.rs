//! Limits: how much of something may happen in how much time.
//!
//! * [`Quota`] says how much and how it is counted; it reads `60/minute burst 10`.
//! * [`Rule`] is the pure function behind it: state in, `now` in, [`Verdict`] and state out.
//! * [`Ask`]s go to a [`Limits`] store, which decides all of them in one atomic step; the [`Decision`]
//!   knows its HTTP headers, its problem document, and how to explain itself.
//! * [`Policies`] are quotas by name: whom they count, tiers, who is exempt or shut out.
//! * [`keys`] finds out who asks, past proxies and within IPv6 networks.

#[cfg(test)]
pub(crate) mod behaviour;
mod concurrency;
mod fingerprint;
mod gcra;
mod headers;
pub mod keys;
mod pack;
mod policies;
mod policy;
mod port;
mod quota;
mod row;
mod windows;

pub use concurrency::Concurrency;
pub(crate) use fingerprint::{Fingerprint, Fingerprinter, KeyHash};
pub use gcra::{Gcra, Tat};
pub use headers::HeaderStyle;
pub(crate) use pack::{Packed, each_rule};
pub use policies::{Listed, Policies, Policy, Subject};
pub(crate) use policy::Algorithmic;
pub(crate) use policy::{Asked, Judgement, apply, instant, judge, verdict};
pub use policy::{Op, Reason, Rule, Standing, State, Verdict};
pub(crate) use port::check_asks;
pub use port::{Ask, AskOutcome, Decision, Limits, MAX_ASKS, MAX_KEY, OneLimit};
pub use quota::{Algorithm, MAX_LIMIT, MAX_LOGGED, MAX_PERIOD, Quota};
pub use row::{DDL, LimitOp, LimitRow, apply as apply_op, wants};
pub use windows::{Fixed, FixedWindow, Log, Sliding, SlidingLog, SlidingWindow};
