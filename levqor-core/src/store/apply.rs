use super::{Answer, Batch, IdemRow, Key, Op, Receipt, Rows, topic};
use crate::claims;
use crate::credits::{self, LedgerOp, Overage};
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::schedule::{self, Launch, ScheduleOp};
use crate::jobs::{self, Capture, Effects, Ended, JobState, QueueAnswer, QueueOp};
use crate::limits;
use crate::records;
use crate::table::{Step, Stop};
use crate::types::{MicroCredits, Millis, Tenant, TxnId};
use crate::usage;

/// Carries out a batch over the rows: the whole of it, or nothing.
///
/// `Err(Stop::Missing)` means that rows have to be loaded and the batch applied again; nothing was
/// changed. `Ok(Err(e))` means that the batch was refused: nothing was changed either, but for the
/// note under its idempotency key that makes a business failure repeat itself.
///
/// `stripe` picks the system accounts that the ledger books against.
pub fn apply(rows: &mut Rows, batch: &Batch, stripe: u16) -> Step<Result<Receipt>> {
    if let Some(key) = &batch.key
        && let Some(old) = rows.idem.get(&(batch.tenant.clone(), key.text.clone()))?
    {
        return Ok(replay(&old, key));
    }
    let mark = rows.mark();
    let outcome = operate(rows, batch, stripe);
    let clash = rows.clash();
    let outcome = match (outcome, clash) {
        (Ok(_), Some(table)) => Err(Stop::Refused(exists(&format!("in {table}")))),
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(receipt) => {
            if let Some(key) = &batch.key {
                let text =
                    serde_json::to_string(&receipt).map_err(|e| Error::internal(format!("a receipt cannot be written: {e}")))?;
                rows.idem.insert(note(batch, key, format!("{{\"ok\":{text}}}")));
            }
            Ok(Ok(receipt))
        }
        Err(Stop::Missing) => {
            rows.rollback(&mark);
            Err(Stop::Missing)
        }
        Err(Stop::Refused(e)) => {
            rows.rollback(&mark);
            if let Some(key) = batch.key.as_ref().filter(|_| sticks(&e)) {
                rows.idem.insert(note(batch, key, format!("{{\"err\":{}}}", e.to_json())));
            }
            Ok(Err(e))
        }
    }
}

/// Business failures repeat themselves under their key; wrong input and faults of ours do not.
fn sticks(e: &Error) -> bool {
    e.code() != "store.exists"
        && matches!(
            e.kind(),
            ErrorKind::Insufficient | ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Denied
        )
}

/// What a new row gets whose key is taken.
pub fn exists(place: &str) -> Error {
    Error::conflict("store.exists", format!("something with this id is there already ({place})"))
        .hint("give everything new an id of its own; to repeat a request safely, send an idempotency key")
}

fn note(batch: &Batch, key: &Key, outcome: String) -> IdemRow {
    IdemRow {
        tenant: batch.tenant.clone(),
        key: key.text.clone(),
        fingerprint: key.fingerprint.clone(),
        outcome: outcome.into(),
        recorded_at: batch.now,
    }
}

fn replay(old: &IdemRow, key: &Key) -> Result<Receipt> {
    if old.fingerprint != key.fingerprint {
        return Err(Error::conflict(
            "idempotency.mismatch",
            format!("the idempotency key `{}` was used with another payload", key.text),
        )
        .hint("use a new key for a new request, and the same payload when repeating one"));
    }
    let corrupt = || {
        Error::new(
            ErrorKind::Corrupt,
            "idempotency.corrupt",
            format!("what came of the key `{}` cannot be read", key.text),
        )
    };
    let outcome: serde_json::Value = serde_json::from_str(&old.outcome).map_err(|_| corrupt())?;
    if let Some(e) = outcome.get("err") {
        return Err(Error::from_json(e));
    }
    let receipt = outcome.get("ok").cloned().ok_or_else(corrupt)?;
    let receipt: Receipt = serde_json::from_value(receipt).map_err(|_| corrupt())?;
    Ok(Receipt {
        replayed: true,
        ..receipt
    })
}

/// Asks ahead for what the batch surely needs.
pub fn wants(rows: &mut Rows, batch: &Batch, stripe: u16) {
    if let Some(key) = &batch.key {
        rows.idem.want((batch.tenant.clone(), key.text.clone()));
    }
    for op in &batch.ops {
        match op {
            Op::Ledger(op) => credits::wants(&mut rows.ledger, &batch.tenant, op, stripe),
            Op::Queue(op) => {
                jobs::wants(&mut rows.queue, &batch.tenant, op, batch.now);
                if let QueueOp::Signal { job, .. } = op {
                    rows.journal.want_group((job.clone(),));
                }
            }
            Op::Schedule(op) => schedule::wants(&mut rows.schedules, &batch.tenant, op, batch.now),
            Op::Journal(op) => {
                rows.queue.jobs.want((op.job.clone(),));
                op.rows
                    .iter()
                    .for_each(|r| rows.journal.want((r.job.clone(), r.path.clone())));
            }
            Op::Record(op) => {
                let (records::RecordOp::Put { kind, name, .. } | records::RecordOp::Delete { kind, name, .. }) = op;
                rows.records.want((batch.tenant.clone(), kind.clone(), name.clone()));
            }
            Op::Usage(new) => rows.usage.want((batch.tenant.clone(), new.source.clone(), new.id.clone())),
            Op::Limit(op) => limits::wants(&mut rows.limits, &batch.tenant, op),
            Op::Claim(op) => claims::wants(&mut rows.claims, &batch.tenant, op),
        }
    }
}

fn operate(rows: &mut Rows, batch: &Batch, stripe: u16) -> Step<Receipt> {
    let mut answers = Vec::with_capacity(batch.ops.len());
    let mut wakes = Vec::new();
    // An operation that misses rows does not keep the others from saying what they need: the number of
    // rounds of loading depends on how deep rows hang together, not on how many operations there are.
    let mut missing = false;
    for (place, op) in batch.ops.iter().enumerate() {
        match one(rows, batch, op, stripe, &mut wakes) {
            Ok(answer) => answers.push(answer),
            Err(Stop::Missing) => missing = true,
            // It may only seem so, for lack of what an operation before it would have done.
            Err(Stop::Refused(_)) if missing => {}
            // Of several, whoever asked wants to know which.
            Err(Stop::Refused(e)) if batch.ops.len() > 1 => return Err(e.with("operation", place).into()),
            Err(stop) => return Err(stop),
        }
    }
    if missing {
        return Err(Stop::Missing);
    }
    wakes.sort_unstable();
    wakes.dedup();
    Ok(Receipt {
        answers,
        replayed: false,
        wakes,
    })
}

fn one(rows: &mut Rows, batch: &Batch, op: &Op, stripe: u16, wakes: &mut Vec<String>) -> Step<Answer> {
    Ok(match op {
        Op::Ledger(op) => Answer::Ledger(credits::apply(&mut rows.ledger, &batch.tenant, op, batch.now, stripe)?),
        Op::Queue(op) => {
            let mut effects = Effects::default();
            let (queue, limits) = (&mut rows.queue, &mut rows.limits);
            let mut answer = jobs::apply(queue, limits, &batch.tenant, op, batch.now, &mut effects)?;
            settle_holds(rows, &effects.ended, batch.now, stripe)?;
            if let (QueueOp::Enqueue(new), QueueAnswer::Job(job)) = (op, &answer)
                && job.id != new.id
                && let Some(hold) = new.hold.clone()
            {
                // Another job has its unique key: what was held for this one is not needed.
                let release = LedgerOp::Release { hold };
                credits::apply(&mut rows.ledger, &batch.tenant, &release, batch.now, stripe)?;
            }
            match op {
                QueueOp::Redrive { job, .. } => jobs::reopen(&mut rows.journal, job)?,
                QueueOp::Signal { job, name, payload } => jobs::signal(&mut rows.journal, job, name, payload, batch.now)?,
                QueueOp::Change { queue, .. } => wakes.push(topic::queue(queue)),
                _ => {}
            }
            wakes.extend(effects.ended.iter().map(|end| topic::job(&end.job)));
            wakes.extend(effects.ready.iter().map(|job| topic::queue(&job.queue)));
            if let QueueAnswer::Job(job) = &mut answer
                && let Some(settled) = rows.queue.jobs.get(&(job.id.clone(),))?
            {
                *job = settled;
            }
            wake_for(op, &answer, wakes);
            Answer::Queue(answer)
        }
        Op::Schedule(op) => {
            let mut launches = Vec::new();
            let (tenant, now) = (&batch.tenant, batch.now);
            let mut answer = schedule::apply(&mut rows.schedules, &mut rows.queue.jobs, tenant, op, now, &mut launches)?;
            launch_all(rows, batch, &launches, stripe, wakes)?;
            schedule::refresh(&rows.schedules, &mut answer);
            if answer.changed && !matches!(op, ScheduleOp::Fire(_)) {
                wakes.push(topic::SCHEDULES.to_owned());
            }
            Answer::Schedule(answer)
        }
        Op::Journal(op) => {
            jobs::journal(&mut rows.queue.jobs, &mut rows.journal, op)?;
            wakes.push(topic::job(&op.job));
            Answer::Ok
        }
        Op::Record(op) => Answer::Record(records::apply(&mut rows.records, &batch.tenant, op, batch.now)?),
        Op::Usage(new) => Answer::Usage(usage::apply(&mut rows.usage, &batch.tenant, new, batch.now)?),
        Op::Limit(op) => Answer::Limit(limits::apply_op(&mut rows.limits, &batch.tenant, op, batch.now)?),
        Op::Claim(op) => Answer::Claim(claims::apply(&mut rows.claims, &batch.tenant, op, batch.now)?),
    })
}

/// Pays for and enqueues the jobs of ticks. One that is refused is noted as such and harms no other.
fn launch_all(rows: &mut Rows, batch: &Batch, launches: &[Launch], stripe: u16, wakes: &mut Vec<String>) -> Step<()> {
    let mut missing = false;
    for launch in launches {
        let mark = rows.mark();
        match launch_one(rows, batch, launch, stripe, wakes) {
            Err(Stop::Missing) => missing = true,
            Err(Stop::Refused(_)) if missing => {}
            Err(Stop::Refused(e)) if !launch.strict => {
                rows.rollback(&mark);
                schedule::refused(&mut rows.schedules, &batch.tenant, launch, &e)?;
            }
            other => other?,
        }
    }
    if missing { Err(Stop::Missing) } else { Ok(()) }
}

fn launch_one(rows: &mut Rows, batch: &Batch, launch: &Launch, stripe: u16, wakes: &mut Vec<String>) -> Step<()> {
    let job = &launch.task.job;
    if let (Some(hold), Some(amount), Some(owner)) = (&job.hold, launch.task.held, &job.account) {
        let op = LedgerOp::Hold {
            hold: hold.clone(),
            owner: owner.clone(),
            amount,
            expires: None,
        };
        credits::apply(&mut rows.ledger, &batch.tenant, &op, batch.now, stripe)?;
    }
    let op = QueueOp::Enqueue(Box::new(job.clone()));
    let answer = jobs::apply(
        &mut rows.queue,
        &mut rows.limits,
        &batch.tenant,
        &op,
        batch.now,
        &mut Effects::default(),
    )?;
    wake_for(&op, &answer, wakes);
    Ok(())
}

fn wake_for(op: &QueueOp, answer: &QueueAnswer, wakes: &mut Vec<String>) {
    match (op, answer) {
        (QueueOp::Lease(_) | QueueOp::Heartbeat { .. }, _) => {}
        (QueueOp::Progress { job, .. }, _) => wakes.push(topic::job(job)),
        (_, QueueAnswer::Job(job)) => {
            wakes.push(topic::job(&job.id));
            if job.state == JobState::Ready {
                wakes.push(topic::queue(&job.queue));
            }
        }
        _ => {}
    }
}

/// Settles every hold, and where rows are missing, asks for those of all of them at once.
fn settle_holds(rows: &mut Rows, ended: &[Ended], now: Millis, stripe: u16) -> Step<()> {
    let mut missing = false;
    for end in ended {
        match settle_hold(rows, end, now, stripe) {
            Err(Stop::Missing) => missing = true,
            Err(Stop::Refused(_)) if missing => {}
            other => other?,
        }
    }
    if missing { Err(Stop::Missing) } else { Ok(()) }
}

/// A job that ended takes its hold with it: captured as it says, the rest released, in the same commit.
fn settle_hold(rows: &mut Rows, end: &Ended, now: Millis, stripe: u16) -> Step<()> {
    let Some(job) = rows.queue.jobs.get(&(end.job.clone(),))? else {
        return Ok(());
    };
    let Some(hold) = &end.hold else { return Ok(()) };
    let amount = match end.capture {
        Capture::Nothing | Capture::Amount(MicroCredits::ZERO) => None,
        Capture::All => Some(None),
        Capture::Amount(n) => Some(Some(n)),
    };
    let op = match amount {
        None => LedgerOp::Release { hold: hold.clone() },
        Some(amount) => LedgerOp::Capture {
            txn: TxnId::new(now),
            hold: hold.clone(),
            amount,
            last: true,
            overage: Overage::Reject,
        },
    };
    let tenant: Tenant = job.tenant.clone();
    let mark = rows.mark();
    match credits::apply(&mut rows.ledger, &tenant, &op, now, stripe) {
        Ok(answer) => {
            let captured = answer.captured();
            if captured.0 != 0 {
                rows.queue.jobs.put(jobs::Job {
                    captured,
                    ..(*job).clone()
                })?;
            }
            Ok(())
        }
        // The host settled the hold itself, or it ran out: nothing is left to settle, and what the
        // operation folded in before it was refused is left to the next one.
        Err(Stop::Refused(e)) if settled_before(&e) => {
            rows.rollback(&mark);
            Ok(())
        }
        Err(stop) => Err(stop),
    }
}

fn settled_before(e: &Error) -> bool {
    let codes = [
        "ledger.hold_not_found",
        "ledger.hold_already_captured",
        "ledger.hold_already_released",
        "ledger.hold_expired",
    ];
    codes.contains(&e.code())
}
