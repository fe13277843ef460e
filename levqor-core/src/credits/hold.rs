//! Drawing from grants, and closing holds.

use std::sync::Arc;

use super::due::breakage;
use super::{Account, Drawn, Grant, Hold, HoldState, LedgerRows, Slice};
use crate::error::{Error, ErrorKind};
use crate::table::Step;
use crate::types::{GrantId, HoldId, MicroCredits, Millis};

/// Picks what an amount is drawn from: live grants in the order of drawing, then the overdraft.
/// Nothing is changed.
pub(super) fn draw(rows: &mut LedgerRows, account: &Account, amount: MicroCredits, now: Millis) -> Step<Vec<Drawn>> {
    let grants = rows.grants.group(&(account.tenant.clone(), account.owner.clone()))?;
    let mut live: Vec<&Arc<Grant>> = grants
        .iter()
        .filter(|g| !g.expired && g.effective_at <= now && g.held < g.remaining)
        .collect();
    live.sort_by_key(|g| {
        (
            g.priority,
            g.expires_at.unwrap_or(Millis::MAX),
            g.category,
            g.effective_at,
            g.seq,
            g.id.clone(),
        )
    });
    let mut left = amount.0;
    let mut drawn = Vec::new();
    for grant in live {
        let part = left.min(grant.remaining.0 - grant.held.0);
        if part > 0 {
            drawn.push(Drawn {
                lot: Some(grant.id.clone()),
                amount: MicroCredits(part),
            });
            left -= part;
        }
        if left == 0 {
            return Ok(drawn);
        }
    }
    // Below zero only as far as the overdraft goes, less what was spent or is held there already.
    let in_grants: i64 = grants.iter().map(|g| g.held.0).sum();
    let room = account
        .overdraft
        .0
        .saturating_sub(account.debt.0)
        .saturating_sub(account.held.0 - in_grants)
        .max(0);
    if left > room {
        let spendable = MicroCredits((amount.0 - left).saturating_add(room));
        return Err(insufficient(account, amount, spendable).into());
    }
    drawn.push(Drawn {
        lot: None,
        amount: MicroCredits(left),
    });
    Ok(drawn)
}

fn insufficient(account: &Account, amount: MicroCredits, spendable: MicroCredits) -> Error {
    Error::new(
        ErrorKind::Insufficient,
        "ledger.insufficient_credits",
        format!("`{}` has {spendable} credits to spend, {amount} are needed", account.owner),
    )
    .hint("grant credits, or ask for less")
    .with("needed", amount.to_string())
    .with("spendable", spendable.to_string())
}

/// Changes one grant by what it holds and what remains of it, and closes it when it is empty.
pub(super) fn change(rows: &mut LedgerRows, lot: &GrantId, remaining: i64, held: i64) -> Step<()> {
    let Some(old) = rows.grants.get(&(lot.clone(),))? else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "ledger.grant_missing",
            format!("a slice names the grant {lot}, which does not exist"),
        )
        .into());
    };
    let mut grant = (*old).clone();
    grant.remaining = grant.remaining.checked_add(MicroCredits(remaining))?;
    grant.held = grant.held.checked_add(MicroCredits(held))?;
    if grant.held.0 < 0 || grant.held > grant.remaining || grant.remaining > grant.amount {
        return Err(Error::internal(format!("the grant {lot} would hold {} of {}", grant.held, grant.remaining)).into());
    }
    grant.closed = grant.remaining == MicroCredits::ZERO;
    rows.grants.put(grant)
}

pub(super) fn slices_of(rows: &mut LedgerRows, hold: &Hold) -> Step<Vec<Arc<Slice>>> {
    let mut slices = rows.slices.group(&(hold.id.as_str().into(),))?;
    slices.sort_by_key(|s| s.ord);
    Ok(slices)
}

/// The open hold of an id, or the error that says what became of it.
pub(super) fn open_hold(rows: &mut LedgerRows, id: &HoldId, tenant: &crate::types::Tenant) -> Step<Arc<Hold>> {
    match rows.holds.get(&(id.clone(),))?.filter(|h| h.tenant == *tenant) {
        Some(hold) => Ok(hold),
        None => Err(Error::not_found("ledger.hold_not_found", format!("there is no hold {id}")).into()),
    }
}

/// Refuses a hold that is closed.
pub(super) fn still_open(hold: &Hold) -> Step<()> {
    let code = match hold.state {
        HoldState::Open => return Ok(()),
        HoldState::Captured => "ledger.hold_already_captured",
        HoldState::Released => "ledger.hold_already_released",
        HoldState::Expired => "ledger.hold_expired",
    };
    Err(Error::conflict(code, format!("the hold {} is {} already", hold.id, hold.state.as_str())).into())
}

/// Closes an open hold: what it still reserves goes back to its grants, and of grants that have run out
/// becomes breakage.
pub(super) fn close(
    rows: &mut LedgerRows,
    account: &mut Account,
    hold: &Hold,
    state: HoldState,
    at: Millis,
    now: Millis,
    stripe: u16,
) -> Step<()> {
    let mut lost = MicroCredits::ZERO;
    for slice in slices_of(rows, hold)? {
        let back = slice.amount.0 - slice.taken.0;
        let Some(lot) = slice.lot.as_ref().filter(|_| back > 0) else {
            continue;
        };
        let expired = rows.grants.get(&(lot.clone(),))?.is_some_and(|g| g.expired);
        if expired {
            change(rows, lot, -back, -back)?;
            lost = lost.checked_add(MicroCredits(back))?;
        } else {
            // What was spent below zero is repaid first.
            let repaid = account.debt.0.min(back);
            account.debt = MicroCredits(account.debt.0 - repaid);
            change(rows, lot, -repaid, -back)?;
        }
    }
    account.held = account.held.checked_sub(hold.open)?;
    rows.holds.put(Hold {
        open: MicroCredits::ZERO,
        state,
        closed_at: Some(at),
        ..hold.clone()
    })?;
    breakage(rows, account, lost, hold.id.as_str(), at, now, stripe)
}
