//! Enqueuing by the host's own hands: a statement for a transaction that only the host can reach.

use serde::Serialize;
use serde_json::Value;

use super::Jobs;
use super::request::JobRequest;
use crate::error::{Error, Result};
use crate::jobs::{Job, fresh};
use crate::store::topic;
use crate::table::{Cell, Row};
use crate::types::JobId;

/// How a driver wants its parameters to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `$1`, `$2`: node-postgres, Postgres.js, asyncpg, sqlx.
    Numbered,
    /// `%s`: psycopg.
    Format,
}

/// A statement and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// Texts, integers and nulls, in the order of their placeholders.
    pub params: Vec<Value>,
}

/// What puts a job into its queue when the host runs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SqlEnqueue {
    /// The job that will be there.
    pub job: JobId,
    /// To be run in this order, in one transaction.
    pub statements: Vec<Statement>,
}

impl Jobs<'_> {
    /// The statements that enqueue a job, for a host that runs them in its own Postgres transaction, with its own
    /// driver: then the job exists exactly if the rest of that transaction does. Workers hear of it at the commit.
    ///
    /// A hold, a unique key, a batch and an idempotency key need more than an insert: they are refused here
    /// (`jobs.sql_unsupported`). In Rust, [`Atomic::commit_in`](super::Atomic::commit_in) takes them all.
    pub fn sql_enqueue(&self, request: JobRequest, placeholder: Placeholder) -> Result<SqlEnqueue> {
        let more = [
            ("hold", request.hold.is_some()),
            ("unique", request.unique.is_some()),
            ("batch", request.batch.is_some()),
            ("key", request.key.is_some()),
        ];
        if let Some((what, _)) = more.iter().find(|(_, given)| *given) {
            return Err(Error::invalid(
                "jobs.sql_unsupported",
                format!("`{what}` cannot be had with a plain statement"),
            )
            .at(*what)
            .hint("leave it out, or enqueue the job with the engine after the transaction"));
        }
        let job = fresh(&request.job(self.0)?, &self.0.tenant, self.0.now());
        let holder = |n: usize| match placeholder {
            Placeholder::Numbered => format!("${n}"),
            Placeholder::Format => "%s".to_owned(),
        };
        let columns: Vec<&str> = Job::COLUMNS.iter().map(|c| c.name).collect();
        let holders: Vec<String> = (1..=columns.len()).map(holder).collect();
        let insert = Statement {
            sql: format!(
                "INSERT INTO {} ({}) VALUES ({})",
                Job::TABLE,
                columns.join(", "),
                holders.join(", ")
            ),
            params: job.cells().into_iter().map(param).collect(),
        };
        let wake = Statement {
            sql: format!("SELECT pg_notify({}, {})", holder(1), holder(2)),
            params: vec![topic::CHANNEL.into(), topic::queue(&job.queue).into()],
        };
        Ok(SqlEnqueue {
            job: job.id,
            statements: vec![insert, wake],
        })
    }
}

fn param(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(n) => n.into(),
        Cell::Text(text) => text.as_ref().into(),
    }
}
