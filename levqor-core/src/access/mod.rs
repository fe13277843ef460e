//! Who may do what, and how a message proves where it came from.

pub mod headers;
pub mod key;
pub mod signature;
pub mod webhook;
