//! The hottest call of all: one limit, asked for one key.
//!
//! What it says lies in an array of numbers that JavaScript made for its thread, so that nothing is allocated.
//! `take(limiter, key, cost)` is registered by hand: reading its arguments itself, it spares two thirds of what
//! a generated wrapper costs.
#![allow(
    unsafe_code,
    reason = "a function is registered by hand, and an array of JavaScript is written"
)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use levqor::clock::SystemClock;
use levqor::error::{Error, Result};
use levqor::limits::{Ask, Decision, OneLimit, Quota, Reason, Verdict};
use levqor::types::Millis;
use napi::bindgen_prelude::{Env, Float64Array};
use napi::sys;
use napi_derive::napi;

use crate::engine;
use crate::error::{text, thrown};

/// The places of the array.
const FIELDS: usize = 6;
/// A key that is longer is read into memory of its own.
const SHORT: usize = 512;

/// What the function answers.
const REFUSED: u32 = 0;
const ADMITTED: u32 = 1;
const NO_LIMITER: u32 = 2;
const NO_KEY: u32 = 3;

/// One limit made ready.
struct Ready {
    one: Arc<dyn OneLimit>,
    /// The engine's clock minus the machine's.
    offset: Millis,
    /// The engine, if its time is moved by hand.
    manual: Option<levqor::engine::Engine>,
}

thread_local! {
    static LIMITERS: RefCell<Vec<Ready>> = const { RefCell::new(Vec::new()) };
    /// The array of this thread, which JavaScript keeps for as long as it calls. Never let go of: the thread may
    /// outlive its JavaScript, and there would be nobody to give it back to.
    static FIELDS_AT: RefCell<Option<ManuallyDrop<Float64Array>>> = const { RefCell::new(None) };
}

/// Makes a limit ready for this thread, and opens the engine if need be. Throws where limits have to be waited
/// for: in a store or in Redis.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi hands strings over by value")]
pub fn limiter(env: Env, handle: u32, name: String, quota: String) -> napi::Result<u32> {
    thrown(&env, prepare(handle, &name, &quota))
}

fn prepare(handle: u32, name: &str, quota: &str) -> Result<u32> {
    let quota: Quota = quota.parse()?;
    quota.check()?;
    let scene = engine::scene(handle)?.open_here()?;
    let one = scene.backend().limits.prepare(scene.tenant_name(), name, quota)?;
    let one = one.ok_or_else(|| {
        Error::new(
            levqor::error::ErrorKind::Unsupported,
            "limits.must_wait",
            "limits that lie in a store have to be waited for",
        )
        .hint("use `await lq.limit(..)`, or keep limits in memory: add ?limits=shm or ?limits=memory to the url")
    })?;
    let offset = scene.now() - SystemClock::machine();
    let manual = scene.shared.clock.is_some().then(|| (*scene).clone());
    LIMITERS.with_borrow_mut(|all| {
        all.push(Ready { one, offset, manual });
        u32::try_from(all.len() - 1).map_err(|_| Error::internal("too many limiters"))
    })
}

/// Takes the array into which decisions of this thread are written: remaining, reset_after, retry_after (-1 for
/// none, -2 for never), reason, at.
#[napi]
pub fn fields(array: Float64Array) -> bool {
    let fits = array.len() >= FIELDS;
    if fits {
        FIELDS_AT.set(Some(ManuallyDrop::new(array)));
    }
    fits
}

fn reason_number(reason: Option<Reason>) -> f64 {
    match reason {
        None => 0.0,
        Some(Reason::Exceeded) => 1.0,
        Some(Reason::TooCostly) => 2.0,
        Some(Reason::Blocked) => 3.0,
        Some(Reason::Unavailable) => 4.0,
        Some(Reason::Denied) => 5.0,
        Some(_) => 6.0,
    }
}

fn reason_of(number: u32) -> Option<Reason> {
    match number {
        1 => Some(Reason::Exceeded),
        2 => Some(Reason::TooCostly),
        3 => Some(Reason::Blocked),
        4 => Some(Reason::Unavailable),
        5 => Some(Reason::Denied),
        _ => None,
    }
}

#[allow(clippy::cast_precision_loss, reason = "instants and spans are far below 2^53")]
fn millis(span: Millis) -> f64 {
    span.0 as f64
}

fn write(verdict: &Verdict, at: Millis) {
    FIELDS_AT.with_borrow_mut(|array| {
        let Some(array) = array else { return };
        // SAFETY: this runs on the thread of JavaScript that owns the array, between two of its steps, so nobody
        // else reads or writes it now; the array lives in the module and is never detached.
        let fields = unsafe { array.as_mut() };
        fields[0] = f64::from(verdict.remaining);
        fields[1] = millis(verdict.reset_after);
        fields[2] = match verdict.retry_after {
            Some(wait) => millis(wait),
            None if verdict.admitted => -1.0,
            None => -2.0,
        };
        fields[3] = reason_number(verdict.reason);
        fields[4] = millis(at);
    });
}

fn decide(limiter: u32, key: &[u8], cost: u32) -> u32 {
    LIMITERS.with_borrow(|all| {
        let Some(ready) = usize::try_from(limiter).ok().and_then(|n| all.get(n)) else {
            return NO_LIMITER;
        };
        let now = match &ready.manual {
            None => SystemClock::machine() + ready.offset,
            Some(engine) => engine.now(),
        };
        let verdict = ready.one.take(key, cost, now);
        write(&verdict, now);
        if verdict.admitted { ADMITTED } else { REFUSED }
    })
}

/// `take(limiter, key, cost)`.
unsafe extern "C" fn take(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut args = [ptr::null_mut(); 3];
    let mut count = args.len();
    let (mut limiter, mut cost, mut answer) = (u32::MAX, 1, ptr::null_mut());
    let mut short = [0_u8; SHORT];
    let mut length = 0;
    // SAFETY: called by Node with its own handles; every pointer is to a local that outlives the call, with the
    // lengths that are told.
    unsafe {
        sys::napi_get_cb_info(env, info, &raw mut count, args.as_mut_ptr(), ptr::null_mut(), ptr::null_mut());
        sys::napi_get_value_uint32(env, args[0], &raw mut limiter);
        sys::napi_get_value_uint32(env, args[2], &raw mut cost);
        let status = sys::napi_get_value_string_utf8(env, args[1], short.as_mut_ptr().cast(), SHORT, &raw mut length);
        let decided = if status != sys::Status::napi_ok {
            NO_KEY
        } else if length < SHORT - 4 {
            decide(limiter, &short[..length], cost)
        } else {
            // It may have been cut: ask how long it is.
            sys::napi_get_value_string_utf8(env, args[1], ptr::null_mut(), 0, &raw mut length);
            let mut long = vec![0_u8; length + 1];
            sys::napi_get_value_string_utf8(env, args[1], long.as_mut_ptr().cast(), length + 1, &raw mut length);
            decide(limiter, &long[..length], cost)
        };
        sys::napi_create_uint32(env, decided, &raw mut answer);
    }
    answer
}

#[napi(module_exports)]
#[allow(missing_docs, clippy::unnecessary_wraps, reason = "napi asks for this form")]
pub fn exports(exports: napi::bindgen_prelude::Object<'_>, env: Env) -> napi::Result<()> {
    use napi::JsValue as _;
    let mut function = ptr::null_mut();
    // SAFETY: the names are null-terminated, and the function has the form that Node calls.
    unsafe {
        sys::napi_create_function(env.raw(), c"take".as_ptr(), 4, Some(take), ptr::null_mut(), &raw mut function);
        sys::napi_set_named_property(env.raw(), exports.raw(), c"take".as_ptr(), function);
    }
    Ok(())
}

/// A decision as it was, for its headers, its problem and its words: JSON.
#[napi]
#[allow(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "napi hands values over so"
)]
pub fn decision(
    env: Env,
    name: String,
    quota: String,
    cost: u32,
    admitted: bool,
    remaining: u32,
    reset_after: i64,
    retry_after: i64,
    reason: u32,
    at: i64,
) -> napi::Result<String> {
    let told = || {
        let quota: Quota = quota.parse()?;
        let verdict = Verdict {
            admitted,
            remaining,
            reset_after: Millis(reset_after),
            retry_after: (retry_after >= 0).then_some(Millis(retry_after)),
            ready_after: Millis::ZERO,
            reason: reason_of(reason),
        };
        let ask = Ask::new(name.as_str(), "", quota).cost(cost);
        text(&told(&Decision::new(&[ask], [verdict], Millis(at))))
    };
    thrown(&env, told())
}

/// A decision with all that JavaScript shows of it.
pub(crate) fn told(decision: &Decision) -> serde_json::Value {
    let mut told = serde_json::to_value(decision).unwrap_or_default();
    let tightest = decision.tightest();
    told["limit"] = serde_json::json!(tightest.map_or(0, |t| t.limit));
    told["remaining"] = serde_json::json!(tightest.map_or(0, |t| t.remaining));
    told["reset_after"] = serde_json::json!(tightest.map_or(Millis::ZERO, |t| t.reset_after));
    told["headers"] = serde_json::json!(decision.headers());
    told["explain"] = serde_json::json!(decision.explain());
    told["error"] = serde_json::json!(decision.to_error().map(|e| crate::error::told(&e)));
    told
}
