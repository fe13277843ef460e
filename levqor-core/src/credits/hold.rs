//! Holds: opening, capturing, closing.

use std::sync::Arc;

use super::book::{Booking, Cx, post, post_system, record};
use super::draw::{adjust, draw, due_at, lot, repay, want_lots};
use super::due::breakage;
use super::{Account, GrantState, Hold, HoldState, LedgerRows, Overage, Slice};
use crate::error::Error;
use crate::table::Step;
use crate::types::{HoldId, MicroCredits, Millis, Tenant, TxnId};

/// Opens a hold on a folded account.
pub(super) fn open(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    id: &HoldId,
    amount: MicroCredits,
    expires_at: Option<Millis>,
) -> Step<()> {
    for (ord, part) in (0..).zip(draw(rows, account, amount, true)?) {
        rows.slices
            .insert(part.slice(cx.tenant, id.as_str(), ord, MicroCredits::ZERO));
        if let Some(lot) = part.lot {
            adjust(rows, &lot.id, |g| g.held.0 += part.amount.0)?;
        }
    }
    account.held = account.held.checked_add(amount)?;
    due_at(account, expires_at);
    rows.holds.insert(Hold {
        id: id.clone(),
        tenant: cx.tenant.clone(),
        owner: account.owner.clone(),
        amount,
        opened_at: cx.now,
        captured: MicroCredits::ZERO,
        open: amount,
        state: HoldState::Open,
        expires_at,
        closed_at: None,
    });
    Ok(())
}

/// Spends from an open hold of a folded account; what is over comes from what is spendable.
pub(super) fn capture(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    hold: &Hold,
    txn: &TxnId,
    amount: MicroCredits,
    (last, overage): (bool, Overage),
) -> Step<()> {
    let inside = amount.min(hold.open);
    let over = amount.checked_sub(inside)?;
    if over.0 > 0 && overage == Overage::Reject {
        return Err(Error::conflict(
            "ledger.capture_exceeds_hold",
            format!("the hold {} reserves {}, {amount} were to be captured", hold.id, hold.open),
        )
        .hint("capture at most what is held, or allow the overage")
        .into());
    }
    let slices = slices_of(rows, hold)?;
    want_lots(rows, slices.iter().map(AsRef::as_ref));
    let mut left = inside.0;
    for slice in &slices {
        let part = left.min(slice.amount.0 - slice.taken.0);
        if part == 0 {
            continue;
        }
        left -= part;
        take(rows, account, slice.lot.as_ref(), part, part)?;
        rows.slices.put(Slice {
            taken: MicroCredits(slice.taken.0 + part),
            ..(**slice).clone()
        })?;
    }
    account.held = account.held.checked_sub(inside)?;
    if over.0 > 0 {
        for (ord, part) in (0..).zip(draw(rows, account, over, true)?) {
            let ord = ord + i64::try_from(slices.len()).unwrap_or(i64::MAX);
            rows.slices.insert(part.slice(cx.tenant, hold.id.as_str(), ord, part.amount));
            take(rows, account, part.lot.as_ref().map(|g| &g.id), part.amount.0, 0)?;
        }
    }
    let what = Booking {
        id: txn.clone(),
        kind: "capture",
        about: hold.id.as_str(),
        booked_at: cx.now,
    };
    post(rows, cx, account, MicroCredits(-amount.0), &what)?;
    post_system(rows, cx, "revenue", amount, &what)?;
    record(rows, cx, &account.owner, amount, hold.captured, &what);
    let captured = Hold {
        captured: hold.captured.checked_add(amount)?,
        open: hold.open.checked_sub(inside)?,
        ..hold.clone()
    };
    if last || captured.open == MicroCredits::ZERO {
        close(rows, cx, account, &captured, HoldState::Captured, cx.now)
    } else {
        rows.holds.put(captured)
    }
}

/// Spends from a grant, of which so much was held, or below zero.
pub(super) fn take(
    rows: &mut LedgerRows,
    account: &mut Account,
    lot: Option<&crate::types::GrantId>,
    part: i64,
    held: i64,
) -> Step<()> {
    let Some(id) = lot else {
        account.debt = account.debt.checked_add(MicroCredits(part))?;
        return Ok(());
    };
    adjust(rows, id, |g| {
        g.remaining.0 -= part;
        g.held.0 -= held;
    })
}

fn slices_of(rows: &mut LedgerRows, hold: &Hold) -> Step<Vec<Arc<Slice>>> {
    slices(rows, hold.id.as_str())
}

/// The slices of a hold or a transaction, in the order of drawing.
pub(super) fn slices(rows: &mut LedgerRows, parent: &str) -> Step<Vec<Arc<Slice>>> {
    let mut slices = rows.slices.group(&(parent.into(),))?;
    slices.sort_unstable_by_key(|s| s.ord);
    Ok(slices)
}

/// The hold of an id, whatever became of it.
pub(super) fn find(rows: &mut LedgerRows, id: &HoldId, tenant: &Tenant) -> Step<Arc<Hold>> {
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
    cx: Cx<'_>,
    account: &mut Account,
    hold: &Hold,
    state: HoldState,
    at: Millis,
) -> Step<()> {
    let mut lost = MicroCredits::ZERO;
    if hold.open > MicroCredits::ZERO {
        let slices = slices_of(rows, hold)?;
        let back = |s: &Slice| s.amount.0 - s.taken.0;
        want_lots(rows, slices.iter().map(AsRef::as_ref).filter(|s| back(s) > 0));
        for slice in &slices {
            let back = back(slice);
            let Some(id) = slice.lot.as_ref().filter(|_| back > 0) else {
                continue;
            };
            if lot(rows, id)?.state == GrantState::Expired {
                lost = lost.checked_add(MicroCredits(back))?;
                adjust(rows, id, |g| {
                    g.remaining.0 -= back;
                    g.held.0 -= back;
                    g.broken.0 += back;
                })?;
            } else {
                let repaid = repay(account, MicroCredits(back));
                adjust(rows, id, |g| {
                    g.remaining.0 -= repaid.0;
                    g.held.0 -= back;
                })?;
            }
        }
    }
    account.held = account.held.checked_sub(hold.open)?;
    rows.holds.put(Hold {
        open: MicroCredits::ZERO,
        state,
        closed_at: Some(at),
        ..hold.clone()
    })?;
    breakage(rows, cx, account, lost, hold.id.as_str(), at)
}
