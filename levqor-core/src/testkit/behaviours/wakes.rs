//! Wake-ups.

use std::time::Duration;

use super::kit::{at, done, enqueue, finish, job, lease_one, must};
use crate::jobs::NewJob;
use crate::store::topic;
use crate::testkit::stores::Stores;

/// Longer than any machine takes.
const LONG: Duration = Duration::from_secs(20);

/// Also one that came while nobody was waiting.
pub async fn a_waiter_hears_an_enqueue(s: &Stores) {
    let mut queue = s.first.wakes(&topic::queue("q")).await.unwrap();
    while queue.next(Duration::ZERO).await {}
    must(&s.first, at(0), enqueue(&job("q"))).await;
    assert!(queue.next(LONG).await);
    let (heard, _) = tokio::join!(queue.next(LONG), must(&s.first, at(0), enqueue(&job("q"))));
    assert!(heard);
}

/// Where the store says that others see it and the database can tell them: again and again.
pub async fn a_waiter_hears_what_another_process_does(s: &Stores) {
    if s.first.info().kind == "sqlite" {
        // SQLite tells nobody; whoever waits looks by itself. What is heard is heard of one's own.
        return a_waiter_hears_an_enqueue(s).await;
    }
    let mut queue = s.second.wakes(&topic::queue("q")).await.unwrap();
    // The first may be the one that everybody gets after a time of deafness; the others cannot.
    for round in 0..5 {
        must(&s.first, at(0), enqueue(&job("q"))).await;
        assert!(queue.next(LONG).await, "round {round}");
        while queue.next(Duration::ZERO).await {}
    }
}

/// Not for jobs that are none of its business.
pub async fn who_waits_for_a_job_hears_its_end(s: &Stores) {
    let new = NewJob { ..job("q") };
    must(&s.first, at(0), enqueue(&new)).await;
    let leased = lease_one(&s.first, at(0), "q").await;
    let mut wakes = s.first.wakes(&topic::job(&new.id)).await.unwrap();
    must(&s.first, at(1), finish(&leased, done(None))).await;
    assert!(wakes.next(LONG).await);
}
