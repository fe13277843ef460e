use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Category;
use crate::table::{Table, row, text_enum};
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Tenant, TxnId};

row! {
    /// An account: a user's, or one of the system's (`levqor:…`).
    pub struct Account in "levqor_account" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// Its name.
        owner: Arc<str>, fixed;
        /// The balance: the sum of its entries.
        posted: MicroCredits;
        /// Reserved by open holds.
        held: MicroCredits;
        /// How far below zero it may go.
        overdraft: MicroCredits;
        /// Spent below zero; the next credits repay it.
        debt: MicroCredits;
        /// How many entries it has.
        version: i64;
        /// The earliest instant at which a grant or hold runs out.
        next_due: Option<Millis>;
        /// The hash of its last entry.
        head: Arc<str>;
    }
    key(tenant: Tenant, owner: Arc<str>)
    group() when |_row| false;
    lock true
}

row! {
    /// A lot of credits.
    pub struct Grant in "levqor_grant" {
        /// Its id.
        id: GrantId, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The account.
        owner: Arc<str>, fixed;
        /// How much it was.
        amount: MicroCredits, fixed;
        /// Drawn before those with a higher number.
        priority: i64, fixed;
        /// Promo is drawn before paid.
        category: Category, fixed;
        /// When it was given; the order of equals.
        seq: i64, fixed;
        /// Usable from then on.
        effective_at: Millis, fixed;
        /// Usable until then.
        expires_at: Option<Millis>, fixed;
        /// What is not spent.
        remaining: MicroCredits;
        /// What open holds reserve of it.
        held: MicroCredits;
        /// Whether it has run out: only its held part counts.
        expired: bool;
        /// Whether nothing of it is left.
        closed: bool;
    }
    key(id: GrantId)
    group(tenant: Tenant, owner: Arc<str>) when |g| !g.closed;
    open "closed = 0";
    lock false
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// It reserves.
    Open,
    /// It was captured.
    Captured,
    /// It was released.
    Released,
    /// It ran out.
    Expired,
}

text_enum!(HoldState { Open = "open", Captured = "captured", Released = "released", Expired = "expired" });

row! {
    /// A reservation.
    pub struct Hold in "levqor_hold" {
        /// Its id.
        id: HoldId, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The account.
        owner: Arc<str>, fixed;
        /// How much was reserved.
        amount: MicroCredits, fixed;
        /// When it was opened.
        opened_at: Millis, fixed;
        /// How much was captured from it.
        captured: MicroCredits;
        /// What it still reserves.
        open: MicroCredits;
        /// Where it stands.
        state: HoldState;
        /// When it runs out; never, if there is no such time.
        expires_at: Option<Millis>;
        /// When it was closed.
        closed_at: Option<Millis>;
    }
    key(id: HoldId)
    group(tenant: Tenant, owner: Arc<str>) when |h| h.state == HoldState::Open && h.expires_at.is_some();
    open "state = 'open' AND expires_at IS NOT NULL";
    rank expires_at;
    lock false
}

row! {
    /// What a hold or a spend drew from one grant (or, without one, from the overdraft).
    pub struct Slice in "levqor_slice" {
        /// The hold's or transaction's id.
        parent: Arc<str>, fixed;
        /// Its place in the order of drawing.
        ord: i64, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The grant; `None` for the overdraft.
        lot: Option<GrantId>, fixed;
        /// How much.
        amount: MicroCredits, fixed;
        /// How much of it is spent.
        taken: MicroCredits;
    }
    key(parent: Arc<str>, ord: i64)
    group(parent: Arc<str>) when |_row| true;
    lock false
}

row! {
    /// A transaction: entries that sum to zero.
    pub struct Txn in "levqor_txn" {
        /// Its id.
        id: TxnId, fixed;
        /// Whose it is.
        tenant: Tenant, fixed;
        /// `grant`, `spend`, `capture`, `breakage`.
        kind: Arc<str>, fixed;
        /// What it belongs to: a grant, a hold.
        about: Arc<str>, fixed;
        /// When it counts.
        booked_at: Millis, fixed;
        /// When it was written down.
        recorded_at: Millis, fixed;
    }
    key(id: TxnId)
    group() when |_row| false;
    lock false
}

row! {
    /// One side of a transaction.
    pub struct Entry in "levqor_entry" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The account.
        owner: Arc<str>, fixed;
        /// Its number on the account, from 1 without gaps.
        version: i64, fixed;
        /// The transaction.
        txn: TxnId, fixed;
        /// What it does to the balance.
        amount: MicroCredits, fixed;
        /// The balance after it.
        after: MicroCredits, fixed;
        /// When it counts.
        booked_at: Millis, fixed;
        /// SHA-256, in hex, of the hash before it and its own fields.
        hash: Arc<str>, fixed;
    }
    key(tenant: Tenant, owner: Arc<str>, version: i64)
    group() when |_row| false;
    lock false
}

/// The ledger's tables.
pub struct LedgerRows {
    /// Accounts.
    pub accounts: Table<Account>,
    /// Grants.
    pub grants: Table<Grant>,
    /// Holds.
    pub holds: Table<Hold>,
    /// Slices.
    pub slices: Table<Slice>,
    /// Transactions.
    pub txns: Table<Txn>,
    /// Entries.
    pub entries: Table<Entry>,
}

impl LedgerRows {
    /// Tables that are everything there is.
    pub fn complete() -> Self {
        LedgerRows {
            accounts: Table::complete(),
            grants: Table::complete(),
            holds: Table::complete(),
            slices: Table::complete(),
            txns: Table::complete(),
            entries: Table::complete(),
        }
    }

    /// Tables that hold what is loaded into them.
    pub fn partial() -> Self {
        LedgerRows {
            accounts: Table::partial(),
            grants: Table::partial(),
            holds: Table::partial(),
            slices: Table::partial(),
            txns: Table::partial(),
            entries: Table::partial(),
        }
    }
}

/// The tables of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_account (
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        posted BIGINT NOT NULL,
        held BIGINT NOT NULL CHECK (held >= 0),
        overdraft BIGINT NOT NULL CHECK (overdraft >= 0),
        debt BIGINT NOT NULL CHECK (debt >= 0),
        version BIGINT NOT NULL,
        next_due BIGINT,
        head TEXT NOT NULL,
        PRIMARY KEY (tenant, owner)
    )",
    "CREATE TABLE levqor_grant (
        id TEXT NOT NULL PRIMARY KEY,
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        amount BIGINT NOT NULL,
        priority BIGINT NOT NULL,
        category TEXT NOT NULL,
        seq BIGINT NOT NULL,
        effective_at BIGINT NOT NULL,
        expires_at BIGINT,
        remaining BIGINT NOT NULL,
        held BIGINT NOT NULL,
        expired BIGINT NOT NULL,
        closed BIGINT NOT NULL,
        CHECK (0 <= held AND held <= remaining AND remaining <= amount)
    )",
    "CREATE INDEX levqor_grant_open ON levqor_grant (tenant, owner) WHERE closed = 0",
    "CREATE TABLE levqor_hold (
        id TEXT NOT NULL PRIMARY KEY,
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        amount BIGINT NOT NULL,
        opened_at BIGINT NOT NULL,
        captured BIGINT NOT NULL,
        open BIGINT NOT NULL CHECK (open >= 0),
        state TEXT NOT NULL,
        expires_at BIGINT,
        closed_at BIGINT
    )",
    "CREATE INDEX levqor_hold_due ON levqor_hold (tenant, owner, expires_at, id)
        WHERE state = 'open' AND expires_at IS NOT NULL",
    "CREATE TABLE levqor_slice (
        parent TEXT NOT NULL,
        ord BIGINT NOT NULL,
        tenant TEXT NOT NULL,
        lot TEXT,
        amount BIGINT NOT NULL,
        taken BIGINT NOT NULL,
        PRIMARY KEY (parent, ord),
        CHECK (0 <= taken AND taken <= amount)
    )",
    "CREATE TABLE levqor_txn (
        id TEXT NOT NULL PRIMARY KEY,
        tenant TEXT NOT NULL,
        kind TEXT NOT NULL,
        about TEXT NOT NULL,
        booked_at BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL
    )",
    "CREATE TABLE levqor_entry (
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        version BIGINT NOT NULL,
        txn TEXT NOT NULL,
        amount BIGINT NOT NULL CHECK (amount <> 0),
        after BIGINT NOT NULL,
        booked_at BIGINT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (tenant, owner, version)
    )",
    "CREATE INDEX levqor_entry_booked ON levqor_entry (tenant, owner, booked_at)",
];
