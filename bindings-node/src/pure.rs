//! What needs no engine and no waiting.

use std::cell::RefCell;

use levqor::access::headers::{self, Nonce};
use levqor::access::key;
use levqor::access::webhook::Verifier;
use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use levqor::limits::keys::{TrustedProxies, address_key};
use levqor::types::{MicroCredits, Millis};
use napi::bindgen_prelude::{BigInt, Buffer, Env};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::engine;
use crate::error::{text, thrown};

thread_local! {
    static VERIFIERS: RefCell<Vec<Verifier>> = const { RefCell::new(Vec::new()) };
}

/// Reads credits written as a decimal string; gives millionths of a credit.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn parse_credits(env: Env, text: String) -> napi::Result<BigInt> {
    let credits = thrown(&env, text.parse::<MicroCredits>())?;
    Ok(BigInt::from(credits.0))
}

/// Writes millionths of a credit as a decimal string.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands numbers over by value")]
pub fn format_credits(env: Env, micro: BigInt) -> napi::Result<String> {
    let (value, lossless) = micro.get_i64();
    let value = lossless.then_some(MicroCredits(value).to_string());
    thrown(
        &env,
        value.ok_or_else(|| Error::invalid("amount.overflow", "the amount is larger than can be kept")),
    )
}

/// The security headers of a preset, JSON.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn security_headers(env: Env, preset: String, nonce: Option<String>) -> napi::Result<String> {
    let fields = || {
        let nonce = nonce.as_deref().map(Nonce::parse).transpose()?;
        text(&headers::headers(preset.parse()?, nonce.as_ref()))
    };
    thrown(&env, fields())
}

/// A new nonce.
#[napi]
pub fn nonce() -> String {
    Nonce::new().as_str().to_owned()
}

/// The id of a key's text. Throws if it is not formed like one.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn parse_key(env: Env, text: String, prefix: Option<String>) -> napi::Result<String> {
    let read = key::parse(&text, prefix.as_deref().unwrap_or(key::DEFAULT_PREFIX));
    thrown(&env, read.map(|key| key.id().to_string()))
}

/// The key that a request carries: of its headers `authorization` and `x-api-key`.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn credential(env: Env, authorization: Option<String>, api_key: Option<String>) -> napi::Result<String> {
    let found = key::credential(authorization.as_deref(), api_key.as_deref());
    thrown(&env, found.map(str::to_owned))
}

/// Whether scopes that were given cover those that are asked for.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands lists over by value")]
pub fn scopes_cover(given: Vec<String>, asked: Vec<String>) -> bool {
    asked.iter().all(|a| given.iter().any(|g| key::covers(g, a)))
}

/// A key that was verified a moment ago, JSON; nothing if it has to be looked up. Throws if it may not pass.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn verify_key_now(env: Env, handle: u32, text: String, scopes: Vec<String>) -> napi::Result<Option<String>> {
    let verified = || -> Result<Option<String>> {
        let Some(scene) = engine::scene(handle)?.now() else {
            return Ok(None);
        };
        match scene?.keys().verify_now(&text, &scopes) {
            None => Ok(None),
            Some(outcome) => crate::error::text(&*outcome?).map(Some),
        }
    };
    thrown(&env, verified())
}

/// Makes a webhook's configuration (JSON) ready for this thread.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn webhook(env: Env, name: String, config: String) -> napi::Result<u32> {
    let made = || {
        let config: Value = json_of(&config)?;
        let verifier = Verifier::configure(&name, &config)?;
        VERIFIERS.with_borrow_mut(|all| {
            all.push(verifier);
            u32::try_from(all.len() - 1).map_err(|_| Error::internal("too many webhooks"))
        })
    };
    thrown(&env, made())
}

fn json_of<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| Error::invalid("argument.invalid", "an argument has the wrong form"))
}

fn with_webhook<T>(number: u32, f: impl FnOnce(&Verifier) -> Result<T>) -> Result<T> {
    VERIFIERS.with_borrow(|all| {
        let found = usize::try_from(number).ok().and_then(|n| all.get(n));
        f(found.ok_or_else(|| Error::invalid("webhook.unknown", "there is no such webhook"))?)
    })
}

fn instant(at: Option<f64>) -> Result<Millis> {
    match at {
        None => Ok(SystemClock::machine()),
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
        Some(ms) if ms.fract() == 0.0 && ms.abs() < 9e15 => Ok(Millis(ms as i64)),
        Some(_) => Err(Error::invalid("argument.invalid", "an instant is whole milliseconds since 1970").at("now")),
    }
}

/// The event of a message, JSON. Throws if it is not genuine or not fresh. `headers` is a JSON list of pairs.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands values over so")]
pub fn verify_webhook(env: Env, webhook: u32, headers: String, body: Buffer, now: Option<f64>) -> napi::Result<String> {
    let event = || {
        let headers: Vec<(String, String)> = json_of(&headers)?;
        let now = instant(now)?;
        text(&with_webhook(webhook, |w| w.verify(&headers, &body, now))?)
    };
    thrown(&env, event())
}

/// The headers of a message that is signed as the vendor would, a JSON list of pairs.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands values over so")]
pub fn sign_webhook(env: Env, webhook: u32, id: String, body: Buffer, now: Option<f64>) -> napi::Result<String> {
    let signed = || {
        let now = instant(now)?;
        text(&with_webhook(webhook, |w| w.sign(&id, now, &body))?)
    };
    thrown(&env, signed())
}

/// An error's exception class, status and problem document, of its data: JSON both ways.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn describe_error(error: String) -> String {
    let value: Value = serde_json::from_str(&error).unwrap_or_default();
    crate::error::told(&Error::from_json(&value)).to_string()
}

/// Who asks: the address behind proxies that are trusted, and the key it is limited by. JSON.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands values over so")]
pub fn client_address(env: Env, peer: String, forwarded: Vec<String>, proxies: Vec<String>) -> napi::Result<String> {
    let read = || {
        let proxies = TrustedProxies::new(proxies.iter().map(String::as_str))?;
        let bad = || Error::invalid("argument.invalid", "this is no IP address").at("peer");
        let peer = peer.parse().map_err(|_| bad())?;
        let client = proxies.client(peer, forwarded.iter().map(String::as_str));
        text(&json!({"address": client.to_string(), "key": address_key(client)}))
    };
    thrown(&env, read())
}
