//! Levqor for Node.js: a thin addon over the Rust facade, without logic of its own.

use levqor::types::MicroCredits;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;

/// The version of the engine.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Reads credits written as a decimal string; returns micro-credits, millionths of a credit, as a BigInt.
/// Throws an Error with the stable code in its property `code` where the text is no amount.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn parse_credits(text: String) -> Result<BigInt, napi::Error<String>> {
    let credits: MicroCredits = text
        .parse()
        .map_err(|e: levqor::error::Error| napi::Error::new(e.code().to_owned(), e.to_string()))?;
    Ok(BigInt::from(credits.0))
}
