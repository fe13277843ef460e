//! Claims: one of many processes does a thing, the others learn what came of it.

mod row;

pub use row::{ClaimAct, ClaimOp, ClaimRow, DDL, apply, wants};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::types::{Millis, Tenant, random_bytes};

/// First come, first served, over all processes that share the backend.
#[async_trait]
pub trait Claims: Send + Sync + 'static {
    /// Claims a key until `now + ttl`, unless somebody holds it or it is settled.
    async fn claim(&self, tenant: &Tenant, key: &str, ttl: Millis, now: Millis) -> Result<Claim>;

    /// Settles a key that was won with `token`: every later claim is answered with `outcome` until
    /// `now + keep`. A token whose claim ran out and was won by another is refused
    /// (`claims.lost`).
    async fn settle(&self, tenant: &Tenant, key: &str, token: &str, outcome: Value, keep: Millis, now: Millis) -> Result<()>;

    /// Gives a won claim back, so that the next one wins.
    async fn release(&self, tenant: &Tenant, key: &str, token: &str, now: Millis) -> Result<()>;
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Claim {
    /// Yours: do it, then settle with this token.
    Won {
        /// Proves who won.
        token: String,
    },
    /// Another is at it until then.
    Held {
        /// When the claim runs out.
        until: Millis,
    },
    /// It is done; this came of it.
    Settled(
        /// The outcome.
        Value,
    ),
}

/// The error of somebody whose claim another has won since.
pub(crate) fn lost(key: &str) -> Error {
    let shown: String = key.chars().take(80).collect();
    Error::conflict(
        "claims.lost",
        format!("the claim on `{shown}` ran out and was won by another"),
    )
    .hint("claim for longer than the work takes")
}

/// A token that nobody guesses.
pub(crate) fn token() -> String {
    format!("{:032x}", u128::from_be_bytes(random_bytes()))
}
