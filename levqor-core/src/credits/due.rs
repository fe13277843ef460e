//! What begins and ends by the clock.

use std::sync::Arc;

use super::book::{Booking, Cx, book};
use super::draw::{adjust, repay};
use super::hold::close;
use super::{Account, Grant, GrantState, Hold, HoldState, LedgerRows};
use crate::table::Step;
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Tenant, TxnId};

/// In the order in which they happen at the same instant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A hold runs out: when it was opened, its id.
    Hold(Millis, HoldId),
    /// A grant runs out: its number, its id.
    End(i64, GrantId),
    /// A grant begins.
    Start(i64, GrantId),
}

/// Folds in every hold and grant that has run out and every grant that has begun by now, in the order
/// of time, holds before grants at the same instant, and brings `next_due` up to date. Booked at the
/// instant it was due.
pub(super) fn fold(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account) -> Step<()> {
    if account.next_due.is_none_or(|due| due > cx.now) {
        return Ok(());
    }
    let key = (account.tenant.clone(), account.owner.clone());
    rows.grants.want_group(key.clone());
    let holds = ended(rows, &key, cx.now)?;
    let grants = rows.grants.group(&key)?;
    let mut due: Vec<(Millis, Due)> = Vec::new();
    for hold in &holds {
        rows.slices.want_group((hold.id.as_str().into(),));
        let at = hold.expires_at.unwrap_or(cx.now);
        due.push((at, Due::Hold(hold.opened_at, hold.id.clone())));
    }
    for grant in &grants {
        if grant.state == GrantState::Pending && grant.effective_at <= cx.now {
            due.push((grant.effective_at, Due::Start(grant.seq, grant.id.clone())));
        }
        if let Some(at) = grant
            .expires_at
            .filter(|at| *at <= cx.now && grant.state != GrantState::Expired)
        {
            due.push((at, Due::End(grant.seq, grant.id.clone())));
        }
    }
    due.sort_unstable();
    for (at, what) in due {
        match what {
            Due::Hold(_, id) => {
                if let Some(hold) = rows.holds.get(&(id,))? {
                    close(rows, cx, account, &hold, HoldState::Expired, at)?;
                }
            }
            // What came before may have used it up.
            Due::End(_, id) => {
                if let Some(grant) = rows.grants.get(&(id,))?.filter(|g| !g.closed) {
                    expire(rows, cx, account, &grant, at)?;
                }
            }
            Due::Start(_, id) => {
                if let Some(grant) = rows.grants.get(&(id,))?.filter(|g| !g.closed) {
                    start(rows, cx, account, &grant)?;
                }
            }
        }
    }
    let hold = rows.holds.first(&key, 1, i64::MAX)?.pop().and_then(|h| h.expires_at);
    let grants = rows.grants.group(&key)?.into_iter().filter_map(|g| match g.state {
        GrantState::Pending => Some(g.effective_at),
        GrantState::Live => g.expires_at,
        GrantState::Expired => None,
    });
    account.next_due = grants.chain(hold).min();
    Ok(())
}

/// The holds that have run out: however many others are open, they are not looked at.
fn ended(rows: &mut LedgerRows, account: &(Tenant, Arc<str>), now: Millis) -> Step<Vec<Arc<Hold>>> {
    let over = |h: &Arc<Hold>| h.expires_at.is_some_and(|at| at <= now);
    let mut n = 64;
    loop {
        let mut front = rows.holds.first(account, n, i64::MAX)?;
        if front.len() < n || !front.iter().all(over) {
            front.retain(over);
            return Ok(front);
        }
        n *= 2;
    }
}

/// A grant begins: from now on it counts.
fn start(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account, grant: &Grant) -> Step<()> {
    let what = Booking {
        id: derived(account, grant.effective_at, "grant", grant.id.as_str()),
        kind: "grant",
        about: grant.id.as_str(),
        booked_at: grant.effective_at,
    };
    book(
        rows,
        cx,
        account,
        grant.remaining,
        super::grant::issued(grant.category),
        &what,
    )?;
    let repaid = repay(account, grant.remaining);
    adjust(rows, &grant.id, |g| {
        g.state = GrantState::Live;
        g.remaining.0 -= repaid.0;
    })
}

/// A grant runs out: what no hold reserves is breakage; the held part stays until its hold closes.
fn expire(rows: &mut LedgerRows, cx: Cx<'_>, account: &mut Account, grant: &Grant, at: Millis) -> Step<()> {
    let free = MicroCredits(grant.remaining.0 - grant.held.0);
    adjust(rows, &grant.id, |g| {
        g.state = GrantState::Expired;
        g.remaining = g.held;
        g.broken.0 += free.0;
    })?;
    breakage(rows, cx, account, free, grant.id.as_str(), at)
}

/// Credits that nobody can use any more.
pub(super) fn breakage(
    rows: &mut LedgerRows,
    cx: Cx<'_>,
    account: &mut Account,
    amount: MicroCredits,
    about: &str,
    at: Millis,
) -> Step<()> {
    if amount == MicroCredits::ZERO {
        return Ok(());
    }
    let what = Booking {
        id: derived(account, at, "breakage", about),
        kind: "breakage",
        about,
        booked_at: at,
    };
    book(rows, cx, account, MicroCredits(-amount.0), "breakage", &what)
}

/// The id of a transaction that nobody asked for: the same whenever and wherever it is folded in.
fn derived(account: &Account, at: Millis, kind: &str, about: &str) -> TxnId {
    let (tenant, owner, version) = (&account.tenant, &account.owner, account.version);
    TxnId::derived(at, &format!("{tenant}\n{owner}\n{version}\n{kind}\n{about}"))
}
