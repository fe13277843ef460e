use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::book::link;
use super::{HoldState, LedgerRows};
use crate::types::{MicroCredits, Tenant, TxnId};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Accounts looked at.
    pub accounts: usize,
    /// Entries looked at.
    pub entries: usize,
    /// The sum of all entries; zero in a sound ledger.
    pub sum: i64,
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// `conservation`, `fold`, `chain`, `holds`, `grants`.
    pub rule: &'static str,
    /// The account, transaction, hold or grant.
    pub at: String,
    /// What is wrong with it.
    pub message: String,
}

/// Proves a whole ledger: transactions sum to zero, balances are the fold of their entries, versions
/// have no gaps, the hash chain holds, holds and grants add up to what the accounts say.
pub fn audit(rows: &LedgerRows) -> AuditReport {
    let mut report = AuditReport::default();
    let wrong = |rule, at: &dyn ToString, message: String| Violation {
        rule,
        at: at.to_string(),
        message,
    };
    let mut txns: BTreeMap<&TxnId, i128> = BTreeMap::new();
    let mut total: i128 = 0;
    for entry in rows.entries.iter() {
        *txns.entry(&entry.txn).or_default() += i128::from(entry.amount.0);
        total += i128::from(entry.amount.0);
        report.entries += 1;
    }
    report.sum = i64::try_from(total).unwrap_or(i64::MAX);
    for (txn, sum) in txns {
        if sum != 0 {
            report
                .violations
                .push(wrong("conservation", txn, format!("its entries sum to {sum} instead of 0")));
        }
    }
    let mut held: HashMap<(&Tenant, &str), i64> = HashMap::new();
    for hold in rows.holds.iter().filter(|h| h.state == HoldState::Open) {
        *held.entry((&hold.tenant, &hold.owner)).or_default() += hold.open.0;
    }
    for account in rows.accounts.iter() {
        report.accounts += 1;
        let mut at = (**account).clone();
        (at.version, at.posted, at.head) = (0, MicroCredits::ZERO, "".into());
        for version in 1..=account.version {
            let Some(entry) = rows.entries.peek(&(account.tenant.clone(), account.owner.clone(), version)) else {
                report.violations.push(wrong(
                    "chain",
                    &account.owner,
                    format!("entry {version} of {} is missing", account.version),
                ));
                break;
            };
            at.version = version;
            at.posted = MicroCredits(at.posted.0.wrapping_add(entry.amount.0));
            at.head = link(&at.head, &at, &entry.txn, entry.amount, entry.booked_at);
            if at.posted != entry.after {
                report.violations.push(wrong(
                    "fold",
                    &account.owner,
                    format!("entry {version} says {} after it, the sum is {}", entry.after, at.posted),
                ));
            }
            if at.head != entry.hash {
                report.violations.push(wrong(
                    "chain",
                    &account.owner,
                    format!("entry {version} was changed: its hash does not fit"),
                ));
                break;
            }
        }
        if at.posted != account.posted {
            report.violations.push(wrong(
                "fold",
                &account.owner,
                format!("the account says {}, its entries sum to {}", account.posted, at.posted),
            ));
        }
        if account.owner.starts_with("levqor:") {
            continue;
        }
        let key = (account.tenant.clone(), account.owner.clone());
        let grants: i64 = rows.grants.peek_group(&key).map(|g| g.remaining.0).sum();
        if grants.wrapping_sub(account.debt.0) != account.posted.0 {
            let message = format!(
                "open grants less debt are {}, the account says {}",
                MicroCredits(grants - account.debt.0),
                account.posted
            );
            report.violations.push(wrong("grants", &account.owner, message));
        }
        let held = held.get(&(&account.tenant, &*account.owner)).copied().unwrap_or_default();
        if held != account.held.0 {
            report.violations.push(wrong(
                "holds",
                &account.owner,
                format!("open holds are {}, the account says {}", MicroCredits(held), account.held),
            ));
        }
    }
    for hold in rows.holds.iter() {
        let slices: Vec<_> = rows.slices.peek_group(&(hold.id.as_str().into(),)).collect();
        let (amount, taken): (i64, i64) = slices.iter().fold((0, 0), |(a, t), s| (a + s.amount.0, t + s.taken.0));
        let closed = hold.state != HoldState::Open;
        if amount != hold.amount.0 || taken > hold.captured.0 || (closed && hold.open != MicroCredits::ZERO) {
            report.violations.push(wrong(
                "holds",
                &hold.id,
                format!(
                    "its slices are {amount} and {taken} taken, the hold says {} and {}",
                    hold.amount.0, hold.captured.0
                ),
            ));
        }
    }
    for grant in rows.grants.iter() {
        if grant.held.0 < 0 || grant.held > grant.remaining || grant.remaining > grant.amount {
            report.violations.push(wrong(
                "grants",
                &grant.id,
                format!("{} held of {} remaining of {}", grant.held, grant.remaining, grant.amount),
            ));
        }
    }
    report.violations.sort_by(|a, b| (a.rule, &a.at).cmp(&(b.rule, &b.at)));
    report
}
