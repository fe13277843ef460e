//! Reading credits.

use std::sync::Arc;

use async_trait::async_trait;

use super::conn::{Arg, Conn, Fault};
use super::load::select;
use super::reads::{SqlReads, limit, text};
use crate::credits::{Account, Entry, Grant, LedgerRows, Txn};
use crate::error::Result;
use crate::store::{AsOf, EntryFilter, LedgerRead, LedgerScope};
use crate::table::{Row, Table};
use crate::types::{MicroCredits, Millis, Tenant};

impl SqlReads {
    /// All rows that a tail picks, into a table.
    async fn fill<R: Row>(&self, conn: &mut dyn Conn, to: &mut Table<R>, tail: &str, args: Vec<Arg>) -> Result<(), Fault> {
        self.of::<R>(conn, tail, args).await?.into_iter().for_each(|r| to.load(r));
        Ok(())
    }

    async fn scope(&self, conn: &mut dyn Conn, tenant: &Tenant, scope: &LedgerScope) -> Result<LedgerRows, Fault> {
        let mut all = LedgerRows::complete();
        let whose = || vec![text(tenant.as_str())];
        match scope {
            LedgerScope::Everything => {
                let tail = "WHERE t.tenant = $1";
                self.fill(conn, &mut all.accounts, tail, whose()).await?;
                self.fill(conn, &mut all.grants, tail, whose()).await?;
                self.fill(conn, &mut all.sources, tail, whose()).await?;
                self.fill(conn, &mut all.holds, tail, whose()).await?;
                self.fill(conn, &mut all.slices, tail, whose()).await?;
                self.fill(conn, &mut all.txns, tail, whose()).await?;
                self.fill(conn, &mut all.entries, tail, whose()).await?;
            }
            LedgerScope::Accounts(page) => {
                let after = page.after.as_deref().unwrap_or("");
                let tail = "WHERE t.tenant = $1 AND t.owner > $2 ORDER BY t.owner LIMIT $3";
                let args = vec![text(tenant.as_str()), text(after), limit(page.limit)];
                self.fill(conn, &mut all.accounts, tail, args).await?;
            }
            LedgerScope::Grants { owner, all: every } => {
                let tail = |closed: &str| format!("WHERE t.tenant = $1 AND t.owner = $2 AND {closed}");
                let args = || vec![text(tenant.as_str()), text(owner)];
                // Each has a partial index of its own: an index over both would be taken for the first,
                // which every operation asks for, and then its cost would grow with the history.
                self.fill(conn, &mut all.grants, &tail(Grant::OPEN), args()).await?;
                if *every {
                    self.fill(conn, &mut all.grants, &tail("closed = 1"), args()).await?;
                }
            }
            LedgerScope::Hold(id) => {
                let tail = "WHERE t.id = $1 AND t.tenant = $2";
                let args = vec![text(id.as_str()), text(tenant.as_str())];
                self.fill(conn, &mut all.holds, tail, args).await?;
            }
            LedgerScope::Txns(ids) => {
                let keys = ids.iter().map(|id| (id.clone(),)).collect();
                let found = select::<Txn>(conn, self.0.driver.dialect(), &keys).await?;
                let ours = found.into_iter().filter(|t| t.tenant == *tenant);
                ours.for_each(|t| all.txns.load(t));
            }
        }
        Ok(all)
    }

    /// The last entry before which none counts later than this instant.
    async fn in_time_before(
        &self,
        conn: &mut dyn Conn,
        tenant: &Tenant,
        owner: &str,
        end: Millis,
    ) -> Result<Option<Entry>, Fault> {
        let tail = "WHERE t.tenant = $1 AND t.owner = $2 AND t.booked_at < $3 AND t.late = 0
                    ORDER BY t.booked_at DESC, t.version DESC LIMIT 1";
        let args = vec![text(tenant.as_str()), text(owner), Arg::Int(end.0)];
        Ok(self.of::<Entry>(conn, tail, args).await?.into_iter().next())
    }

    async fn booked(&self, conn: &mut dyn Conn, tenant: &Tenant, owner: &str, filter: &EntryFilter) -> Result<Vec<Entry>, Fault> {
        let (from, to) = filter.booked;
        // Those that came in time stand in the order in which they count: nothing up to the one counts
        // in the window, and of what comes behind the other only what is late. So no page costs more
        // because the history is long.
        let version = |found: Option<Entry>| found.map_or(0, |e| e.version);
        let before = version(self.in_time_before(conn, tenant, owner, from).await?);
        let until = version(self.in_time_before(conn, tenant, owner, to).await?);
        let after = filter.after.max(before);
        let args = |after: i64, n: usize| {
            let window = [from.0, to.0, after].map(Arg::Int);
            let mut args = vec![text(tenant.as_str()), text(owner)];
            args.extend(window);
            args.push(limit(n));
            args
        };
        let window = "WHERE t.tenant = $1 AND t.owner = $2 AND t.booked_at >= $3 AND t.booked_at < $4 AND t.version > $5";
        let in_time = format!("{window} AND t.version <= $7 ORDER BY t.version LIMIT $6");
        let mut first = args(after, filter.limit);
        first.push(Arg::Int(until));
        let mut found = self.of::<Entry>(conn, &in_time, first).await?;
        if found.len() < filter.limit {
            let late = format!("{window} AND t.late = 1 ORDER BY t.version LIMIT $6");
            let left = filter.limit - found.len();
            found.extend(self.of::<Entry>(conn, &late, args(after.max(until), left)).await?);
        }
        Ok(found)
    }

    async fn sum(
        &self,
        conn: &mut dyn Conn,
        tenant: &Tenant,
        owner: &str,
        at: AsOf,
    ) -> Result<(MicroCredits, Vec<Entry>), Fault> {
        match at {
            AsOf::Booked(at) => {
                let base = self.in_time_before(conn, tenant, owner, at.saturating_add(Millis(1))).await?;
                let (version, sum) = base.map_or((0, MicroCredits::ZERO), |e| (e.version, e.after));
                let tail = "WHERE t.tenant = $1 AND t.owner = $2 AND t.version > $3 AND t.booked_at <= $4 AND t.late = 1";
                let args = vec![text(tenant.as_str()), text(owner), Arg::Int(version), Arg::Int(at.0)];
                Ok((sum, self.of::<Entry>(conn, tail, args).await?))
            }
            AsOf::Recorded(at) => {
                let tail = "WHERE t.tenant = $1 AND t.owner = $2 AND t.recorded_at <= $3 ORDER BY t.version DESC LIMIT 1";
                let args = vec![text(tenant.as_str()), text(owner), Arg::Int(at.0)];
                let newest = self.of::<Entry>(conn, tail, args).await?.into_iter().next();
                Ok((newest.map_or(MicroCredits::ZERO, |e| e.after), Vec::new()))
            }
        }
    }
}

#[async_trait]
impl LedgerRead for SqlReads {
    async fn account(&self, tenant: &Tenant, owner: &str) -> Result<Option<Arc<Account>>> {
        let tail = "WHERE t.tenant = $1 AND t.owner = $2";
        self.one(tail, vec![text(tenant.as_str()), text(owner)]).await
    }

    async fn entries(&self, tenant: &Tenant, owner: &str, filter: &EntryFilter) -> Result<Vec<Arc<Entry>>> {
        let mut conn = self.0.driver.reader().await.map_err(Fault::into_error)?;
        let found = self.booked(conn.as_mut(), tenant, owner, filter).await;
        Ok(found.map_err(Fault::into_error)?.into_iter().map(Arc::new).collect())
    }

    async fn as_of(&self, tenant: &Tenant, owner: &str, at: AsOf) -> Result<MicroCredits> {
        let mut conn = self.0.driver.reader().await.map_err(Fault::into_error)?;
        let (mut sum, late) = self.sum(conn.as_mut(), tenant, owner, at).await.map_err(Fault::into_error)?;
        for entry in late {
            sum = sum.checked_add(entry.amount)?;
        }
        Ok(sum)
    }

    async fn rows(&self, tenant: &Tenant, scope: &LedgerScope) -> Result<LedgerRows> {
        let mut conn = self.0.driver.reader().await.map_err(Fault::into_error)?;
        conn.begin_read().await.map_err(Fault::into_error)?;
        let rows = self.scope(conn.as_mut(), tenant, scope).await;
        conn.end(false).await.map_err(Fault::into_error)?;
        rows.map_err(Fault::into_error)
    }
}
