//! `scheduler.single_fire`: a scheduled job fires once over all workers, not once in each.

use std::collections::BTreeMap;

use async_trait::async_trait;
use levqor_core::types::Millis;
use serde_json::Value;

use super::Basics;
use super::read_write::Named;
use super::scheduler::{fetch, instant};
use crate::check::{Check, CheckCx};
use crate::db::finding;
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};
use crate::runner::seconds;

pub(super) struct SingleFire {
    id: String,
    endpoint: Endpoint,
    /// Asked instead of the endpoint: rows of job, time and, maybe, worker.
    sql: Option<String>,
    database: Named,
    gap: Millis,
}

struct Fire {
    job: String,
    at: Millis,
    worker: String,
    /// Which tick it was for, where that is known.
    tick: Option<String>,
}

impl SingleFire {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        SingleFire {
            id,
            endpoint: r.endpoint(basics.targets, "api", "/ops/scheduler/fires"),
            sql: r.text("sql"),
            database: Named::new(r, basics),
            gap: r.span("min_gap").unwrap_or(Millis::secs(5)),
        }
    }

    async fn fires(&self, cx: &CheckCx) -> Result<(String, Option<Vec<Fire>>), Outcome> {
        let Some(sql) = &self.sql else {
            let (url, document) = fetch(&self.endpoint, cx).await?;
            let list = document.get("fires").unwrap_or(&document).as_array().cloned();
            return Ok((url, list.and_then(|l| l.iter().map(of_json).collect())));
        };
        let database = self.database.get(cx)?;
        let place = database.place();
        let rows = database.query(sql).await.map_err(|e| finding(&e, &place))?;
        let of_row = |row: &Vec<Option<String>>| {
            let text = |i: usize| row.get(i).cloned().flatten();
            let at = text(1)?;
            let at = at.parse::<f64>().map_or_else(|_| Value::from(at), Value::from);
            Some(Fire {
                job: text(0)?,
                at: instant(&at)?,
                worker: text(2).unwrap_or_default(),
                tick: None,
            })
        };
        Ok((place, rows.iter().map(of_row).collect()))
    }
}

fn of_json(fire: &Value) -> Option<Fire> {
    let of = |keys: &[&str]| keys.iter().find_map(|k| fire.get(*k).filter(|v| !v.is_null()).cloned());
    let text = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    Some(Fire {
        job: text(of(&["job", "job_id", "id", "name"])?),
        at: instant(&of(&["at", "fired_at", "time", "started_at"])?)?,
        worker: of(&["worker", "pid", "host", "instance"]).map(text).unwrap_or_default(),
        tick: of(&["tick", "scheduled_for", "scheduled_at"]).map(text),
    })
}

#[async_trait]
impl Check for SingleFire {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let (at, fires) = match self.fires(cx).await {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let Some(fires) = fires else {
            return Finding::error("scheduler.bad_answer", "the answer holds no list of fires that can be read")
                .expected("[{\"job\": .., \"at\": .., \"worker\": ..}]")
                .at(at)
                .hint("let the endpoint list the last fires of each job")
                .into();
        };
        if fires.is_empty() {
            return Finding::error("scheduler.no_fires", "no fire is known, so nothing can be told")
                .expected("the last fires of the jobs")
                .actual("none")
                .at(at)
                .hint("wait until a job has fired, or look at scheduler.status")
                .into();
        }
        let mut outcome = Outcome::new(format!("{} fires, each once", fires.len()));
        let mut by_job: BTreeMap<&str, Vec<&Fire>> = BTreeMap::new();
        fires.iter().for_each(|f| by_job.entry(&f.job).or_default().push(f));
        for (job, mut fires) in by_job {
            fires.sort_by_key(|f| f.at);
            let twice = fires.windows(2).find(|w| match (&w[0].tick, &w[1].tick) {
                (Some(a), Some(b)) => a == b,
                _ => w[1].at.0 - w[0].at.0 < self.gap.0,
            });
            if let Some([a, b]) = twice {
                let who = if a.worker == b.worker {
                    String::new()
                } else {
                    format!(", by {} and {}", a.worker, b.worker)
                };
                outcome.add(
                    Finding::fail(
                        "scheduler.fired_twice",
                        format!("the job `{job}` fired twice for one tick{who}"),
                    )
                    .expected(format!("one fire within {}", seconds(self.gap)))
                    .actual(format!("{} and {}", a.at.rfc3339(), b.at.rfc3339()))
                    .at(format!("{at}#{job}"))
                    .hint("every worker has a scheduler of its own; take a lease, or let one process do it"),
                );
            }
        }
        outcome.fact("fires", fires.len());
        outcome
    }
}
