use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Engine, RunRequest, key};
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::schedule::{
    Fire, MAX_BACKFILL, Plan, Schedule, ScheduleAnswer, ScheduleOp, ScheduleRow, ScheduleState, Start, Target, Task, Tick,
    TickOutcome, TickTask, Trigger,
};
use crate::jobs::{self, NewJob};
use crate::json;
use crate::store::{Answer, Batch, Page};
use crate::types::{HoldId, JobId, Millis};

/// How many schedules are looked at with one query.
const FRONT: usize = 64;
/// How many rounds of firing a worker does before it looks after its jobs again.
const ROUNDS: usize = 4;

/// Schedules: declare them, look at them, fire them.
pub struct Schedules<'a>(pub(super) &'a Engine);

/// A schedule and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// What was declared.
    pub schedule: Schedule,
    /// Whether it fires.
    pub state: ScheduleState,
    /// 1 when it was made; grows by one with every edit.
    pub revision: i64,
    /// The next tick; `None` if there is none any more.
    pub next_tick: Option<Millis>,
    /// Jobs that it started.
    pub fires: i64,
    /// Jobs that had not ended when it last looked. Not known where jobs may overlap.
    pub running: Vec<JobId>,
    /// Ticks that wait for their turn.
    pub waiting: usize,
    /// When it was made.
    pub created_at: Millis,
    /// When it was changed or fired last.
    pub updated_at: Millis,
}

/// What came of declaring a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// The schedule as it is now.
    pub view: ScheduleView,
    /// Whether it is new or was edited.
    pub changed: bool,
}

/// What came of a backfill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfilled {
    /// Ticks in the range.
    pub ticks: usize,
    /// Jobs that were started.
    pub fired: usize,
    /// Ticks that wait for their turn.
    pub waiting: usize,
    /// Ticks whose job could not be started.
    pub refused: usize,
    /// Ticks that had been started before, or wait already.
    pub known: usize,
}

/// What came of firing what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FireReport {
    /// Jobs that this call started.
    pub fired: u64,
    /// When something is due next, as far as is known.
    pub next_due: Option<Millis>,
}

impl ScheduleView {
    fn of(row: &ScheduleRow) -> Result<Self> {
        Ok(ScheduleView {
            schedule: row.schedule()?,
            state: row.state,
            revision: row.revision,
            next_tick: row.next_tick,
            fires: row.fires,
            running: row.running()?,
            waiting: row.waiting()?.len(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl Schedules<'_> {
    /// Declares a schedule: makes it, or edits the one of its name. Declaring the same again, as every process
    /// does when it starts, changes nothing.
    ///
    /// # Errors
    /// What [`Schedule::check`] says; `schedule.never_fires`; what submitting its run now would be refused for,
    /// other than a lack of credits.
    pub async fn put(&self, schedule: Schedule) -> Result<Declared> {
        schedule.check()?;
        let task = self.prepare(&schedule, self.0.now()).await?;
        jobs::check(&task.job)?;
        let answer = self.commit(ScheduleOp::Put(Box::new(schedule)), None).await?;
        Ok(Declared {
            changed: answer.changed,
            view: view(&answer)?,
        })
    }

    /// A schedule by its name.
    pub async fn get(&self, id: &str) -> Result<ScheduleView> {
        ScheduleView::of(&*self.row(id).await?)
    }

    /// Schedules, by name.
    pub async fn list(&self, page: &Page) -> Result<Vec<ScheduleView>> {
        let rows = self.0.inner.backend.store.reads().schedules;
        let rows = rows.schedules(&self.0.tenant, page).await?;
        rows.iter().map(|row| ScheduleView::of(row)).collect()
    }

    /// Puts a schedule on hold: it does not fire, and what it started goes on.
    pub async fn pause(&self, id: &str) -> Result<ScheduleView> {
        view(&self.commit(ScheduleOp::Pause { id: id.into() }, None).await?)
    }

    /// Goes on with the first tick after now. What fell into the pause is not made up for, unless by a
    /// [`backfill`](Self::backfill).
    pub async fn resume(&self, id: &str) -> Result<ScheduleView> {
        view(&self.commit(ScheduleOp::Resume { id: id.into() }, None).await?)
    }

    /// Removes a schedule and its history. Jobs that it started go on.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.commit(ScheduleOp::Delete { id: id.into() }, None).await.map(|_| ())
    }

    /// Starts its job now, whatever runs and even if it is paused; its ticks stay as they are.
    ///
    /// # Errors
    /// What submitting the job is refused for.
    pub async fn run_now(&self, id: &str, idempotency: Option<&str>) -> Result<JobId> {
        let schedule = self.row(id).await?.schedule()?;
        let now = self.0.now();
        let start = Start {
            id: id.into(),
            cause: Trigger::Manual,
            tasks: vec![TickTask {
                tick: now,
                task: Ok(self.prepare(&schedule, now).await?),
            }],
        };
        let idempotency = key(idempotency, &json!(["schedule_run", id]))?;
        let batch = self.0.batch().keyed(idempotency).op(ScheduleOp::Start(start));
        let answer = self.answer(batch).await?;
        let job = answer.ticks.first().and_then(|line| line.job.clone());
        job.ok_or_else(|| Error::internal("a schedule's job that was started has no id"))
    }

    /// Starts the ticks in `[from, to)` that were not started before: at once if its jobs may overlap, else one
    /// after another. At most 1,000; safe to repeat.
    ///
    /// # Errors
    /// `schedule.backfill_range` if the range is none, lies in the future or has too many ticks.
    pub async fn backfill(&self, id: &str, from: Millis, to: Millis) -> Result<Backfilled> {
        let range = |message: String| Error::invalid("schedule.backfill_range", message);
        if from >= to {
            return Err(range("a backfill goes from an earlier to a later time".to_owned()).at("to"));
        }
        if to > self.0.now() + Millis(1) {
            return Err(range("a backfill does not reach into the future".to_owned())
                .at("to")
                .hint("what is to come is fired by itself"));
        }
        let schedule = self.row(id).await?.schedule()?;
        let ticks = Plan::of(&schedule)?.ticks_between(from, to, MAX_BACKFILL + 1);
        if ticks.len() > MAX_BACKFILL {
            return Err(range(format!("there are more than {MAX_BACKFILL} ticks in this range"))
                .at("from")
                .hint("backfill it piece by piece"));
        }
        let mut report = Backfilled {
            ticks: ticks.len(),
            ..Backfilled::default()
        };
        let mut tasks = Vec::with_capacity(ticks.len());
        for tick in ticks {
            tasks.push(self.task(&schedule, tick).await?);
        }
        let start = Start {
            id: id.into(),
            cause: Trigger::Backfill,
            tasks,
        };
        let answer = self.commit(ScheduleOp::Start(start), None).await?;
        for line in &answer.ticks {
            match line.outcome {
                TickOutcome::Fired => report.fired += 1,
                TickOutcome::Waiting => report.waiting += 1,
                _ => report.refused += 1,
            }
        }
        report.known = report.ticks - answer.ticks.len();
        Ok(report)
    }

    /// What became of its ticks, newest first: lines with a number less than `before`.
    pub async fn history(&self, id: &str, before: Option<i64>, limit: usize) -> Result<Vec<Arc<Tick>>> {
        self.row(id).await?;
        let reads = self.0.inner.backend.store.reads().schedules;
        reads.ticks(&self.0.tenant, id, before.unwrap_or(i64::MAX), limit).await
    }

    /// Its next ticks, at most so many (1,000 is the limit). Of a paused one: those that there would be.
    pub async fn next(&self, id: &str, n: usize) -> Result<Vec<Millis>> {
        let row = self.row(id).await?;
        let plan = Plan::of(&row.schedule()?)?;
        let from = match (row.state, row.next_tick) {
            (ScheduleState::Active, Some(tick)) => tick,
            _ => self.0.now() + Millis(1),
        };
        Ok(plan.ticks_between(from, Millis::MAX, n.min(1_000)))
    }

    /// Fires what is due, of every tenant. A [worker](super::Worker) does this by itself.
    pub async fn fire_due(&self) -> Result<FireReport> {
        self.fire_rounds(usize::MAX).await
    }

    /// Fires what is due; each round does one thing for each of at most [`FRONT`] schedules.
    async fn fire_rounds(&self, rounds: usize) -> Result<FireReport> {
        let reads = self.0.inner.backend.store.reads().schedules;
        let mut report = FireReport::default();
        for _ in 0..rounds {
            let rows = reads.due_first(FRONT).await?;
            let now = self.0.now();
            report.next_due = rows.first().map(|row| Millis(row.due_at)).filter(|due| *due < Millis::MAX);
            let due = rows.iter().take_while(|row| row.due_at <= now.0);
            let fired = futures_util::future::join_all(due.map(|row| self.fire(row, now))).await;
            if fired.is_empty() {
                break;
            }
            let mut moved = false;
            let mut failed = None;
            for outcome in fired {
                match outcome {
                    Ok(Some(n)) => {
                        moved = true;
                        report.fired += n;
                    }
                    Ok(None) => {}
                    Err(e) => failed = Some(e),
                }
            }
            match failed {
                Some(e) if e.retryable() => return Err(e),
                // Nothing can be done about it, and the others must not wait for it.
                Some(e) => tracing::error!(error = %e, "a schedule cannot be fired"),
                None => {}
            }
            if !moved {
                break;
            }
        }
        Ok(report)
    }

    /// Does what is due of one schedule: how many jobs were started, or `None` if another process did it.
    async fn fire(&self, row: &ScheduleRow, now: Millis) -> Result<Option<u64>> {
        let engine = Engine {
            inner: self.0.inner.clone(),
            tenant: row.tenant.clone(),
        };
        let schedules = engine.schedules();
        let schedule = row.schedule()?;
        let plan = Plan::of(&schedule)?;
        let due = row.next_tick.and_then(|tick| plan.turn(tick, now)).and_then(|turn| turn.fire);
        let waiting = row.waiting()?.first().map(|w| w.tick);
        let mut tasks = Vec::new();
        for tick in waiting.into_iter().chain(due) {
            tasks.push(schedules.task(&schedule, tick).await?);
        }
        let fire = Fire {
            id: row.id.clone(),
            revision: row.revision,
            tasks,
        };
        let batch = Batch::new(row.tenant.clone(), now).op(ScheduleOp::Fire(fire));
        match schedules.answer(batch).await {
            Ok(answer) => {
                let fired = answer.ticks.iter().filter(|line| line.outcome == TickOutcome::Fired);
                Ok(Some(u64::try_from(fired.count()).unwrap_or(0)))
            }
            Err(e) if matches!(e.code(), "schedule.taken" | "schedule.unknown") => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The job of a tick, or why there can be none. That the store is away is neither.
    async fn task(&self, schedule: &Schedule, tick: Millis) -> Result<TickTask> {
        let task = match self.prepare(schedule, tick).await {
            Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
            task => task,
        };
        Ok(TickTask { tick, task })
    }

    async fn prepare(&self, schedule: &Schedule, tick: Millis) -> Result<Task> {
        let with_tick = |input: &Value, field: &Option<String>| {
            let mut input = input.clone();
            if let (Some(field), Some(map)) = (field, input.as_object_mut()) {
                map.insert(field.clone(), Value::String(tick.rfc3339()));
            }
            input
        };
        match &schedule.target {
            Target::Run {
                account,
                pipeline,
                input,
                tick_field,
                hold,
                queue,
                priority,
                max_attempts,
            } => {
                let request = RunRequest {
                    hold: *hold,
                    queue: queue.clone(),
                    priority: *priority,
                    max_attempts: *max_attempts,
                    ..RunRequest::new(account.as_str(), pipeline.clone(), with_tick(input, tick_field))
                };
                let pipelines = self.0.pipelines();
                let known = pipelines.admissible(&request).await?;
                let checked = match pipeline {
                    Value::String(_) => known,
                    pipeline => pipelines.keep(pipeline).await?,
                };
                Ok(pipelines.task(&request, &checked))
            }
            Target::Job {
                handler,
                args,
                tick_field,
                account,
                hold,
                queue,
                priority,
                max_attempts,
            } => {
                let now = self.0.now();
                let args = json::canonical(&with_tick(args, tick_field));
                let most = self.0.inner.options.max_payload;
                if args.len() > most {
                    let message = format!("the input has {} bytes, {most} are allowed", args.len());
                    return Err(Error::invalid("body.too_large", message).at("args"));
                }
                let held = hold.filter(|held| held.0 > 0);
                let job = NewJob {
                    id: JobId::new(now),
                    queue: queue.as_str().into(),
                    handler: handler.as_str().into(),
                    account: account.as_deref().map(Into::into),
                    args: args.into(),
                    spec: None,
                    priority: *priority,
                    run_at: now,
                    max_attempts: *max_attempts,
                    hold: held.map(|_| HoldId::new(now)),
                    held: held.unwrap_or_default(),
                    unique: None,
                    concurrency_key: None,
                    batch: None,
                };
                Ok(Task { job, held })
            }
        }
    }

    async fn row(&self, id: &str) -> Result<Arc<ScheduleRow>> {
        let reads = self.0.inner.backend.store.reads().schedules;
        let found = reads.schedule(&self.0.tenant, id).await?;
        found.ok_or_else(|| Error::not_found("schedule.unknown", format!("there is no schedule `{id}`")))
    }

    async fn commit(&self, op: ScheduleOp, idempotency: Option<crate::store::Key>) -> Result<ScheduleAnswer> {
        self.answer(self.0.batch().keyed(idempotency).op(op)).await
    }

    async fn answer(&self, batch: Batch) -> Result<ScheduleAnswer> {
        let receipt = self.0.inner.backend.store.commit(batch).await?;
        match receipt.answers.into_iter().next() {
            Some(Answer::Schedule(answer)) => Ok(answer),
            _ => Err(Error::internal("a schedule's operation without a schedule's answer")),
        }
    }
}

fn view(answer: &ScheduleAnswer) -> Result<ScheduleView> {
    let row = answer.row.as_ref();
    ScheduleView::of(row.ok_or_else(|| Error::internal("a schedule that was kept is not there"))?)
}

/// When a worker looks at the schedules.
pub(super) struct Agenda {
    engine: Engine,
    /// Not before this, unless it is woken.
    look_at: Millis,
    /// Whether more was due when it had done its rounds.
    behind: bool,
}

impl Agenda {
    /// How long it believes what it knows: a wake-up may be lost, and not every store passes them on.
    const BELIEVED: Millis = Millis::secs(1);

    pub(super) fn new(engine: Engine) -> Self {
        Agenda {
            engine,
            look_at: Millis::ZERO,
            behind: false,
        }
    }

    /// Whether it was at work when it looked last, and has more to do.
    pub(super) fn behind(&self) -> bool {
        self.behind
    }

    /// It was told that something has changed.
    pub(super) fn woken(&mut self) {
        self.look_at = Millis::ZERO;
    }

    /// How long there is nothing to look at.
    pub(super) fn quiet(&self) -> std::time::Duration {
        let now = self.engine.now();
        // A clock that was set back must not make it sleep.
        let left = self.look_at - now;
        if left > Self::BELIEVED { Millis::ZERO } else { left }.to_duration()
    }

    /// Fires what is due, if it is time to look; says whether jobs were started.
    pub(super) async fn look(&mut self) -> bool {
        if !self.quiet().is_zero() {
            return false;
        }
        let outcome = self.engine.schedules().fire_rounds(ROUNDS).await;
        let now = self.engine.now();
        let (fired, next) = match outcome {
            Ok(report) => (report.fired > 0, report.next_due.unwrap_or(Millis::MAX)),
            Err(e) => {
                tracing::warn!(error = %e, "schedules cannot be looked at; trying again");
                (false, Millis::MAX)
            }
        };
        self.behind = fired && next <= now;
        // What is due and was left to others is looked at again soon, but not without a breath.
        self.look_at = next.clamp(now + Millis(5), now + Self::BELIEVED);
        fired
    }
}
