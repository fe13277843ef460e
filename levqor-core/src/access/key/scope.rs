//! Scopes: what a key may do.

use super::refused;
use crate::error::{Error, ErrorKind, Result};

/// The most scopes of one key.
const MOST: usize = 64;

/// Whether a scope that was given covers one that is asked for: equal, `runs:*` covers `runs:write` and all
/// else below `runs:`, and `*` covers everything.
///
/// ```
/// use levqor_core::access::key::covers;
/// assert!(covers("runs:*", "runs:write") && covers("*", "ops") && covers("ops", "ops"));
/// assert!(!covers("runs:*", "runs") && !covers("run", "runs"));
/// ```
pub fn covers(given: &str, asked: &str) -> bool {
    match given.strip_suffix('*') {
        Some(stem) => asked.starts_with(stem) && asked.len() > stem.len(),
        None => given == asked,
    }
}

/// Refuses scopes that no key can have.
pub(super) fn check(scopes: &[String]) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-/".contains(&b);
    let fits = |scope: &str| {
        let stem = scope.strip_suffix('*').unwrap_or(scope);
        let ends = scope.len() == stem.len() || stem.is_empty() || stem.ends_with([':', '/', '.']);
        (1..=64).contains(&scope.len()) && ends && stem.bytes().all(plain)
    };
    if let Some(place) = scopes.iter().position(|s| !fits(s)) {
        return Err(Error::invalid("key.bad_scope", "a scope cannot be like this")
            .at(format!("/scopes/{place}"))
            .hint("a scope has 1 to 64 of a-z A-Z 0-9 . _ : - /, and may end with `:*`"));
    }
    if scopes.len() > MOST {
        return Err(Error::invalid("key.bad_scope", format!("a key has at most {MOST} scopes")).at("/scopes"));
    }
    Ok(())
}

/// Refuses a key that lacks one of the scopes.
pub(super) fn require<S: AsRef<str>>(given: &[String], asked: &[S]) -> Result<()> {
    let lacks = |scope: &&S| !given.iter().any(|g| covers(g, scope.as_ref()));
    let Some(scope) = asked.iter().find(lacks).map(AsRef::as_ref) else {
        return Ok(());
    };
    // What is asked for is the service's own word, but a quote in it must not end the header's.
    let plain: String = scope
        .chars()
        .filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c))
        .collect();
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{plain}\"");
    Err(Error::new(
        ErrorKind::Denied,
        "key.scope_missing",
        format!("the API key may not `{plain}`"),
    )
    .hint("use a key that has this scope")
    .with("scope", plain)
    .with_headers(vec![("WWW-Authenticate".to_owned(), challenge)]))
}

/// The refusal of a text that is no key of ours, however well it is formed.
pub fn unknown() -> Error {
    refused("key.unknown", "there is no such API key").hint("make a new key; a lost one cannot be shown again")
}
