//! Credits one by one. Each micro-credit is a thing of its own that lies somewhere; time goes by millisecond after
//! millisecond; an account's worth is counted. Slow, and so simple that it can be seen to be right.

use std::collections::BTreeMap;

use levqor_core::credits::{Category, LedgerOp, NewGrant, OnExpired, Overage};
use levqor_core::types::{MicroCredits, Millis};

/// Where one micro-credit lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Its grant has not begun.
    Pending,
    Free,
    Held,
    Spent,
    /// Its grant ended before anybody used it.
    Broken,
    /// It paid what was owed.
    Repaid,
    /// Taken back with the money.
    Clawed,
    /// It went to another account.
    Moved,
}

#[derive(Clone, Debug)]
pub struct Token {
    /// Without one it was drawn below zero.
    pub lot: Option<usize>,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub struct Lot {
    pub owner: String,
    /// Its number on the account.
    pub seq: i64,
    pub id: Option<String>,
    priority: i64,
    category: Category,
    effective_at: i64,
    expires_at: Option<i64>,
    pub amount: i64,
    paid: Option<i64>,
    refunded: i64,
    pub clawed: i64,
    pub expired: bool,
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub id: String,
    pub owner: String,
    /// What it still reserves, in the order of drawing.
    tokens: Vec<usize>,
    expires_at: Option<i64>,
    /// What became of it, as errors call it.
    pub state: &'static str,
    pub captured: i64,
}

#[derive(Clone, Debug)]
pub struct Txn {
    pub id: String,
    owner: String,
    kind: &'static str,
    /// In the order of drawing.
    tokens: Vec<usize>,
    /// So many of them came out of a hold, the others were drawn beyond it.
    inside: usize,
    refunded: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Account {
    pub overdraft: i64,
    pub debt: i64,
    pub frozen: bool,
    lots: i64,
    /// Whether it may owe more than its overdraft: something was clawed back, or the overdraft cut.
    pub excused: bool,
}

/// One change of an account's worth.
#[derive(Clone, Debug)]
pub struct Event {
    pub owner: String,
    pub booked_at: i64,
    pub kind: &'static str,
    pub amount: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    now: i64,
    pub accounts: BTreeMap<String, Account>,
    pub lots: Vec<Lot>,
    pub tokens: Vec<Token>,
    pub holds: Vec<Hold>,
    pub txns: Vec<Txn>,
    pub events: Vec<Event>,
}

type Outcome = Result<(), &'static str>;

impl Model {
    /// Lets time go by.
    pub fn wait(&mut self, now: i64) {
        while self.now < now {
            self.now += 1;
            let t = self.now;
            for h in 0..self.holds.len() {
                if self.holds[h].state == "open" && self.holds[h].expires_at == Some(t) {
                    self.close(h, "expired");
                }
            }
            for l in 0..self.lots.len() {
                if self.lots[l].expires_at == Some(t) {
                    self.lots[l].expired = true;
                    let lost = self.turn(l, Place::Free, Place::Broken, usize::MAX);
                    self.event(&self.lots[l].owner.clone(), "breakage", -lost);
                }
            }
            for l in 0..self.lots.len() {
                if self.lots[l].effective_at == t && self.count(l, Place::Pending) > 0 {
                    let begun = self.turn(l, Place::Pending, Place::Free, usize::MAX);
                    let owner = self.lots[l].owner.clone();
                    self.event(&owner, "grant", begun);
                    self.repay_from(l);
                }
            }
        }
    }

    fn event(&mut self, owner: &str, kind: &'static str, amount: i64) {
        if amount != 0 {
            self.events.push(Event {
                owner: owner.into(),
                booked_at: self.now,
                kind,
                amount,
            });
        }
    }

    pub fn count(&self, lot: usize, place: Place) -> i64 {
        self.tokens.iter().filter(|t| t.lot == Some(lot) && t.place == place).count() as i64
    }

    /// Moves at most so many of a lot's tokens from one place to another.
    fn turn(&mut self, lot: usize, from: Place, to: Place, most: usize) -> i64 {
        let found = self.tokens.iter_mut().filter(|t| t.lot == Some(lot) && t.place == from);
        let mut moved = 0;
        for token in found.take(most) {
            token.place = to;
            moved += 1;
        }
        moved
    }

    fn account(&mut self, owner: &str) -> &mut Account {
        self.accounts.entry(owner.into()).or_default()
    }

    /// Credits that come pay what is owed first.
    fn repay_from(&mut self, lot: usize) {
        let owner = self.lots[lot].owner.clone();
        let debt = self.account(&owner).debt;
        let paid = self.turn(lot, Place::Free, Place::Repaid, usize::try_from(debt).unwrap());
        self.account(&owner).debt -= paid;
    }

    pub fn held(&self, owner: &str) -> i64 {
        let open = self.holds.iter().filter(|h| h.owner == owner && h.state == "open");
        open.map(|h| h.tokens.len() as i64).sum()
    }

    pub fn posted(&self, owner: &str) -> i64 {
        let ours = |t: &&Token| t.lot.is_some_and(|l| self.lots[l].owner == owner);
        let counts = |t: &&Token| matches!(t.place, Place::Free | Place::Held);
        let worth = self.tokens.iter().filter(ours).filter(counts).count() as i64;
        worth - self.accounts.get(owner).map_or(0, |a| a.debt)
    }

    /// What an account was worth at an instant, by what counts then.
    pub fn as_of(&self, owner: &str, at: i64) -> i64 {
        let then = self.events.iter().filter(|e| e.owner == owner && e.booked_at <= at);
        then.map(|e| e.amount).sum()
    }

    fn draw(&mut self, owner: &str, n: i64, below: bool, to: Place) -> Result<Vec<usize>, &'static str> {
        let account = self.account(owner).clone();
        if account.frozen {
            return Err("ledger.account_frozen");
        }
        let spendable = self.posted(owner) - self.held(owner) + account.overdraft;
        let mut free: Vec<usize> = (0..self.tokens.len())
            .filter(|t| self.tokens[*t].place == Place::Free)
            .filter(|t| self.tokens[*t].lot.is_some_and(|l| self.lots[l].owner == owner))
            .collect();
        if n > spendable || (!below && n > free.len() as i64) {
            return Err("ledger.insufficient_credits");
        }
        free.sort_by_key(|t| {
            let lot = &self.lots[self.tokens[*t].lot.unwrap()];
            let end = lot.expires_at.unwrap_or(i64::MAX);
            (lot.priority, end, lot.category, lot.effective_at, lot.seq, *t)
        });
        free.truncate(usize::try_from(n).unwrap());
        while (free.len() as i64) < n {
            free.push(self.tokens.len());
            self.tokens.push(Token { lot: None, place: to });
        }
        free.iter().for_each(|t| self.tokens[*t].place = to);
        Ok(free)
    }

    /// What was drawn below zero is owed once it is spent.
    fn owe(&mut self, owner: &str, tokens: &[usize]) {
        let below = tokens.iter().filter(|t| self.tokens[**t].lot.is_none()).count();
        self.account(owner).debt += below as i64;
    }

    /// One credit comes back to its lot.
    fn back(&mut self, owner: &str, token: usize) {
        let owes = self.account(owner).debt > 0;
        self.tokens[token].place = if owes { Place::Repaid } else { Place::Free };
        self.account(owner).debt -= i64::from(owes);
    }

    fn close(&mut self, h: usize, how: &'static str) {
        let (owner, mut lost) = (self.holds[h].owner.clone(), 0);
        for token in self.holds[h].tokens.clone() {
            match self.tokens[token].lot {
                None => self.tokens[token].place = Place::Moved,
                Some(l) if self.lots[l].expired => {
                    self.tokens[token].place = Place::Broken;
                    lost += 1;
                }
                Some(_) => self.back(&owner, token),
            }
        }
        self.holds[h].state = how;
        self.event(&owner, "breakage", -lost);
    }

    fn lot(&mut self, lot: Lot, place: Place) -> usize {
        let account = self.account(&lot.owner.clone());
        account.lots += 1;
        let (seq, index) = (account.lots, self.lots.len());
        let token = Token { lot: Some(index), place };
        self.tokens.extend(vec![token; usize::try_from(lot.amount).unwrap()]);
        self.lots.push(Lot { seq, ..lot });
        index
    }

    /// A lot made of credits that were granted before.
    fn again(&mut self, owner: &str, n: i64, like: Option<usize>, effective_at: i64, expires_at: Option<i64>) {
        let like = like.map(|l| self.lots[l].clone());
        let lot = Lot {
            owner: owner.into(),
            seq: 0,
            id: None,
            priority: like.as_ref().map_or(100, |l| l.priority),
            category: like.as_ref().map_or(Category::Paid, |l| l.category),
            effective_at,
            expires_at,
            amount: n,
            paid: None,
            refunded: 0,
            clawed: 0,
            expired: false,
        };
        let lot = self.lot(lot, Place::Free);
        self.repay_from(lot);
    }

    fn find_hold(&self, id: &str) -> Result<usize, &'static str> {
        let found = self.holds.iter().position(|h| h.id == id).ok_or("ledger.hold_not_found")?;
        match self.holds[found].state {
            "open" => Ok(found),
            "captured" => Err("ledger.hold_already_captured"),
            "released" => Err("ledger.hold_already_released"),
            _ => Err("ledger.hold_expired"),
        }
    }

    /// Operations at one instant, all or none.
    pub fn batch(&mut self, ops: &[LedgerOp]) -> Outcome {
        let before = self.clone();
        let outcome = ops.iter().try_for_each(|op| self.op(op));
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    fn op(&mut self, op: &LedgerOp) -> Outcome {
        match op {
            LedgerOp::Grant(new) => self.grant(new),
            LedgerOp::Spend { txn, owner, amount } => {
                let tokens = self.draw(owner, amount.0, true, Place::Spent)?;
                self.owe(owner, &tokens);
                self.event(owner, "spend", -amount.0);
                self.txn(txn.as_str(), owner, "spend", tokens, 0);
                Ok(())
            }
            LedgerOp::Hold {
                hold,
                owner,
                amount,
                expires,
            } => {
                let tokens = self.draw(owner, amount.0, true, Place::Held)?;
                self.holds.push(Hold {
                    id: hold.to_string(),
                    owner: owner.to_string(),
                    tokens,
                    expires_at: expires.map(|e| e.after(Millis(self.now)).0),
                    state: "open",
                    captured: 0,
                });
                Ok(())
            }
            LedgerOp::Capture {
                txn,
                hold,
                amount,
                last,
                overage,
            } => self.capture(txn.as_str(), hold.as_str(), *amount, *last, *overage),
            LedgerOp::Release { hold } => {
                let h = self.find_hold(hold.as_str())?;
                self.close(h, "released");
                Ok(())
            }
            LedgerOp::Extend { hold, until } => {
                let h = self.find_hold(hold.as_str())?;
                self.holds[h].expires_at = Some(until.after(Millis(self.now)).0);
                Ok(())
            }
            LedgerOp::Refund {
                of, amount, on_expired, ..
            } => self.refund(of.as_str(), *amount, *on_expired),
            LedgerOp::Clawback { grant, refunded, .. } => self.clawback(grant.as_str(), refunded.minor),
            LedgerOp::Transfer { txn, from, to, amount } => {
                if from == to {
                    return Err("ledger.same_account");
                }
                let tokens = self.draw(from, amount.0, false, Place::Moved)?;
                self.event(from, "transfer", -amount.0);
                self.event(to, "transfer", amount.0);
                let lots: Vec<usize> = tokens.iter().map(|t| self.tokens[*t].lot.unwrap()).collect();
                for part in lots.chunk_by(|a, b| a == b) {
                    let of = self.lots[part[0]].clone();
                    self.again(to, part.len() as i64, Some(part[0]), of.effective_at, of.expires_at);
                }
                self.txn(txn.as_str(), from, "transfer", tokens, 0);
                Ok(())
            }
            LedgerOp::Overdraft { owner, limit } => {
                let account = self.account(owner);
                account.excused |= limit.0 < account.overdraft;
                account.overdraft = limit.0;
                Ok(())
            }
            LedgerOp::Freeze { owner, frozen } => {
                self.account(owner).frozen = *frozen;
                Ok(())
            }
            LedgerOp::Fold { .. } => Ok(()),
        }
    }

    fn txn(&mut self, id: &str, owner: &str, kind: &'static str, tokens: Vec<usize>, inside: usize) {
        self.txns.push(Txn {
            id: id.into(),
            owner: owner.into(),
            kind,
            tokens,
            inside,
            refunded: 0,
        });
    }

    fn grant(&mut self, new: &NewGrant) -> Outcome {
        let effective_at = new.effective_at.map_or(self.now, |t| t.0);
        let expires_at = new.expires.map(|e| e.after(Millis(effective_at)).0);
        if expires_at.is_some_and(|end| end <= effective_at.max(self.now)) {
            return Err("ledger.invalid_expiry");
        }
        let pending = effective_at > self.now;
        let lot = Lot {
            owner: new.owner.to_string(),
            seq: 0,
            id: Some(new.id.to_string()),
            priority: new.priority,
            category: new.category,
            effective_at,
            expires_at,
            amount: new.amount.0,
            paid: new.paid.as_ref().map(|m| m.minor),
            refunded: 0,
            clawed: 0,
            expired: false,
        };
        let lot = self.lot(lot, if pending { Place::Pending } else { Place::Free });
        if !pending {
            self.event(&new.owner, "grant", new.amount.0);
            if let (Some(at), Some(event)) = (new.booked_at, self.events.last_mut()) {
                event.booked_at = at.0;
            }
            self.repay_from(lot);
        }
        Ok(())
    }

    fn capture(&mut self, txn: &str, hold: &str, amount: Option<MicroCredits>, last: bool, overage: Overage) -> Outcome {
        let h = self.find_hold(hold)?;
        let owner = self.holds[h].owner.clone();
        let mut tokens = self.holds[h].tokens.clone();
        let open = tokens.len() as i64;
        let amount = amount.map_or(open, |a| a.0);
        if amount > open && overage == Overage::Reject {
            return Err("ledger.capture_exceeds_hold");
        }
        tokens.truncate(usize::try_from(amount).unwrap());
        tokens.iter().for_each(|t| self.tokens[*t].place = Place::Spent);
        self.owe(&owner, &tokens);
        // They are this hold's no longer: given back, another one may draw them.
        self.holds[h].tokens.retain(|t| !tokens.contains(t));
        let inside = tokens.len();
        if amount > open {
            let over = self.draw(&owner, amount - open, true, Place::Spent)?;
            self.owe(&owner, &over);
            tokens.extend(over);
        }
        self.holds[h].captured += amount;
        self.event(&owner, "capture", -amount);
        self.txn(txn, &owner, "capture", tokens, inside);
        if last || amount >= open {
            self.close(h, "captured");
        }
        Ok(())
    }

    fn refund(&mut self, of: &str, amount: Option<MicroCredits>, on_expired: OnExpired) -> Outcome {
        let of = self
            .txns
            .iter()
            .position(|t| t.id == of)
            .ok_or("ledger.transaction_not_found")?;
        let txn = self.txns[of].clone();
        if txn.kind == "transfer" {
            return Err("ledger.not_refundable");
        }
        let left = txn.tokens.len() - txn.refunded;
        let amount = amount.map_or(left, |a| usize::try_from(a.0).unwrap());
        if amount > left || left == 0 {
            return Err("ledger.exceeds_refundable");
        }
        self.txns[of].refunded += amount;
        self.event(&txn.owner, "refund", amount as i64);
        let mut lost = 0;
        let undone: Vec<usize> = (left - amount..left).rev().collect();
        // A lot that was drawn from twice (by a hold, and again beyond it) comes back in two parts.
        let lots: Vec<_> = txn.tokens.iter().map(|t| self.tokens[*t].lot).collect();
        for part in undone.chunk_by(|a, b| lots[*a] == lots[*b] && (*a < txn.inside) == (*b < txn.inside)) {
            let part: Vec<usize> = part.iter().map(|i| txn.tokens[*i]).collect();
            match self.tokens[part[0]].lot {
                None => {
                    let debt = self.account(&txn.owner).debt;
                    let repaid = debt.min(part.len() as i64);
                    self.account(&txn.owner).debt -= repaid;
                    part.iter().for_each(|t| self.tokens[*t].place = Place::Moved);
                    if part.len() as i64 > repaid {
                        self.again(&txn.owner, part.len() as i64 - repaid, None, self.now, None);
                    }
                }
                Some(l) if !self.lots[l].expired => part.iter().for_each(|t| self.back(&txn.owner, *t)),
                Some(l) => match on_expired {
                    OnExpired::Expire => {
                        part.iter().for_each(|t| self.tokens[*t].place = Place::Broken);
                        lost += part.len() as i64;
                    }
                    OnExpired::Regrant(days) => {
                        part.iter().for_each(|t| self.tokens[*t].place = Place::Moved);
                        let end = self.now + i64::from(days) * 86_400_000;
                        self.again(&txn.owner, part.len() as i64, Some(l), self.now, Some(end));
                    }
                },
            }
        }
        self.event(&txn.owner, "breakage", -lost);
        Ok(())
    }

    fn clawback(&mut self, grant: &str, refunded: i64) -> Outcome {
        let found = self.lots.iter().position(|l| l.id.as_deref() == Some(grant));
        let l = found.ok_or("ledger.grant_not_found")?;
        let lot = self.lots[l].clone();
        let paid = lot.paid.ok_or("ledger.grant_not_paid")?;
        if refunded > paid {
            return Err("ledger.refund_exceeds_payment");
        }
        if refunded <= lot.refunded {
            return Ok(());
        }
        self.lots[l].refunded = refunded;
        let target = lot.amount * refunded / paid;
        let mut left = target - lot.clawed;
        self.lots[l].clawed = target;
        let mut take = |model: &mut Self, from| {
            let taken = model.turn(l, from, Place::Clawed, usize::try_from(left).unwrap());
            left -= taken;
            taken
        };
        take(self, Place::Pending);
        let free = take(self, Place::Free);
        take(self, Place::Broken);
        let account = self.account(&lot.owner);
        account.debt += left;
        account.excused |= left > 0;
        self.event(&lot.owner, "clawback", -(free + left));
        Ok(())
    }
}
