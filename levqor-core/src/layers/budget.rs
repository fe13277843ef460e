//! The provider's rate limit, kept before the provider has to say 429.

use std::sync::Arc;

use serde_json::Value;

use super::{Around, Layer, Layered, account};
use crate::connector::{Budget, Connector, Cx, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Ask, Limits, Quota};
use crate::types::Millis;

/// The code of a refusal by the budget layer.
pub const EXCEEDED: &str = "connector.budget_exceeded";

/// Draws every attempt on the budgets of the connector's manifest, one count per tenant and connection (and per
/// [destination](Connector::destination) where the budget says `host`).
///
/// If there is no room it waits up to [`Cx::max_sleep`]; a longer wait is refused with
/// `connector.budget_exceeded` and its `retry_after`. Budgets are counted where the engine's limits are: over
/// all processes, if those are shared.
#[derive(Clone)]
pub struct BudgetLayer(pub Arc<dyn Limits>);

impl Layer for BudgetLayer {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(self.clone(), inner)
    }
}

impl Around for BudgetLayer {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let budgets = &inner.manifest().budgets;
        if !budgets.is_empty() {
            self.wait(budgets, inner, cx, action, input).await?;
        }
        inner.call(cx, action, input).await
    }
}

impl BudgetLayer {
    async fn wait(&self, budgets: &[Budget], inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<()> {
        let account = account(inner, cx);
        let asks: Vec<Ask> = budgets
            .iter()
            .map(|budget| {
                let to = (budget.key == "host").then(|| inner.destination(cx, action, input)).flatten();
                let key = format!("{account}/{}", to.unwrap_or_default());
                Ask::new("connector budget", key, Quota::new(budget.calls, budget.per))
            })
            .collect();
        let mut left = cx.max_sleep;
        // The clock stands still while we sleep if it is a manual one, so time is counted on from one reading.
        let (start, clock) = (tokio::time::Instant::now(), cx.clock.now());
        loop {
            let now = clock + Millis::from(start.elapsed());
            let decision = self.0.take(&cx.tenant, &asks, now).await?;
            let wait = match decision.retry_after {
                _ if decision.admitted => return Ok(()),
                Some(wait) => wait,
                None => return decision.admit().map(drop),
            };
            if wait > left {
                let message = format!("the rate budget of `{}` is used up", inner.manifest().name);
                return Err(Error::new(ErrorKind::RateLimited, EXCEEDED, message).after(wait));
            }
            tokio::time::sleep(wait.to_duration()).await;
            left = left - wait.max(Millis(1));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::probe::{Probe, cx, with_connection};
    use super::*;
    use crate::backend::memory::MemoryLimits;

    fn budget(calls: u32, seconds: i64, key: &str) -> Budget {
        Budget {
            calls,
            per: Millis::secs(seconds),
            key: key.to_owned(),
        }
    }

    fn limited(probe: &Probe) -> Arc<dyn Connector> {
        BudgetLayer(Arc::new(MemoryLimits::default())).connector(probe.clone().shared())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_budget_wait_their_turn() {
        let probe = Probe::named("p").with_budgets(vec![budget(5, 10, "")]);
        let c = limited(&probe);
        let start = tokio::time::Instant::now();
        let cx = cx();
        let mut at = Vec::new();
        for _ in 0..8 {
            // The manual clock follows the paused one.
            let now = Cx {
                clock: Arc::new(crate::clock::ManualClock::at(Millis::from(start.elapsed()))),
                ..cx.clone()
            };
            c.call(&now, "write", &json!({})).await.unwrap();
            at.push(start.elapsed().as_millis() / 1_000);
        }
        assert_eq!(at, [0, 0, 0, 0, 0, 2, 4, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_refused_with_its_length() {
        let probe = Probe::named("p").with_budgets(vec![budget(1, 3_600, "")]);
        let c = limited(&probe);
        let cx = cx();
        c.call(&cx, "write", &json!({})).await.unwrap();
        let e = c.call(&cx, "write", &json!({})).await.unwrap_err();
        assert_eq!(
            (e.code(), e.kind(), e.retry_after()),
            (EXCEEDED, ErrorKind::RateLimited, Some(Millis::hours(1)))
        );
        assert_eq!(probe.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_and_hosts_are_counted_apart() {
        let c = limited(&Probe::named("p").with_budgets(vec![budget(1, 3_600, "host"), budget(2, 3_600, "")]));
        let cx = cx();
        let call = |url: &'static str| {
            let (c, cx) = (Arc::clone(&c), cx.clone());
            async move { c.call(&cx, "write", &json!({"url": url})).await.is_ok() }
        };
        assert!(call("a").await);
        assert!(!call("a").await, "one per host");
        assert!(call("b").await, "and the refused call took nothing from the sum");
        assert!(!call("c").await, "two in all");
        c.call(&with_connection(json!({})), "write", &json!({"url": "a"}))
            .await
            .expect("another connection");
    }
}
