//! `db.read_write` and `db.commit_rolls_back`: a row is written, read back and rolled back.

use std::collections::BTreeMap;

use async_trait::async_trait;
use levqor_core::error::ErrorKind;

use super::Basics;
use crate::check::{Check, CheckCx};
use crate::db::{Probe, Probed, finding};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Reader, Text, no_database};

/// A database as a check names it.
pub(super) struct Named {
    name: String,
    url: Option<Text>,
}

impl Named {
    pub(super) fn new(r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let named = r.text("database");
        let name = named.clone().unwrap_or_else(|| "main".into());
        let url = basics.databases.iter().find(|(n, _)| *n == name).map(|(_, u)| u.clone());
        if url.is_none() && named.is_some() {
            let known = basics.databases.iter().map(|(n, _)| n.as_str());
            let hint = levqor_core::pipeline::suggest::did_you_mean(&name, known);
            r.fault(
                "database",
                "pack.unknown_database",
                format!("there is no database `{name}`{hint}"),
            );
        }
        Named { name, url }
    }

    pub(super) fn get(&self, cx: &CheckCx) -> Result<std::sync::Arc<dyn crate::db::Database>, Outcome> {
        if let Some(found) = cx.database(&self.name) {
            return Ok(found);
        }
        if let Some(url) = &self.url {
            url.need(cx)?;
        }
        Err(no_database(&self.name))
    }
}

pub(super) struct ReadWrite {
    id: String,
    database: Named,
    table: Option<String>,
    values: BTreeMap<String, String>,
    /// Whether the transaction is made to fail in the middle, and sessions that hang in one are looked for.
    failing: bool,
}

/// Sessions of others that sit in a failed transaction, or in one for minutes: what a commit without a rollback leaves.
const HANGING: &str = "SELECT coalesce(application_name, ''), state, \
     CAST(extract(epoch FROM clock_timestamp() - state_change) AS bigint) FROM pg_stat_activity \
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND (state = 'idle in transaction (aborted)' \
     OR (state = 'idle in transaction' AND clock_timestamp() - state_change > interval '5 minutes')) ORDER BY 3 DESC LIMIT 20";

impl ReadWrite {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>, failing: bool) -> Self {
        let table = r.text("table");
        let mut values = BTreeMap::new();
        for (column, value) in r.members("values") {
            match value {
                serde_json::Value::String(text) => values.insert(column, text),
                serde_json::Value::Number(n) => values.insert(column, n.to_string()),
                serde_json::Value::Bool(b) => values.insert(column, b.to_string()),
                _ => {
                    r.fault(
                        "values",
                        "pack.wrong_type",
                        format!("`{column}` has to be a text, a number or a truth value"),
                    );
                    None
                }
            };
        }
        if table.is_some() && values.is_empty() {
            r.fault(
                "values",
                "pack.missing",
                "with `table` go the `values` of the row, by column; `{nonce}` in one is a new word each time",
            );
        }
        ReadWrite {
            id,
            database: Named::new(r, basics),
            table,
            values,
            failing,
        }
    }

    fn judge(probed: &Probed, place: &str) -> Vec<Finding> {
        let mut said = Vec::new();
        if probed.seen != 1 || !probed.same {
            said.push(
                Finding::fail("db.not_read_back", "the row that was written cannot be read back")
                    .expected("1 row, as written")
                    .actual(format!("{} rows", probed.seen))
                    .at(place)
                    .hint("does a trigger or a rule change what is written?"),
            );
        }
        if probed.left != 0 {
            said.push(
                Finding::fail("db.rollback_left_rows", "the row is still there after the rollback")
                    .expected("0 rows")
                    .actual(format!("{} rows", probed.left))
                    .at(place)
                    .hint("does the driver or a pooler commit by itself, or does the table not know transactions?"),
            );
        }
        if !probed.refused {
            said.push(
                Finding::fail("db.error_ignored", "a statement that has to fail did not")
                    .expected("an error")
                    .actual("none")
                    .at(place)
                    .hint("is there something between this program and the database that hides errors?"),
            );
        }
        said
    }
}

#[async_trait]
impl Check for ReadWrite {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let database = match self.database.get(cx) {
            Ok(database) => database,
            Err(outcome) => return outcome,
        };
        let place = database.place();
        let nonce = cx.nonce();
        let probe = Probe {
            table: self.table.clone(),
            values: self
                .values
                .iter()
                .map(|(c, v)| (c.clone(), v.replace("{nonce}", &nonce)))
                .collect(),
            fail: self.failing,
        };
        let probed = match tokio::time::timeout(cx.left().to_duration(), database.probe(&probe)).await {
            Ok(Ok(probed)) => probed,
            Ok(Err(e)) => return finding(&e, &place).into(),
            Err(_) => return too_late(&place).into(),
        };
        let mut outcome = Outcome::new(format!("a row was written, read back and rolled back in {place}"));
        Self::judge(&probed, &place).into_iter().for_each(|f| outcome.add(f));
        outcome.fact("version", probed.version.as_str());
        cx.capture(
            "db",
            &format!(
                "{place}\nversion {}\nseen {}\nleft {}\n",
                probed.version, probed.seen, probed.left
            ),
        );
        if self.failing && place.starts_with("postgres") {
            match database.query(HANGING).await {
                Ok(rows) => rows.iter().for_each(|row| outcome.add(hanging(row, &place))),
                Err(e) if e.kind() == ErrorKind::Unsupported => {}
                Err(e) => outcome.add(finding(&e, &place)),
            }
        }
        outcome
    }
}

fn hanging(row: &[Option<String>], place: &str) -> Finding {
    let text = |i: usize| row.get(i).cloned().flatten().unwrap_or_default();
    let who = if text(0).is_empty() {
        "a session without a name".into()
    } else {
        format!("`{}`", text(0))
    };
    let aborted = text(1).ends_with("(aborted)");
    let what = if aborted {
        "a failed transaction that was never rolled back"
    } else {
        "an open transaction"
    };
    let cause = if aborted {
        "db.aborted_session"
    } else {
        "db.idle_in_transaction"
    };
    Finding::fail(cause, format!("{who} has been sitting in {what} for {} s", text(2)))
        .expected("a rollback after every failure")
        .actual(text(1))
        .at(place)
        .hint("roll back in the handler of every error around a commit; the session holds locks and is lost to the pool")
}

/// The finding for a database that did not answer in time.
pub(super) fn too_late(place: &str) -> Finding {
    Finding::fail("db.timeout", "the database did not answer in time")
        .expected("an answer within the check's timeout")
        .actual("none")
        .at(place)
        .hint("is it overloaded, or does a firewall drop the packets?")
}
