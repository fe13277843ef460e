//! Drawing from grants.

use std::sync::Arc;

use super::{Account, Grant, GrantState, LedgerRows, Slice};
use crate::error::{Error, ErrorKind};
use crate::table::Step;
use crate::types::{GrantId, MicroCredits, Tenant};

/// What is drawn from one grant.
pub(super) struct Drawn {
    /// The grant; `None` for the overdraft.
    pub(super) lot: Option<Arc<Grant>>,
    pub(super) amount: MicroCredits,
}

impl Drawn {
    /// The slice that remembers it.
    pub(super) fn slice(&self, tenant: &Tenant, parent: &str, ord: i64, taken: MicroCredits) -> Slice {
        Slice {
            parent: parent.into(),
            ord,
            tenant: tenant.clone(),
            lot: self.lot.as_ref().map(|g| g.id.clone()),
            amount: self.amount,
            taken,
        }
    }
}

/// An account's grants that are not used up, in no order.
pub(super) fn lots(rows: &mut LedgerRows, account: &Account) -> Step<Vec<Arc<Grant>>> {
    rows.grants.group(&(account.tenant.clone(), account.owner.clone()))
}

/// Picks what an amount is drawn from: live grants in the order of drawing, then, where `below` zero
/// is allowed, the overdraft. Nothing is changed.
pub(super) fn draw(rows: &mut LedgerRows, account: &Account, amount: MicroCredits, below: bool) -> Step<Vec<Drawn>> {
    if account.frozen {
        return Err(Error::conflict(
            "ledger.account_frozen",
            format!("nothing can be drawn from `{}` while it is frozen", account.owner),
        )
        .hint("unfreeze the account first")
        .into());
    }
    let lots = lots(rows, account)?;
    let in_lots: i128 = lots.iter().map(|g| i128::from(g.held.0)).sum();
    let mut live: Vec<Arc<Grant>> = lots
        .into_iter()
        .filter(|g| g.state == GrantState::Live && g.held < g.remaining)
        .collect();
    let free: i128 = live.iter().map(|g| i128::from(free_of(g))).sum();
    // Below zero there is the overdraft, less what is owed, and less what holds reserve of it.
    let room = i128::from(account.overdraft.0) - i128::from(account.debt.0) - (i128::from(account.held.0) - in_lots);
    let spendable = if below { free + room } else { free.min(free + room) };
    if i128::from(amount.0) > spendable {
        return Err(insufficient(account, amount, spendable).into());
    }
    live.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
    let mut left = amount.0;
    let mut drawn = Vec::new();
    for lot in live {
        if left == 0 {
            break;
        }
        let part = left.min(free_of(&lot));
        left -= part;
        drawn.push(Drawn {
            lot: Some(lot),
            amount: MicroCredits(part),
        });
    }
    if left > 0 {
        drawn.push(Drawn {
            lot: None,
            amount: MicroCredits(left),
        });
    }
    Ok(drawn)
}

/// The order of drawing: priority, the earlier end (none is last), promo before paid, the earlier
/// beginning, the earlier grant.
fn order(g: &Grant) -> impl Ord + use<'_> {
    (
        g.priority,
        g.expires_at.is_none(),
        g.expires_at,
        g.category,
        g.effective_at,
        g.seq,
        &g.id,
    )
}

fn free_of(g: &Grant) -> i64 {
    g.remaining.0 - g.held.0
}

fn insufficient(account: &Account, amount: MicroCredits, spendable: i128) -> Error {
    let spendable = MicroCredits(i64::try_from(spendable.max(0)).unwrap_or(i64::MAX));
    Error::new(
        ErrorKind::Insufficient,
        "ledger.insufficient_credits",
        format!("`{}` has {spendable} credits to spend, {amount} are needed", account.owner),
    )
    .hint("grant credits, or ask for less")
    .with("needed", amount.to_string())
    .with("spendable", spendable.to_string())
}

/// Asks for all grants of these slices at once.
pub(super) fn want_lots<'a>(rows: &mut LedgerRows, slices: impl IntoIterator<Item = &'a Slice>) {
    for lot in slices.into_iter().filter_map(|s| s.lot.as_ref()) {
        rows.grants.want((lot.clone(),));
    }
}

/// A grant that must be there.
pub(super) fn lot(rows: &mut LedgerRows, id: &GrantId) -> Step<Arc<Grant>> {
    rows.grants.get(&(id.clone(),))?.ok_or_else(|| {
        let message = format!("a slice names the grant {id}, which does not exist");
        Error::new(ErrorKind::Corrupt, "ledger.grant_missing", message).into()
    })
}

/// Changes one grant, and closes it when it is empty.
pub(super) fn adjust(rows: &mut LedgerRows, id: &GrantId, change: impl FnOnce(&mut Grant)) -> Step<()> {
    let mut grant = (*lot(rows, id)?).clone();
    change(&mut grant);
    if grant.held.0 < 0 || grant.held > grant.remaining || grant.remaining > grant.amount {
        let message = format!("the grant {id} would hold {} of {}", grant.held, grant.remaining);
        return Err(Error::internal(message).into());
    }
    grant.closed = grant.remaining == MicroCredits::ZERO;
    rows.grants.put(grant)
}

/// Takes from what reaches an account first what it owes, and says how much.
pub(super) fn repay(account: &mut Account, amount: MicroCredits) -> MicroCredits {
    let repaid = account.debt.min(amount);
    account.debt.0 -= repaid.0;
    repaid
}

/// Something of the account begins or ends at this instant.
pub(super) fn due_at(account: &mut Account, at: Option<crate::types::Millis>) {
    account.next_due = [account.next_due, at].into_iter().flatten().min();
}
