use std::sync::Arc;

use serde_json::{Value, json};

use super::{DirectCall, Engine, Inner};
use crate::connector::{Connection, Output, SideEffect};
use crate::error::{Error, ErrorKind, Result};
use crate::records::Expect;
use crate::store::Page;
use crate::types::Tenant;
use crate::vault::{ConnectionInfo, Vault};

/// Credentials of an account by name, sealed in the store.
///
/// Those that the host gave to the builder are every tenant's and do not stand here.
pub struct Connections<'a>(pub(super) &'a Engine);

impl Inner {
    /// The connection that a call of a connector named.
    pub(crate) async fn connection(&self, tenant: &Tenant, name: &str, connector: &str) -> Result<Arc<Connection>> {
        let found = match (self.connections.get(name), &self.vault) {
            (Some(own), _) => Some(own.clone()),
            (None, Some(vault)) => vault.get(tenant, name).await?,
            (None, None) => None,
        };
        let Some(found) = found else {
            let message = format!("there is no connection `{name}`");
            let e = Error::new(ErrorKind::Config, "connection.unknown", message);
            return Err(e.hint("give it to the engine, or store it for the tenant"));
        };
        match found.connector().filter(|for_whom| *for_whom != connector) {
            None => Ok(found),
            Some(other) => {
                let message = format!("the connection `{name}` is for `{other}`, not for `{connector}`");
                Err(Error::new(ErrorKind::Denied, "connection.other_connector", message))
            }
        }
    }
}

impl Connections<'_> {
    fn vault(&self) -> Result<&Vault> {
        self.0.inner.vault.as_deref().ok_or_else(|| {
            let e = Error::new(
                ErrorKind::Config,
                "vault.none",
                "this engine has no key to seal connections with",
            );
            e.hint("give the builder a sealer, or set LEVQOR_SEAL_KEY")
        })
    }

    /// Stores a connection for a connector; its version. `expect` says what must be there before.
    ///
    /// # Errors
    /// `vault.none`, `connection.taken` if the host has one of this name, `connection.invalid`, `connector.unknown`, and
    /// `record.changed`.
    pub async fn put(&self, name: &str, connector: &str, settings: &Value, expect: Expect) -> Result<i64> {
        if self.0.inner.connections.contains_key(name) {
            let message = format!("the host has a connection `{name}` for all");
            return Err(Error::conflict("connection.taken", message));
        }
        let Some(known) = self.0.inner.registry.get(connector) else {
            return Err(Error::not_found("connector.unknown", format!("there is no connector `{connector}`")).at("/connector"));
        };
        let known = &known.manifest().settings;
        let fields = settings.as_object().into_iter().flatten();
        if let Some((field, _)) = fields
            .into_iter()
            .find(|(f, _)| !known.is_empty() && known.iter().all(|s| s.name != **f))
        {
            let message = format!("`{connector}` has no setting `{field}`");
            let names: Vec<&str> = known.iter().map(|s| s.name.as_str()).collect();
            let e = Error::invalid("connection.invalid", message).at(format!("/settings/{field}"));
            return Err(e.hint(format!("the settings are {}", names.join(", "))));
        }
        self.vault()?.put(&self.0.tenant, name, connector, settings, expect).await
    }

    /// Changes some settings of a connection and leaves the others: a new credential for an old one. What is null goes.
    ///
    /// # Errors
    /// `connection.unknown`, and what [`put`](Connections::put) says.
    pub async fn rotate(&self, name: &str, changes: &Value) -> Result<i64> {
        let Some((version, connector, mut settings)) = self.vault()?.settings(&self.0.tenant, name).await? else {
            return Err(Error::not_found(
                "connection.unknown",
                format!("there is no connection `{name}`"),
            ));
        };
        let (Some(all), Some(changes)) = (settings.as_object_mut(), changes.as_object()) else {
            return Err(Error::invalid("connection.invalid", "the settings of a connection are an object").at("/settings"));
        };
        for (field, value) in changes {
            if value.is_null() {
                all.remove(field);
            } else {
                all.insert(field.clone(), value.clone());
            }
        }
        self.put(name, &connector, &settings, Expect::Version(version)).await
    }

    /// What there is, by name; no secrets.
    pub async fn list(&self, page: &Page) -> Result<Vec<ConnectionInfo>> {
        self.vault()?.list(&self.0.tenant, page).await
    }

    /// Removes a connection; removing what is not there is no error.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.vault()?.remove(&self.0.tenant, name).await
    }

    /// Seals everything of the tenant with the newest key; how many documents that were.
    pub async fn reseal(&self) -> Result<usize> {
        self.vault()?.reseal(&self.0.tenant).await
    }

    /// Tries a connection: calls an action that only looks. Without one, the connector's first that needs no input.
    ///
    /// # Errors
    /// `connection.no_test` if every action of the connector needs an input or changes something, and what the call says.
    pub async fn test(&self, name: &str, action: Option<(&str, Value)>) -> Result<Output> {
        let inner = &self.0.inner;
        let connector = match inner.connections.get(name) {
            Some(own) => own.connector().map(str::to_owned),
            None => self
                .vault()?
                .settings(&self.0.tenant, name)
                .await?
                .map(|(_, connector, _)| connector),
        };
        let usual = connector.as_deref().and_then(|c| inner.registry.get(c)).and_then(|c| {
            let manifest = c.manifest();
            let free = |schema: &Value| schema["required"].as_array().is_none_or(Vec::is_empty);
            let mut actions = manifest.actions.iter();
            let found = actions.find(|a| a.side_effect == SideEffect::Read && free(&a.input))?;
            Some((format!("{}.{}", manifest.name, found.name), json!({})))
        });
        let (action, input) = match action {
            Some((action, input)) => (action.to_owned(), input),
            None => usual.ok_or_else(|| {
                let message = format!("nothing is known that the connection `{name}` could be tried with");
                Error::new(ErrorKind::Unsupported, "connection.no_test", message)
                    .hint("name an action that only looks, with its input")
            })?,
        };
        let (_, about) = inner.registry.action(&action)?;
        if about.side_effect != SideEffect::Read {
            let message = format!("`{action}` does more than look");
            return Err(Error::invalid("connection.no_test", message).at("/action"));
        }
        let mut call = DirectCall::new(action, input);
        call.connection = Some(name.to_owned());
        self.0.call(&call).await
    }
}
