//! `levqor worker`.

use std::time::Duration;

use crate::engine::RunEvent;
use crate::error::{Error, Result};
use crate::types::{Millis, parse_duration};
use clap::Args;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::oneshot;

use crate::cli::out::{Exit, Out, json_of, list};
use crate::cli::setup::{Connections, Global, open};
use crate::cli::signals::Signals;

/// Take jobs and do them, and fire schedules, until told to stop
///
/// SIGTERM or SIGINT: takes nothing more, lets what runs end within the grace, gives the rest back for another
/// worker, and ends with 0. A second signal ends at once; what ran is taken up by another worker when its lease has
/// run out. Example:
///
///   levqor worker --queues urgent,default --concurrency 16
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WorkerArgs {
    /// Queues, the first one served first
    #[arg(long, value_delimiter = ',', default_value = "default")]
    queues: Vec<String>,
    /// How many jobs at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// How long a job stays ours without a heartbeat, at least 2s
    #[arg(long, default_value = "15s", value_parser = parse_duration, value_name = "SPAN")]
    lease: Millis,
    /// How long running jobs may go on after the signal
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "SPAN")]
    grace: Millis,
    /// Leave schedules to other workers
    #[arg(long)]
    no_schedules: bool,
    #[command(flatten)]
    connections: Connections,
}

pub(crate) async fn worker(out: &Out, global: &Global, args: WorkerArgs) -> Result<Exit> {
    if args.lease < Millis::secs(2) {
        return Err(Error::invalid("worker.short_lease", "a lease holds for 2s at least").at("--lease"));
    }
    let connections = args.connections.read()?;
    let mut signals = Signals::listen()?;
    let engine = open(global, connections).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = engine
        .worker()
        .queues(args.queues.iter().map(String::as_str))
        .concurrency(usize::from(args.concurrency))
        .lease(args.lease)
        .grace(args.grace.to_duration())
        .schedules(!args.no_schedules);
    let log = tokio::spawn(tell(Out::new(out.json), engine.events()));
    let info = engine.backend().store.info();
    out.note(&format!(
        "working {} from {} {}, {} at a time",
        args.queues.join(", "),
        info.kind,
        info.place,
        args.concurrency
    ));
    let mut worker = tokio::spawn(worker.run(async {
        // Sent or dropped: both mean stop.
        let _ = stopped.await;
    }));
    let died = |e: tokio::task::JoinError| Error::internal(format!("the worker died: {e}"));
    let report = tokio::select! {
        report = &mut worker => report.map_err(died)??,
        () = signals.next() => {
            out.note("draining; a second signal ends at once");
            drop(stop);
            tokio::select! {
                report = &mut worker => report.map_err(died)??,
                () = signals.next() => {
                    let e = Error::conflict("worker.ended_at_once", "ended without draining");
                    out.error(&e.hint("jobs that ran are taken up again when their leases have run out"));
                    return Ok(Exit::Failed);
                }
            }
        }
    };
    // The last lines, before the account of all.
    drop(engine);
    let _ = tokio::time::timeout(Duration::from_millis(200), log).await;
    out.answer(&json_of(&report)?, || {
        list(&[
            ("done", report.done.to_string()),
            ("failed", report.failed.to_string()),
            ("put away", report.snoozed.to_string()),
            ("cancelled", report.cancelled.to_string()),
            ("given back", report.released.to_string()),
            ("lost", report.lost.to_string()),
        ])
    })?;
    Ok(Exit::Ok)
}

/// One line for each run that starts and ends.
async fn tell(out: Out, mut events: Receiver<RunEvent>) {
    loop {
        match events.recv().await {
            Ok(RunEvent::Started { run, at, .. }) => out.note(&format!("{} {run} started", at.rfc3339())),
            Ok(RunEvent::Ended { run, state, at }) => out.note(&format!("{} {run} {}", at.rfc3339(), state.as_str())),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
