//! Handlers of jobs that are written in JavaScript, and what their context can do.
//!
//! A handler's function is called with the number of its context; the verbs of `wf` act on that. A step is begun,
//! made by the function's own code, and told how it ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use levqor::engine::{After, Begun, Handler, HandlerOptions, StepOptions, Ticket, Wf};
use levqor::error::{Error, ErrorKind, Result};
use levqor::jobs::retry::RetryPolicy;
use levqor::types::{MicroCredits, Millis};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::Functions;
use crate::verbs::Span;

/// A job that a function of JavaScript is at.
struct Context {
    wf: Wf,
    tickets: Mutex<HashMap<u32, Ticket>>,
}

static CONTEXTS: Mutex<Option<HashMap<u32, Arc<Context>>>> = Mutex::new(None);
static NEXT: AtomicU32 = AtomicU32::new(1);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn context(number: u32) -> Result<Arc<Context>> {
    let contexts = locked(&CONTEXTS);
    let found = contexts.as_ref().and_then(|all| all.get(&number).cloned());
    found.ok_or_else(|| Error::new(ErrorKind::Conflict, "job.over", "the job is not this handler's any more"))
}

/// Whether and how something is tried again.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    max_attempts: Option<u32>,
    initial: Option<Span>,
    max: Option<Span>,
}

impl Retry {
    fn over(&self, mut policy: RetryPolicy) -> RetryPolicy {
        policy.max_attempts = self.max_attempts.unwrap_or(policy.max_attempts);
        policy.initial = self.initial.map_or(policy.initial, |s| s.0);
        policy.max = self.max.map_or(policy.max, |s| s.0);
        policy
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    retry: Retry,
    timeout: Option<Span>,
}

/// A handler that is written in JavaScript.
pub(crate) struct HostHandler {
    pub(crate) name: String,
    pub(crate) options: HandlerOptions,
    functions: Arc<Functions>,
}

impl HostHandler {
    pub(crate) fn new(name: &str, about: &str, functions: Arc<Functions>) -> Result<Self> {
        let given: Options = serde_json::from_str(about)
            .map_err(|e| Error::invalid("argument.invalid", format!("the handler's options cannot be used: {e}")))?;
        let mut options = HandlerOptions::default();
        options.retry = given.retry.over(options.retry);
        options.timeout = given.timeout.map(|s| s.0);
        Ok(HostHandler {
            name: name.to_owned(),
            options,
            functions,
        })
    }
}

/// Forgets a context when its function is done, or nobody waits for it any more.
struct Open(u32);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(all) = locked(&CONTEXTS).as_mut() {
            all.remove(&self.0);
        }
    }
}

#[async_trait]
impl Handler for HostHandler {
    async fn run(&self, wf: &Wf, input: Value) -> Result<Value> {
        let open = Open(NEXT.fetch_add(1, Ordering::Relaxed));
        let context = Context {
            wf: wf.clone(),
            tickets: Mutex::default(),
        };
        locked(&CONTEXTS)
            .get_or_insert_with(HashMap::new)
            .insert(open.0, Arc::new(context));
        let argument = json!({
            "context": open.0, "input": input, "id": wf.id(), "attempt": wf.attempt(), "maxAttempts": wf.max_attempts(),
            "handler": wf.handler(), "queue": wf.queue(), "account": wf.account(), "tenant": wf.tenant().as_str(),
            "follows": wf.follows(),
        });
        self.functions.call(&format!("handler:{}", self.name), &argument).await
    }
}

/// How a step is treated, in words.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Step {
    retry: Option<Retry>,
    timeout: Option<Span>,
    at_most_once: bool,
}

fn go(context: &Context, ticket: Ticket, wait: Millis) -> Value {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let told = json!({
        "ticket": number, "wait": wait, "timeout": ticket.timeout(), "idempotencyKey": ticket.idempotency_key(&context.wf),
    });
    locked(&context.tickets).insert(number, ticket);
    told
}

/// Begins a step: `{"done": value}`, or `{"ticket": ...}` for one that has to be made.
pub(crate) async fn begin(number: u32, name: &str, step: Step) -> Result<Value> {
    let context = context(number)?;
    let mut options = StepOptions::default();
    if let Some(retry) = &step.retry {
        options.retry = retry.over(RetryPolicy::default());
    }
    options.timeout = step.timeout.map(|s| s.0);
    options.at_most_once = step.at_most_once;
    Ok(match context.wf.begin(name, options).await? {
        Begun::Done(value) => json!({"done": value}),
        Begun::Go(ticket) => go(&context, ticket, Millis::ZERO),
    })
}

/// Says how a step ended.
pub(crate) async fn end(number: u32, ticket: u32, ok: bool, value: Value) -> Result<Value> {
    let context = context(number)?;
    let taken = locked(&context.tickets).remove(&ticket);
    let ticket = taken.ok_or_else(|| Error::conflict("job.step_over", "this step was told to have ended before"))?;
    let outcome = if ok { Ok(value) } else { Err(Error::from_json(&value)) };
    Ok(match context.wf.end(ticket, outcome).await? {
        After::Done(value) => json!({"done": value}),
        After::Again(ticket, wait) => go(&context, ticket, wait),
    })
}

pub(crate) async fn sleep(number: u32, name: &str, span: Millis) -> Result<()> {
    context(number)?.wf.sleep(name, span).await
}

pub(crate) async fn signal(number: u32, name: &str, at_most: Millis) -> Result<Value> {
    let heard = context(number)?.wf.signal(name, at_most).await?;
    Ok(heard.map_or(Value::Null, |value| json!({"value": value})))
}

pub(crate) async fn progress(number: u32, progress: &Value) -> Result<()> {
    context(number)?.wf.progress(progress).await
}

pub(crate) fn capture(number: u32, amount: MicroCredits) -> Result<()> {
    context(number)?.wf.capture(amount);
    Ok(())
}

/// The error by which a handler puts its job away.
pub(crate) fn snooze(number: u32, span: Millis) -> Result<()> {
    Err(context(number)?.wf.snooze(span))
}
