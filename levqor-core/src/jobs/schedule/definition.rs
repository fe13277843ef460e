use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::types::{MicroCredits, Millis};

/// The most ticks that [`Misfire::All`] makes up for.
pub const MAX_CATCH_UP: u32 = 100;
/// The most lines of history that are kept of a schedule.
pub const MAX_HISTORY: i64 = 10_000;
/// The shortest interval.
pub const MIN_INTERVAL: Millis = Millis::secs(1);

/// What is to be started, and when.
///
/// ```
/// use levqor_core::jobs::schedule::{Schedule, Target};
///
/// let nightly = Schedule::cron("nightly-report", "0 2 * * MON-FRI", Target::run("acme", "report", serde_json::json!({})))
///     .zone("Europe/London");
/// assert!(nightly.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name within its tenant: 1 to 128 of `a-z A-Z 0-9 . _ : -`.
    pub id: String,
    /// When it fires.
    pub when: When,
    /// The time zone by whose wall clock a cron expression is read; `UTC` unless said otherwise.
    #[serde(default = "utc")]
    pub zone: String,
    /// Each tick is put off by up to so long. By how much depends on schedule and tick alone, so that all
    /// processes agree; it spreads the load of schedules that share a time.
    #[serde(default)]
    pub jitter: Millis,
    /// What becomes of ticks that nobody was there to fire.
    #[serde(default)]
    pub misfire: Misfire,
    /// How late a tick may be fired before it counts as missed; 60 s unless said otherwise.
    #[serde(default = "grace")]
    pub grace: Millis,
    /// What becomes of a tick while the job of the one before still runs.
    #[serde(default)]
    pub overlap: Overlap,
    /// No tick before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Millis>,
    /// No tick at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Millis>,
    /// How many lines of history are kept; 100 unless said otherwise.
    #[serde(default = "keep")]
    pub keep: i64,
    /// What is started.
    pub target: Target,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn grace() -> Millis {
    Millis::secs(60)
}

fn keep() -> i64 {
    100
}

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// By a cron expression: see [`cron`](crate::jobs::cron).
    Cron(String),
    /// At equal intervals of real time, whatever clocks are set to. The ticks are the multiples of the interval
    /// since 1970-01-01T00:00:00Z (or since `starts_at`, where that is given), so that they do not depend on
    /// who declared the schedule and when: every 15 minutes is at :00, :15, :30 and :45.
    Every(Millis),
}

/// What becomes of ticks that were not fired in time: nothing ran, or the database was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are dropped.
    Skip,
    /// However many there are, the newest is fired once, for all of them.
    #[default]
    Once,
    /// The newest ones, at most so many (100 is the limit), are fired one after another.
    All(u32),
}

/// What becomes of a tick while a job that the schedule started before has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is dropped.
    #[default]
    Skip,
    /// It waits for its turn.
    Queue,
    /// It is started all the same.
    Allow,
}

/// What a schedule starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Target {
    /// A run of a pipeline.
    Run {
        /// Who pays.
        account: String,
        /// The name of a registered pipeline (each run takes the version of its time), or a pipeline itself.
        pipeline: Value,
        /// The input.
        #[serde(default = "empty")]
        input: Value,
        /// The field of the input that is set to the tick's time, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tick_field: Option<String>,
        /// Holds another amount than the pipeline says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<MicroCredits>,
        /// Which queue.
        #[serde(default = "queue")]
        queue: String,
        /// 0 is served first, 255 last.
        #[serde(default = "priority")]
        priority: i64,
        /// How often the whole run is tried.
        #[serde(default = "once")]
        max_attempts: i64,
    },
    /// A job for a handler.
    Job {
        /// The handler.
        handler: String,
        /// The input, any JSON.
        #[serde(default = "empty")]
        args: Value,
        /// The field of the input that is set to the tick's time, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tick_field: Option<String>,
        /// Whose it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// Held on the account until the job ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<MicroCredits>,
        /// Which queue.
        #[serde(default = "queue")]
        queue: String,
        /// 0 is served first, 255 last.
        #[serde(default = "priority")]
        priority: i64,
        /// Attempts that may be started.
        #[serde(default = "once")]
        max_attempts: i64,
    },
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

fn queue() -> String {
    "default".to_owned()
}

fn priority() -> i64 {
    100
}

fn once() -> i64 {
    1
}

impl Target {
    /// A run of a registered pipeline for an account.
    pub fn run(account: impl Into<String>, pipeline: impl Into<Value>, input: Value) -> Self {
        Target::Run {
            account: account.into(),
            pipeline: pipeline.into(),
            input,
            tick_field: None,
            hold: None,
            queue: queue(),
            priority: priority(),
            max_attempts: once(),
        }
    }

    /// A job for a handler.
    pub fn job(handler: impl Into<String>, args: Value) -> Self {
        Target::Job {
            handler: handler.into(),
            args,
            tick_field: None,
            account: None,
            hold: None,
            queue: queue(),
            priority: priority(),
            max_attempts: once(),
        }
    }

    /// Whether it is a run of a pipeline.
    pub fn is_run(&self) -> bool {
        matches!(self, Target::Run { .. })
    }
}

impl Schedule {
    /// A schedule of its own making, with the defaults of everything else.
    pub fn new(id: impl Into<String>, when: When, target: Target) -> Self {
        Schedule {
            id: id.into(),
            when,
            zone: utc(),
            jitter: Millis::ZERO,
            misfire: Misfire::default(),
            grace: grace(),
            overlap: Overlap::default(),
            starts_at: None,
            ends_at: None,
            keep: keep(),
            target,
        }
    }

    /// A schedule by a cron expression, in UTC.
    pub fn cron(id: impl Into<String>, expression: impl Into<String>, target: Target) -> Self {
        Schedule::new(id, When::Cron(expression.into()), target)
    }

    /// A schedule at equal intervals.
    pub fn every(id: impl Into<String>, interval: Millis, target: Target) -> Self {
        Schedule::new(id, When::Every(interval), target)
    }

    /// Reads the cron expression by this zone's wall clock.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// Puts each tick off by up to so long.
    #[must_use]
    pub fn jitter(mut self, at_most: Millis) -> Self {
        self.jitter = at_most;
        self
    }

    /// What becomes of missed ticks, and how late a tick may be before it counts as missed.
    #[must_use]
    pub fn misfire(mut self, policy: Misfire, grace: Millis) -> Self {
        self.misfire = policy;
        self.grace = grace;
        self
    }

    /// What becomes of a tick while the job before still runs.
    #[must_use]
    pub fn overlap(mut self, policy: Overlap) -> Self {
        self.overlap = policy;
        self
    }

    /// Whether the ticks of the two are the same.
    pub fn same_ticks(&self, other: &Schedule) -> bool {
        let ticks = |s: &Schedule| (s.when.clone(), s.zone.clone(), s.starts_at, s.ends_at);
        ticks(self) == ticks(other)
    }

    /// Checks everything that can be checked without a store.
    ///
    /// # Errors
    /// `schedule.bad_id`, `schedule.bad_cron`, `schedule.bad_zone`, `schedule.bad_interval`,
    /// `schedule.bad_limits`, `schedule.bad_target`.
    pub fn check(&self) -> Result<()> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if !(1..=128).contains(&self.id.len()) || !self.id.bytes().all(good) {
            return Err(Error::invalid(
                "schedule.bad_id",
                "a schedule's name has 1 to 128 of the characters a-z A-Z 0-9 . _ : -",
            )
            .at("id"));
        }
        let limits = |fits: bool, at: &str, message: String| {
            if fits {
                Ok(())
            } else {
                Err(Error::invalid("schedule.bad_limits", message).at(at))
            }
        };
        let day = Millis::hours(24);
        limits(
            (Millis::ZERO..=day).contains(&self.jitter),
            "jitter",
            format!("a jitter lies between 0 and a day, not {}", self.jitter),
        )?;
        limits(
            (Millis::ZERO..=Millis(day.0 * 366)).contains(&self.grace),
            "grace",
            format!("a grace lies between 0 and a year, not {}", self.grace),
        )?;
        limits(
            (0..=MAX_HISTORY).contains(&self.keep),
            "keep",
            format!("a history keeps 0 to {MAX_HISTORY} lines, not {}", self.keep),
        )?;
        if let Misfire::All(n) = self.misfire {
            limits(
                (1..=MAX_CATCH_UP).contains(&n),
                "misfire",
                format!("1 to {MAX_CATCH_UP} missed ticks are made up for, not {n}"),
            )?;
        }
        let ordered = self.starts_at.zip(self.ends_at).is_none_or(|(from, to)| from < to);
        limits(ordered, "ends_at", "a schedule starts before it ends".to_owned())?;
        self.check_target()?;
        super::Plan::of(self).map(|_| ())
    }

    fn check_target(&self) -> Result<()> {
        let bad = |at: &str, message: &str| Err(Error::invalid("schedule.bad_target", message).at(format!("target.{at}")));
        let (input, tick_field, hold) = match &self.target {
            Target::Run {
                input, tick_field, hold, ..
            } => (input, tick_field, hold),
            Target::Job {
                args,
                tick_field,
                hold,
                account,
                ..
            } => {
                if hold.is_some() && account.is_none() {
                    return bad("account", "credits are held on an account, and none is named");
                }
                (args, tick_field, hold)
            }
        };
        if hold.is_some_and(|h| h < MicroCredits::ZERO) {
            return bad("hold", "what is held is not negative");
        }
        if tick_field.is_some() && !input.is_object() {
            return bad(
                "tick_field",
                "the tick's time can only be put into an input that is an object",
            );
        }
        Ok(())
    }
}
