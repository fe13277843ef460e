//! Limits and claims in the store: exact over all processes that share it, without anything else to run.
//!
//! Each call is a batch of its own, so it waits for a commit: many callers share one, and each sees the
//! takes of those before it. A refusal writes nothing. Where that is too slow, limits can lie elsewhere:
//! see [`open`](super::open).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::claims::{Claim, ClaimAct, ClaimOp, Claims, token};
use crate::error::{Error, Result};
use crate::limits::{Ask, Decision, LimitOp, Limits};
use crate::store::{Answer, Batch, Op, Store};
use crate::types::{Millis, Tenant};

/// Limits in a store.
#[derive(Clone)]
pub struct StoredLimits(Arc<dyn Store>);

impl StoredLimits {
    /// Limits in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        StoredLimits(store)
    }
}

/// Claims in a store.
#[derive(Clone)]
pub struct StoredClaims(Arc<dyn Store>);

impl StoredClaims {
    /// Claims in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        StoredClaims(store)
    }

    async fn act(&self, tenant: &Tenant, key: &str, token: &str, act: ClaimAct, now: Millis) -> Result<Option<Claim>> {
        let op = ClaimOp {
            key: key.into(),
            token: token.into(),
            act,
        };
        match one(&self.0, tenant, Op::Claim(op), now).await? {
            Answer::Claim(claim) => Ok(claim),
            _ => Err(odd()),
        }
    }
}

async fn one(store: &Arc<dyn Store>, tenant: &Tenant, op: Op, now: Millis) -> Result<Answer> {
    let receipt = store.commit(Batch::new(tenant.clone(), now).op(op)).await?;
    receipt.answers.into_iter().next().ok_or_else(odd)
}

fn odd() -> Error {
    Error::internal("the store's answer does not belong to what was asked")
}

#[async_trait]
impl Limits for StoredLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        let op = LimitOp::new(asks)?;
        if asks.is_empty() {
            return Ok(Decision::new(asks, [], now));
        }
        match one(&self.0, tenant, Op::Limit(op), now).await? {
            Answer::Limit(decision) => Ok(decision),
            _ => Err(odd()),
        }
    }
}

#[async_trait]
impl Claims for StoredClaims {
    async fn claim(&self, tenant: &Tenant, key: &str, ttl: Millis, now: Millis) -> Result<Claim> {
        let claim = self.act(tenant, key, &token(), ClaimAct::Claim(ttl), now).await?;
        claim.ok_or_else(odd)
    }

    async fn settle(&self, tenant: &Tenant, key: &str, token: &str, outcome: Value, keep: Millis, now: Millis) -> Result<()> {
        self.act(tenant, key, token, ClaimAct::Settle(outcome, keep), now)
            .await
            .map(drop)
    }

    async fn release(&self, tenant: &Tenant, key: &str, token: &str, now: Millis) -> Result<()> {
        self.act(tenant, key, token, ClaimAct::Release, now).await.map(drop)
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
pub(super) mod tests;
