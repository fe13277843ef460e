//! `clock.skew`: the clocks of the servers agree with this one.

use std::time::Duration;

use async_trait::async_trait;
use jiff::fmt::rfc2822;
use levqor_core::error::ErrorKind;
use levqor_core::transport::Request;
use levqor_core::types::Millis;

use super::http::no_answer;
use super::read_write::Named;
use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::db::finding;
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};
use crate::runner::seconds;

pub(super) struct Skew {
    id: String,
    endpoints: Vec<Endpoint>,
    database: Named,
    warn: Millis,
    fail: Millis,
}

impl Skew {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let names = r.texts("targets").unwrap_or_else(|| vec!["frontend".into(), "api".into()]);
        let of = |target: String| Endpoint {
            base: basics.targets.iter().find(|(n, _)| *n == target).map(|(_, t)| t.clone()),
            target,
            path: String::new(),
        };
        Skew {
            id,
            endpoints: names.into_iter().map(of).filter(|e| e.base.is_some()).collect(),
            database: Named::new(r, basics),
            warn: r.span("warn").unwrap_or(Millis::secs(3)),
            fail: r.span("fail").unwrap_or(Millis::secs(30)),
        }
    }

    /// What a difference means. It is known to within `unsure`.
    fn judge(&self, theirs: Millis, ours: Millis, unsure: Millis, at: &str, outcome: &mut Outcome) {
        let difference = theirs.0 - ours.0;
        let sure = Millis((difference.abs() - unsure.0).max(0));
        outcome.fact(at, if sure == Millis::ZERO { 0 } else { difference });
        let which = if difference > 0 { "ahead of" } else { "behind" };
        let message = format!("the clock of {at} is {} {which} this one", seconds(Millis(difference.abs())));
        let finding = match sure {
            s if s > self.fail => Finding::fail("clock.skew", message),
            s if s > self.warn => Finding::warn("clock.skew", message),
            _ => return,
        };
        outcome.add(
            finding
                .expected(format!("within {}", seconds(self.warn)))
                .actual(format!("{difference} ms"))
                .at(at)
                .hint("tokens, signatures and schedules go by it; run an NTP client on both sides"),
        );
    }
}

#[async_trait]
impl Check for Skew {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let mut urls = Vec::new();
        for endpoint in &self.endpoints {
            match endpoint.url(cx) {
                Ok(url) => urls.push(url),
                Err(outcome) => return outcome,
            }
        }
        let database = self.database.get(cx).ok();
        if urls.is_empty() && database.is_none() {
            return Outcome::skip("the pack names no target and no database");
        }
        let mut outcome = Outcome::new("the clocks agree");
        let asked = urls.iter().map(|url| async move {
            let before = cx.now();
            let answer = cx.send(Request::new("HEAD", url.as_str())).await;
            (url, before, answer, cx.now())
        });
        for (url, before, answer, after) in all(asked).await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(e) => {
                    outcome.add(no_answer(&e, url));
                    continue;
                }
            };
            let date = answer.header("date").and_then(|d| rfc2822::parse(d).ok());
            match date {
                Some(date) => {
                    // The header has whole seconds, cut off: on average half a second is missing.
                    let theirs = Millis(date.timestamp().as_millisecond() + 500);
                    let ours = Millis(i64::midpoint(before.0, after.0));
                    self.judge(theirs, ours, Millis(600 + (after.0 - before.0) / 2), url, &mut outcome);
                }
                None => outcome.add(
                    Finding::error("clock.no_date", format!("{url} does not say its time"))
                        .expected("a Date header")
                        .actual(answer.header("date").unwrap_or("none"))
                        .at(url.as_str())
                        .hint("servers with a clock send Date (RFC 9110, section 6.6.1)"),
                ),
            }
        }
        if let Some(database) = database {
            let place = database.place();
            if place.starts_with("postgres") {
                let sql = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)";
                let before = cx.now();
                let within: Duration = cx.left().to_duration();
                match tokio::time::timeout(within, database.query(sql)).await {
                    Ok(Ok(rows)) => {
                        let after = cx.now();
                        let theirs = rows
                            .first()
                            .and_then(|r| r.first())
                            .cloned()
                            .flatten()
                            .and_then(|t| t.parse().ok());
                        match theirs {
                            Some(theirs) => {
                                let ours = Millis(i64::midpoint(before.0, after.0));
                                self.judge(
                                    Millis(theirs),
                                    ours,
                                    Millis((after.0 - before.0) / 2 + 1),
                                    &place,
                                    &mut outcome,
                                );
                            }
                            None => outcome
                                .add(Finding::error("db.bad_answer", "the database does not say its time").at(place.as_str())),
                        }
                    }
                    Ok(Err(e)) if e.kind() == ErrorKind::Unsupported => {}
                    Ok(Err(e)) => outcome.add(finding(&e, &place)),
                    Err(_) => outcome.add(super::read_write::too_late(&place)),
                }
            }
        }
        outcome
    }
}
