//! Limits in a store: what is remembered of a key as a row, and the rule that decides asks over rows.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::policy::{Algorithmic, Asked, Judgement, Op, apply as apply_rule, instant, judge, verdict};
use super::port::{Ask, Decision, check_asks};
use super::{Packed, each_rule};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Step, Stop, Table, row};
use crate::types::{Millis, Tenant};

row! {
    /// What is remembered of one key under one quota, or that it is blocked.
    pub struct LimitRow in "levqor_limit" {
        /// Whose it is.
        tenant: Tenant, fixed;
        /// `u` and a hash of name, quota and key; of a block, `b` and a hash of name and key.
        key: Arc<str>, fixed;
        /// From then on the row says nothing and may be removed. Ten minutes late or more, so that it seldom
        /// changes (it has an index) and a clock that lags does no harm.
        gone_at: Millis;
        /// The words of the state, base64; of a block, when it ends.
        state: Arc<str>;
    }
    key(tenant: Tenant, key: Arc<str>)
    group() when |_row| false;
    lock true
}

/// The table of this room, for both databases.
pub const DDL: &[&str] = &[
    "CREATE TABLE levqor_limit (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        gone_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (tenant, key)
    )",
    "CREATE INDEX levqor_limit_gone ON levqor_limit (gone_at)",
];

/// Asks to be decided in one step: what a [`Limits`](super::Limits) store is asked, as an operation of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitOp {
    asks: Vec<Ask>,
    keys: Vec<Keys>,
}

/// The keys of the rows that an ask is about.
#[derive(Clone, Debug, PartialEq)]
struct Keys {
    usage: Arc<str>,
    block: Arc<str>,
}

impl LimitOp {
    /// Asks, checked as every store does.
    pub fn new(asks: &[Ask]) -> Result<Self> {
        check_asks(asks)?;
        let keys = asks.iter().map(|ask| Keys {
            usage: hash("u", ask, &ask.quota.shape()),
            block: hash("b", ask, &[]),
        });
        Ok(LimitOp {
            keys: keys.collect(),
            asks: asks.to_vec(),
        })
    }

    /// How many asks.
    pub fn len(&self) -> usize {
        self.asks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }
}

/// SHA-256: nobody can make two keys meet, and long ones take no room.
fn hash(kind: &str, ask: &Ask, shape: &[u8]) -> Arc<str> {
    let mut bytes = Vec::with_capacity(1 + shape.len() + ask.name.len() + ask.key.len());
    bytes.push(u8::try_from(ask.name.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(ask.name.as_bytes());
    bytes.extend_from_slice(shape);
    bytes.extend_from_slice(&ask.key);
    let hashed = digest::digest(&digest::SHA256, &bytes);
    format!("{kind}{}", URL_SAFE_NO_PAD.encode(hashed.as_ref())).into()
}

/// Asks ahead for the rows that will be needed.
pub fn wants(rows: &mut Table<LimitRow>, tenant: &Tenant, op: &LimitOp) {
    for keys in &op.keys {
        rows.want((tenant.clone(), keys.usage.clone()));
        rows.want((tenant.clone(), keys.block.clone()));
    }
}

/// An ask and what the store knows of its key.
struct Pending<'a> {
    ask: &'a Ask,
    keys: &'a Keys,
    row: Option<Arc<LimitRow>>,
    asked: Asked,
}

/// Decides asks: all pass and all are done, or one is refused and nothing is changed.
pub fn apply(rows: &mut Table<LimitRow>, tenant: &Tenant, op: &LimitOp, now: Millis) -> Step<Decision> {
    let (at, now) = (now, instant(now));
    let mut pending = Vec::with_capacity(op.asks.len());
    let mut missing = false;
    for (ask, keys) in op.asks.iter().zip(&op.keys) {
        let usage = rows.get(&(tenant.clone(), keys.usage.clone()));
        let block = rows.get(&(tenant.clone(), keys.block.clone()));
        let (Ok(row), Ok(block)) = (usage, block) else {
            missing = true;
            continue;
        };
        let until = block.map_or(Ok(0), |b| b.state.parse::<i64>().map_err(|_| corrupt()))?;
        let asked = Asked {
            op: ask.op,
            cost: i64::from(ask.cost),
            blocked_until: if until > now { until } else { 0 },
            now,
        };
        pending.push(Pending { ask, keys, row, asked });
    }
    if missing {
        return Err(Stop::Missing);
    }
    let judge = |p: &Pending<'_>| each_rule!(&p.ask.quota.rule()?, |a| judge_one(a, p));
    let judgements = pending.iter().map(judge).collect::<Result<Vec<Judgement>>>()?;
    let all = judgements.iter().all(|j| j.reason.is_none());
    let mut verdicts = Vec::with_capacity(pending.len());
    for (p, judgement) in pending.iter().zip(judgements) {
        let standing = each_rule!(&p.ask.quota.rule()?, |a| {
            let mut state = state_of(a, p)?;
            if all {
                apply_rule(a, &mut state, p.asked);
                save(rows, tenant, a, p, &state)?;
            }
            a.look(&state, now)
        });
        if all {
            set_block(rows, tenant, p)?;
        }
        verdicts.push(verdict(judgement, standing));
    }
    Ok(Decision::new(&op.asks, verdicts, at))
}

fn judge_one<A: Algorithmic>(a: &A, p: &Pending<'_>) -> Result<Judgement>
where
    A::State: Packed,
{
    Ok(judge(a, p.ask.quota.rule()?.capacity(), &state_of(a, p)?, p.asked))
}

fn state_of<A: Algorithmic>(_: &A, p: &Pending<'_>) -> Result<A::State>
where
    A::State: Packed,
{
    match &p.row {
        None => Ok(A::State::default()),
        Some(row) => decode(&row.state).ok_or_else(corrupt),
    }
}

/// Writes what changed; a key of which nothing is left to know goes.
fn save<A: Algorithmic>(rows: &mut Table<LimitRow>, tenant: &Tenant, _: &A, p: &Pending<'_>, state: &A::State) -> Step<()>
where
    A::State: Packed,
{
    let gives_back = matches!(p.asked.op, Op::Refund | Op::Release(_));
    let key = (tenant.clone(), p.keys.usage.clone());
    match p.asked.op {
        Op::Reset => rows.remove(&key),
        _ if p.asked.cost == 0 => Ok(()),
        _ if gives_back && A::idle_at(state) <= p.asked.now => rows.remove(&key),
        op if op.can_charge() || gives_back && p.row.is_some() => {
            let text = encode::<A>(state);
            put(rows, tenant, &p.keys.usage, A::idle_at(state), text)
        }
        _ => Ok(()),
    }
}

fn set_block(rows: &mut Table<LimitRow>, tenant: &Tenant, p: &Pending<'_>) -> Step<()> {
    match p.asked.op {
        Op::Block(until) if instant(until) > p.asked.now => {
            let until = instant(until);
            put(rows, tenant, &p.keys.block, until, until.to_string())
        }
        Op::Block(_) | Op::Reset => rows.remove(&(tenant.clone(), p.keys.block.clone())),
        _ => Ok(()),
    }
}

fn put(rows: &mut Table<LimitRow>, tenant: &Tenant, key: &Arc<str>, idle_at: i64, state: String) -> Step<()> {
    const STEP: i64 = 600_000;
    rows.put(LimitRow {
        tenant: tenant.clone(),
        key: key.clone(),
        gone_at: Millis((idle_at / STEP + 2) * STEP),
        state: state.into(),
    })
}

const SPENT: u64 = 1 << 63;

fn encode<A: Algorithmic>(state: &A::State) -> String
where
    A::State: Packed,
{
    let spent = if A::spent(state) { SPENT } else { 0 };
    let mut bytes = Vec::with_capacity(8 * (1 + state.words()));
    bytes.extend_from_slice(&(A::idle_at(state).cast_unsigned() | spent).to_le_bytes());
    state.pack(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    STANDARD_NO_PAD.encode(bytes)
}

fn decode<S: Packed>(text: &str) -> Option<S> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let (words, rest) = bytes.as_chunks::<8>();
    let (head, words) = words.split_first()?;
    if !rest.is_empty() {
        return None;
    }
    let head = u64::from_le_bytes(*head);
    let words = words.iter().map(|w| u64::from_le_bytes(*w));
    Some(S::unpack((head & !SPENT).cast_signed(), head & SPENT != 0, words))
}

fn corrupt() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "store.corrupt_row",
        "what is stored of a limit cannot be read",
    )
    .at("levqor_limit.state")
    .hint("find out who else writes into Levqor's tables; rows of levqor_limit may be deleted, their keys begin anew")
}
