//! What of this build is exercised: a run from submission to its receipt, a schedule, a limit, credits, and the environment
//! that it was given.

use crate::backend::Backend;
use crate::connector::{Connection, Registry};
use crate::engine::{Engine, GrantOptions, RunRequest};
use crate::error::{Error, Result};
use crate::jobs::schedule::{Schedule, Target};
use crate::pipeline::suggest::did_you_mean;
use serde_json::json;

use super::{Finding, State};
use crate::cli::setup::engine;

/// Every variable that is read by something of ours.
const VARIABLES: &[&str] = &[
    "LEVQOR_URL",
    "LEVQOR_REDIS_URL",
    "LEVQOR_CONNECTIONS",
    "LEVQOR_ALLOW",
    "LEVQOR_SIGNING_KEY",
    "LEVQOR_TIMESTAMP_URL",
    "LEVQOR_SERVE_TOKEN",
];

/// Carries out one of everything, in memory, so that nothing of it stays.
pub(super) async fn engine_works(tenant: &str, findings: &mut Vec<Finding>) {
    let names = ["runs", "schedules", "credits"];
    let made = match engine(Backend::memory(), tenant, Vec::new()) {
        Ok(engine) => engine,
        Err(e) => return findings.extend(names.map(|name| Finding::broken(name, &e))),
    };
    let judged = |name: &str, came: Result<String>| match came {
        Ok(detail) => Finding::new(name, State::On, detail),
        Err(e) => Finding::broken(name, &e),
    };
    findings.push(judged("credits", credits(&made).await));
    findings.push(judged("runs", run(&made).await));
    findings.push(judged("schedules", schedule(&made).await));
}

async fn credits(engine: &Engine) -> Result<String> {
    engine
        .credits()
        .grant("doctor", "2".parse()?, GrantOptions::default(), None)
        .await?;
    let balance = engine.credits().balance("doctor").await?.available.to_string();
    if balance == "2" {
        Ok("granted and counted".into())
    } else {
        Err(Error::internal(format!("2 credits were granted, and {balance} are there")))
    }
}

async fn run(engine: &Engine) -> Result<String> {
    let pipeline = json!({
        "version": 1, "name": "doctor", "credits": {"hold": "1", "base": "1"},
        "steps": [{"id": "say", "set": {"$fmt": "hello, {input.name}"}}],
        "output": {"$ref": "steps.say.output"}
    });
    let submitted = engine
        .pipelines()
        .submit(RunRequest::new("doctor", pipeline, json!({"name": "doctor"})))
        .await?;
    engine.worker().drain().await?;
    let view = engine.pipelines().status(&submitted.id).await?;
    let left = engine.credits().balance("doctor").await?.available.to_string();
    if view.result == Some(json!("hello, doctor")) && left == "1" {
        Ok("submitted, carried out, paid for".into())
    } else {
        Err(Error::internal("a run did not come to its result, or was not paid for"))
    }
}

async fn schedule(engine: &Engine) -> Result<String> {
    let target = Target::job("doctor", json!({}));
    engine.schedules().put(Schedule::cron("doctor", "0 6 * * 1", target)).await?;
    let next = engine.schedules().next("doctor", 1).await?;
    next.first()
        .map(|tick| format!("the next Monday at six is {}", tick.rfc3339()))
        .ok_or_else(|| Error::internal("a weekly schedule has no next tick"))
}

/// Which connectors each connection can be for.
pub(super) fn connections(found: &[Connection], known: &Registry, findings: &mut Vec<Finding>) {
    for connection in found {
        let name = format!("connection {}", connection.name());
        // These may stand in every connection.
        let common = ["auth", "base_url", "scopes"];
        let set: Vec<&str> = connection.settings().filter(|s| !common.contains(s)).collect();
        let fitting: Vec<&str> = known
            .manifests()
            .filter(|m| !m.settings.is_empty())
            .filter(|m| set.iter().all(|s| m.settings.iter().any(|k| k.name == *s)))
            .map(|m| m.name.as_str())
            .collect();
        findings.push(if fitting.is_empty() {
            let detail = "fits no connector of this build: a setting is unknown to all of them (levqor connectors lists them)";
            Finding::new(&name, State::Degraded, detail)
        } else {
            Finding::new(&name, State::On, format!("fits {}", fitting.join(", ")))
        });
    }
}

/// Variables that look like ours and that nobody reads, and those that this build cannot follow.
pub(super) fn environment(findings: &mut Vec<Finding>) {
    let ours: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|n| n.starts_with("LEVQOR_") && !n.starts_with("LEVQOR_TEST_"))
        .collect();
    for name in ours.iter().filter(|n| !VARIABLES.contains(&n.as_str())) {
        let detail = format!("read by nobody{}", did_you_mean(name, VARIABLES.iter().copied()));
        findings.push(Finding::new(&format!("variable {name}"), State::Degraded, detail));
    }
    for (name, built, feature) in [
        ("LEVQOR_REDIS_URL", cfg!(feature = "redis"), "redis"),
        ("LEVQOR_SIGNING_KEY", cfg!(feature = "integrity"), "integrity"),
        ("LEVQOR_TIMESTAMP_URL", cfg!(feature = "integrity"), "integrity"),
        ("LEVQOR_SERVE_TOKEN", cfg!(feature = "serve"), "serve"),
    ] {
        if !built && ours.iter().any(|n| n == name) {
            let detail = format!("set, and this build has no feature `{feature}`");
            findings.push(Finding::new(&format!("variable {name}"), State::Broken, detail));
        }
    }
    if ours.iter().all(|n| VARIABLES.contains(&n.as_str())) {
        findings.push(Finding::new(
            "variables",
            State::On,
            format!("{} set, all of them read", ours.len()),
        ));
    }
}
