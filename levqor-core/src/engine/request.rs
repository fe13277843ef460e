use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::{Duplicate, Job, NewJob, UniqueKey};
use crate::json;
use crate::types::{BatchId, HoldId, JobId, MicroCredits, Millis, Tenant};

/// A job to be, for a handler of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRequest {
    /// The handler's name.
    pub handler: String,
    /// What it is given.
    pub input: Value,
    /// Which queue.
    pub queue: String,
    /// Who pays, and whose it is.
    pub account: Option<String>,
    /// Makes one job of many requests, for ever.
    pub key: Option<String>,
    /// Holds credits of the account until the job ends: then they are captured, or released if it failed.
    pub hold: Option<MicroCredits>,
    /// 0 is served first, 255 last.
    pub priority: i64,
    /// Not before this.
    pub run_at: Option<Millis>,
    /// Attempts that may be started; what the handler's options say, or 4 where it is not known here, if `None`.
    pub max_attempts: Option<u32>,
    /// Enqueued only if no other job has this key.
    pub unique: Option<UniqueKey>,
    /// Jobs with the same key share the queue's limits per key.
    pub concurrency_key: Option<String>,
    /// The batch that it is to be a member of.
    pub batch: Option<BatchId>,
    /// Whether its input is sealed while it is stored: see [`JobRequest::sealed`].
    pub sealed: bool,
}

impl JobRequest {
    /// A job to be done at once.
    pub fn new(handler: impl Into<String>, input: Value) -> Self {
        JobRequest {
            handler: handler.into(),
            input,
            queue: "default".to_owned(),
            account: None,
            key: None,
            hold: None,
            priority: 100,
            run_at: None,
            max_attempts: None,
            unique: None,
            concurrency_key: None,
            batch: None,
            sealed: false,
        }
    }

    /// Into this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// For this account.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Binds it to an idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Holds credits of its account for it.
    #[must_use]
    pub fn hold(mut self, amount: MicroCredits) -> Self {
        self.hold = Some(amount);
        self
    }

    /// Not before this.
    #[must_use]
    pub fn run_at(mut self, at: Millis) -> Self {
        self.run_at = Some(at);
        self
    }

    /// Drops further ones with this key while it waits or runs, and for `window` after it was enqueued.
    #[must_use]
    pub fn unique(mut self, key: impl AsRef<str>, window: Millis) -> Self {
        self.unique = Some(UniqueKey {
            key: key.as_ref().into(),
            window,
            then: Duplicate::Drop,
        });
        self
    }

    /// Waits until no more with this key came for `quiet`, but at most `at_most`, and then runs with the last input.
    #[must_use]
    pub fn debounce(mut self, key: impl AsRef<str>, quiet: Millis, at_most: Millis) -> Self {
        self.unique = Some(UniqueKey {
            key: key.as_ref().into(),
            window: Millis::ZERO,
            then: Duplicate::Debounce { quiet, at_most },
        });
        self
    }

    /// Shares the queue's limits per key with others of this key.
    #[must_use]
    pub fn concurrency_key(mut self, key: impl Into<String>) -> Self {
        self.concurrency_key = Some(key.into());
        self
    }

    /// Adds it to a batch.
    #[must_use]
    pub fn batch(mut self, id: BatchId) -> Self {
        self.batch = Some(id);
        self
    }

    /// Seals its input with the engine's sealing key ([`Builder::sealer`](super::Builder::sealer)): it lies in the store
    /// encrypted, and only workers that have the key can do the job. Results, progress and what steps give are not sealed.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    /// What an idempotency key is bound to.
    pub(super) fn payload(&self) -> Value {
        json!([
            self.handler,
            self.input,
            self.queue,
            self.account,
            self.hold,
            self.priority,
            self.run_at,
            self.max_attempts,
            self.unique,
            self.concurrency_key,
        ])
    }

    /// The job, checked.
    pub(super) fn job(self, engine: &Engine) -> Result<NewJob> {
        let options = &engine.inner.options;
        if self.handler == super::pipelines::HANDLER {
            return Err(Error::invalid("jobs.bad_name", "`pipeline` is the engine's own handler")
                .at("handler")
                .hint("submit a run instead"));
        }
        if !json::depth_ok(&self.input, 100) {
            return Err(Error::invalid("json.too_deep", "the input is nested deeper than 100 levels").at("input"));
        }
        let args = json::canonical(&self.input);
        if args.len() > options.max_payload {
            let message = format!("the input has {} bytes, {} are allowed", args.len(), options.max_payload);
            return Err(Error::invalid("body.too_large", message)
                .at("input")
                .hint("send less, or keep the data elsewhere and send where it is"));
        }
        if self.hold.is_some() && self.account.is_none() {
            return Err(Error::invalid("jobs.no_account", "a job that holds credits needs the account that pays").at("account"));
        }
        let args = if self.sealed {
            let vault = engine.inner.vault.as_ref().ok_or_else(no_key)?;
            format!(
                "{SEALED}{}",
                vault
                    .sealer()
                    .seal(&place(engine.tenant_name(), &self.handler), args.as_bytes())?
            )
        } else {
            args
        };
        let now = engine.now();
        let known = engine
            .inner
            .handlers
            .get(&self.handler)
            .map(|known| known.options.retry.max_attempts);
        let attempts = self.max_attempts.or(known).unwrap_or(4);
        let new = NewJob {
            account: self.account.map(Into::into),
            priority: self.priority,
            run_at: self.run_at.unwrap_or(now),
            max_attempts: i64::from(attempts),
            hold: self
                .hold
                .filter(|amount| *amount > MicroCredits::ZERO)
                .map(|_| HoldId::new(now)),
            held: self.hold.unwrap_or_default(),
            unique: self.unique,
            concurrency_key: self.concurrency_key.map(Into::into),
            batch: self.batch,
            ..NewJob::new(JobId::new(now), &self.queue, &self.handler, args)
        };
        crate::jobs::check(&new)?;
        Ok(new)
    }
}

/// A job that was enqueued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enqueued {
    /// The job.
    pub id: JobId,
    /// Whether another job had its unique key: then this is that job.
    pub duplicate: bool,
    /// Whether its idempotency key had been used before, and this is the job of then.
    pub replayed: bool,
    /// The hold that pays for it.
    pub hold: Option<HoldId>,
}

/// What a sealed input begins with; no JSON does.
const SEALED: &str = "sealed:";

/// Where a sealed input may be opened. Not bound to the job's id: a debounced job gets the input of another.
fn place(tenant: &Tenant, handler: &str) -> String {
    format!("job\n{tenant}\n{handler}")
}

fn no_key() -> Error {
    Error::new(
        ErrorKind::Config,
        "jobs.no_sealing_key",
        "the input of a job is sealed, and this engine has no key",
    )
    .hint("give the engine its sealing key: LEVQOR_SEAL_KEY, or Builder::sealer")
}

/// The input of a job, opened if it is sealed.
pub(super) fn input_of(engine: &Engine, job: &Job) -> Result<Value> {
    let opened = match job.input().strip_prefix(SEALED) {
        None => None,
        Some(sealed) => {
            let vault = engine.inner.vault.as_ref().ok_or_else(no_key)?;
            Some(vault.sealer().open(&place(&job.tenant, &job.handler), sealed)?)
        }
    };
    let bytes = opened.as_deref().unwrap_or(job.input().as_bytes());
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(
            ErrorKind::Corrupt,
            "jobs.corrupt_input",
            format!("the stored input cannot be read: {e}"),
        )
    })
}
