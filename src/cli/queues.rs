//! `levqor queues`: list, pause, resume, limit.

use crate::error::Result;
use crate::jobs::{JobState, QueueLimits};
use crate::limits::Quota;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, table};
use crate::cli::setup::{Global, open};

/// Look at queues, hold them up, limit them
///
/// Queues are shared by all tenants of a store, and what they are told holds for all workers of all processes. Example:
///
///   levqor queues list
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum QueuesCommand {
    /// List the queues that have jobs (of this tenant) or were told something
    ///
    /// Example:
    ///
    ///   levqor queues list
    #[command(verbatim_doc_comment)]
    List,
    /// Take nothing more from a queue; what runs goes on
    ///
    /// Example:
    ///
    ///   levqor queues pause mail
    #[command(verbatim_doc_comment)]
    Pause {
        /// The queue
        queue: String,
    },
    /// Take jobs from a queue again
    ///
    /// Example:
    ///
    ///   levqor queues resume mail
    #[command(verbatim_doc_comment)]
    Resume {
        /// The queue
        queue: String,
    },
    /// Say how much of a queue may run; what is not given has no limit
    ///
    /// Example:
    ///
    ///   levqor queues limit mail --running 20 --per-key 1 --rate "100/second"
    #[command(verbatim_doc_comment)]
    Limit(LimitArgs),
}

#[derive(Args)]
pub(crate) struct LimitArgs {
    /// The queue
    queue: String,
    /// Jobs that run at the same time
    #[arg(long, value_name = "N")]
    running: Option<u32>,
    /// Jobs with the same concurrency key that run at the same time
    #[arg(long, value_name = "N")]
    per_key: Option<u32>,
    /// How often a job may start
    #[arg(long, value_name = "QUOTA")]
    rate: Option<Quota>,
    /// How often a job with the same concurrency key may start
    #[arg(long, value_name = "QUOTA")]
    rate_per_key: Option<Quota>,
}

pub(crate) async fn queues(out: &Out, global: &Global, command: QueuesCommand) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let (queue, said) = match command {
        QueuesCommand::List => {
            let rows = listed(&engine.jobs().counts().await?, &engine.jobs().queues().await?)?;
            out.answer(&json!({"queues": rows}), || shown(&rows))?;
            return Ok(Exit::Ok);
        }
        QueuesCommand::Pause { queue } => {
            engine.jobs().pause(&queue).await?;
            (queue, "is paused")
        }
        QueuesCommand::Resume { queue } => {
            engine.jobs().resume(&queue).await?;
            (queue, "goes on")
        }
        QueuesCommand::Limit(args) => {
            let limits = QueueLimits {
                running: args.running,
                per_key: args.per_key,
                rate: args.rate,
                rate_per_key: args.rate_per_key,
            };
            engine.jobs().limit(&args.queue, limits).await?;
            (args.queue, "has its new limits")
        }
    };
    let rows = listed(&[], &engine.jobs().queues().await?)?;
    let row = rows
        .into_iter()
        .find(|row| row["queue"] == queue.as_str())
        .unwrap_or_default();
    out.answer(&row, || format!("{queue} {said}"))?;
    Ok(Exit::Ok)
}

/// One line for each queue, by name.
fn listed(counts: &[(String, JobState, u64)], settings: &[std::sync::Arc<crate::jobs::QueueSettings>]) -> Result<Vec<Value>> {
    let mut names: Vec<&str> = counts
        .iter()
        .map(|c| c.0.as_str())
        .chain(settings.iter().map(|s| &*s.queue))
        .collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &str| {
        let of = |state| counts.iter().find(|c| c.0 == name && c.1 == state).map_or(0, |c| c.2);
        let told = settings.iter().find(|s| *s.queue == *name);
        Ok(json!({
            "queue": name, "paused": told.is_some_and(|s| s.paused),
            "limits": told.map(|s| s.limits()).transpose()?.unwrap_or_default(),
            "scheduled": of(JobState::Scheduled), "ready": of(JobState::Ready), "leased": of(JobState::Leased),
            "dead": of(JobState::Dead),
        }))
    };
    names.into_iter().map(line).collect()
}

fn shown(rows: &[Value]) -> String {
    if rows.is_empty() {
        return "no queues".to_owned();
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let lines = rows.iter().map(|row| {
        let mut line: Vec<String> = ["queue", "scheduled", "ready", "leased", "dead"]
            .iter()
            .map(|c| text(&row[*c]))
            .collect();
        line.push(if row["paused"] == true { "paused" } else { "" }.to_owned());
        let limits = row["limits"].as_object().into_iter().flatten();
        let limits: Vec<String> = limits
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), text(value)))
            .collect();
        line.push(limits.join(", "));
        line
    });
    table(
        &["queue", "scheduled", "ready", "leased", "dead", "", "limits"],
        &[1, 2, 3, 4],
        lines,
    )
}
