//! A pack that is run again and again: by a schedule, by a request, by a command. Runs, keeps the evidence, delivers it.

use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::clock::Clock;
use levqor_core::engine::{Handler, Wf};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::jobs::schedule::{Schedule, Target};
use levqor_core::transport::Transport;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::deliver::{Deliver, Receipt, send, write_receipts};
use crate::environment::Environment;
use crate::evidence::verify::read_folder;
use crate::evidence::{Evidence, History};
use crate::keep::{Keeper, Kept};
use crate::pack::Pack;
use crate::runner::{Event, RunResult};

/// A pack with all that its runs need.
pub struct Checkup {
    /// The pack.
    pub pack: Pack,
    /// Who keeps the evidence; nobody means that it is not kept.
    pub keeper: Option<Keeper>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The variables that checks see.
    pub env: Environment,
    /// One run at a time: two at once would be each other's load.
    turn: Mutex<()>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Done {
    /// What was found.
    pub result: RunResult,
    /// What was kept, or why it could not be.
    pub kept: Option<Result<Kept>>,
}

impl Checkup {
    /// A checkup.
    pub fn new(
        pack: Pack,
        keeper: Option<Keeper>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        env: Environment,
    ) -> Self {
        Checkup {
            pack,
            keeper,
            transport,
            clock,
            env,
            turn: Mutex::default(),
        }
    }

    /// Where its runs are kept.
    pub fn history(&self) -> Option<&History> {
        self.keeper.as_ref().map(|k| &k.history)
    }

    /// Runs the checks and keeps what they found. What happens meanwhile goes to `events`.
    pub async fn run(&self, events: Option<mpsc::UnboundedSender<Event>>) -> Result<Done> {
        let _turn = self.turn.lock().await;
        let mut run = self
            .pack
            .run(self.transport.clone(), self.clock.clone(), self.env.clone())?
            .seed(self.pack.digest.clone());
        // What a file of the past says is told apart from what is wrong with the run itself.
        if let Some((_, before)) = self.history().map(History::last).transpose()?.flatten() {
            for record in before.records {
                run = run.previous(record.result.id.clone(), record.result.facts);
            }
        }
        if let Some(events) = events {
            run = run.events_to(events);
        }
        let result = run.run().await?;
        let kept = match &self.keeper {
            Some(keeper) => Some(keeper.keep(&result, &self.pack).await),
            None => None,
        };
        Ok(Done { result, kept })
    }

    /// Sends a kept run to every place of the pack, and writes the receipts beside it.
    pub async fn deliver(&self, number: u64, by: &dyn Deliver) -> Result<Vec<Receipt>> {
        let Some(keeper) = &self.keeper else {
            return Err(Error::new(
                ErrorKind::Config,
                "deliver.nothing_kept",
                "what is not kept cannot be delivered",
            ));
        };
        let folder = keeper.history.place(number);
        let files = read_folder(&folder)?;
        let evidence = files.get("evidence.json").map(|b| Evidence::from_bytes(b)).transpose()?;
        let Some(evidence) = evidence else {
            return Err(Error::not_found("evidence.unreadable", "there is no such run").at(folder.display().to_string()));
        };
        let mask = self.pack.mask(&self.env);
        let mut receipts = Vec::new();
        for destination in &self.pack.deliveries {
            receipts.extend(send(destination, &evidence, &files, by, self.clock.as_ref(), &mask).await);
        }
        if !receipts.is_empty() {
            write_receipts(&folder, &receipts, &files, &keeper.signer)?;
        }
        Ok(receipts)
    }
}

/// The name under which a [`Checkup`] is a handler of jobs.
pub const HANDLER: &str = "levqor.integrity";

/// A schedule that runs a checkup every Monday at six in a time zone, once over all workers, whoever of them is alive.
pub fn weekly(id: &str, zone: &str) -> Schedule {
    Schedule::cron(id, "0 6 * * 1", Target::job(HANDLER, json!({}))).zone(zone)
}

/// A job is one run: a worker that dies between checks and delivery leaves the checks done.
#[async_trait]
impl Handler for Checkup {
    async fn run(&self, wf: &Wf, _: Value) -> Result<Value> {
        let ran: Value = wf
            .step("run", || async {
                let done = Checkup::run(self, None).await?;
                let kept = done.kept.transpose()?;
                Ok(json!({
                    "run": done.result.id, "verdict": done.result.verdict(), "counts": done.result.counts(),
                    "number": kept.as_ref().map(|k| k.evidence.run.number),
                    "sha256": kept.as_ref().map(|k| k.bundle.evidence_sha256().to_owned()),
                }))
            })
            .await?;
        let Some(number) = ran["number"].as_u64().filter(|_| !self.pack.deliveries.is_empty()) else {
            return Ok(ran);
        };
        let receipts: Vec<Receipt> = wf.step("deliver", || self.deliver(number, wf.engine())).await?;
        let mut ran = ran;
        ran["delivered"] = json!(receipts.iter().filter(|r| r.delivered).count());
        ran["not_delivered"] = json!(receipts.iter().filter(|r| !r.delivered).count());
        Ok(ran)
    }
}
