//! What runs out by the clock.

use super::book::{Booking, book, system};
use super::hold::close;
use super::{Account, Grant, Hold, HoldState, LedgerRows};
use crate::table::Step;
use crate::types::{MicroCredits, Millis, TxnId};

/// Folds in every hold and grant that has run out by `now`, in the order of time, holds before grants
/// at the same instant, and brings `next_due` up to date. Booked at the instant it was due.
pub(super) fn fold(rows: &mut LedgerRows, account: &mut Account, now: Millis, stripe: u16) -> Step<()> {
    if account.next_due.is_none_or(|due| due > now) {
        return Ok(());
    }
    let key = (account.tenant.clone(), account.owner.clone());
    loop {
        let hold = rows
            .holds
            .first(&key, 1, i64::MAX)?
            .pop()
            .filter(|h| h.expires_at.is_some_and(|at| at <= now));
        let grants = rows.grants.group(&key)?;
        let grant = grants
            .iter()
            .filter(|g| !g.expired && g.expires_at.is_some_and(|at| at <= now))
            .min_by_key(|g| (g.expires_at, g.seq));
        match (hold, grant) {
            (Some(h), g) if g.is_none_or(|g| h.expires_at <= g.expires_at) => {
                let at = h.expires_at.unwrap_or(now);
                close(rows, account, &h, HoldState::Expired, at, now, stripe)?;
            }
            (_, Some(g)) => expire(rows, account, g, now, stripe)?,
            _ => break,
        }
    }
    refresh(rows, account)
}

/// Brings `next_due` up to date with the live grants and the first hold that runs out.
pub(super) fn refresh(rows: &mut LedgerRows, account: &mut Account) -> Step<()> {
    let key = (account.tenant.clone(), account.owner.clone());
    let hold = rows.holds.first(&key, 1, i64::MAX)?.pop().and_then(|h| h.expires_at);
    let grants = rows.grants.group(&key)?;
    let grant = grants.iter().filter(|g| !g.expired).filter_map(|g| g.expires_at).min();
    account.next_due = hold.into_iter().chain(grant).min();
    Ok(())
}

/// The same after a hold was closed, which matters only if it was the next to run out.
pub(super) fn refresh_without(rows: &mut LedgerRows, account: &mut Account, closed: &Hold) -> Step<()> {
    if closed.expires_at.is_some() && closed.expires_at == account.next_due {
        refresh(rows, account)?;
    }
    Ok(())
}

/// A grant runs out: what no hold reserves is breakage; the held part stays until its hold closes.
fn expire(rows: &mut LedgerRows, account: &mut Account, grant: &Grant, now: Millis, stripe: u16) -> Step<()> {
    let at = grant.expires_at.unwrap_or(now);
    let free = MicroCredits(grant.remaining.0 - grant.held.0);
    rows.grants.put(Grant {
        expired: true,
        remaining: grant.held,
        closed: grant.held == MicroCredits::ZERO,
        ..grant.clone()
    })?;
    breakage(rows, account, free, grant.id.as_str(), at, now, stripe)
}

/// Credits that nobody can use any more.
pub(super) fn breakage(
    rows: &mut LedgerRows,
    account: &mut Account,
    amount: MicroCredits,
    about: &str,
    at: Millis,
    now: Millis,
    stripe: u16,
) -> Step<()> {
    if amount == MicroCredits::ZERO {
        return Ok(());
    }
    let what = Booking {
        id: TxnId::new(now),
        kind: "breakage",
        about,
        booked_at: at,
        now,
    };
    book(rows, account, MicroCredits(-amount.0), &system("breakage", stripe), what)
}
