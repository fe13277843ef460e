//! A store, the runs that are submitted to it, and what must be true of all of them at the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use levqor_core::backend;
use levqor_core::clock::{Clock, SystemClock};
use levqor_core::engine::{
    Engine, Enqueued, GrantOptions, HandlerOptions, JobRequest, RunRequest, RunView, Submitted, Worker, WorkerReport,
};
use levqor_core::error::Result;
use levqor_core::jobs::{Job, JobState, StepStatus};
use levqor_core::store::{JobFilter, Page};
use levqor_core::testkit::stores::{Folder, postgres_database};
use levqor_core::types::{JobId, MicroCredits, Millis};
use serde_json::{Value, json};

use crate::life::Life;
use crate::mark::{Gates, Mark};
use crate::walk::Walk;

/// Who pays; several, so that accounts are shared but not all by one.
const ACCOUNTS: [&str; 3] = ["ann", "bob", "cy"];
/// What each has at first.
const GRANT: i64 = 1_000_000;
/// The shortest lease there is.
pub const LEASE: Millis = Millis::secs(2);
/// So many crashes that nothing is called poison.
pub const NEVER_POISON: i64 = 1_000_000;

/// A clock that is so much ahead: for whom other processes' leases run out early.
struct Ahead(Millis);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        SystemClock::machine() + self.0
    }
}

/// An engine with the connector [`Mark`] over a store.
pub async fn engine(url: &str, mark: Arc<Mark>, max_crashes: i64, ahead: Millis) -> Result<Engine> {
    let backend = backend::open(url, SystemClock::machine()).await?;
    Engine::builder(backend)
        .connector(mark.clone())
        .handler("walk", HandlerOptions::default(), Walk(mark))
        .clock(Arc::new(Ahead(ahead)))
        .options(|o| o.max_crashes = max_crashes)
        .build()
}

/// Whether the run of this number has a step that must not be repeated blindly.
pub fn careful(number: usize) -> bool {
    number.is_multiple_of(3)
}

fn pipeline(careful: bool) -> Value {
    let once = if careful { "mark.once" } else { "mark.put" };
    json!({
        "version": 1, "name": if careful { "careful" } else { "plain" },
        "credits": {"hold": "10", "base": "1", "per_call": "0.5"},
        "steps": [
            {"id": "seed", "set": {"items": ["a", "b", "c"]}},
            {"id": "each", "for_each": {"in": {"$ref": "steps.seed.output.items"}, "as": "x", "parallel": 2},
             "action": "mark.put", "input": {"x": {"$ref": "x"}}},
            {"id": "flaky", "action": "mark.flaky", "input": {}, "retry": {"max_attempts": 3, "initial": "1ms", "max": "2ms"}},
            {"id": "once", "action": once, "input": {"by": {"$ref": "steps.flaky.output.by"}}},
            {"id": "last", "action": "mark.put", "input": {}}
        ]
    })
}

/// Steps of [`pipeline`] that have an effect.
pub const CALLS: [&str; 6] = ["each[0]", "each[1]", "each[2]", "flaky", "once", "last"];
/// The other ones.
const OTHERS: [&str; 2] = ["seed", "each"];
/// The base and half a credit for each call.
pub const PRICE: MicroCredits = MicroCredits(4_000_000);

/// Submits the run of this number under its key, so that it exists once, however often it is submitted.
pub async fn submit(engine: &Engine, who: &str, number: usize) -> Result<Accepted> {
    let (account, input, key) = (
        ACCOUNTS[number % ACCOUNTS.len()],
        json!({"n": number}),
        format!("{who}-{number}"),
    );
    // Every other one is the same in the host's own language.
    if number % 4 >= 2 {
        let request = JobRequest::new("walk", input)
            .account(account)
            .key(key)
            .hold(MicroCredits(10_000_000));
        let Enqueued { id, replayed, .. } = engine.jobs().enqueue(request).await?;
        return Ok(Accepted { id, replayed });
    }
    let request = RunRequest::new(account, pipeline(careful(number)), input).key(key);
    let Submitted { id, replayed, .. } = engine.pipelines().submit(request).await?;
    Ok(Accepted { id, replayed })
}

/// A run, or a job of the handler [`Walk`].
pub struct Accepted {
    pub id: JobId,
    pub replayed: bool,
}

/// A fresh store, and an engine of the parent over it.
pub struct World {
    pub url: String,
    pub engine: Engine,
    pub mark: Arc<Mark>,
    pub gates: Gates,
    folder: Folder,
}

/// What [`World::verify`] found beside that all is well.
#[derive(Debug, Default)]
pub struct Found {
    /// Runs that were stopped because nobody knows whether their call was made.
    pub unknown: Vec<JobId>,
    /// Leases beyond the first of each run.
    pub redelivered: i64,
    /// Effects beyond the first of each step.
    pub repeated: usize,
}

impl World {
    pub async fn sqlite() -> Self {
        let folder = Folder::new();
        let url = format!("sqlite://{}", folder.path().join("levqor.db").display());
        Self::over(url, folder).await
    }

    pub async fn postgres() -> Self {
        Self::over(postgres_database().await, Folder::new()).await
    }

    /// Over an empty database.
    pub async fn over(url: String, folder: Folder) -> Self {
        let gates = Gates::closed();
        let mark = Mark::new(folder.path().join("effects"), "parent", gates.clone());
        let engine = engine(&url, mark.clone(), NEVER_POISON, Millis::ZERO).await.unwrap();
        for account in ACCOUNTS {
            let amount = MicroCredits::credits(GRANT).unwrap();
            engine
                .credits()
                .grant(account, amount, GrantOptions::default(), None)
                .await
                .unwrap();
        }
        World {
            url,
            engine,
            mark,
            gates,
            folder,
        }
    }

    pub fn effects_file(&self) -> PathBuf {
        self.folder.path().join("effects")
    }

    /// A child over this store, with the shortest lease.
    pub fn life(&self, name: &str) -> Life {
        Life {
            url: self.url.clone(),
            effects: self.effects_file(),
            name: name.to_owned(),
            concurrency: 6,
            lease: LEASE,
            grace: Millis::secs(10),
            max_crashes: NEVER_POISON,
            ahead: Millis::ZERO,
            submits: 0..0,
        }
    }

    /// Another engine in this process, with a connector of its own, as in another process.
    pub async fn second(&self, name: &str, gates: Gates, ahead: Millis) -> (Engine, Arc<Mark>) {
        let mark = Mark::new(self.effects_file(), name, gates);
        (engine(&self.url, mark.clone(), NEVER_POISON, ahead).await.unwrap(), mark)
    }

    /// Submits a run of one step.
    pub async fn step(&self, action: &str, input: Value) -> JobId {
        let steps = json!([{"id": "a", "action": action, "input": input}]);
        let pipeline = json!({"version": 1, "name": "one", "credits": {"hold": "10", "base": "1"}, "steps": steps});
        let request = RunRequest::new(ACCOUNTS[0], pipeline, json!({}));
        self.engine.pipelines().submit(request).await.unwrap().id
    }

    pub async fn job(&self, id: &JobId) -> Arc<Job> {
        self.engine.jobs().get(id).await.unwrap()
    }

    /// Every job, done ones too.
    pub async fn jobs(&self) -> Vec<Arc<Job>> {
        let mut all: Vec<Arc<Job>> = Vec::new();
        loop {
            let page = Page {
                after: all.last().map(|job| job.id.as_str().to_owned()),
                limit: 500,
            };
            let more = self.engine.jobs().list(&JobFilter::default(), &page).await.unwrap();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    /// What was done, in order: run, step, key, life.
    pub fn effects(&self) -> Vec<[String; 4]> {
        let text = std::fs::read_to_string(self.effects_file()).unwrap_or_default();
        text.lines()
            .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap())
            .collect()
    }

    /// Waits until every job has ended.
    pub async fn all_ended(&self) -> Vec<RunView> {
        let mut views = Vec::new();
        for job in self.jobs().await {
            views.push(self.ended(&job.id).await);
        }
        views
    }

    /// Waits until a run has ended; a minute without that is a failure.
    pub async fn ended(&self, id: &JobId) -> RunView {
        self.engine.pipelines().wait(id, Duration::from_mins(1)).await.unwrap()
    }

    /// A last worker does all that is left, taking over what the dead ones had.
    pub async fn finish(&self) -> WorkerReport {
        self.finish_with(&self.engine).await
    }

    /// As [`World::finish`], with the worker of another engine.
    pub async fn finish_with(&self, engine: &Engine) -> WorkerReport {
        worker(engine).run(async { drop(self.all_ended().await) }).await.unwrap()
    }

    /// Proves that runs of [`submit`] were neither lost nor done or paid for twice.
    pub async fn verify(&self) -> Found {
        let jobs = self.jobs().await;
        let mut found = Found::default();
        let mut done = HashSet::new();
        for job in &jobs {
            found.redelivered += job.fence - 1;
            let number = serde_json::from_str::<Value>(&job.args).unwrap()["n"].as_u64().unwrap();
            let careful = careful(usize::try_from(number).unwrap());
            let view = self.engine.pipelines().status(&job.id).await.unwrap();
            match job.state {
                JobState::Done => {
                    assert_eq!(job.captured, PRICE, "{job:?}");
                    let steps: BTreeMap<&str, StepStatus> = view.steps.iter().map(|s| (s.path.as_str(), s.status)).collect();
                    let all = CALLS.iter().chain(&OTHERS).map(|step| (*step, StepStatus::Done)).collect();
                    assert_eq!(steps, all, "the journal of {} is not complete", job.id);
                    done.insert(job.id.as_str().to_owned());
                }
                // The one other end: a call that must not be repeated blindly was cut off.
                JobState::Dead => {
                    let code = view.failure().unwrap().code().to_owned();
                    assert!(
                        careful && ["run.effect_unknown", "job.effect_unknown"].contains(&code.as_str()),
                        "{view:?}"
                    );
                    assert_eq!(job.captured, MicroCredits::ZERO);
                    found.unknown.push(job.id.clone());
                }
                _ => panic!("this run was lost: {job:?}"),
            }
        }
        found.repeated = self.verify_effects(&jobs, &done);
        self.verify_ledger(jobs.len(), done.len()).await;
        found
    }

    /// Every step of every done run had its effect, always under one key of its own; what must not be repeated was not.
    fn verify_effects(&self, jobs: &[Arc<Job>], done: &HashSet<String>) -> usize {
        let mut times: HashMap<(String, String), usize> = HashMap::new();
        let mut keys: HashMap<String, (String, String)> = HashMap::new();
        let effects = self.effects();
        for [run, step, key, _] in effects {
            let place = (run, step);
            let owner = keys.entry(key).or_insert_with(|| place.clone());
            assert_eq!(*owner, place, "two steps had the same idempotency key");
            *times.entry(place).or_default() += 1;
        }
        assert_eq!(keys.len(), times.len(), "a step had several idempotency keys");
        let repeated = times.values().map(|n| n - 1).sum();
        for job in jobs {
            let number = serde_json::from_str::<Value>(&job.args).unwrap()["n"].as_u64().unwrap();
            for step in CALLS {
                let n = times.remove(&(job.id.to_string(), step.to_owned())).unwrap_or(0);
                if done.contains(job.id.as_str()) {
                    assert!(n >= 1, "{} is done without its step {step}", job.id);
                }
                if step == "once" && careful(usize::try_from(number).unwrap()) {
                    assert!(n <= 1, "{} did {n} times what must not be repeated", job.id);
                }
            }
        }
        assert_eq!(times, HashMap::new(), "effects of runs that do not exist");
        repeated
    }

    /// One hold for each run, one capture for each done one, of its price; nothing open, nothing missing.
    async fn verify_ledger(&self, runs: usize, done: usize) {
        let audit = self.engine.credits().audit().await.unwrap();
        assert!(audit.violations.is_empty() && audit.sum == 0, "{audit:?}");
        let reads = self.engine.backend().store.reads();
        let rows = reads
            .ledger
            .rows(self.engine.tenant_name(), &levqor_core::store::LedgerScope::Everything)
            .await
            .unwrap();
        let captures: Vec<_> = rows.txns.iter().filter(|t| &*t.kind == "capture").collect();
        let holds: HashSet<_> = captures.iter().map(|t| t.about.clone()).collect();
        assert_eq!((captures.len(), holds.len()), (done, done), "each done run is paid for once");
        assert_eq!(rows.holds.iter().count(), runs, "each run was held for once");
        let captured: i64 = rows.holds.iter().map(|hold| hold.captured.0).sum();
        assert_eq!(captured, PRICE.0 * i64::try_from(done).unwrap());
        let mut posted = 0;
        for account in ACCOUNTS {
            let balance = self.engine.credits().balance(account).await.unwrap();
            assert_eq!(balance.held, MicroCredits::ZERO, "{account} has an open hold");
            posted += balance.posted.0;
        }
        let granted = MicroCredits::credits(GRANT).unwrap().0 * i64::try_from(ACCOUNTS.len()).unwrap();
        assert_eq!(posted, granted - captured);
    }
}

/// A worker with the shortest lease.
pub fn worker(engine: &Engine) -> Worker {
    engine.worker().concurrency(16).lease(LEASE).poll(Duration::from_millis(50))
}
