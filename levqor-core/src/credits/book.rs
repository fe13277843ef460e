//! Booking: entries that sum to zero, versions without gaps, a hash chain.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Account, Entry, LedgerRows, Txn};
use crate::table::Step;
use crate::types::{MicroCredits, Millis, Tenant, TxnId};

/// What the names of the ledger's own accounts start with.
pub const SYSTEM: &str = "levqor:";

/// Where an operation happens.
#[derive(Clone, Copy)]
pub(super) struct Cx<'a> {
    /// Whose data.
    pub(super) tenant: &'a Tenant,
    /// When.
    pub(super) now: Millis,
    /// Which part of the system accounts is booked against.
    pub(super) stripe: u16,
}

impl Cx<'_> {
    /// Where a system account's part of this process is.
    pub(super) fn system(&self, name: &str) -> Arc<str> {
        format!("{SYSTEM}{name}#{}", self.stripe).into()
    }
}

/// The account of a name, as it is or as it would be if it were new.
pub(super) fn account(rows: &mut LedgerRows, tenant: &Tenant, owner: &Arc<str>) -> Step<Account> {
    let found = rows.accounts.get(&(tenant.clone(), owner.clone()))?;
    Ok(found.map_or_else(
        || Account {
            tenant: tenant.clone(),
            owner: owner.clone(),
            posted: MicroCredits::ZERO,
            held: MicroCredits::ZERO,
            overdraft: MicroCredits::ZERO,
            debt: MicroCredits::ZERO,
            frozen: false,
            version: 0,
            grants: 0,
            next_due: None,
            booked_to: Millis::ZERO,
            head: "".into(),
        },
        |a| (*a).clone(),
    ))
}

/// What a transaction is about.
pub(super) struct Booking<'a> {
    pub(super) id: TxnId,
    pub(super) kind: &'static str,
    pub(super) about: &'a str,
    pub(super) booked_at: Millis,
}

/// Books an amount onto a user's account and its opposite onto a system account. The user's account is
/// changed in place; the caller writes it.
pub(super) fn book(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    amount: MicroCredits,
    against: &str,
    what: &Booking<'_>,
) -> Step<()> {
    post(rows, cx, account, amount, what)?;
    post_system(rows, cx, against, opposite(amount)?, what)?;
    record(rows, cx, &account.owner, magnitude(amount)?, MicroCredits::ZERO, what);
    Ok(())
}

/// The amount with the other sign.
pub(super) fn opposite(amount: MicroCredits) -> Step<MicroCredits> {
    Ok(MicroCredits::ZERO.checked_sub(amount)?)
}

fn magnitude(amount: MicroCredits) -> Step<MicroCredits> {
    if amount.0 < 0 { opposite(amount) } else { Ok(amount) }
}

/// Writes a transaction down; its entries are posted one by one.
pub(super) fn record(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    owner: &Arc<str>,
    amount: MicroCredits,
    start: MicroCredits,
    what: &Booking<'_>,
) {
    rows.txns.insert(Txn {
        id: what.id.clone(),
        tenant: cx.tenant.clone(),
        owner: owner.clone(),
        kind: what.kind.into(),
        about: what.about.into(),
        amount,
        start,
        booked_at: what.booked_at,
        recorded_at: cx.now,
        refunded: MicroCredits::ZERO,
    });
}

/// Posts an entry onto a system account, and writes the account.
pub(super) fn post_system(rows: &mut LedgerRows, cx: Cx<'_>, name: &str, amount: MicroCredits, what: &Booking<'_>) -> Step<()> {
    let mut system = account(rows, cx.tenant, &cx.system(name))?;
    post(rows, cx, &mut system, amount, what)?;
    rows.accounts.put(system)
}

/// Posts an entry onto an account that is changed in place.
pub(super) fn post(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    amount: MicroCredits,
    what: &Booking<'_>,
) -> Step<()> {
    account.posted = account.posted.checked_add(amount)?;
    account.version += 1;
    let late = account.version > 1 && what.booked_at < account.booked_to;
    if !late {
        account.booked_to = what.booked_at;
    }
    let mut entry = Entry {
        tenant: account.tenant.clone(),
        owner: account.owner.clone(),
        version: account.version,
        txn: what.id.clone(),
        amount,
        after: account.posted,
        booked_at: what.booked_at,
        recorded_at: cx.now,
        late,
        hash: "".into(),
    };
    entry.hash = link(&account.head, &entry, what.kind);
    account.head = entry.hash.clone();
    rows.entries.insert(entry);
    Ok(())
}

/// The hash of an entry: SHA-256 over the hash before it, its fields and its transaction's kind, one a
/// line. (A name may have line breaks, so its length is told.)
pub(super) fn link(before: &str, e: &Entry, kind: &str) -> Arc<str> {
    let text = format!(
        "{before}\n{}\n{} {}\n{}\n{}\n{kind}\n{}\n{}\n{}\n{}\n{}",
        e.tenant,
        e.owner.len(),
        e.owner,
        e.version,
        e.txn,
        e.amount.0,
        e.after.0,
        e.booked_at.0,
        e.recorded_at.0,
        u8::from(e.late)
    );
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in hash.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.into()
}
