//! The peers: scripts in `benches/peers/`, run as children of this program, in the same run as ours.
//!
//! What they need is installed once, pinned, below the target folder. A peer that cannot be installed or that fails
//! is said on standard error and written into the results; nothing is left out silently.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The longest that one run of a script may take.
const PATIENCE: Duration = Duration::from_secs(280);

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Python with the packages of `requirements.txt`.
    Python,
    /// Node with the packages of `package.json`.
    Node,
    /// Bash.
    Bash,
    /// Bash with a clone of pgledger.
    Pgledger,
}

/// A peer: a script and what it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What it is called in the results.
    pub(crate) name: &'static str,
    /// What runs it.
    pub(crate) runs: Runs,
    /// The file in `benches/peers/`.
    pub(crate) script: &'static str,
    /// Its arguments.
    pub(crate) args: &'static [&'static str],
    /// The figures it answers with, at least.
    pub(crate) figures: &'static [&'static str],
}

/// A line that a script prints.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Figure {
    pub(crate) peer: String,
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

/// Where the scripts are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Where what they need is installed: the target folder, beside what cargo builds.
fn cache() -> PathBuf {
    let built = crate::target_folder();
    built.parent().unwrap_or(&built).join("peers")
}

impl Peer {
    /// Runs the script and reads its figures; or why there are none.
    pub(crate) fn run(&self, env: &[(&str, String)]) -> Result<Vec<Figure>, String> {
        let installed = |kind| install(kind).map_err(|e| format!("peer not installed: {e}"));
        let script = scripts().join(self.script);
        let mut command = match self.runs {
            Runs::Python => Command::new(installed("python")?.join("bin").join("python")),
            Runs::Node => {
                let modules = installed("node")?;
                let mut command = Command::new("node");
                command.env("PEER_NODE", modules).arg("--expose-gc");
                command
            }
            Runs::Bash => Command::new("bash"),
            Runs::Pgledger => {
                let mut command = Command::new("bash");
                command.env("PEER_PGLEDGER", installed("pgledger")?);
                command
            }
        };
        command
            .arg(script)
            .args(self.args)
            .envs(env.iter().map(|(k, v)| (*k, v.as_str())));
        let text = output(command).map_err(|e| format!("peer failed: {e}"))?;
        let figures: Vec<Figure> = text
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).map_err(|e| format!("peer failed: `{line}` is no figure: {e}")))
            .collect::<Result<_, _>>()?;
        match self.figures.iter().find(|name| figures.iter().all(|f| f.name != **name)) {
            Some(name) => Err(format!("peer failed: it told no `{name}`")),
            None => Ok(figures),
        }
    }
}

/// What a child prints; an error with the end of its complaints, if it fails or takes too long.
fn output(mut command: Command) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{} cannot be run: {e}", command.get_program().display()))?;
    // Both pipes are read while it runs, so that a child that says much does not wait for us.
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let reads = std::thread::spawn(move || {
        let mut text = String::new();
        out.as_mut().map(|o| o.read_to_string(&mut text));
        text
    });
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        err.as_mut().map(|e| e.read_to_string(&mut text));
        text
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break Some(status),
            None if start.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let text = reads.join().unwrap_or_default();
    let complaints = complaints.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(text),
        Some(status) => {
            let lines: Vec<&str> = complaints.lines().filter(|l| !l.trim().is_empty()).collect();
            Err(format!("{status}: {}", lines.last().unwrap_or(&"it did not say why")))
        }
        None => Err(format!("it took longer than {} s", PATIENCE.as_secs())),
    }
}

/// Installs what a kind of peers needs, once in a run; where it lies, or why it does not.
fn install(kind: &'static str) -> Result<PathBuf, String> {
    static DONE: Mutex<Option<HashMap<&'static str, Result<PathBuf, String>>>> = Mutex::new(None);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = done.get_or_insert_default();
    if let Some(before) = known.get(kind) {
        return before.clone();
    }
    let to = cache();
    let mut command = Command::new("bash");
    command.arg(scripts().join("bootstrap.sh")).arg(kind).arg(&to);
    let made = output(command).map(|_| to.join(kind));
    known.insert(kind, made.clone());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(text: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn a_child_that_fails_says_why() {
        let e = output(bash("echo a line; echo 'no such peer' >&2; exit 3")).unwrap_err();
        assert!(e.contains("no such peer") && e.contains('3'), "{e}");
        assert_eq!(output(bash("echo a line")).unwrap(), "a line\n");
    }

    #[test]
    fn a_kind_that_is_unknown_is_not_installed() {
        assert!(install("cobol").unwrap_err().contains("cobol"));
        assert!(!cache().join("cobol").exists());
    }
}
