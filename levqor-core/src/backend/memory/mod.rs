//! The memory backend: always there, and the executable specification of the others.

mod store;

pub use store::MemoryStore;
