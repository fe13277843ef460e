//! One connection to Redis that never keeps a caller waiting.
//!
//! While Redis answers, calls share one multiplexed connection. A call that fails or takes longer than the
//! budget takes the link down: from then on calls fail at once, and a single task of this process looks a
//! few times a second whether Redis is back, with a connection of its own that must answer a PING. Calls go
//! to Redis again only once it did.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Arg, AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::types::{Millis, random_bytes};

/// What a call may take, connecting included.
const BUDGET: Duration = Duration::from_millis(100);
/// Calls that may stand between their callers and the connection.
const WAITING: usize = 1_024;
/// Between two looks whether Redis is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// What one such look may take.
const PROBE_BUDGET: Duration = Duration::from_millis(500);

/// Whose clock decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeSource {
    /// Redis' own, read inside the script: the only one that hosts whose clocks differ agree on. The `now`
    /// of a call is used only while Redis is down.
    #[default]
    Server,
    /// The `now` of each call: for tests and simulations, whose clock is not the world's. Keys then live an
    /// hour of Redis' time beyond their own end, since the two clocks do not run alike.
    Caller,
}

impl TimeSource {
    /// The instant for a script: empty for Redis' own.
    pub(super) fn argument(self, now: i64) -> String {
        match self {
            TimeSource::Server => String::new(),
            TimeSource::Caller => now.to_string(),
        }
    }

    /// The same as a number: less than 0 for Redis' own.
    pub(super) fn number(self, now: i64) -> i64 {
        match self {
            TimeSource::Server => -1,
            TimeSource::Caller => now,
        }
    }

    /// Milliseconds by which a key outlives its end.
    pub(super) fn slack(self) -> i64 {
        match self {
            TimeSource::Server => 1_000,
            TimeSource::Caller => 3_600_000,
        }
    }
}

/// A link to one Redis. Clones share it.
#[derive(Clone)]
pub struct RedisLink(Arc<Inner>);

struct Inner {
    client: Client,
    budget: Duration,
    state: Mutex<State>,
}

enum State {
    /// Not connected yet; the next call connects.
    New,
    Up {
        connection: MultiplexedConnection,
        /// Tells a failed call whether the connection it failed on is still the current one.
        generation: u64,
    },
    Down {
        /// Whether a task looks for Redis.
        probing: bool,
        generation: u64,
    },
}

/// Redis could not be asked.
#[derive(Debug)]
pub(super) enum Lost {
    /// No answer in time, or no connection.
    Down,
    /// It answered, but with an error.
    Refused(RedisError),
}

impl Lost {
    /// The error for a caller that has no other way.
    pub(super) fn into_error(self) -> Error {
        match self {
            Lost::Down => Error::unavailable("redis.unavailable", "Redis does not answer").after(Millis::secs(1)),
            // The detail of a server's error names commands and keys at most, no values.
            Lost::Refused(e) => Error::unavailable("redis.refused", format!("Redis refused a command: {}", e.category())),
        }
    }
}

impl RedisLink {
    /// A link to `redis://[user:password@]host:port/db`. Connects at the first call.
    pub fn new(url: &str) -> Result<Self> {
        let client = Client::open(url).map_err(|e| {
            // The address may hold a password, so only the kind of fault is told.
            Error::new(
                ErrorKind::Config,
                "redis.invalid_url",
                format!("the address of Redis cannot be used: {}", e.category()),
            )
            .hint("write it like redis://127.0.0.1:6379/0")
        })?;
        Ok(RedisLink(Arc::new(Inner {
            client,
            budget: BUDGET,
            state: Mutex::new(State::New),
        })))
    }

    /// What a call may take at most, connecting included, before Redis counts as lost: 100 ms, unless set.
    /// A link of its own from then on.
    #[must_use]
    pub fn budget(self, budget: Duration) -> Self {
        RedisLink(Arc::new(Inner {
            client: self.0.client.clone(),
            budget,
            state: Mutex::new(State::New),
        }))
    }

    /// Whether calls go to Redis at the moment.
    pub fn is_up(&self) -> bool {
        matches!(*self.0.state(), State::Up { .. })
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Runs a script in one round trip; in two after Redis has lost or never seen it.
    pub(super) async fn script<T: FromRedisValue>(&self, call: &Call) -> Result<T, Lost> {
        self.run(async |mut connection| match call.cached.query_async(&mut connection).await {
            Err(e) if e.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
                call.whole().query_async(&mut connection).await
            }
            answer => answer,
        })
        .await
    }

    /// Runs one command.
    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Lost> {
        self.run(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    /// Runs something on the connection, within the budget.
    async fn run<T>(&self, what: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>) -> Result<T, Lost> {
        let deadline = Instant::now() + self.0.budget;
        let Ok(connected) = timeout_at(deadline, self.connection()).await else {
            self.went_down(0);
            return Err(Lost::Down);
        };
        let (connection, generation) = connected?;
        match timeout_at(deadline, what(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) if !is_outage(&e) => Err(Lost::Refused(e)),
            Ok(Err(_)) | Err(_) => {
                self.went_down(generation);
                Err(Lost::Down)
            }
        }
    }

    /// The connection if there is one; connects if none was tried yet.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Lost> {
        let down = {
            let state = self.0.state();
            match &*state {
                State::Up { connection, generation } => return Ok((connection.clone(), *generation)),
                State::New => false,
                State::Down { .. } => true,
            }
        };
        if down {
            self.probe();
            return Err(Lost::Down);
        }
        // Several first calls may connect at once; the last one's connection stays.
        if let Ok(connection) = self.0.connect().await {
            Ok((connection.clone(), self.0.came_up(connection)))
        } else {
            self.went_down(0);
            Err(Lost::Down)
        }
    }

    /// Takes the link down, unless a new connection has come up since `generation`; the first is 1.
    fn went_down(&self, generation: u64) {
        {
            let mut state = self.0.state();
            let current = match &*state {
                State::New => 0,
                State::Up { generation, .. } | State::Down { generation, .. } => *generation,
            };
            if matches!(*state, State::Down { .. }) || generation != current {
                return;
            }
            *state = State::Down {
                probing: false,
                generation: current,
            };
        }
        tracing::warn!("Redis does not answer; going on without it until it does");
        self.probe();
    }

    /// Starts the task that looks for Redis, unless it runs.
    fn probe(&self) {
        // The task lives in the caller's runtime. Without one nothing can be started, and nothing is: the
        // next call from within a runtime will.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        {
            let mut state = self.0.state();
            match &mut *state {
                State::Down { probing, .. } if !*probing => *probing = true,
                State::New | State::Up { .. } | State::Down { .. } => return,
            }
        }
        let guard = Probing(Arc::downgrade(&self.0));
        runtime.spawn(async move {
            loop {
                // Up to a fifth more or less, so that many processes do not knock in step.
                let jitter = u32::from(u8::from_be_bytes(random_bytes()));
                tokio::time::sleep(PROBE_EVERY * (205 + jitter * 2 / 5) / 256).await;
                let Some(inner) = guard.0.upgrade() else { return };
                if let Ok(Ok(connection)) = timeout(PROBE_BUDGET, inner.connect()).await {
                    inner.came_up(connection);
                    tracing::info!("Redis answers again");
                    return;
                }
            }
        });
    }
}

/// Notes that nobody looks any more, however the task ended.
struct Probing(Weak<Inner>);

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade()
            && let State::Down { probing, .. } = &mut *inner.state()
        {
            *probing = false;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that has answered.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        // Every use of the connection ends by a deadline of its own; a second timer for each answer would do
        // nothing but cost. Callers that come while a write is under way find room, instead of waiting twice.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.budget.max(PROBE_BUDGET)))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }

    fn came_up(&self, connection: MultiplexedConnection) -> u64 {
        let mut state = self.state();
        let generation = match &*state {
            State::New => 1,
            State::Up { generation, .. } | State::Down { generation, .. } => generation + 1,
        };
        *state = State::Up { connection, generation };
        generation
    }
}

/// Whether an error means that Redis cannot be reached or cannot serve, rather than that it refused.
fn is_outage(e: &RedisError) -> bool {
    use redis::ErrorKind::Server;
    e.is_io_error()
        || e.is_timeout()
        || e.is_connection_dropped()
        || e.is_unrecoverable_error()
        || matches!(
            e.kind(),
            Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly)
        )
}

/// A script with its source, which Redis knows by its hash.
pub(super) struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Script {
            source,
            hash: redis::Script::new(source).get_hash().to_owned(),
        }
    }

    /// A call with so many keys, which come before all arguments.
    pub(super) fn call(&self, keys: usize) -> Call {
        let mut cached = Cmd::with_capacity(keys + 8, 64 * (keys + 2));
        cached.arg("EVALSHA").arg(&self.hash).arg(keys);
        Call {
            source: self.source,
            cached,
        }
    }
}

/// A call of a script.
pub(super) struct Call {
    source: &'static str,
    cached: Cmd,
}

impl Call {
    /// A key, or after all of them an argument.
    pub(super) fn arg(&mut self, part: impl ToRedisArgs) -> &mut Self {
        self.cached.arg(part);
        self
    }

    /// The same with the script's text instead of its hash.
    fn whole(&self) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(self.source);
        for part in self.cached.args_iter().skip(2) {
            if let Arg::Simple(part) = part {
                cmd.arg(part);
            }
        }
        cmd
    }
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's address may hold a password.
        f.debug_struct("RedisLink").field("up", &self.is_up()).finish_non_exhaustive()
    }
}
