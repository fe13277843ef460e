//! Claims in a store: a row per key, and the rules over rows.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Claim, lost};
use crate::error::{Error, ErrorKind};
use crate::table::{Step, Table, row};
use crate::types::{Millis, Tenant};

row! {
    /// A key that is held or settled.
    pub struct ClaimRow in "levqor_claim" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// `=` and the key; of one that a database might not take, `#` and its hash.
        key: Arc<str>, fixed;
        /// Proves who won it.
        token: Arc<str>;
        /// From then on it is free.
        until: Millis;
        /// What came of it, JSON; none while it is held.
        outcome: Option<Arc<str>>;
    }
    key(tenant: Tenant, key: Arc<str>)
    group() when |_row| false;
    lock true
}

/// The table of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_claim (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        token TEXT NOT NULL,
        until BIGINT NOT NULL,
        outcome TEXT,
        PRIMARY KEY (tenant, key)
    )",
    "CREATE INDEX levqor_claim_until ON levqor_claim (until)",
];

/// What is done to a claim: the methods of [`Claims`](super::Claims) as an operation of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimOp {
    /// The key.
    pub key: Arc<str>,
    /// Whoever claims brings a token of its own.
    pub token: Arc<str>,
    /// What to do.
    pub act: ClaimAct,
}

/// What is done to a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimAct {
    /// Claims for so long.
    Claim(Millis),
    /// Settles with an outcome that is kept for so long.
    Settle(Value, Millis),
    /// Gives it back.
    Release,
}

fn key_of(key: &str) -> Arc<str> {
    if key.len() <= 256 && !key.as_bytes().contains(&0) {
        return format!("={key}").into();
    }
    let hashed = digest::digest(&digest::SHA256, key.as_bytes());
    format!("#{}", URL_SAFE_NO_PAD.encode(hashed.as_ref())).into()
}

/// Asks ahead for the row that will be needed.
pub fn wants(rows: &mut Table<ClaimRow>, tenant: &Tenant, op: &ClaimOp) {
    rows.want((tenant.clone(), key_of(&op.key)));
}

/// Does it. Something comes back of a claim only.
pub fn apply(rows: &mut Table<ClaimRow>, tenant: &Tenant, op: &ClaimOp, now: Millis) -> Step<Option<Claim>> {
    let key = (tenant.clone(), key_of(&op.key));
    let found = rows.get(&key)?.filter(|row| row.until > now);
    let is_ours = found.as_ref().is_none_or(|row| row.token == op.token);
    let row = |until, outcome| ClaimRow {
        tenant: tenant.clone(),
        key: key.1.clone(),
        token: op.token.clone(),
        until,
        outcome,
    };
    match &op.act {
        ClaimAct::Claim(ttl) => match found {
            None => {
                rows.put(row(now + *ttl, None))?;
                Ok(Some(Claim::Won {
                    token: op.token.as_ref().to_owned(),
                }))
            }
            Some(row) => match &row.outcome {
                None => Ok(Some(Claim::Held { until: row.until })),
                Some(text) => {
                    let outcome = serde_json::from_str(text)
                        .map_err(|_| Error::new(ErrorKind::Corrupt, "claims.corrupt", "the outcome of a claim cannot be read"))?;
                    Ok(Some(Claim::Settled(outcome)))
                }
            },
        },
        ClaimAct::Settle(outcome, keep) if is_ours => {
            rows.put(row(now + *keep, Some(outcome.to_string().into())))?;
            Ok(None)
        }
        ClaimAct::Release if found.is_none() => Ok(None),
        ClaimAct::Release if is_ours && found.is_some_and(|row| row.outcome.is_none()) => {
            rows.remove(&key)?;
            Ok(None)
        }
        ClaimAct::Settle(..) | ClaimAct::Release => Err(lost(&op.key).into()),
    }
}
