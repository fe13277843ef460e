//! The runs of a system, one after the other: a folder with a bundle for each, and a line for each in `history.jsonl`.
//!
//! A run names the digest of the evidence before it, so a run that was removed or replaced shows. That the *last* runs were
//! removed, with their lines, cannot show from what is left: keep the last digest elsewhere and give it to
//! [`History::verify`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use levqor_core::error::{Error, Result};
use levqor_core::json;
use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::verify::{Problem, Trust, Verified, verify_folder};
use super::{Evidence, value_of};
use crate::sha256_hex;

/// A run in the chain of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub run: String,
    /// SHA-256 of its `evidence.json`.
    pub sha256: String,
}

/// A line of `history.jsonl`.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    link: Link,
    /// SHA-256 of the line before; empty for the first.
    prev: String,
}

/// A folder of runs.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
}

const LINES: &str = "history.jsonl";

impl History {
    /// The runs of a folder, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        History { folder: folder.into() }
    }

    /// Where a run's bundle lies.
    pub fn place(&self, number: u64) -> PathBuf {
        self.folder.join(format!("run-{number:06}"))
    }

    /// The numbers of the runs that are there.
    fn numbers(&self) -> Result<Vec<u64>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unreadable(&self.folder, &e)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| unreadable(&self.folder, &e))?.file_name();
            let number: Option<u64> = name
                .to_str()
                .and_then(|n| n.strip_prefix("run-"))
                .and_then(|n| n.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The last run, and its evidence.
    pub fn last(&self) -> Result<Option<(Link, Evidence)>> {
        let Some(number) = self.numbers()?.pop() else {
            return Ok(None);
        };
        let path = self.place(number).join("evidence.json");
        let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, &e))?;
        let evidence = Evidence::from_bytes(&bytes).map_err(|e| e.at(path.display().to_string()))?;
        let link = Link {
            number,
            run: evidence.run.id.clone(),
            sha256: sha256_hex(&bytes),
        };
        Ok(Some((link, evidence)))
    }

    /// The evidence of the last runs, at most so many, in order. One that cannot be read is left out: [`History::verify`] is
    /// what finds fault with it.
    pub fn recent(&self, most: usize) -> Result<Vec<Evidence>> {
        let numbers = self.numbers()?;
        let from = numbers.len().saturating_sub(most);
        let read = |number: &u64| {
            let bytes = std::fs::read(self.place(*number).join("evidence.json")).ok()?;
            Evidence::from_bytes(&bytes).ok()
        };
        Ok(numbers[from..].iter().filter_map(read).collect())
    }

    /// Adds a run. `evidence.exists` means that another run took the number meanwhile: make the bundle anew behind it.
    pub fn add(&self, bundle: &Bundle) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.folder).map_err(|e| not_written(&self.folder, &e))?;
        let place = self.place(bundle.number());
        bundle.write(&place)?;
        let path = self.folder.join(LINES);
        let before = self.lines()?.pop();
        let line = Line {
            link: Link {
                number: bundle.number(),
                run: bundle.run().to_owned(),
                sha256: bundle.evidence_sha256().to_owned(),
            },
            prev: before.map(|l| sha256_hex(l.as_bytes())).unwrap_or_default(),
        };
        let text = format!("{}\n", json::canonical(&value_of(&line)?));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_data()))
            .map_err(|e| not_written(&path, &e))?;
        Ok(place)
    }

    fn lines(&self) -> Result<Vec<String>> {
        let path = self.folder.join(LINES);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(unreadable(&path, &e)),
        }
    }

    /// Verifies the chain of all runs, and with `deep` every bundle. `head` is the digest of the last run, if it was kept
    /// elsewhere.
    pub fn verify(&self, trusted: impl Into<Trust>, head: Option<&str>, deep: bool) -> Result<Verified> {
        let trust = trusted.into();
        let numbers = self.numbers()?;
        let mut verified = Verified {
            problems: Vec::new(),
            signer: None,
            trusted: trust.signer.map(|_| true),
            files: 0,
            records: 0,
            evidence_sha256: None,
            stamp: None,
            receipts: Vec::new(),
        };
        let name = |n: u64| format!("run-{n:06}");
        let mut digests: BTreeMap<u64, String> = BTreeMap::new();
        let mut before: Option<Link> = None;
        for number in numbers.iter().copied() {
            let place = self.place(number);
            if deep {
                let one = verify_folder(&place, &trust)?;
                verified.files += one.files;
                verified.records += one.records;
                verified.signer = one.signer;
                verified.stamp = one.stamp;
                if one.trusted == Some(false) {
                    verified.trusted = Some(false);
                }
                let located = one.problems.into_iter().map(|p| Problem {
                    at: format!("{}/{}", name(number), p.at),
                    ..p
                });
                verified.problems.extend(located);
            }
            let bytes = match std::fs::read(place.join("evidence.json")) {
                Ok(bytes) => bytes,
                Err(e) => {
                    verified.problems.push(Problem::new(
                        "run.missing",
                        name(number),
                        format!("its evidence cannot be read: {e}"),
                    ));
                    before = None;
                    continue;
                }
            };
            let sha256 = sha256_hex(&bytes);
            let link = serde_json::from_slice::<Named>(&bytes).ok();
            let expected = before.as_ref().map_or(1, |b| b.number + 1);
            if number > expected {
                for gone in expected..number {
                    verified
                        .problems
                        .push(Problem::new("run.missing", name(gone), "the run is gone"));
                }
            }
            match link {
                None => verified.problems.push(Problem::new(
                    "evidence.unreadable",
                    name(number),
                    "its evidence cannot be read",
                )),
                Some(named) => {
                    let follows = match (&named.run.previous, &before) {
                        (Some(p), Some(b)) if number == b.number + 1 => p.sha256 == b.sha256 && p.number == b.number,
                        (None, None) => number == 1,
                        // What stood before is gone: said above.
                        (Some(_), _) => number > expected,
                        (None, Some(_)) => false,
                    };
                    if named.run.number != number || !follows {
                        let message = "it does not follow the run before: one of the two was replaced";
                        verified.problems.push(Problem::new("run.chain", name(number), message));
                    }
                    before = Some(Link {
                        number,
                        run: named.run.id,
                        sha256: sha256.clone(),
                    });
                }
            }
            digests.insert(number, sha256);
        }
        self.against_lines(&digests, &mut verified.problems)?;
        verified.evidence_sha256 = before.map(|b| b.sha256);
        if let Some(head) = head.filter(|h| verified.evidence_sha256.as_deref() != Some(*h)) {
            let message = format!("the last run is not the one with the digest {head}");
            verified.problems.push(Problem::new("run.head", "", message));
        }
        if numbers.is_empty() {
            verified.problems.push(Problem::new(
                "run.missing",
                self.folder.display().to_string(),
                "there is no run",
            ));
        }
        Ok(verified)
    }

    /// Every line has its run, every run its line, and the lines follow each other.
    fn against_lines(&self, digests: &BTreeMap<u64, String>, said: &mut Vec<Problem>) -> Result<()> {
        let mut prev = String::new();
        let mut listed = BTreeSet::new();
        for (i, text) in self.lines()?.into_iter().enumerate() {
            let at = format!("{LINES}, line {}", i + 1);
            let line = serde_json::from_str::<Line>(&text).ok();
            let Some(line) = line.filter(|l| value_of(l).map(|v| json::canonical(&v)).ok().as_ref() == Some(&text)) else {
                said.push(Problem::new("history.changed", at, "the line is not as it was written"));
                prev = sha256_hex(text.as_bytes());
                continue;
            };
            if line.prev != prev {
                said.push(Problem::new(
                    "history.changed",
                    at.as_str(),
                    "the line does not follow the one before",
                ));
            }
            let number = line.link.number;
            match digests.get(&number) {
                None => {
                    let at = format!("run-{number:06}");
                    if !said.iter().any(|p| p.cause == "run.missing" && p.at == at) {
                        said.push(Problem::new("run.missing", at, "the run is gone"));
                    }
                }
                Some(digest) if *digest != line.link.sha256 => {
                    said.push(Problem::new(
                        "run.replaced",
                        format!("run-{number:06}"),
                        "its evidence is not the one that was added",
                    ));
                }
                Some(_) => {}
            }
            listed.insert(number);
            prev = sha256_hex(text.as_bytes());
        }
        for number in digests.keys().filter(|n| !listed.contains(n)) {
            said.push(Problem::new(
                "history.missing_line",
                format!("run-{number:06}"),
                format!("{LINES} has no line of it"),
            ));
        }
        Ok(())
    }
}

/// As much of evidence as the chain of runs needs.
#[derive(Deserialize)]
struct Named {
    run: NamedRun,
}

#[derive(Deserialize)]
struct NamedRun {
    id: String,
    number: u64,
    #[serde(default)]
    previous: Option<Link>,
}

fn unreadable(path: &Path, e: &std::io::Error) -> Error {
    Error::unavailable("evidence.unreadable", format!("the evidence cannot be read: {e}")).at(path.display().to_string())
}

fn not_written(path: &Path, e: &std::io::Error) -> Error {
    Error::unavailable("evidence.not_written", format!("the evidence cannot be written: {e}")).at(path.display().to_string())
}
