//! Levqor for Node.js: the compiled half of the package `levqor`.
//!
//! Everything here is border. What waits is a [verb](verbs): its arguments and its answer are JSON texts, and
//! the answer reaches JavaScript over the [port](port) of its thread. What does not wait is a
//! [plain function](pure), and the hottest of all is in [`hot`]. What the engine does lies below, in the facade.

#![allow(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "what JavaScript hands over is owned, and the macros of the border take references"
)]
#![allow(clippy::type_complexity, clippy::single_match_else)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        unused_imports,
        reason = "what JavaScript calls is registered outside tests only"
    )
)]

mod config;
mod engine;
mod error;
mod handlers;
mod host;
mod hot;
mod port;
mod pure;
mod runtime;
mod verbs;
mod worker;

use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll, Waker};

use levqor::error::{Error, Result};
use napi::bindgen_prelude::{Either, Env, Function};
use napi_derive::napi;

use crate::error::{thrown, wire};

/// The version of the engine.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The port of this thread: `deliver` is called with a JSON list of what happened since the last time.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands functions over by value")]
pub fn attach(env: Env, deliver: Function<'_, String, ()>) -> napi::Result<u32> {
    port::attach(env, &deliver)
}

/// An engine of a configuration (JSON). Nothing is opened. Whoever asks for a shared one is given the one that
/// any thread of this process was given for the same configuration.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn engine(env: Env, config: String) -> napi::Result<u32> {
    thrown(&env, engine::handle(&config))
}

/// The same engine working on another tenant's data.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn tenant(env: Env, handle: u32, name: String) -> napi::Result<u32> {
    thrown(&env, engine::tenant(handle, &name))
}

/// Makes a function of this thread known to an engine: a connector's, a check's, a handler's.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn bind(env: Env, handle: u32, name: String, port: u32, function: u32, about: String) -> napi::Result<()> {
    thrown(&env, host::bind(handle, &name, port, function, &about))
}

/// The names of the verbs; a verb's number is its place.
#[napi]
pub fn verbs() -> Vec<&'static str> {
    verbs::all().map(|verb| verb.name).collect()
}

/// Begins a verb. A text is its answer, there at once: `=` and a value, or `!` and an error. A number is the name
/// under which the port will deliver it.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn start(port: u32, handle: u32, verb: u32, args: String, can_cancel: bool) -> Either<u32, String> {
    begin(port, handle, verb, &args, can_cancel).unwrap_or_else(|e| Either::B(wire(Err(e))))
}

fn begin(port: u32, handle: u32, verb: u32, args: &str, can_cancel: bool) -> Result<Either<u32, String>> {
    let port = port::get(port)?;
    let mut work = verbs::begin(engine::scene(handle)?, port.clone(), verb, args)?;
    let _inside = runtime::runtime()?.enter();
    // Most of what lies in memory is there at once, and then costs no way between threads.
    let mut cx = Context::from_waker(Waker::noop());
    let first = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut cx)));
    match first {
        Ok(Poll::Ready(outcome)) => Ok(Either::B(wire(outcome))),
        Ok(Poll::Pending) => Ok(Either::A(port.spawn(work, can_cancel))),
        Err(_) => Err(Error::internal("a verb panicked")),
    }
}

/// Gives up waiting for a verb. What it asked the store for may happen all the same.
#[napi]
pub fn cancel(port: u32, id: u32) {
    if let Ok(port) = port::get(port) {
        port.cancel(id);
    }
}

/// The answer of a function of this thread that the engine called.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn reply(port: u32, id: u32, ok: bool, text: String) {
    if let Ok(port) = port::get(port) {
        port.replied(id, ok, &text);
    }
}
