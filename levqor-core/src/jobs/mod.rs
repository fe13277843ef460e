//! Jobs: queues, leases, retries.

pub mod retry;
