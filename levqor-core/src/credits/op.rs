use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::table::text_enum;
use crate::types::{GrantId, HoldId, MicroCredits, Millis, TxnId};

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
    /// Usable from then on; in the past means now.
    pub effective_at: Millis,
    /// Usable until then.
    pub expires_at: Option<Millis>,
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
        expires_at: Option<Millis>,
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
        /// Its new end.
        until: Millis,
    },
    /// Sets how far below zero an account may go.
    Overdraft {
        /// The account.
        owner: Arc<str>,
        /// How far.
        limit: MicroCredits,
    },
    /// Folds in what is due, without doing anything else: a sweeper's call, never needed.
    Fold {
        /// The account.
        owner: Arc<str>,
    },
}

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerAnswer {
    /// What it made or changed: a grant, a hold, a transaction.
    pub id: Arc<str>,
    /// How much was moved: granted, spent, held, captured or released.
    pub amount: MicroCredits,
    /// The account's balance after it.
    pub posted: MicroCredits,
    /// What is reserved after it.
    pub held: MicroCredits,
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
        Balance::new(self.posted, self.held)
    }
}

/// What is drawn from one grant.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The grant; `None` for the overdraft.
    pub lot: Option<GrantId>,
    /// How much.
    pub amount: MicroCredits,
}

/// What an account is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Live grants and still-held parts of grants that ran out, less what was spent below zero.
    pub posted: MicroCredits,
    /// Reserved by open holds.
    pub held: MicroCredits,
    /// `posted - held`.
    pub available: MicroCredits,
}

impl Balance {
    /// The balance of these two.
    pub fn new(posted: MicroCredits, held: MicroCredits) -> Self {
        Balance {
            posted,
            held,
            available: MicroCredits(posted.0.saturating_sub(held.0)),
        }
    }
}
