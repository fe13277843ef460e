//! The lock of a bucket: one word that is zero or names the process that holds it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A word that processes share. The tests' model puts its own in the place of the processor's.
pub(super) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64>;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        self.compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
    }
}

/// What a lock needs to know of the world.
pub(super) trait Host {
    /// The word of this process.
    fn me(&self) -> u64;
    /// Whether a holder is gone for sure.
    fn is_dead(&self, owner: u64) -> bool;
    /// Waits a moment, longer with every round. `None` if that was enough, else whether it is time to ask
    /// if the holder lives.
    fn pause(&self, round: u32) -> Option<bool>;
}

/// A lock that is held; dropping it gives it back.
pub(super) struct Held<'a, W: Word>(&'a W);

impl<W: Word> Drop for Held<'_, W> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Takes a lock: a free one, or one whose holder is dead. `None` if its holder lives and does not let go.
///
/// Only one of those who find the holder dead gets it: they swap the dead one's word, which can come back
/// neither from the dead nor, since it holds the start of its process, from a living one.
#[inline]
pub(super) fn acquire<'a, W: Word, H: Host>(word: &'a W, host: &H) -> Option<Held<'a, W>> {
    let me = host.me();
    match word.compare_exchange(0, me) {
        Ok(_) => Some(Held(word)),
        Err(_) => wait(word, me, host),
    }
}

#[cold]
fn wait<'a, W: Word, H: Host>(word: &'a W, me: u64, host: &H) -> Option<Held<'a, W>> {
    let mut round = 0;
    loop {
        let ask = host.pause(round)?;
        round += 1;
        match word.compare_exchange(0, me) {
            Ok(_) => return Some(Held(word)),
            Err(owner) if ask && host.is_dead(owner) && word.compare_exchange(owner, me).is_ok() => {
                tracing::debug!(pid = owner >> 32, "took over the lock of a process that died with it");
                return Some(Held(word));
            }
            Err(_) => {}
        }
    }
}

/// The processes of this host.
#[derive(Debug)]
pub(super) struct Processes;

/// Rounds of busy waiting, then of letting others run; a holder that runs needs far less.
const SPINS: u32 = 100;
const YIELDS: u32 = 50;
/// Then sleeps of so long, and so many of them: 150 ms together.
const NAP: std::time::Duration = std::time::Duration::from_micros(100);
const NAPS: u32 = 1_000;

impl Host for Processes {
    #[inline]
    fn me(&self) -> u64 {
        super::owner::me()
    }

    fn is_dead(&self, owner: u64) -> bool {
        super::owner::is_dead(owner)
    }

    fn pause(&self, round: u32) -> Option<bool> {
        match round {
            0..SPINS => std::hint::spin_loop(),
            SPINS.. if round < SPINS + YIELDS => std::thread::yield_now(),
            _ if round < SPINS + YIELDS + NAPS => std::thread::sleep(NAP),
            _ => return None,
        }
        // To ask costs two system calls.
        Some(round >= SPINS + YIELDS && round.is_multiple_of(8))
    }
}
