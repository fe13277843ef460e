//! `levqor integrity insights`.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::integrity::evidence::History;
use crate::integrity::insights::{Figures, Insights, LEAST_K, Probes, Quarter, Reading};
use clap::Args;
use serde::Deserialize;

use crate::cli::files;
use crate::cli::out::{Exit, Out, json_of, table};

#[derive(Args)]
pub(crate) struct InsightsArgs {
    /// The readings, JSON; - for standard input
    readings: String,
    /// Which quarter, 2026-Q3
    #[arg(long, value_name = "QUARTER")]
    quarter: String,
    /// The currency of the amounts
    #[arg(long, default_value = "EUR", value_name = "CODE")]
    currency: String,
    /// The least number of customers in a sum
    #[arg(long, default_value_t = LEAST_K, value_name = "N")]
    k: u32,
    /// The folder with the integrity runs that are counted
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,
    /// Also write a report; needs a build with PDF
    #[arg(long, value_name = "FILE")]
    pdf: Option<PathBuf>,
    /// The company on the report
    #[arg(long, default_value = "", value_name = "NAME")]
    company: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    readings: Vec<Reading>,
    #[serde(default)]
    probes: Vec<Probes>,
}

pub(crate) fn insights(out: &Out, args: &InsightsArgs) -> Result<Exit> {
    let quarter = Quarter::parse(&args.quarter).map_err(|e| e.at("--quarter"))?;
    let text = files::read(&args.readings, "the readings")?;
    let document: Document = serde_json::from_slice(&text).map_err(|e| {
        Error::invalid("insights.bad_readings", format!("the readings cannot be read: {e}")).at(args.readings.as_str())
    })?;
    let runs = match &args.evidence {
        Some(folder) => History::at(folder).recent(usize::MAX)?,
        None => Vec::new(),
    };
    let found = Insights::with_runs(&document.readings, &document.probes, &runs, quarter, &args.currency, args.k)?;
    if let Some(path) = &args.pdf {
        let bytes = draw(&found, args)?;
        std::fs::write(path, bytes)
            .map_err(|e| Error::unavailable("insights.not_written", format!("the report cannot be written: {e}")).at("--pdf"))?;
    }
    out.answer(&json_of(&found)?, || {
        let cents = |v: Option<i64>| {
            v.map_or_else(
                || "-".into(),
                |v| format!("{}{}.{:02}", if v < 0 { "-" } else { "" }, v.abs() / 100, v.abs() % 100),
            )
        };
        let row = |f: &Figures| {
            vec![
                f.name.clone(),
                f.customers.map_or_else(|| "-".into(), |n| format!("{n}+")),
                cents(f.revenue),
                cents(f.mrr),
                f.api_calls.map_or_else(|| "-".into(), |n| n.to_string()),
                cents(f.margin_bp),
                cents(f.uptime_bp.and_then(|v| i64::try_from(v).ok())),
                format!("{}/{}", f.ready, f.runs),
                f.hidden.clone().unwrap_or_default(),
            ]
        };
        let heads = [
            "",
            "customers",
            "revenue",
            "MRR",
            "API calls",
            "margin %",
            "uptime %",
            "runs ready",
            "not shown, because",
        ];
        table(
            &heads,
            &[1, 2, 3, 4, 5, 6, 7],
            found.months.iter().chain([&found.total]).map(row),
        )
    })?;
    Ok(Exit::Ok)
}

#[cfg(feature = "pdf")]
fn draw(found: &Insights, args: &InsightsArgs) -> Result<Vec<u8>> {
    use crate::clock::{Clock as _, SystemClock};
    let look = crate::integrity::pdf::Look::of(&serde_json::json!({"company": args.company}), std::path::Path::new("."))?;
    crate::integrity::pdf::render_insights(found, &look, &SystemClock::default().now().rfc3339())
}

#[cfg(not(feature = "pdf"))]
fn draw(_: &Insights, _: &InsightsArgs) -> Result<Vec<u8>> {
    Err(Error::new(
        crate::error::ErrorKind::Unsupported,
        "pdf.not_built",
        "this build writes no PDF",
    )
    .hint("build with the feature `pdf`"))
}
