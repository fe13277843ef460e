//! `levqor limits try`: what a quota does, without writing code.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::limits::{Ask, Decision, Quota};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, json_of, table};
use crate::cli::setup::{Global, open};

/// Try out rate limits
///
/// Example:
///
///   levqor limits try "60/minute burst 10" --key acme --times 12
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum LimitsCommand {
    /// Ask a limit, one time or many, and see what it says
    ///
    /// Shows each verdict, the explanation and the HTTP headers of the last one. Ends with 4 if a call was
    /// refused. In memory every command starts anew; elsewhere it goes on where the last one ended.
    /// Example:
    ///
    ///   levqor limits try "5/10s sliding" --key acme --times 6
    #[command(verbatim_doc_comment)]
    Try(TryArgs),
}

#[derive(Args)]
pub(crate) struct TryArgs {
    /// The quota, like "60/minute burst 10", "1000/day fixed" or "200 per 15m sliding"
    quota: String,
    /// Who is limited
    #[arg(long)]
    key: String,
    /// How many calls, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
    /// How many units each call costs
    #[arg(long, default_value_t = 1)]
    cost: u32,
    /// The limit's name in headers
    #[arg(long, default_value = "try")]
    name: String,
}

pub(crate) async fn limits(out: &Out, global: &Global, command: LimitsCommand) -> Result<Exit> {
    let LimitsCommand::Try(args) = command;
    let quota: Quota = args.quota.parse().map_err(|e: Error| e.at("QUOTA"))?;
    quota.check().map_err(|e| e.at("QUOTA"))?;
    let engine = open(global, Vec::new()).await?;
    let mut calls = Vec::new();
    for _ in 0..args.times {
        let ask = Ask::new(args.name.as_str(), args.key.as_str(), quota).cost(args.cost);
        calls.push(engine.limit(&[ask]).await?);
    }
    let refused = calls.iter().filter(|d| !d.admitted).count();
    let mut list = Vec::new();
    for call in &calls {
        let mut document = json_of(call)?;
        document["headers"] = headers(call);
        list.push(document);
    }
    let document = json!({"quota": quota, "key": args.key, "admitted": calls.len() - refused, "refused": refused, "calls": list});
    out.answer(&document, || human(&calls))?;
    Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
}

fn headers(call: &Decision) -> Value {
    call.headers().into_iter().map(|(name, value)| (name, json!(value))).collect()
}

fn human(calls: &[Decision]) -> String {
    // Neighbours with the same verdict share a row.
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        match rows.last_mut() {
            Some((first, last)) if calls[*first].admitted == call.admitted => *last = i,
            _ => rows.push((i, i)),
        }
    }
    let rows = rows.into_iter().map(|(first, last)| {
        let range = |a: String, b: String| if a == b { a } else { format!("{a} .. {b}") };
        let remaining = |i: usize| calls[i].tightest().map_or(0, |a| a.remaining).to_string();
        let wait = calls[last].retry_after.map_or("-".to_owned(), |w| format!("{w}"));
        vec![
            range((first + 1).to_string(), (last + 1).to_string()),
            if calls[first].admitted { "admitted" } else { "refused" }.to_owned(),
            range(remaining(first), remaining(last)),
            wait,
        ]
    });
    let mut text = table(&["call", "verdict", "remaining", "passes in"], &[], rows);
    if let Some(last) = calls.last() {
        let _ = write!(text, "\n\nthe last call: {}\n", last.explain());
        for (name, value) in last.headers() {
            let _ = write!(text, "\n{name}: {value}");
        }
    }
    text
}
