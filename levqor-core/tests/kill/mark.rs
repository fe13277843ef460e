//! A connector whose effects can be counted afterwards: each is one line in a file.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::JobId;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Gates that steps wait at, by name. A clone opens and sees the same ones.
#[derive(Clone)]
pub struct Gates(watch::Sender<BTreeSet<String>>);

impl Gates {
    pub fn closed() -> Self {
        Gates(watch::Sender::new(BTreeSet::new()))
    }

    pub fn open(&self, name: &str) {
        self.0.send_modify(|open| {
            open.insert(name.to_owned());
        });
    }

    async fn pass(&self, name: &str) {
        let mut seen = self.0.subscribe();
        seen.wait_for(|open| open.contains(name)).await.unwrap();
    }
}

/// The actions:
///
/// * `put`, `once`: the effect; `once` says that it must not be repeated blindly.
/// * `flaky`: fails without effect at the first attempt of every life, then has its effect.
/// * `gate`, `once_gate`: have their effect, say that they have begun, and wait for a gate.
/// * `abort`: ends its process, if its input says so; else works for a moment.
pub struct Mark {
    manifest: Manifest,
    effects: PathBuf,
    life: String,
    gates: Gates,
    begun: watch::Sender<BTreeSet<String>>,
    failed: Mutex<HashSet<String>>,
}

impl Mark {
    /// `life` names the process (or what stands for one) in every effect and output.
    pub fn new(effects: PathBuf, life: &str, gates: Gates) -> Arc<Self> {
        let action = |name: &str, idempotency| Action {
            name: name.into(),
            title: name.into(),
            description: "Leaves a mark.".into(),
            input: json!({"type": "object"}),
            output: json!({}),
            side_effect: SideEffect::Write,
            idempotency,
            scopes: vec![],
        };
        let manifest = Manifest {
            name: "mark".into(),
            title: "Mark".into(),
            description: "Leaves marks.".into(),
            docs: None,
            auth: vec![],
            settings: vec![],
            budgets: vec![],
            triggers: vec![],
            actions: vec![
                action("put", Idempotency::Key),
                action("flaky", Idempotency::Key),
                action("gate", Idempotency::Key),
                action("abort", Idempotency::Key),
                action("once", Idempotency::None),
                action("once_gate", Idempotency::None),
            ],
        };
        Arc::new(Mark {
            manifest,
            effects,
            life: life.to_owned(),
            gates,
            begun: watch::Sender::new(BTreeSet::new()),
            failed: Mutex::default(),
        })
    }

    /// The runs that have begun to wait at a gate in this process.
    pub fn begun(&self) -> watch::Receiver<BTreeSet<String>> {
        self.begun.subscribe()
    }

    /// Waits until a run has come to its gate in this process.
    pub async fn wait_begun(&self, run: &str) {
        self.begun().wait_for(|runs| runs.contains(run)).await.unwrap();
    }

    /// Fails at the first attempt of every life.
    pub fn flaky(&self, key: &str) -> Result<()> {
        if self.failed.lock().unwrap().insert(key.to_owned()) {
            // A refusal, so that no circuit opens.
            return Err(Error::new(ErrorKind::RateLimited, "mark.flaky", "it fails at first"));
        }
        Ok(())
    }

    /// One line in one write: whole, wherever the process dies.
    pub fn effect(&self, run: &JobId, step: &str, key: &str) {
        let line = format!("{run} {step} {key} {}\n", self.life);
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.effects)
            .unwrap();
        assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
    }
}

#[async_trait]
impl Connector for Mark {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        match action {
            "flaky" => self.flaky(&cx.idempotency_key)?,
            "abort" if input["abort"] == true => std::process::abort(),
            "abort" => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => {}
        }
        self.effect(cx.run.as_ref().unwrap(), &cx.step, &cx.idempotency_key);
        if action.ends_with("gate") {
            let run = cx.run.as_ref().unwrap().to_string();
            crate::process::tell(&format!("begun {run}"));
            self.begun.send_modify(|runs| {
                runs.insert(run);
            });
            self.gates.pass(input["gate"].as_str().unwrap()).await;
        }
        Ok(Output::new(json!({"by": self.life})))
    }
}
