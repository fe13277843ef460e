//! Wake-ups inside one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::store::Wakes;

/// Topics and who listens to them. A wake-up that comes between two waits is not lost.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<HashMap<String, watch::Sender<u64>>>>);

impl Hub {
    /// Starts to listen.
    pub fn listen(&self, topic: &str) -> Box<dyn Wakes> {
        let mut topics = self.lock();
        if topics.len() >= 64 && topics.len().is_power_of_two() {
            topics.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = topics.entry(topic.to_owned()).or_insert_with(|| watch::channel(0).0);
        Box::new(HubWakes(sender.subscribe()))
    }

    /// Wakes everybody who listens to one of the topics.
    pub fn wake<'a>(&self, wakes: impl IntoIterator<Item = &'a str>) {
        let mut topics = self.lock();
        for topic in wakes {
            if let Some(sender) = topics.get(topic) {
                if sender.receiver_count() == 0 {
                    topics.remove(topic);
                } else {
                    sender.send_modify(|n| *n += 1);
                }
            }
        }
    }

    /// Wakes everybody: after a time of deafness, nobody knows what was missed.
    pub fn wake_all(&self) {
        self.lock().values().for_each(|sender| sender.send_modify(|n| *n += 1));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct HubWakes(watch::Receiver<u64>);

#[async_trait]
impl Wakes for HubWakes {
    async fn next(&mut self, at_most: Duration) -> bool {
        match tokio::time::timeout(at_most, self.0.changed()).await {
            Ok(Ok(())) => true,
            Err(_) => false,
            // The hub is gone; nothing will come, but whoever waits must not spin.
            Ok(Err(_)) => {
                tokio::time::sleep(at_most).await;
                false
            }
        }
    }
}
