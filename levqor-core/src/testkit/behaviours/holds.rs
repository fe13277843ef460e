//! Holds that pay for jobs: settled in the commit that ends the job.

use std::sync::Arc;

use super::kit::{
    account, all, at, batch, code, credits, done, enqueue, failed, finish, grant, hold, job, job_answer, lease_one, must,
    read_job, refused, sound,
};
use crate::jobs::{Finish, Job, JobState, NewJob};
use crate::store::Store;
use crate::testkit::stores::Stores;
use crate::types::{HoldId, MicroCredits, Millis};

/// A leased job with a hold of ten out of a hundred credits, made in one batch.
async fn paid(store: &Arc<dyn Store>, expires_at: Option<Millis>) -> Arc<Job> {
    must(store, at(0), grant("ada", 100)).await;
    let id = HoldId::new(at(0));
    let new = NewJob {
        hold: Some(id.clone()),
        account: Some("ada".into()),
        ..job("q")
    };
    all(store, at(0), vec![hold(&id, "ada", 10, expires_at).into(), enqueue(&new)]).await;
    let before = account(store, "ada").await;
    assert_eq!((before.posted, before.held), (credits(100), credits(10)));
    lease_one(store, at(1), "q").await
}

async fn balance(store: &Arc<dyn Store>) -> (MicroCredits, MicroCredits) {
    let account = account(store, "ada").await;
    sound(store).await;
    (account.posted, account.held)
}

/// What is due is captured, the rest released, and both can be seen in the answer and in the job.
pub async fn a_job_that_is_done_pays_from_its_hold(s: &Stores) {
    let store = &s.first;
    let leased = paid(store, None).await;
    let answer = must(store, at(2), finish(&leased, done(Some(credits(4))))).await;
    assert_eq!(balance(store).await, (credits(96), credits(0)));
    let ended = read_job(store, &leased.id).await;
    assert_eq!(
        (ended.state, ended.captured, &ended.hold),
        (JobState::Done, credits(4), &None)
    );
    assert_eq!(job_answer(&answer), &ended);
}

/// No amount means the whole hold; zero means nothing.
pub async fn a_job_that_is_done_can_pay_all_or_nothing(s: &Stores) {
    let store = &s.first;
    let leased = paid(store, None).await;
    must(store, at(2), finish(&leased, done(None))).await;
    assert_eq!(balance(store).await, (credits(90), credits(0)));
    let leased = paid_again(store).await;
    must(store, at(4), finish(&leased, done(Some(MicroCredits::ZERO)))).await;
    assert_eq!(balance(store).await, (credits(90), credits(0)));
}

async fn paid_again(store: &Arc<dyn Store>) -> Arc<Job> {
    let id = HoldId::new(at(3));
    let new = NewJob {
        hold: Some(id.clone()),
        ..job("q")
    };
    all(store, at(3), vec![hold(&id, "ada", 10, None).into(), enqueue(&new)]).await;
    lease_one(store, at(3), "q").await
}

/// A try that failed keeps the hold, the last one releases it; so do calling off and redriving without one.
pub async fn a_job_that_failed_pays_nothing(s: &Stores) {
    let store = &s.first;
    let leased = paid(store, None).await;
    must(store, at(2), finish(&leased, failed(Some(at(3))))).await;
    assert_eq!(balance(store).await, (credits(100), credits(10)));
    let leased = lease_one(store, at(3), "q").await;
    must(store, at(4), finish(&leased, failed(None))).await;
    assert_eq!(balance(store).await, (credits(100), credits(0)));
    assert_eq!(read_job(store, &leased.id).await.state, JobState::Dead);
    let leased = paid_again(store).await;
    must(store, at(5), finish(&leased, Finish::Cancelled)).await;
    assert_eq!(balance(store).await, (credits(100), credits(0)));
}

/// The job still ends, nothing is captured, and the ledger stays sound.
pub async fn a_hold_that_ran_out_does_not_hinder_the_end(s: &Stores) {
    let store = &s.first;
    let leased = paid(store, Some(at(1_000))).await;
    must(store, at(2_000), finish(&leased, done(Some(credits(4))))).await;
    let ended = read_job(store, &leased.id).await;
    assert_eq!((ended.state, ended.captured), (JobState::Done, credits(0)));
    sound(store).await;
    must(store, at(2_001), crate::credits::LedgerOp::Fold { owner: "ada".into() }).await;
    assert_eq!(balance(store).await, (credits(100), credits(0)));
}

/// A job cannot pay more than was held for it; it stays leased, and can be finished rightly.
pub async fn more_than_the_hold_is_refused(s: &Stores) {
    let store = &s.first;
    let leased = paid(store, None).await;
    assert_eq!(
        refused(store, at(2), finish(&leased, done(Some(credits(11))))).await,
        "ledger.capture_exceeds_hold"
    );
    assert_eq!(read_job(store, &leased.id).await.state, JobState::Leased);
    let outcome = store
        .commit(batch(at(3), vec![finish(&leased, done(Some(credits(10))))]))
        .await;
    assert_eq!(code(&outcome), "ok");
    assert_eq!(balance(store).await, (credits(90), credits(0)));
}
