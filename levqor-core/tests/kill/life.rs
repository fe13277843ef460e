//! The life of a child process: a worker, and somebody who submits runs to it.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::mark::{Gates, Mark};
use crate::process::tell;
use crate::world::{engine, submit};

/// What a child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    /// The store.
    pub url: String,
    /// Where effects are written.
    pub effects: PathBuf,
    /// Its name in effects and outputs.
    pub name: String,
    /// Of the worker.
    pub concurrency: usize,
    /// Of the worker.
    pub lease: Millis,
    /// Of the worker.
    pub grace: Millis,
    /// Of the engine.
    pub max_crashes: i64,
    /// How far its clock is ahead.
    pub ahead: Millis,
    /// The numbers of the runs that it submits while it works.
    pub submits: std::ops::Range<usize>,
}

/// Works until SIGTERM. Says `ready` when the worker is about to begin, `acked <number> <run>` when a submission was
/// answered, `stopping` at SIGTERM and `report <json>` at the end; hears `open <gate>`.
pub async fn live(life: &Life) {
    let gates = Gates::closed();
    let mark = Mark::new(life.effects.clone(), &life.name, gates.clone());
    let mut term = signal(SignalKind::terminate()).unwrap();
    let engine = engine(&life.url, mark, life.max_crashes, life.ahead).await.unwrap();
    // A thread of its own: nothing waits for it at the end.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            gates.open(line.trim_start_matches("open "));
        }
        // The parent is gone, in whatever way.
        std::process::exit(1);
    });
    let (submitter, numbers) = (engine.clone(), life.submits.clone());
    tokio::spawn(async move {
        for number in numbers {
            let run = submit(&submitter, "child", number).await.unwrap();
            tell(&format!("acked {number} {}", run.id));
        }
    });
    tell("ready");
    let worker = engine
        .worker()
        .concurrency(life.concurrency)
        .lease(life.lease)
        .grace(life.grace.to_duration())
        .poll(Duration::from_millis(100));
    let report = worker
        .run(async {
            term.recv().await;
            tell("stopping");
        })
        .await
        .unwrap();
    tell(&format!("report {}", serde_json::to_string(&report).unwrap()));
}
