//! From what JavaScript says to an engine to be.

use std::collections::BTreeMap;

use levqor::access::key::check_prefix;
use levqor::access::webhook::Verifier;
use levqor::backend::Backend;
use levqor::connector::{Connection, Manifest};
use levqor::engine::{Builder, Engine};
use levqor::error::{Error, ErrorKind, Result};
use levqor::limits::{Policies, Quota};
use levqor::types::{Millis, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an engine is made of. Kept as it came, and never shown: it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) redis: Option<String>,
    #[serde(default = "default_tenant")]
    pub(crate) tenant: String,
    /// Whether every thread that asks for the same is given the same.
    #[serde(default)]
    pub(crate) shared: bool,
    #[serde(default)]
    pub(crate) limits: Option<String>,
    #[serde(default)]
    pub(crate) submit_limits: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) connections: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) webhooks: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) key_prefix: Option<String>,
    #[serde(default)]
    pub(crate) allow: Vec<String>,
    #[serde(default)]
    pub(crate) connectors: Vec<Manifest>,
    /// Whether the vendors' connectors of this build are there.
    #[serde(default = "yes")]
    pub(crate) vendors: bool,
    /// A clock that stands at this time until it is moved: for tests.
    #[serde(default)]
    pub(crate) clock: Option<Millis>,
    #[serde(default)]
    pub(crate) max_body: Option<usize>,
    #[serde(default)]
    pub(crate) max_payload: Option<usize>,
}

fn default_tenant() -> String {
    Tenant::default().as_str().to_owned()
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads a configuration, and refuses whatever can be refused without opening anything.
    pub(crate) fn read(text: &str) -> Result<Self> {
        // What serde says of a wrong value may quote it, and it may be a secret.
        let shape = |e: &serde_json::Error| {
            let said = e.to_string();
            let safe = ["unknown field", "missing field"].iter().any(|s| said.starts_with(s));
            let what = if safe { said } else { "a value has the wrong type".to_owned() };
            Error::new(
                ErrorKind::Config,
                "config.invalid",
                format!("the options cannot be used: {what}"),
            )
        };
        let config: Config = serde_json::from_str(text).map_err(|e| shape(&e))?;
        Tenant::new(&config.tenant)?;
        if let Some(prefix) = &config.key_prefix {
            check_prefix(prefix)?;
        }
        if let Some(limits) = &config.limits {
            limits.parse::<Policies>()?;
        }
        for (name, quota) in &config.submit_limits {
            quota.parse::<Quota>().map_err(|e| e.at(format!("submit_limits/{name}")))?;
        }
        for (name, webhook) in &config.webhooks {
            Verifier::configure(name, webhook).map_err(|e| e.at(format!("webhooks/{name}")))?;
        }
        Ok(config)
    }

    /// An engine to be, over a backend.
    pub(crate) fn builder(&self, backend: Backend) -> Result<Builder> {
        let allow: Vec<&str> = self.allow.iter().map(String::as_str).collect();
        let builder = if self.vendors {
            levqor::builder(backend, &allow)?
        } else {
            Engine::builder(backend)
        };
        let mut builder = builder.tenant(Tenant::new(&self.tenant)?);
        if let Some(limits) = &self.limits {
            builder = builder.limits(limits.parse()?);
        }
        for (name, quota) in &self.submit_limits {
            builder = builder.submit_limit(name, quota.parse()?);
        }
        for (name, values) in &self.connections {
            builder = builder.connection(Connection::new(name, values.clone()));
        }
        for (name, webhook) in &self.webhooks {
            builder = builder.webhook(name, Verifier::configure(name, webhook)?);
        }
        let own = self.clone();
        Ok(builder.options(|o| {
            o.key_prefix = own.key_prefix.unwrap_or_else(|| o.key_prefix.clone());
            o.max_body = own.max_body.unwrap_or(o.max_body);
            o.max_payload = own.max_payload.unwrap_or(o.max_payload);
        }))
    }
}
