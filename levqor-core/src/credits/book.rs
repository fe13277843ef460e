//! Booking: entries that sum to zero, versions without gaps, a hash chain.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Account, Entry, LedgerRows, Txn};
use crate::table::Step;
use crate::types::{MicroCredits, Millis, Tenant, TxnId};

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
            version: 0,
            next_due: None,
            head: "".into(),
        },
        |a| (*a).clone(),
    ))
}

/// Where a system account's part of this process is.
pub(super) fn system(name: &str, stripe: u16) -> Arc<str> {
    format!("levqor:{name}#{stripe}").into()
}

/// What a transaction is about.
pub(super) struct Booking<'a> {
    pub(super) id: TxnId,
    pub(super) kind: &'a str,
    pub(super) about: &'a str,
    pub(super) booked_at: Millis,
    pub(super) now: Millis,
}

/// Books an amount onto a user's account and its opposite onto a system account. The user's account is
/// changed in place; the caller writes it.
pub(super) fn book(
    rows: &mut LedgerRows,
    account: &mut Account,
    amount: MicroCredits,
    against: &Arc<str>,
    what: Booking<'_>,
) -> Step<()> {
    let mut other = self::account(rows, &account.tenant, against)?;
    post(rows, account, amount, &what)?;
    post(rows, &mut other, MicroCredits::ZERO.checked_sub(amount)?, &what)?;
    rows.accounts.put(other)?;
    rows.txns.insert(Txn {
        id: what.id,
        tenant: account.tenant.clone(),
        kind: what.kind.into(),
        about: what.about.into(),
        booked_at: what.booked_at,
        recorded_at: what.now,
    });
    Ok(())
}

fn post(rows: &mut LedgerRows, account: &mut Account, amount: MicroCredits, what: &Booking<'_>) -> Step<()> {
    account.posted = account.posted.checked_add(amount)?;
    account.version += 1;
    account.head = link(&account.head, account, &what.id, amount, what.booked_at);
    rows.entries.insert(Entry {
        tenant: account.tenant.clone(),
        owner: account.owner.clone(),
        version: account.version,
        txn: what.id.clone(),
        amount,
        after: account.posted,
        booked_at: what.booked_at,
        hash: account.head.clone(),
    });
    Ok(())
}

/// The hash of an entry: SHA-256 over the hash before it and its fields, one a line.
pub(super) fn link(before: &str, account: &Account, txn: &TxnId, amount: MicroCredits, booked_at: Millis) -> Arc<str> {
    let text = format!(
        "{before}\n{}\n{}\n{}\n{txn}\n{}\n{}\n{}",
        account.tenant, account.owner, account.version, amount.0, account.posted.0, booked_at.0
    );
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in hash.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.into()
}
