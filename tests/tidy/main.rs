//! Tidy: the rules of the house that no compiler knows, checked on the text of the repository.
//!
//! Every rule is a pure function from text to a list of complaints, tried here on small samples (so that it can
//! fail) and then on the real files. A complaint says where, what and what to do. The rules read text, not types:
//! they are simple on purpose, and where text cannot decide they let things pass.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod crates;
mod floors;
mod readme;
mod shape;
mod source;
mod words;

/// Fails with every complaint, and with none passes.
fn no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n  {}\n", complaints.join("\n  "));
}
