//! What may happen, drawn by chance: with small numbers, so that it happens together.

use levqor_core::credits::{Category, Expiry, LedgerOp, NewGrant, OnExpired, Overage};
use levqor_core::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};
use proptest::prelude::*;

use crate::model::Model;

pub const ACCOUNTS: [&str; 3] = ["ann", "bob", "cy"];

#[derive(Clone, Debug)]
pub enum Act {
    Grant {
        account: usize,
        amount: i64,
        priority: i64,
        promo: bool,
        /// From now.
        starts: Option<i64>,
        lasts: Option<i64>,
        /// Before now.
        booked: Option<i64>,
        paid: Option<i64>,
    },
    Spend(usize, i64),
    Hold(usize, i64, Option<i64>),
    Capture {
        hold: usize,
        amount: Option<i64>,
        last: bool,
        allow: bool,
    },
    Release(usize),
    Extend(usize, i64),
    Refund {
        txn: usize,
        amount: Option<i64>,
        days: Option<u32>,
    },
    Clawback(usize, i64),
    Transfer(usize, usize, i64),
    Overdraft(usize, i64),
    Freeze(usize, bool),
    Fold(usize),
}

/// What is sent to a ledger.
#[derive(Clone, Debug)]
pub enum Send {
    /// Operations of one batch.
    Ops(Vec<Act>),
    /// A batch of before, under its key.
    Again(usize),
    /// Something else under a key of before.
    Misuse(usize),
}

#[derive(Clone, Debug)]
pub struct Move {
    /// Milliseconds since the move before.
    pub wait: i64,
    pub send: Send,
    /// Whether to look at everything after it.
    pub look: bool,
    /// Whether a sweeper comes by, where there is one.
    pub sweep: bool,
    /// Whether it is the last of those that are sent together.
    pub flush: bool,
}

fn act() -> impl Strategy<Value = Act> {
    let account = || 0..ACCOUNTS.len();
    let some = |range: std::ops::Range<i64>| proptest::option::of(range);
    let often = |range: std::ops::Range<i64>| proptest::option::weighted(0.7, range);
    let rare = |range: std::ops::Range<i64>| proptest::option::weighted(0.15, range);
    let grant = (
        account(),
        1..30_i64,
        0..3_i64,
        any::<bool>(),
        rare(1..15),
        often(1..25),
        rare(1..30),
        some(1..20),
    );
    let grant = grant.prop_map(|(account, amount, priority, promo, starts, lasts, booked, paid)| Act::Grant {
        account,
        amount,
        priority,
        promo,
        starts,
        lasts,
        booked: booked.filter(|_| starts.is_none()),
        paid,
    });
    let capture = (any::<usize>(), some(1..20), any::<bool>(), any::<bool>());
    let capture = capture.prop_map(|(hold, amount, last, allow)| Act::Capture {
        hold,
        amount,
        last,
        allow,
    });
    let refund = (any::<usize>(), often(1..12), proptest::option::of(1..3_u32));
    let refund = refund.prop_map(|(txn, amount, days)| Act::Refund { txn, amount, days });
    prop_oneof![
        8 => grant,
        6 => (account(), 1..20_i64).prop_map(|(a, n)| Act::Spend(a, n)),
        8 => (account(), 1..20_i64, often(1..15)).prop_map(|(a, n, end)| Act::Hold(a, n, end)),
        7 => capture,
        3 => any::<usize>().prop_map(Act::Release),
        2 => (any::<usize>(), 1..20_i64).prop_map(|(h, n)| Act::Extend(h, n)),
        6 => refund,
        3 => (any::<usize>(), 0..20_i64).prop_map(|(g, n)| Act::Clawback(g, n)),
        3 => (account(), account(), 1..20_i64).prop_map(|(a, b, n)| Act::Transfer(a, b, n)),
        2 => (account(), 0..30_i64).prop_map(|(a, n)| Act::Overdraft(a, n)),
        1 => (account(), proptest::bool::weighted(0.3)).prop_map(|(a, frozen)| Act::Freeze(a, frozen)),
        1 => account().prop_map(Act::Fold),
    ]
}

pub fn moves(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Move>> {
    let send = prop_oneof![
        16 => act().prop_map(|a| Send::Ops(vec![a])),
        3 => proptest::collection::vec(act(), 2..4).prop_map(Send::Ops),
        1 => any::<usize>().prop_map(Send::Again),
        1 => any::<usize>().prop_map(Send::Misuse),
    ];
    let wait = prop_oneof![2 => Just(0), 3 => 1..3_i64, 1 => 3..12_i64];
    let one = (
        wait,
        send,
        proptest::bool::weighted(0.3),
        any::<bool>(),
        proptest::bool::weighted(0.15),
    );
    let one = one.prop_map(|(wait, send, look, sweep, flush)| Move {
        wait,
        send,
        look,
        sweep,
        flush,
    });
    proptest::collection::vec(one, n)
}

/// Ids in the order in which they are made, the same in every run.
#[derive(Default)]
pub struct Ids(u64);

impl Ids {
    fn text(&mut self, prefix: &str) -> String {
        self.0 += 1;
        format!("{prefix}_{:026}", self.0)
    }
    fn grant(&mut self) -> GrantId {
        self.text("grant").parse().unwrap()
    }
    fn hold(&mut self) -> HoldId {
        self.text("hold").parse().unwrap()
    }
    fn txn(&mut self) -> TxnId {
        self.text("txn").parse().unwrap()
    }
}

/// The operation of an act, about what the model knows by then.
pub fn op(act: &Act, model: &Model, now: i64, ids: &mut Ids) -> LedgerOp {
    let owner = |account: usize| ACCOUNTS[account].into();
    let pick = |list: Vec<String>, n: usize, none: String| list.get(n % list.len().max(1)).cloned().unwrap_or(none);
    let holds = || model.holds.iter().map(|h| h.id.clone()).collect();
    let later = |span: Option<i64>| span.map(|n| Millis(now + n));
    // An instant, or a span that counts from another one.
    let ends = |span: Option<i64>| {
        span.map(|n| {
            if n % 2 == 0 {
                Expiry::In(Millis(n))
            } else {
                Expiry::At(Millis(now + n))
            }
        })
    };
    match *act {
        Act::Grant {
            account,
            amount,
            priority,
            promo,
            starts,
            lasts,
            booked,
            paid,
        } => LedgerOp::Grant(NewGrant {
            id: ids.grant(),
            txn: ids.txn(),
            priority,
            category: if promo { Category::Promo } else { Category::Paid },
            effective_at: later(starts),
            expires: ends(lasts),
            booked_at: booked.map(|n| Millis(now - n)),
            paid: paid.map(money),
            ..NewGrant::new(ACCOUNTS[account], MicroCredits(amount), Millis(now))
        }),
        Act::Spend(account, n) => LedgerOp::Spend {
            txn: ids.txn(),
            owner: owner(account),
            amount: MicroCredits(n),
        },
        Act::Hold(account, n, lasts) => LedgerOp::Hold {
            hold: ids.hold(),
            owner: owner(account),
            amount: MicroCredits(n),
            expires: ends(lasts),
        },
        Act::Capture {
            hold,
            amount,
            last,
            allow,
        } => LedgerOp::Capture {
            txn: ids.txn(),
            hold: pick(holds(), hold, ids.hold().to_string()).parse().unwrap(),
            amount: amount.map(MicroCredits),
            last,
            overage: if allow { Overage::Allow } else { Overage::Reject },
        },
        Act::Release(hold) => LedgerOp::Release {
            hold: pick(holds(), hold, ids.hold().to_string()).parse().unwrap(),
        },
        Act::Extend(hold, n) => LedgerOp::Extend {
            hold: pick(holds(), hold, ids.hold().to_string()).parse().unwrap(),
            until: ends(Some(n)).unwrap(),
        },
        Act::Refund { txn, amount, days } => {
            let txns = model.txns.iter().map(|t| t.id.clone()).collect();
            LedgerOp::Refund {
                txn: ids.txn(),
                of: pick(txns, txn, ids.txn().to_string()).parse().unwrap(),
                amount: amount.map(MicroCredits),
                on_expired: days.map_or(OnExpired::Expire, OnExpired::Regrant),
            }
        }
        Act::Clawback(grant, n) => {
            let grants = model.lots.iter().filter_map(|l| l.id.clone()).collect();
            LedgerOp::Clawback {
                txn: ids.txn(),
                grant: pick(grants, grant, ids.grant().to_string()).parse().unwrap(),
                refunded: money(n),
            }
        }
        Act::Transfer(from, to, n) => LedgerOp::Transfer {
            txn: ids.txn(),
            from: owner(from),
            to: owner(to),
            amount: MicroCredits(n),
        },
        Act::Overdraft(account, n) => LedgerOp::Overdraft {
            owner: owner(account),
            limit: MicroCredits(n),
        },
        Act::Freeze(account, frozen) => LedgerOp::Freeze {
            owner: owner(account),
            frozen,
        },
        Act::Fold(account) => LedgerOp::Fold { owner: owner(account) },
    }
}

fn money(minor: i64) -> Money {
    Money {
        minor,
        currency: "EUR".into(),
    }
}
