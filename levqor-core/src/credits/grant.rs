//! Grants, and taking them back.

use super::book::{Booking, Cx, book, post, post_system, record};
use super::draw::{due_at, repay};
use super::{Account, Category, Grant, GrantSource, GrantState, LedgerRows, NewGrant};
use crate::error::{Error, Result};
use crate::table::Step;
use crate::types::{MicroCredits, Millis, Money, TxnId};

/// The system account that a grant comes from.
pub(super) fn issued(category: Category) -> &'static str {
    match category {
        Category::Promo => "issued:promo",
        Category::Paid => "issued:paid",
    }
}

/// Refuses what can be seen to be wrong without looking at the ledger.
pub(super) fn check(new: &NewGrant, now: Millis) -> Result<()> {
    let effective_at = new.effective_at.unwrap_or(now);
    let ends = new.expires.map(|e| e.after(effective_at));
    if ends.is_some_and(|at| at <= effective_at.max(now)) {
        let message = "a grant must end after now, and after it begins";
        return Err(Error::invalid("ledger.invalid_expiry", message).at("expires"));
    }
    if !(0..=255).contains(&new.priority) {
        let message = format!("a priority lies between 0 and 255, not {}", new.priority);
        return Err(Error::invalid("ledger.invalid_priority", message).at("priority"));
    }
    if new.booked_at.is_some_and(|at| at > now) || (new.booked_at.is_some() && effective_at > now) {
        let message = "a grant cannot be booked in the future; what begins later is booked when it begins";
        return Err(Error::invalid("ledger.invalid_booking", message).at("booked_at"));
    }
    if let Some(paid) = &new.paid {
        check_money(paid, 1, "paid")?;
    }
    if let Some(source) = &new.source
        && (source.is_empty() || source.len() > 255 || source.contains('\0'))
    {
        let message = "a source has 1 to 255 bytes and no NUL character";
        return Err(Error::invalid("ledger.invalid_source", message).at("source"));
    }
    Ok(())
}

fn check_money(money: &Money, least: i64, place: &str) -> Result<()> {
    if money.minor < least {
        let message = format!("{} is not an amount that can have been paid", money.minor);
        return Err(Error::invalid("ledger.invalid_money", message).at(place));
    }
    if money.currency.len() != 3 || !money.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        let message = "a currency is three capital letters (ISO 4217)";
        return Err(Error::invalid("ledger.invalid_money", message).at(place));
    }
    Ok(())
}

/// Makes a grant on a folded account.
pub(super) fn grant(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account, new: &NewGrant) -> Step<()> {
    if let Some(source) = &new.source {
        if let Some(old) = rows.sources.get(&(cx.tenant.clone(), source.clone()))? {
            let message = format!("the grant {} was made for `{source}` already", old.lot);
            return Err(Error::conflict("ledger.source_taken", message)
                .with("grant", old.lot.as_str())
                .into());
        }
        rows.sources.insert(GrantSource {
            tenant: cx.tenant.clone(),
            source: source.clone(),
            lot: new.id.clone(),
        });
    }
    let effective_at = new.effective_at.unwrap_or(cx.now);
    account.grants += 1;
    let mut made = Grant {
        id: new.id.clone(),
        tenant: cx.tenant.clone(),
        owner: account.owner.clone(),
        amount: new.amount,
        priority: new.priority,
        category: new.category,
        seq: account.grants,
        effective_at,
        expires_at: new.expires.map(|e| e.after(effective_at)),
        source: new.source.clone(),
        paid_minor: new.paid.as_ref().map(|m| m.minor),
        currency: new.paid.as_ref().map(|m| m.currency.as_str().into()),
        remaining: new.amount,
        held: MicroCredits::ZERO,
        broken: MicroCredits::ZERO,
        refunded_minor: 0,
        clawed: MicroCredits::ZERO,
        state: GrantState::Pending,
        closed: false,
    };
    if effective_at > cx.now {
        due_at(account, Some(effective_at));
        rows.grants.insert(made);
        return Ok(());
    }
    let what = Booking {
        id: new.txn.clone(),
        kind: "grant",
        about: new.id.as_str(),
        booked_at: new.booked_at.unwrap_or(cx.now),
    };
    book(rows, cx, account, new.amount, issued(new.category), &what)?;
    made.state = GrantState::Live;
    add(rows, account, made);
    Ok(())
}

/// Adds a live lot to an account whose entry is posted: what is owed is repaid from it first.
pub(super) fn add(rows: &mut LedgerRows, account: &mut Account, mut lot: Grant) {
    let repaid = repay(account, lot.remaining);
    lot.remaining.0 -= repaid.0;
    lot.closed = lot.remaining == MicroCredits::ZERO;
    due_at(account, lot.expires_at.filter(|_| !lot.closed));
    rows.grants.insert(lot);
}

/// Takes back `floor(amount x refunded / paid)` in sum, from a grant of a folded account: first what of
/// it is free, then what of it has run out unused; the part that was spent or is held is debt. Says how
/// much.
pub(super) fn clawback(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    grant: &Grant,
    txn: &TxnId,
    refunded: &Money,
) -> Step<MicroCredits> {
    check_money(refunded, 0, "refunded")?;
    let (Some(paid), Some(currency)) = (grant.paid_minor, &grant.currency) else {
        let message = format!("nothing was paid for the grant {}", grant.id);
        return Err(Error::conflict("ledger.grant_not_paid", message)
            .hint("say what was paid when the credits are granted")
            .into());
    };
    if refunded.currency != **currency {
        let message = format!("the grant {} was paid in {currency}, not in {}", grant.id, refunded.currency);
        return Err(Error::conflict("ledger.currency_mismatch", message).at("refunded").into());
    }
    if refunded.minor > paid {
        let message = format!("{paid} were paid for the grant {}, not {}", grant.id, refunded.minor);
        return Err(Error::conflict("ledger.refund_exceeds_payment", message)
            .at("refunded")
            .into());
    }
    // Messages come in any order: the largest sum is the latest.
    if refunded.minor <= grant.refunded_minor {
        return Ok(MicroCredits::ZERO);
    }
    let target = i128::from(grant.amount.0) * i128::from(refunded.minor) / i128::from(paid);
    let delta = i64::try_from(target).unwrap_or(i64::MAX) - grant.clawed.0;
    let free = match grant.state {
        GrantState::Expired => 0,
        _ => grant.remaining.0 - grant.held.0,
    };
    let from_free = delta.min(free);
    let from_broken = (delta - from_free).min(grant.broken.0);
    let owed = delta - from_free - from_broken;
    let remaining = MicroCredits(grant.remaining.0 - from_free);
    rows.grants.put(Grant {
        remaining,
        broken: MicroCredits(grant.broken.0 - from_broken),
        clawed: MicroCredits(grant.clawed.0 + delta),
        refunded_minor: refunded.minor,
        closed: remaining == MicroCredits::ZERO,
        ..grant.clone()
    })?;
    account.debt = account.debt.checked_add(MicroCredits(owed))?;
    // What has not begun was not booked either.
    let booked = if grant.state == GrantState::Pending {
        0
    } else {
        from_free + owed
    };
    let what = Booking {
        id: txn.clone(),
        kind: "clawback",
        about: grant.id.as_str(),
        booked_at: cx.now,
    };
    if booked > 0 {
        post(rows, cx, account, MicroCredits(-booked), &what)?;
    }
    if from_broken > 0 {
        post_system(rows, cx, "breakage", MicroCredits(-from_broken), &what)?;
    }
    if booked + from_broken > 0 {
        let sum = MicroCredits(booked + from_broken);
        post_system(rows, cx, "clawback", sum, &what)?;
        record(rows, cx, &account.owner, sum, MicroCredits::ZERO, &what);
    }
    Ok(MicroCredits(delta))
}
