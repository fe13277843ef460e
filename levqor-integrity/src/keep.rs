//! From a run that has ended to evidence that is kept: reports, formats and the PDF into one bundle, signed, behind the runs
//! before it.

use std::path::PathBuf;

use levqor_core::error::{ErrorKind, Result};

use crate::evidence::{Bundle, Context, Evidence, History, Runner, Signer};
use crate::formats;
use crate::pack::Pack;
use crate::runner::RunResult;

/// What makes evidence of runs.
#[derive(Debug)]
pub struct Keeper {
    /// Where the runs are kept.
    pub history: History,
    /// Who signs them.
    pub signer: Signer,
    /// Which further [formats] are written beside the reports.
    pub formats: Vec<String>,
    /// Which program and machine ran the checks.
    pub runner: Runner,
}

/// Evidence that was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where its files lie.
    pub folder: PathBuf,
    /// What it says.
    pub evidence: Evidence,
    /// Its files.
    pub bundle: Bundle,
    /// The id of the key that signed it.
    pub signer: String,
}

impl Keeper {
    /// A keeper of runs in this folder.
    pub fn new(folder: impl Into<PathBuf>, signer: Signer) -> Self {
        Keeper {
            history: History::at(folder),
            signer,
            formats: Vec::new(),
            runner: Runner::default(),
        }
    }

    /// What a report says of a time stamp by somebody else, if there will be one.
    #[allow(clippy::unused_self, reason = "filled in by the time stamp's room")]
    pub(crate) fn stamp_note(&self) -> Option<String> {
        None
    }

    /// Makes the bundle of a run and adds it to the history. If another run takes the place meanwhile, this one stands
    /// behind it.
    pub fn keep(&self, result: &RunResult, pack: &Pack) -> Result<Kept> {
        loop {
            let past = self.history.recent(PAST)?;
            let previous = self.history.last()?.map(|(link, _)| link);
            let context = Context {
                previous,
                runner: self.runner.clone(),
                ..Context::of(pack)
            };
            let (bundle, evidence) = self.bundle(result, pack, &context, &past)?;
            match self.history.add(&bundle) {
                Ok(folder) => {
                    return Ok(Kept {
                        folder,
                        evidence,
                        bundle,
                        signer: self.signer.public().id(),
                    });
                }
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    let last = self.history.last()?.map(|(link, _)| link.number);
                    if last.is_none_or(|n| n < bundle.number()) {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// The signed bundle of a run, kept nowhere.
    pub fn bundle(&self, result: &RunResult, pack: &Pack, context: &Context, past: &[Evidence]) -> Result<(Bundle, Evidence)> {
        let (mut bundle, evidence) = Bundle::of(result, context)?;
        for format in &self.formats {
            let (name, text) = formats::write(format, &evidence)?;
            bundle = bundle.attach(name, text.into_bytes());
        }
        #[cfg(feature = "pdf")]
        let bundle = crate::pdf::attach(bundle, &evidence, past, pack, &result.mask.0, self)?;
        #[cfg(not(feature = "pdf"))]
        let _ = (pack, past);
        Ok((bundle.sign(&self.signer, &evidence)?, evidence))
    }
}

/// So many earlier runs are shown beside this one.
const PAST: usize = 11;
