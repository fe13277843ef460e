//! Integrity runs: the checks of a pack and of the host, and the evidence.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use levqor::clock::SystemClock;
use levqor::error::{Error, ErrorKind, Result};
use levqor::integrity::evidence::verify::verify_folder;
use levqor::integrity::evidence::{Bundle, Context, Evidence, History, PublicKey, Signer, diff};
use levqor::integrity::{Check, Environment, Format, Pack, Planned, RunResult, formats, standard};
use levqor::transport::{HttpOptions, HttpTransport};
use levqor::types::random_bytes;
use serde_json::{Value, json};

use crate::engine::Scene;
use crate::verbs::verbs;

/// Where a pack is looked for if none is named.
const PACKS: &[&str] = &["integrity.toml", "integrity.yaml", "integrity.yml", "integrity.json"];

/// The pack of a path or of plain data; without any, that of the working folder, or one without checks of its own.
fn pack(named: Option<Value>) -> Result<Pack> {
    match named {
        Some(Value::String(path)) => Pack::load(Path::new(&path)),
        Some(document) => Pack::parse(&document.to_string(), Format::Json),
        None => match PACKS.iter().map(Path::new).find(|p| p.is_file()) {
            Some(path) => Pack::load(path),
            None => {
                let mut pack = Pack::parse("{\"version\": 1, \"name\": \"host\"}", Format::Json)?;
                pack.checks.clear();
                Ok(pack)
            }
        },
    }
}

fn signer(path: &Path) -> Result<Signer> {
    let fault = |e: std::io::Error| {
        let e = Error::unavailable("evidence.no_key", format!("the signing key cannot be used: {e}"));
        e.at(path.display().to_string())
    };
    let read = |path: &Path| {
        let pem = std::fs::read_to_string(path).map_err(fault)?;
        Signer::from_pem(&pem).map_err(|e| e.at(path.display().to_string()))
    };
    if path.exists() {
        return read(path);
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
    drop(std::fs::remove_file(&draft));
    match written {
        Ok(()) => Ok(signer),
        // Another run was faster.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => read(path),
        Err(e) => Err(fault(e)),
    }
}

/// Signs what was found and puts it behind the runs before.
fn keep(result: &RunResult, pack: &Pack, history: &History, signer: &Signer, wanted: &[String]) -> Result<Value> {
    loop {
        let previous = history.last()?.map(|(link, _)| link);
        let number = previous.as_ref().map_or(0, |l| l.number);
        let context = Context {
            previous,
            ..Context::of(pack)
        };
        let (mut bundle, evidence) = Bundle::of(result, &context)?;
        for format in wanted {
            let (name, text) = formats::write(format, &evidence)?;
            bundle = bundle.attach(name, text.into_bytes());
        }
        let bundle = bundle.sign(signer, &evidence)?;
        match history.add(&bundle) {
            Ok(folder) => {
                return Ok(json!({
                    "folder": folder.display().to_string(), "number": evidence.run.number,
                    "sha256": bundle.evidence_sha256(), "signer": signer.public().id(),
                }));
            }
            // Another run took the number meanwhile; this one stands behind it.
            Err(e) if e.kind() == ErrorKind::Conflict && history.last()?.is_some_and(|(l, _)| l.number > number) => {}
            Err(e) => return Err(e),
        }
    }
}

async fn run(
    e: &Scene,
    named: Option<Value>,
    select: &[String],
    evidence: Option<PathBuf>,
    key: &Path,
    wanted: &[String],
) -> Result<Value> {
    let mut pack = pack(named)?;
    let host = e.host.checks.get().clone();
    pack.checks
        .extend(host.into_iter().map(|check| Planned::new(check as Arc<dyn Check>)));
    pack.select(select)?;
    if pack.checks.is_empty() {
        return Err(
            Error::invalid("pack.no_checks", "there is no pack here and no check of the host's own")
                .hint("name a pack, or make a function a check with @lq.check(..)"),
        );
    }
    for format in wanted {
        if !formats::FORMATS.iter().any(|(name, _)| name == format) {
            return Err(Error::invalid("integrity.unknown_format", format!("there is no format `{format}`")).at("formats"));
        }
    }
    // A key or a folder that cannot be used is said before anything is sent.
    let before = match &evidence {
        Some(folder) => {
            let history = History::at(folder);
            let last = history.last()?;
            Some((history, signer(key)?, last))
        }
        None => None,
    };
    let options = HttpOptions {
        authorities: pack.roots()?.added().to_vec(),
        ..HttpOptions::default()
    };
    let transport = Arc::new(HttpTransport::new(options)?);
    let mut run = pack
        .run(transport, Arc::new(SystemClock::default()), Environment::of_process())?
        .seed(pack.digest.clone());
    if let Some((_, _, Some((_, last)))) = &before {
        for record in &last.records {
            run = run.previous(record.result.id.clone(), record.result.facts.clone());
        }
    }
    let result = run.run().await?;
    let kept = match &before {
        Some((history, signer, _)) => keep(&result, &pack, history, signer, wanted)?,
        None => Value::Null,
    };
    Ok(json!({
        "id": result.id, "verdict": result.verdict(), "words": result.verdict().words(), "counts": result.counts(),
        "checks": result.checks, "exit_code": result.verdict().exit_code(), "started": result.started, "ended": result.ended,
        "evidence": kept,
    }))
}

fn public_key(path: Option<String>) -> Result<Option<PublicKey>> {
    path.map(|path| {
        let pem = std::fs::read_to_string(&path)
            .map_err(|e| Error::invalid("evidence.unreadable", format!("the key cannot be read: {e}")).at(path.clone()))?;
        PublicKey::from_pem(&pem).map_err(|e| e.at(path))
    })
    .transpose()
}

/// The folder of a run, or of all runs.
fn verify(folder: &Path, key: Option<&PublicKey>, head: Option<&str>) -> Result<Value> {
    let one = folder.join("evidence.json").exists() || folder.join("statement.dsse.json").exists();
    let verified = if one {
        verify_folder(folder, key)?
    } else if folder.is_dir() {
        History::at(folder).verify(key, head, true)?
    } else {
        return Err(Error::invalid("evidence.unreadable", "there is no such folder").at(folder.display().to_string()));
    };
    Ok(json!({
        "ok": verified.ok(), "problems": verified.problems, "signer": verified.signer, "trusted": verified.trusted,
        "files": verified.files, "records": verified.records, "evidence_sha256": verified.evidence_sha256,
    }))
}

fn evidence(folder: &str) -> Result<Evidence> {
    let path = Path::new(folder).join("evidence.json");
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path)
        .map_err(|e| Error::invalid("evidence.unreadable", format!("the evidence cannot be read: {e}")).at(shown.clone()))?;
    Evidence::from_bytes(&bytes).map_err(|e| Error::invalid(e.code(), e.message()).at(shown))
}

verbs! { TABLE: e;
    integrity.run(pack: Option<Value>; select: Vec<String> = Vec::<String>::new(), evidence: Option<PathBuf>,
        key: PathBuf = "levqor-signing-key.pem", formats: Vec<String> = Vec::<String>::new())
        => run(&e, pack, &select, evidence, &key, &formats).await?;
    integrity.verify(folder: PathBuf; key: Option<String>, head: Option<String>)
        => verify(&folder, public_key(key)?.as_ref(), head.as_deref())?;
    integrity.diff(before: String, now: String) => diff(&evidence(&before)?, &evidence(&now)?)?;
    integrity.checks() => standard().iter().map(|s| json!({"id": s.id, "about": s.about()})).collect::<Vec<_>>();
}
