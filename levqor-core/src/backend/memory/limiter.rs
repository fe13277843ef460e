//! One limit, ready to be asked: the shortest way to limit something in this process.

use super::limits::{MemoryLimits, Prepared};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::limits::{OneLimit, Quota, Verdict};
use crate::types::{Millis, Tenant};

/// One limit in memory. Clones share its counts.
///
/// ```
/// use levqor_core::backend::memory::Limiter;
/// use levqor_core::limits::Quota;
///
/// let logins = Limiter::new(Quota::per_minute(5)).unwrap();
/// assert_eq!((0..9).filter(|_| logins.check("user-17").admitted).count(), 5);
/// assert!(logins.check("user-18").admitted);
/// ```
#[derive(Clone, Debug)]
pub struct Limiter {
    limits: MemoryLimits,
    prepared: Prepared,
}

impl Limiter {
    /// A limit of its own, for up to a million keys at a time.
    pub fn new(quota: Quota) -> Result<Self> {
        Limiter::of(MemoryLimits::new(), &Tenant::default(), "limit", quota)
    }

    /// A limit that counts with the other asks of its tenant, name and quota, and sees their blocks.
    pub fn of(limits: MemoryLimits, tenant: &Tenant, name: &str, quota: Quota) -> Result<Self> {
        let prepared = limits.prepare(tenant, name, quota)?;
        Ok(Limiter { limits, prepared })
    }

    /// Takes one unit for a key, which is used as it is, however long. The time is the machine's, to the
    /// tick of the system (see [`SystemClock::coarse`]).
    #[inline]
    pub fn check(&self, key: impl AsRef<[u8]>) -> Verdict {
        self.limits.take_one(&self.prepared, key.as_ref(), 1, SystemClock::coarse())
    }

    /// Takes units for a key at an instant.
    #[inline]
    pub fn take(&self, key: impl AsRef<[u8]>, cost: u32, now: Millis) -> Verdict {
        self.limits.take_one(&self.prepared, key.as_ref(), cost, now)
    }
}

impl OneLimit for Limiter {
    fn take(&self, key: &[u8], cost: u32, now: Millis) -> Verdict {
        self.limits.take_one(&self.prepared, key, cost, now)
    }
}
