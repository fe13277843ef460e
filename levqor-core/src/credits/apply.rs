use std::sync::Arc;

use super::book::{Cx, SYSTEM, account};
use super::draw::due_at;
use super::due::fold;
use super::grant::{check, clawback, grant, issued};
use super::hold::{capture, close, find, open, still_open};
use super::refund::{refund, refundable, spend, transfer};
use super::{Account, Hold, HoldState, LedgerAnswer, LedgerOp, LedgerRows};
use crate::error::{Error, Result};
use crate::table::Step;
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Tenant};

/// Carries out an operation. `stripe` picks the part of the system accounts that is booked against.
pub fn apply(rows: &mut LedgerRows, tenant: &Tenant, op: &LedgerOp, now: Millis, stripe: u16) -> Step<LedgerAnswer> {
    let cx = Cx { tenant, now, stripe };
    match op {
        LedgerOp::Grant(new) => {
            positive(new.amount)?;
            check(new, now)?;
            let mut account = current(rows, cx, &new.owner)?;
            grant(rows, cx, &mut account, new)?;
            finish(rows, account, new.id.as_str(), new.amount)
        }
        LedgerOp::Spend { txn, owner, amount } => {
            positive(*amount)?;
            let mut account = current(rows, cx, owner)?;
            spend(rows, cx, &mut account, *amount, txn)?;
            finish(rows, account, txn.as_str(), *amount).map(spent)
        }
        LedgerOp::Hold {
            hold,
            owner,
            amount,
            expires,
        } => {
            positive(*amount)?;
            let expires_at = expires.map(|e| e.after(now));
            in_future(expires_at, now, "expires")?;
            let mut account = current(rows, cx, owner)?;
            open(rows, cx, &mut account, hold, *amount, expires_at)?;
            finish(rows, account, hold.as_str(), *amount)
        }
        LedgerOp::Capture {
            txn,
            hold,
            amount,
            last,
            overage,
        } => {
            amount.map_or(Ok(()), positive)?;
            let (mut account, hold) = of_hold(rows, cx, hold)?;
            let amount = amount.unwrap_or(hold.open);
            capture(rows, cx, &mut account, &hold, txn, amount, (*last, *overage))?;
            finish(rows, account, txn.as_str(), amount).map(spent)
        }
        LedgerOp::Release { hold } => {
            let (mut account, hold) = of_hold(rows, cx, hold)?;
            close(rows, cx, &mut account, &hold, HoldState::Released, now)?;
            finish(rows, account, hold.id.as_str(), hold.open)
        }
        LedgerOp::Extend { hold, until } => {
            let until = until.after(now);
            in_future(Some(until), now, "until")?;
            let (mut account, hold) = of_hold(rows, cx, hold)?;
            due_at(&mut account, Some(until));
            rows.holds.put(Hold {
                expires_at: Some(until),
                ..(*hold).clone()
            })?;
            finish(rows, account, hold.id.as_str(), hold.open)
        }
        LedgerOp::Refund {
            txn,
            of,
            amount,
            on_expired,
        } => {
            amount.map_or(Ok(()), positive)?;
            let owner = refundable(rows, cx, of)?.owner.clone();
            let mut account = current(rows, cx, &owner)?;
            let of = refundable(rows, cx, of)?;
            let amount = refund(rows, cx, &mut account, &of, txn, *amount, *on_expired)?;
            finish(rows, account, txn.as_str(), amount)
        }
        LedgerOp::Clawback { txn, grant, refunded } => {
            let owner = known(rows, cx, grant)?.owner.clone();
            let mut account = current(rows, cx, &owner)?;
            let grant = known(rows, cx, grant)?;
            let amount = clawback(rows, cx, &mut account, &grant, txn, refunded)?;
            finish(rows, account, grant.id.as_str(), amount)
        }
        LedgerOp::Transfer { txn, from, to, amount } => {
            positive(*amount)?;
            if from == to {
                let message = "credits can only be moved to another account";
                return Err(Error::invalid("ledger.same_account", message).at("to").into());
            }
            let mut giver = current(rows, cx, from)?;
            let mut taker = current(rows, cx, to)?;
            transfer(rows, cx, (&mut giver, &mut taker), *amount, txn)?;
            rows.accounts.put(taker)?;
            finish(rows, giver, txn.as_str(), *amount)
        }
        LedgerOp::Overdraft { owner, limit } => {
            if limit.0 < 0 {
                return Err(invalid_amount(*limit, "give how far below zero the account may go").into());
            }
            let mut account = current(rows, cx, owner)?;
            account.overdraft = *limit;
            finish(rows, account, owner, *limit)
        }
        LedgerOp::Freeze { owner, frozen } => {
            let mut account = current(rows, cx, owner)?;
            account.frozen = *frozen;
            finish(rows, account, owner, MicroCredits::ZERO)
        }
        LedgerOp::Fold { owner } => {
            let account = current(rows, cx, owner)?;
            finish(rows, account, owner, MicroCredits::ZERO)
        }
    }
}

/// Asks ahead for the rows that an operation surely needs.
pub fn wants(rows: &mut LedgerRows, tenant: &Tenant, op: &LedgerOp, stripe: u16) {
    let account = |rows: &mut LedgerRows, owner: &Arc<str>| rows.accounts.want((tenant.clone(), owner.clone()));
    let cx = Cx {
        tenant,
        now: Millis::ZERO,
        stripe,
    };
    match op {
        LedgerOp::Grant(new) => {
            account(rows, &new.owner);
            account(rows, &cx.system(issued(new.category)));
            if let Some(source) = &new.source {
                rows.sources.want((tenant.clone(), source.clone()));
            }
        }
        LedgerOp::Spend { owner, .. } => {
            account(rows, owner);
            account(rows, &cx.system("revenue"));
            rows.grants.want_group((tenant.clone(), owner.clone()));
        }
        LedgerOp::Hold { owner, .. } => {
            account(rows, owner);
            rows.grants.want_group((tenant.clone(), owner.clone()));
        }
        LedgerOp::Transfer { from, to, .. } => {
            account(rows, from);
            account(rows, to);
            rows.grants.want_group((tenant.clone(), from.clone()));
        }
        LedgerOp::Overdraft { owner, .. } | LedgerOp::Freeze { owner, .. } | LedgerOp::Fold { owner } => account(rows, owner),
        LedgerOp::Capture { hold, .. } => {
            account(rows, &cx.system("revenue"));
            rows.holds.want((hold.clone(),));
            rows.slices.want_group((hold.as_str().into(),));
        }
        LedgerOp::Release { hold } | LedgerOp::Extend { hold, .. } => {
            rows.holds.want((hold.clone(),));
            rows.slices.want_group((hold.as_str().into(),));
        }
        LedgerOp::Refund { of, .. } => {
            account(rows, &cx.system("revenue"));
            rows.txns.want((of.clone(),));
        }
        LedgerOp::Clawback { grant, .. } => {
            account(rows, &cx.system("clawback"));
            rows.grants.want((grant.clone(),));
        }
    }
}

/// The account with everything folded in that is due.
fn current(rows: &mut LedgerRows, cx: Cx<'_>, owner: &Arc<str>) -> Step<Account> {
    check_owner(owner)?;
    let mut account = account(rows, cx.tenant, owner)?;
    fold(rows, cx, &mut account)?;
    Ok(account)
}

/// The account of a hold, folded, and the hold if it is open after that.
fn of_hold(rows: &mut LedgerRows, cx: Cx<'_>, id: &HoldId) -> Step<(Account, Arc<Hold>)> {
    let owner = find(rows, id, cx.tenant)?.owner.clone();
    let account = current(rows, cx, &owner)?;
    let hold = find(rows, id, cx.tenant)?;
    still_open(&hold)?;
    Ok((account, hold))
}

/// The grant of an id.
fn known(rows: &mut LedgerRows, cx: Cx<'_>, id: &GrantId) -> Step<Arc<super::Grant>> {
    let found = rows.grants.get(&(id.clone(),))?.filter(|g| g.tenant == *cx.tenant);
    found.ok_or_else(|| Error::not_found("ledger.grant_not_found", format!("there is no grant {id}")).into())
}

fn check_owner(owner: &str) -> Result<()> {
    let fault = if owner.is_empty() || owner.len() > 255 {
        "it has 1 to 255 bytes"
    } else if owner.contains('\0') {
        "it has no NUL character"
    } else if owner.starts_with(SYSTEM) {
        "`levqor:` names the ledger's own accounts"
    } else {
        return Ok(());
    };
    Err(Error::invalid("ledger.invalid_account", format!("this is not an account's name: {fault}")).at("account"))
}

fn in_future(end: Option<Millis>, now: Millis, place: &str) -> Result<()> {
    if end.is_none_or(|at| at > now) {
        return Ok(());
    }
    Err(Error::invalid("ledger.invalid_expiry", "a hold must end in the future").at(place))
}

fn invalid_amount(amount: MicroCredits, hint: &str) -> Error {
    let message = format!("{amount} is not an amount that can be moved");
    Error::invalid("ledger.invalid_amount", message).at("amount").hint(hint)
}

fn positive(amount: MicroCredits) -> Result<()> {
    if amount.0 > 0 {
        Ok(())
    } else {
        Err(invalid_amount(amount, "give more than zero"))
    }
}

/// Writes the account and makes the answer.
fn finish(rows: &mut LedgerRows, account: Account, id: &str, amount: MicroCredits) -> Step<LedgerAnswer> {
    let answer = LedgerAnswer {
        id: id.into(),
        amount,
        posted: account.posted,
        held: account.held,
        overdraft: account.overdraft,
        spent: false,
    };
    let known = rows.accounts.get(&(account.tenant.clone(), account.owner.clone()))?;
    if known.is_none_or(|old| *old != account) {
        rows.accounts.put(account)?;
    }
    Ok(answer)
}

fn spent(answer: LedgerAnswer) -> LedgerAnswer {
    LedgerAnswer { spent: true, ..answer }
}
