use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::table::text_enum;
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};

/// Where a grant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Given away; drawn first among equals.
    Promo,
    /// Paid for.
    Paid,
}

text_enum!(Category { Promo = "promo", Paid = "paid" });

/// What happens to a capture of more than the hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overage {
    /// It is refused.
    #[default]
    Reject,
    /// The rest is drawn from what is spendable.
    Allow,
}

/// What a refund does with credits whose grant has run out since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpired {
    /// They are given back and run out at once.
    #[default]
    Expire,
    /// They come back as a new grant that ends so many days (of 24 hours) from now.
    Regrant(u32),
}

/// When something ends.
///
/// Whoever repeats a call under its idempotency key repeats a span as it was; an instant that is counted
/// from the caller's clock would be another one, and so another payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// At this instant.
    At(Millis),
    /// So long after it begins.
    In(Millis),
}

impl Expiry {
    /// The instant, of something that begins at this one.
    pub fn after(self, beginning: Millis) -> Millis {
        match self {
            Expiry::At(instant) => instant,
            Expiry::In(span) => beginning.saturating_add(span),
        }
    }
}

impl From<Millis> for Expiry {
    fn from(instant: Millis) -> Self {
        Expiry::At(instant)
    }
}

/// A grant to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewGrant {
    /// Its id, made by who grants.
    pub id: GrantId,
    /// The transaction's id.
    pub txn: TxnId,
    /// The account.
    pub owner: Arc<str>,
    /// How much.
    pub amount: MicroCredits,
    /// Drawn before those with a higher number; 0 to 255.
    pub priority: i64,
    /// Paid or promo.
    pub category: Category,
    /// Usable from then on; now, if it is not said. Until then nothing of it counts.
    pub effective_at: Option<Millis>,
    /// Usable until then; a span counts from the beginning.
    pub expires: Option<Expiry>,
    /// When it counts in balances as of an instant, if that is earlier than now.
    pub booked_at: Option<Millis>,
    /// What was paid for it, for a clawback.
    pub paid: Option<Money>,
    /// What it stands for outside (an invoice, a campaign): a second grant for it is refused.
    pub source: Option<Arc<str>>,
}

impl NewGrant {
    /// A paid grant without an end, with new ids.
    pub fn new(owner: &str, amount: MicroCredits, now: Millis) -> Self {
        NewGrant {
            id: GrantId::new(now),
            txn: TxnId::new(now),
            owner: owner.into(),
            amount,
            priority: 100,
            category: Category::Paid,
            effective_at: None,
            expires: None,
            booked_at: None,
            paid: None,
            source: None,
        }
    }
}

/// A change of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LedgerOp {
    /// Gives credits.
    Grant(NewGrant),
    /// Spends credits at once.
    Spend {
        /// The transaction's id.
        txn: TxnId,
        /// The account.
        owner: Arc<str>,
        /// How much.
        amount: MicroCredits,
    },
    /// Reserves credits.
    Hold {
        /// Its id.
        hold: HoldId,
        /// The account.
        owner: Arc<str>,
        /// How much.
        amount: MicroCredits,
        /// When it runs out by itself.
        expires: Option<Expiry>,
    },
    /// Spends from a hold.
    Capture {
        /// The transaction's id.
        txn: TxnId,
        /// The hold.
        hold: HoldId,
        /// How much; `None` for all that is left.
        amount: Option<MicroCredits>,
        /// Whether the rest is released.
        last: bool,
        /// What happens to more than the hold has.
        overage: Overage,
    },
    /// Gives a hold back.
    Release {
        /// The hold.
        hold: HoldId,
    },
    /// Lets a hold live longer (or shorter).
    Extend {
        /// The hold.
        hold: HoldId,
        /// Its new end; a span counts from now.
        until: Expiry,
    },
    /// Gives back what a spend or a capture took, last drawn first.
    Refund {
        /// The refund's own transaction id.
        txn: TxnId,
        /// The spend or capture.
        of: TxnId,
        /// How much; `None` for all that was not given back yet.
        amount: Option<MicroCredits>,
        /// What happens to credits whose grant has run out.
        on_expired: OnExpired,
    },
    /// Takes back a paid grant in proportion to the money that was paid back.
    Clawback {
        /// The transaction's id.
        txn: TxnId,
        /// The grant.
        grant: GrantId,
        /// All that was ever paid back for it, in sum: a smaller sum than before changes nothing.
        refunded: Money,
    },
    /// Moves credits to another account; they keep their end, priority and category.
    Transfer {
        /// The transaction's id.
        txn: TxnId,
        /// From this account.
        from: Arc<str>,
        /// To this one.
        to: Arc<str>,
        /// How much.
        amount: MicroCredits,
    },
    /// Sets how far below zero an account may go.
    Overdraft {
        /// The account.
        owner: Arc<str>,
        /// How far.
        limit: MicroCredits,
    },
    /// Lets nothing more be drawn from an account, or lets it again. What is held can still be captured.
    Freeze {
        /// The account.
        owner: Arc<str>,
        /// Whether it is frozen.
        frozen: bool,
    },
    /// Folds in what is due, without doing anything else: a sweeper's call, never needed.
    Fold {
        /// The account.
        owner: Arc<str>,
    },
}

impl LedgerOp {
    /// What the operation was asked to do, without the ids that were made for it: an idempotency key is
    /// bound to this.
    pub fn payload(&self) -> Value {
        match self {
            LedgerOp::Grant(new) => json!([
                "grant",
                new.owner,
                new.amount,
                new.priority,
                new.category,
                new.effective_at,
                new.expires,
                new.booked_at,
                new.paid,
                new.source
            ]),
            LedgerOp::Spend { owner, amount, .. } => json!(["spend", owner, amount]),
            LedgerOp::Hold {
                owner, amount, expires, ..
            } => json!(["hold", owner, amount, expires]),
            LedgerOp::Capture {
                hold,
                amount,
                last,
                overage,
                ..
            } => json!(["capture", hold, amount, last, overage]),
            LedgerOp::Release { hold } => json!(["release", hold]),
            LedgerOp::Extend { hold, until } => json!(["extend", hold, until]),
            LedgerOp::Refund {
                of, amount, on_expired, ..
            } => json!(["refund", of, amount, on_expired]),
            LedgerOp::Clawback { grant, refunded, .. } => json!(["clawback", grant, refunded]),
            LedgerOp::Transfer { from, to, amount, .. } => json!(["transfer", from, to, amount]),
            LedgerOp::Overdraft { owner, limit } => json!(["overdraft", owner, limit]),
            LedgerOp::Freeze { owner, frozen } => json!(["freeze", owner, frozen]),
            LedgerOp::Fold { owner } => json!(["fold", owner]),
        }
    }
}

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerAnswer {
    /// What it made or changed: a grant, a hold, a transaction.
    pub id: Arc<str>,
    /// How much was moved: granted, spent, held, captured, released, given or taken back.
    pub amount: MicroCredits,
    /// The account's balance after it (of a transfer: the giving account's).
    pub posted: MicroCredits,
    /// What is reserved after it.
    pub held: MicroCredits,
    /// How far below zero the account may go.
    pub overdraft: MicroCredits,
    /// Whether the amount was spent.
    #[serde(default)]
    pub spent: bool,
}

impl LedgerAnswer {
    /// How much was spent by it.
    pub fn captured(&self) -> MicroCredits {
        if self.spent { self.amount } else { MicroCredits::ZERO }
    }

    /// The account's balance after it.
    pub fn balance(&self) -> Balance {
        Balance::new(self.posted, self.held, self.overdraft)
    }
}

/// What an account is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Live grants and still-held parts of grants that ran out, less the debt.
    pub posted: MicroCredits,
    /// Reserved by open holds.
    pub held: MicroCredits,
    /// `posted - held`.
    pub available: MicroCredits,
    /// What can be spent or held now: `available`, and as much below zero as the overdraft allows.
    pub spendable: MicroCredits,
}

impl Balance {
    /// The balance of these.
    pub fn new(posted: MicroCredits, held: MicroCredits, overdraft: MicroCredits) -> Self {
        let available = posted.0.saturating_sub(held.0);
        Balance {
            posted,
            held,
            available: MicroCredits(available),
            spendable: MicroCredits(available.saturating_add(overdraft.0)),
        }
    }
}
