//! Several operations in one commit.

use serde_json::{Value, json};

use super::credits::ops;
use super::request::{Enqueued, JobRequest};
use super::{CaptureOptions, Engine, GrantOptions, RefundOptions, key};
use crate::credits::{Expiry, LedgerAnswer, LedgerOp};
use crate::error::{Error, Result};
use crate::jobs::{QueueAnswer, QueueOp};
use crate::records::{Expect, RecordOp};
use crate::store::{Answer, Batch, HostTransaction, Key, Op, Receipt};
use crate::types::{HoldId, JobId, MicroCredits, Millis, TxnId};
use crate::usage::NewUsage;

/// Operations of every kind that happen together or not at all. Made by [`Engine::atomic`]; nothing happens, and no
/// lock is held, before [`commit`](Atomic::commit).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levqor_core::error::Result<()> {
/// # use levqor_core::{backend::Backend, engine::*, types::*};
/// # use serde_json::json;
/// # let engine = Engine::builder(Backend::memory()).build()?;
/// # engine.credits().grant("acme", "10".parse()?, GrantOptions::default(), None).await?;
/// let mut tx = engine.atomic(Some("request-7"))?;
/// let paid = tx.spend("acme", "3".parse()?);
/// let job = tx.enqueue(JobRequest::new("welcome", json!({"to": "ann@example.com"})).account("acme"))?;
/// let done = tx.commit().await?;
/// assert_eq!(done.credits(paid)?.balance().available.to_string(), "7");
/// assert!(done.job(job)?.id.as_str().starts_with("job_"));
///
/// let mut tx = engine.atomic(None)?;
/// tx.enqueue(JobRequest::new("welcome", json!({})))?;
/// tx.spend("acme", "100".parse()?);
/// assert_eq!(tx.commit().await.unwrap_err().code(), "ledger.insufficient_credits");
/// assert_eq!(engine.jobs().counts().await?.iter().map(|c| c.2).sum::<u64>(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before it is committed"]
pub struct Atomic {
    engine: Engine,
    now: Millis,
    idempotency: Option<String>,
    key: Option<Key>,
    payload: Vec<Value>,
    ops: Vec<Op>,
    ids: Vec<Option<(JobId, Option<HoldId>)>>,
    /// The holds that it makes.
    holds: Vec<HoldId>,
}

/// The place of an operation in a commit, by which its answer is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// What the operations of a commit came to.
#[derive(Clone, Debug)]
pub struct Committed {
    receipt: Receipt,
    ids: Vec<Option<(JobId, Option<HoldId>)>>,
}

impl Atomic {
    pub(super) fn new(engine: &Engine, idempotency: Option<&str>) -> Result<Self> {
        // A wrong key is told before anything is collected under it.
        key(idempotency, &Value::Null)?;
        Ok(Atomic {
            engine: engine.clone(),
            now: engine.now(),
            idempotency: idempotency.map(str::to_owned),
            key: None,
            payload: Vec::new(),
            ops: Vec::new(),
            ids: Vec::new(),
            holds: Vec::new(),
        })
    }

    pub(super) fn bind(&mut self, key: Option<Key>) {
        self.key = key;
    }

    pub(super) fn op(&mut self, op: impl Into<Op>) -> Place {
        self.ops.push(op.into());
        self.ids.push(None);
        Place(self.ops.len() - 1)
    }

    fn ledger(&mut self, op: LedgerOp) -> Place {
        self.payload.push(op.payload());
        self.op(op)
    }

    /// Adds [`grant`](super::Credits::grant).
    pub fn grant(&mut self, account: &str, amount: MicroCredits, options: GrantOptions) -> Place {
        self.ledger(ops::grant(self.now, account, amount, options))
    }

    /// Adds [`spend`](super::Credits::spend).
    pub fn spend(&mut self, account: &str, amount: MicroCredits) -> Place {
        self.ledger(ops::spend(self.now, account, amount))
    }

    /// Adds [`hold`](super::Credits::hold). Its id is known at once, so that a job can be given it.
    pub fn hold(&mut self, account: &str, amount: MicroCredits, expires: Option<Expiry>) -> (Place, HoldId) {
        let op = ops::hold(self.now, account, amount, expires);
        let id = match &op {
            LedgerOp::Hold { hold, .. } => hold.clone(),
            _ => HoldId::new(self.now),
        };
        self.holds.push(id.clone());
        (self.ledger(op), id)
    }

    /// Adds [`capture`](super::Credits::capture).
    pub fn capture(&mut self, hold: &HoldId, options: CaptureOptions) -> Place {
        self.ledger(ops::capture(self.now, hold, options))
    }

    /// Adds [`release`](super::Credits::release).
    pub fn release(&mut self, hold: &HoldId) -> Place {
        self.ledger(LedgerOp::Release { hold: hold.clone() })
    }

    /// Adds [`refund`](super::Credits::refund).
    pub fn refund(&mut self, txn: &TxnId, options: RefundOptions) -> Place {
        self.ledger(ops::refund(self.now, txn, options))
    }

    /// Adds [`transfer`](super::Credits::transfer).
    pub fn transfer(&mut self, from: &str, to: &str, amount: MicroCredits) -> Place {
        self.ledger(ops::transfer(self.now, from, to, amount))
    }

    /// Adds [`enqueue`](super::Jobs::enqueue). The request's own key counts for nothing here.
    pub fn enqueue(&mut self, request: JobRequest) -> Result<Place> {
        self.payload.push(request.payload());
        let held = request.hold;
        let new = request.job(&self.engine)?;
        if let (Some(hold), Some(amount), Some(owner)) = (&new.hold, held, &new.account) {
            self.op(LedgerOp::Hold {
                hold: hold.clone(),
                owner: owner.clone(),
                amount,
                expires: None,
            });
        }
        let ids = (new.id.clone(), new.hold.clone());
        let place = self.op(QueueOp::Enqueue(Box::new(new)));
        self.ids[place.0] = Some(ids);
        Ok(place)
    }

    /// Counts usage, once for its source and id.
    pub fn usage(&mut self, usage: NewUsage) -> Place {
        self.payload.push(json!(["usage", usage.source, usage.id, usage.value]));
        self.op(usage)
    }

    /// Writes a document.
    pub fn record(&mut self, kind: &str, name: &str, body: &Value, expect: Expect) -> Place {
        let text = crate::json::canonical(body);
        self.payload.push(json!(["record", kind, name, text]));
        self.op(RecordOp::Put {
            kind: kind.into(),
            name: name.into(),
            body: text.into(),
            expect,
            expires_at: None,
        })
    }

    /// The batch itself.
    fn into_batch(self) -> Result<Batch> {
        let key = match self.key {
            Some(key) => Some(key),
            None => key(
                self.idempotency.as_deref(),
                &json!(["atomic", nameless(self.payload, &self.holds)]),
            )?,
        };
        Ok(self.ops.into_iter().fold(self.engine.batch().keyed(key), Batch::op))
    }

    /// Carries out everything in a transaction that the host has open: it counts when the host commits.
    ///
    /// ```no_run
    /// # async fn example(engine: levqor_core::engine::Engine) -> Result<(), Box<dyn std::error::Error>> {
    /// # #[cfg(feature = "postgres")] {
    /// use levqor_core::engine::JobRequest;
    /// use sqlx::Connection;
    /// let mut conn = sqlx::PgConnection::connect("postgres://app@localhost/app").await?;
    /// let mut tx = conn.begin().await?;
    /// sqlx::query("INSERT INTO users (name) VALUES ('ann')").execute(&mut *tx).await?;
    /// let mut with = engine.atomic(None)?;
    /// with.enqueue(JobRequest::new("welcome", serde_json::json!("ann")))?;
    /// with.commit_in(&mut *tx).await?;
    /// tx.commit().await?;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn commit_in(mut self, transaction: &mut impl HostTransaction) -> Result<Committed> {
        let ids = std::mem::take(&mut self.ids);
        let receipt = transaction.carry_out(&self.into_batch()?).await?;
        Ok(Committed { receipt, ids })
    }

    /// Carries out everything in one commit. If one operation is refused, none has happened; the error is that
    /// one's, and its detail `operation` is its place, from 0.
    pub async fn commit(mut self) -> Result<Committed> {
        let ids = std::mem::take(&mut self.ids);
        let store = self.engine.inner.backend.store.clone();
        let receipt = store.commit(self.into_batch()?).await?;
        Ok(Committed { receipt, ids })
    }
}

impl Committed {
    /// Whether the idempotency key had been used before, and nothing happened now.
    pub fn replayed(&self) -> bool {
        self.receipt.replayed
    }

    pub(super) fn answer(&self, place: Place) -> Option<&Answer> {
        self.receipt.answers.get(place.0)
    }

    /// What an operation on credits came to.
    pub fn credits(&self, place: Place) -> Result<&LedgerAnswer> {
        match self.answer(place) {
            Some(Answer::Ledger(answer)) => Ok(answer),
            _ => Err(Error::invalid("atomic.wrong_place", "this operation was not one on credits")),
        }
    }

    /// What an enqueue came to.
    pub fn job(&self, place: Place) -> Result<Enqueued> {
        let Some(Answer::Queue(QueueAnswer::Job(job))) = self.answer(place) else {
            return Err(Error::invalid("atomic.wrong_place", "this operation was not an enqueue"));
        };
        let asked = self.ids.get(place.0).and_then(Option::as_ref);
        let duplicate = !self.receipt.replayed && asked.is_some_and(|(id, _)| *id != job.id);
        Ok(Enqueued {
            id: job.id.clone(),
            duplicate,
            replayed: self.receipt.replayed,
            hold: job.hold.clone(),
        })
    }
}

/// What is asked for, with the places of its new holds instead of their ids, which are others every time.
fn nameless(payload: Vec<Value>, holds: &[HoldId]) -> Value {
    fn walk(value: Value, holds: &[HoldId]) -> Value {
        match value {
            Value::String(text) => match holds.iter().position(|id| id.as_str() == text) {
                Some(n) => json!({"hold": n}),
                None => Value::String(text),
            },
            Value::Array(items) => items.into_iter().map(|item| walk(item, holds)).collect(),
            Value::Object(map) => map.into_iter().map(|(name, member)| (name, walk(member, holds))).collect(),
            other => other,
        }
    }
    walk(Value::Array(payload), holds)
}
