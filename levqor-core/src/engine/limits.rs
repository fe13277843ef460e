use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::error::{Error, Result};
use crate::limits::{
    Algorithm, Ask, Decision, Listed, OneLimit, Op, Policies, Policy, Quota, Reason, Standing, Subject, Verdict,
};
use crate::types::Millis;

/// How often to look whether a place has come free, where nobody tells.
const LOOK_AGAIN: Millis = Millis(25);

/// Limits by name: asks the [policies](Policies) the engine was built with about a [`Subject`].
///
/// Every verb decides all policies that apply in one step (one round trip, if the limits lie in Redis):
/// either all are charged, or none. Whoever is on the allow list is not limited; whoever is on the deny list
/// is refused. A policy in a dry run is counted by itself and told in [`Decision::shadow`].
///
/// To count only what fails, say wrong passwords, [`peek`](RateLimits::peek) before the work and
/// [`charge`](RateLimits::charge) after it.
pub struct RateLimits<'a> {
    engine: &'a Engine,
    /// The names of the policies to ask; all if not given.
    only: Option<Vec<&'a str>>,
}

impl<'a> RateLimits<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        RateLimits { engine, only: None }
    }

    /// Asks only the policies of these names.
    ///
    /// # Errors
    /// If there is no policy of a name.
    pub fn only(mut self, names: &[&'a str]) -> Result<Self> {
        for name in names {
            self.policy(name)?;
        }
        self.only = Some(names.to_vec());
        Ok(self)
    }

    /// The policies the engine was built with.
    pub fn policies(&self) -> &'a Policies {
        &self.engine.inner.options.limits
    }

    /// Takes what the call costs, if every policy lets it pass.
    pub async fn take(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Take).await
    }

    /// The same without waiting for anything, if limits lie where that is possible: in memory or in memory
    /// that is shared. `None` if they do not.
    pub fn take_now(&self, who: &Subject) -> Option<Result<Decision>> {
        if let Some(listed) = self.listed(who) {
            return Some(Ok(listed));
        }
        let (enforced, trying) = self.asks(who, |_| Op::Take);
        let (limits, tenant, now) = (&self.engine.inner.backend.limits, &self.engine.tenant, self.engine.now());
        let mut decision = match limits.take_now(tenant, &enforced, now)? {
            Ok(decision) => decision,
            Err(e) => return Some(Err(e)),
        };
        for ask in trying {
            if let Some(Ok(shadow)) = limits.take_now(tenant, &[ask], now) {
                decision.shadow.extend(shadow.asks);
            }
        }
        Some(Ok(decision))
    }

    /// What [`take`](RateLimits::take) would say, without taking.
    pub async fn peek(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Peek).await
    }

    /// Takes what the call costs even if it does not fit: for what is known only after the work, and as a
    /// penalty. The debt is bounded at one full quota.
    pub async fn charge(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Penalty).await
    }

    /// Gives what the call costs back: for work that turned out free, and as a reward. Never below nothing
    /// used.
    pub async fn refund(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Refund).await
    }

    /// Forgets what the subject used, and lifts its blocks.
    pub async fn reset(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Reset).await
    }

    /// Refuses the subject for a time, under every policy asked. Mind [`only`](RateLimits::only): a policy
    /// that counts all together blocks everybody.
    pub async fn block(&self, who: &Subject, span: Millis) -> Result<Decision> {
        let until = self.engine.now() + span;
        self.run(who, |_| Op::Block(until)).await
    }

    /// Lifts a block.
    pub async fn unblock(&self, who: &Subject) -> Result<Decision> {
        self.run(who, |_| Op::Block(Millis::ZERO)).await
    }

    /// Takes, and waits until the call may go on, if that is no longer than `at_most`.
    ///
    /// Token buckets have a queue, in which callers are served in the order they came: each is charged at
    /// once and sleeps until its turn. Under the other algorithms it is tried again when it may pass. The
    /// future may be dropped at any time; a turn in a queue that was taken is then used up.
    ///
    /// The answer is refused if it would have taken longer.
    pub async fn wait(&self, who: &Subject, at_most: Millis) -> Result<Decision> {
        let deadline = self.engine.now() + at_most;
        loop {
            let left = (deadline - self.engine.now()).max(Millis::ZERO);
            let decision = self
                .run(who, |quota| match quota.algorithm_used() {
                    Algorithm::Gcra => Op::Queue(left),
                    _ => Op::Take,
                })
                .await?;
            if decision.admitted {
                sleep(decision.ready_after).await;
                return Ok(decision);
            }
            let refused = decision.asks.iter().filter(|a| !a.admitted);
            // A queue has told that the wait would be too long; a place may be given back at any time.
            let (queues, places) = refused.fold((false, false), |(queues, places), a| {
                (
                    queues || a.quota.algorithm_used() == Algorithm::Gcra && a.reason == Some(Reason::Exceeded),
                    places || a.quota.algorithm_used() == Algorithm::Concurrency,
                )
            });
            let wait = match decision.retry_after {
                Some(wait) if places => wait.min(LOOK_AGAIN),
                Some(wait) => wait,
                None => return Ok(decision),
            };
            if queues || wait > left || left == Millis::ZERO {
                return Ok(decision);
            }
            sleep(wait).await;
        }
    }

    /// Takes a place among the calls in flight, and whatever the other policies ask. The [`Permit`] gives the
    /// place back.
    ///
    /// # Errors
    /// The refusal, as [`Decision::admit`] tells it.
    pub async fn acquire(&self, who: &Subject) -> Result<Permit> {
        let decision = self.take(who).await?.admit()?;
        // Places under a dry run stay taken until their lease runs out; whoever is exempt has taken none.
        let (mut enforced, _) = self.asks(who, |_| Op::Take);
        enforced.retain(|ask| decision.asks.iter().any(|a| a.name == ask.name));
        Ok(Permit {
            engine: self.engine.clone(),
            places: enforced
                .into_iter()
                .filter(|a| a.quota.algorithm_used() == Algorithm::Concurrency)
                .collect(),
            taken: decision.at,
            decision,
        })
    }

    /// A policy made ready for many keys: the fastest way to ask, if limits lie in memory or in memory that
    /// is shared. `None` if they do not. It knows neither lists nor a dry run.
    pub fn limiter(&self, policy: &str, tier: Option<&str>) -> Result<Option<Arc<dyn OneLimit>>> {
        let policy = self.policy(policy)?;
        self.engine
            .inner
            .backend
            .limits
            .prepare(&self.engine.tenant, policy.name(), policy.quota(tier))
    }

    /// Decides asks that no policy knows of, in one step.
    pub async fn ask(&self, asks: &[Ask]) -> Result<Decision> {
        self.engine.limit(asks).await
    }

    fn policy(&self, name: &str) -> Result<&'a Policy> {
        self.policies().get(name).ok_or_else(|| {
            let known: Vec<&str> = self.policies().iter().map(Policy::name).collect();
            Error::not_found("limits.no_policy", format!("there is no limit `{name}`"))
                .hint(format!("there are: {}", known.join(", ")))
        })
    }

    /// What the lists have decided already.
    fn listed(&self, who: &Subject) -> Option<Decision> {
        let now = self.engine.now();
        match self.policies().listed(who) {
            Listed::No => None,
            Listed::Allowed => Some(Decision::new(&[], [], now)),
            Listed::Denied => {
                let ask = [Ask::new("deny-list", "", Quota::per_second(0))];
                Some(Decision::new(
                    &ask,
                    [Verdict::refused(Reason::Denied, Standing::default())],
                    now,
                ))
            }
        }
    }

    /// What is asked: what is enforced, and what only says what it would do.
    fn asks(&self, who: &Subject, op: impl Fn(&Quota) -> Op) -> (Vec<Ask>, Vec<Ask>) {
        let asked = |p: &&Policy| self.only.as_ref().is_none_or(|names| names.contains(&p.name()));
        let (mut enforced, mut trying) = (Vec::new(), Vec::new());
        for policy in self.policies().iter().filter(asked) {
            let Some(ask) = policy.ask(who) else { continue };
            let op = op(&ask.quota);
            if policy.is_dry_run() {
                // Nobody waits in a dry run.
                trying.push(ask.op(if matches!(op, Op::Queue(_)) { Op::Take } else { op }));
            } else {
                enforced.push(ask.op(op));
            }
        }
        (enforced, trying)
    }

    async fn run(&self, who: &Subject, op: impl Fn(&Quota) -> Op) -> Result<Decision> {
        let (enforced, trying) = self.asks(who, op);
        let decides = enforced.iter().chain(&trying).any(|a| a.op.can_refuse());
        if decides && let Some(listed) = self.listed(who) {
            return Ok(listed);
        }
        let mut decision = self.engine.limit(&enforced).await?;
        for ask in trying {
            match self.engine.limit(&[ask]).await {
                Ok(shadow) => decision.shadow.extend(shadow.asks),
                Err(e) => tracing::warn!(code = e.code(), "a limit in a dry run cannot be decided"),
            }
        }
        Ok(decision)
    }
}

async fn sleep(span: Millis) {
    if span > Millis::ZERO {
        tokio::time::sleep(Duration::from_millis(span.0.unsigned_abs())).await;
    }
}

/// A place among the calls in flight. Give it back with [`release`](Permit::release); dropping it does so
/// too where that can be done at once or a runtime is there to do it, and what gets lost comes back when the
/// lease runs out.
#[must_use = "the place is given back when this is dropped"]
pub struct Permit {
    engine: Engine,
    places: Vec<Ask>,
    taken: Millis,
    decision: Decision,
}

impl Permit {
    /// The decision that gave it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Begins a new lease. Refused only if the old one had run out and others have taken the place.
    pub async fn renew(&mut self) -> Result<Decision> {
        let asks: Vec<Ask> = self.asks(Op::Renew(self.taken));
        let decision = self.engine.limit(&asks).await?;
        if decision.admitted {
            self.taken = decision.at;
        }
        Ok(decision)
    }

    /// Gives the place back.
    pub async fn release(mut self) -> Result<()> {
        let asks = self.asks(Op::Release(self.taken));
        self.places.clear();
        self.engine.limit(&asks).await.map(drop)
    }

    fn asks(&self, op: Op) -> Vec<Ask> {
        self.places.iter().map(|a| a.clone().op(op)).collect()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let asks = self.asks(Op::Release(self.taken));
        let (limits, tenant, now) = (
            self.engine.inner.backend.limits.clone(),
            self.engine.tenant.clone(),
            self.engine.now(),
        );
        if limits.take_now(&tenant, &asks, now).is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(async move {
                if let Err(e) = limits.take(&tenant, &asks, now).await {
                    tracing::warn!(code = e.code(), "a place could not be given back; its lease will run out");
                }
            }));
        }
    }
}

// `wait` must be usable from spawned tasks.
const _: fn() = || {
    fn sends<F: Future + Send>(_: F) {}
    let _ = |limits: &RateLimits<'_>, who: &Subject| sends(limits.wait(who, Millis::ZERO));
};
