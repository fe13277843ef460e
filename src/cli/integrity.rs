//! `levqor integrity`: checks of a system, and the evidence that they leave.

mod insights;
mod run;
#[cfg(feature = "serve")]
mod serve;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::integrity::evidence::verify::{Trust, Verified, verify_folder};
use crate::integrity::evidence::{Change, Evidence, History, PublicKey, diff};
use crate::integrity::{Pack, Roots, standard};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::files;
use crate::cli::out::{Exit, Out, clean, json_of, list, table};
use run::{RunArgs, run};

/// Check a system, and prove what was found
///
/// Example:
///
///   levqor integrity run integrity.toml
///   levqor integrity verify evidence
#[derive(Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum IntegrityCommand {
    /// Run the checks of a pack and write signed evidence
    ///
    /// A line for every check as it ends, then the verdict. Ends with 0 if the system is ready (with warnings or
    /// without), 1 if a check failed, 2 if the pack or the arguments are wrong or no check is selected, 3 if nothing
    /// failed and something could not be told, 4 if the evidence could not be written. Example:
    ///
    ///   levqor integrity run integrity.toml --select 'http.*' --format junit
    #[command(verbatim_doc_comment)]
    Run(RunArgs),
    /// Find out whether evidence is what was signed
    ///
    /// Works offline, on the bundle of one run or on a folder of runs. Ends with 1 if anything is wrong. Example:
    ///
    ///   levqor integrity verify evidence --key signer.pub.pem
    #[command(verbatim_doc_comment)]
    Verify(VerifyArgs),
    /// Compare the evidence of two runs
    ///
    /// Says what is new, fixed, still there or changed. Ends with 1 if there is something new. Example:
    ///
    ///   levqor integrity diff evidence/run-000001 evidence/run-000002
    #[command(verbatim_doc_comment)]
    Diff(DiffArgs),
    /// List the checks, those of a pack or all that there are
    ///
    /// Example:
    ///
    ///   levqor integrity list integrity.toml
    #[command(verbatim_doc_comment)]
    List(ListArgs),
    /// Say what a check looks at, what it needs and which controls it supports
    ///
    /// Example:
    ///
    ///   levqor integrity explain tls.certificate
    #[command(verbatim_doc_comment)]
    Explain(ExplainArgs),
    /// Serve runs and evidence over HTTP
    ///
    /// POST /api/v1/integrity/run runs the checks; GET /api/v1/integrity/runs lists the runs, and under each stand its
    /// evidence, report.pdf, verify and files. Example:
    ///
    ///   levqor integrity serve integrity.toml --listen 127.0.0.1:8085
    #[cfg(feature = "serve")]
    #[command(verbatim_doc_comment)]
    Serve(serve::ServeArgs),
    /// Sum up a quarter, with nobody in it
    ///
    /// Reads readings by customer and day as JSON: {"readings": [{"account", "day", "revenue", "cost", "mrr", "api_calls"}],
    /// "probes": [{"day", "asked", "well"}]}, with amounts in cents, and shows sums that are over many customers. Example:
    ///
    ///   levqor integrity insights readings.json --quarter 2026-Q3 --currency EUR --pdf figures.pdf
    #[command(verbatim_doc_comment)]
    Insights(insights::InsightsArgs),
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The folder of a run, or of all runs
    #[arg(default_value = "evidence")]
    folder: PathBuf,
    /// The signer that is trusted: a public key in PEM. Without it, the evidence is only shown to be whole
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// The SHA-256 of the last run's evidence.json, kept elsewhere: shows that no run is missing at the end
    #[arg(long, value_name = "SHA256")]
    head: Option<String>,
    /// The authority whose time stamps are trusted: certificates in PEM. With it, every run has to have a time stamp
    #[arg(long, value_name = "FILE")]
    timestamp_ca: Option<String>,
}

#[derive(Args)]
pub(crate) struct DiffArgs {
    /// The folder of the earlier run
    before: PathBuf,
    /// The folder of the later run
    now: PathBuf,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// The pack
    pack: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The check's id
    id: String,
}

pub(crate) async fn integrity(out: &Out, command: IntegrityCommand) -> Result<Exit> {
    match command {
        IntegrityCommand::Run(args) => run(out, args).await,
        IntegrityCommand::Verify(args) => verify(out, &args),
        IntegrityCommand::Diff(args) => compare(out, &args),
        IntegrityCommand::List(args) => show_list(out, &args),
        IntegrityCommand::Explain(args) => explain(out, &args),
        #[cfg(feature = "serve")]
        IntegrityCommand::Serve(args) => serve::serve(out, args).await,
        IntegrityCommand::Insights(args) => insights::insights(out, &args),
    }
}

fn verify(out: &Out, args: &VerifyArgs) -> Result<Exit> {
    let key = args.key.as_deref().map(|path| {
        let pem = files::read(path, "the key")?;
        PublicKey::from_pem(&String::from_utf8_lossy(&pem)).map_err(|e| e.at(path))
    });
    let mut stamps = None;
    if let Some(path) = &args.timestamp_ca {
        let mut roots = Roots::default();
        roots.add_pem(path, &String::from_utf8_lossy(&files::read(path, "the certificate")?))?;
        stamps = Some(roots);
    }
    let trust = Trust {
        signer: key.transpose()?,
        stamps,
    };
    let missing = |e: Error| Error::invalid(e.code(), e.message()).at(args.folder.display().to_string());
    let one = args.folder.join("evidence.json").exists() || args.folder.join("statement.dsse.json").exists();
    let verified = if one {
        if args.head.is_some() {
            return Err(Error::invalid("cli.usage", "--head is for a folder of runs").at("--head"));
        }
        verify_folder(&args.folder, &trust).map_err(missing)?
    } else {
        if !args.folder.is_dir() {
            return Err(Error::invalid("evidence.unreadable", "there is no such folder").at(args.folder.display().to_string()));
        }
        History::at(&args.folder)
            .verify(&trust, args.head.as_deref(), true)
            .map_err(missing)?
    };
    let mut document = json_of(&verified)?;
    document["ok"] = json!(verified.ok());
    out.answer(&document, || said(&verified))?;
    Ok(if verified.ok() { Exit::Ok } else { Exit::Failed })
}

fn said(verified: &Verified) -> String {
    let mut text = String::new();
    if !verified.ok() {
        let rows = verified
            .problems
            .iter()
            .map(|p| vec![p.cause.clone(), p.at.clone(), p.message.clone()]);
        let _ = writeln!(text, "{}\n", table(&["cause", "where", "what"], &[], rows));
    }
    let signer = match (&verified.signer, verified.trusted) {
        (None, _) => "nobody".to_owned(),
        (Some(id), Some(true)) => format!("{id} (trusted)"),
        (Some(id), Some(false)) => format!("{id} (NOT the trusted key)"),
        (Some(id), None) => format!("{id} (compare it with the one that you were given, or give --key)"),
    };
    text.push_str(&list(&[
        ("signed by", signer),
        ("files", verified.files.to_string()),
        ("records", verified.records.to_string()),
        ("evidence", verified.evidence_sha256.clone().unwrap_or_else(|| "-".into())),
        (
            "time stamp",
            verified.stamp.as_ref().map_or_else(
                || "none".to_owned(),
                |s| {
                    let trusted = match s.trusted {
                        Some(true) => "trusted",
                        Some(false) => "NOT trusted",
                        None => "give --timestamp-ca to know whether to trust it",
                    };
                    format!("{} by {} ({trusted})", s.time, clean(&s.authority))
                },
            ),
        ),
    ]));
    let n = verified.problems.len();
    let _ = match n {
        0 => writeln!(text, "\nthe evidence is what was signed"),
        1 => writeln!(text, "\n1 problem: the evidence is NOT what was signed"),
        n => writeln!(text, "\n{n} problems: the evidence is NOT what was signed"),
    };
    text
}

/// The evidence in the folder of a run.
fn evidence(folder: &Path) -> Result<Evidence> {
    let path = folder.join("evidence.json");
    let path = path.display().to_string();
    Evidence::from_bytes(&files::read(&path, "the evidence")?).map_err(|e| Error::invalid(e.code(), e.message()).at(path))
}

fn compare(out: &Out, args: &DiffArgs) -> Result<Exit> {
    let found = diff(&evidence(&args.before)?, &evidence(&args.now)?)?;
    let worse = found.of(Change::New).count();
    out.answer(&json_of(&found)?, || {
        let mut text = String::new();
        for (name, was, is) in &found.configuration {
            let _ = writeln!(text, "{name}: {was} -> {is}");
        }
        if !found.configuration.is_empty() {
            text.push('\n');
        }
        let word = |c: Change| json!(c).as_str().unwrap_or_default().to_owned();
        let status = |s: Option<crate::integrity::Status>| s.map_or("-", crate::integrity::Status::word).to_owned();
        let rows = found.checks.iter().map(|d| {
            vec![
                word(d.change),
                d.id.clone(),
                status(d.before),
                status(d.now),
                d.summary.clone(),
            ]
        });
        if found.checks.is_empty() {
            text.push_str("no check differs\n");
        } else {
            text.push_str(&table(&["change", "check", "before", "now", "what"], &[], rows));
        }
        text
    })?;
    Ok(if worse == 0 { Exit::Ok } else { Exit::Failed })
}

fn show_list(out: &Out, args: &ListArgs) -> Result<Exit> {
    let mut rows: Vec<(String, String, String, String)> = Vec::new();
    if let Some(path) = &args.pack {
        let pack = Pack::load(path)?;
        for planned in &pack.checks {
            let about = planned.check.about();
            rows.push((planned.check.id().to_owned(), about.group, about.title, String::new()));
        }
        for (id, reason) in &pack.excluded {
            rows.push((id.clone(), "-".into(), "(not run)".into(), reason.clone()));
        }
    } else {
        for s in standard() {
            rows.push((s.id.into(), s.group.into(), s.title.into(), s.objective.into()));
        }
    }
    let document: Vec<Value> = rows
        .iter()
        .map(|(id, group, title, note)| json!({"id": id, "group": group, "title": title, "note": note}))
        .collect();
    out.answer(&Value::from(document), || {
        let rows = rows
            .iter()
            .map(|(a, b, c, d)| vec![a.clone(), b.clone(), c.clone(), d.clone()]);
        table(&["check", "group", "title", ""], &[], rows)
    })?;
    Ok(Exit::Ok)
}

fn explain(out: &Out, args: &ExplainArgs) -> Result<Exit> {
    let Some(found) = standard().iter().find(|s| s.id == args.id) else {
        let known = crate::pipeline::suggest::did_you_mean(&args.id, standard().iter().map(|s| s.id));
        let message = format!("there is no check `{}`{known}", args.id);
        return Err(Error::invalid("integrity.unknown_check", message).hint("see levqor integrity list"));
    };
    let document = json!({
        "id": found.id,
        "group": found.group,
        "category": found.category,
        "title": found.title,
        "objective": found.objective,
        "severity": found.severity,
        "requires": found.requires,
        "controls": found.controls,
        "defaults": found.parameters(),
    });
    out.answer(&document, || {
        let none = |words: &[&str]| {
            if words.is_empty() {
                "nothing".to_owned()
            } else {
                words.join(", ")
            }
        };
        list(&[
            ("check", found.id.into()),
            ("title", found.title.into()),
            ("group", found.group.into()),
            ("shows that", found.objective.into()),
            ("severity", found.severity.into()),
            ("needs", none(found.requires)),
            ("supports", none(found.controls)),
            ("defaults", found.parameters().to_string()),
        ])
    })?;
    Ok(Exit::Ok)
}
