//! Who may do what, and how a message proves where it came from.

pub mod signature;
