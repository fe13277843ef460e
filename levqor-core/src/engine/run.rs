//! Carrying out one run: its steps in the order of their needs, each journaled.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};

use super::{Engine, RunEvent};
use crate::connector::Cx;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::jobs::retry::RetryPolicy;
use crate::jobs::{Finish, Job, JournalOp, JournalRow, StepStatus};
use crate::json;
use crate::layers::retry::put_away;
use crate::pipeline::{
    Checked, ForEach, Item, OnError, OnItemError, Retry, RetryOn, RunInfo, Scope, Step, StepKind, StepState, StepStatus as Ended,
    evaluate, render,
};
use crate::types::{MicroCredits, Millis};

/// Why a step stopped the run's work for now.
enum Halt {
    /// The step, and with it the run, has failed.
    Failed(Error),
    /// Nothing can be done before then.
    Until(Millis),
    /// The lease is gone, or the store: write nothing more.
    Lost(Error),
}

type Steps = BTreeMap<String, StepState>;

struct Run<'a> {
    engine: &'a Engine,
    job: &'a Job,
    checked: &'a Checked,
    input: Value,
    journal: Mutex<HashMap<Arc<str>, Arc<JournalRow>>>,
    /// Rows that need no commit of their own: what they say would come out the same again, or the end of the run
    /// follows at once. They go with the next commit.
    riding: Mutex<Vec<JournalRow>>,
    /// Steps that have not ended.
    left: AtomicUsize,
}

/// Carries out a leased run as far as it can be carried now: how its attempt ends, and what is still to be
/// journaled with that. An error means that the lease or the store is gone.
pub(super) async fn run(engine: &Engine, job: &Job) -> Result<(Finish, Vec<JournalRow>)> {
    let digest = job.spec.as_deref().unwrap_or_default();
    let checked = match engine.pipelines().by_digest(digest).await {
        Ok(checked) => checked,
        Err(e) if e.retryable() => return Err(e),
        Err(e) => return Ok((failed(job, &e, engine.now()), vec![])),
    };
    let input = match serde_json::from_str(job.input()) {
        Ok(input) => input,
        Err(e) => {
            let e = Error::new(
                ErrorKind::Corrupt,
                "run.corrupt_input",
                format!("the stored input cannot be read: {e}"),
            );
            return Ok((failed(job, &e, engine.now()), vec![]));
        }
    };
    // Nobody had it before: nothing can be journaled.
    let rows = match (job.fence, job.signal) {
        (1, None) => vec![],
        _ => engine.inner.backend.store.reads().journal.steps(&job.id).await?,
    };
    let journal = Mutex::new(rows.into_iter().map(|r| (r.path.clone(), r)).collect());
    let run = Run {
        engine,
        job,
        checked: &checked,
        input,
        journal,
        riding: Mutex::default(),
        left: AtomicUsize::new(checked.pipeline.steps.len()),
    };
    engine.emit(RunEvent::Started {
        run: job.id.clone(),
        at: engine.now(),
        steps: checked.pipeline.steps.len(),
    });

    let deadline = checked
        .pipeline
        .timeout
        .map(|span| job.started_at.unwrap_or(job.created_at) + span.0);
    let outcome = match deadline {
        None => run.steps().await,
        Some(at) => {
            let left = (at - engine.now()).to_duration();
            tokio::time::timeout(left, run.steps()).await.unwrap_or_else(|_| {
                let span = checked.pipeline.timeout.map_or(0, |s| s.0.0);
                Err(Halt::Failed(
                    Error::new(
                        ErrorKind::Timeout,
                        "run.timeout",
                        format!("the run has not ended within its {span} ms"),
                    )
                    .retry(false),
                ))
            })
        }
    };
    let finish = match outcome {
        Ok(steps) => run.finish(&steps),
        Err(Halt::Until(at)) => Finish::Snoozed {
            until: deadline.map_or(at, |d| at.min(d)),
            signal: false,
        },
        Err(Halt::Lost(e)) => return Err(e),
        Err(Halt::Failed(e)) => {
            let finish = failed(job, &e, engine.now());
            if matches!(&finish, Finish::Failed { retry_at: None, .. }) {
                run.on_error(&e).await?;
            }
            finish
        }
    };
    Ok((finish, run.take_riding()))
}

/// How an attempt of a run ends that failed: again later, if what failed it may pass and an attempt is left.
fn failed(job: &Job, e: &Error, now: Millis) -> Finish {
    let again = e.retryable() && e.effect() != Effect::Unknown && job.attempt < job.max_attempts;
    let doubled = Millis(1_000 << job.attempt.clamp(0, 9));
    let retry_at = again.then(|| now + e.retry_after().unwrap_or(doubled));
    Finish::Failed {
        error: e.to_json().to_string().into(),
        retry_at,
    }
}

impl Run<'_> {
    /// Runs the steps as their needs allow, several at a time where the pipeline says so.
    async fn steps(&self) -> Result<Steps, Halt> {
        let list = &self.checked.pipeline.steps;
        let mut ended: Vec<bool> = vec![false; list.len()];
        let mut started: Vec<bool> = ended.clone();
        let mut states = Arc::new(Steps::new());
        let mut going = FuturesUnordered::new();
        let mut halt: Option<Halt> = None;
        loop {
            for (i, step) in list.iter().enumerate() {
                if halt.is_none() && !started[i] && self.checked.graph[i].iter().all(|need| ended[*need]) {
                    started[i] = true;
                    let seen = states.clone();
                    going.push(async move { (i, self.step(step, &seen).await) });
                }
            }
            match going.next().await {
                None => break,
                Some((i, Ok(state))) => {
                    ended[i] = true;
                    self.left.fetch_sub(1, Ordering::Relaxed);
                    Arc::make_mut(&mut states).insert(list[i].id.clone(), state);
                }
                // What runs beside it is let come to its end, and is journaled.
                Some((_, Err(new))) => halt = Some(graver(halt, new)),
            }
        }
        match halt {
            Some(halt) => Err(halt),
            None => Ok(Arc::unwrap_or_clone(states)),
        }
    }

    fn scope<'s>(&'s self, steps: &'s Steps, item: Option<Item<'s>>, error: Option<&'s Value>) -> Scope<'s> {
        let run = RunInfo {
            id: self.job.id.as_str(),
            account: self.job.account.as_deref().unwrap_or_default(),
            started_at: self.job.started_at.unwrap_or(self.job.created_at),
        };
        Scope {
            input: &self.input,
            steps,
            run,
            item,
            error,
        }
    }

    /// One step, from the journal if it is settled there.
    async fn step(&self, step: &Step, steps: &Steps) -> Result<StepState, Halt> {
        if let Some(row) = self.row(&step.id).filter(|r| r.status.settled()) {
            return Ok(state_of(&row));
        }
        let outcome = self.work(step, steps).await;
        match outcome {
            Err(Halt::Failed(e)) if step.on_error == OnError::Continue => {
                let row = self.ended(&step.id, StepStatus::Failed, None, Some(&e), self.attempts(&step.id));
                let state = state_of(&row);
                self.write(row).await?;
                Ok(state)
            }
            Err(Halt::Failed(e)) => Err(Halt::Failed(e.with("step", step.id.clone()))),
            other => other,
        }
    }

    async fn work(&self, step: &Step, steps: &Steps) -> Result<StepState, Halt> {
        let scope = self.scope(steps, None, None);
        if let Some(when) = &step.when
            && !evaluate(when, &scope).map_err(Halt::Failed)?
        {
            self.note(self.ended(&step.id, StepStatus::Skipped, None, None, 0));
            return Ok(StepState {
                status: Ended::Skipped,
                output: Value::Null,
            });
        }
        if let Some(each) = &step.for_each {
            let output = self.each(step, each, steps).await?;
            return self.derived(&step.id, output);
        }
        match &step.kind {
            StepKind::Set(template) => {
                let output = render(template, &scope).map_err(Halt::Failed)?;
                self.derived(&step.id, output)
            }
            StepKind::Wait(wait) => {
                let now = self.engine.now();
                let row = self.row(&step.id);
                let began = row.as_ref().map_or(now, |r| r.started_at);
                let due = wait.due(began, &scope).map_err(Halt::Failed)?;
                if due <= now {
                    return self.derived(&step.id, Value::Null);
                }
                if row.is_none() {
                    self.write(self.fresh(&step.id, StepStatus::Waiting, 0)).await?;
                }
                Err(Halt::Until(due))
            }
            StepKind::Action { .. } => self.action(step, &step.id, &scope).await,
        }
    }

    /// A step over many items, some of them at a time; what is done is not done again.
    async fn each(&self, step: &Step, each: &ForEach, steps: &Steps) -> Result<Value, Halt> {
        let items = match render(&each.items, &self.scope(steps, None, None)).map_err(Halt::Failed)? {
            Value::Array(items) => items,
            other => {
                let found = crate::pipeline::kind_name(&other);
                let message = format!("`for_each` goes over an array, not {found}");
                return Err(Halt::Failed(
                    Error::invalid("pipeline.type_mismatch", message).at("/for_each/in"),
                ));
            }
        };
        if items.len() > each.max_items as usize {
            let message = format!("{} items are more than the {} of `max_items`", items.len(), each.max_items);
            return Err(Halt::Failed(
                Error::invalid("pipeline.too_many_items", message).at("/for_each/in"),
            ));
        }
        let before = (0..items.len())
            .filter(|i| self.row(&path(&step.id, *i)).is_some_and(|r| r.status.settled()))
            .count();
        let run = self.job.id.clone();
        self.engine.emit(RunEvent::Items {
            run,
            path: step.id.clone(),
            total: items.len(),
            done: before,
        });

        let mut outputs: Vec<Option<Value>> = vec![None; items.len()];
        let mut halt: Option<Halt> = None;
        let mut going = FuturesUnordered::new();
        let mut next = 0;
        loop {
            while halt.as_ref().is_none_or(|h| matches!(h, Halt::Until(_)))
                && next < items.len()
                && going.len() < each.parallel as usize
            {
                let (index, value) = (next, &items[next]);
                next += 1;
                going.push(async move { (index, self.item(step, each, index, value, steps).await) });
            }
            match going.next().await {
                None => break,
                Some((index, Ok(output))) => outputs[index] = output,
                Some((_, Err(new))) => halt = Some(graver(halt, new)),
            }
        }
        match halt {
            Some(halt) => Err(halt),
            None => Ok(Value::Array(outputs.into_iter().flatten().collect())),
        }
    }

    /// One item; `None` where a failed one is left out.
    async fn item(&self, step: &Step, each: &ForEach, index: usize, value: &Value, steps: &Steps) -> Result<Option<Value>, Halt> {
        let path = path(&step.id, index);
        if let Some(row) = self.row(&path).filter(|r| r.status.settled()) {
            return Ok(match row.status {
                StepStatus::Failed if each.on_item_error == OnItemError::Skip => None,
                StepStatus::Failed => Some(json!({"error": read(row.error.as_deref())})),
                _ => Some(read(row.output.as_deref())),
            });
        }
        let scope = self.scope(
            steps,
            Some(Item {
                name: &each.name,
                value,
                index,
            }),
            None,
        );
        let outcome = match &step.kind {
            StepKind::Set(template) => match render(template, &scope) {
                Ok(output) => Ok(StepState {
                    status: Ended::Done,
                    output,
                }),
                Err(e) => Err(Halt::Failed(e)),
            },
            StepKind::Action { .. } => self.action(step, &path, &scope).await,
            StepKind::Wait(_) => Err(Halt::Failed(Error::invalid(
                "pipeline.bad_step",
                "a wait cannot go over items",
            ))),
        };
        match outcome {
            Ok(state) => Ok(Some(state.output)),
            Err(Halt::Failed(e)) if each.on_item_error != OnItemError::Fail => {
                let row = self.ended(&path, StepStatus::Failed, None, Some(&e), self.attempts(&path));
                self.write(row).await?;
                Ok((each.on_item_error == OnItemError::Collect).then(|| json!({"error": e.to_json()})))
            }
            Err(Halt::Failed(e)) => Err(Halt::Failed(e.with("item", index))),
            Err(halt) => Err(halt),
        }
    }

    /// Calls a step's action. An intent is journaled first where a call must not be repeated blindly.
    async fn action(&self, step: &Step, path: &str, scope: &Scope<'_>) -> Result<StepState, Halt> {
        let StepKind::Action {
            action,
            connection,
            input,
        } = &step.kind
        else {
            return Err(Halt::Failed(Error::internal("not an action")));
        };
        let engine = self.engine;
        let input = match input {
            Some(template) => render(template, scope).map_err(Halt::Failed)?,
            None => json!({}),
        };
        let registry = &engine.inner.registry;
        let (connector, about) = registry.action(action).map_err(Halt::Failed)?;
        let before = self.row(path);
        // A run that was put away goes on counting; one that is taken up again after it failed starts anew.
        let away = |r: &&Arc<JournalRow>| r.error.is_none() || put_away(&Error::from_json(&read(r.error.as_deref()))).is_some();
        let attempts_before = before.as_ref().filter(away).map_or(0, |r| r.attempts);
        let connection = match connection {
            None => None,
            Some(name) => {
                let of = connector.manifest().name.as_str();
                let found = engine.inner.connection(&self.job.tenant, name, of).await;
                Some(found.map_err(Halt::Failed)?)
            }
        };
        let cx = Cx {
            tenant: self.job.tenant.clone(),
            run: Some(self.job.id.clone()),
            step: path.to_owned(),
            attempts_before: u32::try_from(attempts_before).unwrap_or(u32::MAX),
            idempotency_key: idempotency_key(self.job, path, &self.checked.digest),
            retry: policy(step.retry.as_ref()),
            max_sleep: engine.inner.options.max_sleep,
            timeout: step.timeout.map_or(engine.inner.options.step_timeout, |s| s.0),
            connection,
            vault: engine.inner.vault.clone(),
            transport: engine.inner.transport.clone(),
            clock: engine.inner.clock.clone(),
        };
        let repeatable = connector.repeatable(&cx, &about.name, &input);
        if before.as_ref().is_some_and(|r| r.status == StepStatus::Intent) && !repeatable {
            let message = format!("the worker died while it called `{action}`, and nobody knows whether the call was made");
            return Err(Halt::Failed(
                Error::unavailable("run.effect_unknown", message)
                    .effect_is(Effect::Unknown)
                    .retry(false)
                    .hint("look at the other side, then retry the run or start a new one"),
            ));
        }
        if !repeatable {
            self.write(self.fresh(path, StepStatus::Intent, attempts_before)).await?;
        }
        match connector.call(&cx, &about.name, &input).await {
            Ok(output) => {
                self.done(path, output.data, attempts_before + i64::from(output.attempts))
                    .await
            }
            Err(e) => {
                let made = e.details().get("attempts").and_then(Value::as_i64).unwrap_or(1);
                let mut row = self.fresh(path, StepStatus::Retrying, made.max(attempts_before));
                row.error = Some(e.to_json().to_string().into());
                self.write(row).await?;
                Err(match put_away(&e) {
                    Some((wait, _)) => Halt::Until(engine.now() + wait),
                    None => Halt::Failed(e),
                })
            }
        }
    }

    /// The pipeline's own steps for a run that failed for good. Their failures are logged, not raised.
    async fn on_error(&self, error: &Error) -> Result<()> {
        let list = &self.checked.pipeline.on_error;
        if list.is_empty() {
            return Ok(());
        }
        let mut steps = Steps::new();
        for step in &self.checked.pipeline.steps {
            if let Some(row) = self.row(&step.id).filter(|r| r.status.settled()) {
                steps.insert(step.id.clone(), state_of(&row));
            }
        }
        let mut about = json!({"code": error.code(), "message": error.message()});
        about["step"] = error.details().get("step").cloned().unwrap_or(Value::Null);
        for step in list {
            let path = format!("on_error.{}", step.id);
            if self.row(&path).is_some_and(|r| r.status.settled()) {
                continue;
            }
            let outcome = {
                let scope = self.scope(&steps, None, Some(&about));
                match &step.when {
                    Some(when) if !matches!(evaluate(when, &scope), Ok(true)) => continue,
                    _ => {}
                }
                match &step.kind {
                    StepKind::Set(template) => render(template, &scope)
                        .map(|output| StepState {
                            status: Ended::Done,
                            output,
                        })
                        .map_err(Halt::Failed),
                    StepKind::Action { .. } => self.action(step, &path, &scope).await,
                    StepKind::Wait(_) => continue,
                }
            };
            match outcome {
                Ok(state) => {
                    steps.insert(step.id.clone(), state);
                }
                Err(Halt::Lost(e)) => return Err(e),
                Err(Halt::Failed(e)) => tracing::warn!(run = %self.job.id, step = %path, error = %e, "a step of on_error failed"),
                Err(Halt::Until(_)) => {
                    tracing::warn!(run = %self.job.id, step = %path, "a step of on_error would have to wait, and is given up");
                }
            }
        }
        Ok(())
    }

    /// The end of a run whose steps have all ended.
    fn finish(&self, steps: &Steps) -> Finish {
        let output = match &self.checked.pipeline.output {
            None => Value::Null,
            Some(template) => match render(template, &self.scope(steps, None, None)) {
                Ok(output) => output,
                Err(e) => return failed(self.job, &e, self.engine.now()),
            },
        };
        let capture = self.checked.pipeline.credits.map(|credits| {
            let calls = i64::try_from(self.calls()).unwrap_or(i64::MAX);
            MicroCredits(
                credits
                    .base
                    .0
                    .saturating_add(credits.per_call.0.saturating_mul(calls))
                    .min(credits.hold.0),
            )
        });
        Finish::Done {
            result: json::canonical(&output).into(),
            capture,
        }
    }

    /// Calls of actions that succeeded.
    pub(super) fn calls(&self) -> usize {
        let actions: HashMap<&str, &Step> = self.checked.pipeline.steps.iter().map(|s| (s.id.as_str(), s)).collect();
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |row: &&Arc<JournalRow>| {
            let (id, item) = row
                .path
                .split_once('[')
                .map_or((row.path.as_ref(), false), |(id, _)| (id, true));
            row.status == StepStatus::Done
                && actions
                    .get(id)
                    .is_some_and(|s| matches!(s.kind, StepKind::Action { .. }) && s.for_each.is_some() == item)
        };
        journal.values().filter(counts).count()
    }

    fn row(&self, path: &str) -> Option<Arc<JournalRow>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn attempts(&self, path: &str) -> i64 {
        self.row(path).map_or(1, |r| r.attempts.max(1))
    }

    /// A row that is not settled; it keeps the time at which the step began.
    fn fresh(&self, path: &str, status: StepStatus, attempts: i64) -> JournalRow {
        JournalRow {
            job: self.job.id.clone(),
            path: path.into(),
            status,
            attempts,
            output: None,
            error: None,
            started_at: self.row(path).map_or_else(|| self.engine.now(), |r| r.started_at),
            ended_at: None,
        }
    }

    fn ended(&self, path: &str, status: StepStatus, output: Option<&Value>, error: Option<&Error>, attempts: i64) -> JournalRow {
        JournalRow {
            output: output.map(|o| json::canonical(o).into()),
            error: error.map(|e| e.to_json().to_string().into()),
            ended_at: Some(self.engine.now()),
            ..self.fresh(path, status, attempts)
        }
    }

    /// What a step did that was made outside; it is journaled before anything builds on it.
    async fn done(&self, path: &str, output: Value, attempts: i64) -> Result<StepState, Halt> {
        let row = self.done_row(path, &output, attempts)?;
        // Nothing but the end follows the last step, and the end is a commit.
        if self.left.load(Ordering::Relaxed) == 1 && self.checked.pipeline.steps.iter().any(|s| s.id == path) {
            self.note(row);
        } else {
            self.write(row).await?;
        }
        Ok(StepState {
            status: Ended::Done,
            output,
        })
    }

    /// What a step came to that follows from what is journaled already.
    fn derived(&self, path: &str, output: Value) -> Result<StepState, Halt> {
        self.note(self.done_row(path, &output, 1)?);
        Ok(StepState {
            status: Ended::Done,
            output,
        })
    }

    fn done_row(&self, path: &str, output: &Value, attempts: i64) -> Result<JournalRow, Halt> {
        let row = self.ended(path, StepStatus::Done, Some(output), None, attempts);
        let (size, most) = (
            row.output.as_ref().map_or(0, |o| o.len()),
            self.engine.inner.options.max_output,
        );
        if size > most {
            let message = format!("the output of `{path}` has {size} bytes, {most} are allowed");
            return Err(Halt::Failed(
                Error::invalid("run.output_too_large", message).effect_is(Effect::Done),
            ));
        }
        Ok(row)
    }

    /// Keeps a row for the next commit.
    fn note(&self, row: JournalRow) {
        self.told(&row);
        self.riding.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    fn take_riding(&self) -> Vec<JournalRow> {
        std::mem::take(&mut *self.riding.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a row.
    async fn write(&self, row: JournalRow) -> Result<(), Halt> {
        let mut rows = self.take_riding();
        rows.push(row.clone());
        let op = JournalOp {
            job: self.job.id.clone(),
            fence: self.job.fence,
            rows,
        };
        journaled(self.engine, &op).await.map_err(Halt::Lost)?;
        self.told(&row);
        Ok(())
    }

    /// What is known of a step from now on.
    fn told(&self, row: &JournalRow) {
        self.engine.emit(RunEvent::Step {
            run: self.job.id.clone(),
            path: row.path.to_string(),
            status: row.status,
            attempts: row.attempts,
            at: self.engine.now(),
        });
        self.journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(row.path.clone(), Arc::new(row.clone()));
    }
}

/// Writes steps; where the store is away, again until it is back: what was done is not known to others before that.
/// An error means that the lease is lost.
pub(super) async fn journaled(engine: &Engine, op: &JournalOp) -> Result<()> {
    let mut wait = Duration::from_millis(50);
    loop {
        let batch = engine.batch().op(op.clone());
        match engine.inner.backend.store.commit(batch).await {
            Ok(_) => return Ok(()),
            Err(e) if e.retryable() => {
                tracing::warn!(run = %op.job, error = %e, "a step could not be journaled; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
            Err(e) => return Err(e),
        }
    }
}

/// Of two reasons to stop the graver one; of two times the earlier.
fn graver(old: Option<Halt>, new: Halt) -> Halt {
    match (old, new) {
        (None, new) => new,
        (Some(Halt::Lost(e)), _) | (_, Halt::Lost(e)) => Halt::Lost(e),
        (Some(Halt::Failed(e)), _) | (_, Halt::Failed(e)) => Halt::Failed(e),
        (Some(Halt::Until(a)), Halt::Until(b)) => Halt::Until(a.min(b)),
    }
}

fn path(step: &str, index: usize) -> String {
    format!("{step}[{index}]")
}

fn read(text: Option<&str>) -> Value {
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Value::Null)
}

fn state_of(row: &JournalRow) -> StepState {
    let status = match row.status {
        StepStatus::Skipped => Ended::Skipped,
        StepStatus::Failed => Ended::Failed,
        _ => Ended::Done,
    };
    StepState {
        status,
        output: read(row.output.as_deref()),
    }
}

/// 43 characters, equal for every attempt and restart of the same step of the same run.
pub(super) fn idempotency_key(job: &Job, path: &str, digest: &str) -> String {
    let text = format!("{}\n{path}\n{digest}", job.id);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.as_ref())
}

fn policy(retry: Option<&Retry>) -> RetryPolicy {
    let Some(retry) = retry else { return RetryPolicy::default() };
    let mut on: Vec<ErrorKind> = retry
        .on
        .iter()
        .map(|cause| match cause {
            RetryOn::RateLimited => ErrorKind::RateLimited,
            // A provider that is not reached is as unavailable as one that says so.
            RetryOn::Upstream | RetryOn::Network => ErrorKind::Unavailable,
            RetryOn::Timeout => ErrorKind::Timeout,
        })
        .collect();
    on.dedup();
    RetryPolicy {
        max_attempts: retry.max_attempts,
        initial: retry.initial.0,
        max: retry.max.0,
        on,
    }
}
