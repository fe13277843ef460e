use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;

use super::conn::{Arg, Conn, Fault};
use super::load::fetch;
use super::store::Inner;
use super::text::TableSql;
use crate::error::Result;
use crate::jobs::schedule::{ScheduleRow, Tick};
use crate::jobs::{Job, JobBatch, JobState, JournalRow, QueueSettings};
use crate::records::Record;
use crate::store::{BatchRead, JobFilter, JournalRead, Page, QueueRead, RecordRead, ScheduleRead};
use crate::table::{Cell, Kind, Row};
use crate::types::{BatchId, JobId, Tenant};

pub(super) struct SqlReads(pub(super) Arc<Inner>);

impl SqlReads {
    /// The rows of a table that a tail (`WHERE ...`, over alias `t`) picks.
    pub(super) async fn pick<R: Row>(&self, tail: &str, args: Vec<Arg>) -> Result<Vec<Arc<R>>> {
        let mut conn = self.0.driver.reader().await.map_err(Fault::into_error)?;
        let rows = self.of::<R>(conn.as_mut(), tail, args).await.map_err(Fault::into_error)?;
        Ok(rows.into_iter().map(Arc::new).collect())
    }

    pub(super) async fn of<R: Row>(&self, conn: &mut dyn Conn, tail: &str, args: Vec<Arg>) -> Result<Vec<R>, Fault> {
        fetch::<R>(
            conn,
            &format!("{} {tail}", TableSql::of::<R>(self.0.driver.dialect()).select),
            args,
        )
        .await
    }

    pub(super) async fn one<R: Row>(&self, tail: &str, args: Vec<Arg>) -> Result<Option<Arc<R>>> {
        Ok(self.pick(tail, args).await?.into_iter().next())
    }
}

pub(super) fn limit(n: usize) -> Arg {
    Arg::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn text(t: &str) -> Arg {
    Arg::from(t)
}

#[async_trait]
impl QueueRead for SqlReads {
    async fn job(&self, tenant: &Tenant, id: &JobId) -> Result<Option<Arc<Job>>> {
        self.one(
            "WHERE t.id = $1 AND t.tenant = $2",
            vec![text(id.as_str()), text(tenant.as_str())],
        )
        .await
    }

    async fn jobs(&self, tenant: &Tenant, filter: &JobFilter, page: &Page) -> Result<Vec<Arc<Job>>> {
        let mut tail = String::from("WHERE t.tenant = $1");
        let mut args = vec![text(tenant.as_str())];
        if let Some(state) = filter.state {
            // Written out, so that the partial index of dead jobs can serve.
            let _ = write!(tail, " AND t.state = '{}'", state.as_str());
        }
        let columns = [
            ("queue", &filter.queue),
            ("account", &filter.account),
            ("handler", &filter.handler),
            ("batch", &filter.batch.as_ref().map(ToString::to_string)),
        ];
        for (column, value) in columns.into_iter().filter_map(|(c, v)| v.as_deref().map(|v| (c, v))) {
            args.push(text(value));
            let _ = write!(tail, " AND t.{column} = ${}", args.len());
        }
        if let Some(after) = &page.after {
            args.push(text(after));
            let _ = write!(
                tail,
                " AND (t.created_at, t.id) < (SELECT j.created_at, j.id FROM levqor_job j WHERE j.id = ${})",
                args.len()
            );
        }
        args.push(limit(page.limit));
        let _ = write!(tail, " ORDER BY t.created_at DESC, t.id DESC LIMIT ${}", args.len());
        self.pick(&tail, args).await
    }

    async fn counts(&self, tenant: &Tenant) -> Result<Vec<(String, JobState, u64)>> {
        let sql = "SELECT queue, state, CAST(COUNT(*) AS BIGINT) FROM levqor_job WHERE tenant = $1 AND state IN ('scheduled', 'ready', 'leased') GROUP BY queue, state
                   UNION ALL
                   SELECT queue, state, CAST(COUNT(*) AS BIGINT) FROM levqor_job WHERE tenant = $1 AND state = 'dead' GROUP BY queue, state
                   ORDER BY 1, 2";
        let mut conn = self.0.driver.reader().await.map_err(Fault::into_error)?;
        let rows = conn
            .fetch(sql, vec![text(tenant.as_str())], &[Kind::Text, Kind::Text, Kind::Int])
            .await
            .map_err(Fault::into_error)?;
        let counts = rows.into_iter().filter_map(|row| match row.as_slice() {
            [Cell::Text(queue), Cell::Text(state), Cell::Int(n)] => {
                Some((queue.to_string(), JobState::from_name(state)?, u64::try_from(*n).unwrap_or(0)))
            }
            _ => None,
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable();
        Ok(counts)
    }

    async fn queues(&self) -> Result<Vec<Arc<QueueSettings>>> {
        self.pick("ORDER BY t.queue", vec![]).await
    }
}

#[async_trait]
impl BatchRead for SqlReads {
    async fn batch(&self, tenant: &Tenant, id: &BatchId) -> Result<Option<Arc<JobBatch>>> {
        let tail = "WHERE t.id = $1 AND t.tenant = $2";
        self.one(tail, vec![text(id.as_str()), text(tenant.as_str())]).await
    }
}

#[async_trait]
impl ScheduleRead for SqlReads {
    async fn schedule(&self, tenant: &Tenant, id: &str) -> Result<Option<Arc<ScheduleRow>>> {
        let tail = "WHERE t.tenant = $1 AND t.id = $2";
        self.one(tail, vec![text(tenant.as_str()), text(id)]).await
    }

    async fn schedules(&self, tenant: &Tenant, page: &Page) -> Result<Vec<Arc<ScheduleRow>>> {
        let tail = "WHERE t.tenant = $1 AND t.id > $2 ORDER BY t.id LIMIT $3";
        let after = page.after.as_deref().unwrap_or("");
        self.pick(tail, vec![text(tenant.as_str()), text(after), limit(page.limit)])
            .await
    }

    async fn due_first(&self, n: usize) -> Result<Vec<Arc<ScheduleRow>>> {
        let tail = "WHERE t.state = 'active' ORDER BY t.due_at, t.tenant, t.id LIMIT $1";
        self.pick(tail, vec![limit(n)]).await
    }

    async fn ticks(&self, tenant: &Tenant, id: &str, before: i64, n: usize) -> Result<Vec<Arc<Tick>>> {
        let tail = "WHERE t.tenant = $1 AND t.schedule = $2 AND t.seq < $3 ORDER BY t.seq DESC LIMIT $4";
        self.pick(tail, vec![text(tenant.as_str()), text(id), Arg::Int(before), limit(n)])
            .await
    }
}

#[async_trait]
impl JournalRead for SqlReads {
    async fn steps(&self, job: &JobId) -> Result<Vec<Arc<JournalRow>>> {
        self.pick("WHERE t.job = $1 ORDER BY t.started_at, t.path", vec![text(job.as_str())])
            .await
    }
}

#[async_trait]
impl RecordRead for SqlReads {
    async fn record(&self, tenant: &Tenant, kind: &str, name: &str) -> Result<Option<Arc<Record>>> {
        let tail = "WHERE t.tenant = $1 AND t.kind = $2 AND t.name = $3";
        self.one(tail, vec![text(tenant.as_str()), text(kind), text(name)]).await
    }

    async fn records(&self, tenant: &Tenant, kind: &str, page: &Page) -> Result<Vec<Arc<Record>>> {
        let tail = "WHERE t.tenant = $1 AND t.kind = $2 AND t.name > $3 ORDER BY t.name LIMIT $4";
        let after = page.after.as_deref().unwrap_or("");
        self.pick(tail, vec![text(tenant.as_str()), text(kind), text(after), limit(page.limit)])
            .await
    }
}
