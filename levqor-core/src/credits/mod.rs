//! Credits: a double-entry ledger with grants that expire, holds, captures, refunds, clawbacks and transfers.
//!
//! * A **grant** is a lot of credits with a priority and, perhaps, a beginning and an end. A **hold**
//!   reserves credits from fixed lots, a **capture** spends from a hold, a **release** gives back.
//! * `posted` is what live grants and still-held slices of expired grants are worth, less the debt;
//!   `available = posted - held`; `spendable = available + overdraft`.
//! * Credits are drawn by priority, then by the earlier end, promo before paid, then by age.
//! * A **refund** unwinds what a spend or a capture drew, last drawn first; a **clawback** takes back a
//!   paid grant in proportion to the money that was paid back. What is taken back after it was spent is
//!   debt, and so is what was spent below zero: the next credits that come repay it first.
//! * What is due by the clock (holds and grants that ran out, grants that begin) is folded in before
//!   every operation, in the order of time, holds before grants at the same instant: a sweeper is never
//!   needed. Windows are half-open: at the instant of its end a grant or hold is over.
//! * Every change is a transaction of entries that sum to zero; an account's entries have gapless
//!   versions, a running balance, and a hash chain.
//!
//! Everything here is a pure function over [`LedgerRows`].

mod apply;
mod audit;
mod book;
mod draw;
mod due;
mod grant;
mod hold;
mod op;
mod refund;
mod row;
mod split;
mod tables;

pub use apply::{apply, wants};
pub use audit::{AuditReport, Violation, audit};
pub use book::SYSTEM;
pub use op::{Balance, Category, Expiry, LedgerAnswer, LedgerOp, NewGrant, OnExpired, Overage};
pub use row::{Account, Entry, Grant, GrantSource, GrantState, Hold, HoldState, Slice, Txn};
pub use split::{Rollover, split};
pub use tables::{DDL, LedgerRows};
