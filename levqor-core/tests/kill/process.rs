//! Child processes, and the lines in which they are spoken with.

use std::io::Write;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::life::Life;

/// Says to a child what it has to do.
pub const CHILD: &str = "LEVQOR_TEST_KILL_LIFE";
/// Marks a line that is meant for the other process.
const SIGN: &str = "> ";

/// Says a line to the parent (or, in the parent itself, to nobody), whole wherever the process dies.
pub fn tell(line: &str) {
    if std::env::var_os(CHILD).is_some() {
        std::io::stderr().write_all(format!("{SIGN}{line}\n").as_bytes()).unwrap();
    }
}

/// A child at work; killed when dropped.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// What it said that was no message: how it died, if it did.
    said: Vec<String>,
}

impl Process {
    pub fn start(life: &Life) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, serde_json::to_string(life).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Process {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The next message; `None` if there will be none.
    pub async fn hear(&mut self) -> Option<String> {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            match line.strip_prefix(SIGN) {
                Some(message) => return Some(message.to_owned()),
                None => self.said.push(line),
            }
        }
        None
    }

    /// Waits for a message that begins like this, and gives back what follows. Others before it are passed over.
    pub async fn expect(&mut self, start: &str) -> String {
        while let Some(message) = self.hear().await {
            if let Some(rest) = message.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
        panic!("the child ended before it said `{start}`:\n{}", self.said.join("\n"));
    }

    pub async fn open(&mut self, gate: &str) {
        let line = format!("open {gate}\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    /// Sends a signal, `STOP` say.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid).status().await;
        assert!(sent.unwrap().success(), "the signal {name} could not be sent");
    }

    /// Kills it at once, and gives back the messages that had not been heard.
    pub async fn kill(mut self) -> Vec<String> {
        self.child.start_kill().unwrap();
        let mut rest = Vec::new();
        while let Some(message) = self.hear().await {
            rest.push(message);
        }
        let status = self.child.wait().await.unwrap();
        assert!(
            !status.success() && status.code().is_none(),
            "it ended by itself, {status}:\n{}",
            self.said.join("\n")
        );
        rest
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> ExitStatus {
        while self.hear().await.is_some() {}
        self.child.wait().await.unwrap()
    }
}
