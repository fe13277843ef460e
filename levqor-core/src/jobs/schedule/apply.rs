use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Serialize;

use super::{
    Fire, Launch, MAX_BACKFILL, Overlap, Plan, Schedule, ScheduleAnswer, ScheduleOp, ScheduleRow, ScheduleState, Start, Task,
    Tick, TickOutcome, TickTask, Trigger, Waiting,
};
use crate::error::{Error, Result};
use crate::jobs::Job;
use crate::json;
use crate::table::{Step, Table};
use crate::types::{JobId, Millis, Tenant};

/// How often somebody looks whether a job has ended for which ticks wait.
const RECHECK: Millis = Millis::secs(1);
/// How many lines of history one operation removes at most, beyond those that it adds.
const SWEEP: i64 = 100;
/// One row, and the knowledge that there is no other.
const ALONE: usize = 2;

/// The schedules' rows.
pub struct ScheduleRows {
    /// Schedules.
    pub all: Table<ScheduleRow>,
    /// Their history.
    pub ticks: Table<Tick>,
}

impl ScheduleRows {
    /// Tables that are everything there is.
    pub fn complete() -> Self {
        ScheduleRows {
            all: Table::complete(),
            ticks: Table::complete(),
        }
    }

    /// Tables that hold what is loaded into them.
    pub fn partial() -> Self {
        ScheduleRows {
            all: Table::partial(),
            ticks: Table::partial(),
        }
    }
}

/// Carries out an operation. Jobs that are to be started by it are added to `launches`, so that they can be
/// paid for and enqueued in the same commit.
pub fn apply(
    rows: &mut ScheduleRows,
    jobs: &mut Table<Job>,
    tenant: &Tenant,
    op: &ScheduleOp,
    now: Millis,
    launches: &mut Vec<Launch>,
) -> Step<ScheduleAnswer> {
    match op {
        ScheduleOp::Put(schedule) => put(rows, tenant, schedule, now),
        ScheduleOp::Pause { id } => {
            let row = owned(rows, tenant, id)?;
            let paused = ScheduleRow {
                state: ScheduleState::Paused,
                updated_at: now,
                ..(*row).clone()
            };
            changed_to(rows, row, paused, ScheduleState::Paused)
        }
        ScheduleOp::Resume { id } => {
            let row = owned(rows, tenant, id)?;
            let plan = Plan::of(&row.schedule()?)?;
            let mut resumed = ScheduleRow {
                state: ScheduleState::Active,
                next_tick: plan.next_after(now),
                updated_at: now,
                ..(*row).clone()
            };
            place(&mut resumed, &plan, now)?;
            changed_to(rows, row, resumed, ScheduleState::Active)
        }
        ScheduleOp::Delete { id } => {
            owned(rows, tenant, id)?;
            for line in rows.ticks.group(&(tenant.clone(), id.clone()))? {
                rows.ticks.remove(&(tenant.clone(), id.clone(), line.seq))?;
            }
            rows.all.remove(&(tenant.clone(), id.clone()))?;
            Ok(ScheduleAnswer {
                row: None,
                changed: true,
                ticks: Vec::new(),
            })
        }
        ScheduleOp::Fire(fire) => claim(rows, jobs, tenant, fire, now, launches),
        ScheduleOp::Start(start) => extra(rows, jobs, tenant, start, now, launches),
    }
}

/// Asks ahead for the rows that an operation surely needs.
pub fn wants(rows: &mut ScheduleRows, tenant: &Tenant, op: &ScheduleOp, now: Millis) {
    let id = match op {
        ScheduleOp::Fire(Fire { id, .. }) => {
            rows.all.want_first((tenant.clone(), id.clone()), ALONE, now.0);
            return;
        }
        ScheduleOp::Put(schedule) => schedule.id.as_str().into(),
        ScheduleOp::Delete { id } => {
            rows.ticks.want_group((tenant.clone(), id.clone()));
            id.clone()
        }
        ScheduleOp::Pause { id } | ScheduleOp::Resume { id } | ScheduleOp::Start(Start { id, .. }) => id.clone(),
    };
    rows.all.want((tenant.clone(), id));
}

/// Corrects the line of a job that could not be enqueued.
pub fn refused(rows: &mut ScheduleRows, tenant: &Tenant, launch: &Launch, e: &Error) -> Step<()> {
    let row = owned(rows, tenant, &launch.id)?;
    let running: Vec<JobId> = row.running()?.into_iter().filter(|id| *id != launch.task.job.id).collect();
    let mut row = ScheduleRow {
        fires: row.fires - 1,
        running: text(&running)?,
        ..(*row).clone()
    };
    if !row.waiting()?.is_empty() {
        row.due_at = row.due_at.min(row.updated_at.0);
    }
    rows.all.put(row)?;
    if let Some(line) = rows.ticks.get(&(tenant.clone(), launch.id.clone(), launch.seq))? {
        rows.ticks.put(Tick {
            outcome: TickOutcome::Refused,
            job: None,
            error: Some(e.to_json().to_string().into()),
            ..(*line).clone()
        })?;
    }
    Ok(())
}

/// Brings an answer up to date with what became of its launches.
pub fn refresh(rows: &ScheduleRows, answer: &mut ScheduleAnswer) {
    if let Some(row) = &mut answer.row
        && let Some(now) = rows.all.peek(&(row.tenant.clone(), row.id.clone()))
    {
        *row = now.clone();
    }
    for line in &mut answer.ticks {
        if let Some(now) = rows.ticks.peek(&(line.tenant.clone(), line.schedule.clone(), line.seq)) {
            *line = now.clone();
        }
    }
}

fn text<T: Serialize + ?Sized>(value: &T) -> Result<Arc<str>> {
    let text = serde_json::to_string(value).map_err(|e| Error::internal(format!("a schedule cannot be written: {e}")))?;
    Ok(text.into())
}

/// The schedule, if it is this tenant's.
fn owned(rows: &mut ScheduleRows, tenant: &Tenant, id: &Arc<str>) -> Step<Arc<ScheduleRow>> {
    let found = rows.all.get(&(tenant.clone(), id.clone()))?;
    found.ok_or_else(|| {
        Error::not_found("schedule.unknown", format!("there is no schedule `{id}`"))
            .hint("see `levqor schedules list` for the schedules of this tenant")
            .into()
    })
}

fn changed_to(rows: &mut ScheduleRows, old: Arc<ScheduleRow>, new: ScheduleRow, state: ScheduleState) -> Step<ScheduleAnswer> {
    let changed = old.state != state;
    let row = if changed {
        rows.all.put(new.clone())?;
        Arc::new(new)
    } else {
        old
    };
    Ok(ScheduleAnswer {
        row: Some(row),
        changed,
        ticks: Vec::new(),
    })
}

fn put(rows: &mut ScheduleRows, tenant: &Tenant, schedule: &Schedule, now: Millis) -> Step<ScheduleAnswer> {
    schedule.check()?;
    let plan = Plan::of(schedule)?;
    let as_json = serde_json::to_value(schedule).map_err(|e| Error::internal(format!("a schedule cannot be written: {e}")))?;
    let definition: Arc<str> = json::canonical(&as_json).into();
    let id: Arc<str> = schedule.id.as_str().into();
    let old = rows.all.get(&(tenant.clone(), id.clone()))?;
    let row = match old {
        Some(old) if old.definition == definition => {
            return Ok(ScheduleAnswer {
                row: Some(old),
                changed: false,
                ticks: Vec::new(),
            });
        }
        Some(old) => {
            let same = old.schedule().is_ok_and(|before| before.same_ticks(schedule));
            let next_tick = if same { old.next_tick } else { plan.next_after(now) };
            if next_tick.is_none() && !same {
                return Err(never(schedule).into());
            }
            ScheduleRow {
                definition,
                revision: old.revision + 1,
                next_tick,
                updated_at: now,
                ..(*old).clone()
            }
        }
        None => ScheduleRow {
            tenant: tenant.clone(),
            id,
            created_at: now,
            definition,
            state: ScheduleState::Active,
            revision: 1,
            next_tick: Some(plan.next_after(now).ok_or_else(|| never(schedule))?),
            due_at: 0,
            seq: 0,
            kept_from: 1,
            fires: 0,
            running: "[]".into(),
            waiting: "[]".into(),
            updated_at: now,
        },
    };
    let mut row = row;
    place(&mut row, &plan, now)?;
    rows.all.put(row.clone())?;
    Ok(ScheduleAnswer {
        row: Some(Arc::new(row)),
        changed: true,
        ticks: Vec::new(),
    })
}

fn never(schedule: &Schedule) -> Error {
    Error::invalid(
        "schedule.never_fires",
        format!("the schedule `{}` has no tick from now on within 48 years", schedule.id),
    )
    .at("when")
    .hint("look for a day that no month has, a gap of the zone's clock, or an end that is over")
}

/// Says when the schedule has to be looked at next.
fn place(row: &mut ScheduleRow, plan: &Plan, now: Millis) -> Step<()> {
    let tick = row.next_tick.map_or(Millis::MAX, |tick| plan.due(tick));
    let turn = match (row.waiting()?.is_empty(), row.running()?.is_empty()) {
        (true, _) => Millis::MAX,
        (false, true) => now,
        (false, false) => now + RECHECK,
    };
    row.due_at = tick.min(turn).0;
    Ok(())
}

/// The jobs of the row that have not ended.
fn still_running(jobs: &mut Table<Job>, row: &ScheduleRow) -> Step<Vec<JobId>> {
    let ids = row.running()?;
    ids.iter().for_each(|id| jobs.want((id.clone(),)));
    let mut running = Vec::new();
    for id in ids {
        if jobs.get(&(id.clone(),))?.is_some_and(|job| !job.state.ended()) {
            running.push(id);
        }
    }
    Ok(running)
}

/// The id of the job of a tick: the same tick always has the same one.
fn job_id(row: &ScheduleRow, is_run: bool, at: Millis, what: &str, n: i64) -> JobId {
    let text = format!("{}\n{}\n{}\n{what}\n{n}", row.tenant, row.id, row.created_at.0);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.as_ref()[..16]);
    JobId::derived(is_run, at, u128::from_be_bytes(bits))
}

/// What one operation does to one schedule.
struct Work<'a> {
    rows: &'a mut ScheduleRows,
    jobs: &'a mut Table<Job>,
    launches: &'a mut Vec<Launch>,
    row: ScheduleRow,
    schedule: Schedule,
    running: Vec<JobId>,
    waiting: Vec<Waiting>,
    lines: Vec<Arc<Tick>>,
    now: Millis,
}

impl Work<'_> {
    /// Notes what became of a tick.
    fn note(&mut self, tick: Millis, cause: Trigger, ticks: i64, outcome: TickOutcome) -> i64 {
        self.row.seq += 1;
        let line = Tick {
            tenant: self.row.tenant.clone(),
            schedule: self.row.id.clone(),
            seq: self.row.seq,
            tick,
            cause,
            ticks,
            outcome,
            job: None,
            error: None,
            at: self.now,
        };
        self.rows.ticks.insert(line.clone());
        self.lines.push(Arc::new(line));
        self.row.seq
    }

    fn amend(&mut self, seq: i64, outcome: TickOutcome, job: Option<JobId>, error: Option<&Error>) -> Step<()> {
        let key = (self.row.tenant.clone(), self.row.id.clone(), seq);
        if let Some(line) = self.rows.ticks.get(&key)? {
            let line = Tick {
                outcome,
                job,
                error: error.map(|e| e.to_json().to_string().into()),
                at: self.now,
                ..(*line).clone()
            };
            self.rows.ticks.put(line.clone())?;
            self.lines.retain(|l| l.seq != seq);
            self.lines.push(Arc::new(line));
        }
        Ok(())
    }

    /// Starts the job of a tick whose line is `seq`.
    fn start(&mut self, tick: Millis, cause: Trigger, seq: i64, task: &std::result::Result<Task, Error>) -> Step<()> {
        let strict = cause == Trigger::Manual;
        let task = match task {
            Ok(task) => task,
            Err(e) if strict => return Err(e.clone().into()),
            Err(e) => return self.amend(seq, TickOutcome::Refused, None, Some(e)),
        };
        let id = self.id_of(tick, cause, seq);
        let known = self.jobs.get(&(id.clone(),))?;
        self.amend(seq, TickOutcome::Fired, Some(id.clone()), None)?;
        if known.is_some() {
            return Ok(());
        }
        let mut task = task.clone();
        task.job.id = id.clone();
        self.row.fires += 1;
        if self.schedule.overlap != Overlap::Allow {
            self.running.push(id);
        }
        self.launches.push(Launch {
            id: self.row.id.clone(),
            seq,
            task,
            strict,
        });
        Ok(())
    }

    fn id_of(&self, tick: Millis, cause: Trigger, seq: i64) -> JobId {
        let is_run = self.schedule.target.is_run();
        match cause {
            Trigger::Manual => job_id(&self.row, is_run, self.now, "manual", seq),
            Trigger::Tick | Trigger::Backfill => job_id(&self.row, is_run, tick, "tick", tick.0),
        }
    }

    /// Writes the row and forgets the oldest lines.
    fn end(mut self) -> Step<ScheduleAnswer> {
        let plan = Plan::of(&self.schedule)?;
        self.row.running = text(&self.running)?;
        self.row.waiting = text(&self.waiting)?;
        self.row.updated_at = self.now;
        place(&mut self.row, &plan, self.now)?;
        let too_many = self.row.seq - self.row.kept_from + 1 - self.schedule.keep;
        let added = i64::try_from(self.lines.len()).unwrap_or(i64::MAX);
        let gone = too_many.clamp(0, added.saturating_add(SWEEP));
        let key = |seq| (self.row.tenant.clone(), self.row.id.clone(), seq);
        let from = self.row.kept_from;
        (from..from + gone).for_each(|seq| self.rows.ticks.want(key(seq)));
        for seq in from..from + gone {
            self.rows.ticks.remove(&key(seq))?;
        }
        self.row.kept_from += gone;
        self.rows.all.put(self.row.clone())?;
        Ok(ScheduleAnswer {
            row: Some(Arc::new(self.row)),
            changed: true,
            ticks: self.lines,
        })
    }
}

fn claim(
    rows: &mut ScheduleRows,
    jobs: &mut Table<Job>,
    tenant: &Tenant,
    fire: &Fire,
    now: Millis,
    launches: &mut Vec<Launch>,
) -> Step<ScheduleAnswer> {
    let taken = || {
        Error::conflict(
            "schedule.taken",
            format!(
                "nothing of the schedule `{}` is due any more; another process was faster",
                fire.id
            ),
        )
    };
    // If it is due, and nobody is just changing it: who comes second does not wait to be told so.
    let found = rows.all.first(&(tenant.clone(), fire.id.clone()), ALONE, now.0)?;
    let Some(row) = found.into_iter().find(|row| row.revision == fire.revision) else {
        return Err(taken().into());
    };
    let schedule = row.schedule()?;
    let plan = Plan::of(&schedule)?;
    let waiting = row.waiting()?;
    // What is surely read below, so that it is loaded together.
    for TickTask { tick, .. } in &fire.tasks {
        jobs.want((job_id(&row, schedule.target.is_run(), *tick, "tick", tick.0),));
    }
    for seq in waiting.first().map(|w| w.seq).into_iter().chain([row.kept_from]) {
        rows.ticks.want((row.tenant.clone(), row.id.clone(), seq));
    }
    let running = still_running(jobs, &row)?;
    let task_of = |tick: Millis| {
        let found = fire.tasks.iter().find(|t| t.tick == tick);
        found.map(|t| &t.task).ok_or_else(taken)
    };
    let mut work = Work {
        rows,
        jobs,
        launches,
        row: (*row).clone(),
        schedule,
        running,
        waiting,
        lines: Vec::new(),
        now,
    };
    if work.running.is_empty() && !work.waiting.is_empty() {
        let first = work.waiting.remove(0);
        // The line of one that waited for long may be gone from the history.
        let seq = if first.seq < work.row.kept_from {
            work.note(first.tick, first.cause, 1, TickOutcome::Fired)
        } else {
            first.seq
        };
        work.start(first.tick, first.cause, seq, task_of(first.tick)?)?;
    } else if let Some(turn) = work.row.next_tick.and_then(|next| plan.turn(next, now)) {
        if let Some((first, n)) = turn.missed {
            work.note(first, Trigger::Tick, n, TickOutcome::Missed);
        }
        if let Some(tick) = turn.fire {
            let busy = !work.running.is_empty() || !work.waiting.is_empty();
            match work.schedule.overlap {
                Overlap::Queue if busy && work.waiting.len() < MAX_BACKFILL => {
                    let seq = work.note(tick, Trigger::Tick, 1, TickOutcome::Waiting);
                    work.waiting.push(Waiting {
                        tick,
                        seq,
                        cause: Trigger::Tick,
                    });
                }
                Overlap::Skip | Overlap::Queue if busy => {
                    work.note(tick, Trigger::Tick, 1, TickOutcome::Skipped);
                }
                _ => {
                    let task = task_of(tick)?;
                    let seq = work.note(tick, Trigger::Tick, 1, TickOutcome::Fired);
                    work.start(tick, Trigger::Tick, seq, task)?;
                }
            }
        }
        work.row.next_tick = turn.next;
    }
    work.end()
}

fn extra(
    rows: &mut ScheduleRows,
    jobs: &mut Table<Job>,
    tenant: &Tenant,
    start: &Start,
    now: Millis,
    launches: &mut Vec<Launch>,
) -> Step<ScheduleAnswer> {
    let row = owned(rows, tenant, &start.id)?;
    let schedule = row.schedule()?;
    let running = still_running(jobs, &row)?;
    let waiting = row.waiting()?;
    let at_once = start.cause == Trigger::Manual || schedule.overlap == Overlap::Allow;
    let mut work = Work {
        rows,
        jobs,
        launches,
        row: (*row).clone(),
        schedule,
        running,
        waiting,
        lines: Vec::new(),
        now,
    };
    if start.cause != Trigger::Manual {
        for TickTask { tick, .. } in &start.tasks {
            let id = work.id_of(*tick, start.cause, 0);
            work.jobs.want((id,));
        }
    }
    for TickTask { tick, task } in &start.tasks {
        if start.cause != Trigger::Manual {
            let known = work.waiting.iter().any(|w| w.tick == *tick);
            let id = work.id_of(*tick, start.cause, 0);
            if known || work.jobs.get(&(id,))?.is_some() {
                continue;
            }
        }
        if at_once {
            let seq = work.note(*tick, start.cause, 1, TickOutcome::Fired);
            work.start(*tick, start.cause, seq, task)?;
        } else if work.waiting.len() < MAX_BACKFILL {
            let seq = work.note(*tick, start.cause, 1, TickOutcome::Waiting);
            work.waiting.push(Waiting {
                tick: *tick,
                seq,
                cause: start.cause,
            });
        } else {
            return Err(Error::conflict(
                "schedule.too_many_waiting",
                format!("{MAX_BACKFILL} ticks of `{}` wait already, which is as many as may", start.id),
            )
            .hint("wait until some have run, or let the schedule's jobs overlap")
            .into());
        }
    }
    work.end()
}
