//! From the arguments of a verb to the operation, with new ids.

use super::{CaptureOptions, GrantOptions, RefundOptions};
use crate::credits::{Expiry, LedgerOp, NewGrant};
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};

pub(in crate::engine) fn grant(now: Millis, account: &str, amount: MicroCredits, options: GrantOptions) -> LedgerOp {
    LedgerOp::Grant(NewGrant {
        priority: options.priority,
        category: options.category,
        effective_at: options.effective_at,
        expires: options.expires,
        booked_at: options.booked_at,
        paid: options.paid,
        source: options.source.map(Into::into),
        ..NewGrant::new(account, amount, now)
    })
}

pub(in crate::engine) fn spend(now: Millis, account: &str, amount: MicroCredits) -> LedgerOp {
    LedgerOp::Spend {
        txn: TxnId::new(now),
        owner: account.into(),
        amount,
    }
}

pub(in crate::engine) fn hold(now: Millis, account: &str, amount: MicroCredits, expires: Option<Expiry>) -> LedgerOp {
    LedgerOp::Hold {
        hold: HoldId::new(now),
        owner: account.into(),
        amount,
        expires,
    }
}

pub(in crate::engine) fn capture(now: Millis, hold: &HoldId, options: CaptureOptions) -> LedgerOp {
    LedgerOp::Capture {
        txn: TxnId::new(now),
        hold: hold.clone(),
        amount: options.amount,
        last: options.last,
        overage: options.overage,
    }
}

pub(in crate::engine) fn refund(now: Millis, txn: &TxnId, options: RefundOptions) -> LedgerOp {
    LedgerOp::Refund {
        txn: TxnId::new(now),
        of: txn.clone(),
        amount: options.amount,
        on_expired: options.on_expired,
    }
}

pub(in crate::engine) fn clawback(now: Millis, grant: &GrantId, refunded: Money) -> LedgerOp {
    LedgerOp::Clawback {
        txn: TxnId::new(now),
        grant: grant.clone(),
        refunded,
    }
}

pub(in crate::engine) fn transfer(now: Millis, from: &str, to: &str, amount: MicroCredits) -> LedgerOp {
    LedgerOp::Transfer {
        txn: TxnId::new(now),
        from: from.into(),
        to: to.into(),
        amount,
    }
}
