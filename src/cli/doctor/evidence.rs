//! What of integrity is exercised: a signature, a report, the pack and the evidence that lie here.

use std::path::Path;

use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, Result};
use crate::integrity::evidence::verify::verify_files;
use crate::integrity::evidence::{Bundle, Context, History, Signer};
use crate::integrity::{MaskOf, Pack, RunResult};
use crate::types::Millis;

use super::{Finding, State};

/// A weekly run that is a day late.
const OLD: Millis = Millis(8 * 86_400_000);

pub(super) fn look(findings: &mut Vec<Finding>) {
    findings.push(match sealed() {
        Ok(detail) => Finding::new("evidence", State::On, detail),
        Err(e) => Finding::broken("evidence", &e),
    });
    let packs = ["integrity.toml", "integrity.yaml", "integrity.yml", "integrity.json"];
    let pack = packs.iter().map(Path::new).find(|p| p.is_file());
    findings.push(match pack.map(|p| (p, Pack::load(p))) {
        None => Finding::new("integrity pack", State::Off, "none of integrity.toml, .yaml, .json lies here"),
        Some((path, Ok(pack))) => {
            let detail = format!(
                "{}: {} checks, {} left out",
                path.display(),
                pack.checks.len(),
                pack.excluded.len()
            );
            Finding::new("integrity pack", State::On, detail)
        }
        Some((_, Err(e))) => Finding::broken("integrity pack", &e),
    });
    let folder = Path::new("evidence");
    findings.push(if folder.is_dir() {
        history(&History::at(folder))
    } else {
        Finding::new("integrity runs", State::Off, "no run is kept here (evidence/)")
    });
}

/// Makes evidence of nothing, signs it with a key for the occasion, and verifies it.
fn sealed() -> Result<String> {
    let now = SystemClock::default().now();
    let result = RunResult {
        id: "run-doctor".into(),
        started: now,
        ended: now,
        checks: Vec::new(),
        mask: MaskOf::default(),
    };
    let (bundle, evidence) = Bundle::of(&result, &Context::default())?;
    let signer = Signer::generate()?;
    let bundle = bundle.sign(&signer, &evidence)?;
    let verified = verify_files(bundle.files(), Some(&signer.public()));
    if let Some(problem) = verified.problems.first() {
        return Err(Error::internal(format!(
            "evidence that was just made is not found to be whole: {}",
            problem.message
        )));
    }
    Ok(format!("signed and verified; {}", pdf(&evidence)?))
}

#[cfg(feature = "pdf")]
fn pdf(evidence: &crate::integrity::evidence::Evidence) -> Result<String> {
    let report = crate::integrity::report::Report::of(evidence, None, &serde_json::Value::Null, None)?;
    let pdf = crate::integrity::pdf::render(&report, &crate::integrity::pdf::Look::default())?;
    Ok(format!("a PDF of {} bytes was drawn", pdf.len()))
}

#[cfg(not(feature = "pdf"))]
#[allow(clippy::unnecessary_wraps, reason = "the same shape as with PDF")]
fn pdf(_: &crate::integrity::evidence::Evidence) -> Result<String> {
    Ok("this build draws no PDF".into())
}

/// Whether the chain of runs is whole, and how old the last one is.
fn history(history: &History) -> Finding {
    const NAME: &str = "integrity runs";
    let found = history.verify(None, None, false).and_then(|v| Ok((v, history.last()?)));
    match found {
        Err(e) => Finding::broken(NAME, &e),
        Ok((verified, _)) if !verified.ok() => {
            let first = verified.problems.first().map(|p| p.message.clone()).unwrap_or_default();
            Finding::new(NAME, State::Broken, format!("the chain of runs is not whole: {first}"))
        }
        Ok((_, None)) => Finding::new(NAME, State::Off, "no run is kept here"),
        Ok((_, Some((link, evidence)))) => {
            let age = SystemClock::default().now() - evidence.started();
            let detail = format!(
                "{} in a whole chain, the last {} ({})",
                link.number,
                evidence.run.started,
                evidence.verdict.words()
            );
            let state = if age > OLD { State::Degraded } else { State::On };
            Finding::new(NAME, state, detail)
        }
    }
}
