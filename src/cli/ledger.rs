//! `levqor credits`: spend, hold, capture, give and take back, move.

use crate::credits::{LedgerAnswer, OnExpired};
use crate::engine::{CaptureOptions, RefundOptions};
use crate::error::{Error, Result};
use crate::types::{GrantId, HoldId, TxnId};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::credits::{amount, expiry, money};
use crate::cli::out::{Exit, Out};
use crate::cli::setup::{Global, open};

#[derive(Subcommand)]
pub(crate) enum ChangeCommand {
    /// Spend credits at once
    ///
    /// Example:
    ///
    ///   levqor credits spend acme 2.5 --key call-17
    #[command(verbatim_doc_comment)]
    Spend {
        /// The account
        account: String,
        /// How many credits
        #[arg(allow_hyphen_values = true)]
        amount: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Reserve credits, to be captured or released later
    ///
    /// Example:
    ///
    ///   levqor credits hold acme 10 --expires 15m
    #[command(verbatim_doc_comment)]
    Hold {
        /// The account
        account: String,
        /// How many credits
        #[arg(allow_hyphen_values = true)]
        amount: String,
        /// Given back then: an instant (2026-12-31T00:00:00Z) or a span from now (15m)
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Spend from a hold, and release the rest
    ///
    /// Example:
    ///
    ///   levqor credits capture hold_01jq3m8v5xk2w9d4c7b6n0a1tz --amount 7.25
    #[command(verbatim_doc_comment)]
    Capture {
        /// The hold
        hold: String,
        /// How many credits; all that it reserves, if it is not said
        #[arg(long, allow_hyphen_values = true)]
        amount: Option<String>,
        /// Keep the rest held
        #[arg(long)]
        partial: bool,
        /// Take more than it reserves from what the account can spend
        #[arg(long)]
        overage: bool,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Give a hold back
    ///
    /// Example:
    ///
    ///   levqor credits release hold_01jq3m8v5xk2w9d4c7b6n0a1tz
    #[command(verbatim_doc_comment)]
    Release {
        /// The hold
        hold: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Give a hold a new end
    ///
    /// Example:
    ///
    ///   levqor credits extend hold_01jq3m8v5xk2w9d4c7b6n0a1tz 15m
    #[command(verbatim_doc_comment)]
    Extend {
        /// The hold
        hold: String,
        /// Its end: an instant (2026-12-31T00:00:00Z) or a span from now (15m)
        when: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Give back what a spend or a capture took
    ///
    /// The credits go back to the grants that they came from, last drawn first. Example:
    ///
    ///   levqor credits refund txn_01jq3m8v5xk2w9d4c7b6n0a1tz --amount 5 --regrant 30
    #[command(verbatim_doc_comment)]
    Refund {
        /// The transaction
        transaction: String,
        /// How many credits; all that were not given back yet, if it is not said
        #[arg(long, allow_hyphen_values = true)]
        amount: Option<String>,
        /// Credits whose grant has run out come back for so many days; without it they are lost
        #[arg(long, value_name = "DAYS")]
        regrant: Option<u32>,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Take back a paid grant because money was paid back
    ///
    /// The money is all that was ever paid back for the grant, in minor units and currency; what was spent
    /// already is owed. Example:
    ///
    ///   levqor credits clawback grant_01jq3m8v5xk2w9d4c7b6n0a1tz 400EUR
    #[command(verbatim_doc_comment)]
    Clawback {
        /// The grant
        grant: String,
        /// The money, like 1999EUR for 19.99 euro
        money: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Move credits to another account; they keep their end
    ///
    /// Example:
    ///
    ///   levqor credits transfer acme bob 12 --key gift-3
    #[command(verbatim_doc_comment)]
    Transfer {
        /// From this account
        from: String,
        /// To this one
        to: String,
        /// How many credits
        #[arg(allow_hyphen_values = true)]
        amount: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Set how far below zero an account may go
    ///
    /// Example:
    ///
    ///   levqor credits overdraft acme 50
    #[command(verbatim_doc_comment)]
    Overdraft {
        /// The account
        account: String,
        /// How many credits
        #[arg(allow_hyphen_values = true)]
        limit: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Let nothing be drawn from an account any more; --off lets it again
    ///
    /// Example:
    ///
    ///   levqor credits freeze acme
    #[command(verbatim_doc_comment)]
    Freeze {
        /// The account
        account: String,
        /// Let it again
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        key: KeyArg,
    },
}

#[derive(Args)]
pub(crate) struct KeyArg {
    /// Idempotency key: repeating the command changes nothing more
    #[arg(long)]
    key: Option<String>,
}

fn id<T: std::str::FromStr<Err = Error>>(text: &str, place: &str) -> Result<T> {
    text.parse().map_err(|e: Error| e.at(place))
}

pub(crate) async fn change(out: &Out, global: &Global, command: ChangeCommand) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let credits = engine.credits();
    // What the answer's id is called, what is said, and of whom.
    let (named, verb, about, answer) = match command {
        ChangeCommand::Spend { account, amount: n, key } => {
            let answer = credits.spend(&account, amount(&n, "AMOUNT")?, key.key.as_deref()).await?;
            ("transaction", "spent", ("account", account), answer)
        }
        ChangeCommand::Hold {
            account,
            amount: n,
            expires,
            key,
        } => {
            let expires = expires.as_deref().map(|text| expiry(text, "--expires")).transpose()?;
            let answer = credits
                .hold(&account, amount(&n, "AMOUNT")?, expires, key.key.as_deref())
                .await?;
            ("hold", "held", ("account", account), answer)
        }
        ChangeCommand::Capture {
            hold,
            amount: n,
            partial,
            overage,
            key,
        } => {
            let mut options = CaptureOptions {
                amount: n.as_deref().map(|n| amount(n, "--amount")).transpose()?,
                last: !partial,
                ..CaptureOptions::default()
            };
            if overage {
                options = options.with_overage();
            }
            let answer = credits
                .capture(&id::<HoldId>(&hold, "HOLD")?, options, key.key.as_deref())
                .await?;
            ("transaction", "captured", ("hold", hold), answer)
        }
        ChangeCommand::Release { hold, key } => {
            let answer = credits.release(&id::<HoldId>(&hold, "HOLD")?, key.key.as_deref()).await?;
            ("hold", "released", ("hold", hold), answer)
        }
        ChangeCommand::Extend { hold, when, key } => {
            let until = expiry(&when, "WHEN")?;
            let answer = credits
                .extend(&id::<HoldId>(&hold, "HOLD")?, until, key.key.as_deref())
                .await?;
            ("hold", "still held", ("hold", hold), answer)
        }
        ChangeCommand::Refund {
            transaction,
            amount: n,
            regrant,
            key,
        } => {
            let options = RefundOptions {
                amount: n.as_deref().map(|n| amount(n, "--amount")).transpose()?,
                on_expired: regrant.map_or(OnExpired::Expire, OnExpired::Regrant),
            };
            let of: TxnId = id(&transaction, "TRANSACTION")?;
            let answer = credits.refund(&of, options, key.key.as_deref()).await?;
            ("transaction", "refunded", ("refund_of", transaction), answer)
        }
        ChangeCommand::Clawback { grant, money: m, key } => {
            let of: GrantId = id(&grant, "GRANT")?;
            let answer = credits.clawback(&of, money(&m, "MONEY")?, key.key.as_deref()).await?;
            ("grant", "taken back", ("grant", grant), answer)
        }
        ChangeCommand::Transfer {
            from,
            to,
            amount: n,
            key,
        } => {
            let answer = credits
                .transfer(&from, &to, amount(&n, "AMOUNT")?, key.key.as_deref())
                .await?;
            ("transaction", "moved", ("account", from), answer)
        }
        ChangeCommand::Overdraft { account, limit, key } => {
            let answer = credits
                .overdraft(&account, amount(&limit, "LIMIT")?, key.key.as_deref())
                .await?;
            ("account", "allowed below zero", ("account", account), answer)
        }
        ChangeCommand::Freeze { account, off, key } => {
            let answer = credits.freeze(&account, !off, key.key.as_deref()).await?;
            return told(
                out,
                "account",
                if off { "thawed" } else { "frozen" },
                &("account", account),
                &answer,
                false,
            );
        }
    };
    told(out, named, verb, &about, &answer, true)
}

fn told(out: &Out, named: &str, verb: &str, (what, whom): &(&str, String), answer: &LedgerAnswer, counted: bool) -> Result<Exit> {
    let balance = answer.balance();
    let mut document = Map::new();
    document.insert((*what).to_owned(), json!(whom));
    document.insert(named.to_owned(), json!(answer.id));
    document.insert("amount".to_owned(), json!(answer.amount));
    document.insert("balance".to_owned(), json!(balance));
    out.answer(&Value::Object(document), || {
        let amount = if counted {
            format!(" {}", answer.amount)
        } else {
            String::new()
        };
        format!("{verb}{amount} ({}); available now: {}", answer.id, balance.available)
    })?;
    Ok(Exit::Ok)
}
