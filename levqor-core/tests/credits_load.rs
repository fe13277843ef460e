//! What an operation on credits loads: rows that are live, never the account's history.
#![allow(clippy::unwrap_used)]

use levqor_core::credits::{self, Expiry, LedgerOp, LedgerRows, NewGrant, Overage};
use levqor_core::table::{Row, Stop, Table};
use levqor_core::types::{HoldId, MicroCredits, Millis, Tenant, TxnId};

const NOW: Millis = Millis(1_000);

/// A ledger that counts what a store would have to load from it.
struct Store {
    rows: LedgerRows,
    tenant: Tenant,
}

impl Store {
    fn new() -> Self {
        Store {
            rows: LedgerRows::complete(),
            tenant: Tenant::default(),
        }
    }

    fn apply(&mut self, op: &LedgerOp) {
        self.apply_at(op, NOW);
    }

    fn apply_at(&mut self, op: &LedgerOp, now: Millis) {
        match credits::apply(&mut self.rows, &self.tenant, op, now, 0) {
            Ok(_) => {}
            Err(e) => panic!("{e:?}"),
        }
    }

    /// How many rows are loaded for an operation, in how many rounds.
    fn cost(&self, op: &LedgerOp) -> (usize, usize) {
        self.cost_at(op, NOW)
    }

    fn cost_at(&self, op: &LedgerOp, now: Millis) -> (usize, usize) {
        let mut rows = LedgerRows::partial();
        credits::wants(&mut rows, &self.tenant, op, 0);
        let (mut loaded, mut rounds) = (0, 0);
        loop {
            let ours = &self.rows;
            loaded += load(&ours.accounts, &mut rows.accounts);
            loaded += load(&ours.grants, &mut rows.grants);
            loaded += load(&ours.sources, &mut rows.sources);
            loaded += load(&ours.holds, &mut rows.holds);
            loaded += load(&ours.slices, &mut rows.slices);
            loaded += load(&ours.txns, &mut rows.txns);
            loaded += load(&ours.entries, &mut rows.entries);
            rounds += 1;
            let marks = (
                rows.accounts.mark(),
                rows.grants.mark(),
                rows.holds.mark(),
                rows.slices.mark(),
                rows.txns.mark(),
                rows.entries.mark(),
            );
            match credits::apply(&mut rows, &self.tenant, op, now, 0) {
                Ok(_) => return (loaded, rounds),
                Err(Stop::Missing) => {
                    rows.accounts.rollback(marks.0);
                    rows.grants.rollback(marks.1);
                    rows.holds.rollback(marks.2);
                    rows.slices.rollback(marks.3);
                    rows.txns.rollback(marks.4);
                    rows.entries.rollback(marks.5);
                }
                Err(e) => panic!("{e:?}"),
            }
        }
    }
}

fn load<R: Row>(from: &Table<R>, to: &mut Table<R>) -> usize {
    let wants = to.take_wants();
    let found = wants.keys.iter().filter_map(|k| from.peek(k));
    let found: Vec<_> = found.chain(wants.groups.iter().flat_map(|g| from.peek_group(g))).collect();
    found.iter().for_each(|r| to.load((***r).clone()));
    let mut n = found.len();
    for (group, (limit, upto)) in &wants.fronts {
        let members = from.peek_group(group).take_while(|r| r.rank() <= *upto);
        let front: Vec<_> = members.take(*limit).collect();
        front.iter().for_each(|r| to.load((***r).clone()));
        n += front.len();
        let last = front.last().filter(|_| front.len() == *limit);
        to.front_loaded(group.clone(), (*limit, *upto), last.map(|r| &***r));
    }
    to.loaded(wants);
    n
}

fn grant(n: i64) -> LedgerOp {
    LedgerOp::Grant(NewGrant::new("hot", MicroCredits(n), NOW))
}

fn spend(n: i64) -> LedgerOp {
    LedgerOp::Spend {
        txn: TxnId::new(NOW),
        owner: "hot".into(),
        amount: MicroCredits(n),
    }
}

fn hold(n: i64) -> (HoldId, LedgerOp) {
    let id = HoldId::new(NOW);
    let op = LedgerOp::Hold {
        hold: id.clone(),
        owner: "hot".into(),
        amount: MicroCredits(n),
        expires: Some(Expiry::In(Millis::hours(1))),
    };
    (id, op)
}

fn capture(hold: &HoldId) -> LedgerOp {
    LedgerOp::Capture {
        txn: TxnId::new(NOW),
        hold: hold.clone(),
        amount: None,
        last: true,
        overage: Overage::Reject,
    }
}

/// A hot account: 10,000 grants that are used up, 30,000 entries, 10,000 closed holds, 5,000 open ones, one live lot.
fn hot() -> (Store, HoldId) {
    let mut store = Store::new();
    for _ in 0..10_000 {
        store.apply(&grant(2));
        store.apply(&spend(1));
        let (id, open) = hold(1);
        store.apply(&open);
        store.apply(&capture(&id));
    }
    store.apply(&grant(1_000_000));
    let mut last = None;
    for _ in 0..5_000 {
        let (id, open) = hold(1);
        store.apply(&open);
        last = Some(id);
    }
    (store, last.unwrap())
}

#[test]
fn what_is_loaded_does_not_grow_with_the_history() {
    let (store, open) = hot();
    // The account, the system's account, the live lot.
    assert_eq!(store.cost(&spend(1)), (3, 1));
    assert_eq!(store.cost(&hold(1).1), (2, 1));
    assert_eq!(store.cost(&grant(1)), (2, 1));
    // The hold and its slice first, which say what else.
    let (rows, rounds) = store.cost(&capture(&open));
    assert!(rows <= 5 && rounds <= 3, "{rows} rows in {rounds} rounds");
    let (rows, rounds) = store.cost(&LedgerOp::Release { hold: open });
    assert!(rows <= 4 && rounds <= 3, "{rows} rows in {rounds} rounds");
}

/// When one hold of five thousand runs out, the others are not looked at; when all do, the rounds stay few.
#[test]
fn what_runs_out_is_found_among_what_does_not() {
    let mut store = Store::new();
    store.apply(&grant(1_000_000));
    for i in 0..5_000 {
        let id = HoldId::new(NOW);
        store.apply(&LedgerOp::Hold {
            hold: id,
            owner: "hot".into(),
            amount: MicroCredits(1),
            expires: Some(Expiry::In(Millis(10 + i))),
        });
    }
    let fold = LedgerOp::Fold { owner: "hot".into() };
    let (rows, rounds) = store.cost_at(&fold, NOW + Millis(10));
    assert!(rows <= 200 && rounds <= 4, "{rows} rows in {rounds} rounds");
    let (rows, rounds) = store.cost_at(&fold, NOW + Millis(10_000));
    assert!(rows <= 25_000 && rounds <= 12, "{rows} rows in {rounds} rounds");
    store.apply_at(&fold, NOW + Millis(10));
    store.apply_at(&fold, NOW + Millis(10_000));
    assert_eq!(store.rows.accounts.iter().map(|a| a.held.0).sum::<i64>(), 0);
}

/// A hold over many lots is captured in as few rounds as one over a single lot.
#[test]
fn the_number_of_lots_does_not_add_rounds() {
    let mut store = Store::new();
    (0..300).for_each(|_| store.apply(&grant(1)));
    let (id, open) = hold(300);
    store.apply(&open);
    let (rows, rounds) = store.cost(&capture(&id));
    assert!(rows <= 604 && rounds <= 3, "{rows} rows in {rounds} rounds");
    let txn = TxnId::new(NOW);
    store.apply(&LedgerOp::Capture {
        txn: txn.clone(),
        hold: id,
        amount: None,
        last: true,
        overage: Overage::Reject,
    });
    let refund = LedgerOp::Refund {
        txn: TxnId::new(NOW),
        of: txn,
        amount: None,
        on_expired: credits::OnExpired::Expire,
    };
    let (rows, rounds) = store.cost(&refund);
    assert!(rows <= 604 && rounds <= 4, "{rows} rows in {rounds} rounds");
}
