//! The command line `levqor`, for every program that shows it: the binary of that name, and the bindings.

mod call;
#[cfg(feature = "integrity")]
mod canary;
mod credits;
mod doctor;
mod files;
#[cfg(feature = "integrity")]
mod integrity;
mod jobs;
mod keys;
mod ledger;
mod limits;
#[cfg(feature = "mcp")]
mod mcp;
mod out;
mod pipeline;
mod progress;
mod queues;
mod receipt;
mod run;
mod schedules;
mod setup;
mod signals;
mod worker;

use std::ffi::OsString;

use crate::error::{Error, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use out::{Exit, Out, exit_of};
use setup::Global;

const EXIT_CODES: &str = "\
Exit codes:
  0   it worked
  1   the operation failed: a run died or did not end in time, a check or an audit found faults
  2   wrong usage, input or configuration
  3   not found
  4   refused: a limit, credits, a conflict, a missing permission
  5   the store or the network is not available
  70  a fault of Levqor itself, or damaged data

With --json the answer is one JSON document on standard output, and an error is one
problem document (RFC 9457) on standard error. Colour is used on a terminal only;
--no-color or NO_COLOR turn it off.

First steps:
  levqor doctor
  levqor credits grant acme 100
  levqor run pipeline.json --input order.json --account acme --key order-1042
  levqor credits statement acme";

/// Rate limits, prepaid credits, durable jobs and pipelines, from the command line.
#[derive(Parser)]
#[command(name = "levqor", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunArgs),
    Submit(run::SubmitArgs),
    Worker(worker::WorkerArgs),
    Status(run::StatusArgs),
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    #[command(subcommand)]
    Queues(queues::QueuesCommand),
    #[command(subcommand)]
    Schedules(schedules::SchedulesCommand),
    #[command(subcommand)]
    Credits(credits::CreditsCommand),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    #[command(subcommand)]
    Pipeline(pipeline::PipelineCommand),
    Connectors(pipeline::ConnectorsArgs),
    Call(call::CallArgs),
    #[cfg(feature = "mcp")]
    Mcp(mcp::McpArgs),
    Migrate(doctor::MigrateArgs),
    Doctor(doctor::DoctorArgs),
    #[cfg(feature = "integrity")]
    #[command(subcommand)]
    Integrity(integrity::IntegrityCommand),
    #[cfg(feature = "integrity")]
    Canary(canary::CanaryArgs),
}

/// Does what the arguments say, the program's name first, and gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    // Needed before the arguments are understood, since they may be what is wrong.
    let asked = |flag: &str| args.iter().take_while(|a| *a != "--").any(|a| a == flag);
    let out = Out::new(asked("--json"));
    let mut command = Cli::command();
    if asked("--no-color") {
        anstream::ColorChoice::Never.write_global();
        command = command.color(clap::ColorChoice::Never);
    }
    let cli = match command
        .try_get_matches_from(&args)
        .and_then(|mut m| Cli::from_arg_matches_mut(&mut m))
    {
        Ok(cli) => cli,
        Err(e) => return usage(&out, &e).code(),
    };
    // A panic has already said where; what is left is the documented code.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::unavailable("cli.no_runtime", format!("no threads can be started: {e}")))?;
        runtime.block_on(perform(&out, cli))
    }));
    match ended {
        Ok(Ok(exit)) => exit.code(),
        Ok(Err(e)) => {
            out.error(&e);
            exit_of(&e).code()
        }
        Err(_) => Exit::Internal.code(),
    }
}

/// Help and version go to standard output and are no fault; everything else is.
fn usage(out: &Out, e: &clap::Error) -> Exit {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if !matches!(e.kind(), DisplayHelp | DisplayVersion) && out.json {
        let text = e.render().to_string();
        let mut parts = text.trim().splitn(2, "\n\n");
        let message = parts.next().unwrap_or_default().trim_start_matches("error: ");
        out.error(&Error::invalid("cli.usage", message).hint("see levqor --help"));
        return Exit::Usage;
    }
    // Nobody reading is no fault.
    let _ = e.print();
    if e.exit_code() == 0 { Exit::Ok } else { Exit::Usage }
}

async fn perform(out: &Out, cli: Cli) -> Result<Exit> {
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::run(out, global, args).await,
        Command::Submit(args) => run::submit(out, global, args).await,
        Command::Worker(args) => worker::worker(out, global, args).await,
        Command::Status(args) => run::status(out, global, args).await,
        Command::Jobs(command) => jobs::jobs(out, global, command).await,
        Command::Queues(command) => queues::queues(out, global, command).await,
        Command::Schedules(command) => schedules::schedules(out, global, command).await,
        Command::Credits(command) => credits::credits(out, global, command).await,
        Command::Keys(command) => keys::keys(out, global, command).await,
        Command::Limits(command) => limits::limits(out, global, command).await,
        Command::Pipeline(command) => pipeline::pipeline(out, global, command).await,
        Command::Connectors(args) => pipeline::connectors(out, global, &args),
        Command::Call(args) => call::call(out, global, &args).await,
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => mcp::mcp(out, global, args).await,
        Command::Migrate(args) => doctor::migrate(out, global, &args).await,
        Command::Doctor(args) => doctor::doctor(out, global, args).await,
        #[cfg(feature = "integrity")]
        Command::Integrity(command) => integrity::integrity(out, command).await,
        #[cfg(feature = "integrity")]
        Command::Canary(args) => canary::canary(out, args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let long = sub.get_long_about().map(ToString::to_string).unwrap_or_default();
                assert!(long.contains("levqor "), "`{}` has no example", sub.get_name());
                walk(sub);
            }
        }
        walk(&Cli::command());
    }
}
