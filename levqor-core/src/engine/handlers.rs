//! Handlers: work that the host wrote in its own language, done by the engine's worker.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Wf;
use crate::error::{Error, Result};
use crate::jobs::retry::RetryPolicy;
use crate::types::Millis;

/// What does the jobs of one name.
///
/// It may be called again for the same job: after a crash, after an error that may pass, after a wait. What must not
/// be done twice belongs into a [step](Wf::step): a step that is done stays done. An error that says that it is
/// [retryable](Error::retryable) is tried again while attempts are left; any other makes the job a dead letter.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Does the job. What it gives back is the job's result.
    async fn run(&self, wf: &Wf, input: Value) -> Result<Value>;
}

/// How the jobs of a handler are treated.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// Attempts that its jobs get where the request says nothing, and how long to wait between them.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Option<Millis>,
}

impl Default for HandlerOptions {
    fn default() -> Self {
        HandlerOptions {
            retry: RetryPolicy {
                initial: Millis::secs(1),
                max: Millis::mins(10),
                ..RetryPolicy::default()
            },
            timeout: None,
        }
    }
}

/// A handler made of an async function of the context and its input.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levqor_core::error::Result<()> {
/// use levqor_core::backend::Backend;
/// use levqor_core::engine::{Engine, HandlerOptions, JobRequest, Wf, handler};
/// use serde_json::json;
///
/// let double = handler(|wf: Wf, n: i64| async move {
///     let twice: i64 = wf.step("double", || async { Ok(n * 2) }).await?;
///     Ok(twice + 1)
/// });
/// let engine = Engine::builder(Backend::memory())
///     .handler("double", HandlerOptions::default(), double)
///     .build()?;
/// let job = engine.jobs().enqueue(JobRequest::new("double", json!(20))).await?;
/// engine.worker().drain().await?;
/// assert_eq!(engine.pipelines().status(&job.id).await?.result, Some(json!(41)));
/// # Ok(())
/// # }
/// ```
pub fn handler<F, I, O, Fut>(f: F) -> impl Handler
where
    F: Fn(Wf, I) -> Fut + Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + 'static,
    Fut: Future<Output = Result<O>> + Send + 'static,
{
    Function(f, PhantomData)
}

struct Function<F, I, O>(F, PhantomData<fn(I) -> O>);

#[async_trait]
impl<F, I, O, Fut> Handler for Function<F, I, O>
where
    F: Fn(Wf, I) -> Fut + Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + 'static,
    Fut: Future<Output = Result<O>> + Send + 'static,
{
    async fn run(&self, wf: &Wf, input: Value) -> Result<Value> {
        let input = serde_json::from_value(input).map_err(|e| {
            Error::invalid("jobs.bad_input", format!("the input is not what the handler takes: {e}"))
                .at("input")
                .hint("enqueue it again with the right input; this job goes to the dead letters")
        })?;
        let output = (self.0)(wf.clone(), input).await?;
        serde_json::to_value(output).map_err(|e| Error::internal(format!("the handler's result is not JSON: {e}")))
    }
}

/// A handler as the engine knows it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) options: HandlerOptions,
    pub(super) handler: Arc<dyn Handler>,
}

/// Handlers by their names.
#[derive(Default)]
pub(super) struct Handlers(RwLock<HashMap<String, Known>>);

impl Handlers {
    pub(super) fn get(&self, name: &str) -> Option<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = known.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn add(&self, name: &str, options: HandlerOptions, handler: Arc<dyn Handler>) -> Result<()> {
        let fits = (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        if !fits || name == super::pipelines::HANDLER {
            return Err(
                Error::invalid("jobs.bad_name", format!("`{name}` cannot be the name of a handler"))
                    .at("handler")
                    .hint("take 1 to 128 printable ASCII characters without spaces; `pipeline` is the engine's own"),
            );
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), Known { options, handler });
        Ok(())
    }
}
