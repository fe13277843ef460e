//! `levqor run`, `submit` and `status`.

use std::time::Duration;

use crate::engine::{Engine, GrantOptions, RunRequest, RunView, Submitted};
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::JobState;
use crate::types::{JobId, MicroCredits, Millis, parse_duration};
use clap::Args;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cli::out::{Exit, Out, json_of};
use crate::cli::setup::{Connections, Global, open};
use crate::cli::signals::Signals;
use crate::cli::{files, pipeline, progress, receipt};

/// Submit a pipeline and work it here until it has ended
///
/// The run is as durable as any: killed in the middle, the same command with the same --key (or a worker)
/// goes on where it stopped. While it goes on, other due jobs of its queue are taken too. Example:
///
///   levqor run enrich.json --input order.json --account acme --key order-1042 --grant 100
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    submit: SubmitArgs,
    /// Give the account so many credits first (once, if there is a --key)
    #[arg(long, value_name = "CREDITS", allow_hyphen_values = true)]
    grant: Option<String>,
}

/// Submit a pipeline for a worker to run
///
/// Credits are held in the same commit that enqueues it. Repeated with the same --key it is the same run.
/// Example:
///
///   levqor submit enrich.json --input order.json --account acme --key order-1042
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SubmitArgs {
    /// The pipeline: a JSON file, - for standard input, or @NAME of a registered one
    pipeline: String,
    /// The input: a JSON file, or - for standard input; {} without it
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// Who pays, and whose limits count
    #[arg(long, default_value = "default")]
    account: String,
    /// Idempotency key: makes one run of many submissions
    #[arg(long)]
    key: Option<String>,
    /// The queue
    #[arg(long, default_value = "default")]
    queue: String,
    #[command(flatten)]
    connections: Connections,
}

/// Show how a run stands
///
/// With --wait, waits that long for its end, and ends with 1 unless it ended well. Example:
///
///   levqor status run_01jz... --wait 30s
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {
    /// The run's id
    run: String,
    /// Wait for its end, at most so long
    #[arg(long, value_parser = parse_duration, value_name = "SPAN")]
    wait: Option<Millis>,
}

impl SubmitArgs {
    /// Everything that is read before a store is opened.
    fn request(&self) -> Result<RunRequest> {
        if self.pipeline == "-" && self.input.as_deref() == Some("-") {
            let e = Error::invalid("cli.stdin_twice", "pipeline and input cannot both come from standard input");
            return Err(e.hint("put one of them into a file"));
        }
        let pipeline = pipeline::read(&self.pipeline)?;
        let input = match &self.input {
            Some(path) => files::read_json(path, "the input", pipeline::max_pipeline())?,
            None => json!({}),
        };
        let mut request = RunRequest::new(self.account.as_str(), pipeline, input);
        request.key.clone_from(&self.key);
        request.queue.clone_from(&self.queue);
        Ok(request)
    }
}

pub(crate) async fn submit(out: &Out, global: &Global, args: SubmitArgs) -> Result<Exit> {
    let (request, connections) = (args.request()?, args.connections.read()?);
    let engine = open(global, connections).await?;
    let submitted = engine.pipelines().submit(request).await?;
    let document = json!({"run": submitted.id, "replayed": submitted.replayed, "held": submitted.held});
    out.answer(&document, || {
        let what = if submitted.replayed { "submitted before" } else { "submitted" };
        format!("{} {what}, {} credits held", submitted.id, submitted.held)
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn run(out: &Out, global: &Global, args: RunArgs) -> Result<Exit> {
    let (request, connections) = (args.submit.request()?, args.submit.connections.read()?);
    let grant = args.grant.as_deref().map(str::parse::<MicroCredits>).transpose();
    let grant = grant.map_err(|e| e.at("--grant"))?;
    let engine = open(global, connections).await?;
    if let Some(amount) = grant {
        // Nothing is granted for a pipeline that cannot run.
        if !request.pipeline.is_string() {
            engine.pipelines().check(&request.pipeline)?.validate_input(&request.input)?;
        }
        let key = request.key.as_ref().map(|key| format!("{key}:grant"));
        let credits = engine.credits();
        credits
            .grant(&request.account, amount, GrantOptions::default(), key.as_deref())
            .await?;
    }
    let mut signals = Signals::listen()?;
    let shown = progress::show(&engine, out);
    let submitted = engine.pipelines().submit(request).await?;
    let worked = work(&engine, &submitted, &args.submit.queue, &mut signals).await;
    shown.end();
    let view = worked?;
    finish(out, &view, Some(&submitted))
}

/// Works the queue until the run has ended, or somebody wants to stop.
async fn work(engine: &Engine, submitted: &Submitted, queue: &str, signals: &mut Signals) -> Result<RunView> {
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = engine.worker().queues([queue]);
    let mut worker = tokio::spawn(worker.run(async {
        // Sent or dropped: both mean stop.
        let _ = stopped.await;
    }));
    let died = |e: tokio::task::JoinError| Error::internal(format!("the worker died: {e}"));
    let ended = tokio::select! {
        view = until_ended(engine, &submitted.id) => Some(view?),
        report = &mut worker => {
            report.map_err(died)??;
            return Err(Error::internal("the worker stopped before the run had ended"));
        }
        () = signals.next() => None,
    };
    drop(stop);
    tokio::select! {
        report = &mut worker => { report.map_err(died)??; }
        () = signals.next() => {}
    }
    match ended {
        Some(view) => Ok(view),
        None => engine.pipelines().status(&submitted.id).await,
    }
}

async fn until_ended(engine: &Engine, id: &JobId) -> Result<RunView> {
    loop {
        match engine.pipelines().wait(id, Duration::from_hours(1)).await {
            Err(e) if e.code() == "run.not_ended" => {}
            other => return other,
        }
    }
}

pub(crate) async fn status(out: &Out, global: &Global, args: StatusArgs) -> Result<Exit> {
    let id: JobId = args.run.parse().map_err(|e: Error| e.at("RUN"))?;
    let engine = open(global, Vec::new()).await?;
    let view = match args.wait {
        None => engine.pipelines().status(&id).await?,
        Some(span) => {
            let view = engine.pipelines().wait(&id, span.to_duration()).await?;
            return finish(out, &view, None);
        }
    };
    out.answer(&document(&view, None)?, || receipt::of(&view, None))?;
    Ok(Exit::Ok)
}

/// What is said of a run, and whether it ended well.
fn finish(out: &Out, view: &RunView, submitted: Option<&Submitted>) -> Result<Exit> {
    out.answer(&document(view, submitted)?, || receipt::of(view, submitted))?;
    let e = match view.state {
        JobState::Done => return Ok(Exit::Ok),
        JobState::Dead => view
            .failure()
            .unwrap_or_else(|| Error::internal("the run failed without an error"))
            .with("run", view.id.as_str()),
        JobState::Cancelled => Error::conflict("run.cancelled", format!("{} was called off", view.id)),
        _ => Error::new(ErrorKind::Timeout, "run.interrupted", format!("{} has not ended", view.id))
            .hint("it goes on where it stopped: repeat the command with the same --key, or start levqor worker"),
    };
    out.error(&e);
    Ok(Exit::Failed)
}

fn document(view: &RunView, submitted: Option<&Submitted>) -> Result<Value> {
    let mut document = json!({"run": json_of(view)?});
    if let Some(submitted) = submitted {
        document["replayed"] = json!(submitted.replayed);
        document["held"] = json!(submitted.held);
        if view.state.ended() {
            document["released"] = json!(receipt::released(view, submitted)?);
        }
    }
    Ok(document)
}
