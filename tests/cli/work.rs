//! Workers, and how they are stopped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Place, long_pipeline};

/// A worker and the lines that it says.
struct Works {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Works {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut works = Works { child, lines };
        works.until("working default");
        works
    }

    fn until(&mut self, word: &str) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|line| line.contains(word));
        assert!(found, "the worker ended without `{word}`");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.unwrap().success());
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out)
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn state_of(place: &Place, run: &Value) -> Value {
    place.ok(&["status", run.as_str().unwrap()])["run"]["state"].clone()
}

#[cfg(unix)]
#[test]
fn a_worker_that_is_told_to_stop_lets_what_runs_end() {
    for signal in ["TERM", "INT"] {
        let p = Place::new();
        let file = p.json("p.json", &long_pipeline());
        let mut worker = Works::start(&p, &["worker"]);
        let run = p.ok(&["submit", &file])["run"].clone();
        worker.until("started");
        worker.signal(signal);
        worker.until("draining");
        let (code, out) = worker.end();
        assert_eq!(code, Some(0), "{signal}");
        assert!(out.contains("done        1"), "{out}");
        assert_eq!(state_of(&p, &run), "done", "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_worker_without_grace_gives_its_job_back_for_another_one() {
    let p = Place::new();
    let file = p.json("p.json", &long_pipeline());
    let mut worker = Works::start(&p, &["worker", "--grace", "0s"]);
    let run = p.ok(&["submit", &file, "--key", "k"])["run"].clone();
    worker.until("started");
    worker.signal("TERM");
    let (code, out) = worker.end();
    assert_eq!(code, Some(0));
    assert!(out.contains("given back  1"), "{out}");
    assert_eq!(state_of(&p, &run), "ready");
    let after = p.ok(&["run", &file, "--key", "k"]);
    assert_eq!((&after["run"]["id"], &after["run"]["state"]), (&run, &json!("done")));
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_a_worker_at_once_and_loses_nothing() {
    let p = Place::new();
    let file = p.json("p.json", &long_pipeline());
    let runs: Vec<Value> = (0..6).map(|_| p.ok(&["submit", &file])["run"].clone()).collect();
    let mut worker = Works::start(&p, &["worker", "--grace", "1h"]);
    worker.until("started");
    worker.signal("TERM");
    worker.until("draining");
    worker.signal("TERM");
    worker.until("ended without draining");
    let (code, out) = worker.end();
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let states: Vec<Value> = runs.iter().map(|run| state_of(&p, run)).collect();
    assert!(states.contains(&json!("leased")), "{states:?}");
    assert!(
        states
            .iter()
            .all(|s| ["leased", "ready", "done"].iter().any(|known| s == known)),
        "{states:?}"
    );
}
