//! The golden vectors of credits, on every store, with and without a sweeper.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::StreamExt;
use levqor_core::backend::Backend;
use levqor_core::clock::ManualClock;
use levqor_core::credits::{Category, Expiry, OnExpired, Overage, Rollover, split};
use levqor_core::engine::{CaptureOptions, Engine, GrantOptions, Linked, RefundOptions};
use levqor_core::error::{Error, Result};
use levqor_core::store::{AsOf, Store};
use levqor_core::testkit::stores::{self, Stores};
use levqor_core::types::{MicroCredits, Millis};
use serde_json::{Value, json};

/// How often something looks for what has run out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sweeps {
    Never,
    Always,
    Some,
}

/// One scenario under way: answers' ids by the name that a step gave them.
struct Play {
    engine: Engine,
    clock: Arc<ManualClock>,
    names: HashMap<String, Vec<String>>,
}

impl Play {
    fn new(store: &Arc<dyn Store>, tenant: &str) -> Self {
        let clock = Arc::new(ManualClock::at(Millis::ZERO));
        let engine = Engine::builder(Backend::of(store.clone()))
            .clock(clock.clone())
            .build()
            .unwrap();
        Play {
            engine: engine.tenant(tenant).unwrap(),
            clock,
            names: HashMap::new(),
        }
    }

    /// The arguments with names replaced by the ids that they stand for.
    fn resolve(&self, args: &Value) -> Value {
        match args {
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.resolve_at(k, v))).collect(),
            other => other.clone(),
        }
    }

    fn resolve_at(&self, name: &str, value: &Value) -> Value {
        let id = value.as_str().filter(|_| ["hold", "txn", "grant"].contains(&name));
        match id.and_then(|id| self.names.get(id)) {
            Some(ids) => json!(ids[0]),
            None => value.clone(),
        }
    }

    /// Takes a step, and says what came otherwise than expected.
    async fn step(&mut self, step: &Value) -> std::result::Result<(), String> {
        if let Some(at) = step["at"].as_str() {
            self.clock.set(Millis::parse_rfc3339(at).unwrap());
        }
        if step["op"] == "parallel" {
            return self.parallel(step).await;
        }
        let args = self.resolve(&step["args"]);
        let outcome = call(&self.engine, step["op"].as_str().unwrap(), &args, step["key"].as_str()).await;
        match (outcome, step["error"].as_str()) {
            (Err(e), code) if code == Some(e.code()) => Ok(()),
            (Err(e), _) => Err(format!("refused: {e:?}")),
            (Ok(answer), Some(_)) => Err(format!("not refused: {answer}")),
            (Ok(answer), None) => {
                if let Some(name) = step["as"].as_str() {
                    self.names
                        .insert(name.to_owned(), vec![answer["id"].as_str().unwrap().to_owned()]);
                }
                self.compare(step, &answer)
            }
        }
    }

    fn compare(&self, step: &Value, answer: &Value) -> std::result::Result<(), String> {
        let Some(expect) = step.get("expect") else { return Ok(()) };
        let seen = match expect {
            Value::Object(fields) if step["op"] == "grants" => fields
                .keys()
                .map(|name| (name.clone(), answer[&self.names[name][0]].clone()))
                .collect(),
            Value::Object(fields) => fields.keys().map(|name| (name.clone(), answer[name].clone())).collect(),
            _ => answer.clone(),
        };
        let expect = match expect {
            Value::Object(fields) => fields.iter().map(|(n, v)| (n.clone(), self.resolve_at("txn", v))).collect(),
            other => other.clone(),
        };
        if seen == expect {
            Ok(())
        } else {
            Err(format!("{seen} of {answer}"))
        }
    }

    async fn parallel(&mut self, step: &Value) -> std::result::Result<(), String> {
        let tasks = usize::try_from(step["tasks"].as_u64().unwrap()).unwrap();
        let call = &step["call"];
        let each: Vec<Value> = match step["for_each"].as_str() {
            Some(name) => self.names[name].iter().map(|id| json!(id)).collect(),
            None => vec![Value::Null; usize::try_from(step["times"].as_u64().unwrap()).unwrap()],
        };
        let runs = each.into_iter().map(|each| {
            let engine = self.engine.clone();
            let mut args = call["args"].clone();
            let fields = args.as_object_mut().unwrap().values_mut();
            fields.filter(|v| **v == "{each}").for_each(|v| *v = each.clone());
            let (op, key) = (
                call["op"].as_str().unwrap().to_owned(),
                call["key"].as_str().map(str::to_owned),
            );
            async move {
                let task = tokio::spawn(async move { self::call(&engine, &op, &args, key.as_deref()).await });
                task.await.unwrap()
            }
        });
        let outcomes: Vec<_> = futures_util::stream::iter(runs).buffer_unordered(tasks).collect().await;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut ids = Vec::new();
        for outcome in outcomes {
            let name = outcome.as_ref().map_or_else(|e| e.code().to_owned(), |_| "ok".to_owned());
            *counts.entry(name).or_default() += 1;
            ids.extend(outcome.ok().map(|answer| answer["id"].as_str().unwrap().to_owned()));
        }
        if step["expect"].get("answers").is_some() {
            let different: BTreeSet<_> = ids.iter().collect();
            counts.insert("answers".to_owned(), different.len() as u64);
        }
        if let Some(name) = step["as"].as_str() {
            self.names.insert(name.to_owned(), ids);
        }
        let seen = json!(counts);
        if seen == step["expect"] {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    }
}

/// An argument that is not there.
fn absent(args: &Value, name: &str) -> bool {
    args.get(name).is_none()
}

fn text<'a>(args: &'a Value, name: &str) -> &'a str {
    args[name].as_str().unwrap_or_else(|| panic!("`{name}` is missing in {args}"))
}

fn amount(args: &Value, name: &str) -> Result<MicroCredits> {
    text(args, name).parse()
}

fn amount_if_any(args: &Value, name: &str) -> Result<Option<MicroCredits>> {
    if absent(args, name) {
        return Ok(None);
    }
    amount(args, name).map(Some)
}

fn instant(args: &Value, name: &str) -> Option<Millis> {
    args[name].as_str().map(|text| Millis::parse_rfc3339(text).unwrap())
}

/// An instant, or milliseconds from the beginning.
fn expiry(args: &Value, name: &str) -> Option<Expiry> {
    let span = args[name].as_i64().map(|ms| Expiry::In(Millis(ms)));
    span.or_else(|| instant(args, name).map(Expiry::At))
}

fn grant_options(args: &Value) -> GrantOptions {
    let default = GrantOptions::default();
    GrantOptions {
        priority: args["priority"].as_i64().unwrap_or(default.priority),
        category: args["category"]
            .as_str()
            .map_or(default.category, |name| Category::from_name(name).unwrap()),
        effective_at: instant(args, "effective_at"),
        expires: expiry(args, "expires"),
        booked_at: instant(args, "booked_at"),
        paid: serde_json::from_value(args["paid"].clone()).unwrap(),
        source: args["source"].as_str().map(str::to_owned),
    }
}

fn capture_options(args: &Value) -> Result<CaptureOptions> {
    Ok(CaptureOptions {
        amount: amount_if_any(args, "amount")?,
        last: args["last"].as_bool().unwrap_or(true),
        overage: match args["overage"].as_str() {
            Some("allow") => Overage::Allow,
            _ => Overage::Reject,
        },
    })
}

fn refund_options(args: &Value) -> Result<RefundOptions> {
    Ok(RefundOptions {
        amount: amount_if_any(args, "amount")?,
        on_expired: args["regrant_days"]
            .as_u64()
            .map_or(OnExpired::Expire, |days| OnExpired::Regrant(u32::try_from(days).unwrap())),
    })
}

/// Adds a verb to operations that happen together.
fn link<'a>(linked: Linked<'a>, op: &str, args: &Value) -> Result<Linked<'a>> {
    Ok(match op {
        "spend" => linked.spend(text(args, "account"), amount(args, "amount")?),
        "hold" => linked.hold(text(args, "account"), amount(args, "amount")?, expiry(args, "expires")),
        "grant" => linked.grant(text(args, "account"), amount(args, "amount")?, grant_options(args)),
        other => panic!("`{other}` is not linked in the vectors"),
    })
}

/// Calls the verb of a name, and gives back its answer as data.
async fn call(engine: &Engine, op: &str, args: &Value, key: Option<&str>) -> Result<Value> {
    let credits = engine.credits();
    let account = || text(args, "account");
    let data = |answer| serde_json::to_value(answer).map_err(|e| Error::internal(e.to_string()));
    let answer = match op {
        "grant" => {
            credits
                .grant(account(), amount(args, "amount")?, grant_options(args), key)
                .await
        }
        "spend" => credits.spend(account(), amount(args, "amount")?, key).await,
        "hold" => {
            credits
                .hold(account(), amount(args, "amount")?, expiry(args, "expires"), key)
                .await
        }
        "capture" => {
            credits
                .capture(&text(args, "hold").parse()?, capture_options(args)?, key)
                .await
        }
        "release" => credits.release(&text(args, "hold").parse()?, key).await,
        "extend" => {
            credits
                .extend(&text(args, "hold").parse()?, expiry(args, "until").unwrap(), key)
                .await
        }
        "refund" => credits.refund(&text(args, "txn").parse()?, refund_options(args)?, key).await,
        "clawback" => {
            let refunded = serde_json::from_value(args["refunded"].clone()).unwrap();
            credits.clawback(&text(args, "grant").parse()?, refunded, key).await
        }
        "transfer" => {
            credits
                .transfer(text(args, "from"), text(args, "to"), amount(args, "amount")?, key)
                .await
        }
        "overdraft" => credits.overdraft(account(), amount(args, "limit")?, key).await,
        "freeze" => credits.freeze(account(), args["frozen"].as_bool().unwrap(), key).await,
        _ => return look(engine, op, args, key).await,
    };
    data(answer?)
}

/// The verbs that answer with something else than what became of an account.
async fn look(engine: &Engine, op: &str, args: &Value, key: Option<&str>) -> Result<Value> {
    let credits = engine.credits();
    let account = || text(args, "account");
    Ok(match op {
        "linked" => {
            let mut linked = credits.linked();
            for one in args["ops"].as_array().unwrap() {
                linked = link(linked, text(one, "op"), &one["args"])?;
            }
            json!(linked.commit(key).await?)
        }
        "balance" => json!(credits.balance(account()).await?),
        "balance_at" => {
            let at = instant(args, "booked").map_or_else(|| AsOf::Recorded(instant(args, "recorded").unwrap()), AsOf::Booked);
            json!(credits.balance_at(account(), at).await?)
        }
        "grants" => {
            let grants = credits.grants(account(), args["used_up"].as_bool().unwrap()).await?;
            let remaining = grants.iter().map(|g| (g.id.to_string(), json!(g.remaining)));
            Value::Object(remaining.collect())
        }
        "statement" => {
            let span = (
                instant(args, "from").unwrap_or(Millis::ZERO),
                instant(args, "to").unwrap_or(Millis::MAX),
            );
            // In pages of two, so that each seam is one.
            let (mut lines, mut after) = (Vec::new(), 0);
            loop {
                let page = credits.statement(account(), span, after, 2).await?;
                lines.extend(page.iter().map(|l| json!([l.kind, l.amount, l.after])));
                match page.last() {
                    Some(last) if page.len() == 2 => after = last.version,
                    _ => break json!(lines),
                }
            }
        }
        "totals" => json!(credits.totals().await?),
        "audit" => {
            let report = credits.audit().await?;
            json!({"sum": report.sum, "sound": report.violations.is_empty(), "violations": report.violations})
        }
        "rollover" => {
            let rule = Rollover {
                min: amount(args, "min")?,
                max: amount(args, "max")?,
            };
            json!(rule.next(amount(args, "ending")?, amount(args, "overage")?, amount(args, "granted")?)?)
        }
        "split" => {
            let weights: Vec<u32> = serde_json::from_value(args["weights"].clone()).unwrap();
            let parts = split(text(args, "whole").parse().unwrap(), &weights)?;
            json!(parts.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        other => panic!("there is no verb `{other}`"),
    })
}

/// Plays every scenario, each in a tenant of its own.
async fn agrees_with_the_vectors(stores: &Stores) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/credits.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let scenarios = vectors["scenarios"].as_array().unwrap();
    assert!(scenarios.len() > 40);
    for (n, scenario) in scenarios.iter().enumerate() {
        for sweeps in [Sweeps::Never, Sweeps::Always, Sweeps::Some] {
            let tenant = format!("s{n}-{sweeps:?}");
            let mut play = Play::new(&stores.first, &tenant);
            for (i, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
                if let Err(e) = play.step(step).await {
                    panic!("{} (swept: {sweeps:?}), step {i}, {step}: {e}", scenario["name"]);
                }
                if sweeps == Sweeps::Always || (sweeps == Sweeps::Some && (i + n) % 3 == 0) {
                    play.engine.credits().sweep().await.unwrap();
                }
            }
        }
    }
}

/// What is another tenant's is not there, whatever is asked about it.
#[tokio::test]
async fn ids_of_another_tenant_are_unknown() {
    let stores = stores::memory().await;
    let (theirs, ours) = (Play::new(&stores.first, "theirs"), Play::new(&stores.first, "ours"));
    let make = async |op: &str, more: Value| {
        let mut args = json!({"account": "acme", "amount": "10"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = call(&theirs.engine, op, &args, None).await.unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    let paid = json!({"minor": 10, "currency": "EUR"});
    let grant = make("grant", json!({"amount": "100", "paid": paid, "source": "in_1"})).await;
    let (hold, txn) = (make("hold", json!({})).await, make("spend", json!({})).await);
    let until = "2030-01-01T00:00:00Z";
    for (op, args, code) in [
        ("capture", json!({"hold": hold}), "ledger.hold_not_found"),
        ("release", json!({"hold": hold}), "ledger.hold_not_found"),
        ("extend", json!({"hold": hold, "until": until}), "ledger.hold_not_found"),
        ("refund", json!({"txn": txn}), "ledger.transaction_not_found"),
        (
            "clawback",
            json!({"grant": grant, "refunded": paid}),
            "ledger.grant_not_found",
        ),
        (
            "transfer",
            json!({"from": "acme", "to": "bob", "amount": "1"}),
            "ledger.insufficient_credits",
        ),
    ] {
        let refused = call(&ours.engine, op, &args, None).await.unwrap_err();
        assert_eq!(refused.code(), code, "{op}");
    }
    let known = ours.engine.credits().find_hold(&hold.parse().unwrap()).await;
    assert_eq!(known.unwrap_err().code(), "ledger.hold_not_found");
    assert_eq!(ours.engine.credits().grants("acme", true).await.unwrap(), []);
    assert_eq!(
        ours.engine.credits().totals().await.unwrap(),
        levqor_core::engine::Totals::default()
    );
    let same = json!({"account": "acme", "amount": "1", "source": "in_1"});
    call(&ours.engine, "grant", &same, None).await.unwrap();
    let theirs = theirs.engine.credits().balance("acme").await.unwrap();
    assert_eq!(
        (theirs.posted.to_string(), theirs.held.to_string()),
        ("90".into(), "10".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    agrees_with_the_vectors(&stores::memory().await).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    agrees_with_the_vectors(&stores::sqlite().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    agrees_with_the_vectors(&stores::postgres().await).await;
}
