//! Time comes in from outside: the engine asks a [`Clock`], rules take `now` as an argument.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::Millis;

/// Where the engine gets the time from.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> Millis;
}

/// The machine's clock plus an offset (zero unless a store's clock was measured against ours).
///
/// Processes on several hosts that share a database must agree on when a lease ends, so the engine
/// corrects its own clock by the difference to the database's.
#[derive(Debug, Default)]
pub struct SystemClock {
    offset: AtomicI64,
}

impl SystemClock {
    /// Sets the difference `theirs - ours` in milliseconds.
    pub fn set_offset(&self, offset: Millis) {
        self.offset.store(offset.0, Ordering::Relaxed);
    }

    /// The machine's own time, without the offset.
    pub fn machine() -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The machine's own time as of the system's last tick: never ahead of [`machine`](Self::machine), up to
    /// ten milliseconds behind, and several times cheaper. For what is asked millions of times a second. On
    /// systems without such a clock it is the other one.
    #[inline]
    pub fn coarse() -> Millis {
        #[cfg(target_os = "linux")]
        {
            let t = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
            Millis(t.tv_sec * 1_000 + t.tv_nsec / 1_000_000)
        }
        #[cfg(not(target_os = "linux"))]
        Self::machine()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(Self::machine().0 + self.offset.load(Ordering::Relaxed))
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Millis) -> Self {
        ManualClock(AtomicI64::new(at.0))
    }

    /// Moves the clock forward (or, with a negative step, back).
    pub fn advance(&self, by: Millis) {
        self.0.fetch_add(by.0, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, at: Millis) {
        self.0.store(at.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_close_behind_the_other() {
        let before = SystemClock::machine();
        let coarse = SystemClock::coarse();
        let after = SystemClock::machine();
        assert!(
            coarse <= after && coarse >= before - Millis(20),
            "{before:?} {coarse:?} {after:?}"
        );
    }
}
