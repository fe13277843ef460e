//! The files of a run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use levqor_core::error::{Error, Result};
use levqor_core::json;
use serde_json::{Value, json};

use super::sign::{Signer, envelope, pae};
use super::stamp::{STAMP_FILE, STAMPED, Stamper};
use super::{Context, Evidence, FileRef, value_of};
use crate::runner::{CheckResult, RunResult, stamp};
use crate::status::Counts;

/// How to verify a bundle without this program; it lies in every bundle as `VERIFY.md`.
pub const VERIFY_TEXT: &str = "\
# How to verify this evidence

With Levqor, offline:

    levqor integrity verify .

With openssl alone. The first command says whether the statement is signed with this key, the second what the key's
id is (compare it with the one that you were given), the third whether the evidence is the one that was signed:

    openssl pkeyutl -verify -pubin -inkey signer.pub.pem -rawin -in statement.pae -sigfile statement.sig
    openssl pkey -pubin -in signer.pub.pem -outform DER | openssl dgst -sha256
    openssl dgst -sha256 evidence.json

`statement.pae` is `DSSEv1 28 application/vnd.in-toto+json <length of statement.json> ` followed by `statement.json`,
which lists every other file with its SHA-256.

If there is a `statement.tsr`, somebody else signed that the statement existed at a time (RFC 3161). With the certificate of
that authority as `tsa-ca.pem`:

    openssl ts -verify -data statement.dsse.json -in statement.tsr -CAfile tsa-ca.pem
    openssl ts -reply -in statement.tsr -text
";

/// Files that stand outside the statement, because they carry it.
pub(crate) const SEALS: &[&str] = &[
    "statement.dsse.json",
    "statement.json",
    "statement.pae",
    "statement.sig",
    "signer.pub.pem",
    STAMP_FILE,
];

/// The files of a run, by their path in the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    evidence_sha256: String,
    number: u64,
    run: String,
}

impl Bundle {
    /// The bundle of a run: evidence, the two reports, what was sent and received, and what is [attached](Bundle::attach)
    /// later. Not signed yet.
    pub fn of(result: &RunResult, context: &Context) -> Result<(Self, Evidence)> {
        let (evidence, mut files) = Evidence::of(result, context)?;
        let bytes = evidence.to_bytes()?;
        let time = stamp(result.started);
        let digest = crate::sha256_hex(&bytes);
        files.insert("evidence.json".into(), bytes);
        files.insert("VERIFY.md".into(), VERIFY_TEXT.as_bytes().to_vec());
        for (name, ours) in [("integrity", false), ("finalizer", true)] {
            let of_report = |r: &&CheckResult| (r.about.group == "finalizer") == ours;
            let checks: Vec<&CheckResult> = evidence.records.iter().map(|r| &r.result).filter(of_report).collect();
            let report = report(name, &evidence, &checks, &digest)?;
            files.insert(format!("{name}_report_{time}.json"), report);
        }
        let bundle = Bundle {
            files,
            evidence_sha256: digest,
            number: evidence.run.number,
            run: evidence.run.id.clone(),
        };
        Ok((bundle, evidence))
    }

    /// Adds a file: the PDF, or a form for another tool. Before it is signed, since the signature covers it.
    #[must_use]
    pub fn attach(mut self, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.files.insert(name.into(), bytes);
        self
    }

    /// The name under which the PDF belongs into the bundle.
    pub fn pdf_name(evidence: &Evidence) -> String {
        format!("integrity_evidence_{}.pdf", stamp(evidence.started()))
    }

    /// SHA-256 of `evidence.json`.
    pub fn evidence_sha256(&self) -> &str {
        &self.evidence_sha256
    }

    /// Its files.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Signs it: a statement over every file.
    pub fn sign(mut self, signer: &Signer, evidence: &Evidence) -> Result<Self> {
        self.files.retain(|name, _| !SEALS.contains(&name.as_str()));
        let key = signer.public();
        let list: Vec<FileRef> = self.files.iter().map(|(n, b)| FileRef::of(n.as_str(), b)).collect();
        let subjects: Vec<Value> = list
            .iter()
            .map(|f| json!({"name": f.file, "digest": {"sha256": f.sha256}}))
            .collect();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://levqor.dev/evidence/v1",
            "predicate": {
                "run": evidence.run.id,
                "number": evidence.run.number,
                "previous": evidence.run.previous,
                "verdict": evidence.verdict,
                "counts": evidence.counts,
                "head": evidence.head,
                "started": evidence.run.started,
                "signer": key.id(),
                "files": value_of(&list)?,
            },
        });
        let payload = json::canonical(&statement).into_bytes();
        let signed = pae(&payload);
        let signature = signer.sign(&signed);
        let seal = envelope(&payload, &key.id(), &signature);
        for (name, bytes) in [
            ("statement.json", payload),
            ("statement.pae", signed),
            ("statement.sig", signature),
            ("statement.dsse.json", seal),
            ("signer.pub.pem", key.to_pem().into_bytes()),
        ] {
            self.files.insert(name.into(), bytes);
        }
        Ok(self)
    }

    /// Adds a time stamp by somebody else over the signed statement. Without a signature there is nothing to stamp, and nothing
    /// happens.
    pub async fn stamp(mut self, stamper: &Stamper) -> Result<Self> {
        if let Some(data) = self.files.get(STAMPED) {
            let token = stamper.stamp(data).await?;
            self.files.insert(STAMP_FILE.into(), token);
        }
        Ok(self)
    }

    /// Writes the files into a new folder, which appears with everything in it or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let fail = |path: &Path, e: &std::io::Error| {
            Error::unavailable("evidence.not_written", format!("the evidence cannot be written: {e}"))
                .at(path.display().to_string())
                .hint("the run has ended, but nothing of it was kept; mend the folder and run again")
        };
        if folder.exists() {
            return Err(
                Error::conflict("evidence.exists", "there is evidence in this folder already").at(folder.display().to_string())
            );
        }
        let name = folder
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let tag = u64::from_be_bytes(levqor_core::types::random_bytes());
        let draft = folder.with_file_name(format!(".{name}.{tag:016x}"));
        let written = self.write_all(&draft);
        let ended = written.and_then(|()| std::fs::rename(&draft, folder).map_err(|e| (folder.to_owned(), e)));
        ended.map_err(|(path, e)| {
            let _ = std::fs::remove_dir_all(&draft);
            if matches!(
                e.kind(),
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::DirectoryNotEmpty
            ) {
                return Error::conflict("evidence.exists", "there is evidence in this folder already")
                    .at(path.display().to_string());
            }
            fail(&path, &e)
        })
    }

    fn write_all(&self, draft: &Path) -> std::result::Result<(), (PathBuf, std::io::Error)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e| (path, e)
        };
        std::fs::create_dir_all(draft).map_err(at(draft))?;
        for (name, bytes) in &self.files {
            let path = draft.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(at(parent))?;
            }
            let mut file = std::fs::File::create_new(&path).map_err(at(&path))?;
            file.write_all(bytes).and_then(|()| file.sync_data()).map_err(at(&path))?;
        }
        Ok(())
    }

    /// The run's number in its history.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// The short form of a part of the checks, under the name that the original gave it.
fn report(name: &str, evidence: &Evidence, checks: &[&CheckResult], digest: &str) -> Result<Vec<u8>> {
    let counts = Counts::of(checks.iter().map(|c| c.status));
    let rows: Vec<Value> = checks
        .iter()
        .map(|c| {
            json!({
                "id": c.id,
                "title": c.about.title,
                "status": c.status,
                "summary": c.summary,
                "findings": c.findings,
                "started": c.started.rfc3339(),
                "duration_ms": (c.ended - c.started).0,
                "attempts": c.attempts.len(),
                "blocked_by": c.blocked_by,
                "waiver": c.waiver,
            })
        })
        .collect();
    let value = json!({
        "report": name,
        "run": evidence.run.id,
        "number": evidence.run.number,
        "system": evidence.run.system,
        "environment": evidence.run.environment,
        "started": evidence.run.started,
        "ended": evidence.run.ended,
        "verdict": if checks.is_empty() { evidence.verdict } else { counts.verdict() },
        "run_verdict": evidence.verdict,
        "counts": counts,
        "checks": rows,
        "evidence_sha256": digest,
    });
    let mut text = serde_json::to_string_pretty(&value).map_err(|e| Error::internal(e.to_string()))?;
    text.push('\n');
    Ok(text.into_bytes())
}
