//! `levqor jobs`: list, dead, redrive, cancel, signal.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::jobs::{Job, JobState};
use crate::store::{JobFilter, Page};
use crate::types::JobId;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, instant, table};
use crate::cli::setup::{Global, open};

/// Look at jobs, call them off, bring them back
///
/// A run of a pipeline is a job. Example:
///
///   levqor jobs list --state ready --limit 20
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    ///
    /// States are scheduled, ready, leased, done, dead and cancelled. Example:
    ///
    ///   levqor jobs list --account acme --state done
    #[command(verbatim_doc_comment)]
    List(ListArgs),
    /// List the dead letters, newest first, with what killed them
    ///
    /// Example:
    ///
    ///   levqor jobs dead
    #[command(verbatim_doc_comment)]
    Dead(PageArgs),
    /// Put a dead or cancelled job back to where it failed
    ///
    /// Steps that are done stay done; credits are held anew. With --all, every dead letter that fits the other
    /// options. Examples:
    ///
    ///   levqor jobs redrive run_01jz...
    ///   levqor jobs redrive --all --queue mail --code http.timeout
    #[command(verbatim_doc_comment)]
    Redrive {
        /// The job's id
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        #[command(flatten)]
        all: AllArgs,
    },
    /// Tell a job something that it waits for, or will
    ///
    /// Example:
    ///
    ///   levqor jobs signal job_01jz... approve --payload '{"by": "ann"}'
    #[command(verbatim_doc_comment)]
    Signal {
        /// The job's id
        id: String,
        /// What it is about
        name: String,
        /// Any JSON
        #[arg(long, value_name = "JSON", default_value = "null")]
        payload: String,
    },
    /// Call a job off
    ///
    /// At once if it waits, at its worker's next heartbeat if it runs. Example:
    ///
    ///   levqor jobs cancel run_01jz...
    #[command(verbatim_doc_comment)]
    Cancel {
        /// The job's id
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct AllArgs {
    /// Every dead letter that fits
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Only those of this queue
    #[arg(long, requires = "all")]
    queue: Option<String>,
    /// Only those of this account
    #[arg(long, requires = "all")]
    account: Option<String>,
    /// Only those of this handler
    #[arg(long, requires = "all")]
    handler: Option<String>,
    /// Only those whose error has this code
    #[arg(long, requires = "all")]
    code: Option<String>,
    /// At most so many, the newest first
    #[arg(long, requires = "all", default_value_t = 1_000)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only jobs in this state
    #[arg(long)]
    state: Option<String>,
    /// Only jobs of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only jobs of this account
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args)]
pub(crate) struct PageArgs {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only those behind this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

pub(crate) async fn jobs(out: &Out, global: &Global, command: JobsCommand) -> Result<Exit> {
    match command {
        JobsCommand::List(args) => {
            let filter = JobFilter {
                state: args.state.as_deref().map(state).transpose()?,
                queue: args.queue,
                account: args.account,
                ..JobFilter::default()
            };
            show(out, global, &filter, args.page).await
        }
        JobsCommand::Dead(page) => {
            let filter = JobFilter {
                state: Some(JobState::Dead),
                ..JobFilter::default()
            };
            show(out, global, &filter, page).await
        }
        JobsCommand::Redrive { id: None, all } => redrive_all(out, global, all).await,
        JobsCommand::Signal { id, name, payload } => {
            let payload = serde_json::from_str(&payload)
                .map_err(|e| Error::invalid("cli.bad_json", format!("the payload is not JSON: {e}")).at("--payload"))?;
            let (engine, id) = one(global, &id).await?;
            let job = engine.jobs().signal(&id, &name, &payload).await?;
            out.answer(&document(&job), || {
                format!("{} is told; it is {}", job.id, job.state.as_str())
            })?;
            Ok(Exit::Ok)
        }
        JobsCommand::Redrive { id: Some(id), .. } => {
            let (engine, id) = one(global, &id).await?;
            let job = engine.jobs().redrive(&id).await?;
            out.answer(&document(&job), || format!("{} is {} again", job.id, job.state.as_str()))?;
            Ok(Exit::Ok)
        }
        JobsCommand::Cancel { id } => {
            let (engine, id) = one(global, &id).await?;
            let job = engine.jobs().cancel(&id).await?;
            out.answer(&document(&job), || match job.state {
                JobState::Leased => format!("{} is asked to stop at its worker's next heartbeat", job.id),
                state => format!("{} is {}", job.id, state.as_str()),
            })?;
            Ok(Exit::Ok)
        }
    }
}

async fn redrive_all(out: &Out, global: &Global, args: AllArgs) -> Result<Exit> {
    let filter = JobFilter {
        queue: args.queue,
        account: args.account,
        handler: args.handler,
        ..JobFilter::default()
    };
    let engine = open(global, Vec::new()).await?;
    let report = engine.jobs().redrive_all(&filter, args.code.as_deref(), args.limit).await?;
    out.answer(&json!({"redriven": report.jobs, "refused": report.refused}), || {
        let mut text = format!("{} brought back", report.jobs.len());
        for (id, error) in &report.refused {
            let why = error.get("message").and_then(Value::as_str).unwrap_or_default();
            let _ = write!(text, "\n{id} was not: {why}");
        }
        text
    })?;
    Ok(if report.refused.is_empty() { Exit::Ok } else { Exit::Refused })
}

fn state(text: &str) -> Result<JobState> {
    JobState::from_name(text).ok_or_else(|| {
        Error::invalid("cli.bad_state", format!("`{text}` is no state of a job"))
            .at("--state")
            .hint("states are scheduled, ready, leased, done, dead and cancelled")
    })
}

async fn one(global: &Global, id: &str) -> Result<(Engine, JobId)> {
    let id: JobId = id.parse().map_err(|e: Error| e.at("ID"))?;
    Ok((open(global, Vec::new()).await?, id))
}

/// What a stored text says: JSON where it is JSON.
fn stored(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |t| serde_json::from_str(t).unwrap_or_else(|_| json!(t)))
}

fn document(job: &Job) -> Value {
    json!({
        "id": job.id, "queue": job.queue, "handler": job.handler, "account": job.account, "state": job.state,
        "priority": job.priority, "attempt": job.attempt, "max_attempts": job.max_attempts, "crashes": job.crashes,
        "run_at": job.run_at, "created_at": job.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
        "worker": job.worker, "lease_until": job.lease_until, "hold": job.hold, "cancel_asked": job.cancel,
        "captured": job.captured, "unique_key": job.unique_key, "concurrency_key": job.concurrency_key,
        "batch": job.batch, "kept_back": job.parked(), "progress": stored(job.progress.as_deref()), "error": stored(job.error.as_deref()), "result": stored(job.result.as_deref()),
    })
}

async fn show(out: &Out, global: &Global, filter: &JobFilter, page: PageArgs) -> Result<Exit> {
    // A wrong place to go on from would silently be an empty page.
    let after = page
        .after
        .map(|id| id.parse::<JobId>().map_err(|e| e.at("--after")))
        .transpose()?;
    let engine = open(global, Vec::new()).await?;
    if let Some(id) = &after {
        engine.jobs().get(id).await?;
    }
    let wanted = Page {
        after: after.map(|id| id.to_string()),
        limit: page.limit,
    };
    let jobs: Vec<Arc<Job>> = engine.jobs().list(filter, &wanted).await?;
    let full = jobs.len() == page.limit;
    let next = jobs.last().filter(|_| full).map(|job| job.id.to_string());
    let list: Vec<Value> = jobs.iter().map(|job| document(job)).collect();
    out.answer(&json!({"jobs": list, "next": next}), || {
        if jobs.is_empty() {
            return "no jobs".to_owned();
        }
        let why = |job: &Job| {
            let error = stored(job.error.as_deref());
            let text = |field: &str| error.get(field).and_then(Value::as_str).map(str::to_owned);
            text("message").or_else(|| text("code")).unwrap_or_default()
        };
        let rows = jobs.iter().map(|job| {
            vec![
                job.id.to_string(),
                job.state.as_str().to_owned(),
                job.queue.to_string(),
                job.account.as_deref().unwrap_or("-").to_owned(),
                format!("{}/{}", job.attempt, job.max_attempts),
                instant(job.created_at),
                why(job),
            ]
        });
        let mut text = table(
            &["id", "state", "queue", "account", "attempt", "created at", "error"],
            &[4],
            rows,
        );
        if let Some(next) = next {
            let _ = write!(text, "\n\nthere may be more: --after {next}");
        }
        text
    })?;
    Ok(Exit::Ok)
}
