//! Finds out whether evidence is what was signed, offline, with the exact cause if it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use levqor_core::error::{Error, Result};
use levqor_core::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bundle::SEALS;
use super::sign::{PublicKey, open, pae};
use super::stamp::{STAMP_FILE, STAMPED, Stamp, judge};
use super::{Evidence, digest_of};
use crate::deliver::{DELIVERY_FILE, Receipt, receipts_of};
use crate::sha256_hex;
use crate::status::Counts;
use crate::tls::Roots;

/// The files of a bundle, by their paths in it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One thing that is wrong with evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable name of the cause, `file.changed`.
    pub cause: String,
    /// The file, or the run.
    pub at: String,
    /// What is so.
    pub message: String,
}

impl Problem {
    pub(super) fn new(cause: &str, at: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            cause: cause.to_owned(),
            at: at.into(),
            message: message.into(),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Everything that is wrong; nothing if the evidence is what was signed.
    pub problems: Vec<Problem>,
    /// The id of the key that signed it.
    pub signer: Option<String>,
    /// Whether that is a key that was said to be trusted; `None` if none was said.
    pub trusted: Option<bool>,
    /// How many files were looked at.
    pub files: usize,
    /// How many records.
    pub records: usize,
    /// SHA-256 of `evidence.json`.
    pub evidence_sha256: Option<String>,
    /// When somebody else saw the statement, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
    /// What came of sending it to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
}

/// Whom a verification trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The signer: another one is a problem.
    pub signer: Option<PublicKey>,
    /// The authorities whose time stamps count: another one, or none at all, is a problem.
    pub stamps: Option<Roots>,
}

impl From<&Trust> for Trust {
    fn from(trust: &Trust) -> Self {
        trust.clone()
    }
}

impl From<Option<&PublicKey>> for Trust {
    fn from(signer: Option<&PublicKey>) -> Self {
        Trust {
            signer: signer.copied(),
            stamps: None,
        }
    }
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Reads every file of a folder and verifies it. A link is a problem: what it leads to is not in the bundle.
pub fn verify_folder(folder: &Path, trusted: impl Into<Trust>) -> Result<Verified> {
    let (files, links) = read(folder)?;
    let mut verified = verify_files(&files, trusted);
    let linked = links
        .into_iter()
        .map(|l| Problem::new("file.link", l, "a link stands in the bundle"));
    verified.problems.extend(linked);
    Ok(verified)
}

/// The files of a folder, by their paths; a link is an error.
pub(crate) fn read_folder(folder: &Path) -> Result<Files> {
    let (files, links) = read(folder)?;
    match links.first() {
        None => Ok(files),
        Some(link) => Err(Error::invalid("file.link", "a link stands in the bundle").at(link.as_str())),
    }
}

/// The files of a folder, by their paths, and the links in it.
pub(super) fn read(folder: &Path) -> Result<(Files, Vec<String>)> {
    let mut files = BTreeMap::new();
    let mut links = Vec::new();
    let mut open = vec![folder.to_owned()];
    let fail = |path: &Path, e: std::io::Error| {
        Error::not_found("evidence.unreadable", format!("the evidence cannot be read: {e}")).at(path.display().to_string())
    };
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(&here).map_err(|e| fail(&here, e))? {
            let entry = entry.map_err(|e| fail(&here, e))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|e| fail(&path, e))?;
            let parts = path.strip_prefix(folder).unwrap_or(&path).components();
            let name: Vec<String> = parts.map(|p| p.as_os_str().to_string_lossy().into_owned()).collect();
            let name = name.join("/");
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                files.insert(name, std::fs::read(&path).map_err(|e| fail(&path, e))?);
            } else {
                links.push(name);
            }
        }
    }
    Ok((files, links))
}

/// Verifies the files of a bundle. With a trusted key, another signer is a problem.
pub fn verify_files(files: &Files, trusted: impl Into<Trust>) -> Verified {
    let trust = trusted.into();
    let trusted = trust.signer.as_ref();
    let mut verified = Verified {
        problems: Vec::new(),
        signer: None,
        trusted: None,
        files: files.len(),
        records: 0,
        evidence_sha256: files.get("evidence.json").map(|b| sha256_hex(b)),
        stamp: None,
        receipts: Vec::new(),
    };
    let statement = seal(files, trusted, &mut verified);
    if let Some(statement) = &statement {
        listed(files, statement, &mut verified.problems);
    }
    stamped(files, trust.stamps.as_ref(), &mut verified);
    delivered(files, trusted, &mut verified);
    if let Some(bytes) = files.get("evidence.json") {
        evidence(bytes, files, statement.as_ref(), &mut verified);
    } else if statement.is_none() {
        verified
            .problems
            .push(Problem::new("file.missing", "evidence.json", "there is no evidence"));
    }
    verified
}

/// The signature, and every file that repeats a part of it.
fn seal(files: &Files, trusted: Option<&PublicKey>, verified: &mut Verified) -> Option<Value> {
    let said = &mut verified.problems;
    let Some(bytes) = files.get("statement.dsse.json") else {
        said.push(Problem::new(
            "signature.missing",
            "statement.dsse.json",
            "the evidence is not signed",
        ));
        return None;
    };
    let Some((payload, key_id, signature)) = open(bytes) else {
        said.push(Problem::new(
            "envelope.changed",
            "statement.dsse.json",
            "the envelope is not as it was written",
        ));
        return None;
    };
    for (name, expected) in [
        ("statement.json", payload.clone()),
        ("statement.pae", pae(&payload)),
        ("statement.sig", signature.clone()),
    ] {
        match files.get(name) {
            None => said.push(Problem::new("file.missing", name, "the file is gone")),
            Some(found) if *found != expected => said.push(Problem::new(
                "file.changed",
                name,
                "the file does not repeat what is in the envelope",
            )),
            Some(_) => {}
        }
    }
    let own = files
        .get("signer.pub.pem")
        .and_then(|b| std::str::from_utf8(b).ok())
        .and_then(|t| PublicKey::from_pem(t).ok().filter(|k| k.to_pem() == t));
    if own.is_none() {
        let cause = if files.contains_key("signer.pub.pem") {
            "file.changed"
        } else {
            "file.missing"
        };
        said.push(Problem::new(
            cause,
            "signer.pub.pem",
            "the signer's key is not as it was written",
        ));
    }
    let key = trusted.copied().or(own);
    verified.signer = own.map(PublicKey::id);
    verified.trusted = trusted.map(|t| own.as_ref() == Some(t));
    if let (Some(own), Some(trusted)) = (own, trusted)
        && own != *trusted
    {
        said.push(Problem::new(
            "signer.foreign",
            "signer.pub.pem",
            format!("signed by {}, not by the trusted {}", own.id(), trusted.id()),
        ));
    } else if let Some(key) = key {
        if key.id() != key_id {
            said.push(Problem::new(
                "signer.foreign",
                "statement.dsse.json",
                "the envelope names another key",
            ));
        }
        if !key.verify(&pae(&payload), &signature) {
            said.push(Problem::new(
                "signature.wrong",
                "statement.dsse.json",
                "the signature does not fit the statement",
            ));
        }
    }
    json::parse(&payload, "the statement", 64 << 20).ok()
}

/// The receipts, if there are any: of this evidence, by the same signer.
fn delivered(files: &Files, trusted: Option<&PublicKey>, verified: &mut Verified) {
    let Some(bytes) = files.get(DELIVERY_FILE) else { return };
    let own = files
        .get("signer.pub.pem")
        .and_then(|b| std::str::from_utf8(b).ok())
        .and_then(|t| PublicKey::from_pem(t).ok());
    let read = || {
        let (payload, key_id, signature) = open(bytes)?;
        let key = trusted.copied().or(own).filter(|k| k.id() == key_id)?;
        let statement = json::parse(&payload, "the receipts", 16 << 20).ok()?;
        let of_this = statement["subject"][0]["digest"]["sha256"].as_str() == verified.evidence_sha256.as_deref();
        (of_this && key.verify(&pae(&payload), &signature)).then(|| receipts_of(&statement))?
    };
    let found = read();
    match found {
        Some(receipts) => verified.receipts = receipts,
        None => verified.problems.push(Problem::new(
            "delivery.changed",
            DELIVERY_FILE,
            "the receipts are not those that this signer wrote for this evidence",
        )),
    }
}

/// The time stamp, if there is one or has to be one.
fn stamped(files: &Files, roots: Option<&Roots>, verified: &mut Verified) {
    match (files.get(STAMP_FILE), files.get(STAMPED)) {
        (Some(token), Some(data)) => {
            let (stamp, problems) = judge(token, data, roots);
            verified.stamp = stamp;
            verified.problems.extend(problems);
        }
        (None, _) if roots.is_some() => {
            verified
                .problems
                .push(Problem::new("stamp.missing", STAMP_FILE, "there is no time stamp"));
        }
        _ => {}
    }
}

/// Every file that the statement lists is there as it was, and no other.
fn listed(files: &Files, statement: &Value, said: &mut Vec<Problem>) {
    let subjects = statement["subject"].as_array().cloned().unwrap_or_default();
    let mut known: BTreeSet<&str> = SEALS.iter().copied().chain([DELIVERY_FILE]).collect();
    for subject in &subjects {
        let (name, digest) = (
            subject["name"].as_str().unwrap_or_default(),
            subject["digest"]["sha256"].as_str().unwrap_or_default(),
        );
        known.insert(name);
        match files.get(name) {
            None => said.push(Problem::new("file.missing", name, "the file is gone")),
            Some(bytes) if sha256_hex(bytes) != digest => {
                said.push(Problem::new("file.changed", name, "the file is not the one that was signed"));
            }
            Some(_) => {}
        }
    }
    for name in files.keys().filter(|n| !known.contains(n.as_str())) {
        said.push(Problem::new("file.unlisted", name.as_str(), "the file was added later"));
    }
}

/// The evidence itself: its spelling, its chain, its sums.
fn evidence(bytes: &[u8], files: &Files, statement: Option<&Value>, verified: &mut Verified) {
    let at = "evidence.json";
    let said = &mut verified.problems;
    let evidence = match Evidence::from_bytes(bytes) {
        Ok(evidence) => evidence,
        Err(e) => return said.push(Problem::new("evidence.unreadable", at, e.message())),
    };
    verified.records = evidence.records.len();
    if evidence.to_bytes().ok().as_deref() != Some(bytes) {
        said.push(Problem::new(
            "evidence.spelling",
            at,
            "the text is not the canonical one: something was added or written differently",
        ));
    }
    let mut prev = digest_of(&evidence.run).unwrap_or_default();
    let known: BTreeSet<&str> = evidence.records.iter().map(|r| r.hash.as_str()).collect();
    for (i, record) in evidence.records.iter().enumerate() {
        let place = format!("{at}#/records/{i}");
        let name = &record.result.id;
        if record.digest().ok().as_ref() != Some(&record.hash) {
            said.push(Problem::new(
                "record.changed",
                place.as_str(),
                format!("the record of {name} was changed"),
            ));
        }
        let seq = usize::try_from(record.seq).unwrap_or(usize::MAX);
        if seq != i {
            // A record that stands elsewhere was moved; one that is nowhere was removed.
            let moved = known.contains(record.prev.as_str()) || record.seq == 0;
            let (cause, what) = if moved && evidence.records.iter().any(|r| usize::try_from(r.seq) == Ok(i)) {
                ("record.reordered", "stands in another place than it was written")
            } else {
                ("record.removed", "does not follow the one before: records are missing")
            };
            said.push(Problem::new(cause, place.as_str(), format!("the record of {name} {what}")));
        } else if record.prev != prev {
            let cause = if i == 0 { "run.changed" } else { "record.chain" };
            said.push(Problem::new(
                cause,
                place.as_str(),
                format!("the record of {name} does not belong behind what stands before it"),
            ));
        }
        prev.clone_from(&record.hash);
        for capture in &record.captures {
            match files.get(&capture.file) {
                None => said.push(Problem::new("file.missing", capture.file.as_str(), "a raw capture is gone")),
                Some(b) if sha256_hex(b) != capture.sha256 => {
                    said.push(Problem::new(
                        "file.changed",
                        capture.file.as_str(),
                        "a raw capture is not the one that was recorded",
                    ));
                }
                Some(_) => {}
            }
        }
    }
    if evidence.head != prev {
        said.push(Problem::new(
            "record.removed",
            at,
            "the last record is not the one that the evidence ends with",
        ));
    }
    let counts = Counts::of(evidence.records.iter().map(|r| r.result.status));
    let population = &evidence.run.population;
    let sums = population.executed + population.skipped + population.blocked == population.selected
        && population.selected + population.excluded.len() == population.known
        && population.selected == evidence.records.len();
    if counts != evidence.counts || counts.verdict() != evidence.verdict || !sums {
        said.push(Problem::new(
            "evidence.sums",
            at,
            "counts, verdict or population do not follow from the records",
        ));
    }
    if let Some(predicate) = statement.map(|s| &s["predicate"]) {
        let same = predicate["run"] == evidence.run.id.as_str()
            && predicate["number"] == evidence.run.number
            && predicate["previous"] == super::value_of(&evidence.run.previous).unwrap_or_default()
            && predicate["head"] == evidence.head.as_str();
        if !same {
            said.push(Problem::new("run.swapped", at, "the statement was signed for another run"));
        }
    }
}
