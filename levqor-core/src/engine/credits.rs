use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Engine, key};
use crate::credits::{AuditReport, Balance, Category, LedgerAnswer, LedgerOp, NewGrant, Overage, audit};
use crate::error::{Error, Result};
use crate::store::Answer;
use crate::types::{GrantId, HoldId, MicroCredits, Millis, TxnId};

/// Credits: grant, spend, hold, capture, release, and what an account is worth.
///
/// Every verb that changes something takes an optional idempotency key.
pub struct Credits<'a>(pub(super) &'a Engine);

/// How credits are granted.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantOptions {
    /// Drawn before those with a higher number.
    pub priority: i64,
    /// Paid or promo.
    pub category: Category,
    /// Usable until then.
    pub expires_at: Option<Millis>,
}

impl Default for GrantOptions {
    fn default() -> Self {
        GrantOptions {
            priority: 100,
            category: Category::Paid,
            expires_at: None,
        }
    }
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Its number on the account.
    pub version: i64,
    /// When it counts.
    pub booked_at: Millis,
    /// What it did.
    pub amount: MicroCredits,
    /// The balance after it.
    pub after: MicroCredits,
    /// The transaction.
    pub txn: TxnId,
}

impl Credits<'_> {
    async fn run(&self, op: LedgerOp, idempotency: Option<&str>, payload: serde_json::Value) -> Result<LedgerAnswer> {
        let batch = self.0.batch().keyed(key(idempotency, &payload)?).op(op);
        let receipt = self.0.inner.backend.store.commit(batch).await?;
        match receipt.answers.into_iter().next() {
            Some(Answer::Ledger(answer)) => Ok(answer),
            _ => Err(Error::internal("a ledger operation without a ledger's answer")),
        }
    }

    /// Gives credits to an account.
    pub async fn grant(
        &self,
        account: &str,
        amount: MicroCredits,
        options: GrantOptions,
        idempotency: Option<&str>,
    ) -> Result<LedgerAnswer> {
        let now = self.0.now();
        let payload = json!([
            "grant",
            account,
            amount,
            options.priority,
            options.category,
            options.expires_at
        ]);
        let op = LedgerOp::Grant(NewGrant {
            id: GrantId::new(now),
            txn: TxnId::new(now),
            owner: account.into(),
            amount,
            priority: options.priority,
            category: options.category,
            effective_at: now,
            expires_at: options.expires_at,
        });
        self.run(op, idempotency, payload).await
    }

    /// Spends credits at once.
    pub async fn spend(&self, account: &str, amount: MicroCredits, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        let op = LedgerOp::Spend {
            txn: TxnId::new(self.0.now()),
            owner: account.into(),
            amount,
        };
        self.run(op, idempotency, json!(["spend", account, amount])).await
    }

    /// Reserves credits; the answer's `id` is the hold's.
    pub async fn hold(
        &self,
        account: &str,
        amount: MicroCredits,
        expires_at: Option<Millis>,
        idempotency: Option<&str>,
    ) -> Result<LedgerAnswer> {
        let op = LedgerOp::Hold {
            hold: HoldId::new(self.0.now()),
            owner: account.into(),
            amount,
            expires_at,
        };
        self.run(op, idempotency, json!(["hold", account, amount, expires_at])).await
    }

    /// Spends from a hold and releases the rest; `None` for all of it.
    pub async fn capture(&self, hold: &HoldId, amount: Option<MicroCredits>, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        let txn = TxnId::new(self.0.now());
        let op = LedgerOp::Capture {
            txn,
            hold: hold.clone(),
            amount,
            last: true,
            overage: Overage::Reject,
        };
        self.run(op, idempotency, json!(["capture", hold, amount])).await
    }

    /// Gives a hold back.
    pub async fn release(&self, hold: &HoldId, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.run(
            LedgerOp::Release { hold: hold.clone() },
            idempotency,
            json!(["release", hold]),
        )
        .await
    }

    /// What an account is worth now; nothing, if it was never heard of.
    pub async fn balance(&self, account: &str) -> Result<Balance> {
        let found = self
            .0
            .inner
            .backend
            .store
            .reads()
            .ledger
            .account(&self.0.tenant, account)
            .await?;
        match found {
            None => Ok(Balance::default()),
            Some(a) if a.next_due.is_none_or(|due| self.0.now() < due) => Ok(Balance::new(a.posted, a.held)),
            // Something has run out since the last change: fold it in, then it is known.
            Some(a) => Ok(self
                .run(LedgerOp::Fold { owner: a.owner.clone() }, None, json!(null))
                .await?
                .balance()),
        }
    }

    /// The account's entries booked in `[from, to)`, oldest first, behind version `after`.
    pub async fn statement(&self, account: &str, span: (Millis, Millis), after: i64, limit: usize) -> Result<Vec<StatementLine>> {
        self.balance(account).await?;
        let entries = self
            .0
            .inner
            .backend
            .store
            .reads()
            .ledger
            .entries(&self.0.tenant, account, span, after, limit)
            .await?;
        let line = |e: &Arc<crate::credits::Entry>| StatementLine {
            version: e.version,
            booked_at: e.booked_at,
            amount: e.amount,
            after: e.after,
            txn: e.txn.clone(),
        };
        Ok(entries.iter().map(line).collect())
    }

    /// Proves the whole ledger of the tenant: see [`audit`].
    pub async fn audit(&self) -> Result<AuditReport> {
        Ok(audit(
            &self.0.inner.backend.store.reads().ledger.everything(&self.0.tenant).await?,
        ))
    }
}
