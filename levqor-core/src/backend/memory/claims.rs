//! Claims of one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::claims::{Claim, Claims, lost, token};
use crate::error::Result;
use crate::types::{Millis, Tenant};

/// Claims in memory. What ran out is forgotten as new claims come.
#[derive(Debug, Default)]
pub struct MemoryClaims {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<(Tenant, String), Entry>,
    /// How many entries there may be before the next sweep.
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    token: String,
    until: Millis,
    outcome: Option<Value>,
}

impl MemoryClaims {
    /// None claimed.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Claims for MemoryClaims {
    async fn claim(&self, tenant: &Tenant, key: &str, ttl: Millis, now: Millis) -> Result<Claim> {
        let mut table = self.table();
        if table.entries.len() >= table.sweep_at {
            table.entries.retain(|_, e| e.until > now);
            table.sweep_at = (table.entries.len() * 2).max(1_024);
        }
        let slot = (tenant.clone(), key.to_owned());
        if let Some(entry) = table.entries.get(&slot).filter(|e| e.until > now) {
            return Ok(match &entry.outcome {
                Some(outcome) => Claim::Settled(outcome.clone()),
                None => Claim::Held { until: entry.until },
            });
        }
        let token = token();
        let entry = Entry {
            token: token.clone(),
            until: now + ttl,
            outcome: None,
        };
        table.entries.insert(slot, entry);
        Ok(Claim::Won { token })
    }

    async fn settle(&self, tenant: &Tenant, key: &str, token: &str, outcome: Value, keep: Millis, now: Millis) -> Result<()> {
        let mut table = self.table();
        let slot = (tenant.clone(), key.to_owned());
        if table.entries.get(&slot).is_some_and(|e| e.until > now && e.token != token) {
            return Err(lost(key));
        }
        let entry = Entry {
            token: token.to_owned(),
            until: now + keep,
            outcome: Some(outcome),
        };
        table.entries.insert(slot, entry);
        Ok(())
    }

    async fn release(&self, tenant: &Tenant, key: &str, token: &str, now: Millis) -> Result<()> {
        let mut table = self.table();
        let slot = (tenant.clone(), key.to_owned());
        match table.entries.get(&slot).filter(|e| e.until > now) {
            None => Ok(()),
            Some(e) if e.token == token && e.outcome.is_none() => {
                table.entries.remove(&slot);
                Ok(())
            }
            Some(_) => Err(lost(key)),
        }
    }
}

/// What claims of every backend must do; shared by the tests of each.
#[cfg(test)]
pub(crate) mod behaviour {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const T0: Millis = Millis(1_700_000_000_000);

    async fn win(c: &dyn Claims, key: &str, ttl: i64, now: Millis) -> String {
        match c.claim(&Tenant::default(), key, Millis(ttl), now).await.unwrap() {
            Claim::Won { token } => token,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn one_wins_and_the_others_learn_the_outcome(c: &dyn Claims) {
        let t = Tenant::default();
        let token = win(c, "k", 1_000, T0).await;
        let held = c.claim(&t, "k", Millis(1_000), T0 + Millis(1)).await.unwrap();
        assert_eq!(
            held,
            Claim::Held {
                until: T0 + Millis(1_000)
            }
        );
        let other = Tenant::new("other").unwrap();
        assert!(matches!(
            c.claim(&other, "k", Millis(1), T0).await.unwrap(),
            Claim::Won { .. }
        ));
        let outcome = json!({"done": [1, "zwei", null], "big": 9_007_199_254_740_993_i64});
        c.settle(&t, "k", &token, outcome.clone(), Millis(5_000), T0 + Millis(2))
            .await
            .unwrap();
        c.settle(&t, "k", &token, outcome.clone(), Millis(5_000), T0 + Millis(2))
            .await
            .unwrap();
        let settled = c.claim(&t, "k", Millis(1_000), T0 + Millis(5_001)).await.unwrap();
        assert_eq!(settled, Claim::Settled(outcome));
        win(c, "k", 1, T0 + Millis(5_002)).await;
    }

    pub(crate) async fn a_claim_that_ran_out_is_lost_to_who_won_it_next(c: &dyn Claims) {
        let t = Tenant::default();
        let late = win(c, "z", 1_000, T0).await;
        let next = win(c, "z", 1_000, T0 + Millis(1_000)).await;
        let now = T0 + Millis(1_500);
        let e = c.settle(&t, "z", &late, json!(1), Millis(1), now).await.unwrap_err();
        assert_eq!(e.code(), "claims.lost");
        assert_eq!(c.release(&t, "z", &late, now).await.unwrap_err().code(), "claims.lost");
        c.settle(&t, "z", &next, json!(2), Millis(1_000), now).await.unwrap();
        assert_eq!(c.release(&t, "z", &next, now).await.unwrap_err().code(), "claims.lost");
        assert_eq!(c.claim(&t, "z", Millis(1), now).await.unwrap(), Claim::Settled(json!(2)));
    }

    pub(crate) async fn a_released_claim_is_free(c: &dyn Claims) {
        let t = Tenant::default();
        let token = win(c, "r", 1_000, T0).await;
        c.release(&t, "r", &token, T0).await.unwrap();
        win(c, "r", 1_000, T0).await;
        c.release(&t, "never claimed", "x", T0).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn claims_in_memory_behave() {
        let c = MemoryClaims::new();
        behaviour::one_wins_and_the_others_learn_the_outcome(&c).await;
        behaviour::a_claim_that_ran_out_is_lost_to_who_won_it_next(&c).await;
        behaviour::a_released_claim_is_free(&c).await;
    }

    #[tokio::test]
    async fn what_ran_out_is_forgotten() {
        let c = MemoryClaims::new();
        for i in 0..10_000_i64 {
            c.claim(&Tenant::default(), &i.to_string(), Millis(10), Millis(i * 10))
                .await
                .unwrap();
        }
        assert!(c.table().entries.len() <= 1_024);
    }
}
