//! Workers on the engine's threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use levqor::engine::{Worker, WorkerReport};
use levqor::error::{Error, Result};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::engine::Scene;
use crate::runtime::runtime;
use crate::verbs::Span;

/// How a worker works.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    queues: Option<Vec<String>>,
    concurrency: Option<usize>,
    lease: Option<Span>,
    grace: Option<Span>,
    poll: Option<Span>,
    schedules: Option<bool>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<WorkerReport>>,
}

/// The workers of one engine, by name.
#[derive(Default)]
pub(crate) struct Workers(Mutex<HashMap<String, Running>>);

/// A worker as it was asked for.
pub(crate) fn make(scene: &Scene, options: Options) -> Worker {
    let mut worker = scene.worker();
    if let Some(queues) = &options.queues {
        worker = worker.queues(queues.iter().map(String::as_str));
    }
    if let Some(n) = options.concurrency {
        worker = worker.concurrency(n);
    }
    if let Some(lease) = options.lease {
        worker = worker.lease(lease.0);
    }
    if let Some(grace) = options.grace {
        worker = worker.grace(grace.0.to_duration());
    }
    if let Some(poll) = options.poll {
        worker = worker.poll(poll.0.to_duration());
    }
    if let Some(fire) = options.schedules {
        worker = worker.schedules(fire);
    }
    worker
}

impl Workers {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to work. `false` if the worker of this name works already, in whatever thread it was started.
    pub(crate) fn start(&self, name: &str, worker: Worker) -> Result<bool> {
        let mut all = self.all();
        if all.get(name).is_some_and(|r| !r.ended.is_finished()) {
            return Ok(false);
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = runtime()?.spawn(worker.run(async {
            // Sent or dropped: both mean stop.
            let _ = stopped.await;
        }));
        all.insert(name.to_owned(), Running { stop, ended });
        Ok(true)
    }

    /// Takes nothing more, lets what runs come to its end within the grace, and gives the rest back. `None` if
    /// no worker of this name works.
    pub(crate) async fn stop(&self, name: &str) -> Result<Option<WorkerReport>> {
        let running = self.all().remove(name);
        let Some(running) = running else { return Ok(None) };
        drop(running.stop);
        let ended = running.ended.await;
        ended.map_err(|e| Error::internal(format!("the worker died: {e}")))?.map(Some)
    }

    /// Whether the worker of a name works.
    pub(crate) fn works(&self, name: &str) -> bool {
        self.all().get(name).is_some_and(|r| !r.ended.is_finished())
    }

    pub(crate) async fn stop_all(&self) {
        let running: Vec<Running> = self.all().drain().map(|(_, r)| r).collect();
        for worker in running {
            drop(worker.stop);
            let _ = worker.ended.await;
        }
    }
}
