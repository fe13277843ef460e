//! The lock and the copies under every kind of interleaving, with a process that dies at any store.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use super::*;
use crate::backend::shm::lock::{Host, acquire};
use crate::backend::shm::wide::Shape;
use crate::limits::{FixedWindow, Gcra, Op, Quota, Rule, SlidingWindow};
use crate::types::Millis;

const PROCESSES: usize = 3;
const LIMIT: i64 = 4;
const PERIOD: i64 = 1_000;
/// Schedules of each kind that are tried for each length of life.
const TIMES: usize = 25;
const NOW: i64 = 1_000_000;
const SHAPE: Shape = Shape { ways: 2, width: 3 };

/// A bucket of the kind that an algorithm has.
trait Kind: Algorithmic<State: Packed> + Clone + Send + Sync + 'static {
    const WORDS: usize;
    fn take(&self, words: &[ModelWord], asked: Asked) -> Result<(Verdict, Option<Look>), NoRoom>;
}

impl Kind for Gcra {
    const WORDS: usize = crate::backend::shm::narrow::WORDS;
    fn take(&self, words: &[ModelWord], asked: Asked) -> Result<(Verdict, Option<Look>), NoRoom> {
        Narrow(words).take(self, KEY, LIMIT, asked)
    }
}

macro_rules! wide {
    ($($algorithm:ident),*) => {
        $(impl Kind for $algorithm {
            const WORDS: usize = SHAPE.words();
            fn take(&self, words: &[ModelWord], asked: Asked) -> Result<(Verdict, Option<Look>), NoRoom> {
                Wide { words, shape: SHAPE }.take(self, KEY, LIMIT, asked)
            }
        })*
    };
}
wide!(FixedWindow, SlidingWindow);
const KEY: Fingerprint = Fingerprint([0x1234, 0x5678]);

shuttle::thread_local! {
    /// How many more stores the process of this thread does before it dies.
    static LIFE: std::cell::Cell<usize> = std::cell::Cell::new(usize::MAX);
}

/// Whether this process still lives; every store takes one from its life.
fn step() -> bool {
    LIFE.with(|life| {
        let left = life.get();
        life.set(left.saturating_sub(1));
        left > 0
    })
}

fn lives() -> bool {
    LIFE.with(|life| life.get() > 0)
}

struct ModelWord(AtomicU64);

impl Word for ModelWord {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        if step() {
            self.0.store(value, order);
        }
    }
    fn compare_exchange(&self, current: u64, new: u64) -> Result<u64, u64> {
        if step() {
            self.0.compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
        } else {
            Err(self.0.load(Ordering::Relaxed))
        }
    }
}

struct World {
    words: Vec<ModelWord>,
    alive: Vec<AtomicBool>,
    inside: AtomicUsize,
    admitted: AtomicUsize,
}

struct Process<'a> {
    world: &'a World,
    id: usize,
}

impl Host for Process<'_> {
    fn me(&self) -> u64 {
        self.id as u64 + 1
    }
    fn is_dead(&self, owner: u64) -> bool {
        owner > 0 && !self.world.alive[usize::try_from(owner).unwrap() - 1].load(Ordering::SeqCst)
    }
    fn pause(&self, _: u32) -> Option<bool> {
        shuttle::thread::yield_now();
        lives().then_some(true)
    }
}

/// Takes once; `None` if the process died over it.
fn take<A: Kind>(world: &World, a: &A, id: usize, cost: i64, now: i64) -> Option<bool> {
    let held = acquire(&world.words[0], &Process { world, id })?;
    if !lives() {
        world.alive[id].store(false, Ordering::SeqCst);
        return None;
    }
    assert_eq!(world.inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
    let asked = Asked {
        op: Op::Take,
        cost,
        blocked_until: 0,
        now,
    };
    let (verdict, evicted) = a.take(&world.words, asked).unwrap();
    assert_eq!(evicted, None);
    world.inside.fetch_sub(1, Ordering::SeqCst);
    drop(held);
    if !lives() {
        // From here on others see that it is gone.
        world.alive[id].store(false, Ordering::SeqCst);
        return None;
    }
    if now == NOW {
        world.admitted.fetch_add(usize::from(verdict.admitted), Ordering::SeqCst);
    }
    Some(verdict.admitted)
}

/// Races in which the first process dies after so many stores.
fn race<A: Kind>(a: &A, life: usize) {
    let a = a.clone();
    let run = move || {
        let world = Arc::new(World {
            words: (0..A::WORDS).map(|_| ModelWord(AtomicU64::new(0))).collect(),
            alive: (0..=PROCESSES).map(|_| AtomicBool::new(true)).collect(),
            inside: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
        });
        // All was used in an earlier window, so that every word of the state changes in the race.
        assert_eq!(take(&world, &a, PROCESSES, LIMIT, NOW - 2 * PERIOD), Some(true));
        let threads: Vec<_> = (0..PROCESSES)
            .map(|id| {
                let (world, a) = (world.clone(), a.clone());
                shuttle::thread::spawn(move || {
                    if id == 0 {
                        LIFE.with(|left| left.set(life));
                    }
                    for _ in 0..2 {
                        if take(&world, &a, id, 1, NOW).is_none() {
                            return;
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let died = usize::from(!world.alive[0].load(Ordering::SeqCst));
        while take(&world, &a, PROCESSES, 1, NOW).unwrap() {}
        let admitted = world.admitted.load(Ordering::SeqCst);
        let limit = usize::try_from(LIMIT).unwrap();
        assert!(admitted <= limit, "{admitted} of {limit}");
        assert!(admitted + died >= limit, "{admitted} of {limit}, {died} died");
    };
    shuttle::check_random(run.clone(), TIMES);
    shuttle::check_pct(run, TIMES, 3);
}

#[test]
fn a_process_that_dies_at_any_store_leaves_the_bucket_exact() {
    let Ok(Rule::Gcra(bucket)) = Quota::new(4, Millis(PERIOD)).rule() else {
        panic!("a token bucket")
    };
    let fixed = FixedWindow {
        limit: LIMIT,
        period: PERIOD,
    };
    let sliding = SlidingWindow {
        limit: LIMIT,
        period: PERIOD,
    };
    // Two takes are eighteen stores and swaps at most.
    for life in 1..20 {
        race(&bucket, life);
        race(&fixed, life);
        race(&sliding, life);
    }
}
