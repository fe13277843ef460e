//! Crashes: processes that are killed, frozen, told to stop or abort themselves, and servers that go away.
//!
//! Every child is this very program, started with what it has to do in its environment ([`life`]). Parent and child
//! speak in lines ([`process`]), so nobody waits for a time where an event can be waited for. What is a span of time
//! here is the subject of the test: a lease, a grace, the random moment of a kill.

#![cfg(all(unix, feature = "testkit", feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

mod leases;
mod life;
mod mark;
mod poison;
mod process;
mod random;
mod restart;
mod unknown;
mod walk;
mod world;

/// What a child process does; without its environment, nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    if let Ok(text) = std::env::var(process::CHILD) {
        life::live(&serde_json::from_str(&text).unwrap()).await;
    }
}
