//! Usage events: what was used, by whom, how much. Counted once each, however often they arrive.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::table::{Step, Table, row};
use crate::types::{Millis, Tenant};

row! {
    /// Something that was used.
    pub struct Usage in "levqor_usage" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// Who reports it: `run`, or a name of the host's.
        source: Arc<str>, fixed;
        /// Names the event within its source; the same event counts once.
        id: Arc<str>, fixed;
        /// What is counted: `runs`, `calls`, ...
        meter: Arc<str>, fixed;
        /// The account.
        owner: Arc<str>, fixed;
        /// When it was used.
        at: Millis, fixed;
        /// When it was written down.
        recorded_at: Millis, fixed;
        /// How much.
        value: i64, fixed;
    }
    key(tenant: Tenant, source: Arc<str>, id: Arc<str>)
    group() when |_row| false;
    lock false
}

/// The tables of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_usage (
        tenant TEXT NOT NULL,
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        meter TEXT NOT NULL,
        owner TEXT NOT NULL,
        at BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL,
        value BIGINT NOT NULL,
        PRIMARY KEY (tenant, source, id)
    )",
    "CREATE INDEX levqor_usage_owner ON levqor_usage (tenant, owner, meter, at)",
];

/// An event to be counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewUsage {
    /// See [`Usage::source`].
    pub source: Arc<str>,
    /// See [`Usage::id`].
    pub id: Arc<str>,
    /// See [`Usage::meter`].
    pub meter: Arc<str>,
    /// See [`Usage::owner`].
    pub owner: Arc<str>,
    /// See [`Usage::at`].
    pub at: Millis,
    /// See [`Usage::value`].
    pub value: i64,
}

/// Counts an event; `false` if it was counted before. The same id with another content is refused.
pub fn apply(rows: &mut Table<Usage>, tenant: &Tenant, new: &NewUsage, now: Millis) -> Step<bool> {
    let row = Usage {
        tenant: tenant.clone(),
        source: new.source.clone(),
        id: new.id.clone(),
        meter: new.meter.clone(),
        owner: new.owner.clone(),
        at: new.at,
        recorded_at: now,
        value: new.value,
    };
    match rows.get(&(row.tenant.clone(), row.source.clone(), row.id.clone()))? {
        None => {
            rows.put(row)?;
            Ok(true)
        }
        Some(old)
            if *old
                == (Usage {
                    recorded_at: old.recorded_at,
                    ..row
                }) =>
        {
            Ok(false)
        }
        Some(_) => Err(Error::conflict(
            "usage.mismatch",
            format!("event {} of {} was counted with another content", new.id, new.source),
        )
        .hint("give every event an id of its own")
        .into()),
    }
}
