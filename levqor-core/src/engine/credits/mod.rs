use std::collections::HashMap;
use std::sync::Arc;

mod linked;
pub(super) mod ops;
mod options;

pub use linked::Linked;
pub use options::{CaptureOptions, GrantOptions, RefundOptions, StatementLine, Totals};

use super::Engine;
use crate::credits::{AuditReport, Balance, Expiry, Grant, Hold, LedgerAnswer, LedgerOp, LedgerRows, SYSTEM, audit};
use crate::error::{Error, Result};
use crate::store::{AsOf, EntryFilter, LedgerRead, LedgerScope, Page};
use crate::types::{GrantId, HoldId, MicroCredits, Millis, Money, TxnId};

/// Accounts that are read at a time.
const PAGE: usize = 1_000;

/// Credits: grant, spend, hold, capture, release, give and take back, move, and what an account is worth.
///
/// Every verb that changes something takes an optional idempotency key. The key is bound to the verb and
/// its arguments for ever: the same call gives the same answer, success or refusal, and changes nothing
/// more; another call under the same key is refused (`idempotency.mismatch`). Only wrong input is not
/// kept, so that it can be corrected.
pub struct Credits<'a>(pub(super) &'a Engine);

impl<'a> Credits<'a> {
    /// Collects operations that happen together or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let done = credits
    ///     .linked()
    ///     .spend("acme", "60".parse()?)
    ///     .hold("acme", "40".parse()?, None)
    ///     .commit(Some("order-7"))
    ///     .await?;
    /// assert_eq!(done.len(), 2);
    /// let refused = credits.linked().grant("bob", "5".parse()?, GrantOptions::default()).spend("acme", "1".parse()?);
    /// assert_eq!(refused.commit(None).await.unwrap_err().code(), "ledger.insufficient_credits");
    /// assert_eq!(credits.balance("bob").await?.posted, MicroCredits::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    pub fn linked(&self) -> Linked<'a> {
        Linked::new(self.0)
    }

    async fn one(&self, linked: Linked<'_>, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        let answer = linked.commit(idempotency).await?.into_iter().next();
        answer.ok_or_else(|| Error::internal("a ledger operation without an answer"))
    }

    /// Gives credits to an account; the answer's `id` is the grant's.
    ///
    /// What the account owes is repaid from them first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// use levqor_core::credits::{Category, Expiry};
    /// let welcome = GrantOptions {
    ///     category: Category::Promo,
    ///     expires: Some(Expiry::In(Millis::hours(24 * 30))),
    ///     source: Some("welcome:acme".into()),
    ///     ..GrantOptions::default()
    /// };
    /// let answer = credits.grant("acme", "25.5".parse()?, welcome, Some("welcome-acme")).await?;
    /// assert_eq!(answer.balance().available.to_string(), "25.5");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn grant(
        &self,
        account: &str,
        amount: MicroCredits,
        options: GrantOptions,
        idempotency: Option<&str>,
    ) -> Result<LedgerAnswer> {
        self.one(self.linked().grant(account, amount, options), idempotency).await
    }

    /// Spends credits at once; the answer's `id` is the transaction's, for a refund.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let first = credits.spend("acme", "30".parse()?, Some("call-1")).await?;
    /// let again = credits.spend("acme", "30".parse()?, Some("call-1")).await?;
    /// assert_eq!((first.posted.to_string(), first == again), ("70".to_owned(), true));
    /// let other = credits.spend("acme", "31".parse()?, Some("call-1")).await;
    /// assert_eq!(other.unwrap_err().code(), "idempotency.mismatch");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spend(&self, account: &str, amount: MicroCredits, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().spend(account, amount), idempotency).await
    }

    /// Reserves credits; the answer's `id` is the hold's. Without an end it lasts until it is captured or
    /// released.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// use levqor_core::credits::Expiry;
    /// let ten_minutes = Some(Expiry::In(Millis::mins(10)));
    /// let answer = credits.hold("acme", "40".parse()?, ten_minutes, Some("job-1")).await?;
    /// assert_eq!((answer.posted.to_string(), answer.held.to_string()), ("100".to_owned(), "40".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn hold(
        &self,
        account: &str,
        amount: MicroCredits,
        expires: Option<Expiry>,
        idempotency: Option<&str>,
    ) -> Result<LedgerAnswer> {
        self.one(self.linked().hold(account, amount, expires), idempotency).await
    }

    /// Spends from a hold, and releases the rest unless the options say otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let hold: HoldId = credits.hold("acme", "40".parse()?, None, None).await?.id.parse()?;
    /// credits.capture(&hold, CaptureOptions::partial("10".parse()?), None).await?;
    /// let answer = credits.capture(&hold, CaptureOptions::amount("5".parse()?), None).await?;
    /// assert_eq!((answer.posted.to_string(), answer.held.to_string()), ("85".to_owned(), "0".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn capture(&self, hold: &HoldId, options: CaptureOptions, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().capture(hold, options), idempotency).await
    }

    /// Gives a hold back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let hold: HoldId = credits.hold("acme", "40".parse()?, None, None).await?.id.parse()?;
    /// assert_eq!(credits.release(&hold, None).await?.balance().available.to_string(), "100");
    /// assert_eq!(credits.release(&hold, None).await.unwrap_err().code(), "ledger.hold_already_released");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release(&self, hold: &HoldId, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().release(hold), idempotency).await
    }

    /// Gives a hold a new end: the heartbeat of work that takes longer than was thought.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let noon = Millis::parse_rfc3339("2100-01-01T12:00:00Z").unwrap();
    /// let hold: HoldId = credits.hold("acme", "40".parse()?, Some(noon.into()), None).await?.id.parse()?;
    /// credits.extend(&hold, (noon + Millis::mins(10)).into(), None).await?;
    /// assert_eq!(credits.find_hold(&hold).await?.expires_at, Some(noon + Millis::mins(10)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn extend(&self, hold: &HoldId, until: Expiry, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().extend(hold, until), idempotency).await
    }

    /// Gives back what a spend or a capture took: to the grants that it was drawn from, last drawn
    /// first. What the account owes is repaid from it.
    ///
    /// Errors: `ledger.exceeds_refundable`, `ledger.not_refundable`, `ledger.transaction_not_found`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let spent: TxnId = credits.spend("acme", "40".parse()?, None).await?.id.parse()?;
    /// credits.refund(&spent, RefundOptions::amount("15".parse()?), None).await?;
    /// let answer = credits.refund(&spent, RefundOptions::default(), Some("refund-1")).await?;
    /// assert_eq!((answer.amount.to_string(), answer.posted.to_string()), ("25".to_owned(), "100".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn refund(&self, txn: &TxnId, options: RefundOptions, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().refund(txn, options), idempotency).await
    }

    /// Takes back a paid grant because money was paid back: `floor(amount x refunded / paid)` in sum.
    ///
    /// `refunded` is all that was ever paid back for the grant, so messages may come twice and in any
    /// order. What was spent already is owed: the next credits repay it.
    ///
    /// Errors: `ledger.grant_not_found`, `ledger.grant_not_paid`, `ledger.currency_mismatch`,
    /// `ledger.refund_exceeds_payment`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// let euro = |minor| Money { minor, currency: "EUR".into() };
    /// let pack = GrantOptions { paid: Some(euro(1_000)), ..GrantOptions::default() };
    /// let grant: GrantId = credits.grant("acme", "1000".parse()?, pack, None).await?.id.parse()?;
    /// credits.spend("acme", "700".parse()?, None).await?;
    /// let answer = credits.clawback(&grant, euro(400), Some("charge-1:400")).await?;
    /// assert_eq!((answer.amount.to_string(), answer.posted.to_string()), ("400".to_owned(), "-100".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clawback(&self, grant: &GrantId, refunded: Money, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().clawback(grant, refunded), idempotency).await
    }

    /// Moves credits to another account of the tenant. They keep their end, priority and category; never
    /// more than is available is moved. The answer tells the giving account's balance.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// credits.transfer("acme", "bob", "30".parse()?, Some("gift-1")).await?;
    /// assert_eq!(credits.balance("bob").await?.available.to_string(), "30");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transfer(&self, from: &str, to: &str, amount: MicroCredits, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().transfer(from, to, amount), idempotency).await
    }

    /// Sets how far below zero an account may go.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// credits.overdraft("acme", "50".parse()?, None).await?;
    /// assert_eq!(credits.balance("acme").await?.spendable.to_string(), "150");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn overdraft(&self, account: &str, limit: MicroCredits, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().overdraft(account, limit), idempotency).await
    }

    /// Lets nothing be drawn from an account any more (`ledger.account_frozen`), or lets it again. What
    /// it holds can still be captured or released, and it can still be given credits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// credits.freeze("acme", true, None).await?;
    /// assert_eq!(credits.spend("acme", "1".parse()?, None).await.unwrap_err().code(), "ledger.account_frozen");
    /// credits.freeze("acme", false, None).await?;
    /// credits.spend("acme", "1".parse()?, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn freeze(&self, account: &str, frozen: bool, idempotency: Option<&str>) -> Result<LedgerAnswer> {
        self.one(self.linked().freeze(account, frozen), idempotency).await
    }

    fn reads(&self) -> Arc<dyn LedgerRead> {
        self.0.inner.backend.store.reads().ledger
    }

    async fn rows(&self, scope: LedgerScope) -> Result<LedgerRows> {
        self.reads().rows(&self.0.tenant, &scope).await
    }

    /// What an account is worth now; nothing, if it was never heard of.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let balance = credits.balance("acme").await?;
    /// assert_eq!((balance.posted, balance.held), ("100".parse()?, MicroCredits::ZERO));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn balance(&self, account: &str) -> Result<Balance> {
        match self.reads().account(&self.0.tenant, account).await? {
            None => Ok(Balance::default()),
            Some(a) if a.next_due.is_none_or(|due| self.0.now() < due) => Ok(Balance::new(a.posted, a.held, a.overdraft)),
            // Something has begun or run out since the last change: fold it in, then it is known.
            Some(a) => Ok(self.fold(a.owner.clone()).await?.balance()),
        }
    }

    async fn fold(&self, owner: Arc<str>) -> Result<LedgerAnswer> {
        self.one(self.linked().op(LedgerOp::Fold { owner }), None).await
    }

    /// What an account was worth at an instant of the past: `posted`, as it counts by now or as it was
    /// known then.
    ///
    /// Errors: `ledger.not_past`, if the instant has not come yet.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// use levqor_core::store::AsOf;
    /// let before = engine.now() - Millis::hours(1);
    /// assert_eq!(credits.balance_at("acme", AsOf::Booked(before)).await?, MicroCredits::ZERO);
    /// assert_eq!(credits.balance_at("acme", AsOf::Recorded(engine.now())).await?, "100".parse()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn balance_at(&self, account: &str, at: AsOf) -> Result<MicroCredits> {
        let (AsOf::Booked(instant) | AsOf::Recorded(instant)) = at;
        if instant > self.0.now() {
            let message = "a balance of the future is not known";
            return Err(Error::invalid("ledger.not_past", message).at("at"));
        }
        self.balance(account).await?;
        self.reads().as_of(&self.0.tenant, account, at).await
    }

    /// The account's entries that count in `[from, to)`, by number, behind number `after`, with the
    /// balance after each. A page ends the list if it has fewer than `limit` lines.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// credits.spend("acme", "30".parse()?, None).await?;
    /// let always = (Millis::ZERO, Millis::MAX);
    /// let lines = credits.statement("acme", always, 0, 50).await?;
    /// let told: Vec<_> = lines.iter().map(|l| format!("{} {} {}", l.kind, l.amount, l.after)).collect();
    /// assert_eq!(told, ["grant 100 100", "spend -30 70"]);
    /// assert_eq!(credits.statement("acme", always, 1, 50).await?, lines[1..]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn statement(&self, account: &str, span: (Millis, Millis), after: i64, limit: usize) -> Result<Vec<StatementLine>> {
        self.balance(account).await?;
        let filter = EntryFilter {
            booked: span,
            after,
            limit,
        };
        let entries = self.reads().entries(&self.0.tenant, account, &filter).await?;
        let ids = entries.iter().map(|e| e.txn.clone()).collect();
        let txns = self.rows(LedgerScope::Txns(ids)).await?.txns;
        let lines = entries.iter().map(|e| {
            let txn = txns
                .peek(&(e.txn.clone(),))
                .ok_or_else(|| Error::internal(format!("the transaction {} is missing", e.txn)))?;
            Ok(StatementLine {
                version: e.version,
                booked_at: e.booked_at,
                kind: txn.kind.to_string(),
                about: txn.about.to_string(),
                amount: e.amount,
                after: e.after,
                txn: e.txn.clone(),
            })
        });
        lines.collect()
    }

    /// The grants of an account in the order in which they were made: those of which something is left,
    /// or, with `used_up`, all that it ever had.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let grants = credits.grants("acme", false).await?;
    /// assert_eq!((grants.len(), grants[0].remaining.to_string()), (1, "100".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn grants(&self, account: &str, used_up: bool) -> Result<Vec<Arc<Grant>>> {
        self.balance(account).await?;
        let owner = account.to_owned();
        let rows = self.rows(LedgerScope::Grants { owner, all: used_up }).await?;
        let mut grants: Vec<_> = rows.grants.iter().cloned().collect();
        grants.sort_unstable_by(|a, b| (a.seq, &a.id).cmp(&(b.seq, &b.id)));
        Ok(grants)
    }

    /// A hold, and what became of it.
    ///
    /// Errors: `ledger.hold_not_found`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// use levqor_core::credits::HoldState;
    /// let hold: HoldId = credits.hold("acme", "40".parse()?, None, None).await?.id.parse()?;
    /// assert_eq!(credits.find_hold(&hold).await?.state, HoldState::Open);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn find_hold(&self, hold: &HoldId) -> Result<Arc<Hold>> {
        let read = async || {
            let found = self.rows(LedgerScope::Hold(hold.clone())).await?;
            let found = found.holds.peek(&(hold.clone(),)).cloned();
            found.ok_or_else(|| Error::not_found("ledger.hold_not_found", format!("there is no hold {hold}")))
        };
        let found = read().await?;
        self.balance(&found.owner).await?;
        read().await
    }

    /// What all accounts of the tenant did together. Folds in what is due first: see
    /// [`sweep`](Credits::sweep).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// credits.spend("acme", "30".parse()?, None).await?;
    /// let totals = credits.totals().await?;
    /// assert_eq!((totals.issued.to_string(), totals.revenue.to_string()), ("100".to_owned(), "30".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn totals(&self) -> Result<Totals> {
        self.sweep().await?;
        let mut sums: HashMap<String, MicroCredits> = HashMap::new();
        let mut after = SYSTEM.to_owned();
        loop {
            let page = self.accounts(after).await?;
            for (owner, posted) in page.iter().filter_map(|a| Some((a.owner.strip_prefix(SYSTEM)?, a.posted))) {
                let name = owner.split('#').next().unwrap_or_default();
                let sum = sums.entry(name.to_owned()).or_default();
                *sum = sum.checked_add(posted)?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE && last.owner.starts_with(SYSTEM) => after = last.owner.to_string(),
                _ => break,
            }
        }
        let sum = |name: &str| sums.get(name).copied().unwrap_or_default();
        // What was given away left the ledger's own accounts.
        let paid = MicroCredits::ZERO.checked_sub(sum("issued:paid"))?;
        Ok(Totals {
            issued: paid.checked_sub(sum("issued:promo"))?,
            issued_paid: paid,
            revenue: sum("revenue"),
            breakage: sum("breakage"),
            clawback: sum("clawback"),
        })
    }

    async fn accounts(&self, after: String) -> Result<Vec<Arc<crate::credits::Account>>> {
        let page = Page {
            after: Some(after),
            limit: PAGE,
        };
        let rows = self.rows(LedgerScope::Accounts(page)).await?;
        let mut accounts: Vec<_> = rows.accounts.iter().cloned().collect();
        accounts.sort_unstable_by(|a, b| a.owner.cmp(&b.owner));
        Ok(accounts)
    }

    /// Folds in, on every account of the tenant, what has begun or run out, and says on how many
    /// something had. Never needed for a right answer about an account; looks at every account.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// assert_eq!(credits.sweep().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sweep(&self) -> Result<usize> {
        let (mut swept, mut after) = (0, String::new());
        loop {
            let page = self.accounts(after).await?;
            for account in page.iter().filter(|a| a.next_due.is_some_and(|due| due <= self.0.now())) {
                self.fold(account.owner.clone()).await?;
                swept += 1;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.owner.to_string(),
                _ => return Ok(swept),
            }
        }
    }

    /// Proves the whole ledger of the tenant: see [`audit`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> levqor_core::error::Result<()> {
    /// # use levqor_core::{backend::Backend, engine::*, types::*};
    /// # let engine = Engine::builder(Backend::memory()).build()?;
    /// # let credits = engine.credits();
    /// # credits.grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
    /// let report = credits.audit().await?;
    /// assert_eq!((report.sum, report.violations.len(), report.entries), (0, 0, 2));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn audit(&self) -> Result<AuditReport> {
        Ok(audit(&self.rows(LedgerScope::Everything).await?))
    }
}
