use serde_json::Value;

use super::{CaptureOptions, GrantOptions, RefundOptions, ops};
use crate::credits::{Expiry, LedgerAnswer, LedgerOp};
use crate::engine::{Engine, key};
use crate::error::{Error, Result};
use crate::store::{Answer, Batch};
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};

/// Operations on credits that happen together or not at all: collected by name, carried out by
/// [`commit`](Linked::commit). Made by [`Credits::linked`](super::Credits::linked).
#[must_use = "nothing happens before it is committed"]
pub struct Linked<'a> {
    engine: &'a Engine,
    now: Millis,
    ops: Vec<LedgerOp>,
}

impl<'a> Linked<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Linked {
            engine,
            now: engine.now(),
            ops: Vec::new(),
        }
    }

    pub(super) fn op(mut self, op: LedgerOp) -> Self {
        self.ops.push(op);
        self
    }

    /// Adds [`grant`](super::Credits::grant).
    pub fn grant(self, account: &str, amount: MicroCredits, options: GrantOptions) -> Self {
        let op = ops::grant(self.now, account, amount, options);
        self.op(op)
    }

    /// Adds [`spend`](super::Credits::spend).
    pub fn spend(self, account: &str, amount: MicroCredits) -> Self {
        let op = ops::spend(self.now, account, amount);
        self.op(op)
    }

    /// Adds [`hold`](super::Credits::hold).
    pub fn hold(self, account: &str, amount: MicroCredits, expires: Option<Expiry>) -> Self {
        let op = ops::hold(self.now, account, amount, expires);
        self.op(op)
    }

    /// Adds [`capture`](super::Credits::capture).
    pub fn capture(self, hold: &HoldId, options: CaptureOptions) -> Self {
        let op = ops::capture(self.now, hold, options);
        self.op(op)
    }

    /// Adds [`release`](super::Credits::release).
    pub fn release(self, hold: &HoldId) -> Self {
        self.op(LedgerOp::Release { hold: hold.clone() })
    }

    /// Adds [`extend`](super::Credits::extend).
    pub fn extend(self, hold: &HoldId, until: Expiry) -> Self {
        let hold = hold.clone();
        self.op(LedgerOp::Extend { hold, until })
    }

    /// Adds [`refund`](super::Credits::refund).
    pub fn refund(self, txn: &TxnId, options: RefundOptions) -> Self {
        let op = ops::refund(self.now, txn, options);
        self.op(op)
    }

    /// Adds [`clawback`](super::Credits::clawback).
    pub fn clawback(self, grant: &GrantId, refunded: Money) -> Self {
        let op = ops::clawback(self.now, grant, refunded);
        self.op(op)
    }

    /// Adds [`transfer`](super::Credits::transfer).
    pub fn transfer(self, from: &str, to: &str, amount: MicroCredits) -> Self {
        let op = ops::transfer(self.now, from, to, amount);
        self.op(op)
    }

    /// Adds [`overdraft`](super::Credits::overdraft).
    pub fn overdraft(self, account: &str, limit: MicroCredits) -> Self {
        let owner = account.into();
        self.op(LedgerOp::Overdraft { owner, limit })
    }

    /// Adds [`freeze`](super::Credits::freeze).
    pub fn freeze(self, account: &str, frozen: bool) -> Self {
        let owner = account.into();
        self.op(LedgerOp::Freeze { owner, frozen })
    }

    /// Carries out all of them in one commit, and answers each, in their order.
    ///
    /// If one is refused, none has happened; the error is that one's, and its detail `operation` is its
    /// place, from 0.
    pub async fn commit(self, idempotency: Option<&str>) -> Result<Vec<LedgerAnswer>> {
        let key = match idempotency {
            None => None,
            Some(_) => key(idempotency, &payload(&self.ops))?,
        };
        let batch = self.ops.into_iter().fold(self.engine.batch().keyed(key), Batch::op);
        let receipt = self.engine.inner.backend.store.commit(batch).await?;
        let answers = receipt.answers.into_iter().map(|answer| match answer {
            Answer::Ledger(answer) => Ok(answer),
            _ => Err(Error::internal("a ledger operation without a ledger's answer")),
        });
        answers.collect()
    }
}

/// What a key is bound to: one operation alone, or the list of them.
fn payload(ops: &[LedgerOp]) -> Value {
    match ops {
        [one] => one.payload(),
        many => Value::Array(many.iter().map(LedgerOp::payload).collect()),
    }
}
