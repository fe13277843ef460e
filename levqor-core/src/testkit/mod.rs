//! What tests need, ours and other people's.

pub mod services;
