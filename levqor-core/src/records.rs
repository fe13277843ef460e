//! Records: small documents by kind and key, with a version to compare and swap on.
//!
//! Pipelines, API keys and claims are records: what they mean is their room's affair.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::table::{Step, Table, row};
use crate::types::{Millis, Tenant};

row! {
    /// A document.
    pub struct Record in "levqor_record" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// What it is: `pipeline`, `key`, ...
        kind: Arc<str>, fixed;
        /// Its name within its kind.
        name: Arc<str>, fixed;
        /// 1 when it was made; grows by one with every change.
        version: i64;
        /// The document, JSON.
        body: Arc<str>;
        /// From then on it counts as absent.
        expires_at: Option<Millis>;
        /// When it was written last.
        updated_at: Millis;
    }
    key(tenant: Tenant, kind: Arc<str>, name: Arc<str>)
    group() when |_row| false;
    lock true
}

impl Record {
    /// Whether it still counts.
    pub fn live(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// The tables of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_record (
        tenant TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        body TEXT NOT NULL,
        expires_at BIGINT,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (tenant, kind, name)
    )",
    "CREATE INDEX levqor_record_expiry ON levqor_record (expires_at) WHERE expires_at IS NOT NULL",
];

/// What must be true of a record before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Anything.
    Any,
    /// There is none (an expired one is none).
    Absent,
    /// It has this version.
    Version(i64),
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RecordOp {
    /// Writes it.
    Put {
        /// Its kind.
        kind: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// The document, JSON.
        body: Arc<str>,
        /// What must be true before.
        expect: Expect,
        /// From then on it counts as absent.
        expires_at: Option<Millis>,
    },
    /// Removes it. Removing what is not there is no error, unless a version was expected.
    Delete {
        /// Its kind.
        kind: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// What must be true before.
        expect: Expect,
    },
}

/// Carries out a change. `None` after a removal.
pub fn apply(rows: &mut Table<Record>, tenant: &Tenant, op: &RecordOp, now: Millis) -> Step<Option<Arc<Record>>> {
    let (RecordOp::Put { kind, name, expect, .. } | RecordOp::Delete { kind, name, expect }) = op;
    let key = (tenant.clone(), kind.clone(), name.clone());
    let stored = rows.get(&key)?;
    let old = stored.as_ref().filter(|r| r.live(now));
    let fits = match expect {
        Expect::Any => true,
        Expect::Absent => old.is_none(),
        Expect::Version(v) => old.is_some_and(|r| r.version == *v),
    };
    if !fits {
        let found = old.map_or("absent".to_owned(), |r| format!("at version {}", r.version));
        return Err(Error::conflict(
            "record.changed",
            format!("{kind} `{name}` is {found}, which is not what was expected"),
        )
        .hint("read it again and repeat the change on what it is now")
        .into());
    }
    match op {
        RecordOp::Put { body, expires_at, .. } => {
            let row = Record {
                tenant: tenant.clone(),
                kind: kind.clone(),
                name: name.clone(),
                version: stored.as_ref().map_or(0, |r| r.version) + 1,
                body: body.clone(),
                expires_at: *expires_at,
                updated_at: now,
            };
            rows.put(row.clone())?;
            Ok(Some(Arc::new(row)))
        }
        RecordOp::Delete { .. } => {
            rows.remove(&key)?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Stop;

    fn put(rows: &mut Table<Record>, expect: Expect, expires_at: Option<i64>, now: i64) -> Result<i64, String> {
        let op = RecordOp::Put {
            kind: "k".into(),
            name: "n".into(),
            body: "{}".into(),
            expect,
            expires_at: expires_at.map(Millis),
        };
        match apply(rows, &Tenant::default(), &op, Millis(now)) {
            Ok(r) => Ok(r.map_or(0, |r| r.version)),
            Err(Stop::Refused(e)) => Err(e.code().to_owned()),
            Err(Stop::Missing) => Err("missing".to_owned()),
        }
    }

    #[test]
    fn versions_guard_against_lost_updates() {
        let mut rows = Table::complete();
        assert_eq!(put(&mut rows, Expect::Version(1), None, 0), Err("record.changed".into()));
        assert_eq!(put(&mut rows, Expect::Absent, None, 0), Ok(1));
        assert_eq!(put(&mut rows, Expect::Absent, None, 0), Err("record.changed".into()));
        assert_eq!(put(&mut rows, Expect::Version(1), Some(10), 0), Ok(2));
        // Expired counts as absent, yet the version goes on growing.
        assert_eq!(put(&mut rows, Expect::Version(2), None, 10), Err("record.changed".into()));
        assert_eq!(put(&mut rows, Expect::Absent, None, 10), Ok(3));
    }
}
