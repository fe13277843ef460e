//! How credits are granted, captured and refunded, and what is told about them.

use serde::{Deserialize, Serialize};

use crate::credits::{Category, Expiry, OnExpired, Overage};
use crate::types::{MicroCredits, Millis, Money, TxnId};

/// How credits are granted.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantOptions {
    /// Drawn before those with a higher number; 0 to 255.
    pub priority: i64,
    /// Paid or promo.
    pub category: Category,
    /// Usable from then on, and counted from then on; now, if it is not said.
    pub effective_at: Option<Millis>,
    /// Usable until then; a span counts from the beginning. (Give a span under an idempotency key, if it is
    /// to be repeated: an instant that is counted from the clock would be another one.)
    pub expires: Option<Expiry>,
    /// When it counts in balances of the past, if that is earlier than now.
    pub booked_at: Option<Millis>,
    /// What was paid for it, for a clawback.
    pub paid: Option<Money>,
    /// What it stands for outside (an invoice, a campaign): a second grant for it is refused.
    pub source: Option<String>,
}

impl Default for GrantOptions {
    fn default() -> Self {
        GrantOptions {
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

/// How a hold is captured; by default all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// How much; `None` for all that the hold still reserves.
    pub amount: Option<MicroCredits>,
    /// Whether the rest is released. If it is not, more can be captured later.
    pub last: bool,
    /// What happens to more than the hold has.
    pub overage: Overage,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        CaptureOptions {
            amount: None,
            last: true,
            overage: Overage::Reject,
        }
    }
}

impl CaptureOptions {
    /// So much, and the rest is released.
    pub fn amount(amount: MicroCredits) -> Self {
        CaptureOptions {
            amount: Some(amount),
            ..Self::default()
        }
    }

    /// So much, and the rest stays held.
    pub fn partial(amount: MicroCredits) -> Self {
        CaptureOptions {
            last: false,
            ..Self::amount(amount)
        }
    }

    /// Draws what the hold does not have from what is spendable.
    #[must_use]
    pub fn with_overage(self) -> Self {
        CaptureOptions {
            overage: Overage::Allow,
            ..self
        }
    }
}

/// How a spend or a capture is refunded; by default all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefundOptions {
    /// How much; `None` for all that was not given back yet.
    pub amount: Option<MicroCredits>,
    /// What happens to credits whose grant has run out since.
    pub on_expired: OnExpired,
}

impl RefundOptions {
    /// So much of it.
    pub fn amount(amount: MicroCredits) -> Self {
        RefundOptions {
            amount: Some(amount),
            ..Self::default()
        }
    }
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Its number on the account, from 1 without gaps.
    pub version: i64,
    /// When it counts.
    pub booked_at: Millis,
    /// `grant`, `spend`, `capture`, `breakage`, `refund`, `clawback`, `transfer`.
    pub kind: String,
    /// What it belongs to: a grant, a hold, the transaction that was refunded, the account that a
    /// transfer went to.
    pub about: String,
    /// What it did.
    pub amount: MicroCredits,
    /// The balance after it.
    pub after: MicroCredits,
    /// The transaction.
    pub txn: TxnId,
}

/// What all accounts of a tenant did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Granted, paid for or not.
    pub issued: MicroCredits,
    /// Of that, paid for.
    pub issued_paid: MicroCredits,
    /// Spent, less what was refunded.
    pub revenue: MicroCredits,
    /// Run out unused.
    pub breakage: MicroCredits,
    /// Taken back because money was paid back.
    pub clawback: MicroCredits,
}
