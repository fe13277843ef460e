//! Credits.

use levqor::credits::{Category, OnExpired, Overage, Rollover, split};
use levqor::engine::{Atomic, CaptureOptions, GrantOptions, Linked, Place, RefundOptions};
use levqor::error::{Error, Result};
use levqor::store::AsOf;
use levqor::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};
use serde::Deserialize;

use super::{Amount, At, Until, verbs};

type Key = String;

fn capture(amount: Option<Amount>, last: bool, overage: Overage) -> CaptureOptions {
    CaptureOptions {
        amount: amount.map(|a| a.0),
        last,
        overage,
    }
}

fn refund(amount: Option<Amount>, on_expired: Option<OnExpired>) -> RefundOptions {
    RefundOptions {
        amount: amount.map(|a| a.0),
        on_expired: on_expired.unwrap_or_default(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    #[serde(default = "priority")]
    priority: i64,
    #[serde(default = "paid_for")]
    category: Category,
    effective_at: Option<At>,
    expires: Option<Until>,
    booked_at: Option<At>,
    paid: Option<Money>,
    source: Option<String>,
}

fn priority() -> i64 {
    100
}

fn paid_for() -> Category {
    Category::Paid
}

fn yes() -> bool {
    true
}

impl Terms {
    fn options(self) -> GrantOptions {
        GrantOptions {
            priority: self.priority,
            category: self.category,
            effective_at: self.effective_at.map(|a| a.0),
            expires: self.expires.map(|u| u.0),
            booked_at: self.booked_at.map(|a| a.0),
            paid: self.paid,
            source: self.source,
        }
    }
}

/// One of several operations that happen together.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Step {
    Grant {
        account: String,
        amount: MicroCredits,
        #[serde(default)]
        terms: Option<Terms>,
    },
    Spend {
        account: String,
        amount: MicroCredits,
    },
    Hold {
        account: String,
        amount: MicroCredits,
        expires: Option<Until>,
    },
    Capture {
        hold: HoldId,
        amount: Option<MicroCredits>,
        #[serde(default = "yes")]
        last: bool,
        #[serde(default)]
        overage: Overage,
    },
    Release {
        hold: HoldId,
    },
    Extend {
        hold: HoldId,
        until: Until,
    },
    Refund {
        txn: TxnId,
        amount: Option<MicroCredits>,
        #[serde(default)]
        on_expired: OnExpired,
    },
    Clawback {
        grant: GrantId,
        refunded: Money,
    },
    Transfer {
        giver: String,
        taker: String,
        amount: MicroCredits,
    },
    Overdraft {
        account: String,
        limit: MicroCredits,
    },
    Freeze {
        account: String,
        #[serde(default = "yes")]
        frozen: bool,
    },
}

fn link(all: Linked<'_>, step: Step) -> Linked<'_> {
    match step {
        Step::Grant { account, amount, terms } => {
            all.grant(&account, amount, terms.map_or_else(GrantOptions::default, Terms::options))
        }
        Step::Spend { account, amount } => all.spend(&account, amount),
        Step::Hold {
            account,
            amount,
            expires,
        } => all.hold(&account, amount, expires.map(|u| u.0)),
        Step::Capture {
            hold,
            amount,
            last,
            overage,
        } => all.capture(&hold, capture(amount.map(Amount), last, overage)),
        Step::Release { hold } => all.release(&hold),
        Step::Extend { hold, until } => all.extend(&hold, until.0),
        Step::Refund { txn, amount, on_expired } => all.refund(&txn, refund(amount.map(Amount), Some(on_expired))),
        Step::Clawback { grant, refunded } => all.clawback(&grant, refunded),
        Step::Transfer { giver, taker, amount } => all.transfer(&giver, &taker, amount),
        Step::Overdraft { account, limit } => all.overdraft(&account, limit),
        Step::Freeze { account, frozen } => all.freeze(&account, frozen),
    }
}

impl Step {
    /// Adds it to operations of every kind; a hold's id is known at once.
    pub(super) fn add(self, tx: &mut Atomic) -> Result<(Place, Option<String>)> {
        let unfit = |what: &str| {
            Error::invalid(
                "argument.invalid",
                format!("`{what}` cannot be part of a commit of every kind"),
            )
            .at("op")
        };
        let place = match self {
            Step::Hold {
                account,
                amount,
                expires,
            } => {
                let (place, id) = tx.hold(&account, amount, expires.map(|u| u.0));
                return Ok((place, Some(id.to_string())));
            }
            Step::Grant { account, amount, terms } => {
                tx.grant(&account, amount, terms.map_or_else(GrantOptions::default, Terms::options))
            }
            Step::Spend { account, amount } => tx.spend(&account, amount),
            Step::Capture {
                hold,
                amount,
                last,
                overage,
            } => tx.capture(&hold, capture(amount.map(Amount), last, overage)),
            Step::Release { hold } => tx.release(&hold),
            Step::Refund { txn, amount, on_expired } => tx.refund(&txn, refund(amount.map(Amount), Some(on_expired))),
            Step::Transfer { giver, taker, amount } => tx.transfer(&giver, &taker, amount),
            Step::Extend { .. } => return Err(unfit("extend")),
            Step::Clawback { .. } => return Err(unfit("clawback")),
            Step::Overdraft { .. } => return Err(unfit("overdraft")),
            Step::Freeze { .. } => return Err(unfit("freeze")),
        };
        Ok((place, None))
    }
}

fn span(since: Option<At>, until: Option<At>) -> (Millis, Millis) {
    (since.map_or(Millis::ZERO, |a| a.0), until.map_or(Millis::MAX, |a| a.0))
}

fn as_of(at: At, by: &str) -> Result<AsOf> {
    match by {
        "booked" => Ok(AsOf::Booked(at.0)),
        "recorded" => Ok(AsOf::Recorded(at.0)),
        _ => Err(Error::invalid("argument.invalid", "a balance of the past is taken by `booked` or `recorded`").at("by")),
    }
}

verbs! { TABLE: e;
    credits.grant(account: String, amount: Amount; priority: i64 = 100i64, category: Category = Category::Paid,
        effective_at: Option<At>, expires: Option<Until>, booked_at: Option<At>, paid: Option<Money>, source: Option<String>,
        idempotency_key: Option<Key>) => {
        let options = Terms { priority, category, effective_at, expires, booked_at, paid, source }.options();
        e.credits().grant(&account, amount.0, options, idempotency_key.as_deref()).await?
    };
    credits.spend(account: String, amount: Amount; idempotency_key: Option<Key>)
        => e.credits().spend(&account, amount.0, idempotency_key.as_deref()).await?;
    credits.hold(account: String, amount: Amount; expires: Option<Until>, idempotency_key: Option<Key>)
        => e.credits().hold(&account, amount.0, expires.map(|u| u.0), idempotency_key.as_deref()).await?;
    credits.capture(hold: HoldId; amount: Option<Amount>, last: bool = true, overage: Overage = Overage::Reject, idempotency_key: Option<Key>)
        => e.credits().capture(&hold, capture(amount, last, overage), idempotency_key.as_deref()).await?;
    credits.release(hold: HoldId; idempotency_key: Option<Key>)
        => e.credits().release(&hold, idempotency_key.as_deref()).await?;
    credits.extend(hold: HoldId, until: Until; idempotency_key: Option<Key>)
        => e.credits().extend(&hold, until.0, idempotency_key.as_deref()).await?;
    credits.refund(txn: TxnId; amount: Option<Amount>, on_expired: Option<OnExpired>, idempotency_key: Option<Key>)
        => e.credits().refund(&txn, refund(amount, on_expired), idempotency_key.as_deref()).await?;
    credits.clawback(grant: GrantId, refunded: Money; idempotency_key: Option<Key>)
        => e.credits().clawback(&grant, refunded, idempotency_key.as_deref()).await?;
    credits.transfer(giver: String, taker: String, amount: Amount; idempotency_key: Option<Key>)
        => e.credits().transfer(&giver, &taker, amount.0, idempotency_key.as_deref()).await?;
    credits.overdraft(account: String, limit: Amount; idempotency_key: Option<Key>)
        => e.credits().overdraft(&account, limit.0, idempotency_key.as_deref()).await?;
    credits.freeze(account: String, frozen: bool = true; idempotency_key: Option<Key>)
        => e.credits().freeze(&account, frozen, idempotency_key.as_deref()).await?;
    credits.linked(operations: Vec<Step>; idempotency_key: Option<Key>) => {
        let all = operations.into_iter().fold(e.credits().linked(), link);
        all.commit(idempotency_key.as_deref()).await?
    };
    credits.balance(account: String) => e.credits().balance(&account).await?;
    credits.balance_at(account: String, at: At; by: String = "booked")
        => e.credits().balance_at(&account, as_of(at, &by)?).await?;
    credits.statement(account: String; since: Option<At>, until: Option<At>, after: i64 = 0i64, limit: usize = 100usize)
        => e.credits().statement(&account, span(since, until), after, limit.min(10_000)).await?;
    credits.grants(account: String; used_up: bool = false) => e.credits().grants(&account, used_up).await?;
    credits.find_hold(hold: HoldId) => e.credits().find_hold(&hold).await?;
    credits.totals() => e.credits().totals().await?;
    credits.sweep() => e.credits().sweep().await?;
    credits.split(whole: i64, weights: Vec<u32>) => split(whole, &weights)?;
    credits.rollover(ending: Amount, overage: Amount, granted: Amount; least: Amount, most: Amount)
        => Rollover { min: least.0, max: most.0 }.next(ending.0, overage.0, granted.0)?;
    credits.audit() => e.credits().audit().await?;
}
