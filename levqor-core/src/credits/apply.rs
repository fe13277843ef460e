use std::sync::Arc;

use super::book::{Booking, account, book, system};
use super::due::{fold, refresh, refresh_without};
use super::hold::{change, close, draw, open_hold, slices_of, still_open};
use super::{Account, Category, Grant, Hold, HoldState, LedgerAnswer, LedgerOp, LedgerRows, NewGrant, Overage, Slice};
use crate::error::{Error, Result};
use crate::table::Step;
use crate::types::{HoldId, MicroCredits, Millis, Tenant, TxnId};

/// Carries out an operation. `stripe` picks the part of the system accounts that is booked against.
pub fn apply(rows: &mut LedgerRows, tenant: &Tenant, op: &LedgerOp, now: Millis, stripe: u16) -> Step<LedgerAnswer> {
    match op {
        LedgerOp::Grant(new) => grant(rows, tenant, new, now, stripe),
        LedgerOp::Spend { txn, owner, amount } => {
            positive(*amount)?;
            let mut account = current(rows, tenant, owner, now, stripe)?;
            spend(rows, &mut account, *amount, txn, txn.as_str(), now, stripe)?;
            finish(rows, account, txn.as_str(), *amount, true)
        }
        LedgerOp::Hold {
            hold,
            owner,
            amount,
            expires_at,
        } => open(rows, tenant, hold, owner, *amount, *expires_at, now, stripe),
        LedgerOp::Capture {
            txn,
            hold,
            amount,
            last,
            overage,
        } => capture(rows, tenant, (txn, hold), *amount, (*last, *overage), now, stripe),
        LedgerOp::Release { hold } => {
            let (mut account, hold) = of_hold(rows, tenant, hold, now, stripe)?;
            close(rows, &mut account, &hold, HoldState::Released, now, now, stripe)?;
            refresh_without(rows, &mut account, &hold)?;
            finish(rows, account, hold.id.as_str(), hold.open, false)
        }
        LedgerOp::Extend { hold, until } => {
            let (mut account, hold) = of_hold(rows, tenant, hold, now, stripe)?;
            if *until <= now {
                return Err(
                    Error::invalid("ledger.invalid_expiry", "a hold cannot be extended into the past")
                        .at("until")
                        .into(),
                );
            }
            rows.holds.put(Hold {
                expires_at: Some(*until),
                ..(*hold).clone()
            })?;
            refresh(rows, &mut account)?;
            finish(rows, account, hold.id.as_str(), hold.open, false)
        }
        LedgerOp::Overdraft { owner, limit } => {
            if limit.0 < 0 {
                return Err(invalid_amount(*limit).into());
            }
            let mut account = current(rows, tenant, owner, now, stripe)?;
            account.overdraft = *limit;
            finish(rows, account, owner, *limit, false)
        }
        LedgerOp::Fold { owner } => {
            let account = current(rows, tenant, owner, now, stripe)?;
            finish(rows, account, owner, MicroCredits::ZERO, false)
        }
    }
}

/// Asks ahead for the rows that an operation surely needs.
pub fn wants(rows: &mut LedgerRows, tenant: &Tenant, op: &LedgerOp) {
    match op {
        LedgerOp::Grant(NewGrant { owner, .. })
        | LedgerOp::Spend { owner, .. }
        | LedgerOp::Hold { owner, .. }
        | LedgerOp::Overdraft { owner, .. }
        | LedgerOp::Fold { owner } => {
            let key = (tenant.clone(), owner.clone());
            rows.accounts.want(key.clone());
            rows.grants.want_group(key);
        }
        LedgerOp::Capture { hold, .. } | LedgerOp::Release { hold } | LedgerOp::Extend { hold, .. } => {
            rows.holds.want((hold.clone(),));
            rows.slices.want_group((hold.as_str().into(),));
        }
    }
}

/// The account with everything folded in that is due.
fn current(rows: &mut LedgerRows, tenant: &Tenant, owner: &Arc<str>, now: Millis, stripe: u16) -> Step<Account> {
    check_owner(owner)?;
    let mut account = account(rows, tenant, owner)?;
    fold(rows, &mut account, now, stripe)?;
    Ok(account)
}

/// The account of a hold, folded, and the hold if it is open after that.
fn of_hold(rows: &mut LedgerRows, tenant: &Tenant, id: &HoldId, now: Millis, stripe: u16) -> Step<(Account, Arc<Hold>)> {
    let owner = open_hold(rows, id, tenant)?.owner.clone();
    let account = current(rows, tenant, &owner, now, stripe)?;
    let hold = open_hold(rows, id, tenant)?;
    still_open(&hold)?;
    Ok((account, hold))
}

fn check_owner(owner: &str) -> Result<()> {
    let fault = if owner.is_empty() || owner.len() > 255 {
        "it has 1 to 255 bytes"
    } else if owner.contains('\0') {
        "it has no NUL character"
    } else if owner.starts_with("levqor:") {
        "`levqor:` names the ledger's own accounts"
    } else {
        return Ok(());
    };
    Err(Error::invalid("ledger.invalid_account", format!("this is not an account's name: {fault}")).at("account"))
}

fn invalid_amount(amount: MicroCredits) -> Error {
    Error::invalid(
        "ledger.invalid_amount",
        format!("{amount} is not an amount that can be moved"),
    )
    .at("amount")
    .hint("give more than zero")
}

fn positive(amount: MicroCredits) -> Result<()> {
    if amount.0 > 0 { Ok(()) } else { Err(invalid_amount(amount)) }
}

/// Writes the account and makes the answer.
fn finish(rows: &mut LedgerRows, account: Account, id: &str, amount: MicroCredits, spent: bool) -> Step<LedgerAnswer> {
    let answer = LedgerAnswer {
        id: id.into(),
        amount,
        posted: account.posted,
        held: account.held,
        spent,
    };
    rows.accounts.put(account)?;
    Ok(answer)
}

fn grant(rows: &mut LedgerRows, tenant: &Tenant, new: &NewGrant, now: Millis, stripe: u16) -> Step<LedgerAnswer> {
    positive(new.amount)?;
    let effective_at = new.effective_at.max(now);
    if new.expires_at.is_some_and(|at| at <= effective_at) {
        return Err(Error::invalid("ledger.invalid_expiry", "a grant must end after it begins")
            .at("expires_at")
            .into());
    }
    if !(0..=255).contains(&new.priority) {
        return Err(Error::invalid(
            "ledger.invalid_priority",
            format!("a priority lies between 0 and 255, not {}", new.priority),
        )
        .at("priority")
        .into());
    }
    let mut account = current(rows, tenant, &new.owner, now, stripe)?;
    let repaid = account.debt.min(new.amount);
    account.debt = account.debt.checked_sub(repaid)?;
    let source = match new.category {
        Category::Promo => "issued:promo",
        Category::Paid => "issued:paid",
    };
    let what = Booking {
        id: new.txn.clone(),
        kind: "grant",
        about: new.id.as_str(),
        booked_at: now,
        now,
    };
    book(rows, &mut account, new.amount, &system(source, stripe), what)?;
    // What was spent below zero is repaid first.
    let remaining = new.amount.checked_sub(repaid)?;
    rows.grants.insert(Grant {
        id: new.id.clone(),
        tenant: tenant.clone(),
        owner: new.owner.clone(),
        amount: new.amount,
        priority: new.priority,
        category: new.category,
        seq: account.version,
        effective_at,
        expires_at: new.expires_at,
        remaining,
        held: MicroCredits::ZERO,
        expired: false,
        closed: remaining == MicroCredits::ZERO,
    });
    account.next_due = [account.next_due, new.expires_at].into_iter().flatten().min();
    finish(rows, account, new.id.as_str(), new.amount, false)
}

/// Draws an amount and books it as revenue at once.
fn spend(
    rows: &mut LedgerRows,
    account: &mut Account,
    amount: MicroCredits,
    txn: &TxnId,
    about: &str,
    now: Millis,
    stripe: u16,
) -> Step<()> {
    let drawn = draw(rows, account, amount, now)?;
    for (ord, part) in (0..).zip(&drawn) {
        match &part.lot {
            Some(lot) => change(rows, lot, -part.amount.0, 0)?,
            None => account.debt = account.debt.checked_add(part.amount)?,
        }
        rows.slices.insert(Slice {
            parent: txn.as_str().into(),
            ord,
            tenant: account.tenant.clone(),
            lot: part.lot.clone(),
            amount: part.amount,
            taken: part.amount,
        });
    }
    let what = Booking {
        id: txn.clone(),
        kind: "spend",
        about,
        booked_at: now,
        now,
    };
    book(rows, account, MicroCredits(-amount.0), &system("revenue", stripe), what)
}

#[allow(clippy::too_many_arguments, reason = "a hold has that many parts")]
fn open(
    rows: &mut LedgerRows,
    tenant: &Tenant,
    id: &HoldId,
    owner: &Arc<str>,
    amount: MicroCredits,
    expires_at: Option<Millis>,
    now: Millis,
    stripe: u16,
) -> Step<LedgerAnswer> {
    positive(amount)?;
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Error::invalid("ledger.invalid_expiry", "a hold must end in the future")
            .at("expires_at")
            .into());
    }
    let mut account = current(rows, tenant, owner, now, stripe)?;
    for (ord, part) in (0..).zip(draw(rows, &account, amount, now)?) {
        if let Some(lot) = &part.lot {
            change(rows, lot, 0, part.amount.0)?;
        }
        rows.slices.insert(Slice {
            parent: id.as_str().into(),
            ord,
            tenant: tenant.clone(),
            lot: part.lot,
            amount: part.amount,
            taken: MicroCredits::ZERO,
        });
    }
    account.held = account.held.checked_add(amount)?;
    account.next_due = [account.next_due, expires_at].into_iter().flatten().min();
    rows.holds.insert(Hold {
        id: id.clone(),
        tenant: tenant.clone(),
        owner: owner.clone(),
        amount,
        opened_at: now,
        captured: MicroCredits::ZERO,
        open: amount,
        state: HoldState::Open,
        expires_at,
        closed_at: None,
    });
    finish(rows, account, id.as_str(), amount, false)
}

fn capture(
    rows: &mut LedgerRows,
    tenant: &Tenant,
    (txn, id): (&TxnId, &HoldId),
    amount: Option<MicroCredits>,
    (last, overage): (bool, Overage),
    now: Millis,
    stripe: u16,
) -> Step<LedgerAnswer> {
    let (mut account, hold) = of_hold(rows, tenant, id, now, stripe)?;
    let amount = amount.unwrap_or(hold.open);
    positive(amount)?;
    let inside = amount.min(hold.open);
    let over = amount.checked_sub(inside)?;
    if over.0 > 0 && overage == Overage::Reject {
        return Err(Error::conflict(
            "ledger.capture_exceeds_hold",
            format!("the hold {id} reserves {}, {amount} were to be captured", hold.open),
        )
        .hint("capture at most what is held, or allow the overage")
        .into());
    }
    let mut left = inside.0;
    for slice in slices_of(rows, &hold)? {
        let part = left.min(slice.amount.0 - slice.taken.0);
        if part == 0 {
            continue;
        }
        match &slice.lot {
            Some(lot) => change(rows, lot, -part, -part)?,
            None => account.debt = account.debt.checked_add(MicroCredits(part))?,
        }
        rows.slices.put(Slice {
            taken: MicroCredits(slice.taken.0 + part),
            ..(*slice).clone()
        })?;
        left -= part;
    }
    account.held = account.held.checked_sub(inside)?;
    let mut hold = Hold {
        captured: hold.captured.checked_add(amount)?,
        open: hold.open.checked_sub(inside)?,
        ..(*hold).clone()
    };
    if inside.0 > 0 {
        let what = Booking {
            id: txn.clone(),
            kind: "capture",
            about: id.as_str(),
            booked_at: now,
            now,
        };
        book(rows, &mut account, MicroCredits(-inside.0), &system("revenue", stripe), what)?;
    }
    if over.0 > 0 {
        let extra = if inside.0 > 0 { TxnId::new(now) } else { txn.clone() };
        spend(rows, &mut account, over, &extra, id.as_str(), now, stripe)?;
    }
    if last || hold.open == MicroCredits::ZERO {
        close(rows, &mut account, &hold, HoldState::Captured, now, now, stripe)?;
        refresh_without(rows, &mut account, &hold)?;
    } else {
        hold.state = HoldState::Open;
        rows.holds.put(hold)?;
    }
    finish(rows, account, txn.as_str(), amount, true)
}
