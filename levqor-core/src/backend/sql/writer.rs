//! The writer: one task per store gathers the batches that wait into one transaction.
//!
//! While one transaction is being committed, the next callers queue up; so the disk's speed decides
//! how often it commits, not how many callers are served, and a hot account costs no more than a cold
//! one. A caller's answer means that its batch is durable.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::conn::{Conn, Driver, Fault};
use super::purge::{Purge, purge};
use super::{load, save};
use crate::backend::Hub;
use crate::error::{Effect, Error, Result};
use crate::store::{Batch, Grouped, Receipt, Rows, run, wants};
use crate::types::Millis;

/// Batches in one transaction at most.
const GROUP: usize = 512;
/// How often a transaction is run again after a race with another process.
const RACES: u32 = 20;
/// How often it is run again when the key of a new row is taken.
const CLASHES: u32 = 5;
/// How often it is run again when its connection turns out to be gone. (If there is no server at all,
/// opening the next one fails, and that is final.)
const STALE: u32 = 16;
/// How many rounds of loading a group may need: each rule names at least one more row in each.
const ROUNDS: u32 = 64;

/// A batch and who waits for its answer.
pub(super) struct Ticket {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Receipt>>,
}

pub(super) struct Writer {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) hub: Hub,
    pub(super) stripe: u16,
    pub(super) notify: Option<mpsc::UnboundedSender<Vec<String>>>,
    conn: Option<Box<dyn Conn>>,
    purge: Purge,
}

impl Writer {
    pub(super) fn new(
        driver: Arc<dyn Driver>,
        hub: Hub,
        stripe: u16,
        notify: Option<mpsc::UnboundedSender<Vec<String>>>,
    ) -> Self {
        Writer {
            driver,
            hub,
            stripe,
            notify,
            conn: None,
            purge: Purge::default(),
        }
    }

    /// Works until nobody can send batches any more.
    pub(super) async fn work(mut self, mut queue: mpsc::Receiver<Ticket>) {
        let mut group = Vec::new();
        while queue.recv_many(&mut group, GROUP).await > 0 {
            self.serve(std::mem::take(&mut group)).await;
        }
    }

    /// Carries out a group and answers everybody in it.
    async fn serve(&mut self, group: Vec<Ticket>) {
        let batches: Vec<&Batch> = group.iter().map(|t| &t.batch).collect();
        let outcomes = match self.transact(&batches).await {
            Ok(outcomes) => outcomes,
            // One batch that the database does not take must not fail the others: each alone.
            Err((Fault::Value(_) | Fault::Exists(_) | Fault::Race(_) | Fault::Other(_), Effect::None)) if batches.len() > 1 => {
                let mut outcomes = Vec::with_capacity(batches.len());
                for batch in &batches {
                    match self.transact(&[*batch]).await {
                        Ok(one) => outcomes.extend(one),
                        Err((fault, effect)) => outcomes.push(Err(fault.into_error().effect_is(effect))),
                    }
                }
                outcomes
            }
            Err((fault, effect)) => {
                let e = fault.into_error().effect_is(effect);
                batches.iter().map(|_| Err(e.clone())).collect()
            }
        };
        self.wake(&outcomes);
        for (ticket, outcome) in group.into_iter().zip(outcomes) {
            // Whoever does not wait any more has gone away; the commit stands all the same.
            let _ = ticket.answer.send(outcome);
        }
    }

    fn wake(&self, outcomes: &[Result<Receipt>]) {
        let mut topics: Vec<&String> = outcomes.iter().flatten().flat_map(|r| &r.wakes).collect();
        if topics.is_empty() {
            return;
        }
        topics.sort_unstable();
        topics.dedup();
        self.hub.wake(topics.iter().map(|t| t.as_str()));
        if let Some(notify) = &self.notify {
            let _ = notify.send(topics.into_iter().cloned().collect());
        }
    }

    async fn transact(&mut self, batches: &[&Batch]) -> Result<Vec<Result<Receipt>>, (Fault, Effect)> {
        let (mut races, mut stale) = (0, 0);
        let due = self.purge.due(batches);
        loop {
            let mut conn = match self.conn.take() {
                Some(conn) => conn,
                None => self.driver.writer().await.map_err(|f| (f, Effect::None))?,
            };
            match once(conn.as_mut(), self.driver.as_ref(), batches, self.stripe, due).await {
                Ok((outcomes, changed)) => {
                    self.conn = Some(conn);
                    if changed {
                        self.purge.done(batches, due.is_some());
                    }
                    return Ok(outcomes);
                }
                Err((fault @ (Fault::Race(_) | Fault::Exists(_)), Effect::None)) => {
                    races += 1;
                    if conn.end(false).await.is_ok() {
                        self.conn = Some(conn);
                    }
                    // Whoever lost the race for a new row finds it there at the next try; a row that was
                    // loaded before and is still in the way was given twice.
                    let most = if matches!(fault, Fault::Exists(_)) { CLASHES } else { RACES };
                    if races > most {
                        return Err((fault, Effect::None));
                    }
                    tracing::debug!(races, reason = ?fault, "a transaction lost a race and is run again");
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(races))).await;
                }
                Err((Fault::Gone(m), Effect::None)) if stale < STALE => {
                    stale += 1;
                    tracing::debug!(stale, reason = %m, "a connection was gone; the transaction is run again on another");
                }
                Err((fault, effect)) => {
                    // Broken connections are dropped; sound ones go on after a rollback.
                    if !matches!(fault, Fault::Gone(_)) && conn.end(false).await.is_ok() {
                        self.conn = Some(conn);
                    }
                    return Err((fault, effect));
                }
            }
        }
    }
}

/// One try of one transaction: what became of the batches, and whether anything was written.
async fn once(
    conn: &mut dyn Conn,
    driver: &dyn Driver,
    batches: &[&Batch],
    stripe: u16,
    due: Option<(Millis, i64)>,
) -> Result<(Vec<Result<Receipt>>, bool), (Fault, Effect)> {
    let before = |f: Fault| (f, Effect::None);
    let dialect = driver.dialect();
    conn.begin(!batches.iter().all(|b| b.passing())).await.map_err(before)?;
    let mut rows = Rows::partial();
    batches.iter().for_each(|b| wants(&mut rows, b, stripe));
    let outcomes = {
        let mut round = 0;
        loop {
            load::load(&mut rows, conn, dialect).await.map_err(before)?;
            match run(&mut rows, batches.iter().copied(), stripe) {
                Grouped::Done(outcomes) => break outcomes,
                Grouped::Missing if round < ROUNDS => round += 1,
                Grouped::Missing => return Err(before(Fault::Other("a batch asks for ever more rows".into()))),
            }
        }
    };
    let changed = save::save(&mut rows, conn, dialect).await.map_err(before)?;
    if let Some(due) = due.filter(|_| changed) {
        purge(conn, dialect, due).await.map_err(before)?;
    }
    // Whether a commit whose answer is lost has happened, nobody knows.
    conn.end(changed)
        .await
        .map_err(|f| (f, if changed { Effect::Unknown } else { Effect::None }))?;
    Ok((outcomes, changed))
}

/// What a caller gets whose writer is gone.
pub(super) fn closed() -> Error {
    Error::unavailable("store.closed", "the store was closed").hint("open it again")
}
