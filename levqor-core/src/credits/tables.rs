use super::{Account, Entry, Grant, GrantSource, Hold, Slice, Txn};
use crate::table::Table;

/// The ledger's tables.
pub struct LedgerRows {
    /// Accounts.
    pub accounts: Table<Account>,
    /// Grants.
    pub grants: Table<Grant>,
    /// Sources of grants.
    pub sources: Table<GrantSource>,
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
            sources: Table::complete(),
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
            sources: Table::partial(),
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
        frozen BIGINT NOT NULL,
        version BIGINT NOT NULL,
        grants BIGINT NOT NULL,
        next_due BIGINT,
        booked_to BIGINT NOT NULL,
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
        source TEXT,
        paid_minor BIGINT,
        currency TEXT,
        remaining BIGINT NOT NULL,
        held BIGINT NOT NULL,
        broken BIGINT NOT NULL,
        refunded_minor BIGINT NOT NULL,
        clawed BIGINT NOT NULL,
        state TEXT NOT NULL,
        closed BIGINT NOT NULL,
        CHECK (0 <= held AND held <= remaining AND remaining <= amount),
        CHECK (0 <= broken AND broken <= amount AND 0 <= clawed AND clawed <= amount)
    )",
    "CREATE INDEX levqor_grant_open ON levqor_grant (tenant, owner) WHERE closed = 0",
    "CREATE INDEX levqor_grant_closed ON levqor_grant (tenant, owner) WHERE closed = 1",
    "CREATE TABLE levqor_grant_source (
        tenant TEXT NOT NULL,
        source TEXT NOT NULL,
        lot TEXT NOT NULL,
        PRIMARY KEY (tenant, source)
    )",
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
        owner TEXT NOT NULL,
        kind TEXT NOT NULL,
        about TEXT NOT NULL,
        amount BIGINT NOT NULL,
        start BIGINT NOT NULL,
        booked_at BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL,
        refunded BIGINT NOT NULL,
        CHECK (0 <= refunded AND refunded <= amount)
    )",
    "CREATE TABLE levqor_entry (
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        version BIGINT NOT NULL,
        txn TEXT NOT NULL,
        amount BIGINT NOT NULL CHECK (amount <> 0),
        after BIGINT NOT NULL,
        booked_at BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL,
        late BIGINT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (tenant, owner, version)
    )",
    "CREATE INDEX levqor_entry_booked ON levqor_entry (tenant, owner, booked_at, version)",
    "CREATE INDEX levqor_entry_late ON levqor_entry (tenant, owner, version) WHERE late = 1",
];
