use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Engine;
use crate::connector::{Cx, Output};
use crate::error::Result;
use crate::types::Millis;

/// One action to be carried out at once, outside of any run.
#[derive(Clone, Debug)]
pub struct DirectCall {
    /// Its full name, `slack.post_message`.
    pub action: String,
    /// Its input.
    pub input: Value,
    /// The name of the connection.
    pub connection: Option<String>,
    /// Names the call: with the same key the provider does the work once, if it takes keys. Random if not given.
    pub key: Option<String>,
    /// Whose limits on submitting runs count; nobody's if not given.
    pub account: Option<String>,
    /// The time-out of one attempt; that of a step if not given.
    pub timeout: Option<Millis>,
}

impl DirectCall {
    /// A call without connection.
    pub fn new(action: impl Into<String>, input: Value) -> Self {
        DirectCall {
            action: action.into(),
            input,
            connection: None,
            key: None,
            account: None,
            timeout: None,
        }
    }
}

impl Engine {
    /// Carries out one action now: validated, repeated, limited and metered like a step of a run, but nothing is
    /// written down, so nobody takes it up again after a crash.
    ///
    /// # Errors
    /// `connector.unknown`, `connector.unknown_action`, `connection.unknown`, what the limits of the account say, and what
    /// the action says.
    pub async fn call(&self, call: &DirectCall) -> Result<Output> {
        if let Some(account) = &call.account {
            self.pipelines().limit(account).await?;
        }
        let mut cx = Cx::direct(self.inner.transport.clone(), self.inner.clock.clone());
        cx.tenant = self.tenant.clone();
        cx.vault = self.inner.vault.clone();
        cx.timeout = call.timeout.unwrap_or(self.inner.options.step_timeout);
        if let Some(key) = &call.key {
            let text = format!("call\n{}\n{}\n{key}", self.tenant, call.action);
            cx.idempotency_key = URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()));
        }
        if let Some(name) = &call.connection {
            let connector = call.action.split('.').next().unwrap_or_default();
            cx.connection = Some(self.inner.connection(&self.tenant, name, connector).await?);
        }
        self.inner.registry.call(&cx, &call.action, &call.input).await
    }
}
