//! `levqor credits`: grant and everything that is asked; what changes otherwise stands in `ledger`.

use std::fmt::Write as _;

use crate::credits::{Category, Expiry};
use crate::engine::GrantOptions;
use crate::error::{Error, Result};
use crate::types::{MicroCredits, Millis, Money, parse_duration};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::ledger::{ChangeCommand, change};
use crate::cli::out::{Exit, Out, instant, json_of, list, table};
use crate::cli::setup::{Global, open};

/// Grant credits, and see what accounts are worth
///
/// Credits are decimal numbers with at most six places. Example:
///
///   levqor credits grant acme 100 --key invoice-7
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum CreditsCommand {
    /// Give credits to an account
    ///
    /// With --key the grant happens once, however often the command is repeated. Example:
    ///
    ///   levqor credits grant acme 25.5 --expires 30d --promo --key welcome-acme
    #[command(verbatim_doc_comment)]
    Grant(GrantArgs),
    #[command(flatten)]
    Change(ChangeCommand),
    /// Show what an account is worth now
    ///
    /// `posted` is what it owns, `held` what is reserved, `available` what is left, `spendable` that and
    /// the overdraft. Example:
    ///
    ///   levqor credits balance acme
    #[command(verbatim_doc_comment)]
    Balance {
        /// The account
        account: String,
    },
    /// List an account's grants: what remains of each, and until when
    ///
    /// Example:
    ///
    ///   levqor credits grants acme --all
    #[command(verbatim_doc_comment)]
    Grants {
        /// The account
        account: String,
        /// Also those that are used up
        #[arg(long)]
        all: bool,
    },
    /// List an account's bookings, oldest first
    ///
    /// Example:
    ///
    ///   levqor credits statement acme --from 2026-01-01T00:00:00Z
    #[command(verbatim_doc_comment)]
    Statement(StatementArgs),
    /// Prove the whole ledger: sums, balances, hash chain, holds and grants
    ///
    /// Ends with 1 if anything is wrong. Example:
    ///
    ///   levqor credits audit
    #[command(verbatim_doc_comment)]
    Audit,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// The account
    account: String,
    /// How many credits, like 100 or 0.25
    #[arg(allow_hyphen_values = true)]
    amount: String,
    /// Usable until then: an instant (2026-12-31T00:00:00Z) or a span from its beginning (30d)
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Usable from then on
    #[arg(long, value_name = "INSTANT")]
    starts: Option<String>,
    /// Not paid for: a promotion
    #[arg(long)]
    promo: bool,
    /// Grants with a lower number are used up first
    #[arg(long, default_value_t = 100, allow_hyphen_values = true)]
    priority: i64,
    /// What was paid for them, in minor units and currency, like 1999EUR: needed for a clawback
    #[arg(long, value_name = "MONEY", conflicts_with = "promo")]
    paid: Option<String>,
    /// What they stand for (an invoice, a campaign): a second grant for it is refused
    #[arg(long)]
    source: Option<String>,
    /// Idempotency key: repeating the command grants nothing more
    #[arg(long)]
    key: Option<String>,
}

#[derive(Args)]
pub(crate) struct StatementArgs {
    /// The account
    account: String,
    /// Booked at this instant or later
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// Booked before this instant
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// Only lines behind this number
    #[arg(long, default_value_t = 0, value_name = "VERSION")]
    after: i64,
    /// At most so many lines
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

fn point(text: &str, place: &str) -> Result<Millis> {
    Millis::parse_rfc3339(text).ok_or_else(|| {
        Error::invalid("cli.bad_instant", format!("`{text}` is no instant"))
            .at(place)
            .hint("write it like 2026-12-31T00:00:00Z")
    })
}

/// An instant, or a span.
pub(crate) fn expiry(text: &str, place: &str) -> Result<Expiry> {
    match parse_duration(text) {
        Ok(span) => Ok(Expiry::In(span)),
        Err(_) => point(text, place)
            .map(Expiry::At)
            .map_err(|e| e.hint("write an instant (2026-12-31T00:00:00Z) or a span (30d)")),
    }
}

/// Minor units and a currency: `1999EUR`.
pub(crate) fn money(text: &str, place: &str) -> Result<Money> {
    let (minor, currency) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let minor = minor.parse().map_err(|_| {
        Error::invalid("cli.bad_money", format!("`{text}` is no amount of money"))
            .at(place)
            .hint("write minor units and a currency, like 1999EUR for 19.99 euro")
    })?;
    let currency = currency.trim_start().to_owned();
    Ok(Money { minor, currency })
}

pub(crate) fn amount(text: &str, place: &str) -> Result<MicroCredits> {
    text.parse().map_err(|e: Error| e.at(place))
}

pub(crate) async fn credits(out: &Out, global: &Global, command: CreditsCommand) -> Result<Exit> {
    match command {
        CreditsCommand::Grant(args) => grant(out, global, args).await,
        CreditsCommand::Change(command) => change(out, global, command).await,
        CreditsCommand::Grants { account, all } => grants(out, global, &account, all).await,
        CreditsCommand::Balance { account } => balance(out, global, &account).await,
        CreditsCommand::Statement(args) => statement(out, global, args).await,
        CreditsCommand::Audit => audit(out, global).await,
    }
}

async fn grant(out: &Out, global: &Global, args: GrantArgs) -> Result<Exit> {
    let amount = amount(&args.amount, "AMOUNT")?;
    let options = GrantOptions {
        priority: args.priority,
        category: if args.promo { Category::Promo } else { Category::Paid },
        effective_at: args.starts.as_deref().map(|text| point(text, "--starts")).transpose()?,
        expires: args.expires.as_deref().map(|text| expiry(text, "--expires")).transpose()?,
        paid: args.paid.as_deref().map(|text| money(text, "--paid")).transpose()?,
        source: args.source,
        ..GrantOptions::default()
    };
    let engine = open(global, Vec::new()).await?;
    let answer = engine
        .credits()
        .grant(&args.account, amount, options, args.key.as_deref())
        .await?;
    let balance = answer.balance();
    let document = json!({"account": args.account, "grant": answer.id, "amount": answer.amount, "balance": balance});
    out.answer(&document, || {
        format!(
            "granted {} to {} ({}); available now: {}",
            answer.amount, args.account, answer.id, balance.available
        )
    })?;
    Ok(Exit::Ok)
}

async fn balance(out: &Out, global: &Global, account: &str) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let balance = engine.credits().balance(account).await?;
    out.answer(&json!({"account": account, "balance": balance}), || {
        list(&[
            ("account", account.to_owned()),
            ("posted", balance.posted.to_string()),
            ("held", balance.held.to_string()),
            ("available", balance.available.to_string()),
            ("spendable", balance.spendable.to_string()),
        ])
    })?;
    Ok(Exit::Ok)
}

async fn grants(out: &Out, global: &Global, account: &str, all: bool) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let grants = engine.credits().grants(account, all).await?;
    out.answer(&json!({"account": account, "grants": json_of(&grants)?}), || {
        if grants.is_empty() {
            return format!("{account} has no grants");
        }
        let rows = grants.iter().map(|g| {
            let ends = g.expires_at.map_or_else(|| "-".to_owned(), instant);
            vec![
                g.id.to_string(),
                g.category.as_str().to_owned(),
                g.priority.to_string(),
                g.amount.to_string(),
                g.remaining.to_string(),
                g.held.to_string(),
                instant(g.effective_at),
                ends,
                g.state.as_str().to_owned(),
            ]
        });
        let names = [
            "grant",
            "category",
            "priority",
            "amount",
            "remaining",
            "held",
            "from",
            "until",
            "state",
        ];
        table(&names, &[2, 3, 4, 5], rows)
    })?;
    Ok(Exit::Ok)
}

async fn statement(out: &Out, global: &Global, args: StatementArgs) -> Result<Exit> {
    let from = args
        .from
        .as_deref()
        .map_or(Ok(Millis(i64::MIN)), |text| point(text, "--from"))?;
    let to = args.to.as_deref().map_or(Ok(Millis::MAX), |text| point(text, "--to"))?;
    let engine = open(global, Vec::new()).await?;
    let lines = engine
        .credits()
        .statement(&args.account, (from, to), args.after, args.limit)
        .await?;
    let full = lines.len() == args.limit;
    let next = lines.last().filter(|_| full).map(|line| line.version);
    out.answer(
        &json!({"account": args.account, "lines": json_of(&lines)?, "next": next}),
        || {
            if lines.is_empty() {
                return format!("nothing is booked on {}", args.account);
            }
            let rows = lines.iter().map(|line| {
                vec![
                    line.version.to_string(),
                    instant(line.booked_at),
                    line.kind.clone(),
                    line.amount.to_string(),
                    line.after.to_string(),
                    line.txn.to_string(),
                ]
            });
            let mut text = table(
                &["no", "booked at", "kind", "amount", "balance", "transaction"],
                &[0, 3, 4],
                rows,
            );
            if let Some(next) = next {
                let _ = write!(text, "\n\nthere may be more: --after {next}");
            }
            text
        },
    )?;
    Ok(Exit::Ok)
}

async fn audit(out: &Out, global: &Global) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let report = engine.credits().audit().await?;
    let sound = report.violations.is_empty() && report.sum == 0;
    let mut document = json_of(&report)?;
    document["sound"] = json!(sound);
    out.answer(&document, || {
        let mut text = format!(
            "{}: {} accounts, {} entries, sum {}",
            if sound { "sound" } else { "NOT SOUND" },
            report.accounts,
            report.entries,
            report.sum
        );
        if !report.violations.is_empty() {
            let rows = report.violations.iter();
            let rows = rows.map(|v| vec![v.rule.to_owned(), v.at.clone(), v.message.clone()]);
            text.push_str("\n\n");
            text.push_str(&table(&["rule", "at", "what is wrong"], &[], rows));
        }
        text
    })?;
    Ok(if sound { Exit::Ok } else { Exit::Failed })
}
