//! Small documents of the host's own, by kind and name.

use std::sync::Arc;

use levqor::error::{Error, Result};
use levqor::records::{Expect, Record, RecordOp};
use levqor::store::{Batch, Page};
use serde_json::{Value, json};

use super::verbs;

/// What a host keeps lies apart from what the engine keeps for itself.
pub(super) fn kind(name: &str) -> Result<Arc<str>> {
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err(Error::invalid("record.bad_kind", "a kind has 1 to 64 of the characters a-z A-Z 0-9 . _ -").at("kind"));
    }
    Ok(format!("host:{name}").into())
}

fn shown(record: &Record) -> Value {
    let body: Value = serde_json::from_str(&record.body).unwrap_or_default();
    json!({"name": record.name, "version": record.version, "body": body, "updated_at": record.updated_at, "expires_at": record.expires_at})
}

fn batch(e: &levqor::engine::Engine) -> Batch {
    Batch::new(e.tenant_name().clone(), e.now())
}

fn expect(version: Option<i64>) -> Expect {
    match version {
        None => Expect::Any,
        Some(0) => Expect::Absent,
        Some(version) => Expect::Version(version),
    }
}

verbs! { TABLE: e;
    records.get(kind_of: String, name: String) => {
        let found = e.backend().store.reads().records.record(e.tenant_name(), &kind(&kind_of)?, &name).await?;
        found.filter(|r| r.live(e.now())).map(|r| shown(&r))
    };
    records.put(kind_of: String, name: String, body: Value; version: Option<i64>, expires: Option<super::Until>) => {
        let body = levqor::json::canonical(&body);
        if body.len() > 200 << 10 {
            return Err(Error::invalid("body.too_large", format!("the document has {} bytes, {} are allowed", body.len(), 200 << 10)));
        }
        let expires_at = expires.map(|u| u.0.after(e.now()));
        let op = RecordOp::Put { kind: kind(&kind_of)?, name: name.as_str().into(), body: body.into(), expect: expect(version), expires_at };
        e.backend().store.commit(batch(&e).op(op)).await?;
    };
    records.delete(kind_of: String, name: String; version: Option<i64>) => {
        let op = RecordOp::Delete { kind: kind(&kind_of)?, name: name.as_str().into(), expect: expect(version) };
        e.backend().store.commit(batch(&e).op(op)).await?;
    };
    records.list(kind_of: String; after: Option<String>, limit: usize = 50usize) => {
        let page = Page { after, limit: limit.min(1_000) };
        let rows = e.backend().store.reads().records.records(e.tenant_name(), &kind(&kind_of)?, &page).await?;
        rows.iter().filter(|r| r.live(e.now())).map(|r| shown(r)).collect::<Vec<_>>()
    };
}
