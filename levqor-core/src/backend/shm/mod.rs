//! Limits over all processes of one host, without a server: a table in a file that every process maps.
//!
//! # The file
//!
//! A page of header (magic, layout version, capacity, the secrets of the fingerprints, the PID namespace of
//! those who use it, counters), then buckets. A key is a fingerprint under the file's secrets; it belongs to
//! one bucket, and lies in any of that bucket's slots. Token buckets, which need one word, have narrow
//! buckets: a kilobyte with 63 slots. Everything else has wide ones, where a slot holds the whole fingerprint
//! of 128 bits and the state twice: windows and blocks in pages of 62 slots, sliding logs and calls in flight
//! in four more classes of longer slots, by how long their quota lets them grow: up to 8,190 units or
//! milliseconds of period; longer ones are refused (`limits.log_too_long`). Another layout or capacity is
//! refused too (`limits.shm_layout`).
//!
//! # The lock of a bucket
//!
//! One word: zero, or the id and start time of the process that holds it. It is taken by swapping zero for
//! one's own word, and given back by storing zero. Who waits spins, then yields, then sleeps, and from then
//! on asks whether the holder still lives; the place of a dead one is taken by swapping its word for one's
//! own, so of several only one gets it. A holder that lives but does not go on (a debugger, a frozen
//! container) is waited for up to 150 ms, then the call fails with `limits.busy`: nobody may write beside
//! it. A forked child is a process of its own: the word it would have inherited is wiped by the system.
//!
//! Every change counts with one store: the state itself where it is one word; else there are two copies of
//! it and a bit says which one counts, and the holder of the lock writes the other one and then turns the
//! bit. So a process that is killed at any instruction leaves each key as before its call or as after it,
//! and there is nothing to repair. Several asks lock their buckets in the order of the file, write all, and
//! then make all count; one that is killed between two of these leaves a call that nobody got an answer to
//! partly charged: too strict by one call, never too lax.
//!
//! # The file's own lock
//!
//! Whoever has the table open holds a shared `flock` on it, which the system takes back from the dead.
//! Whoever gets it alone when opening knows that no other process is at work, so it may finish a file whose
//! maker died, and free locks that were left by an earlier boot or container. Processes of different PID
//! namespaces cannot tell whether another lives, so they may not share a table at the same time
//! (`limits.shm_other_namespace`).
//!
//! # When a bucket is full
//!
//! The new key takes the place of one that stands as if never seen; if there is none, of the one that will
//! soonest, and of those whose quota is used up only when all are. Such keys get back what they had used:
//! the counters say how often that happened, and a table that is too small is seen there. Blocked keys
//! stay; if all of a bucket are, one more is an error (`limits.full`).
//!
//! # What it is not
//!
//! The file must lie on a local disk or in `/dev/shm`, and nobody may cut it short while it is in use: the
//! system ends processes that touch the missing part. After a power cut, keys may stand as they did some
//! seconds before. Where `/proc` is missing (not Linux), processes are told apart by their ids alone.

mod bucket;
mod limits;
mod lock;
mod map;
mod narrow;
mod owner;
#[cfg(test)]
mod process_tests;
mod table;
mod wide;

pub use limits::{Prepared, ShmLimits};
