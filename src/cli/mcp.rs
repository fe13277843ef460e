//! `levqor mcp`: actions as tools of a language model.

use std::collections::BTreeMap;

use crate::backend;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::mcp::{Offer, Server};
use clap::Args;
use tokio::io::{BufReader, stdin, stdout};

use crate::cli::out::{Exit, Out};
use crate::cli::setup::{Connections, Global, engine};

/// Offer actions to a language model, over MCP on standard input and output
///
/// Nothing is offered that is not allowed, and what removes something or cannot be undone only by its full name. A
/// client starts it like this:
///
///   levqor mcp --allow 'notion.*' --allow slack.post_message --use notion=wiki --use slack=team \
///     --connections connections.json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct McpArgs {
    /// An action, CONNECTOR.ACTION, or all of a connector, CONNECTOR.*; may be repeated
    #[arg(long, value_name = "ACTION", required = true)]
    allow: Vec<String>,
    /// The connection that a connector's calls use, CONNECTOR=NAME; of several the model chooses one
    #[arg(long = "use", value_name = "CONNECTOR=NAME")]
    uses: Vec<String>,
    /// Whose limits count
    #[arg(long, default_value = "mcp", value_name = "NAME")]
    account: String,
    #[command(flatten)]
    connections: Connections,
}

pub(crate) async fn mcp(_: &Out, global: &Global, args: McpArgs) -> Result<Exit> {
    let backend = backend::open(&global.url, SystemClock::machine()).await?;
    let engine = engine(backend, &global.tenant, args.connections.read()?)?;
    let mut connections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in &args.uses {
        let bad = || Error::invalid("cli.usage", format!("`{pair}` is not CONNECTOR=NAME"));
        let (connector, name) = pair.split_once('=').ok_or_else(bad)?;
        connections.entry(connector.to_owned()).or_default().push(name.to_owned());
    }
    let offer = Offer {
        account: args.account,
        allow: args.allow,
        connections,
    };
    let server = Server::new(engine, &offer)?;
    let served = server.serve(BufReader::new(stdin()), stdout()).await;
    served.map_err(|e| Error::unavailable("mcp.broken", format!("the client is gone: {}", e.kind())))?;
    Ok(Exit::Ok)
}
