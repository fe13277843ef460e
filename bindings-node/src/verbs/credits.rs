//! Credits.

use levqor::credits::{Category, OnExpired, Overage, Rollover, split};
use levqor::engine::{CaptureOptions, GrantOptions, Linked, RefundOptions};
use levqor::error::{Error, Result};
use levqor::store::AsOf;
use levqor::types::{GrantId, HoldId, Millis, Money, TxnId};
use serde::Deserialize;

use super::{Amount, At, Until, verbs};

type Key = Option<String>;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Terms {
    priority: i64,
    category: Category,
    effective_at: Option<At>,
    expires: Option<Until>,
    booked_at: Option<At>,
    paid: Option<Money>,
    source: Option<String>,
}

impl Default for Terms {
    fn default() -> Self {
        let usual = GrantOptions::default();
        Terms {
            priority: usual.priority,
            category: usual.category,
            effective_at: None,
            expires: None,
            booked_at: None,
            paid: None,
            source: None,
        }
    }
}

impl Terms {
    pub(super) fn options(self) -> GrantOptions {
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

fn yes() -> bool {
    true
}

fn capture(amount: Option<Amount>, last: bool, overage: Overage) -> CaptureOptions {
    let amount = amount.map(|a| a.0);
    CaptureOptions { amount, last, overage }
}

fn refund(amount: Option<Amount>, on_expired: OnExpired) -> RefundOptions {
    let amount = amount.map(|a| a.0);
    RefundOptions { amount, on_expired }
}

/// One of several operations that happen together.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Grant {
        account: String,
        amount: Amount,
        #[serde(default)]
        terms: Terms,
    },
    Spend {
        account: String,
        amount: Amount,
    },
    Hold {
        account: String,
        amount: Amount,
        expires: Option<Until>,
    },
    Capture {
        hold: HoldId,
        amount: Option<Amount>,
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
        amount: Option<Amount>,
        #[serde(default)]
        on_expired: OnExpired,
    },
    Clawback {
        grant: GrantId,
        refunded: Money,
    },
    Transfer {
        from: String,
        to: String,
        amount: Amount,
    },
    Overdraft {
        account: String,
        limit: Amount,
    },
    Freeze {
        account: String,
        #[serde(default = "yes")]
        frozen: bool,
    },
}

fn link(all: Linked<'_>, step: Step) -> Linked<'_> {
    match step {
        Step::Grant { account, amount, terms } => all.grant(&account, amount.0, terms.options()),
        Step::Spend { account, amount } => all.spend(&account, amount.0),
        Step::Hold {
            account,
            amount,
            expires,
        } => all.hold(&account, amount.0, expires.map(|u| u.0)),
        Step::Capture {
            hold,
            amount,
            last,
            overage,
        } => all.capture(&hold, capture(amount, last, overage)),
        Step::Release { hold } => all.release(&hold),
        Step::Extend { hold, until } => all.extend(&hold, until.0),
        Step::Refund { txn, amount, on_expired } => all.refund(&txn, refund(amount, on_expired)),
        Step::Clawback { grant, refunded } => all.clawback(&grant, refunded),
        Step::Transfer { from, to, amount } => all.transfer(&from, &to, amount.0),
        Step::Overdraft { account, limit } => all.overdraft(&account, limit.0),
        Step::Freeze { account, frozen } => all.freeze(&account, frozen),
    }
}

fn as_of(at: At, by: &str) -> Result<AsOf> {
    match by {
        "booked" => Ok(AsOf::Booked(at.0)),
        "recorded" => Ok(AsOf::Recorded(at.0)),
        _ => Err(Error::invalid("argument.invalid", "a balance of the past is taken by `booked` or `recorded`").at("by")),
    }
}

verbs! { e;
    credits.grant(account: String, amount: Amount, terms: Terms = Terms::default(), idempotency_key: Key)
        => e.credits().grant(&account, amount.0, terms.options(), idempotency_key.as_deref()).await?;
    credits.spend(account: String, amount: Amount, idempotency_key: Key)
        => e.credits().spend(&account, amount.0, idempotency_key.as_deref()).await?;
    credits.hold(account: String, amount: Amount, expires: Option<Until>, idempotency_key: Key)
        => e.credits().hold(&account, amount.0, expires.map(|u| u.0), idempotency_key.as_deref()).await?;
    credits.capture(hold: HoldId, amount: Option<Amount>, last: bool = true, overage: Overage = Overage::Reject, idempotency_key: Key)
        => e.credits().capture(&hold, capture(amount, last, overage), idempotency_key.as_deref()).await?;
    credits.release(hold: HoldId, idempotency_key: Key) => e.credits().release(&hold, idempotency_key.as_deref()).await?;
    credits.extend(hold: HoldId, until: Until, idempotency_key: Key)
        => e.credits().extend(&hold, until.0, idempotency_key.as_deref()).await?;
    credits.refund(txn: TxnId, amount: Option<Amount>, on_expired: OnExpired = OnExpired::default(), idempotency_key: Key)
        => e.credits().refund(&txn, refund(amount, on_expired), idempotency_key.as_deref()).await?;
    credits.clawback(grant: GrantId, refunded: Money, idempotency_key: Key)
        => e.credits().clawback(&grant, refunded, idempotency_key.as_deref()).await?;
    credits.transfer(from: String, to: String, amount: Amount, idempotency_key: Key)
        => e.credits().transfer(&from, &to, amount.0, idempotency_key.as_deref()).await?;
    credits.overdraft(account: String, limit: Amount, idempotency_key: Key)
        => e.credits().overdraft(&account, limit.0, idempotency_key.as_deref()).await?;
    credits.freeze(account: String, frozen: bool = true, idempotency_key: Key)
        => e.credits().freeze(&account, frozen, idempotency_key.as_deref()).await?;
    credits.linked(operations: Vec<Step>, idempotency_key: Key) => {
        let all = operations.into_iter().fold(e.credits().linked(), link);
        all.commit(idempotency_key.as_deref()).await?
    };
    credits.balance(account: String) => e.credits().balance(&account).await?;
    credits.balance_at(account: String, at: At, by: String = "booked") => e.credits().balance_at(&account, as_of(at, &by)?).await?;
    credits.statement(account: String, since: Option<At>, until: Option<At>, after: i64 = 0i64, limit: usize = 100usize) => {
        let span = (since.map_or(Millis::ZERO, |a| a.0), until.map_or(Millis::MAX, |a| a.0));
        e.credits().statement(&account, span, after, limit.min(10_000)).await?
    };
    credits.grants(account: String, used_up: bool = false) => e.credits().grants(&account, used_up).await?;
    credits.find_hold(hold: HoldId) => e.credits().find_hold(&hold).await?;
    credits.totals() => e.credits().totals().await?;
    credits.sweep() => e.credits().sweep().await?;
    credits.split(whole: i64, weights: Vec<u32>) => split(whole, &weights)?;
    credits.rollover(ending: Amount, overage: Amount, granted: Amount, least: Amount, most: Amount)
        => Rollover { min: least.0, max: most.0 }.next(ending.0, overage.0, granted.0)?;
    credits.audit() => e.credits().audit().await?;
}
