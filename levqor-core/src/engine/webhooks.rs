use std::collections::BTreeSet;
use std::future::Future;

use serde_json::Value;

use super::Engine;
use crate::access::webhook::{Event, Verifier};
use crate::claims::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;

/// How long a message that is being worked on is kept from others, unless [`Webhooks::begin_for`] says otherwise.
const AT_WORK: Millis = Millis::mins(5);

/// Webhooks of others: proved, and worked on once.
///
/// A message is claimed before the work and settled after it, so a handler that dies leaves the message to
/// the vendor's next try, and one that succeeded is never run again, in no process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levqor_core::error::Result<()> {
/// # use levqor_core::{access::webhook::*, backend::Backend, engine::*, error::*, types::*};
/// let github = Verifier::preset(Preset::GitHub, &["It's a Secret to Everybody"])?;
/// let headers = github.sign("", Millis::ZERO, b"{\"zen\":\"x\"}")?;
/// let engine = Engine::builder(Backend::memory()).webhook("github", github).build()?;
/// let mut seen = 0;
/// for _ in 0..2 {
///     engine.webhooks().once("github", &headers, b"{\"zen\":\"x\"}", async |event| { seen += 1; Ok(event.data["zen"].clone()) }).await?;
/// }
/// assert_eq!(seen, 1);
/// # Ok(())
/// # }
/// ```
pub struct Webhooks<'a>(pub(super) &'a Engine);

/// A message that was proved, and whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The webhook's name.
    pub name: String,
    /// What it tells.
    pub event: Event,
    /// Whether to work on it.
    pub turn: Turn,
}

/// Whether to work on a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Yes: then [finish](Webhooks::finish) or [abandon](Webhooks::abandon) it.
    Now {
        /// Proves whose turn it is.
        token: String,
    },
    /// No, that was done, with this outcome. Answer the vendor as if it were done now.
    Done(Value),
}

impl Webhooks<'_> {
    /// The names of the webhooks the engine was built with.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.inner.webhooks.keys().map(String::as_str).collect()
    }

    /// Proves a message, without a guard against replays. Waits for nothing.
    ///
    /// # Errors
    /// `webhook.unknown`, and what [`Verifier::verify`] says.
    pub fn verify<N: AsRef<str>, V: AsRef<str>>(&self, name: &str, headers: &[(N, V)], body: &[u8]) -> Result<Event> {
        self.verifier(name)?.verify(headers, body, self.0.now())
    }

    /// Signs a message as the vendor would: for tests.
    pub fn sign(&self, name: &str, id: &str, body: &[u8]) -> Result<Vec<(String, String)>> {
        self.verifier(name)?.sign(id, self.0.now(), body)
    }

    /// Proves a message, and says whether to work on it.
    ///
    /// # Errors
    /// Those of [`verify`](Webhooks::verify), and `webhook.busy` (409, try again later) while another works on
    /// the same message.
    pub async fn begin<N: AsRef<str>, V: AsRef<str>>(&self, name: &str, headers: &[(N, V)], body: &[u8]) -> Result<Delivery> {
        self.begin_for(name, headers, body, AT_WORK).await
    }

    /// The same, keeping the message from others for so long. If the work takes longer, another may begin it too.
    pub async fn begin_for<N: AsRef<str>, V: AsRef<str>>(
        &self,
        name: &str,
        headers: &[(N, V)],
        body: &[u8],
        at_work: Millis,
    ) -> Result<Delivery> {
        let event = self.verify(name, headers, body)?;
        let now = self.0.now();
        let claims = &self.0.inner.backend.claims;
        let turn = match claims.claim(&self.0.tenant, &claim_key(name, &event), at_work, now).await? {
            Claim::Won { token } => Turn::Now { token },
            Claim::Settled(outcome) => Turn::Done(outcome),
            Claim::Held { until } => {
                return Err(Error::conflict("webhook.busy", "the same message is being worked on")
                    .after((until - now).max(Millis::secs(1)).min(Millis::secs(30)))
                    .retry(true));
            }
        };
        Ok(Delivery {
            name: name.to_owned(),
            event,
            turn,
        })
    }

    /// The work is done: the message is never worked on again. Nothing happens if it was done before.
    ///
    /// # Errors
    /// `claims.lost`, if the work took so long that another began it too.
    pub async fn finish(&self, delivery: &Delivery, outcome: Value) -> Result<()> {
        let Turn::Now { token } = &delivery.turn else { return Ok(()) };
        let keep = self.verifier(&delivery.name)?.kept();
        let key = claim_key(&delivery.name, &delivery.event);
        let claims = &self.0.inner.backend.claims;
        claims.settle(&self.0.tenant, &key, token, outcome, keep, self.0.now()).await
    }

    /// The work failed: the vendor's next try begins it anew.
    pub async fn abandon(&self, delivery: &Delivery) -> Result<()> {
        let Turn::Now { token } = &delivery.turn else { return Ok(()) };
        let key = claim_key(&delivery.name, &delivery.event);
        self.0
            .inner
            .backend
            .claims
            .release(&self.0.tenant, &key, token, self.0.now())
            .await
    }

    /// Proves a message and works on it once: the outcome is that of the first time that went well.
    ///
    /// # Errors
    /// Those of [`begin`](Webhooks::begin), and the work's own; after one of these the message is free again.
    pub async fn once<N, V, F>(&self, name: &str, headers: &[(N, V)], body: &[u8], work: impl FnOnce(Event) -> F) -> Result<Value>
    where
        N: AsRef<str>,
        V: AsRef<str>,
        F: Future<Output = Result<Value>>,
    {
        let delivery = self.begin(name, headers, body).await?;
        if let Turn::Done(outcome) = delivery.turn {
            return Ok(outcome);
        }
        match work(delivery.event.clone()).await {
            Ok(outcome) => {
                self.finish(&delivery, outcome.clone()).await?;
                Ok(outcome)
            }
            Err(e) => {
                // The claim runs out by itself if it cannot be given back.
                if let Err(lost) = self.abandon(&delivery).await {
                    tracing::warn!(code = lost.code(), "a webhook could not be given back");
                }
                Err(e)
            }
        }
    }

    fn verifier(&self, name: &str) -> Result<&Verifier> {
        self.0.inner.webhooks.get(name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            Error::new(ErrorKind::Config, "webhook.unknown", format!("there is no webhook `{shown}`"))
                .hint("give the engine its secret under this name")
        })
    }
}

fn claim_key(name: &str, event: &Event) -> String {
    format!("webhook\n{name}\n{}", event.guard)
}
