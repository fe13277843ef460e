//! `levqor pipeline` and `levqor connectors`: what may run, and what it can call.

use crate::backend::Backend;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::pipeline::{Checked, Limits};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::files;
use crate::cli::out::{Exit, Out, clean, json_of, list, table};
use crate::cli::setup::{Connections, Global, engine, open};

/// Check and register pipelines
///
/// Example:
///
///   levqor pipeline check enrich.json
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum PipelineCommand {
    /// Check a pipeline without running it
    ///
    /// Every fault is shown with its JSON pointer; ends with 1 if there is one. No store is opened. Example:
    ///
    ///   levqor pipeline check enrich.json --connections connections.json
    #[command(verbatim_doc_comment)]
    Check(CheckArgs),
    /// Keep a pipeline in the store under its name
    ///
    /// Runs can then be submitted by @NAME; those that were submitted before keep their version. Example:
    ///
    ///   levqor pipeline register enrich.json && levqor submit @enrich --input order.json
    #[command(verbatim_doc_comment)]
    Register(CheckArgs),
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The pipeline, a JSON file, or - for standard input
    file: String,
    #[command(flatten)]
    connections: Connections,
}

/// List what pipelines can call
///
/// With a name, shows that connector's actions in full. Example:
///
///   levqor connectors http --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConnectorsArgs {
    /// Only this connector
    name: Option<String>,
}

/// The largest text of a pipeline, as the engine has it unless told otherwise.
pub(crate) fn max_pipeline() -> usize {
    Limits::default().max_bytes
}

/// The pipeline of an argument: a file, `-`, or `@NAME` for a registered one.
pub(crate) fn read(argument: &str) -> Result<Value> {
    match argument.strip_prefix('@') {
        Some("") => Err(Error::invalid("cli.bad_pipeline", "`@` needs the name of a registered pipeline").at("PIPELINE")),
        Some(name) => Ok(json!(name)),
        None => {
            let value = files::read_json(argument, "the pipeline", max_pipeline())?;
            if value.is_string() {
                return Err(Error::invalid("cli.bad_pipeline", "the pipeline is a text, not an object").at(argument));
            }
            Ok(value)
        }
    }
}

pub(crate) async fn pipeline(out: &Out, global: &Global, command: PipelineCommand) -> Result<Exit> {
    match command {
        PipelineCommand::Check(args) => check(out, global, &args),
        PipelineCommand::Register(args) => {
            let value = read(&args.file)?;
            let engine = open(global, args.connections.read()?).await?;
            let checked = engine.pipelines().register(&value).await?;
            out.answer(&document(&checked)?, || {
                format!(
                    "registered {} ({})",
                    checked.pipeline.name,
                    &checked.digest[..12.min(checked.digest.len())]
                )
            })?;
            Ok(Exit::Ok)
        }
    }
}

fn check(out: &Out, global: &Global, args: &CheckArgs) -> Result<Exit> {
    let text = files::read(&args.file, "the pipeline")?;
    let engine = bare(global, &args.connections)?;
    match engine.pipelines().check_text(&text) {
        Ok(checked) => {
            out.answer(&document(&checked)?, || {
                let credits = checked.pipeline.credits;
                list(&[
                    ("pipeline", checked.pipeline.name.clone()),
                    ("steps", checked.pipeline.steps.len().to_string()),
                    (
                        "holds",
                        credits.map_or("nothing".to_owned(), |c| format!("{} credits", c.hold)),
                    ),
                    ("digest", checked.digest.clone()),
                    ("verdict", "ok".to_owned()),
                ])
            })?;
            Ok(Exit::Ok)
        }
        Err(e) => {
            out.error(&e);
            Ok(Exit::Failed)
        }
    }
}

/// An engine without a store, for what needs none.
fn bare(global: &Global, connections: &Connections) -> Result<Engine> {
    engine(Backend::memory(), &global.tenant, connections.read()?)
}

fn document(checked: &Checked) -> Result<Value> {
    let steps: Vec<&str> = checked.pipeline.steps.iter().map(|s| s.id.as_str()).collect();
    let credits = json_of(&checked.pipeline.credits)?;
    Ok(json!({"ok": true, "name": checked.pipeline.name, "digest": checked.digest, "steps": steps, "credits": credits}))
}

pub(crate) fn connectors(out: &Out, global: &Global, args: &ConnectorsArgs) -> Result<Exit> {
    let engine = engine(Backend::memory(), &global.tenant, Vec::new())?;
    let all = engine.connectors().manifests();
    let found: Vec<_> = all.filter(|m| args.name.as_ref().is_none_or(|n| *n == m.name)).collect();
    if let (true, Some(name)) = (found.is_empty(), &args.name) {
        let known: Vec<&str> = engine.connectors().names().collect();
        let e = Error::not_found("connector.unknown", format!("there is no connector `{name}`"));
        let hint = format!("known are: {}", known.join(", "));
        return Err(e.hint(if known.is_empty() {
            "this build has no connectors"
        } else {
            &hint
        }));
    }
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    out.answer(&json!({"connectors": json_of(&found)?}), || {
        if found.is_empty() {
            return "this build has no connectors; pipelines can use `set` and `wait`".to_owned();
        }
        let mut text = String::new();
        if args.name.is_some() {
            for manifest in &found {
                text.push_str(&clean(&format!("{}: {}", manifest.title, manifest.description)));
                text.push_str("\n\n");
            }
        }
        let actions = found.iter().flat_map(|m| m.actions.iter().map(move |a| (m, a)));
        let rows = actions.map(|(m, a)| {
            vec![
                format!("{}.{}", m.name, a.name),
                word(json!(a.side_effect)),
                word(json!(a.idempotency)),
                if args.name.is_some() {
                    a.description.clone()
                } else {
                    a.title.clone()
                },
            ]
        });
        text.push_str(&table(&["action", "effect", "repeatable", "what it does"], &[], rows));
        text
    })?;
    Ok(Exit::Ok)
}
