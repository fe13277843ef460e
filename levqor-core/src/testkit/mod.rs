//! What tests need, ours and other people's.
//!
//! [`services`] starts private servers, [`stores`] opens fresh stores, [`behaviours`] says what every
//! store must do, [`exact`] whether limits are exact over processes; [`conformance!`](crate::conformance) runs all of that on a store of one's own.

pub mod behaviours;
pub mod exact;
mod postgres;
pub mod services;
pub mod stores;

pub use postgres::RunningPostgres;
