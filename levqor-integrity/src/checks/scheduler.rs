//! `scheduler.status`: every scheduled job exists, has run, and is not overdue.

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use levqor_core::pipeline::suggest::did_you_mean;
use levqor_core::transport::Request;
use levqor_core::types::Millis;
use serde_json::Value;

use super::Basics;
use super::http::no_answer;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};
use crate::runner::seconds;

pub(super) struct Scheduler {
    id: String,
    endpoint: Endpoint,
    jobs: Vec<Job>,
    grace: Millis,
}

struct Job {
    name: String,
    every: Option<Millis>,
}

impl Scheduler {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let jobs = r
            .tables("jobs")
            .into_iter()
            .map(|(name, j)| {
                let every = j.span("every");
                j.finish();
                Job { name, every }
            })
            .collect();
        Scheduler {
            id,
            endpoint: r.endpoint(basics.targets, "api", "/ops/scheduler"),
            jobs,
            grace: r.span("grace").unwrap_or(Millis::mins(2)),
        }
    }

    fn judge(&self, document: &Value, now: Millis, url: &str) -> Outcome {
        let running = ["running", "scheduler_running", "started"]
            .iter()
            .find_map(|k| document.get(*k)?.as_bool());
        if running == Some(false) {
            return Finding::fail("scheduler.stopped", "the scheduler is not running")
                .expected("running true")
                .actual("false")
                .at(url)
                .hint("start it; did the process that held it end?")
                .into();
        }
        let Some(found) = jobs(document) else {
            return Finding::error("scheduler.bad_answer", "the answer holds no list of jobs")
                .expected("{\"jobs\": [{\"id\": .., \"last_run\": .., \"next_run\": ..}]}")
                .actual(super::json_body::clip(&document.to_string()))
                .at(url)
                .hint("let the endpoint list the jobs under `jobs`")
                .into();
        };
        let mut outcome = Outcome::new(format!("{} jobs, none overdue", found.len()));
        for finding in super::json_body::says(
            &serde_json::json!({"status": document.get("status"), "error": document.get("error")}),
            url,
        ) {
            outcome.add(finding);
        }
        if found.is_empty() {
            outcome.add(
                Finding::fail("scheduler.no_jobs", "the scheduler has no job")
                    .expected("at least one job")
                    .actual("none")
                    .at(url)
                    .hint("are the jobs registered in this process?"),
            );
            return outcome;
        }
        for wanted in self.jobs.iter().filter(|w| !found.iter().any(|(name, _)| *name == w.name)) {
            let known = did_you_mean(&wanted.name, found.iter().map(|(n, _)| n.as_str()));
            outcome.add(
                Finding::fail("scheduler.missing_job", format!("there is no job `{}`{known}", wanted.name))
                    .expected(wanted.name.as_str())
                    .actual(found.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "))
                    .at(url)
                    .hint("register it; or mend the pack, if it is gone for good"),
            );
        }
        for (name, job) in &found {
            let every = self.jobs.iter().find(|w| w.name == *name).and_then(|w| w.every);
            self.job(name, job, every, now, url, &mut outcome);
        }
        outcome
    }

    fn job(&self, name: &str, job: &Value, every: Option<Millis>, now: Millis, url: &str, outcome: &mut Outcome) {
        let at = format!("{url}#{name}");
        let add = |outcome: &mut Outcome, cause: &str, message: String, expected: String, actual: String, hint: &str| {
            outcome.add(
                Finding::fail(cause, message)
                    .expected(expected)
                    .actual(actual)
                    .at(at.as_str())
                    .hint(hint),
            );
        };
        let paused = job.get("paused").and_then(Value::as_bool) == Some(true)
            || job.get("enabled").and_then(Value::as_bool) == Some(false);
        if paused {
            let message = format!("the job `{name}` is paused");
            return add(
                outcome,
                "scheduler.paused",
                message,
                "an active job".into(),
                "paused".into(),
                "resume it, or exclude it from the pack",
            );
        }
        let of = |keys: &[&str]| keys.iter().find_map(|k| job.get(*k).filter(|v| !v.is_null()));
        let read = |value: Option<&Value>, outcome: &mut Outcome| match value {
            None => None,
            Some(value) => {
                let time = instant(value);
                if time.is_none() {
                    outcome.add(
                        Finding::error("scheduler.bad_time", format!("a time of the job `{name}` cannot be read"))
                            .expected("RFC 3339, or seconds since 1970")
                            .actual(value.to_string())
                            .at(at.as_str())
                            .hint("send UTC, like 2026-01-31T12:00:00Z"),
                    );
                }
                time
            }
        };
        let last = read(
            of(&[
                "last_run",
                "last_fire",
                "last_run_at",
                "last_fired_at",
                "last_run_time",
                "last",
            ]),
            outcome,
        );
        let next = read(
            of(&[
                "next_run",
                "next_fire",
                "next_run_at",
                "next_fire_at",
                "next_run_time",
                "next",
            ]),
            outcome,
        );
        if let Some(last) = last {
            outcome.fact(&format!("last.{name}"), last.rfc3339());
        }
        let grace = self.grace;
        if let Some(last) = last.filter(|l| *l > now + grace) {
            let message = format!("the job `{name}` claims to have run in the future");
            return add(
                outcome,
                "scheduler.future",
                message,
                format!("at most {}", now.rfc3339()),
                last.rfc3339(),
                "compare the clocks of the servers",
            );
        }
        if let Some(next) = next.filter(|n| *n + grace < now) {
            let late = seconds(Millis(now.0 - next.0));
            let message = format!("the job `{name}` is overdue by {late}");
            return add(
                outcome,
                "scheduler.overdue",
                message,
                format!("a run at {}", next.rfc3339()),
                format!("none by {}", now.rfc3339()),
                "the scheduler lives and does not fire; look at its executor and its log",
            );
        }
        if let Some(every) = every {
            match last {
                None => {
                    let message = format!("the job `{name}` has never run");
                    // A job that is due later, after a start just now, has done nothing wrong.
                    if next.is_none_or(|n| n > now + every + grace) {
                        add(
                            outcome,
                            "scheduler.never_ran",
                            message,
                            format!("a run every {}", seconds(every)),
                            "no run".into(),
                            "was it registered just now, or does it never fire?",
                        );
                    }
                }
                Some(last) if now.0 - last.0 > every.0.saturating_add(grace.0) => {
                    let ago = seconds(Millis(now.0 - last.0));
                    let message = format!("the job `{name}` ran last {ago} ago");
                    add(
                        outcome,
                        "scheduler.overdue",
                        message,
                        format!("a run every {}", seconds(every)),
                        last.rfc3339(),
                        "the scheduler lives and does not fire; look at its executor and its log",
                    );
                }
                Some(_) => {}
            }
        }
        let failed = of(&["last_status", "last_result"])
            .and_then(Value::as_str)
            .map(str::to_ascii_lowercase);
        if let Some(word) = failed.filter(|w| ["error", "failed", "failure", "missed"].contains(&w.as_str())) {
            let message = format!("the last run of the job `{name}` failed");
            add(
                outcome,
                "scheduler.last_failed",
                message,
                "a run that worked".into(),
                word,
                "read the job's log",
            );
        }
    }
}

/// The jobs of an answer, by name: a list of tables, or tables by name.
fn jobs(document: &Value) -> Option<Vec<(String, Value)>> {
    let list = ["jobs", "schedules", "tasks"]
        .iter()
        .find_map(|k| document.get(*k))
        .unwrap_or(document);
    let name = |job: &Value| {
        let found = ["id", "name", "job"].iter().find_map(|k| job.get(*k)?.as_str());
        found.map(str::to_owned)
    };
    match list {
        Value::Array(list) => list.iter().map(|job| Some((name(job)?, job.clone()))).collect(),
        Value::Object(map) if !std::ptr::eq(list, document) => Some(map.iter().map(|(n, j)| (n.clone(), j.clone())).collect()),
        _ => None,
    }
}

/// An instant as systems write it: RFC 3339, without a zone (then UTC), or a number of seconds or milliseconds.
pub(super) fn instant(value: &Value) -> Option<Millis> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let spaced = text.replacen(' ', "T", 1);
            Millis::parse_rfc3339(text)
                .or_else(|| Millis::parse_rfc3339(&spaced))
                .or_else(|| {
                    let naive: DateTime = spaced.parse().ok()?;
                    Some(Millis(naive.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
                })
        }
        Value::Number(n) => {
            let x = n.as_f64()?;
            let millis = if x.abs() > 1e11 { x } else { x * 1e3 };
            #[allow(clippy::cast_possible_truncation, reason = "far below 2^63")]
            let whole = millis as i64;
            (millis.abs() < 1e15).then_some(Millis(whole))
        }
        _ => None,
    }
}

#[async_trait]
impl Check for Scheduler {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        match fetch(&self.endpoint, cx).await {
            Ok((url, document)) => self.judge(&document, cx.now(), &url),
            Err(outcome) => outcome,
        }
    }
}

/// A JSON document that an endpoint of the system gives.
pub(super) async fn fetch(endpoint: &Endpoint, cx: &CheckCx) -> Result<(String, Value), Outcome> {
    let url = endpoint.url(cx)?;
    let answer = cx
        .send(Request::new("GET", url.as_str()))
        .await
        .map_err(|e| no_answer(&e, &url))?;
    if answer.status != 200 {
        return Err(Finding::fail("http.status", format!("the answer is {}", answer.status))
            .expected("200")
            .actual(answer.status.to_string())
            .at(url.as_str())
            .hint("is the path in the pack right, and does the endpoint work?")
            .into());
    }
    match serde_json::from_slice(&answer.body) {
        Ok(document) => Ok((url, document)),
        Err(e) => Err(Finding::fail("http.invalid_json", format!("the answer is no JSON: {e}"))
            .expected("JSON")
            .actual(super::json_body::clip(&String::from_utf8_lossy(&answer.body)))
            .at(url.as_str())
            .hint("is the path in the pack right?")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_as_systems_write_them() {
        for (value, read) in [
            (json!("2026-01-31T12:00:00Z"), Some("2026-01-31T12:00:00.000Z")),
            (json!("2026-01-31 12:00:00+01:00"), Some("2026-01-31T11:00:00.000Z")),
            (json!("2026-01-31T12:00:00.250"), Some("2026-01-31T12:00:00.250Z")),
            (json!(1_769_860_800), Some("2026-01-31T12:00:00.000Z")),
            (json!(1_769_860_800_000_i64), Some("2026-01-31T12:00:00.000Z")),
            (json!("soon"), None),
            (json!(true), None),
        ] {
            assert_eq!(instant(&value).map(Millis::rfc3339).as_deref(), read, "{value}");
        }
    }
}
