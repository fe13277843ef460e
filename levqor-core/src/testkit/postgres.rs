//! A private Postgres server.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::services::{Service, free_port};
use crate::types::random_bytes;

/// Starts and stops the server as the lines of its standard input say, until they end, that is until whoever
/// started it has stopped it or has died in whatever way; then removes the folder. Says when the server has stopped.
const SUPERVISOR: &str = r#"
server=
while read -r what; do
    if [ "$what" = start ]; then
        "$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
            -c max_connections=300 $4 >"$2/log" 2>&1 </dev/null &
        server=$!
    else
        kill -"$what" "$server"
        wait "$server"
        server=
        echo stopped
    fi
done
if [ -n "$server" ]; then
    kill -QUIT "$server"
    wait "$server"
fi
rm -rf "$2"
"#;

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresStop {
    /// In order: transactions are rolled back, connections are told and closed.
    Fast,
    /// At once, as if it had crashed; it recovers when it is started.
    Immediate,
}

/// A Postgres server of this test process. Stopped and cleaned up when dropped, and also when the process dies.
#[derive(Debug)]
pub struct RunningPostgres {
    supervisor: Child,
    port: u16,
    bin: PathBuf,
    dir: PathBuf,
}

impl RunningPostgres {
    /// The address of one of its databases; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://levqor@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server and waits until it is gone. What was committed is kept.
    ///
    /// # Panics
    /// If it runs no more.
    pub fn stop(&mut self, how: PostgresStop) {
        self.order(match how {
            PostgresStop::Fast => "INT",
            PostgresStop::Immediate => "QUIT",
        });
        let mut said = [0; b"stopped\n".len()];
        let heard = self.supervisor.stdout.as_mut().map(|out| out.read_exact(&mut said));
        assert!(matches!(heard, Some(Ok(()))), "postgres did not stop");
    }

    /// Starts the stopped server again, at the same address, and waits until it takes connections.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(&mut self) {
        self.order("start");
        assert!(self.answers(), "postgres did not come up again on port {}", self.port);
    }

    fn order(&mut self, line: &str) {
        let written = self
            .supervisor
            .stdin
            .as_mut()
            .map(|to| to.write_all(format!("{line}\n").as_bytes()));
        assert!(matches!(written, Some(Ok(()))), "postgres was given up already");
    }
}

impl Drop for RunningPostgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

impl Service {
    /// A Postgres server with an empty cluster, without passwords, that only this machine can reach.
    ///
    /// # Panics
    /// If the programs of Postgres are missing, or the server does not start.
    pub fn postgres() -> RunningPostgres {
        Self::postgres_with(&["fsync=off", "shared_buffers=32MB"])
    }

    /// The same with settings of one's own (`name=value`, without spaces): durable, unless they say otherwise.
    ///
    /// # Panics
    /// If the programs of Postgres are missing, or the server does not start.
    pub fn postgres_with(settings: &[&str]) -> RunningPostgres {
        let settings: Vec<String> = settings.iter().map(|s| format!("-c {s}")).collect();
        let settings = settings.join(" ");
        let bin = programs();
        let user = unprivileged();
        let dir = std::env::temp_dir().join(format!("levqor-postgres-{:016x}", u64::from_be_bytes(random_bytes())));
        if let Err(e) = std::fs::create_dir(&dir) {
            panic!("the folder {} cannot be made: {e}", dir.display());
        }
        if let Some(user) = &user {
            let given = Command::new("chown").arg(user).arg(&dir).status();
            assert!(
                given.is_ok_and(|s| s.success()),
                "{} cannot be given to {user}",
                dir.display()
            );
        }
        // A language's order of letters, where this Postgres has one: nothing may depend on it.
        let icu = ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C"];
        if !initdb(user.as_deref(), &bin, &dir, &icu).is_ok_and(|o| o.status.success()) {
            let _ = std::fs::remove_dir_all(dir.join("data"));
            match initdb(user.as_deref(), &bin, &dir, &["--no-locale"]) {
                Ok(output) if output.status.success() => {}
                Ok(output) => panic!("initdb failed: {}", String::from_utf8_lossy(&output.stderr)),
                Err(e) => panic!("initdb cannot be run: {e}"),
            }
        }
        for _ in 0..10 {
            let port = free_port();
            let mut server = RunningPostgres {
                supervisor: supervise(user.as_deref(), &bin, &dir, port, &settings),
                port,
                bin: bin.clone(),
                dir: dir.clone(),
            };
            server.order("start");
            if server.answers() {
                return server;
            }
            // Somebody else took the port in between.
            let _ = server.supervisor.kill();
        }
        panic!(
            "postgres did not start on any of ten free ports; its log is in {}",
            dir.display()
        );
    }
}

impl RunningPostgres {
    /// Waits until it takes connections; false if it gives up, or does not within thirty seconds.
    fn answers(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let asked = Command::new(self.bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if asked.is_ok_and(|s| s.success()) {
                return true;
            }
            if std::fs::read_to_string(self.dir.join("log"))
                .is_ok_and(|log| log.contains("FATAL:  could not create any TCP/IP sockets"))
            {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn supervise(user: Option<&str>, bin: &Path, dir: &Path, port: u16, settings: &str) -> Child {
    let started = as_user(user, Path::new("sh"))
        .args(["-c", SUPERVISOR, "levqor-postgres"])
        .arg(bin)
        .arg(dir)
        .arg(port.to_string())
        .arg(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A Ctrl-C is for the test; the server goes with it.
        .process_group(0)
        .spawn();
    match started {
        Ok(child) => child,
        Err(e) => panic!("postgres cannot be started: {e}"),
    }
}

fn initdb(user: Option<&str>, bin: &Path, dir: &Path, locale: &[&str]) -> std::io::Result<Output> {
    as_user(user, &bin.join("initdb"))
        .args(["-U", "levqor", "-A", "trust", "-E", "UTF8", "-N", "-D"])
        .arg(dir.join("data"))
        .args(locale)
        .stdin(Stdio::null())
        .output()
}

/// Postgres refuses to run as root: then it runs as another user.
fn unprivileged() -> Option<String> {
    let id = |args: &[&str]| Command::new("id").args(args).stderr(Stdio::null()).output();
    let root = id(&["-u"]).is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    let exists = |user: &str| id(&["-u", user]).is_ok_and(|o| o.status.success());
    root.then(|| if exists("postgres") { "postgres" } else { "nobody" }.to_owned())
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = match Command::new("setpriv").arg("--version").output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]);
            command
        }
        _ => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]);
            command
        }
    };
    command.arg(program).current_dir("/");
    command
}

/// The folder of the newest Postgres programs on this machine.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .map(|p| std::env::split_paths(&p).collect::<Vec<_>>())
        .unwrap_or_default();
    let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    debian.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let usual = ["/usr/local/pgsql/bin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    let mut places = debian.into_iter().map(|(_, dir)| dir).chain(on_path).chain(usual);
    match places.find(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file()) {
        Some(dir) => dir,
        None => panic!(
            "the tests need a Postgres server: install its programs (Debian: apt install postgresql), \
             or name a server in LEVQOR_TEST_POSTGRES_URL"
        ),
    }
}
