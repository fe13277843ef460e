//! `levqor schedules`: list, add, pause, resume, delete, next, history, backfill, run.

use std::fmt::Write as _;

use crate::engine::ScheduleView;
use crate::error::{Error, Result};
use crate::jobs::schedule::{Misfire, Overlap, Schedule, ScheduleState, Target, Tick, TickOutcome, When};
use crate::store::Page;
use crate::types::{Millis, parse_duration};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, instant, json_of, list, table};
use crate::cli::setup::{Global, open};
use crate::cli::{files, pipeline};

/// Start runs and jobs by the clock
///
/// Workers fire what is due, each tick once however many there are. Example:
///
///   levqor schedules add nightly --cron "0 2 * * MON-FRI" --zone Europe/Berlin --run @report --account acme
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum SchedulesCommand {
    /// List schedules, by name
    ///
    /// Example:
    ///
    ///   levqor schedules list
    #[command(verbatim_doc_comment)]
    List(PageArgs),
    /// Add a schedule, or edit the one of its name
    ///
    /// The same again changes nothing. A time that a change of the clock leaves out runs right after it, one that
    /// comes twice runs once; with a * in minute or hour, it follows the wall clock. Example:
    ///
    ///   levqor schedules add poll --every 15m --job poll-inbox --overlap queue
    ///   levqor schedules add --file schedule.json
    #[command(verbatim_doc_comment)]
    Add(Box<AddArgs>),
    /// Put a schedule on hold
    ///
    /// Example:
    ///
    ///   levqor schedules pause nightly
    #[command(verbatim_doc_comment)]
    Pause {
        /// The schedule's name
        id: String,
    },
    /// Go on with a schedule, from its next tick
    ///
    /// What fell into the pause is not made up for; see backfill. Example:
    ///
    ///   levqor schedules resume nightly
    #[command(verbatim_doc_comment)]
    Resume {
        /// The schedule's name
        id: String,
    },
    /// Remove a schedule and its history
    ///
    /// What it started goes on. Example:
    ///
    ///   levqor schedules delete nightly
    #[command(verbatim_doc_comment)]
    Delete {
        /// The schedule's name
        id: String,
    },
    /// Show when a schedule fires next
    ///
    /// Example:
    ///
    ///   levqor schedules next nightly --count 10
    #[command(verbatim_doc_comment)]
    Next {
        /// The schedule's name
        id: String,
        /// How many ticks
        #[arg(long, default_value_t = 5)]
        count: usize,
    },
    /// Show what became of a schedule's ticks, newest first
    ///
    /// Example:
    ///
    ///   levqor schedules history nightly --limit 20
    #[command(verbatim_doc_comment)]
    History {
        /// The schedule's name
        id: String,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only lines with a smaller number: the last one of the page before
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
    },
    /// Start the ticks of a time that is over, where they were not started
    ///
    /// Safe to repeat: no tick is started twice. One after another, unless the schedule's jobs may overlap. Example:
    ///
    ///   levqor schedules backfill nightly --from 2026-05-01T00:00:00Z --to 2026-05-08T00:00:00Z
    #[command(verbatim_doc_comment)]
    Backfill {
        /// The schedule's name
        id: String,
        /// From this time on, RFC 3339
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Millis,
        /// Until before this time, RFC 3339; now without it
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<Millis>,
    },
    /// Start a schedule's job now
    ///
    /// Whatever runs, and even if it is paused; its ticks stay as they are. Example:
    ///
    ///   levqor schedules run nightly
    #[command(verbatim_doc_comment)]
    Run {
        /// The schedule's name
        id: String,
        /// Idempotency key: starts one job however often it is sent
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct PageArgs {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only those behind this one: the last name of the page before
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

#[derive(Args)]
pub(crate) struct AddArgs {
    /// The schedule's name
    #[arg(required_unless_present = "file")]
    id: Option<String>,
    /// A JSON file with the whole schedule, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "cron", "every", "run", "job"])]
    file: Option<String>,
    /// Minute, hour, day of month, month, day of week; six fields start with the second
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "every", required_unless_present_any = ["every", "file"])]
    cron: Option<String>,
    /// At equal intervals of real time
    #[arg(long, value_parser = parse_duration, value_name = "SPAN")]
    every: Option<Millis>,
    /// The time zone by whose wall clock the expression is read
    #[arg(long, default_value = "UTC", value_name = "NAME")]
    zone: String,
    /// Put each tick off by up to so long
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "SPAN")]
    jitter: Millis,
    /// What becomes of missed ticks: skip, once (the newest, for all of them) or all:N (the newest N)
    #[arg(long, default_value = "once", value_parser = misfire, value_name = "POLICY")]
    misfire: Misfire,
    /// How late a tick may be before it counts as missed
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "SPAN")]
    grace: Millis,
    /// What becomes of a tick while the job before still runs: skip, queue or allow
    #[arg(long, default_value = "skip", value_parser = overlap, value_name = "POLICY")]
    overlap: Overlap,
    /// No tick before this time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    starts: Option<Millis>,
    /// No tick at or after this time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    ends: Option<Millis>,
    /// How many lines of history are kept
    #[arg(long, default_value_t = 100, value_name = "LINES")]
    keep: i64,
    /// Start a run of this pipeline: a JSON file, - for standard input, or @NAME of a registered one
    #[arg(long, value_name = "PIPELINE", conflicts_with = "job", required_unless_present_any = ["job", "file"])]
    run: Option<String>,
    /// Start a job for this handler
    #[arg(long, value_name = "HANDLER")]
    job: Option<String>,
    /// The input: a JSON file, or - for standard input; {} without it
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// The field of the input that is set to the tick's time
    #[arg(long, value_name = "NAME")]
    tick_field: Option<String>,
    /// Who pays
    #[arg(long, default_value = "default")]
    account: String,
    /// The queue
    #[arg(long, default_value = "default")]
    queue: String,
    /// How often the whole is tried
    #[arg(long, default_value_t = 1)]
    max_attempts: i64,
}

fn time(text: &str) -> Result<Millis> {
    Millis::parse_rfc3339(text).ok_or_else(|| {
        Error::invalid("cli.bad_time", format!("`{text}` is no time")).hint("write RFC 3339, like 2026-05-01T00:00:00Z")
    })
}

fn misfire(text: &str) -> Result<Misfire> {
    match (text, text.strip_prefix("all:").map(str::parse)) {
        ("skip", _) => Ok(Misfire::Skip),
        ("once", _) => Ok(Misfire::Once),
        (_, Some(Ok(n))) => Ok(Misfire::All(n)),
        _ => Err(Error::invalid(
            "cli.bad_policy",
            format!("`{text}` is none of skip, once and all:N"),
        )),
    }
}

fn overlap(text: &str) -> Result<Overlap> {
    match text {
        "skip" => Ok(Overlap::Skip),
        "queue" => Ok(Overlap::Queue),
        "allow" => Ok(Overlap::Allow),
        _ => Err(Error::invalid(
            "cli.bad_policy",
            format!("`{text}` is none of skip, queue and allow"),
        )),
    }
}

impl AddArgs {
    /// Everything that is read before a store is opened.
    fn schedule(self) -> Result<Schedule> {
        if let Some(file) = &self.file {
            let document = files::read_json(file, "the schedule", pipeline::max_pipeline())?;
            let wrong = |e: serde_json::Error| Error::invalid("schedule.bad_definition", format!("this is no schedule: {e}"));
            return serde_json::from_value(document).map_err(|e| wrong(e).at(file));
        }
        if self.run.as_deref() == Some("-") && self.input.as_deref() == Some("-") {
            let e = Error::invalid("cli.stdin_twice", "pipeline and input cannot both come from standard input");
            return Err(e.hint("put one of them into a file"));
        }
        let input = match &self.input {
            Some(path) => files::read_json(path, "the input", pipeline::max_pipeline())?,
            None => json!({}),
        };
        let when = match (self.cron, self.every) {
            (Some(cron), _) => When::Cron(cron),
            (None, every) => When::Every(every.unwrap_or_default()),
        };
        let target = match (&self.run, self.job) {
            (Some(run), _) => Target::Run {
                account: self.account,
                pipeline: pipeline::read(run)?,
                input,
                tick_field: self.tick_field,
                hold: None,
                queue: self.queue,
                priority: 100,
                max_attempts: self.max_attempts,
            },
            (None, handler) => Target::Job {
                handler: handler.unwrap_or_default(),
                args: input,
                tick_field: self.tick_field,
                account: Some(self.account),
                hold: None,
                queue: self.queue,
                priority: 100,
                max_attempts: self.max_attempts,
            },
        };
        let schedule = Schedule::new(self.id.unwrap_or_default(), when, target).zone(self.zone);
        let mut schedule = schedule
            .jitter(self.jitter)
            .misfire(self.misfire, self.grace)
            .overlap(self.overlap);
        schedule.starts_at = self.starts;
        schedule.ends_at = self.ends;
        schedule.keep = self.keep;
        Ok(schedule)
    }
}

pub(crate) async fn schedules(out: &Out, global: &Global, command: SchedulesCommand) -> Result<Exit> {
    // What is wrong with a definition is told before a database is made.
    let command = match command {
        SchedulesCommand::Add(args) => {
            let schedule = args.schedule()?;
            schedule.check()?;
            let declared = open(global, Vec::new()).await?.schedules().put(schedule).await?;
            out.answer(&json_of(&declared)?, || {
                let what = match (declared.changed, declared.view.revision) {
                    (false, _) => "is as it was",
                    (true, 1) => "is added",
                    (true, _) => "is edited",
                };
                format!("{} {what}; next tick {}", declared.view.schedule.id, next(&declared.view))
            })?;
            return Ok(Exit::Ok);
        }
        command => command,
    };
    let engine = open(global, Vec::new()).await?;
    let schedules = engine.schedules();
    match command {
        SchedulesCommand::Add(_) => {}
        SchedulesCommand::List(page) => {
            let wanted = Page {
                after: page.after,
                limit: page.limit,
            };
            show(out, &schedules.list(&wanted).await?, page.limit)?;
        }
        SchedulesCommand::Pause { id } => {
            let view = schedules.pause(&id).await?;
            out.answer(&json_of(&view)?, || format!("{id} is paused"))?;
        }
        SchedulesCommand::Resume { id } => {
            let view = schedules.resume(&id).await?;
            out.answer(&json_of(&view)?, || format!("{id} is active; next tick {}", next(&view)))?;
        }
        SchedulesCommand::Delete { id } => {
            schedules.delete(&id).await?;
            out.answer(&json!({"deleted": id}), || format!("{id} is deleted"))?;
        }
        SchedulesCommand::Next { id, count } => {
            let ticks = schedules.next(&id, count).await?;
            let state = schedules.get(&id).await?.state;
            let document = json!({"id": id, "state": state, "next": ticks});
            out.answer(&document, || {
                let mut text: String = ticks.iter().fold(String::new(), |mut text, tick| {
                    let _ = writeln!(text, "{}", instant(*tick));
                    text
                });
                if state == ScheduleState::Paused {
                    text.push_str("but it is paused\n");
                }
                if text.is_empty() {
                    "no ticks are left".to_owned()
                } else {
                    text
                }
            })?;
        }
        SchedulesCommand::History { id, limit, before } => {
            let lines = schedules.history(&id, before, limit).await?;
            let more = lines.last().filter(|_| lines.len() == limit).map(|line| line.seq);
            let document: Vec<Value> = lines.iter().map(|line| told(line)).collect();
            out.answer(&json!({"id": id, "history": document, "next": more}), || {
                history(&lines, more)
            })?;
        }
        SchedulesCommand::Backfill { id, from, to } => {
            let to = to.unwrap_or_else(|| engine.now());
            let report = schedules.backfill(&id, from, to).await?;
            out.answer(&json_of(&report)?, || {
                list(&[
                    ("ticks", report.ticks.to_string()),
                    ("started", report.fired.to_string()),
                    ("waiting", report.waiting.to_string()),
                    ("refused", report.refused.to_string()),
                    ("started before", report.known.to_string()),
                ])
            })?;
        }
        SchedulesCommand::Run { id, key } => {
            let job = schedules.run_now(&id, key.as_deref()).await?;
            out.answer(&json!({"id": id, "job": job}), || format!("{job} is started"))?;
        }
    }
    Ok(Exit::Ok)
}

fn next(view: &ScheduleView) -> String {
    match (view.state, view.next_tick) {
        (ScheduleState::Paused, _) => "none while it is paused".to_owned(),
        (_, Some(tick)) => instant(tick),
        (_, None) => "none any more".to_owned(),
    }
}

fn when(schedule: &Schedule) -> String {
    match &schedule.when {
        When::Cron(expression) => format!("{expression} {}", schedule.zone),
        When::Every(interval) => format!("every {}s", interval.as_secs_ceil()),
    }
}

fn show(out: &Out, views: &[ScheduleView], limit: usize) -> Result<()> {
    let more = views
        .last()
        .filter(|_| views.len() == limit)
        .map(|view| view.schedule.id.clone());
    let documents = views.iter().map(json_of).collect::<Result<Vec<Value>>>()?;
    out.answer(&json!({"schedules": documents, "next": more}), || {
        if views.is_empty() {
            return "no schedules".to_owned();
        }
        let rows = views.iter().map(|view| {
            vec![
                view.schedule.id.clone(),
                view.state.as_str().to_owned(),
                when(&view.schedule),
                next(view),
                view.fires.to_string(),
                view.waiting.to_string(),
            ]
        });
        let mut text = table(&["name", "state", "when", "next tick", "started", "waiting"], &[4, 5], rows);
        if let Some(more) = more {
            let _ = write!(text, "\n\nthere may be more: --after {more}");
        }
        text
    })
}

fn told(line: &Tick) -> Value {
    let error = line
        .error
        .as_deref()
        .map(|e| serde_json::from_str(e).unwrap_or_else(|_| json!(e)));
    json!({
        "number": line.seq, "tick": line.tick, "cause": line.cause, "ticks": line.ticks, "outcome": line.outcome,
        "job": line.job, "error": error, "at": line.at,
    })
}

fn history(lines: &[std::sync::Arc<Tick>], more: Option<i64>) -> String {
    if lines.is_empty() {
        return "no history".to_owned();
    }
    let what = |line: &Tick| match (line.outcome, line.ticks) {
        (TickOutcome::Missed, n) if n > 1 => format!("missed, {n} ticks"),
        (outcome, _) => outcome.as_str().to_owned(),
    };
    let why = |line: &Tick| {
        let error = told(line)["error"]["message"].as_str().map(str::to_owned);
        error
            .or_else(|| line.job.as_ref().map(ToString::to_string))
            .unwrap_or_default()
    };
    let rows = lines.iter().map(|line| {
        vec![
            line.seq.to_string(),
            instant(line.tick),
            line.cause.as_str().to_owned(),
            what(line),
            instant(line.at),
            why(line),
        ]
    });
    let mut text = table(&["number", "tick", "cause", "outcome", "at", "job or error"], &[0], rows);
    if let Some(more) = more {
        let _ = write!(text, "\n\nthere may be more: --before {more}");
    }
    text
}
