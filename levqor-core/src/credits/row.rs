use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Category;
use crate::table::{row, text_enum};
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
        /// Owed: spent below zero, or taken back after it was spent. The next credits repay it.
        debt: MicroCredits;
        /// Whether nothing can be drawn from it.
        frozen: bool;
        /// How many entries it has.
        version: i64;
        /// How many grants it has had: the order of equals.
        grants: i64;
        /// Nothing begins or ends by the clock before this instant. (What ended early leaves it too
        /// early, which costs one look; it is never too late.)
        next_due: Option<Millis>;
        /// The latest instant that an entry counts at.
        booked_to: Millis;
        /// The hash of its last entry.
        head: Arc<str>;
    }
    key(tenant: Tenant, owner: Arc<str>)
    group() when |_row| false;
    lock true
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// It has not begun; nothing of it counts.
    Pending,
    /// It can be drawn from.
    Live,
    /// It has run out: only its held part counts.
    Expired,
}

text_enum!(GrantState { Pending = "pending", Live = "live", Expired = "expired" });

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
        /// Its number among the account's grants; the order of equals.
        seq: i64, fixed;
        /// Usable from then on.
        effective_at: Millis, fixed;
        /// Usable until then.
        expires_at: Option<Millis>, fixed;
        /// What it stands for outside (an invoice, a campaign); unique in the tenant.
        source: Option<Arc<str>>, fixed;
        /// What was paid for it, in minor units.
        paid_minor: Option<i64>, fixed;
        /// The currency of that.
        currency: Option<Arc<str>>, fixed;
        /// What is not spent.
        remaining: MicroCredits;
        /// What open holds reserve of it.
        held: MicroCredits;
        /// What of it nobody could use any more when it ran out.
        broken: MicroCredits;
        /// How much of the payment was paid back.
        refunded_minor: i64;
        /// How much was taken back for that.
        clawed: MicroCredits;
        /// Where it stands.
        state: GrantState;
        /// Whether nothing of it is left.
        closed: bool;
    }
    key(id: GrantId)
    group(tenant: Tenant, owner: Arc<str>) when |g| !g.closed;
    open "closed = 0";
    lock false
}

row! {
    /// Makes a grant's source unique.
    pub struct GrantSource in "levqor_grant_source" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// The source.
        source: Arc<str>, fixed;
        /// The grant that was made for it.
        lot: GrantId, fixed;
    }
    key(tenant: Tenant, source: Arc<str>)
    group() when |_row| false;
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
        /// How much was captured by it; more than was reserved, if an overage was allowed.
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
    /// What a hold, a spend or a transfer drew from one grant (or, without one, from the overdraft).
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
        /// The account that it is about.
        owner: Arc<str>, fixed;
        /// `grant`, `spend`, `capture`, `breakage`, `refund`, `clawback`, `transfer`.
        kind: Arc<str>, fixed;
        /// What it belongs to: a grant, a hold, the transaction that a refund takes back, the account
        /// that a transfer goes to.
        about: Arc<str>, fixed;
        /// How much it moved.
        amount: MicroCredits, fixed;
        /// What was captured from the same hold before it.
        start: MicroCredits, fixed;
        /// When it counts.
        booked_at: Millis, fixed;
        /// When it was written down.
        recorded_at: Millis, fixed;
        /// How much of it was given back.
        refunded: MicroCredits;
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
        /// When it was written down.
        recorded_at: Millis, fixed;
        /// Whether one with a lower number counts later than it.
        late: bool, fixed;
        /// SHA-256, in hex, of the hash before it and its own fields.
        hash: Arc<str>, fixed;
    }
    key(tenant: Tenant, owner: Arc<str>, version: i64)
    group(tenant: Tenant, owner: Arc<str>) when |e| e.late;
    open "late = 1";
    lock false
}
