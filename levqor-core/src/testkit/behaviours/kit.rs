//! Short ways to say what behaviours do.

use std::sync::Arc;

use crate::credits::{Account, LedgerAnswer, LedgerOp, NewGrant, audit};
use crate::error::Result;
use crate::jobs::{Finish, Job, Lease, NewJob, QueueAnswer, QueueOp};
use crate::store::{Answer, Batch, Key, LedgerScope, Op, Receipt, Store};
use crate::types::{HoldId, JobId, MicroCredits, Millis, Tenant, TxnId};

/// When behaviours begin.
pub(super) const T0: Millis = Millis(1_750_000_000_000);

/// So many milliseconds after the beginning.
pub(super) fn at(ms: i64) -> Millis {
    T0 + Millis(ms)
}

pub(super) fn tenant() -> Tenant {
    Tenant::default()
}

pub(super) fn credits(n: i64) -> MicroCredits {
    MicroCredits(n * MicroCredits::PER_CREDIT)
}

pub(super) fn batch(now: Millis, ops: Vec<Op>) -> Batch {
    Batch {
        ops,
        ..Batch::new(tenant(), now)
    }
}

pub(super) fn key(text: &str, fingerprint: &str) -> Key {
    Key {
        text: text.into(),
        fingerprint: fingerprint.into(),
    }
}

pub(super) fn grant(owner: &str, n: i64) -> LedgerOp {
    LedgerOp::Grant(NewGrant::new(owner, credits(n), T0))
}

pub(super) fn spend(owner: &str, n: i64) -> LedgerOp {
    LedgerOp::Spend {
        txn: TxnId::new(T0),
        owner: owner.into(),
        amount: credits(n),
    }
}

pub(super) fn hold(id: &HoldId, owner: &str, n: i64, expires_at: Option<Millis>) -> LedgerOp {
    LedgerOp::Hold {
        hold: id.clone(),
        owner: owner.into(),
        amount: credits(n),
        expires: expires_at.map(Into::into),
    }
}

pub(super) fn job(queue: &str) -> NewJob {
    NewJob {
        id: JobId::new(T0),
        queue: queue.into(),
        handler: "work".into(),
        account: None,
        args: "{}".into(),
        spec: None,
        priority: 100,
        run_at: T0,
        max_attempts: 3,
        hold: None,
        held: MicroCredits::ZERO,
        unique: None,
        concurrency_key: None,
        batch: None,
    }
}

pub(super) fn enqueue(new: &NewJob) -> Op {
    QueueOp::Enqueue(Box::new(new.clone())).into()
}

/// Commits one operation, which must go well.
pub(super) async fn must(store: &Arc<dyn Store>, now: Millis, op: impl Into<Op>) -> Answer {
    all(store, now, vec![op.into()]).await.remove(0)
}

/// Commits operations, which must go well.
pub(super) async fn all(store: &Arc<dyn Store>, now: Millis, ops: Vec<Op>) -> Vec<Answer> {
    match store.commit(batch(now, ops)).await {
        Ok(receipt) => receipt.answers,
        Err(e) => panic!("a batch was refused: {e:?}"),
    }
}

/// The code of a refusal; `ok` if it was none.
pub(super) fn code(outcome: &Result<Receipt>) -> &str {
    outcome.as_ref().err().map_or("ok", |e| e.code())
}

/// Commits one operation and says how it was refused.
pub(super) async fn refused(store: &Arc<dyn Store>, now: Millis, op: impl Into<Op>) -> String {
    code(&store.commit(batch(now, vec![op.into()])).await).to_owned()
}

pub(super) async fn lease(store: &Arc<dyn Store>, now: Millis, queue: &str, max: usize) -> Vec<Arc<Job>> {
    let ask = Lease {
        queues: vec![queue.into()],
        worker: "worker-1".into(),
        max,
        lease: Millis::secs(60),
        max_crashes: 3,
    };
    match must(store, now, QueueOp::Lease(ask)).await {
        Answer::Queue(QueueAnswer::Leased { jobs, .. }) => jobs,
        other => panic!("a lease was answered with {other:?}"),
    }
}

/// Leases the one job that is due.
pub(super) async fn lease_one(store: &Arc<dyn Store>, now: Millis, queue: &str) -> Arc<Job> {
    let mut jobs = lease(store, now, queue, 10).await;
    assert_eq!(jobs.len(), 1, "one job is due in {queue}");
    jobs.remove(0)
}

pub(super) fn finish(job: &Job, how: Finish) -> Op {
    QueueOp::Finish {
        job: job.id.clone(),
        fence: job.fence,
        how,
    }
    .into()
}

pub(super) fn done(capture: Option<MicroCredits>) -> Finish {
    Finish::Done {
        result: "{\"ok\":true}".into(),
        capture,
    }
}

pub(super) fn failed(retry_at: Option<Millis>) -> Finish {
    Finish::Failed {
        error: "{\"code\":\"handler.failed\"}".into(),
        retry_at,
    }
}

pub(super) async fn read_job(store: &Arc<dyn Store>, id: &JobId) -> Arc<Job> {
    match store.reads().queue.job(&tenant(), id).await {
        Ok(Some(job)) => job,
        other => panic!("{id} should be there, found {other:?}"),
    }
}

pub(super) async fn account(store: &Arc<dyn Store>, owner: &str) -> Arc<Account> {
    match store.reads().ledger.account(&tenant(), owner).await {
        Ok(Some(account)) => account,
        other => panic!("the account {owner} should be there, found {other:?}"),
    }
}

/// Audits the ledger, which must be sound, and says how many entries it has.
pub(super) async fn sound(store: &Arc<dyn Store>) -> usize {
    match store.reads().ledger.rows(&tenant(), &LedgerScope::Everything).await {
        Ok(rows) => {
            let report = audit(&rows);
            assert_eq!((report.sum, &report.violations[..]), (0, &[][..]), "the ledger is not sound");
            report.entries
        }
        Err(e) => panic!("the ledger cannot be read: {e:?}"),
    }
}

pub(super) fn ledger_answer(answer: &Answer) -> &LedgerAnswer {
    match answer {
        Answer::Ledger(answer) => answer,
        other => panic!("a ledger operation was answered with {other:?}"),
    }
}

pub(super) fn job_answer(answer: &Answer) -> &Arc<Job> {
    match answer {
        Answer::Queue(QueueAnswer::Job(job)) => job,
        other => panic!("a queue operation was answered with {other:?}"),
    }
}

/// Waits for many commits at once.
pub(super) async fn together(store: &Arc<dyn Store>, batches: Vec<Batch>) -> Vec<Result<Receipt>> {
    futures_util::future::join_all(batches.into_iter().map(|b| store.commit(b))).await
}
