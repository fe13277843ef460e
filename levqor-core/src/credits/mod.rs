//! Credits: a double-entry ledger with grants that expire, holds, and captures.
//!
//! * A **grant** is a lot of credits with a priority and, perhaps, an end. A **hold** reserves credits
//!   from fixed lots, a **capture** spends from a hold, a **release** gives back.
//! * `posted` is what live grants and still-held slices of expired grants are worth;
//!   `available = posted - held`; `spendable = available + overdraft`.
//! * Credits are drawn by priority, then by the earlier end, promo before paid, then by age.
//! * What is due by the clock (holds and grants that ran out) is folded in before every operation, in
//!   the order of time, holds before grants at the same instant: a sweeper is never needed.
//! * Every change is a transaction of entries that sum to zero; an account's entries have gapless
//!   versions, a running balance, and a hash chain.
//!
//! Everything here is a pure function over [`LedgerRows`].

mod apply;
mod audit;
mod book;
mod due;
mod hold;
mod op;
mod row;

pub use apply::{apply, wants};
pub use audit::{AuditReport, Violation, audit};
pub use op::{Balance, Category, Drawn, LedgerAnswer, LedgerOp, NewGrant, Overage};
pub use row::{Account, DDL, Entry, Grant, Hold, HoldState, LedgerRows, Slice, Txn};
