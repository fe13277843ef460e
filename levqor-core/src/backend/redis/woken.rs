//! A store whose wake-ups also go over Redis, to processes that the store itself does not reach.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wakes::RedisWakes;
use crate::error::Result;
use crate::store::{Batch, Reads, Receipt, Store, StoreInfo, Wakes};

/// A store with wake-ups over Redis beside its own. Nothing else goes there; while Redis is down, those who
/// wait look by themselves from time to time.
pub struct WokenStore {
    store: Arc<dyn Store>,
    wakes: RedisWakes,
}

impl WokenStore {
    /// A store and what carries its wake-ups.
    pub fn new(store: Arc<dyn Store>, wakes: RedisWakes) -> Self {
        WokenStore { store, wakes }
    }
}

#[async_trait]
impl Store for WokenStore {
    async fn commit(&self, batch: Batch) -> Result<Receipt> {
        let receipt = self.store.commit(batch).await?;
        if !receipt.wakes.is_empty() {
            let (wakes, topics) = (self.wakes.clone(), receipt.wakes.clone());
            // A wake-up is a hint: nobody waits until it is told.
            tokio::spawn(async move {
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                if let Err(e) = wakes.publish(&topics).await {
                    tracing::debug!(error = %e, "a wake-up was not sent; those who wait look by themselves");
                }
            });
        }
        Ok(receipt)
    }

    fn reads(&self) -> Reads {
        self.store.reads()
    }

    async fn wakes(&self, topic: &str) -> Result<Box<dyn Wakes>> {
        Ok(Box::new(Both {
            own: self.store.wakes(topic).await?,
            redis: self.wakes.subscribe(topic),
        }))
    }

    fn info(&self) -> StoreInfo {
        self.store.info()
    }
}

struct Both {
    own: Box<dyn Wakes>,
    redis: watch::Receiver<u64>,
}

#[async_trait]
impl Wakes for Both {
    async fn next(&mut self, at_most: Duration) -> bool {
        tokio::select! {
            woken = self.own.next(at_most) => woken,
            Ok(Ok(())) = timeout(at_most, self.redis.changed()) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backend::Backend;
    use crate::jobs::{NewJob, QueueOp};
    use crate::store::topic;
    use crate::testkit::services::Service;
    use crate::types::{JobId, Millis, Tenant};

    #[tokio::test]
    async fn a_commit_wakes_who_waits_on_another_store() {
        let redis = Service::redis();
        let here = Backend::memory().with_redis(&redis.url()).unwrap();
        let there = Backend::memory().with_redis(&redis.url()).unwrap();
        let mut waits = there.store.wakes(&topic::queue("mail")).await.unwrap();
        // The first to subscribe is woken once its connection stands.
        assert!(waits.next(Duration::from_secs(10)).await);
        let job = NewJob {
            id: JobId::new(Millis(1)),
            queue: "mail".into(),
            handler: "send".into(),
            account: None,
            args: "{}".into(),
            spec: None,
            priority: 100,
            run_at: Millis(1),
            max_attempts: 1,
            hold: None,
            held: crate::types::MicroCredits::ZERO,
            unique: None,
            concurrency_key: None,
            batch: None,
        };
        let batch = Batch::new(Tenant::default(), Millis(1)).op(QueueOp::Enqueue(Box::new(job)));
        here.store.commit(batch).await.unwrap();
        assert!(waits.next(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_wrong_address_is_an_error_at_once() {
        let e = Backend::memory().with_redis("http://x").err().unwrap();
        assert_eq!(e.code(), "redis.invalid_url");
    }
}
