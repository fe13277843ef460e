//! `levqor call`: one action, now.

use crate::backend::Backend;
use crate::engine::DirectCall;
use crate::error::{Error, Result};
use crate::types::{Millis, parse_duration};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::files;
use crate::cli::out::{Exit, Out};
use crate::cli::pipeline::max_pipeline;
use crate::cli::setup::{Connections, Global, engine};

/// Carry out one action of a connector
///
/// No store is opened and nothing is written down. What goes in and what comes out is JSON; levqor connectors NAME
/// --json has the schemas. Example:
///
///   echo '{"channel": "C024BE91L", "text": "Deployed"}' |
///     levqor call slack.post_message --input - --connection ops --connections connections.json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CallArgs {
    /// The action, CONNECTOR.ACTION
    action: String,
    /// The input, a JSON file, or - for standard input; {} if not given
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// The connection's name
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[command(flatten)]
    connections: Connections,
    /// Names the call, so that a provider that takes keys does it once however often it is repeated
    #[arg(long)]
    key: Option<String>,
    /// The longest that one attempt may take, like 30s
    #[arg(long, value_name = "SPAN", value_parser = span)]
    timeout: Option<Millis>,
}

fn span(text: &str) -> std::result::Result<Millis, String> {
    parse_duration(text).map_err(|e: Error| e.to_string())
}

pub(crate) async fn call(out: &Out, global: &Global, args: &CallArgs) -> Result<Exit> {
    let engine = engine(Backend::memory(), &global.tenant, args.connections.read()?)?;
    // A misspelt name is said before anything is waited for on standard input.
    engine.connectors().action(&args.action)?;
    let input = match &args.input {
        Some(path) => files::read_json(path, "the input", max_pipeline())?,
        None => json!({}),
    };
    let mut call = DirectCall::new(args.action.as_str(), input);
    call.connection.clone_from(&args.connection);
    call.key.clone_from(&args.key);
    call.timeout = args.timeout;
    let done = engine.call(&call).await?;
    let document = json!({"output": done.data, "attempts": done.attempts});
    out.answer(&document, || pretty(&document["output"]))?;
    Ok(Exit::Ok)
}

/// JSON for people; its texts are escaped, so that none of them steers the terminal.
fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let harmless = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}
