//! Reports as PDF: the evidence of a run for people who sign, and other reports of the same kind.
//!
//! Equal reports give equal bytes. Fonts are embedded, cut down to what is used; nothing is fetched. The documents are
//! written to be PDF/A-1b.
//!
//! ```
//! use levqor_integrity::pdf::{Look, Paper};
//! let look = Look::of(&serde_json::json!({"company": "Acme Ltd", "paper": "Letter"}), std::path::Path::new(".")).unwrap();
//! assert_eq!(look.paper, Paper::Letter);
//! ```

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on a page are small, and a hundredth of a point is nothing"
)]

mod canvas;
mod chart;
mod cover;
mod details;
mod flow;
mod font;
mod frame;
mod icc;
mod insights;
mod logo;
mod look;
mod overview;
mod sections;
mod write;

pub use insights::render as render_insights;
pub use look::{Look, Paper, Person, Response};

use levqor_core::error::Result;

use crate::evidence::{Bundle, Evidence};
use crate::report::{Past, Report};
use flow::Flow;
use font::Fonts;

/// Draws the report of a run.
pub fn render(report: &Report, look: &Look) -> Result<Vec<u8>> {
    let fonts = Fonts::new(&look.fonts)?;
    frame::finish(lay_out(report, look, &fonts), &frame::Frame::of(report, look))
}

impl crate::pack::Pack {
    /// How the pack's reports look.
    pub fn look(&self) -> Result<Look> {
        Look::of(&self.report, &self.folder)
    }
}

/// Adds the PDF of a run to its bundle, which is not signed yet. `past` are runs before it, in order.
pub(crate) fn attach(
    bundle: Bundle,
    evidence: &Evidence,
    past: &[Evidence],
    pack: &crate::pack::Pack,
    mask: &crate::environment::Mask,
    keeper: &crate::keep::Keeper,
) -> Result<Bundle> {
    let number = evidence.run.number;
    let before = past.iter().rev().find(|e| e.run.number + 1 == number);
    let signer = keeper.signer.public().id();
    let mut report = Report::of(evidence, before, &serde_json::Value::Null, Some(&signer))?
        .with_files(bundle.files())
        .with_history(past.iter().map(Past::of).collect::<Result<_>>()?);
    if let Some(note) = keeper.stamp_note() {
        report.timestamp = note;
    }
    let look = pack.look()?.masked(|text| mask.text(text));
    let pdf = render(&report, &look)?;
    Ok(bundle.attach(Bundle::pdf_name(evidence), pdf))
}

fn lay_out<'a>(report: &Report, look: &Look, fonts: &'a Fonts) -> Flow<'a> {
    let mut flow = Flow::new(fonts, look.paper.size(), look.accent.readable_on(canvas::Rgb::WHITE));
    cover::cover(&mut flow, report, look);
    overview::control(&mut flow, report);
    overview::summary(&mut flow, report);
    overview::scope(&mut flow, report);
    overview::method(&mut flow, report);
    overview::matrix(&mut flow, report);
    details::results(&mut flow, report);
    details::cards(&mut flow, report);
    sections::exceptions(&mut flow, report, look);
    sections::difference(&mut flow, report);
    sections::period(&mut flow, report);
    sections::sign_off(&mut flow, report, look);
    sections::appendix(&mut flow, report);
    flow
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::canvas::Item;
    use super::*;
    use crate::evidence::Context;
    use crate::runner::{CheckResult, RunResult};
    use crate::{About, Finding, Outcome};
    use levqor_core::types::Millis;

    /// A check whose every text is as long and as odd as it can be.
    fn odd(i: usize) -> CheckResult {
        let word = "a-very.long/word_without:spaces".repeat(8);
        let text = format!("{word} {} 日本語 {}", "many short words ".repeat(30), "X".repeat(300));
        let outcome = Outcome::from(
            Finding::fail(&word, &*text)
                .expected(&*text)
                .actual(&*text)
                .at(&*text)
                .hint(&*text),
        );
        CheckResult {
            id: format!("{}.{i}", "x".repeat(97)),
            about: About {
                title: text.clone(),
                objective: text.clone(),
                severity: "critical".into(),
                controls: vec![word; 9],
                ..About::default()
            },
            status: outcome.status(),
            summary: text,
            findings: outcome.findings,
            facts: serde_json::Map::new(),
            blocked_by: Some("y".repeat(100)),
            waiver: None,
            attempts: Vec::new(),
            started: Millis(0),
            ended: Millis(i64::from(i32::MAX)),
            captures: Vec::new(),
        }
    }

    #[test]
    fn nothing_stands_outside_the_margins_of_its_page() {
        let result = RunResult {
            id: "run-".to_owned() + &"9".repeat(90),
            started: Millis(0),
            ended: Millis(1),
            checks: (0..12).map(odd).collect(),
            mask: crate::MaskOf::default(),
        };
        let context = Context {
            system: "S".repeat(400),
            environment: "prod uction".repeat(60),
            ..Context::default()
        };
        let (bundle, evidence) = Bundle::of(&result, &context).unwrap();
        let report = Report::of(&evidence, None, &serde_json::Value::Null, None)
            .unwrap()
            .with_files(bundle.files());
        for paper in [Paper::A4, Paper::Letter] {
            let look = Look {
                paper,
                company: "C".repeat(300),
                title: "T".repeat(300),
                footer: "F ".repeat(300),
                ..Look::default()
            };
            let fonts = Fonts::new(&[]).unwrap();
            let flow = lay_out(&report, &look, &fonts);
            let (width, height) = paper.size();
            for (n, page) in flow.pages.iter().enumerate() {
                for item in &page.items {
                    let Item::Text { at, runs, size, .. } = item else { continue };
                    let right = at.0 + fonts.width_of(runs, *size);
                    let inside = at.0 >= flow::SIDE - 0.1 && right <= width - flow::SIDE + 0.6;
                    assert!(
                        inside && at.1 <= height - 46.0 && at.1 > 30.0,
                        "page {n}: {at:?} {right} {runs:?}"
                    );
                }
            }
        }
    }
}
