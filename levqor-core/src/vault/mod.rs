//! The vault: credentials of accounts by name, and tokens that were renewed, sealed in the store.
//!
//! A sealed document is a record of the store. Its text is bound to tenant, kind and name, so that a row that is
//! copied elsewhere cannot be opened there. Without the key (see [`SEAL_KEY`]) the store is of no use to anybody.

mod seal;
mod secrets;

pub use seal::{SEAL_KEY, Sealer};
pub use secrets::{EnvSecrets, FileSecrets, Secrets};

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::claims::Claims;
use crate::clock::Clock;
use crate::connector::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::records::{Expect, Record, RecordOp};
use crate::store::{Answer, Batch, Page, Store};
use crate::types::{Millis, Tenant};

/// The kind of the records that keep connections.
const CONNECTION: &str = "connection";
/// The kind of the records that keep what connectors remember.
const KEPT: &str = "kept";
/// So many records are read at once.
const MANY: usize = 200;

/// Sealed documents of a store.
pub struct Vault {
    store: Arc<dyn Store>,
    claims: Arc<dyn Claims>,
    clock: Arc<dyn Clock>,
    sealer: Sealer,
    secrets: Option<Arc<dyn Secrets>>,
}

/// What may be shown of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// Its name.
    pub name: String,
    /// The connector that it is for.
    pub connector: String,
    /// The names of its settings.
    pub settings: Vec<String>,
    /// Grows by one with every change.
    pub version: i64,
    /// When it was changed.
    pub updated_at: Millis,
    /// The id of the key that it is sealed with.
    pub key_id: String,
}

/// A sealed document as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Body {
    /// The connector, of a connection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    connector: String,
    /// The names of the settings, of a connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<String>,
    sealed: String,
}

impl Body {
    fn read(record: &Record) -> Result<Self> {
        serde_json::from_str(&record.body).map_err(|_| {
            let message = format!("the {} `{}` is not what was written", record.kind, record.name);
            Error::new(ErrorKind::Corrupt, "vault.unreadable", message)
        })
    }

    fn key_id(&self) -> String {
        let id = self.sealed.split('.').nth(1);
        id.unwrap_or_default().to_owned()
    }
}

impl Vault {
    /// The sealed documents of a store.
    pub fn new(store: Arc<dyn Store>, claims: Arc<dyn Claims>, clock: Arc<dyn Clock>, sealer: Sealer) -> Self {
        Vault {
            store,
            claims,
            clock,
            sealer,
            secrets: None,
        }
    }

    /// Where `{"$secret": "name"}` in settings is looked up.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Claims over all processes of the backend.
    pub fn claims(&self) -> &dyn Claims {
        &*self.claims
    }

    /// Writes a connection; its version.
    ///
    /// # Errors
    /// `connection.invalid` if the settings are no object or the name is none; `record.changed` if it is not as was
    /// expected.
    pub async fn put(&self, tenant: &Tenant, name: &str, connector: &str, settings: &Value, expect: Expect) -> Result<i64> {
        let bad = |what: &str| Error::new(ErrorKind::Invalid, "connection.invalid", what.to_owned());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
            return Err(bad("a connection's name has 1 to 100 letters, digits, hyphens, underscores and dots").at("/name"));
        }
        let Some(fields) = settings.as_object() else {
            return Err(bad("the settings of a connection are an object").at("/settings"));
        };
        let body = Body {
            connector: connector.to_owned(),
            settings: fields.keys().cloned().collect(),
            sealed: self.seal(
                tenant,
                CONNECTION,
                name,
                &json!({"connector": connector, "settings": settings}),
            )?,
        };
        self.write(tenant, CONNECTION, name, &body, expect, None).await
    }

    /// A connection with its secrets; `None` if there is none of this name.
    ///
    /// # Errors
    /// `seal.key_unknown`, `seal.broken`, `secret.unknown`.
    pub async fn get(&self, tenant: &Tenant, name: &str) -> Result<Option<Arc<Connection>>> {
        let Some((_, mut value)) = self.read(tenant, CONNECTION, name).await? else {
            return Ok(None);
        };
        // Who could write to the store could otherwise give a connection to another connector.
        let connector = value["connector"].as_str().unwrap_or_default().to_owned();
        let mut settings = value["settings"].take();
        let secrets = self.secrets.as_deref();
        secrets::resolve(&mut settings, tenant, secrets)
            .await
            .map_err(|e| e.with("connection", name))?;
        Ok(Some(Arc::new(Connection::new(name, settings).of(connector))))
    }

    /// The settings of a connection as they were given, references unresolved, and its version.
    ///
    /// # Errors
    /// `seal.key_unknown`, `seal.broken`.
    pub async fn settings(&self, tenant: &Tenant, name: &str) -> Result<Option<(i64, String, Value)>> {
        let found = self.read(tenant, CONNECTION, name).await?;
        Ok(found.map(|(version, mut value)| {
            let connector = value["connector"].as_str().unwrap_or_default().to_owned();
            (version, connector, value["settings"].take())
        }))
    }

    /// Connections by name.
    pub async fn list(&self, tenant: &Tenant, page: &Page) -> Result<Vec<ConnectionInfo>> {
        let records = self.store.reads().records.records(tenant, CONNECTION, page).await?;
        let info = |record: &Arc<Record>| {
            let body = Body::read(record)?;
            Ok(ConnectionInfo {
                name: record.name.to_string(),
                key_id: body.key_id(),
                connector: body.connector,
                settings: body.settings,
                version: record.version,
                updated_at: record.updated_at,
            })
        };
        records.iter().map(info).collect()
    }

    /// Removes a connection; removing what is not there is no error.
    pub async fn remove(&self, tenant: &Tenant, name: &str) -> Result<()> {
        let op = RecordOp::Delete {
            kind: CONNECTION.into(),
            name: name.into(),
            expect: Expect::Any,
        };
        let batch = Batch::new(tenant.clone(), self.clock.now()).op(op);
        self.store.commit(batch).await.map(drop)
    }

    /// Seals everything of a tenant with the key that seals now; how many documents that were.
    ///
    /// Documents that change meanwhile are sealed with that key anyway.
    pub async fn reseal(&self, tenant: &Tenant) -> Result<usize> {
        let mut done = 0;
        for kind in [CONNECTION, KEPT] {
            let mut page = Page {
                after: None,
                limit: MANY,
            };
            loop {
                let records = self.store.reads().records.records(tenant, kind, &page).await?;
                for record in &records {
                    done += usize::from(self.reseal_one(tenant, kind, record).await?);
                }
                match records.last() {
                    Some(last) if records.len() == MANY => page.after = Some(last.name.to_string()),
                    _ => break,
                }
            }
        }
        Ok(done)
    }

    async fn reseal_one(&self, tenant: &Tenant, kind: &str, record: &Record) -> Result<bool> {
        let mut body = Body::read(record)?;
        if self.sealer.current(&body.sealed) {
            return Ok(false);
        }
        let place = place(tenant, kind, &record.name);
        let plain = self.sealer.open(&place, &body.sealed)?;
        body.sealed = self.sealer.seal(&place, &plain)?;
        let expect = Expect::Version(record.version);
        match self.write(tenant, kind, &record.name, &body, expect, record.expires_at).await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == "record.changed" => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What a connector remembers under a name, and its version.
    ///
    /// # Errors
    /// `seal.key_unknown`, `seal.broken`.
    pub async fn recall(&self, tenant: &Tenant, name: &str) -> Result<Option<(i64, Value)>> {
        self.read(tenant, KEPT, name).await
    }

    /// Remembers something under a name, for so long; its version.
    ///
    /// # Errors
    /// `record.changed` if it is not as was expected.
    pub async fn remember(&self, tenant: &Tenant, name: &str, value: &Value, expect: Expect, keep: Millis) -> Result<i64> {
        let body = Body {
            connector: String::new(),
            settings: vec![],
            sealed: self.seal(tenant, KEPT, name, value)?,
        };
        let until = self.clock.now() + keep;
        self.write(tenant, KEPT, name, &body, expect, Some(until)).await
    }

    fn seal(&self, tenant: &Tenant, kind: &str, name: &str, value: &Value) -> Result<String> {
        self.sealer.seal(&place(tenant, kind, name), value.to_string().as_bytes())
    }

    async fn read(&self, tenant: &Tenant, kind: &str, name: &str) -> Result<Option<(i64, Value)>> {
        let record = self.store.reads().records.record(tenant, kind, name).await?;
        let Some(record) = record.filter(|r| r.live(self.clock.now())) else {
            return Ok(None);
        };
        let plain = self.sealer.open(&place(tenant, kind, name), &Body::read(&record)?.sealed);
        let plain = plain.map_err(|e| e.with(kind, name))?;
        let value = serde_json::from_slice(&plain).map_err(|_| Error::internal("what was sealed is not JSON"))?;
        Ok(Some((record.version, value)))
    }

    async fn write(
        &self,
        tenant: &Tenant,
        kind: &str,
        name: &str,
        body: &Body,
        expect: Expect,
        expires_at: Option<Millis>,
    ) -> Result<i64> {
        let body = serde_json::to_string(body).map_err(|e| Error::internal(e.to_string()))?;
        let op = RecordOp::Put {
            kind: kind.into(),
            name: name.into(),
            body: body.into(),
            expect,
            expires_at,
        };
        let receipt = self.store.commit(Batch::new(tenant.clone(), self.clock.now()).op(op)).await?;
        match receipt.answers.first() {
            Some(Answer::Record(Some(record))) => Ok(record.version),
            _ => Err(Error::internal("a record was written and is not there")),
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("sealer", &self.sealer).finish_non_exhaustive()
    }
}

/// What a sealed text is bound to. No part can hold a line break.
fn place(tenant: &Tenant, kind: &str, name: &str) -> String {
    format!("{tenant}\n{kind}\n{name}")
}
