//! `levqor keys`: create, list, verify, rotate, revoke.

use crate::access::key::{KeyInfo, KeyState, NewKey};
use crate::engine::KeyFilter;
use crate::error::{Error, Result};
use crate::store::Page;
use crate::types::{KeyId, Millis, parse_duration};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, instant, json_of, list, table};
use crate::cli::setup::{Global, open};

/// Make, look at, replace and revoke API keys
///
/// Example:
///
///   levqor keys create ci --account acme --scope runs:write
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum KeysCommand {
    /// Make a key and show it, once
    ///
    /// Only its hash is kept, so it cannot be shown again. Example:
    ///
    ///   levqor keys create ci --account acme --scope "runs:*" --limit "60/minute burst 10" --expires 90d
    #[command(verbatim_doc_comment)]
    Create(CreateArgs),
    /// List keys in the order they were made, without their texts
    ///
    /// Example:
    ///
    ///   levqor keys list --account acme
    #[command(verbatim_doc_comment)]
    List(ListArgs),
    /// Say whose key a text is, and whether it may pass
    ///
    /// The text is read from LEVQOR_KEY, or from standard input, since arguments can be seen by others. Ends
    /// with 4 if it may not pass. Example:
    ///
    ///   LEVQOR_KEY=lvq_... levqor keys verify --scope runs:write
    #[command(verbatim_doc_comment)]
    Verify {
        /// What it must be allowed to do
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Give a key another text; the one before passes too for a time
    ///
    /// Example:
    ///
    ///   levqor keys rotate key_01jz... --overlap 24h
    #[command(verbatim_doc_comment)]
    Rotate {
        /// The key's id
        id: String,
        /// How long the text before it still passes
        #[arg(long, default_value = "0s", value_name = "SPAN")]
        overlap: String,
    },
    /// Refuse a key from now on
    ///
    /// Other processes do so within a second. Example:
    ///
    ///   levqor keys revoke key_01jz...
    #[command(verbatim_doc_comment)]
    Revoke {
        /// The key's id
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// What its owner calls it
    name: String,
    /// Whose it is
    #[arg(long)]
    account: Option<String>,
    /// What it may do; may be given several times, and end with `:*`
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How often it may be used, like "60/minute burst 10; 10000/day"
    #[arg(long, value_name = "QUOTAS")]
    limit: Option<String>,
    /// How long it lives, like 90d
    #[arg(long, value_name = "SPAN")]
    expires: Option<String>,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only keys of this account
    #[arg(long)]
    account: Option<String>,
    /// Also those that are expired or revoked
    #[arg(long)]
    all: bool,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only those behind this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

pub(crate) async fn keys(out: &Out, global: &Global, command: KeysCommand) -> Result<Exit> {
    match command {
        KeysCommand::Create(args) => create(out, global, args).await,
        KeysCommand::List(args) => show(out, global, args).await,
        KeysCommand::Verify { scopes } => verify(out, global, &scopes).await,
        KeysCommand::Rotate { id, overlap } => {
            let (id, overlap) = (key_id(&id, "ID")?, parse_duration(&overlap).map_err(|e| e.at("--overlap"))?);
            let engine = open(global, Vec::new()).await?;
            let key = engine.keys().rotate(&id, overlap).await?;
            let info = engine.keys().get(&id).await?;
            once(out, &info, key.expose(), engine.now())
        }
        KeysCommand::Revoke { id } => {
            let id = key_id(&id, "ID")?;
            let engine = open(global, Vec::new()).await?;
            let info = engine.keys().revoke(&id).await?;
            out.answer(&document(&info, engine.now())?, || format!("{id} is revoked"))?;
            Ok(Exit::Ok)
        }
    }
}

fn key_id(text: &str, at: &str) -> Result<KeyId> {
    text.parse().map_err(|e: Error| e.at(at))
}

async fn create(out: &Out, global: &Global, args: CreateArgs) -> Result<Exit> {
    let life = args
        .expires
        .as_deref()
        .map(parse_duration)
        .transpose()
        .map_err(|e| e.at("--expires"))?;
    let engine = open(global, Vec::new()).await?;
    let mut new = NewKey::new(args.name).scopes(args.scopes);
    new.account = args.account;
    new.limit = args.limit;
    new.expires_at = life.map(|span| engine.now() + span);
    let key = engine.keys().create(new).await?;
    let info = engine.keys().get(&key.id).await?;
    once(out, &info, key.expose(), engine.now())
}

/// Shows a key's text, which nobody can do later.
fn once(out: &Out, info: &KeyInfo, text: &str, now: Millis) -> Result<Exit> {
    let mut document = document(info, now)?;
    document["key"] = json!(text);
    out.answer(&document, || text.to_owned())?;
    out.note(&format!("this is {}; keep its text now, it cannot be shown again", info.id));
    Ok(Exit::Ok)
}

async fn verify(out: &Out, global: &Global, scopes: &[String]) -> Result<Exit> {
    let text = match std::env::var("LEVQOR_KEY") {
        Ok(text) => text,
        Err(_) => std::io::read_to_string(std::io::stdin())
            .map_err(|e| Error::invalid("cli.input", format!("the key cannot be read: {e}")).hint("set LEVQOR_KEY"))?,
    };
    let engine = open(global, Vec::new()).await?;
    let info = engine.keys().verify(text.trim(), scopes).await?;
    engine.keys().flush().await?;
    let document = document(&info, engine.now())?;
    out.answer(&document, || {
        let or = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let text = list(&[
            ("key", info.id.to_string()),
            ("name", info.name.clone()),
            ("account", or(info.account.as_deref())),
            ("scopes", info.scopes.join(" ")),
            ("limit", or(info.limit.as_deref())),
            ("expires", info.expires_at.map_or("never".to_owned(), instant)),
        ]);
        text.trim_end().to_owned()
    })?;
    Ok(Exit::Ok)
}

fn document(info: &KeyInfo, now: Millis) -> Result<Value> {
    let mut document = json_of(info)?;
    document["state"] = json_of(&info.state(now))?;
    Ok(document)
}

async fn show(out: &Out, global: &Global, args: ListArgs) -> Result<Exit> {
    let after = args.after.as_deref().map(|id| key_id(id, "--after")).transpose()?;
    let engine = open(global, Vec::new()).await?;
    let filter = KeyFilter {
        account: args.account,
        ended: args.all,
    };
    let page = Page {
        after: after.map(|id| id.to_string()),
        limit: args.limit,
    };
    let found = engine.keys().list(&filter, &page).await?;
    let now = engine.now();
    let next = found.last().filter(|_| found.len() == args.limit).map(|k| k.id.to_string());
    let documents = found.iter().map(|k| document(k, now)).collect::<Result<Vec<_>>>()?;
    out.answer(&json!({"keys": documents, "next": next}), || {
        if found.is_empty() {
            return "no keys".to_owned();
        }
        let state = |key: &KeyInfo| match key.state(now) {
            KeyState::Active => "active",
            KeyState::Expired => "expired",
            KeyState::Revoked => "revoked",
        };
        let rows = found.iter().map(|key| {
            vec![
                key.id.to_string(),
                key.name.clone(),
                key.account.clone().unwrap_or_else(|| "-".to_owned()),
                state(key).to_owned(),
                key.scopes.join(" "),
                key.last_used_at.map_or("never".to_owned(), instant),
            ]
        });
        table(&["id", "name", "account", "state", "scopes", "last used"], &[], rows)
    })?;
    Ok(Exit::Ok)
}
