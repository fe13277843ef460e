//! What a queue is told: to pause, how many of its jobs may run at the same time, and how often one may start.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::Quota;
use crate::table::row;
use crate::types::Millis;

row! {
    /// The settings of a queue; one that was never told anything has none.
    pub struct QueueSettings in "levqor_queue" {
        /// The queue. Queues, and so their settings, are shared by all tenants of a store.
        queue: Arc<str>, fixed;
        /// Whether nothing is taken from it.
        paused: bool;
        /// Limits, as JSON: see [`QueueLimits`].
        limits: Arc<str>;
        /// When it was changed last.
        updated_at: Millis;
    }
    key(queue: Arc<str>)
    group() when |_row| false;
    lock true
}

/// The table of this room, for both databases.
pub(super) const DDL: &str = "CREATE TABLE levqor_queue (
    queue TEXT NOT NULL PRIMARY KEY,
    paused BIGINT NOT NULL,
    limits TEXT NOT NULL,
    updated_at BIGINT NOT NULL
)";

/// How much of a queue may run. The default is no limit.
///
/// Limits are counted in the store, so they hold over all workers of all processes.
///
/// ```
/// use levqor_core::jobs::QueueLimits;
/// let limits = QueueLimits { per_key: Some(1), rate: Some("100/second".parse()?), ..QueueLimits::default() };
/// assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"per_key":1,"rate":"100/s"}"#);
/// # Ok::<(), levqor_core::error::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueLimits {
    /// Jobs that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Jobs with the same concurrency key that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_key: Option<u32>,
    /// How often a job may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Quota>,
    /// How often a job with the same concurrency key may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_key: Option<Quota>,
}

impl QueueLimits {
    /// Says what cannot be meant.
    pub fn check(&self) -> Result<()> {
        for (place, n) in [("running", self.running), ("per_key", self.per_key)] {
            if n == Some(0) {
                return Err(Error::invalid(
                    "jobs.bad_limit",
                    format!("with `{place}` 0 nothing of the queue would ever run"),
                )
                .at(place)
                .hint("to stop a queue for a while, pause it"));
            }
        }
        Ok(())
    }
}

impl QueueSettings {
    /// A queue that was never told anything.
    pub fn new(queue: Arc<str>, now: Millis) -> Self {
        QueueSettings {
            queue,
            paused: false,
            limits: "{}".into(),
            updated_at: now,
        }
    }

    /// The limits, read.
    pub fn limits(&self) -> Result<QueueLimits> {
        serde_json::from_str(&self.limits).map_err(|e| {
            Error::new(
                crate::error::ErrorKind::Corrupt,
                "jobs.corrupt_settings",
                format!("the limits of the queue `{}` cannot be read: {e}", self.queue),
            )
        })
    }
}

/// A change of a queue's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum QueueChange {
    /// Nothing more is taken from it; what runs goes on.
    Pause,
    /// Jobs are taken again.
    Resume,
    /// Other limits.
    Limit(QueueLimits),
}
