use async_trait::async_trait;

use crate::error::Result;
use crate::types::Millis;

/// Decides limits. The state lies in memory, in the store or in Redis.
#[async_trait]
pub trait Limits: Send + Sync + 'static {
    /// Decides several limits in one atomic step: either every one admits and is charged, or none is charged.
    async fn take(&self, asks: &[Ask], now: Millis) -> Result<Decision>;
}

/// One limit asked for one key. (Written out by whoever builds the limits room.)
#[derive(Clone, Debug)]
pub struct Ask {}

/// Whether a call is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Admitted,
    /// Come back later.
    Refused,
}

/// The answer to all asks of a call.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Admitted or refused.
    pub verdict: Verdict,
}
