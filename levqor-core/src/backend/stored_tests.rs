#![allow(clippy::unwrap_used)]

use super::*;
use crate::backend::memory::claims_behaviour;
use crate::limits::behaviour;
use crate::testkit::stores::{self, Stores};

/// Limits and claims as every store must have them.
pub(crate) async fn behaves(stores: Stores, seeds: u64) {
    let limits = [
        StoredLimits::new(stores.first.clone()),
        StoredLimits::new(stores.second.clone()),
    ];
    let t = |name: &str| Tenant::new(name).unwrap();
    for seed in 0..seeds {
        let one = &limits[usize::try_from(seed % 2).unwrap()];
        behaviour::decides_as_the_pure_rules_do(one, &t(&format!("seed-{seed}")), 150, seed).await;
    }
    behaviour::several_limits_pass_together_or_not_at_all(&limits[0], &t("together")).await;
    behaviour::a_block_holds_for_its_time(&limits[1], &t("block")).await;
    behaviour::wrong_asks_are_errors(&limits[0], &t("wrong")).await;
    behaviour::agrees_with_the_vectors(&limits[1]).await;
    let claims = StoredClaims::new(stores.first.clone());
    claims_behaviour::one_wins_and_the_others_learn_the_outcome(&claims).await;
    claims_behaviour::a_claim_that_ran_out_is_lost_to_who_won_it_next(&claims).await;
    claims_behaviour::a_released_claim_is_free(&claims).await;
    strange_keys_are_claimed_too(&stores).await;
    of_many_that_claim_at_once_one_wins(&stores).await;
    many_callers_get_exactly_the_limit(&stores).await;
}

async fn strange_keys_are_claimed_too(stores: &Stores) {
    let claims = [
        StoredClaims::new(stores.first.clone()),
        StoredClaims::new(stores.second.clone()),
    ];
    let (t, now) = (Tenant::default(), Millis(1_700_000_000_000));
    for key in ["", "\0", "a\0b", &"k".repeat(10_000), "=x", "ключ", "\u{1F511}'\"\\"] {
        let won = claims[0].claim(&t, key, Millis(10), now).await.unwrap();
        assert!(matches!(won, Claim::Won { .. }), "{key:?}");
        let held = claims[1].claim(&t, key, Millis(10), now).await.unwrap();
        assert_eq!(held, Claim::Held { until: now + Millis(10) }, "{key:?}");
    }
}

async fn of_many_that_claim_at_once_one_wins(stores: &Stores) {
    let mut tasks = Vec::new();
    for i in 0..40 {
        let store = if i % 2 == 0 { &stores.first } else { &stores.second };
        let claims = StoredClaims::new(store.clone());
        tasks.push(tokio::spawn(async move {
            claims.claim(&Tenant::default(), "race", Millis(10), Millis(7)).await.unwrap()
        }));
    }
    let mut won = 0;
    for task in tasks {
        won += u32::from(matches!(task.await.unwrap(), Claim::Won { .. }));
    }
    assert_eq!(won, 1);
}

/// Callers of one group see each other's takes, and so do those of two processes.
async fn many_callers_get_exactly_the_limit(stores: &Stores) {
    let mut tasks = Vec::new();
    for i in 0..200 {
        let store = if i % 2 == 0 { &stores.first } else { &stores.second };
        let limits = StoredLimits::new(store.clone());
        tasks.push(tokio::spawn(async move {
            let asks = [
                Ask::new("many", "hot", "90/hour".parse().unwrap()),
                Ask::new("many", i.to_string(), "1/hour fixed".parse().unwrap()),
            ];
            limits.take(&Tenant::default(), &asks, behaviour::T0).await.unwrap().admitted
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += u32::from(task.await.unwrap());
    }
    assert_eq!(admitted, 90);
}

/// Writes 400 keys of each kind, of which about 20 and one are not over at the end.
pub(crate) async fn write_many_that_are_soon_over(store: Arc<dyn Store>) {
    let (limits, claims) = (StoredLimits::new(store.clone()), StoredClaims::new(store));
    let mut now = behaviour::T0;
    for i in 0..400 {
        now = now + Millis::mins(1);
        let ask = [Ask::new("a", i.to_string(), "9/minute".parse().unwrap())];
        assert!(limits.take(&Tenant::default(), &ask, now).await.unwrap().admitted);
        claims
            .claim(&Tenant::default(), &i.to_string(), Millis(1_000), now)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_claims_in_the_memory_store_behave() {
    behaves(stores::memory().await, 20).await;
}
