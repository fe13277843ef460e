//! Random operations on credits against a model that counts them one by one, and the same operations on every store.
//!
//! `LEVQOR_MODEL_OPS` says how many operations (10,000 if it is not set).
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap)]

mod acts;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use acts::{ACCOUNTS, Ids, Move, Send, moves, op};
use levqor_core::backend::memory::MemoryStore;
use levqor_core::credits::{GrantState, LedgerOp, LedgerRows, audit};
use levqor_core::error::Result;
use levqor_core::store::{AsOf, Batch, EntryFilter, Key, LedgerScope, Receipt, Store};
use levqor_core::testkit::stores::{self, Stores};
use levqor_core::types::{MicroCredits, Millis, Tenant};
use model::{Model, Place};
use proptest::test_runner::{Config, TestRunner};

/// When everything begins.
const T0: i64 = 1_000;

/// How many moves a case has on average.
const MOVES: u32 = 100;

fn operations() -> u32 {
    std::env::var("LEVQOR_MODEL_OPS").map_or(10_000, |n| n.parse().unwrap())
}

/// Runs cases of so many operations in sum; a failure is made as small as it can be.
fn cases(operations: u32, test: impl Fn(Vec<Move>)) {
    let config = Config {
        cases: (operations / MOVES).max(1),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&moves(MOVES as usize / 2..MOVES as usize * 3 / 2), |moves| {
        test(moves);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

/// A batch with what the model says of it.
struct Sent {
    batch: Batch,
    expect: Result<(), String>,
    misuse: bool,
}

/// Turns moves into batches, one after another, and lets the model do them.
#[derive(Default)]
struct Script {
    model: Model,
    ids: Ids,
    now: i64,
    number: usize,
    /// Those that a key keeps.
    sent: Vec<(Batch, Result<(), String>)>,
}

impl Script {
    fn new() -> Self {
        let mut script = Script {
            now: T0,
            ..Script::default()
        };
        script.model.wait(T0);
        script
    }

    fn next(&mut self, step: &Move) -> Option<Sent> {
        self.now += step.wait;
        self.model.wait(self.now);
        let (again, misuse) = match &step.send {
            Send::Ops(acts) => {
                let mut ahead = self.model.clone();
                let mut ops = Vec::new();
                for act in acts {
                    let op = op(act, &ahead, self.now, &mut self.ids);
                    let _ = ahead.batch(std::slice::from_ref(&op));
                    ops.push(op);
                }
                let expect = self.model.batch(&ops).map_err(str::to_owned);
                let mut batch = Batch::new(Tenant::default(), Millis(self.now));
                batch.ops = ops.into_iter().map(Into::into).collect();
                self.number += 1;
                let text: Arc<str> = format!("k{}", self.number).into();
                let fingerprint = text.clone();
                batch.key = Some(Key { text, fingerprint });
                // Wrong input is not kept under its key.
                let wrong = ["ledger.same_account", "ledger.invalid_expiry"];
                if expect.as_ref().err().is_none_or(|code| !wrong.contains(&code.as_str())) {
                    self.sent.push((batch.clone(), expect.clone()));
                }
                return Some(Sent {
                    batch,
                    expect,
                    misuse: false,
                });
            }
            Send::Again(n) => (*n, false),
            Send::Misuse(n) => (*n, true),
        };
        let (mut batch, expect) = self.sent.get(again % self.sent.len().max(1))?.clone();
        batch.now = Millis(self.now);
        if let (true, Some(key)) = (misuse, &mut batch.key) {
            key.fingerprint = "other".into();
        }
        Some(Sent { batch, expect, misuse })
    }
}

fn fold(owner: &str, now: i64) -> Batch {
    Batch::new(Tenant::default(), Millis(now)).op(LedgerOp::Fold { owner: owner.into() })
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("memory answers at once")
}

fn rows(store: &MemoryStore) -> LedgerRows {
    let reads = store.reads().ledger;
    wait(reads.rows(&Tenant::default(), &LedgerScope::Everything)).unwrap()
}

/// Every account, lot and hold is as the model says, and the audit finds nothing.
fn agree(model: &Model, rows: &LedgerRows) {
    let report = audit(rows);
    assert_eq!((report.sum, &report.violations[..]), (0, &[][..]), "the ledger is not sound");
    for account in rows.accounts.iter().filter(|a| ACCOUNTS.contains(&&*a.owner)) {
        let (posted, held) = (model.posted(&account.owner), model.held(&account.owner));
        assert_eq!((account.posted.0, account.held.0), (posted, held), "{}", account.owner);
        let known = model.accounts.get(&*account.owner).cloned().unwrap_or_default();
        assert_eq!(
            (account.debt.0, account.overdraft.0, account.frozen),
            (known.debt, known.overdraft, known.frozen)
        );
        assert!(
            posted - held >= -known.overdraft || known.excused,
            "{} is overspent",
            account.owner
        );
    }
    let mut lots = BTreeMap::new();
    for lot in rows.grants.iter() {
        lots.insert((lot.owner.to_string(), lot.seq), lot);
    }
    assert_eq!(lots.len(), model.lots.len());
    for (i, known) in model.lots.iter().enumerate() {
        let lot = lots[&(known.owner.clone(), known.seq)];
        let count = |place| model.count(i, place);
        let remaining = count(Place::Pending) + count(Place::Free) + count(Place::Held);
        let expected = (remaining, count(Place::Held), count(Place::Broken), known.clawed);
        assert_eq!(
            (lot.remaining.0, lot.held.0, lot.broken.0, lot.clawed.0),
            expected,
            "{known:?}"
        );
        assert_eq!(
            lot.state == GrantState::Expired && !lot.closed,
            known.expired && remaining > 0,
            "{known:?}"
        );
        assert_eq!(lot.amount.0, known.amount);
    }
    for known in &model.holds {
        let hold = rows.holds.peek(&(known.id.parse().unwrap(),)).unwrap();
        assert_eq!(
            (hold.state.as_str(), hold.captured.0),
            (known.state, known.captured),
            "{known:?}"
        );
    }
    let places = |place| model.tokens.iter().filter(|t| t.place == place).count() as i64;
    let system = |name: &str| {
        let accounts = rows.accounts.iter().filter(|a| a.owner.starts_with(name));
        accounts.map(|a| a.posted.0).sum::<i64>()
    };
    assert_eq!(system("levqor:revenue"), places(Place::Spent));
    assert_eq!(system("levqor:breakage"), places(Place::Broken));
}

/// The lines of an account's statement: kind, amount, balance, when it counts.
fn statement(rows: &LedgerRows, owner: &str) -> Vec<(String, i64, i64, i64)> {
    let mut entries: Vec<_> = rows.entries.iter().filter(|e| &*e.owner == owner).collect();
    entries.sort_by_key(|e| e.version);
    let kind = |e: &levqor_core::credits::Entry| rows.txns.peek(&(e.txn.clone(),)).unwrap().kind.to_string();
    entries
        .iter()
        .map(|e| (kind(e), e.amount.0, e.after.0, e.booked_at.0))
        .collect()
}

/// Balances of every instant, by what counts; pages of statements over every window.
fn agree_on_the_past(model: &Model, store: &MemoryStore, rows: &LedgerRows, now: i64) {
    let reads = store.reads().ledger;
    for owner in ACCOUNTS {
        for at in T0 - 40..=now {
            let sum = wait(reads.as_of(&Tenant::default(), owner, AsOf::Booked(Millis(at)))).unwrap();
            assert_eq!(sum.0, model.as_of(owner, at), "{owner} at {at}");
        }
        let recorded = wait(reads.as_of(&Tenant::default(), owner, AsOf::Recorded(Millis(now)))).unwrap();
        assert_eq!(recorded.0, model.posted(owner));
        let lines = statement(rows, owner);
        let events = model.events.iter().filter(|e| e.owner == owner);
        let events: Vec<_> = events.map(|e| (e.kind.to_owned(), e.amount, e.booked_at)).collect();
        let told: Vec<_> = lines.iter().map(|l| (l.0.clone(), l.1, l.3)).collect();
        assert_eq!(told, events, "{owner}");
        for from in (T0 - 40..=now).step_by(7) {
            let to = from + 1 + (from * 31) % 40;
            let booked = (Millis(from), Millis(to));
            let (after, limit) = (from % 5, 1 + usize::try_from(from % 9).unwrap());
            let filter = EntryFilter { booked, after, limit };
            let page = wait(reads.entries(&Tenant::default(), owner, &filter)).unwrap();
            let inside = (1..).zip(&lines).filter(|(v, l)| *v > after && (from..to).contains(&l.3));
            let expected: Vec<i64> = inside.map(|(v, _)| v).take(limit).collect();
            assert_eq!(page.iter().map(|e| e.version).collect::<Vec<_>>(), expected);
        }
    }
}

fn compare(sent: &Sent, outcome: &Result<Receipt>) {
    let expect = if sent.misuse {
        Err("idempotency.mismatch")
    } else {
        sent.expect.as_ref().copied().map_err(String::as_str)
    };
    let seen = outcome.as_ref().map(|_| ()).map_err(levqor_core::error::Error::code);
    assert_eq!(seen, expect, "{:?}", sent.batch.ops);
}

/// The ledger against the model after every step; a ledger that is swept all the time against one that is not.
#[test]
fn the_ledger_does_what_the_model_does() {
    cases(operations(), |moves| {
        let (store, swept) = (MemoryStore::default(), MemoryStore::default());
        let mut script = Script::new();
        let mut answers: BTreeMap<Arc<str>, Result<Receipt>> = BTreeMap::new();
        let mut heads: BTreeMap<(Arc<str>, i64), Arc<str>> = BTreeMap::new();
        for step in &moves {
            let Some(sent) = script.next(step) else { continue };
            let outcome = store.commit_now(&sent.batch);
            compare(&sent, &outcome);
            assert_eq!(swept.commit_now(&sent.batch), outcome, "a sweeper changes nothing");
            if let (Some(key), false) = (&sent.batch.key, sent.misuse) {
                let first = answers.entry(key.text.clone()).or_insert_with(|| outcome.clone());
                match (&*first, &outcome) {
                    (Ok(first), Ok(again)) => assert_eq!(first.answers, again.answers),
                    (first, again) => assert_eq!(first, again),
                }
            }
            if step.sweep {
                ACCOUNTS
                    .iter()
                    .for_each(|a| drop(swept.commit_now(&fold(a, script.now)).unwrap()));
            }
            if step.look {
                ACCOUNTS
                    .iter()
                    .for_each(|a| drop(store.commit_now(&fold(a, script.now)).unwrap()));
                let rows = rows(&store);
                agree(&script.model, &rows);
                for entry in rows.entries.iter() {
                    let hash = heads
                        .entry((entry.owner.clone(), entry.version))
                        .or_insert(entry.hash.clone());
                    assert_eq!(*hash, entry.hash, "what was posted was changed");
                }
                assert!(rows.entries.iter().count() >= heads.len());
            }
        }
        for store in [&store, &swept] {
            ACCOUNTS
                .iter()
                .for_each(|a| drop(store.commit_now(&fold(a, script.now)).unwrap()));
        }
        let (rows, swept) = (rows(&store), rows(&swept));
        agree(&script.model, &rows);
        agree(&script.model, &swept);
        ACCOUNTS
            .iter()
            .for_each(|a| assert_eq!(statement(&rows, a), statement(&swept, a)));
        agree_on_the_past(&script.model, &store, &rows, script.now);
    });
}

/// All tables as texts, sorted; which part of the system accounts a store books against is left out.
fn tables(rows: &LedgerRows) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let system = |owner: &Arc<str>| owner.split_once('#').map(|(name, _)| Arc::<str>::from(name));
    for account in rows.accounts.iter() {
        let mut account = (**account).clone();
        if let Some(name) = system(&account.owner) {
            (account.owner, account.head) = (name, "".into());
        }
        all.push(format!("{account:?}"));
    }
    for entry in rows.entries.iter() {
        let mut entry = (**entry).clone();
        if let Some(name) = system(&entry.owner) {
            (entry.owner, entry.hash) = (name, "".into());
        }
        all.push(format!("{entry:?}"));
    }
    all.extend(rows.grants.iter().map(|r| format!("{r:?}")));
    all.extend(rows.sources.iter().map(|r| format!("{r:?}")));
    all.extend(rows.holds.iter().map(|r| format!("{r:?}")));
    all.extend(rows.slices.iter().map(|r| format!("{r:?}")));
    all.extend(rows.txns.iter().map(|r| format!("{r:?}")));
    all.sort_unstable();
    all
}

/// The same batches, many at a time, leave the same answers and the same tables.
fn leaves_what_memory_leaves(runtime: &tokio::runtime::Runtime, stores: &Stores, operations: u32) {
    let number = std::sync::atomic::AtomicU32::new(0);
    cases(operations, |moves| {
        let memory = MemoryStore::default();
        // Nothing else differs between the cases than whose they are.
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tenant = Tenant::new(format!("case-{n}")).unwrap();
        let mut script = Script::new();
        let (mut group, mut expected) = (Vec::new(), Vec::new());
        for (i, step) in moves.iter().enumerate() {
            if let Some(sent) = script.next(step) {
                let batch = Batch {
                    tenant: tenant.clone(),
                    ops: owned(&sent.batch, n),
                    ..sent.batch
                };
                expected.push(memory.commit_now(&batch));
                group.push(batch);
            }
            if step.flush || i + 1 == moves.len() {
                let sent = group.drain(..).map(|b| stores.first.commit(b));
                let outcomes = runtime.block_on(futures_util::future::join_all(sent));
                for (outcome, expected) in outcomes.iter().zip(expected.drain(..)) {
                    let plain = |r: &Result<Receipt>| r.as_ref().map(|r| (r.answers.clone(), r.replayed)).map_err(Clone::clone);
                    assert_eq!(plain(outcome), plain(&expected));
                }
            }
        }
        let everything = LedgerScope::Everything;
        let found = runtime
            .block_on(stores.second.reads().ledger.rows(&tenant, &everything))
            .unwrap();
        let expected = wait(memory.reads().ledger.rows(&tenant, &everything)).unwrap();
        assert_eq!(tables(&found), tables(&expected));
        for owner in ACCOUNTS {
            for at in (T0 - 40..=script.now).step_by(5) {
                for at in [AsOf::Booked(Millis(at)), AsOf::Recorded(Millis(at))] {
                    let sum = wait(memory.reads().ledger.as_of(&tenant, owner, at)).unwrap();
                    let found = runtime.block_on(stores.first.reads().ledger.as_of(&tenant, owner, at));
                    assert_eq!(found, Ok::<MicroCredits, _>(sum), "{owner} {at:?}");
                }
                let booked = (Millis(at), Millis(at + 20));
                let filter = EntryFilter {
                    booked,
                    after: at % 4,
                    limit: 6,
                };
                let page = wait(memory.reads().ledger.entries(&tenant, owner, &filter)).unwrap();
                let found = runtime.block_on(stores.first.reads().ledger.entries(&tenant, owner, &filter));
                assert_eq!(found, Ok(page));
            }
        }
    });
}

/// The operations with ids that no other case has: a case's number takes the place of leading zeros.
fn owned(batch: &Batch, case: u32) -> Vec<levqor_core::store::Op> {
    let mut ops = Vec::new();
    for op in &batch.ops {
        let levqor_core::store::Op::Ledger(op) = op else { continue };
        let mut data = serde_json::to_value(op).unwrap();
        rename(&mut data, case);
        ops.push(serde_json::from_value::<LedgerOp>(data).unwrap().into());
    }
    ops
}

fn rename(value: &mut serde_json::Value, case: u32) {
    match value {
        serde_json::Value::String(text) => {
            if let Some((prefix, number)) = text.split_once("_0000000000") {
                *text = format!("{prefix}_{case:010}{number}");
            }
        }
        serde_json::Value::Object(map) => map.values_mut().for_each(|v| rename(v, case)),
        _ => {}
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_leaves_what_memory_leaves() {
    let runtime = runtime();
    let stores = runtime.block_on(stores::sqlite());
    leaves_what_memory_leaves(&runtime, &stores, operations() / 5);
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_leaves_what_memory_leaves() {
    let runtime = runtime();
    let stores = runtime.block_on(stores::postgres());
    leaves_what_memory_leaves(&runtime, &stores, operations() / 5);
}
