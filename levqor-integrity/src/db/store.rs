//! The engine's own store, probed through its port.

use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::clock::Clock;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::records::{Expect, RecordOp};
use levqor_core::store::{Batch, Store};
use levqor_core::types::{JobId, Tenant};

use super::{Database, Probe, Probed, Schema};

/// A store as a database: it can be written to, read, and refuse a batch as a whole. It has no tables to show.
pub struct StoreProbe {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// The kind of the records that are written; nobody else uses it.
const KIND: &str = "levqor.integrity.probe";

impl StoreProbe {
    /// Probes a store, at a clock's time.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        StoreProbe { store, clock }
    }
}

#[async_trait]
impl Database for StoreProbe {
    fn place(&self) -> String {
        let info = self.store.info();
        format!("{} {}", info.kind, info.place).trim_end().to_owned()
    }

    /// A record is written, read and removed; then one is written in a batch that has to be refused, which must leave none.
    async fn probe(&self, probe: &Probe) -> Result<Probed> {
        let tenant = Tenant::default();
        let now = self.clock.now();
        let name = JobId::new(now).to_string();
        let put = |name: &str| RecordOp::Put {
            kind: KIND.into(),
            name: name.into(),
            body: format!("\"{name}\"").into(),
            expect: Expect::Absent,
            // Whatever happens to this process, it goes away.
            expires_at: Some(now + levqor_core::types::Millis::mins(10)),
        };
        let delete = |name: &str, expect| RecordOp::Delete {
            kind: KIND.into(),
            name: name.into(),
            expect,
        };
        let batch = || Batch::new(tenant.clone(), now);
        let read = async |name: &str| self.store.reads().records.record(&tenant, KIND, name).await;

        self.store.commit(batch().op(put(&name))).await?;
        let found = read(&name).await?;
        self.store.commit(batch().op(delete(&name, Expect::Any))).await?;
        let doomed = format!("{name}-doomed");
        // Its second operation expects a version that the record cannot have.
        let refused = self
            .store
            .commit(batch().op(put(&doomed)).op(delete(&doomed, Expect::Version(77))))
            .await
            .is_err();
        let left = i64::from(read(&name).await?.is_some()) + i64::from(read(&doomed).await?.is_some());
        Ok(Probed {
            seen: i64::from(found.is_some()),
            same: found.is_some_and(|r| *r.body == *format!("\"{name}\"")),
            left,
            refused: refused || !probe.fail,
            version: self.store.info().version,
        })
    }

    async fn schema(&self) -> Result<Schema> {
        Err(no_sql())
    }

    async fn query(&self, _: &str) -> Result<Vec<Vec<Option<String>>>> {
        Err(no_sql())
    }
}

fn no_sql() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "db.no_sql",
        "the engine's store has no tables that can be asked for",
    )
    .hint("name the database itself in the pack")
}
