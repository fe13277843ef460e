//! Wake-ups over Redis: a publisher says that there is news under a topic, subscribers look.
//!
//! A wake-up carries nothing and may be lost; who waits for one must look by itself now and then. One
//! channel serves every topic, and one connection all subscribers of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::link::{Lost, RedisLink};
use crate::error::{Error, Result};

const CHANNEL: &str = "levqor:wakes";
/// How long a silent connection is trusted before it is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Wake-ups shared by every process that uses the same Redis.
#[derive(Clone, Debug)]
pub struct RedisWakes {
    link: RedisLink,
    topics: Arc<Mutex<Topics>>,
}

#[derive(Debug, Default)]
struct Topics {
    senders: HashMap<String, watch::Sender<u64>>,
    listening: bool,
}

impl RedisWakes {
    /// Wake-ups over a link. Listens from the first subscription on.
    pub fn new(link: RedisLink) -> Self {
        RedisWakes {
            link,
            topics: Arc::default(),
        }
    }

    /// Wakes every subscriber of these topics, in every process, in one round trip.
    pub async fn publish(&self, topics: &[&str]) -> Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        let message = serde_json::to_string(topics).map_err(|_| Error::internal("topics could not be written as JSON"))?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(CHANNEL).arg(message);
        self.link.command::<()>(&command).await.map_err(Lost::into_error)
    }

    /// Subscribes to a topic: the receiver's value changes with every wake-up. It also changes whenever the
    /// connection was made anew, because wake-ups may have passed unheard.
    ///
    /// Must be called within a tokio runtime, which then carries the listener.
    pub fn subscribe(&self, topic: &str) -> watch::Receiver<u64> {
        let mut topics = lock(&self.topics);
        topics
            .senders
            .retain(|name, sender| name == topic || sender.receiver_count() > 0);
        let receiver = topics.senders.entry(topic.to_owned()).or_default().subscribe();
        if !topics.listening
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            topics.listening = true;
            let listener = Listener(Arc::downgrade(&self.topics));
            runtime.spawn(listen(self.link.clone(), listener));
        }
        receiver
    }
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that nobody listens any more, however the task ended.
struct Listener(Weak<Mutex<Topics>>);

impl Listener {
    /// Wakes the named topics, or all. False if nobody is left to wake.
    fn wake(&self, named: Option<&[String]>) -> bool {
        let Some(topics) = self.0.upgrade() else { return false };
        let topics = lock(&topics);
        let wake = |sender: &watch::Sender<u64>| sender.send_modify(|n| *n = n.wrapping_add(1));
        match named {
            Some(names) => names.iter().filter_map(|n| topics.senders.get(n)).for_each(wake),
            None => topics.senders.values().for_each(wake),
        }
        true
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(topics) = self.0.upgrade() {
            lock(&topics).listening = false;
        }
    }
}

async fn listen(link: RedisLink, listener: Listener) {
    loop {
        // An end of the connection is nothing to tell: the next one wakes everybody.
        let _ended = listen_once(&link, &listener).await;
        if !listener
            .0
            .upgrade()
            .is_some_and(|t| lock(&t).senders.values().any(|s| s.receiver_count() > 0))
        {
            return;
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Listens until the connection ends or nobody is left to wake.
async fn listen_once(link: &RedisLink, listener: &Listener) -> Result<(), redis::RedisError> {
    let gone = || redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let connected = timeout(ANSWER_WITHIN, async {
        let (mut sink, stream) = link.client().get_async_pubsub().await?.split();
        sink.subscribe(CHANNEL).await?;
        Ok::<_, redis::RedisError>((sink, stream))
    });
    let (mut sink, mut stream) = connected.await.map_err(|_| gone())??;
    if !listener.wake(None) {
        return Ok(());
    }
    loop {
        match timeout(SILENCE, stream.next()).await {
            Ok(Some(message)) => {
                let topics: Vec<String> = serde_json::from_slice(message.get_payload_bytes()).unwrap_or_default();
                if !listener.wake(Some(&topics)) {
                    return Ok(());
                }
            }
            Ok(None) => return Err(gone()),
            Err(_silent) => {
                if listener.0.upgrade().is_none() {
                    return Ok(());
                }
                timeout(ANSWER_WITHIN, sink.ping::<redis::Value>())
                    .await
                    .map_err(|_| gone())??;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testkit::services::Service;

    async fn woken(receiver: &mut watch::Receiver<u64>) {
        timeout(Duration::from_secs(5), receiver.changed())
            .await
            .expect("no wake-up came")
            .unwrap();
    }

    #[tokio::test]
    async fn a_wake_up_reaches_other_processes_and_only_its_topic() {
        let redis = Service::redis();
        let there = RedisWakes::new(RedisLink::new(&redis.url()).unwrap());
        let here = RedisWakes::new(RedisLink::new(&redis.url()).unwrap());
        let (mut mail, mut runs) = (there.subscribe("mail"), there.subscribe("runs"));
        // The connection itself wakes everybody once.
        woken(&mut mail).await;
        woken(&mut runs).await;
        here.publish(&["mail", "nobody's"]).await.unwrap();
        woken(&mut mail).await;
        here.publish(&["runs"]).await.unwrap();
        woken(&mut runs).await;
        assert!(!mail.has_changed().unwrap());
    }

    #[tokio::test]
    async fn after_an_outage_everybody_looks_and_wake_ups_come_again() {
        let mut redis = Service::redis();
        let wakes = RedisWakes::new(RedisLink::new(&redis.url()).unwrap());
        let mut topic = wakes.subscribe("t");
        woken(&mut topic).await;
        redis.restart();
        woken(&mut topic).await;
        let other = RedisWakes::new(RedisLink::new(&redis.url()).unwrap());
        other.publish(&["t"]).await.unwrap();
        woken(&mut topic).await;
    }
}
