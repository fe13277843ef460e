//! `levqor integrity run`.

use std::fmt::Write as _;
use std::io::{ErrorKind as IoKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind, Result};
use crate::integrity::evidence::{Bundle, Context, Evidence, History, Signer};
use crate::integrity::{CheckResult, Environment, Event, Pack, RunResult, Status, formats};
use crate::transport::{HttpOptions, HttpTransport};
use crate::types::random_bytes;
use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;

use crate::cli::files;
use crate::cli::out::{Exit, Out, clean};

/// Where a pack is looked for if none is named.
const PACKS: &[&str] = &["integrity.toml", "integrity.yaml", "integrity.yml", "integrity.json"];

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The pack: TOML, YAML or JSON [default: integrity.toml, .yaml or .json]
    pack: Option<PathBuf>,
    /// Only these checks: an id, a group, or the beginning of an id with * behind it (may be repeated)
    #[arg(long, value_name = "CHECK")]
    select: Vec<String>,
    /// Where the evidence of all runs is kept
    #[arg(long, default_value = "evidence", value_name = "FOLDER")]
    evidence: PathBuf,
    /// Keep nothing
    #[arg(long, conflicts_with_all = ["evidence", "format", "key"])]
    no_evidence: bool,
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
}

pub(crate) async fn run(out: &Out, args: RunArgs) -> Result<Exit> {
    for format in &args.format {
        if !formats::FORMATS.iter().any(|(name, _)| name == format) {
            let names: Vec<&str> = formats::FORMATS.iter().map(|(n, _)| *n).collect();
            let known = crate::pipeline::suggest::did_you_mean(format, names.iter().copied());
            let e = Error::invalid("integrity.unknown_format", format!("there is no format `{format}`{known}"));
            return Err(e.at("--format").hint(format!("there are {}", names.join(", "))));
        }
    }
    let mut pack = Pack::load(&find(args.pack.as_deref())?)?;
    pack.select(&args.select)?;
    let history = History::at(&args.evidence);
    let keep = !args.no_evidence;
    // A key or a folder that cannot be used is said before anything is sent.
    let before = if keep {
        match signer(out, &args.key).and_then(|signer| Ok((signer, history.last()?))) {
            Ok(both) => Some(both),
            Err(e) => return Ok(no_evidence(out, &e)),
        }
    } else {
        None
    };
    let options = HttpOptions {
        authorities: pack.roots()?.added().to_vec(),
        ..HttpOptions::default()
    };
    let transport = Arc::new(HttpTransport::new(options)?);
    let mut run = pack
        .run(transport, Arc::new(SystemClock::default()), Environment::of_process())?
        .seed(pack.digest.clone());
    if let Some((_, evidence)) = before.as_ref().and_then(|(_, last)| last.as_ref()) {
        for record in &evidence.records {
            run = run.previous(record.result.id.clone(), record.result.facts.clone());
        }
    }
    let mut events = run.events();
    let json = out.json;
    let live = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if !json {
                show(&event);
            }
        }
    });
    let result = run.run().await?;
    // The sender went with the run, so this ends.
    let _ = live.await;
    let mut kept = None;
    if let Some((signer, last)) = before {
        let link = last.as_ref().map(|(link, _)| link.clone());
        match keep_it(&result, &pack, &args, &history, &signer, link) {
            Ok(both) => kept = Some(both),
            Err(e) => {
                answer(out, &result, None)?;
                return Ok(no_evidence(out, &e));
            }
        }
    }
    answer(out, &result, kept.as_ref())?;
    Ok(match result.verdict().exit_code() {
        0 => Exit::Ok,
        1 => Exit::Failed,
        _ => Exit::Indeterminate,
    })
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

/// What was kept: where, the evidence, and who signed.
struct Kept {
    folder: PathBuf,
    evidence: Evidence,
    sha256: String,
    signer: String,
}

fn keep_it(
    result: &RunResult,
    pack: &Pack,
    args: &RunArgs,
    history: &History,
    signer: &Signer,
    mut previous: Option<crate::integrity::evidence::Link>,
) -> Result<Kept> {
    loop {
        let context = Context {
            previous,
            ..Context::of(pack)
        };
        let (mut bundle, evidence) = Bundle::of(result, &context)?;
        for format in &args.format {
            let (name, text) = formats::write(format, &evidence)?;
            bundle = bundle.attach(name, text.into_bytes());
        }
        let bundle = bundle.sign(signer, &evidence)?;
        match history.add(&bundle) {
            Ok(folder) => {
                return Ok(Kept {
                    folder,
                    evidence,
                    sha256: bundle.evidence_sha256().to_owned(),
                    signer: signer.public().id(),
                });
            }
            // Another run took the number meanwhile; this one stands behind it.
            Err(e) if e.kind() == ErrorKind::Conflict => {
                let last = history.last()?.map(|(link, _)| link);
                if last.as_ref().is_none_or(|l| l.number < bundle.number()) {
                    return Err(e);
                }
                previous = last;
            }
            Err(e) => return Err(e),
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

fn answer(out: &Out, result: &RunResult, kept: Option<&Kept>) -> Result<()> {
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
            "sha256": kept.sha256,
            "signer": kept.signer,
        });
    }
    out.answer(&document, || human(result, kept))
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
        let _ = writeln!(text, "evidence: {} (sha256 {})", kept.folder.display(), kept.sha256);
    }
    text
}
