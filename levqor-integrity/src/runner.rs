//! Runs checks: all at once, each within its own time, none able to harm another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use levqor_core::clock::Clock;
use levqor_core::error::{Error, Result};
use levqor_core::pipeline::suggest::did_you_mean;
use levqor_core::transport::Transport;
use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::{About, Capture, Check, CheckCx, Shared};
use crate::db::Database;
use crate::environment::{Environment, Mask};
use crate::outcome::{Finding, Level, Outcome};
use crate::sha256_hex;
use crate::status::{Counts, Status, Verdict};
use crate::tls::Roots;
use crate::waiver::Waiver;

/// A check with how it is to be run.
#[derive(Clone)]
pub struct Planned {
    /// The check.
    pub check: Arc<dyn Check>,
    /// The longest that one attempt may take.
    pub timeout: Millis,
    /// How often a failed attempt is repeated.
    pub retries: u32,
    /// The wait before a repetition; doubled each time.
    pub backoff: Millis,
    /// What must not have failed, besides what the check itself asks for.
    pub requires: Vec<String>,
}

impl Planned {
    /// A check that has ten seconds and one attempt.
    pub fn new(check: Arc<dyn Check>) -> Self {
        Planned {
            check,
            timeout: Millis::secs(10),
            retries: 0,
            backoff: Millis(200),
            requires: Vec::new(),
        }
    }
}

/// How a run behaves as a whole.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The whole run ends within this; checks that have not ended by then could not be told.
    pub deadline: Millis,
    /// How many requests go to one host at a time.
    pub per_host: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            deadline: Millis::mins(5),
            per_host: 64,
        }
    }
}

/// What happens during a run. Secrets have been taken out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The run began, with so many checks.
    Started {
        /// How many.
        total: usize,
    },
    /// An attempt failed and is repeated.
    Retried {
        /// Which check.
        id: String,
        /// The attempt that failed.
        attempt: Attempt,
    },
    /// A check ended.
    Ended(Box<CheckResult>),
    /// The run ended.
    Finished {
        /// The verdict.
        verdict: Verdict,
        /// The counts.
        counts: Counts,
    },
}

/// One attempt of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How it ended.
    pub status: Status,
    /// When it began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// What it found.
    pub outcome: Outcome,
}

/// How a check ended, with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its id.
    pub id: String,
    /// What is said about it.
    pub about: About,
    /// How it ended.
    pub status: Status,
    /// What was seen, or why not, in one line.
    pub summary: String,
    /// The causes, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// The check whose failure blocks this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// The waiver that its failure is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
    /// Every attempt, the failed ones too.
    pub attempts: Vec<Attempt>,
    /// When the first attempt began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// What was sent and received. Not part of the record itself: it names the files.
    #[serde(skip)]
    pub captures: Vec<Capture>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Its id: the same for the same input at the same time.
    pub id: String,
    /// When it began.
    pub started: Millis,
    /// When it ended.
    pub ended: Millis,
    /// Every selected check, in the order of the plan.
    pub checks: Vec<CheckResult>,
    /// What takes the secrets of this run out of texts that are added to its evidence.
    pub mask: MaskOf,
}

/// A [`Mask`] that compares as equal, so that results can be compared.
#[derive(Clone, Debug, Default)]
pub struct MaskOf(pub Mask);

impl PartialEq for MaskOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl RunResult {
    /// How many ended how.
    pub fn counts(&self) -> Counts {
        Counts::of(self.checks.iter().map(|c| c.status))
    }

    /// What they mean together.
    pub fn verdict(&self) -> Verdict {
        self.counts().verdict()
    }
}

/// A run to be.
pub struct IntegrityRun {
    plan: Vec<Planned>,
    options: RunOptions,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    env: Environment,
    secrets: Vec<String>,
    databases: BTreeMap<String, Arc<dyn Database>>,
    roots: Arc<Roots>,
    waivers: Vec<Waiver>,
    previous: BTreeMap<String, Arc<Map<String, Value>>>,
    live: bool,
    seed: String,
    events: Option<mpsc::UnboundedSender<Event>>,
}

impl IntegrityRun {
    /// A run of these checks over a network, at the clock's time.
    pub fn new(plan: Vec<Planned>, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        IntegrityRun {
            plan,
            options: RunOptions::default(),
            transport,
            clock,
            env: Environment::default(),
            secrets: Vec::new(),
            databases: BTreeMap::new(),
            roots: Arc::new(Roots::default()),
            waivers: Vec::new(),
            previous: BTreeMap::new(),
            live: true,
            seed: String::new(),
            events: None,
        }
    }

    /// Adds a check of the host's own, behind those that are there.
    #[must_use]
    pub fn check(mut self, check: Planned) -> Self {
        self.plan.push(check);
        self
    }

    /// Changes how it behaves.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// The environment variables that checks see, and whose secrets no output shows.
    #[must_use]
    pub fn env(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    /// Further secrets that no output shows.
    #[must_use]
    pub fn secrets(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// A database, under the name by which checks ask for it.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>, database: Arc<dyn Database>) -> Self {
        self.databases.insert(name.into(), database);
        self
    }

    /// The certificate authorities to trust.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Arc::new(roots);
        self
    }

    /// Failures for which somebody has taken responsibility.
    #[must_use]
    pub fn waivers(mut self, waivers: Vec<Waiver>) -> Self {
        self.waivers = waivers;
        self
    }

    /// What a check measured in the run before.
    #[must_use]
    pub fn previous(mut self, id: impl Into<String>, facts: Map<String, Value>) -> Self {
        self.previous.insert(id.into(), Arc::new(facts));
        self
    }

    /// Whether the system is the one that customers use (the default) or a place for tests.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// What the run's id follows from, besides its time: the pack's digest and the run's number.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.seed = seed.into();
        self
    }

    /// What happens, while it happens.
    pub fn events(&mut self) -> mpsc::UnboundedReceiver<Event> {
        let (to, from) = mpsc::unbounded_channel();
        self.events = Some(to);
        from
    }

    /// What happens, into a channel of the caller's.
    #[must_use]
    pub fn events_to(mut self, to: mpsc::UnboundedSender<Event>) -> Self {
        self.events = Some(to);
        self
    }

    /// Runs every check. An error means that the plan itself is wrong: nothing selected, an id twice, an unknown
    /// prerequisite or a circle of them.
    pub async fn run(self) -> Result<RunResult> {
        let needs = prerequisites(&self.plan)?;
        let started = self.clock.now();
        let id = format!(
            "run-{}-{}",
            stamp(started),
            &sha256_hex(format!("{}\n{}", self.seed, started.0).as_bytes())[..12]
        );
        let mask = self.env.redactor(&self.secrets);
        let shared = Arc::new(Shared {
            transport: self.transport,
            clock: self.clock,
            env: self.env,
            mask: mask.clone(),
            roots: self.roots,
            databases: self.databases,
            hosts: Mutex::default(),
            per_host: self.options.per_host.max(1),
            run: id.clone(),
            live: self.live,
        });
        let waivers = Arc::new(self.waivers);
        let until = Instant::now() + self.options.deadline.to_duration();
        let emit = |event: Event| {
            if let Some(to) = &self.events {
                // Nobody listening is no fault.
                let _ = to.send(event);
            }
        };
        emit(Event::Started { total: self.plan.len() });

        let channels: BTreeMap<&str, watch::Sender<Ending>> = self
            .plan
            .iter()
            .map(|p| (p.check.id(), watch::Sender::new(Ending::Running)))
            .collect();
        let mut tasks = JoinSet::new();
        for (planned, needs) in self.plan.iter().zip(&needs) {
            let own = planned.check.id();
            let job = Job {
                planned: planned.clone(),
                shared: shared.clone(),
                previous: self.previous.get(own).cloned(),
                needs: needs.iter().map(|n| (n.clone(), channels[n.as_str()].subscribe())).collect(),
                ending: channels[own].clone(),
                waivers: waivers.clone(),
                events: self.events.clone(),
                until,
            };
            tasks.spawn(job.perform());
        }
        let mut checks: BTreeMap<String, CheckResult> = BTreeMap::new();
        while let Some(ended) = tasks.join_next().await {
            let result = ended.map_err(|e| Error::internal(format!("the run itself broke: {e}")))?;
            emit(Event::Ended(Box::new(result.clone())));
            checks.insert(result.id.clone(), result);
        }
        let result = RunResult {
            id,
            started,
            ended: shared.clock.now(),
            checks: self.plan.iter().filter_map(|p| checks.remove(p.check.id())).collect(),
            mask: MaskOf(mask),
        };
        emit(Event::Finished {
            verdict: result.verdict(),
            counts: result.counts(),
        });
        Ok(result)
    }
}

/// `20261121T100631Z`
pub(crate) fn stamp(at: Millis) -> String {
    let text = at.rfc3339();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

/// The prerequisites of each check that take part in this run.
fn prerequisites(plan: &[Planned]) -> Result<Vec<Vec<String>>> {
    if plan.is_empty() {
        return Err(Error::invalid("integrity.no_checks", "no check is selected").hint("a run without checks shows nothing"));
    }
    let ids: Vec<&str> = plan.iter().map(|p| p.check.id()).collect();
    for (i, id) in ids.iter().enumerate() {
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !id.split('.').all(word) || id.len() > 100 {
            return Err(Error::invalid("integrity.bad_id", format!("`{id}` is no name for a check"))
                .hint("words of lower-case letters, digits and `_`, with dots between"));
        }
        if ids[..i].contains(id) {
            return Err(Error::invalid(
                "integrity.twice",
                format!("the check `{id}` stands twice in the plan"),
            ));
        }
    }
    let mut all = Vec::new();
    for planned in plan {
        let id = planned.check.id();
        // What a check asks for by itself may be left out of a run; what the plan says has to be there.
        for need in &planned.requires {
            if !ids.contains(&need.as_str()) && !crate::checks::is_standard(need) {
                let known = did_you_mean(need, ids.iter().copied());
                return Err(
                    Error::invalid("integrity.unknown_check", format!("there is no check `{need}`{known}"))
                        .at(format!("/check/{id}/requires")),
                );
            }
        }
        let mut needs: Vec<String> = planned.check.requires();
        needs.extend(planned.requires.iter().cloned());
        needs.retain(|n| ids.contains(&n.as_str()));
        needs.sort();
        needs.dedup();
        all.push(needs);
    }
    let mut open: Vec<usize> = (0..plan.len()).collect();
    while !open.is_empty() {
        let before = open.len();
        let waits = |i: &usize| all[*i].iter().any(|n| open.iter().any(|o| ids[*o] == n));
        let rest: Vec<usize> = open.iter().copied().filter(|i| waits(i)).collect();
        if rest.len() == before {
            let circle: Vec<&str> = rest.iter().map(|i| ids[*i]).collect();
            let message = format!("checks require each other in a circle: {}", circle.join(", "));
            return Err(Error::invalid("integrity.circle", message));
        }
        open = rest;
    }
    Ok(all)
}

/// What dependants have to know.
#[derive(Clone, Debug, PartialEq)]
enum Ending {
    Running,
    Usable,
    /// It failed, or it is blocked by the check of that name.
    Broken(String),
}

struct Job {
    planned: Planned,
    shared: Arc<Shared>,
    previous: Option<Arc<Map<String, Value>>>,
    needs: Vec<(String, watch::Receiver<Ending>)>,
    ending: watch::Sender<Ending>,
    waivers: Arc<Vec<Waiver>>,
    events: Option<mpsc::UnboundedSender<Event>>,
    until: Instant,
}

impl Job {
    async fn perform(mut self) -> CheckResult {
        let id = self.planned.check.id().to_owned();
        let began = self.shared.clock.now();
        let needs = std::mem::take(&mut self.needs);
        let prerequisite = broken(needs);
        tokio::pin!(prerequisite);
        let mut attempts = Vec::new();
        let mut captures = Vec::new();
        let mut blocked_by = None;
        if self.planned.check.eager() {
            let work = self.attempts(&mut attempts, &mut captures);
            tokio::pin!(work);
            let mut worked = false;
            let mut known = false;
            while !(worked && known) && blocked_by.is_none() {
                tokio::select! {
                    biased;
                    by = &mut prerequisite, if !known => (blocked_by, known) = (by, true),
                    () = &mut work, if !worked => worked = true,
                }
            }
        } else {
            blocked_by = prerequisite.await;
            if blocked_by.is_none() {
                self.attempts(&mut attempts, &mut captures).await;
            }
        }
        let mut result = CheckResult {
            id,
            about: self.planned.check.about(),
            status: Status::Error,
            summary: String::new(),
            findings: Vec::new(),
            facts: Map::new(),
            blocked_by: None,
            waiver: None,
            started: attempts.first().map_or(began, |a: &Attempt| a.started),
            ended: self.shared.clock.now(),
            attempts,
            captures,
        };
        let blocks = settle(&mut result, blocked_by, &self.waivers, self.shared.clock.now());
        let ending = match (&result.blocked_by, blocks) {
            (Some(by), _) => Ending::Broken(by.clone()),
            (None, true) => Ending::Broken(result.id.clone()),
            (None, false) => Ending::Usable,
        };
        self.ending.send_replace(ending);
        result
    }

    /// Tries until it passes or the attempts are used up.
    async fn attempts(&self, attempts: &mut Vec<Attempt>, captures: &mut Vec<Capture>) {
        for number in 1..=self.planned.retries.saturating_add(1) {
            let mut attempt = self.attempt(number, captures).await;
            let again = matches!(attempt.status, Status::Fail | Status::Error)
                && number <= self.planned.retries
                && Instant::now() < self.until;
            mask_attempt(&self.shared.mask, &mut attempt);
            attempts.push(attempt.clone());
            if !again {
                return;
            }
            if let Some(to) = &self.events {
                let id = self.planned.check.id().to_owned();
                let _ = to.send(Event::Retried { id, attempt });
            }
            let wait = self.planned.backoff.0.saturating_mul(1 << (number - 1).min(10));
            tokio::time::sleep_until(self.until.min(Instant::now() + Millis(wait).to_duration())).await;
        }
    }

    async fn attempt(&self, number: u32, captures: &mut Vec<Capture>) -> Attempt {
        let kept: Arc<Mutex<Vec<Capture>>> = Arc::default();
        let own = Instant::now() + self.planned.timeout.to_duration();
        let cx = CheckCx {
            shared: self.shared.clone(),
            check: self.planned.check.id().to_owned(),
            attempt: number,
            until: own.min(self.until),
            previous: self.previous.clone(),
            captures: kept.clone(),
        };
        let started = self.shared.clock.now();
        let check = self.planned.check.clone();
        // A task of its own: a panic ends it and nothing else.
        let mut task = Abort(tokio::spawn(async move { check.run(&cx).await }));
        let outcome = match tokio::time::timeout_at(own.min(self.until), &mut task.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(e)) => panicked(e),
            Err(_) if own <= self.until => Finding::error(
                "check.timeout",
                format!("the check did not end within {}", seconds(self.planned.timeout)),
            )
            .expected(format!("an answer within {}", seconds(self.planned.timeout)))
            .actual("none")
            .hint("find out what it waits for, or give it a longer timeout")
            .into(),
            Err(_) => Finding::error("run.deadline", "the run's deadline came before the check ended")
                .hint("raise run.deadline, or find out what the check waits for")
                .into(),
        };
        let mut list = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        if number > 1 {
            for capture in &mut list {
                capture.name = format!("retry{}-{}", number - 1, capture.name);
            }
        }
        captures.append(&mut list);
        Attempt {
            number,
            status: outcome.status(),
            started,
            ended: self.shared.clock.now(),
            outcome,
        }
    }
}

/// A task that goes with its handle.
struct Abort<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panicked(e: tokio::task::JoinError) -> Outcome {
    let what = e.try_into_panic().ok().and_then(|p| {
        p.downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| p.downcast_ref::<String>().cloned())
    });
    Finding::error("check.panicked", "the check itself broke")
        .actual(what.unwrap_or_else(|| "a panic without a text".into()))
        .hint("this says nothing about the system; mend the check")
        .into()
}

/// Waits for every prerequisite; the first one that is broken, by name.
async fn broken(needs: Vec<(String, watch::Receiver<Ending>)>) -> Option<String> {
    let each = needs.into_iter().map(|(id, mut ending)| {
        Box::pin(async move {
            match ending.wait_for(|e| *e != Ending::Running).await.as_deref() {
                Ok(Ending::Broken(by)) => Err(by.clone()),
                Ok(_) => Ok(()),
                // Its task is gone without a word.
                Err(_) => Err(id),
            }
        })
    });
    futures_util::future::try_join_all(each).await.err()
}

fn mask_attempt(mask: &Mask, attempt: &mut Attempt) {
    let Ok(mut value) = serde_json::to_value(&attempt.outcome) else {
        return;
    };
    mask.value(&mut value);
    if let Ok(clean) = serde_json::from_value(value) {
        attempt.outcome = clean;
    }
}

/// Decides how a check ended, from its attempts. Returns whether dependants are blocked by it.
fn settle(result: &mut CheckResult, blocked_by: Option<String>, waivers: &[Waiver], now: Millis) -> bool {
    if let Some(by) = blocked_by {
        result.status = Status::Blocked;
        result.summary = format!("blocked: {by} failed");
        result.blocked_by = Some(by);
        return true;
    }
    let Some(last) = result.attempts.last() else {
        return true;
    };
    let outcome = last.outcome.clone();
    result.status = outcome.status();
    result.findings.clone_from(&outcome.findings);
    result.facts.clone_from(&outcome.facts);
    let blocks = outcome.blocks();
    result.summary = match (&outcome.skipped, outcome.findings.first()) {
        (_, Some(f)) if f.level > Level::Warn || outcome.summary.is_empty() => f.message.clone(),
        (Some(reason), _) => reason.clone(),
        (None, _) => outcome.summary.clone(),
    };
    let tries = result.attempts.len();
    if tries > 1 && matches!(result.status, Status::Pass | Status::Warn) {
        let first = result.attempts[0].outcome.findings.first();
        let flaky = Finding::warn("check.flaky", format!("it passed only at attempt {tries}"))
            .expected("a pass at the first attempt")
            .actual(first.map_or_else(String::new, |f| format!("attempt 1: {}", f.message)))
            .hint("all attempts are in the evidence; what fails now and then fails for customers too");
        result.status = Status::Warn;
        result.findings.insert(0, flaky);
    }
    if result.status == Status::Fail {
        waive(result, waivers, now);
    }
    blocks
}

/// Looks for a waiver that covers every failure of a check.
fn waive(result: &mut CheckResult, waivers: &[Waiver], now: Millis) {
    let failures: Vec<&Finding> = result.findings.iter().filter(|f| f.level == Level::Fail).collect();
    let fits = |w: &&Waiver| w.check == result.id && failures.iter().all(|f| w.cause.as_ref().is_none_or(|c| *c == f.cause));
    let found: Vec<&Waiver> = waivers.iter().filter(fits).collect();
    if let Some(holds) = found.iter().find(|w| now < w.until()) {
        result.status = Status::Waived;
        result.summary = format!("waived by {} until {}: {}", holds.owner, holds.expires, holds.reason);
        result.waiver = Some((*holds).clone());
    } else if let Some(old) = found.first() {
        let late = Finding::fail(
            "waiver.expired",
            format!("the waiver of {} expired ({})", old.owner, old.expires),
        )
        .expected("a failure that is mended, or a waiver that holds")
        .actual(format!("expired {}", old.expires))
        .at(result.id.clone())
        .hint("mend the cause, or let somebody take responsibility again");
        result.findings.push(late);
    }
}

/// A span for people: `250 ms`, `1.5 s`.
pub(crate) fn seconds(span: Millis) -> String {
    if span.0 < 1_000 {
        return format!("{} ms", span.0);
    }
    let text = format!("{}.{:03}", span.0 / 1_000, span.0 % 1_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The longest wait that anybody may ask for.
pub(crate) const LONGEST: Duration = Duration::from_hours(24);
