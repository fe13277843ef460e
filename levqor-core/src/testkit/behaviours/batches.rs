//! Batches: all or nothing, and once.

use super::kit::{
    account, all, at, batch, code, credits, enqueue, grant, job, ledger_answer, must, read_job, sound, spend, tenant, together,
};
use crate::error::Effect;
use crate::store::Batch;
use crate::testkit::stores::Stores;

/// A refused operation undoes those before it, and harms no batch beside or after it.
pub async fn a_batch_is_all_or_nothing(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 10)).await;
    let new = job("q");
    let broken = batch(at(1), vec![spend("ada", 4).into(), enqueue(&new), spend("ada", 7).into()]);
    let others = (0..3).map(|_| batch(at(1), vec![spend("ada", 1).into()]));
    let outcomes = together(store, std::iter::once(broken).chain(others).collect()).await;
    assert_eq!(code(&outcomes[0]), "ledger.insufficient_credits");
    assert_eq!(outcomes[0].as_ref().unwrap_err().effect(), Effect::None);
    outcomes[1..].iter().for_each(|o| assert_eq!(code(o), "ok"));
    assert_eq!(store.reads().queue.job(&tenant(), &new.id).await, Ok(None));
    assert_eq!(account(store, "ada").await.posted, credits(7));
    all(store, at(2), vec![spend("ada", 7).into(), enqueue(&new)]).await;
    assert_eq!(account(store, "ada").await.posted, credits(0));
    read_job(store, &new.id).await;
    sound(store).await;
}

fn keyed(text: &str, fingerprint: &str, n: i64) -> Batch {
    batch(at(1), vec![spend("ada", n).into()]).keyed(Some(super::kit::key(text, fingerprint)))
}

/// The second time nothing happens, and the answer is that of the first.
pub async fn the_same_key_gives_the_same_answer(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 10)).await;
    let first = store.commit(keyed("k", "f", 3)).await.unwrap();
    let second = s.second.commit(keyed("k", "f", 3)).await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.answers, second.answers);
    assert!(second.wakes.is_empty());
    assert_eq!(account(store, "ada").await.posted, credits(7));
    // Another tenant's keys are its own.
    let theirs = Batch {
        tenant: crate::types::Tenant::new("acme").unwrap(),
        ..keyed("k", "g", 3)
    };
    assert_eq!(code(&store.commit(theirs).await), "ledger.insufficient_credits");
}

/// A thousand callers, half of them at each of two stores.
pub async fn a_thousand_tries_under_one_key_make_one_effect(s: &Stores) {
    must(&s.first, at(0), grant("ada", 10)).await;
    let half = || (0..500).map(|_| keyed("k", "f", 3)).collect();
    let (a, b) = tokio::join!(together(&s.first, half()), together(&s.second, half()));
    let receipts: Vec<_> = a.into_iter().chain(b).map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|r| !r.replayed).count(), 1);
    assert!(receipts.iter().all(|r| r.answers == receipts[0].answers));
    assert_eq!(account(&s.first, "ada").await.posted, credits(7));
    assert_eq!(sound(&s.first).await, 4);
}

/// Another payload under a used key is refused, and the first answer stays.
pub async fn a_key_stands_for_one_payload(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 10)).await;
    store.commit(keyed("k", "f", 3)).await.unwrap();
    assert_eq!(code(&store.commit(keyed("k", "other", 4)).await), "idempotency.mismatch");
    assert!(store.commit(keyed("k", "f", 3)).await.unwrap().replayed);
    assert_eq!(account(store, "ada").await.posted, credits(7));
}

/// What was refused for lack of credits is refused again, even if there are credits by then.
pub async fn business_failures_stick_to_their_key(s: &Stores) {
    let store = &s.first;
    let first = store.commit(keyed("k", "f", 3)).await.unwrap_err();
    assert_eq!(first.code(), "ledger.insufficient_credits");
    must(store, at(1), grant("ada", 10)).await;
    let again = store.commit(keyed("k", "f", 3)).await.unwrap_err();
    assert_eq!(
        (again.code(), again.message(), again.details()),
        (first.code(), first.message(), first.details())
    );
    assert_eq!(code(&store.commit(keyed("k2", "f", 3)).await), "ok");
    assert_eq!(account(store, "ada").await.posted, credits(7));
}

/// Whoever corrects wrong input may use the same key.
pub async fn wrong_input_does_not_stick_to_its_key(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 10)).await;
    assert_eq!(code(&store.commit(keyed("k", "f", -3)).await), "ledger.invalid_amount");
    let right = store.commit(keyed("k", "g", 3)).await.unwrap();
    assert!(!right.replayed);
    assert_eq!(ledger_answer(&right.answers[0]).posted, credits(7));
}

/// A second job, hold or transaction under an id that is taken is refused, and the first one stays.
pub async fn an_id_is_given_once(s: &Stores) {
    let store = &s.first;
    must(store, at(0), grant("ada", 10)).await;
    let new = job("q");
    must(store, at(0), enqueue(&new)).await;
    let other = crate::jobs::NewJob {
        args: "[1]".into(),
        ..new.clone()
    };
    let mut batches = vec![batch(at(1), vec![spend("ada", 1).into(), enqueue(&other)])];
    batches.extend((0..3).map(|_| batch(at(1), vec![spend("ada", 1).into()])));
    let outcomes = together(store, batches).await;
    assert_eq!(code(&outcomes[0]), "store.exists");
    outcomes[1..].iter().for_each(|o| assert_eq!(code(o), "ok"));
    assert_eq!(&*read_job(store, &new.id).await.args, "{}");
    // Twice in one group too.
    let twin = job("q");
    let twins = together(store, (0..2).map(|_| batch(at(2), vec![enqueue(&twin)])).collect()).await;
    assert_eq!(twins.iter().filter(|o| o.is_ok()).count(), 1);
    let op = spend("ada", 1);
    must(store, at(3), op.clone()).await;
    assert_eq!(super::kit::refused(store, at(3), op).await, "store.exists");
    assert_eq!(account(store, "ada").await.posted, credits(6));
    sound(store).await;
}
