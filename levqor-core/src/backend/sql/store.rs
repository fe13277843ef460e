use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::conn::Driver;
use super::writer::{Ticket, Writer, closed};
use crate::backend::Hub;
use crate::error::{Effect, Result};
use crate::store::{Batch, Reads, Receipt, Store, StoreInfo, Wakes};
use crate::types::Millis;

/// How a SQL store is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqlOptions {
    /// Whether an acknowledged commit survives a power cut (SQLite `synchronous=FULL`; without it
    /// `NORMAL`, which survives a crash of the process only). Postgres decides it by itself.
    pub durable: bool,
    /// Connections that read.
    pub readers: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Millis,
    /// How large a SQLite file may become, in bytes; then what would make it larger is refused (`store.full`), as when the
    /// disk is full, and everything else goes on. `None`: as large as the disk.
    pub max_bytes: Option<u64>,
}

impl Default for SqlOptions {
    fn default() -> Self {
        SqlOptions {
            durable: true,
            readers: 4,
            connect_timeout: Millis::secs(5),
            max_bytes: None,
        }
    }
}

/// A store in SQLite or Postgres. Cloning it shares it.
#[derive(Clone)]
pub struct SqlStore {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) driver: Arc<dyn Driver>,
    queue: mpsc::Sender<Ticket>,
    hub: Hub,
    info: StoreInfo,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends by itself when its queue is closed and empty; the others are stopped.
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .for_each(|t| t.abort());
    }
}

impl SqlStore {
    pub(super) fn start(driver: Arc<dyn Driver>, info: StoreInfo, _options: &SqlOptions, stripe: u16) -> Self {
        let hub = Hub::default();
        let (queue, tickets) = mpsc::channel(4096);
        let mut tasks = Vec::new();
        let notify = (info.kind == "postgres").then(|| {
            let (tx, rx) = mpsc::unbounded_channel();
            tasks.push(tokio::spawn(notifier(driver.clone(), rx)).abort_handle());
            tx
        });
        tokio::spawn(Writer::new(driver.clone(), hub.clone(), stripe, notify).work(tickets));
        SqlStore {
            inner: Arc::new(Inner {
                driver,
                queue,
                hub,
                info,
                tasks: Mutex::new(tasks),
            }),
        }
    }

    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only a database with wake-ups of its own needs it")
    )]
    pub(super) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// Stops a task together with the store.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only a database with wake-ups of its own needs it")
    )]
    pub(super) fn keep(&self, task: &JoinHandle<()>) {
        self.inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task.abort_handle());
    }
}

/// Passes wake-ups on to other processes, outside the transaction: a wake-up is a hint, and the
/// database's queue of notifications is one lock for everybody.
async fn notifier(driver: Arc<dyn Driver>, mut rx: mpsc::UnboundedReceiver<Vec<String>>) {
    // A notification carries less than 8,000 bytes.
    const ROOM: usize = 7_500;
    while let Some(mut topics) = rx.recv().await {
        while let Ok(more) = rx.try_recv() {
            topics.extend(more);
        }
        topics.sort_unstable();
        topics.dedup();
        let mut text = String::new();
        for topic in &topics {
            if text.len() + topic.len() >= ROOM {
                send(&driver, &std::mem::take(&mut text)).await;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(topic);
        }
        send(&driver, &text).await;
    }
}

async fn send(driver: &Arc<dyn Driver>, topics: &str) {
    if let Err(e) = driver.notify(topics).await {
        tracing::debug!(error = ?e, "a wake-up was not sent; those who wait look by themselves");
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn commit(&self, batch: Batch) -> Result<Receipt> {
        let (answer, wait) = oneshot::channel();
        self.inner.queue.send(Ticket { batch, answer }).await.map_err(|_| closed())?;
        wait.await.map_err(|_| closed().effect_is(Effect::Unknown))?
    }

    fn reads(&self) -> Reads {
        let reader = Arc::new(super::reads::SqlReads(self.inner.clone()));
        Reads {
            ledger: reader.clone(),
            queue: reader.clone(),
            batches: reader.clone(),
            schedules: reader.clone(),
            journal: reader.clone(),
            records: reader,
        }
    }

    async fn wakes(&self, topic: &str) -> Result<Box<dyn Wakes>> {
        Ok(self.inner.hub.listen(topic))
    }

    fn info(&self) -> StoreInfo {
        self.inner.info.clone()
    }
}
