//! Limits. The only verbs that are first tried without letting other Python threads go on, since in memory
//! they take less than that would.

use std::collections::BTreeMap;
use std::net::IpAddr;

use levqor::engine::Engine;
use levqor::error::{Error, Result};
use levqor::limits::{Ask, Op, Policy, Quota, Subject};
use levqor::types::Millis;
use serde::Deserialize;
use serde_json::json;

use super::{Bytes, Span, verbs};
use crate::permit::Permit;

/// What policies count by, with its value.
type Who = BTreeMap<String, Bytes>;
/// A quota's text by the policy's name.
type Quotas = BTreeMap<String, String>;
type Names = Vec<String>;

fn subject(who: Who, tier: Option<String>, cost: u32, quotas: Option<Quotas>) -> Result<Subject> {
    let mut subject = Subject::new().cost(cost);
    for (what, Bytes(value)) in who {
        subject = if what == "ip" {
            let address = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<IpAddr>().ok());
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

/// One limit asked for one key, in words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    key: Bytes,
    quota: String,
    #[serde(default = "one")]
    cost: u32,
    #[serde(default)]
    op: Option<String>,
    #[serde(default)]
    span: Option<Span>,
    /// When the place was taken, in seconds since 1970: `at` of the decision.
    #[serde(default)]
    taken: Option<f64>,
}

fn one() -> u32 {
    1
}

impl Asked {
    fn taken(&self) -> Result<Millis> {
        let ms = self.taken.map(|s| (s * 1_000.0).round());
        // 2^53: every whole number up to there is exact.
        let ms = ms.filter(|ms| (0.0..=9_007_199_254_740_992.0).contains(ms));
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the range")]
        let taken = ms.map(|ms| Millis(ms as i64));
        taken.ok_or_else(|| Error::invalid("argument.invalid", "when the place was taken is needed").at("taken"))
    }

    fn ask(self, engine: &Engine) -> Result<Ask> {
        let span = || {
            self.span
                .map(|s| s.0)
                .ok_or_else(|| Error::invalid("argument.invalid", "a span is needed").at("span"))
        };
        let op = match self.op.as_deref().unwrap_or("take") {
            "take" => Op::Take,
            "peek" => Op::Peek,
            "refund" | "reward" => Op::Refund,
            "charge" | "penalty" => Op::Penalty,
            "reset" => Op::Reset,
            "block" => Op::Block(engine.now() + span()?),
            "unblock" => Op::Block(Millis::ZERO),
            "queue" => Op::Queue(span()?),
            "release" => Op::Release(self.taken()?),
            "renew" => Op::Renew(self.taken()?),
            other => return Err(Error::invalid("argument.invalid", format!("`{other}` cannot be asked of a limit")).at("op")),
        };
        Ok(Ask::new(self.name, self.key.0, self.quota.parse::<Quota>()?)
            .cost(self.cost)
            .op(op))
    }
}

/// Calls a verb of the named policies.
macro_rules! asked {
    ($e:ident, $only:ident, |$limits:ident| $call:expr) => {{
        let names: Option<Vec<&str>> = $only.as_ref().map(|names| names.iter().map(String::as_str).collect());
        let $limits = match &names {
            Some(names) => $e.limits().only(names)?,
            None => $e.limits(),
        };
        $call?
    }};
}

verbs! { TABLE: e;
    limits.take(who: Who; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, cost, quotas)?; asked!(e, only, |l| l.take(&who).await) };
    limits.peek(who: Who; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, cost, quotas)?; asked!(e, only, |l| l.peek(&who).await) };
    limits.penalty(who: Who; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, cost, quotas)?; asked!(e, only, |l| l.charge(&who).await) };
    limits.reward(who: Who; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, cost, quotas)?; asked!(e, only, |l| l.refund(&who).await) };
    limits.reset(who: Who; tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, 1, quotas)?; asked!(e, only, |l| l.reset(&who).await) };
    limits.block(who: Who, span: Span; tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, 1, quotas)?; asked!(e, only, |l| l.block(&who, span.0).await) };
    limits.unblock(who: Who; tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, 1, quotas)?; asked!(e, only, |l| l.unblock(&who).await) };
    limits.wait(who: Who, at_most: Span; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> decision
        => { let who = subject(who, tier, cost, quotas)?; asked!(e, only, |l| l.wait(&who, at_most.0).await) };
    limits.acquire(who: Who; cost: u32 = 1u32, tier: Option<String>, only: Option<Names>, quotas: Option<Quotas>) -> object => {
        let who = subject(who, tier, cost, quotas)?;
        let permit = asked!(e, only, |l| l.acquire(&who).await);
        move |py| Permit::new(py, permit)
    };
    limits.ask(asks: Vec<Asked>) -> decision => {
        let asks: Vec<Ask> = asks.into_iter().map(|a| a.ask(&e)).collect::<Result<_>>()?;
        e.limit(&asks).await?
    };
    limits.policies() => e.limits().policies().iter()
        .map(|p: &Policy| json!({"name": p.name(), "quota": p.quota(None).to_string(), "dry_run": p.is_dry_run()}))
        .collect::<Vec<_>>();
}
