//! `levqor integrity run`.

use std::fmt::Write as _;
use std::io::{ErrorKind as IoKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::integrity::deliver::Receipt;
use crate::integrity::evidence::stamp::Stamper;
use crate::integrity::evidence::{Runner, Signer};
use crate::integrity::{CheckResult, Checkup, Environment, Event, Keeper, Kept, Pack, RunResult, Status, formats};
use crate::transport::{HttpOptions, HttpTransport, Transport};
use crate::types::random_bytes;
use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;

use crate::cli::files;
use crate::cli::out::{Exit, Out, clean};
use crate::cli::setup::{Connections, engine};

/// Where a pack is looked for if none is named.
const PACKS: &[&str] = &["integrity.toml", "integrity.yaml", "integrity.yml", "integrity.json"];

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The pack: TOML, YAML or JSON [default: integrity.toml, .yaml or .json]
    pack: Option<PathBuf>,
    /// Only these checks: an id, a group, or the beginning of an id with * behind it (may be repeated)
    #[arg(long, value_name = "CHECK")]
    select: Vec<String>,
    /// Keep nothing
    #[arg(long, conflicts_with_all = ["evidence", "format", "key", "deliver"])]
    no_evidence: bool,
    /// Send the evidence to the places that the pack names
    #[arg(long)]
    deliver: bool,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    keep: EvidenceArgs,
}

/// How evidence is kept.
#[derive(Args)]
pub(crate) struct EvidenceArgs {
    /// Where the evidence of all runs is kept
    #[arg(long, default_value = "evidence", value_name = "FOLDER")]
    evidence: PathBuf,
    /// The key that signs the evidence: Ed25519 in PEM. Made if the file is not there
    #[arg(
        long,
        env = "LEVQOR_SIGNING_KEY",
        default_value = "levqor-signing-key.pem",
        value_name = "FILE"
    )]
    key: PathBuf,
    /// Also write the run for other tools: junit, tap, sarif, oscal, prometheus (may be repeated)
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    format: Vec<String>,
    /// A time stamp authority (RFC 3161) that signs when the evidence was there
    #[arg(long, env = "LEVQOR_TIMESTAMP_URL", value_name = "URL")]
    timestamp: Option<String>,
}

/// A pack with all that its runs need, except for who keeps what they find.
pub(crate) fn checkup(pack: Option<&Path>, select: &[String]) -> Result<Checkup> {
    let mut pack = Pack::load(&find(pack)?)?;
    pack.select(select)?;
    let options = HttpOptions {
        authorities: pack.roots()?.added().to_vec(),
        ..HttpOptions::default()
    };
    let transport = Arc::new(HttpTransport::new(options)?);
    let clock = Arc::new(SystemClock::default());
    Ok(Checkup::new(pack, None, transport, clock, Environment::of_process()))
}

impl EvidenceArgs {
    /// Refuses formats that there are not.
    fn check(&self) -> Result<()> {
        for format in &self.format {
            if !formats::FORMATS.iter().any(|(name, _)| name == format) {
                let names: Vec<&str> = formats::FORMATS.iter().map(|(n, _)| *n).collect();
                let known = crate::pipeline::suggest::did_you_mean(format, names.iter().copied());
                let e = Error::invalid("integrity.unknown_format", format!("there is no format `{format}`{known}"));
                return Err(e.at("--format").hint(format!("there are {}", names.join(", "))));
            }
        }
        Ok(())
    }

    /// Who keeps the evidence. A key or a folder that cannot be used is said before anything is sent.
    pub(crate) fn keeper(&self, out: &Out, transport: &Arc<dyn Transport>) -> Result<Keeper> {
        self.check()?;
        let keeper = Keeper {
            formats: self.format.clone(),
            runner: runner(),
            stamper: self.timestamp.as_ref().map(|url| Stamper::new(url, transport.clone())),
            ..Keeper::new(&self.evidence, signer(out, &self.key)?)
        };
        keeper.history.last()?;
        Ok(keeper)
    }
}

pub(crate) async fn run(out: &Out, args: RunArgs) -> Result<Exit> {
    args.keep.check()?;
    let mut checkup = checkup(args.pack.as_deref(), &args.select)?;
    if !args.no_evidence {
        match args.keep.keeper(out, &checkup.transport) {
            Ok(keeper) => checkup.keeper = Some(keeper),
            Err(e) => return Ok(no_evidence(out, &e)),
        }
    }
    let (events, mut shown) = tokio::sync::mpsc::unbounded_channel();
    let json = out.json;
    let live = tokio::spawn(async move {
        while let Some(event) = shown.recv().await {
            if !json {
                show(&event);
            }
        }
    });
    let done = checkup.run(Some(events)).await?;
    // The sender went with the run, so this ends.
    let _ = live.await;
    let kept = match done.kept.transpose() {
        Ok(kept) => kept,
        Err(e) => {
            answer(out, &done.result, None, &[])?;
            return Ok(no_evidence(out, &e));
        }
    };
    let mut receipts = Vec::new();
    if let Some(kept) = kept.as_ref().filter(|_| args.deliver) {
        let engine = engine(crate::backend::Backend::memory(), "default", args.connections.read()?)?;
        receipts = checkup.deliver(kept.evidence.run.number, &engine).await?;
    }
    answer(out, &done.result, kept.as_ref(), &receipts)?;
    // What was asked for is missing: the evidence is there, and it is not whole or not where it had to go.
    if let Some(e) = kept.as_ref().and_then(|k| k.no_stamp.as_ref()) {
        return Ok(no_evidence(out, e));
    }
    if let Some(failed) = receipts.iter().find(|r| !r.delivered) {
        let why = failed.error.clone().unwrap_or_default();
        let e = Error::unavailable("deliver.failed", format!("the evidence did not reach {}: {why}", failed.to));
        return Ok(no_evidence(out, &e));
    }
    Ok(match done.result.verdict().exit_code() {
        0 => Exit::Ok,
        1 => Exit::Failed,
        _ => Exit::Indeterminate,
    })
}

/// The program, the machine and the person, as the evidence names them.
fn runner() -> Runner {
    let text = |name: &str| std::env::var(name).unwrap_or_default();
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_else(|_| text("HOSTNAME"));
    Runner {
        host: host.trim().to_owned(),
        started_by: if text("CI").is_empty() {
            text("USER")
        } else {
            "continuous integration".into()
        },
        ..Runner::default()
    }
}

fn no_evidence(out: &Out, e: &Error) -> Exit {
    out.error(e);
    Exit::NoEvidence
}

fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let found = PACKS.iter().map(Path::new).find(|p| p.is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        Error::invalid(
            "pack.unreadable",
            format!("there is no pack here: none of {}", PACKS.join(", ")),
        )
        .hint("name one; the smallest says `version = 1` and under [targets] api = \"https://..\"")
    })
}

/// The key of a file, which is made if it is not there.
fn signer(out: &Out, path: &Path) -> Result<Signer> {
    let shown = path.display().to_string();
    if path.exists() {
        let pem = files::read(&shown, "the signing key")?;
        return Signer::from_pem(&String::from_utf8_lossy(&pem)).map_err(|e| e.at(shown));
    }
    let signer = Signer::generate()?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Whole or not at all: half a key would stop every later run.
    let draft = path.with_extension(format!("{:016x}.new", u64::from_be_bytes(random_bytes())));
    let text = signer.to_pem()?;
    let written = options
        .open(&draft)
        .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_data()))
        .and_then(|()| std::fs::hard_link(&draft, path));
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => {
            let id = signer.public().id();
            out.note(&format!(
                "made the signing key {shown}; keep it secret, and tell auditors its id: {id}"
            ));
            Ok(signer)
        }
        // Another run was faster.
        Err(e) if e.kind() == IoKind::AlreadyExists => {
            let pem = files::read(&shown, "the signing key")?;
            Signer::from_pem(&String::from_utf8_lossy(&pem)).map_err(|e| e.at(shown))
        }
        Err(e) => {
            let message = format!("the signing key cannot be made: {e}");
            Err(Error::unavailable("evidence.no_key", message)
                .at(shown)
                .hint("name another place with --key"))
        }
    }
}

fn style(status: Status) -> Style {
    match status {
        Status::Pass => AnsiColor::Green.on_default(),
        Status::Warn | Status::Waived => AnsiColor::Yellow.on_default(),
        Status::Fail | Status::Error => AnsiColor::Red.on_default().bold(),
        Status::Skip | Status::Blocked => Style::new().dimmed(),
    }
}

/// A line for every check as it ends, on standard error.
fn show(event: &Event) {
    let line = match event {
        Event::Started { total } => format!("{total} checks"),
        Event::Retried { id, attempt } => format!(
            "  attempt {} of {id} ended with {}; trying again",
            attempt.number,
            attempt.status.word()
        ),
        Event::Ended(check) => {
            let color = style(check.status);
            let took = (check.ended - check.started).0.max(0);
            let (word, id, summary) = (check.status.word(), clean(&check.id), clean(&check.summary));
            format!("{color}{word:7}{color:#}  {id:24} {took:>6} ms  {summary}")
        }
        _ => return,
    };
    // Nobody reading is no fault.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

fn answer(out: &Out, result: &RunResult, kept: Option<&Kept>, receipts: &[Receipt]) -> Result<()> {
    let mut document = json!({
        "run": result.id,
        "verdict": result.verdict(),
        "counts": result.counts(),
        "checks": result.checks,
        "exit_code": result.verdict().exit_code(),
    });
    if let Some(kept) = kept {
        document["evidence"] = json!({
            "folder": kept.folder.display().to_string(),
            "number": kept.evidence.run.number,
            "sha256": kept.bundle.evidence_sha256(),
            "signer": kept.signer,
        });
    }
    if !receipts.is_empty() {
        document["receipts"] = json!(receipts);
    }
    out.answer(&document, || {
        let mut text = human(result, kept);
        for receipt in receipts {
            let word = if receipt.delivered {
                "delivered to"
            } else {
                "NOT delivered to"
            };
            let _ = writeln!(text, "{word} {} at {}", receipt.to, receipt.at);
        }
        text
    })
}

fn human(result: &RunResult, kept: Option<&Kept>) -> String {
    let mut text = String::new();
    let looks = |c: &&CheckResult| matches!(c.status, Status::Warn | Status::Fail | Status::Error | Status::Waived);
    for check in result.checks.iter().filter(looks) {
        let color = style(check.status);
        let _ = writeln!(text, "\n{color}{}{color:#} {}", check.status.word(), clean(&check.id));
        for finding in &check.findings {
            let _ = writeln!(text, "  {} [{}]", clean(&finding.message), clean(&finding.cause));
            for (name, value) in [
                ("expected", &finding.expected),
                ("actual", &finding.actual),
                ("at", &finding.at),
                ("help", &finding.hint),
            ] {
                if !value.is_empty() {
                    let _ = writeln!(text, "    {name:9} {}", clean(value));
                }
            }
        }
    }
    let c = result.counts();
    let _ = writeln!(
        text,
        "\n{}: {} checks, {} passed, {} warned, {} failed, {} could not be told, {} skipped, {} blocked, {} waived",
        result.verdict().words(),
        c.total,
        c.pass,
        c.warn,
        c.fail,
        c.error,
        c.skip,
        c.blocked,
        c.waived
    );
    if let Some(kept) = kept {
        let _ = writeln!(
            text,
            "evidence: {} (sha256 {})",
            kept.folder.display(),
            kept.bundle.evidence_sha256()
        );
    }
    text
}
