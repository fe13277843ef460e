//! Spending at once, moving, and giving back.

use std::sync::Arc;

use super::book::{Booking, Cx, book, opposite, post, record};
use super::draw::{adjust, draw, due_at, lot, repay, want_lots};
use super::due::breakage;
use super::grant::add;
use super::hold::{slices, take};
use super::{Account, Category, Grant, GrantState, LedgerRows, OnExpired, Txn};
use crate::error::Error;
use crate::table::Step;
use crate::types::{GrantId, MicroCredits, Millis, TxnId};

const DAY: i64 = 24 * 3_600_000;

/// Draws an amount from a folded account and books it as revenue at once.
pub(super) fn spend(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account, amount: MicroCredits, txn: &TxnId) -> Step<()> {
    for (ord, part) in (0..).zip(draw(rows, account, amount, true)?) {
        rows.slices.insert(part.slice(cx.tenant, txn.as_str(), ord, part.amount));
        take(rows, account, part.lot.as_ref().map(|g| &g.id), part.amount.0, 0)?;
    }
    let what = Booking {
        id: txn.clone(),
        kind: "spend",
        about: txn.as_str(),
        booked_at: cx.now,
    };
    book(rows, cx, account, opposite(amount)?, "revenue", &what)
}

/// Moves an amount between two folded accounts, as lots that keep their terms.
pub(super) fn transfer(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    (from, to): (&mut Account, &mut Account),
    amount: MicroCredits,
    txn: &TxnId,
) -> Step<()> {
    let what = Booking {
        id: txn.clone(),
        kind: "transfer",
        about: &to.owner.clone(),
        booked_at: cx.now,
    };
    let drawn = draw(rows, from, amount, false)?;
    post(rows, cx, from, opposite(amount)?, &what)?;
    post(rows, cx, to, amount, &what)?;
    record(rows, cx, &from.owner, amount, MicroCredits::ZERO, &what);
    for (ord, part) in (0..).zip(drawn) {
        rows.slices.insert(part.slice(cx.tenant, txn.as_str(), ord, part.amount));
        if let Some(lot) = part.lot {
            adjust(rows, &lot.id, |g| g.remaining.0 -= part.amount.0)?;
            let terms = Terms {
                priority: lot.priority,
                category: lot.category,
                effective_at: lot.effective_at,
                expires_at: lot.expires_at,
            };
            again(rows, cx, to, part.amount, &terms, (txn, ord));
        }
    }
    Ok(())
}

/// What a lot that is made of another one keeps of it.
struct Terms {
    priority: i64,
    category: Category,
    effective_at: Millis,
    expires_at: Option<Millis>,
}

/// A new lot of credits that were granted before.
fn again(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account, amount: MicroCredits, terms: &Terms, of: (&TxnId, i64)) {
    account.grants += 1;
    let lot = Grant {
        id: GrantId::derived(cx.now, &format!("{}\n{}", of.0, of.1)),
        tenant: cx.tenant.clone(),
        owner: account.owner.clone(),
        amount,
        priority: terms.priority,
        category: terms.category,
        seq: account.grants,
        effective_at: terms.effective_at,
        expires_at: terms.expires_at,
        source: None,
        paid_minor: None,
        currency: None,
        remaining: amount,
        held: MicroCredits::ZERO,
        broken: MicroCredits::ZERO,
        refunded_minor: 0,
        clawed: MicroCredits::ZERO,
        state: GrantState::Live,
        closed: false,
    };
    add(rows, account, lot);
}

/// The spend or capture of an id.
pub(super) fn refundable(rows: &mut LedgerRows, cx: Cx<'_>, id: &TxnId) -> Step<Arc<Txn>> {
    match rows.txns.get(&(id.clone(),))?.filter(|t| t.tenant == *cx.tenant) {
        Some(txn) if matches!(&*txn.kind, "spend" | "capture") => Ok(txn),
        Some(txn) => {
            let message = format!("{id} is a {}, and only a spend or a capture can be refunded", txn.kind);
            Err(Error::conflict("ledger.not_refundable", message).into())
        }
        None => Err(Error::not_found("ledger.transaction_not_found", format!("there is no transaction {id}")).into()),
    }
}

/// Gives back what a transaction of a folded account drew, last drawn first. Says how much.
pub(super) fn refund(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    of: &Txn,
    txn: &TxnId,
    amount: Option<MicroCredits>,
    on_expired: OnExpired,
) -> Step<MicroCredits> {
    let left = of.amount.checked_sub(of.refunded)?;
    let amount = amount.unwrap_or(left);
    if amount > left || left == MicroCredits::ZERO {
        let message = format!("{left} of {} are left to refund of {}, not {amount}", of.amount, of.id);
        return Err(Error::conflict("ledger.exceeds_refundable", message)
            .with("refundable", left.to_string())
            .into());
    }
    let regrant_until = match on_expired {
        OnExpired::Expire => None,
        OnExpired::Regrant(0) => {
            let message = "credits that are granted again must last for at least a day";
            return Err(Error::invalid("ledger.invalid_expiry", message).at("on_expired").into());
        }
        OnExpired::Regrant(days) => Some(cx.now.saturating_add(Millis(i64::from(days) * DAY))),
    };
    // A capture drew a stretch of what its hold drew; the end of it may have been given back already.
    let parent = if &*of.kind == "capture" { &of.about } else { of.id.as_str() };
    let slices = slices(rows, parent)?;
    let (from, to) = (of.start.0 + left.0 - amount.0, of.start.0 + left.0);
    let mut parts = Vec::new();
    let mut begin = 0;
    for slice in &slices {
        let end = begin + slice.taken.0;
        let part = end.min(to) - begin.max(from);
        if part > 0 {
            parts.push((&**slice, part));
        }
        begin = end;
    }
    want_lots(rows, parts.iter().map(|(s, _)| *s));

    let what = Booking {
        id: txn.clone(),
        kind: "refund",
        about: of.id.as_str(),
        booked_at: cx.now,
    };
    book(rows, cx, account, amount, "revenue", &what)?;
    let mut lost = MicroCredits::ZERO;
    for (ord, (slice, part)) in (0..).zip(parts.into_iter().rev()) {
        let part = MicroCredits(part);
        let Some(id) = &slice.lot else {
            // Spent below zero; what of it was repaid since comes back as credits without an end.
            let rest = part.checked_sub(repay(account, part))?;
            if rest > MicroCredits::ZERO {
                let terms = Terms {
                    priority: 100,
                    category: Category::Paid,
                    effective_at: cx.now,
                    expires_at: None,
                };
                again(rows, cx, account, rest, &terms, (txn, ord));
            }
            continue;
        };
        let old = lot(rows, id)?;
        match (old.expires_at.is_some_and(|at| at <= cx.now), regrant_until) {
            (false, _) => {
                let repaid = repay(account, part);
                adjust(rows, id, |g| g.remaining.0 += part.0 - repaid.0)?;
                due_at(account, old.expires_at);
            }
            (true, Some(until)) => {
                let terms = Terms {
                    priority: old.priority,
                    category: old.category,
                    effective_at: cx.now,
                    expires_at: Some(until),
                };
                again(rows, cx, account, part, &terms, (txn, ord));
            }
            (true, None) => {
                adjust(rows, id, |g| g.broken.0 += part.0)?;
                lost = lost.checked_add(part)?;
            }
        }
    }
    rows.txns.put(Txn {
        refunded: of.refunded.checked_add(amount)?,
        ..of.clone()
    })?;
    breakage(rows, cx, account, lost, txn.as_str(), cx.now)?;
    Ok(amount)
}
