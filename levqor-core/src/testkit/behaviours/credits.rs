//! Credits under load.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::{account, all, at, batch, code, credits, grant, hold, ledger_answer, must, sound, spend, together};
use crate::credits::{LedgerOp, NewGrant, OnExpired, Overage};
use crate::store::Batch;
use crate::testkit::stores::Stores;
use crate::types::{HoldId, Money, TxnId};

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

/// Sends the same kind of batch forty times to each of two stores at once, and counts what went well; the others
/// must be refused with one code.
async fn race(s: &Stores, one: impl Fn() -> LedgerOp, refused: &str) -> usize {
    let half = || (0..40).map(|_| batch(at(1), vec![one().into()])).collect::<Vec<Batch>>();
    let (a, b) = tokio::join!(together(&s.first, half()), together(&s.second, half()));
    let outcomes = || a.iter().chain(&b).map(code);
    outcomes().filter(|c| *c != "ok").for_each(|c| assert_eq!(c, refused));
    outcomes().filter(|c| *c == "ok").count()
}

/// Two stores refund one spend, capture one hold, and claw back one grant, all at the same time.
pub async fn two_stores_never_give_back_twice(s: &Stores) {
    let paid = |minor| Money {
        minor,
        currency: "EUR".into(),
    };
    let new = NewGrant {
        paid: Some(paid(100)),
        ..NewGrant::new("ada", credits(100), at(0))
    };
    must(&s.first, at(0), LedgerOp::Grant(new.clone())).await;
    let spent = must(&s.first, at(0), spend("ada", 30)).await;
    let of: TxnId = ledger_answer(&spent).id.parse().unwrap();
    let refund = || LedgerOp::Refund {
        txn: TxnId::new(at(1)),
        of: of.clone(),
        amount: Some(credits(1)),
        on_expired: OnExpired::Expire,
    };
    assert_eq!(race(s, refund, "ledger.exceeds_refundable").await, 30);
    assert_eq!(account(&s.first, "ada").await.posted, credits(100));

    let id = HoldId::new(at(0));
    must(&s.second, at(0), hold(&id, "ada", 25, None)).await;
    let capture = || LedgerOp::Capture {
        txn: TxnId::new(at(1)),
        hold: id.clone(),
        amount: Some(credits(1)),
        last: false,
        overage: Overage::Reject,
    };
    assert_eq!(race(s, capture, "ledger.hold_already_captured").await, 25);

    let clawback = || LedgerOp::Clawback {
        txn: TxnId::new(at(1)),
        grant: new.id.clone(),
        refunded: paid(80),
    };
    assert_eq!(race(s, clawback, "").await, 80);
    let after = account(&s.second, "ada").await;
    assert_eq!((after.posted, after.held, after.debt), (credits(-5), credits(0), credits(5)));
    sound(&s.second).await;
}

/// One grant for one source, whoever is first.
pub async fn a_source_is_granted_once(s: &Stores) {
    let one = || {
        LedgerOp::Grant(NewGrant {
            source: Some("invoice-7".into()),
            ..NewGrant::new("ada", credits(10), at(1))
        })
    };
    assert_eq!(race(s, one, "ledger.source_taken").await, 1);
    assert_eq!(account(&s.first, "ada").await.posted, credits(10));
    sound(&s.second).await;
}

/// Two stores move credits between three accounts in a ring, each in the other's direction: nothing is lost, nobody
/// waits for ever.
pub async fn transfers_in_both_directions(s: &Stores) {
    let names = ["ada", "bob", "cy"];
    all(&s.first, at(0), names.map(|n| grant(n, 50).into()).to_vec()).await;
    let moves = |step: usize| {
        (0..60)
            .map(|i| {
                let op = LedgerOp::Transfer {
                    txn: TxnId::new(at(1)),
                    from: names[i % 3].into(),
                    to: names[(i + step) % 3].into(),
                    amount: credits(1),
                };
                batch(at(1), vec![op.into()])
            })
            .collect()
    };
    let (a, b) = tokio::join!(together(&s.first, moves(1)), together(&s.second, moves(2)));
    a.iter().chain(&b).for_each(|o| assert_eq!(code(o), "ok"));
    for name in names {
        assert_eq!(account(&s.first, name).await.posted, credits(50), "{name}");
    }
    sound(&s.second).await;
}
