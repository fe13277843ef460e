//! Limits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use levqor::engine::Engine;
use levqor::error::{Error, Result};
use levqor::limits::{Ask, Op, Quota, Subject};
use levqor::types::Millis;
use serde::Deserialize;
use serde_json::json;

use super::{At, Span, verbs};
use crate::hot::told;

type Who = BTreeMap<String, String>;
type Names = Option<Vec<String>>;

fn subject(who: Who, tier: Option<String>, cost: u32, quotas: Option<Who>) -> Result<Subject> {
    let mut subject = Subject::new().cost(cost);
    for (what, value) in who {
        subject = if what == "ip" {
            let address: Option<IpAddr> = value.parse().ok();
            subject.ip(address.ok_or_else(|| Error::invalid("argument.invalid", "this is no IP address").at("who/ip"))?)
        } else {
            subject.with(what, value)
        };
    }
    if let Some(tier) = tier {
        subject = subject.tier(tier);
    }
    for (policy, quota) in quotas.into_iter().flatten() {
        subject = subject.quota(policy, quota.parse::<Quota>()?);
    }
    Ok(subject)
}

fn limits<'a>(e: &'a Engine, only: &'a Names) -> Result<levqor::engine::RateLimits<'a>> {
    match only {
        None => Ok(e.limits()),
        Some(names) => e.limits().only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

/// One limit asked for one key, in words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    key: String,
    quota: String,
    #[serde(default = "one")]
    cost: u32,
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    at: Option<At>,
    #[serde(default)]
    wait: Option<Span>,
}

fn one() -> u32 {
    1
}

impl Asked {
    fn ask(self) -> Result<Ask> {
        let at = || {
            self.at
                .map(|a| a.0)
                .ok_or_else(|| Error::invalid("argument.missing", "`at` is missing").at("at"))
        };
        let op = match self.op.as_deref() {
            None | Some("take") => Op::Take,
            Some("peek") => Op::Peek,
            Some("refund") => Op::Refund,
            Some("charge" | "penalty") => Op::Penalty,
            Some("reset") => Op::Reset,
            Some("block") => Op::Block(at()?),
            Some("queue") => Op::Queue(self.wait.map_or(Millis::ZERO, |w| w.0)),
            Some("release") => Op::Release(at()?),
            Some("renew") => Op::Renew(at()?),
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                return Err(Error::invalid("argument.invalid", format!("nothing is called `{shown}`")).at("op"));
            }
        };
        Ok(Ask::new(self.name, self.key, self.quota.parse()?).cost(self.cost).op(op))
    }
}

verbs! { e;
    limits.ask(asks: Vec<Asked>) => {
        let asks = asks.into_iter().map(Asked::ask).collect::<Result<Vec<_>>>()?;
        told(&e.limit(&asks).await?)
    };
    limits.take(who: Who, tier: Option<String>, cost: u32 = 1u32, quotas: Option<Who>, only: Names)
        => told(&limits(&e, &only)?.take(&subject(who, tier, cost, quotas)?).await?);
    limits.peek(who: Who, tier: Option<String>, cost: u32 = 1u32, quotas: Option<Who>, only: Names)
        => told(&limits(&e, &only)?.peek(&subject(who, tier, cost, quotas)?).await?);
    limits.charge(who: Who, tier: Option<String>, cost: u32 = 1u32, quotas: Option<Who>, only: Names)
        => told(&limits(&e, &only)?.charge(&subject(who, tier, cost, quotas)?).await?);
    limits.refund(who: Who, tier: Option<String>, cost: u32 = 1u32, quotas: Option<Who>, only: Names)
        => told(&limits(&e, &only)?.refund(&subject(who, tier, cost, quotas)?).await?);
    limits.reset(who: Who, only: Names) => told(&limits(&e, &only)?.reset(&subject(who, None, 1, None)?).await?);
    limits.block(who: Who, span: Span, only: Names) => told(&limits(&e, &only)?.block(&subject(who, None, 1, None)?, span.0).await?);
    limits.unblock(who: Who, only: Names) => told(&limits(&e, &only)?.unblock(&subject(who, None, 1, None)?).await?);
    limits.wait(who: Who, at_most: Span, tier: Option<String>, cost: u32 = 1u32, quotas: Option<Who>, only: Names)
        => told(&limits(&e, &only)?.wait(&subject(who, tier, cost, quotas)?, at_most.0).await?);
    limits.policies() => e.limits().policies().iter().map(|p| json!({"name": p.name(), "quota": p.quota(None), "dry_run": p.is_dry_run()})).collect::<Vec<_>>();
}
