//! Reading credits from memory.

use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryStore;
use super::store::behind;
use crate::credits::{Account, Entry, LedgerRows};
use crate::error::Result;
use crate::store::{AsOf, EntryFilter, LedgerRead, LedgerScope};
use crate::table::{Row, Table};
use crate::types::{MicroCredits, Millis, Tenant};

/// The entries of one account.
struct Entries<'a> {
    rows: &'a LedgerRows,
    tenant: &'a Tenant,
    owner: Arc<str>,
    last: i64,
}

impl<'a> Entries<'a> {
    fn of(rows: &'a LedgerRows, tenant: &'a Tenant, owner: &str) -> Self {
        let owner: Arc<str> = owner.into();
        let account = rows.accounts.peek(&(tenant.clone(), owner.clone()));
        Entries {
            rows,
            tenant,
            owner,
            last: account.map_or(0, |a| a.version),
        }
    }

    fn get(&self, version: i64) -> Option<&'a Arc<Entry>> {
        self.rows.entries.peek(&(self.tenant.clone(), self.owner.clone(), version))
    }

    /// Those that one with a lower number counts later than, by version.
    fn late(&self) -> Vec<&'a Arc<Entry>> {
        let account = (self.tenant.clone(), self.owner.clone());
        self.rows.entries.peek_group(&account).collect()
    }

    /// The last entry before which none counts later than this instant: those that came in time stand
    /// in the order in which they count, so halving finds it.
    fn in_time_before(&self, end: Millis) -> Option<&'a Arc<Entry>> {
        let in_time = |version: i64| (1..=version).rev().filter_map(|v| self.get(v)).find(|e| !e.late);
        let (mut low, mut high) = (0, self.last);
        while low < high {
            let middle = high - (high - low) / 2;
            match in_time(middle) {
                Some(entry) if entry.booked_at < end => low = middle,
                _ => high = middle - 1,
            }
        }
        in_time(low)
    }
}

#[async_trait]
impl LedgerRead for MemoryStore {
    async fn account(&self, tenant: &Tenant, owner: &str) -> Result<Option<Arc<Account>>> {
        Ok(self.lock().ledger.accounts.peek(&(tenant.clone(), owner.into())).cloned())
    }

    async fn entries(&self, tenant: &Tenant, owner: &str, filter: &EntryFilter) -> Result<Vec<Arc<Entry>>> {
        let rows = self.lock();
        let entries = Entries::of(&rows.ledger, tenant, owner);
        let (from, to) = filter.booked;
        // Nothing up to the one counts in the window, and of what comes behind the other only what is late.
        let before = entries.in_time_before(from).map_or(0, |e| e.version);
        let until = entries.in_time_before(to).map_or(0, |e| e.version);
        let first = filter.after.max(before).saturating_add(1);
        let in_time = (first..=until).filter_map(|v| entries.get(v));
        let late = entries.late().into_iter().filter(|e| e.version >= first && e.version > until);
        Ok(in_time
            .chain(late)
            .filter(|e| from <= e.booked_at && e.booked_at < to)
            .take(filter.limit)
            .cloned()
            .collect())
    }

    async fn as_of(&self, tenant: &Tenant, owner: &str, at: AsOf) -> Result<MicroCredits> {
        let rows = self.lock();
        let entries = Entries::of(&rows.ledger, tenant, owner);
        match at {
            AsOf::Booked(at) => {
                let base = entries.in_time_before(at.saturating_add(Millis(1)));
                let (version, mut sum) = base.map_or((0, MicroCredits::ZERO), |e| (e.version, e.after));
                for entry in entries
                    .late()
                    .into_iter()
                    .filter(|e| e.version > version && e.booked_at <= at)
                {
                    sum = sum.checked_add(entry.amount)?;
                }
                Ok(sum)
            }
            AsOf::Recorded(at) => {
                let mut newest = (1..=entries.last).rev().filter_map(|v| entries.get(v));
                Ok(newest.find(|e| e.recorded_at <= at).map_or(MicroCredits::ZERO, |e| e.after))
            }
        }
    }

    async fn rows(&self, tenant: &Tenant, scope: &LedgerScope) -> Result<LedgerRows> {
        let rows = self.lock();
        let from = &rows.ledger;
        let mut all = LedgerRows::complete();
        match scope {
            LedgerScope::Everything => {
                copy(&from.accounts, &mut all.accounts, |r| r.tenant == *tenant);
                copy(&from.grants, &mut all.grants, |r| r.tenant == *tenant);
                copy(&from.sources, &mut all.sources, |r| r.tenant == *tenant);
                copy(&from.holds, &mut all.holds, |r| r.tenant == *tenant);
                copy(&from.slices, &mut all.slices, |r| r.tenant == *tenant);
                copy(&from.txns, &mut all.txns, |r| r.tenant == *tenant);
                copy(&from.entries, &mut all.entries, |r| r.tenant == *tenant);
            }
            LedgerScope::Accounts(page) => {
                let mut found: Vec<_> = from.accounts.iter().filter(|a| a.tenant == *tenant).cloned().collect();
                found.sort_unstable_by(|a, b| a.owner.cmp(&b.owner));
                let found = behind(found, page, |a| &a.owner);
                found.iter().for_each(|r| all.accounts.load((**r).clone()));
            }
            LedgerScope::Grants { owner, all: true } => {
                copy(&from.grants, &mut all.grants, |r| r.tenant == *tenant && *r.owner == **owner);
            }
            LedgerScope::Grants { owner, all: false } => {
                let account = (tenant.clone(), owner.as_str().into());
                let open = from.grants.peek_group(&account);
                open.for_each(|r| all.grants.load((**r).clone()));
            }
            LedgerScope::Hold(id) => {
                let found = from.holds.peek(&(id.clone(),)).filter(|r| r.tenant == *tenant);
                found.into_iter().for_each(|r| all.holds.load((**r).clone()));
            }
            LedgerScope::Txns(ids) => {
                let found = ids.iter().filter_map(|id| from.txns.peek(&(id.clone(),)));
                found
                    .filter(|r| r.tenant == *tenant)
                    .for_each(|r| all.txns.load((**r).clone()));
            }
        }
        Ok(all)
    }
}

fn copy<R: Row>(from: &Table<R>, to: &mut Table<R>, which: impl Fn(&R) -> bool) {
    from.iter().filter(|r| which(r)).for_each(|r| to.load((**r).clone()));
}
