//! Private servers for tests: each on a free port of 127.0.0.1, with a folder of its own, gone with its
//! handle. A program that is missing fails the test that needs it; nothing is skipped.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::types::random_bytes;

/// Starts servers.
#[derive(Debug)]
pub struct Service;

impl Service {
    /// A Redis server that keeps nothing on disk.
    ///
    /// # Panics
    /// If the program `redis-server` is missing or does not start.
    pub fn redis() -> RunningService {
        Self::redis_with(&["--appendonly", "no"])
    }

    /// The same with further arguments of the program, such as `--appendonly yes`.
    ///
    /// # Panics
    /// If the program `redis-server` is missing or does not start.
    pub fn redis_with(arguments: &[&str]) -> RunningService {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let dir = std::env::temp_dir().join(format!("levqor-redis-{:016x}", u64::from_be_bytes(random_bytes())));
        assert!(
            std::fs::create_dir(&dir).is_ok(),
            "the folder {} cannot be made",
            dir.display()
        );
        for _ in 0..10 {
            let port = free_port();
            let mut service = RunningService {
                child: start_redis(port, &dir, &arguments),
                arguments: arguments.clone(),
                dir: dir.clone(),
                port,
            };
            if service.answers() {
                return service;
            }
            // Somebody else took the port in between.
            drop(service);
            let _ = std::fs::create_dir(&dir);
        }
        panic!("redis-server did not start on any of ten free ports");
    }
}

fn start_redis(port: u16, dir: &PathBuf, arguments: &[String]) -> Child {
    let started = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(child) => child,
        Err(e) => panic!("the tests need the program `redis-server` on the PATH (Debian: apt install redis-server): {e}"),
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .map(|a| a.port());
    match port {
        Ok(port) => port,
        Err(e) => panic!("no free port on 127.0.0.1: {e}"),
    }
}

/// A server of this test. Killed and cleaned up when dropped.
#[derive(Debug)]
pub struct RunningService {
    child: Child,
    arguments: Vec<String>,
    dir: PathBuf,
    port: u16,
}

impl RunningService {
    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Freezes the process: connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills the process at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, without what it did not keep.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        self.child = start_redis(self.port, &self.dir, &self.arguments);
        assert!(self.answers(), "redis-server did not come up again on port {}", self.port);
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|s| s.success()), "the signal {name} could not be sent");
    }

    /// Waits until it answers a PING; false if it exits or does not within ten seconds.
    fn answers(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if ping(self.port).is_ok_and(|pong| pong) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn ping(port: u16) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}

impl Drop for RunningService {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
