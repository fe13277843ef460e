//! Credits under load.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::{account, at, batch, code, credits, grant, must, sound, spend, together};
use crate::testkit::stores::Stores;

/// Eight tasks on two stores spend 8,000 credits one by one; there are 4,000.
pub async fn no_more_is_spent_than_there_is(s: &Stores) {
    must(&s.first, at(0), grant("ada", 4_000)).await;
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let store = if i % 2 == 0 { s.first.clone() } else { s.second.clone() };
            tokio::spawn(async move {
                let mut spent = 0;
                for _ in 0..20 {
                    for outcome in together(&store, (0..50).map(|_| batch(at(1), vec![spend("ada", 1).into()])).collect()).await {
                        match code(&outcome) {
                            "ok" => spent += 1,
                            other => assert_eq!(other, "ledger.insufficient_credits"),
                        }
                    }
                }
                spent
            })
        })
        .collect();
    let mut spent = 0;
    for task in tasks {
        spent += task.await.unwrap();
    }
    assert_eq!(spent, 4_000);
    let account = account(&s.first, "ada").await;
    assert_eq!(
        (account.posted, account.held, account.version),
        (credits(0), credits(0), 4_001)
    );
    assert_eq!(sound(&s.second).await, 2 * 4_001);
}

/// What an audit reads is one moment of the ledger, also while others spend.
pub async fn an_audit_sees_one_moment(s: &Stores) {
    must(&s.first, at(0), grant("ada", 1_000)).await;
    let over = AtomicBool::new(false);
    let spending = async {
        for _ in 0..40 {
            let batches = (0..10).map(|_| batch(at(1), vec![spend("ada", 1).into()])).collect();
            together(&s.first, batches)
                .await
                .iter()
                .for_each(|o| assert_eq!(code(o), "ok"));
        }
        over.store(true, Ordering::SeqCst);
    };
    let auditing = async {
        while !over.load(Ordering::SeqCst) {
            sound(&s.second).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(spending, auditing);
    assert_eq!(sound(&s.second).await, 802);
}

/// New accounts, made by two stores at the same time.
pub async fn many_accounts_at_once(s: &Stores) {
    let grants = |from: i64| {
        (from..from + 100)
            .map(|i| batch(at(i), vec![grant(&format!("a{}", i % 120), 1).into()]))
            .collect()
    };
    let (a, b) = tokio::join!(together(&s.first, grants(0)), together(&s.second, grants(60)));
    a.iter().chain(&b).for_each(|o| assert_eq!(code(o), "ok"));
    assert_eq!(sound(&s.first).await, 400);
    for i in 0..120 {
        let times = (0..160).filter(|n| n % 120 == i && *n < 100).count() + (60..160).filter(|n| n % 120 == i).count();
        assert_eq!(
            account(&s.second, &format!("a{i}")).await.posted,
            credits(i64::try_from(times).unwrap()),
            "a{i}"
        );
    }
}
