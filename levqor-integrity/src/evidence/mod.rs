//! Evidence: what a run found, as a bundle of files that cannot be changed without showing it.
//!
//! * `evidence.json` holds everything, as canonical JSON (RFC 8785). Its records form a chain: `hash` of a record is the
//!   SHA-256 of the canonical text of the record without `hash`, and the next record's `prev` is that hash; the first `prev`
//!   is the SHA-256 of the canonical text of `run`.
//! * `integrity_report_<time>.json` and `finalizer_report_<time>.json` are the short forms.
//! * `raw/` holds what was sent and received, without secrets.
//! * `statement.json` is an [in-toto statement](https://in-toto.io/Statement/v1) with the SHA-256 of every other file;
//!   `statement.dsse.json` is it in a [DSSE](https://github.com/secure-systems-lab/dsse) envelope, signed with Ed25519.
//! * A run carries its number and the digest of the `evidence.json` before, so that a missing run shows.
//!
//! [`verify`](verify::verify_files) needs the files and nothing else. The same with openssl:
//!
//! ```text
//! sha256sum evidence.json
//! openssl pkeyutl -verify -pubin -inkey signer.pub.pem -rawin -in statement.pae -sigfile statement.sig
//! openssl pkey -pubin -in signer.pub.pem -outform DER | sha256sum      # the signer's key id
//! ```
//!
//! A [time stamp](stamp) by somebody else may stand beside them.

mod bundle;
mod diff;
mod history;
mod sign;
pub mod stamp;
pub mod verify;

pub use bundle::{Bundle, VERIFY_TEXT};
pub use diff::{Change, Diff, Difference, diff};
pub use history::{History, Link};
pub use sign::{PublicKey, Signer};

use std::collections::BTreeMap;

use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::json;
use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pack::Pack;
use crate::runner::{CheckResult, RunResult};
use crate::sha256_hex;
use crate::status::{Counts, Verdict};

/// What `format` says.
pub const FORMAT: &str = "levqor-evidence/1";

/// Everything that a run leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`FORMAT`].
    pub format: String,
    /// Which run it was.
    pub run: RunInfo,
    /// What it means.
    pub verdict: Verdict,
    /// How many ended how.
    pub counts: Counts,
    /// Every check that was selected, in a chain.
    pub records: Vec<Record>,
    /// The hash of the last record.
    pub head: String,
}

/// Which run it was: who looked at what, when, with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run's id.
    pub id: String,
    /// Its number in its history, from 1.
    pub number: u64,
    /// The run before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Link>,
    /// The system that was checked.
    pub system: String,
    /// Where it stands.
    pub environment: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// Where the time came from.
    pub clock: String,
    /// The pack.
    pub pack: PackInfo,
    /// What was looked at, by name.
    pub targets: BTreeMap<String, String>,
    /// What did the looking.
    pub runner: Runner,
    /// Which checks there were, and what became of them.
    pub population: Population,
}

/// The pack of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// The program and the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The program, `levqor`.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// The machine, if it is to be named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its operating system and processor.
    pub platform: String,
    /// Who or what started the run, if that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub started_by: String,
}

impl Default for Runner {
    fn default() -> Self {
        Runner {
            tool: "levqor".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            host: String::new(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            started_by: String::new(),
        }
    }
}

/// All the checks that there are: `selected + excluded = known`, and `executed + skipped + blocked = selected`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// Checks that the pack and this program know.
    pub known: usize,
    /// Checks that took part.
    pub selected: usize,
    /// Those that were carried out.
    pub executed: usize,
    /// Those that did not apply.
    pub skipped: usize,
    /// Those that could not be judged because of another one's failure.
    pub blocked: usize,
    /// Checks that did not take part, each with the reason.
    pub excluded: BTreeMap<String, String>,
}

/// One check in the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place, from 0.
    pub seq: u32,
    /// The hash of the record before.
    pub prev: String,
    /// What the check found.
    pub result: CheckResult,
    /// The files with what was sent and received.
    pub captures: Vec<FileRef>,
    /// SHA-256 of the canonical text of all this, without `hash`.
    pub hash: String,
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its path in the bundle.
    pub file: String,
    /// Its size.
    pub bytes: usize,
    /// Its SHA-256.
    pub sha256: String,
}

impl FileRef {
    pub(crate) fn of(file: impl Into<String>, bytes: &[u8]) -> Self {
        FileRef {
            file: file.into(),
            bytes: bytes.len(),
            sha256: sha256_hex(bytes),
        }
    }
}

/// What stands in the evidence besides the results.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The system.
    pub system: String,
    /// Where it stands.
    pub environment: String,
    /// The pack.
    pub pack: PackInfo,
    /// What was looked at.
    pub targets: BTreeMap<String, String>,
    /// What was left out, with the reason.
    pub excluded: BTreeMap<String, String>,
    /// What did the looking.
    pub runner: Runner,
    /// Where the time came from; "system clock" if it is empty.
    pub clock: String,
    /// The run before, if there was one.
    pub previous: Option<Link>,
}

impl Context {
    /// What a pack says of its runs.
    pub fn of(pack: &Pack) -> Self {
        Context {
            system: pack.system.clone(),
            environment: pack.environment.clone(),
            pack: PackInfo {
                name: pack.name.clone(),
                sha256: pack.digest.clone(),
            },
            targets: pack.targets(),
            excluded: pack.excluded.iter().cloned().collect(),
            ..Context::default()
        }
    }
}

impl Evidence {
    /// The evidence of a run, and the files with what was sent and received. No secret of the run is in it.
    pub fn of(result: &RunResult, context: &Context) -> Result<(Self, BTreeMap<String, Vec<u8>>)> {
        let counts = result.counts();
        let usize_of = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let selected = result.checks.len();
        let info = RunInfo {
            id: result.id.clone(),
            number: context.previous.as_ref().map_or(1, |p| p.number + 1),
            previous: context.previous.clone(),
            system: context.system.clone(),
            environment: context.environment.clone(),
            started: result.started.rfc3339(),
            ended: result.ended.rfc3339(),
            clock: if context.clock.is_empty() {
                "system clock".into()
            } else {
                context.clock.clone()
            },
            pack: context.pack.clone(),
            targets: context.targets.clone(),
            runner: context.runner.clone(),
            population: Population {
                known: selected + context.excluded.len(),
                selected,
                executed: selected - usize_of(counts.skip) - usize_of(counts.blocked),
                skipped: usize_of(counts.skip),
                blocked: usize_of(counts.blocked),
                excluded: context.excluded.clone(),
            },
        };
        // Whatever came in from the pack or the host goes through the same sieve as what the checks saw.
        let info: RunInfo = clean(&result.mask.0, &info)?;
        let mut files = BTreeMap::new();
        let mut records = Vec::new();
        let mut prev = digest_of(&info)?;
        for (seq, check) in result.checks.iter().enumerate() {
            let mut captures = Vec::new();
            for capture in &check.captures {
                let name = format!("raw/{}-{}.txt", check.id, capture.name);
                let bytes = capture.text.clone().into_bytes();
                captures.push(FileRef::of(name.as_str(), &bytes));
                files.insert(name, bytes);
            }
            let mut record = Record {
                seq: u32::try_from(seq).unwrap_or(u32::MAX),
                prev: prev.clone(),
                result: clean(&result.mask.0, check)?,
                captures,
                hash: String::new(),
            };
            record.hash = record.digest()?;
            prev.clone_from(&record.hash);
            records.push(record);
        }
        let evidence = Evidence {
            format: FORMAT.into(),
            run: info,
            verdict: result.verdict(),
            counts,
            head: prev,
            records,
        };
        Ok((evidence, files))
    }

    /// The canonical text, as it stands in `evidence.json`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(json::canonical(&value_of(self)?).into_bytes())
    }

    /// Reads `evidence.json`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        const LARGEST: usize = 256 << 20;
        let value = json::parse(bytes, "evidence.json", LARGEST)?;
        let bad = |why: String| {
            Error::new(
                ErrorKind::Corrupt,
                "evidence.unreadable",
                format!("evidence.json cannot be read: {why}"),
            )
        };
        let evidence: Evidence = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
        if evidence.format == FORMAT {
            Ok(evidence)
        } else {
            Err(bad(format!(
                "its format is `{}`, and this program knows `{FORMAT}`",
                evidence.format
            )))
        }
    }

    /// SHA-256 of `evidence.json`.
    pub fn digest(&self) -> Result<String> {
        Ok(sha256_hex(&self.to_bytes()?))
    }

    /// The result of a check.
    pub fn result(&self, id: &str) -> Option<&CheckResult> {
        self.records.iter().map(|r| &r.result).find(|r| r.id == id)
    }

    /// When the run began.
    pub fn started(&self) -> Millis {
        Millis::parse_rfc3339(&self.run.started).unwrap_or(Millis::ZERO)
    }
}

impl Record {
    /// What `hash` has to be.
    pub fn digest(&self) -> Result<String> {
        let mut value = value_of(self)?;
        if let Some(map) = value.as_object_mut() {
            map.remove("hash");
        }
        Ok(sha256_hex(json::canonical(&value).as_bytes()))
    }
}

/// SHA-256 of the canonical text of something.
pub(crate) fn digest_of(thing: &impl Serialize) -> Result<String> {
    Ok(sha256_hex(json::canonical(&value_of(thing)?).as_bytes()))
}

pub(crate) fn value_of(thing: &impl Serialize) -> Result<Value> {
    serde_json::to_value(thing).map_err(|e| Error::internal(format!("evidence cannot be written as JSON: {e}")))
}

/// The texts of a thing without secrets. Its shape stays.
fn clean<T: Serialize + serde::de::DeserializeOwned>(mask: &crate::environment::Mask, thing: &T) -> Result<T> {
    let mut value = value_of(thing)?;
    mask.value(&mut value);
    serde_json::from_value(value).map_err(|e| Error::internal(format!("a secret stands where a word of the format has to: {e}")))
}
