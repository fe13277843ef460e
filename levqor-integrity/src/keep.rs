//! From a run that has ended to evidence that is kept: reports, formats and the PDF into one bundle, signed, behind the runs
//! before it.

use std::path::PathBuf;

use levqor_core::error::{Error, ErrorKind, Result};

use crate::evidence::stamp::Stamper;
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
    /// Who says when the evidence was there, if somebody shall.
    pub stamper: Option<Stamper>,
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
    /// Why there is no time stamp, though there was to be one.
    pub no_stamp: Option<Error>,
}

impl Keeper {
    /// A keeper of runs in this folder.
    pub fn new(folder: impl Into<PathBuf>, signer: Signer) -> Self {
        Keeper {
            history: History::at(folder),
            signer,
            formats: Vec::new(),
            runner: Runner::default(),
            stamper: None,
        }
    }

    /// What a report says of a time stamp by somebody else, if there will be one.
    #[cfg_attr(not(feature = "pdf"), allow(dead_code))]
    pub(crate) fn stamp_note(&self) -> Option<String> {
        let stamper = self.stamper.as_ref()?;
        Some(format!(
            "asked of {} (RFC 3161); the token over the signed statement is statement.tsr beside this document",
            stamper.url()
        ))
    }

    /// Makes the bundle of a run and adds it to the history. If another run takes the place meanwhile, this one stands
    /// behind it. Where no time stamp can be had, the evidence is kept without, and [`Kept::no_stamp`] says why.
    pub async fn keep(&self, result: &RunResult, pack: &Pack) -> Result<Kept> {
        loop {
            let past = self.history.recent(PAST)?;
            let previous = self.history.last()?.map(|(link, _)| link);
            let context = Context {
                previous,
                runner: self.runner.clone(),
                ..Context::of(pack)
            };
            let (mut bundle, evidence) = self.bundle(result, pack, &context, &past)?;
            let mut no_stamp = None;
            if let Some(stamper) = &self.stamper {
                match bundle.clone().stamp(stamper).await {
                    Ok(stamped) => bundle = stamped,
                    Err(e) => no_stamp = Some(e),
                }
            }
            match self.history.add(&bundle) {
                Ok(folder) => {
                    return Ok(Kept {
                        folder,
                        evidence,
                        bundle,
                        signer: self.signer.public().id(),
                        no_stamp,
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
