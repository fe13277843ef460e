use std::collections::HashMap;

use serde::Serialize;

use super::book::{SYSTEM, link};
use super::{Account, Entry, GrantState, HoldState, LedgerRows};
use crate::types::{GrantId, MicroCredits, Tenant};

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

impl AuditReport {
    fn wrong(&mut self, rule: &'static str, at: &dyn ToString, message: String) {
        self.violations.push(Violation {
            rule,
            at: at.to_string(),
            message,
        });
    }
}

/// Proves a whole ledger: transactions sum to zero, balances are the fold of their entries, versions
/// have no gaps, the hash chain holds, holds and grants add up to what the accounts say.
pub fn audit(rows: &LedgerRows) -> AuditReport {
    let mut report = AuditReport::default();
    transactions(rows, &mut report);
    let mut held: HashMap<(&Tenant, &str), i128> = HashMap::new();
    for hold in rows.holds.iter().filter(|h| h.state == HoldState::Open) {
        *held.entry((&hold.tenant, &hold.owner)).or_default() += i128::from(hold.open.0);
    }
    for account in rows.accounts.iter() {
        report.accounts += 1;
        chain(rows, account, &mut report);
        if !account.owner.starts_with(SYSTEM) {
            let held = held.get(&(&account.tenant, &*account.owner)).copied().unwrap_or(0);
            lots(rows, account, held, &mut report);
        }
    }
    holds_and_grants(rows, &mut report);
    report.violations.sort_by(|a, b| (a.rule, &a.at).cmp(&(b.rule, &b.at)));
    report
}

fn transactions(rows: &LedgerRows, report: &mut AuditReport) {
    let mut sums: HashMap<&str, i128> = HashMap::new();
    let mut total: i128 = 0;
    for entry in rows.entries.iter() {
        *sums.entry(entry.txn.as_str()).or_default() += i128::from(entry.amount.0);
        total += i128::from(entry.amount.0);
        report.entries += 1;
        let account = (entry.tenant.clone(), entry.owner.clone());
        if rows.accounts.peek(&account).is_none_or(|a| a.version < entry.version) {
            let message = format!("entry {} stands behind the account's last one", entry.version);
            report.wrong("chain", &entry.owner, message);
        }
    }
    report.sum = i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX });
    for (txn, sum) in &sums {
        if *sum != 0 {
            report.wrong("conservation", txn, format!("its entries sum to {sum} instead of 0"));
        }
    }
    for txn in rows.txns.iter() {
        if !sums.contains_key(txn.id.as_str()) {
            report.wrong("conservation", &txn.id, "it has no entries".to_owned());
        }
        if txn.refunded.0 < 0 || txn.refunded > txn.amount {
            let message = format!("{} of {} are said to be given back", txn.refunded, txn.amount);
            report.wrong("fold", &txn.id, message);
        }
    }
}

/// The entries of an account, one after another.
fn chain(rows: &LedgerRows, account: &Account, report: &mut AuditReport) {
    let (mut sum, mut head): (i128, std::sync::Arc<str>) = (0, "".into());
    for version in 1..=account.version {
        let key = (account.tenant.clone(), account.owner.clone(), version);
        let Some(entry) = rows.entries.peek(&key) else {
            let message = format!("entry {version} of {} is missing", account.version);
            return report.wrong("chain", &account.owner, message);
        };
        sum += i128::from(entry.amount.0);
        if i128::from(entry.after.0) != sum {
            let message = format!("entry {version} says {} after it, the sum is {sum}", entry.after.0);
            report.wrong("fold", &account.owner, message);
        }
        let Some(hash) = expected(rows, &head, entry) else {
            let message = format!("the transaction {} of entry {version} is missing", entry.txn);
            return report.wrong("chain", &account.owner, message);
        };
        if hash != entry.hash {
            let message = format!("entry {version} was changed: its hash does not fit");
            return report.wrong("chain", &account.owner, message);
        }
        head = hash;
    }
    if sum != i128::from(account.posted.0) {
        let message = format!("the account says {}, its entries sum to {sum}", account.posted.0);
        report.wrong("fold", &account.owner, message);
    }
    if head != account.head {
        let message = "the account's last hash is not that of its last entry".to_owned();
        report.wrong("chain", &account.owner, message);
    }
}

fn expected(rows: &LedgerRows, head: &str, entry: &Entry) -> Option<std::sync::Arc<str>> {
    let txn = rows.txns.peek(&(entry.txn.clone(),))?;
    Some(link(head, entry, &txn.kind))
}

/// What an account says against its open grants and holds.
fn lots(rows: &LedgerRows, account: &Account, held: i128, report: &mut AuditReport) {
    let key = (account.tenant.clone(), account.owner.clone());
    let begun = rows.grants.peek_group(&key).filter(|g| g.state != GrantState::Pending);
    let worth: i128 = begun.map(|g| i128::from(g.remaining.0)).sum::<i128>() - i128::from(account.debt.0);
    if worth != i128::from(account.posted.0) {
        let message = format!("open grants less debt are {worth}, the account says {}", account.posted.0);
        report.wrong("grants", &account.owner, message);
    }
    if held != i128::from(account.held.0) {
        let message = format!("open holds are {held}, the account says {}", account.held.0);
        report.wrong("holds", &account.owner, message);
    }
}

fn holds_and_grants(rows: &LedgerRows, report: &mut AuditReport) {
    let mut reserved: HashMap<&GrantId, i128> = HashMap::new();
    for hold in rows.holds.iter() {
        let (mut amount, mut taken): (i128, i128) = (0, 0);
        for slice in rows.slices.peek_group(&(hold.id.as_str().into(),)) {
            amount += i128::from(slice.amount.0);
            taken += i128::from(slice.taken.0);
            if let Some(lot) = slice.lot.as_ref().filter(|_| hold.state == HoldState::Open) {
                *reserved.entry(lot).or_default() += i128::from(slice.amount.0 - slice.taken.0);
            }
        }
        let (whole, captured) = (i128::from(hold.amount.0), i128::from(hold.captured.0));
        // An overage is drawn on top of the hold.
        let over = (captured - whole).max(0);
        let open = if hold.state == HoldState::Open { whole - captured } else { 0 };
        if amount != whole + over || taken != captured || i128::from(hold.open.0) != open {
            let message = format!(
                "its slices are {amount} and {taken} taken, the hold says {whole}, {captured} and {} open",
                hold.open.0
            );
            report.wrong("holds", &hold.id, message);
        }
    }
    for grant in rows.grants.iter() {
        let held = reserved.get(&grant.id).copied().unwrap_or(0);
        let fits = |n: MicroCredits| (0..=grant.amount.0).contains(&n.0);
        let sound = held == i128::from(grant.held.0)
            && grant.held <= grant.remaining
            && [grant.held, grant.remaining, grant.broken, grant.clawed]
                .into_iter()
                .all(fits)
            && grant.closed == (grant.remaining == MicroCredits::ZERO);
        if !sound {
            let message = format!(
                "{} of {} remain, {} are held, holds reserve {held}",
                grant.remaining.0, grant.amount.0, grant.held.0
            );
            report.wrong("grants", &grant.id, message);
        }
    }
}
