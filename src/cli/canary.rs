//! `levqor canary`: probes a new version, judges it by statistics, and calls a hook when it has to go.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::integrity::canary::{Judgement, Limits, Sample, Verdict, judge};
use crate::transport::{HttpOptions, HttpTransport, Reach, Request, Transport};
use crate::types::{Millis, parse_duration};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::out::{Exit, Out, clean, json_of, list};

/// Probe a new version, and say whether it may stay
///
/// Asks an address again and again and judges the share of failures by its 95 % confidence interval. Ends with 0 if the
/// version may stay, with 1 if it has to go (then the hook is called, if there is one), with 3 if it is not known.
/// The hook sees LEVQOR_CANARY_REASON, LEVQOR_CANARY_PROBES and LEVQOR_CANARY_FAILED. Example:
///
///   levqor canary https://canary.example.com/health --for 5m --every 2s --json-at /status=ok --rollback ./rollback.sh
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CanaryArgs {
    /// The address that is asked
    url: String,
    /// The time between two probes
    #[arg(long, default_value = "1s", value_name = "SPAN")]
    every: String,
    /// How long the trial takes
    #[arg(long = "for", default_value = "2m", value_name = "SPAN")]
    span: String,
    /// How long one probe may take
    #[arg(long, default_value = "5s", value_name = "SPAN")]
    timeout: String,
    /// The share of probes that may fail, in per cent
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    failures: f64,
    /// The 95th percentile that is allowed
    #[arg(long, value_name = "SPAN")]
    p95: Option<String>,
    /// So many failures one after the other end the trial at once; 0 for never
    #[arg(long, default_value_t = 3, value_name = "N")]
    in_a_row: u32,
    /// Fewer probes than this prove nothing
    #[arg(long, default_value_t = 20, value_name = "N")]
    least: u32,
    /// The status of a good answer
    #[arg(long, default_value_t = 200, value_name = "STATUS")]
    status: u16,
    /// What a good answer has in it: a place in its JSON and the text there, /status=ok (may be repeated)
    #[arg(long, value_name = "POINTER=TEXT")]
    json_at: Vec<String>,
    /// The program that is called when the version has to go; a shell runs it
    #[arg(long, value_name = "COMMAND")]
    rollback: Option<String>,
}

struct Plan {
    every: Millis,
    span: Millis,
    timeout: Millis,
    json_at: Vec<(String, String)>,
    limits: Limits,
}

fn span(text: &str, option: &str) -> Result<Millis> {
    let bad = || Error::invalid("cli.usage", format!("`{text}` is no span like 30s or 5m")).at(option);
    let found = parse_duration(text).map_err(|_| bad())?;
    if found > Millis(0) { Ok(found) } else { Err(bad()) }
}

impl Plan {
    fn of(args: &CanaryArgs) -> Result<Self> {
        if !(0.0..100.0).contains(&args.failures) {
            return Err(Error::invalid("cli.usage", "a share is from 0 to 100").at("--failures"));
        }
        let read = |text: &String| {
            let pair = text.split_once('=').filter(|(at, _)| at.starts_with('/'));
            pair.map(|(at, want)| (at.to_owned(), want.to_owned()))
                .ok_or_else(|| Error::invalid("cli.usage", format!("`{text}` is not like /status=ok")).at("--json-at"))
        };
        Ok(Plan {
            every: span(&args.every, "--every")?,
            span: span(&args.span, "--for")?,
            timeout: span(&args.timeout, "--timeout")?,
            json_at: args.json_at.iter().map(read).collect::<Result<_>>()?,
            limits: Limits {
                failures: args.failures / 100.0,
                p95_ms: args.p95.as_deref().map(|t| span(t, "--p95")).transpose()?.map(|s| s.0),
                in_a_row: args.in_a_row,
                least: args.least,
            },
        })
    }
}

pub(crate) async fn canary(out: &Out, args: CanaryArgs) -> Result<Exit> {
    let plan = Plan::of(&args)?;
    let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(HttpOptions::default())?);
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut timer = tokio::time::interval(plan.every.to_duration());
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let judgement = loop {
        timer.tick().await;
        let over = begun.elapsed() >= plan.span.to_duration();
        if over {
            break judge(&samples, &plan.limits, true);
        }
        let sample = probe(transport.as_ref(), &args, &plan).await;
        if !out.json && !sample.ok {
            let cause = clean(sample.cause.as_deref().unwrap_or_default());
            // Nobody reading is no fault.
            let _ = writeln!(anstream::stderr().lock(), "probe {}: {cause}", samples.len() + 1);
        }
        samples.push(sample);
        let judged = judge(&samples, &plan.limits, false);
        if judged.verdict == Verdict::Rollback {
            break judged;
        }
    };
    let hook = match (&args.rollback, judgement.verdict) {
        (Some(command), Verdict::Rollback) => Some(call(command, &judgement).await),
        _ => None,
    };
    answer(out, &judgement, hook.as_ref())?;
    if let Some(Err(e)) = hook {
        return Err(e);
    }
    Ok(match judgement.verdict {
        Verdict::Promote => Exit::Ok,
        Verdict::Rollback => Exit::Failed,
        Verdict::Inconclusive => Exit::Indeterminate,
    })
}

async fn probe(transport: &dyn Transport, args: &CanaryArgs, plan: &Plan) -> Sample {
    let mut request = Request::new("GET", args.url.as_str());
    request.reach = Reach::Any;
    request.timeout = plan.timeout;
    request.redirects = 0;
    request.headers.push(("accept".into(), "*/*".into()));
    let begun = Instant::now();
    let answer = transport.send(request).await;
    let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let cause = match answer {
        Err(e) => Some(e.code().to_owned()),
        Ok(answer) if answer.status != args.status => Some(format!("http.status.{}", answer.status)),
        Ok(answer) => wrong(&answer.body, &plan.json_at),
    };
    Sample {
        ok: cause.is_none(),
        millis,
        cause,
    }
}

/// The first place in the JSON that is not as it has to be.
fn wrong(body: &[u8], wanted: &[(String, String)]) -> Option<String> {
    if wanted.is_empty() {
        return None;
    }
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Some("http.not_json".into());
    };
    let differs = |(at, want): &&(String, String)| match document.pointer(at) {
        Some(Value::String(text)) => text != want,
        Some(other) => serde_json::from_str::<Value>(want).ok().as_ref() != Some(other),
        None => true,
    };
    wanted.iter().find(differs).map(|(at, _)| format!("http.json{at}"))
}

/// Calls the hook and waits for it.
async fn call(command: &str, judgement: &Judgement) -> Result<()> {
    let failed = |why: String| {
        Error::new(
            ErrorKind::Internal,
            "canary.hook_failed",
            format!("the version has to go, and the hook failed: {why}"),
        )
        .at("--rollback")
        .hint("roll it back by hand")
    };
    let status = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("LEVQOR_CANARY_REASON", &judgement.reason)
        .env("LEVQOR_CANARY_PROBES", judgement.probes.to_string())
        .env("LEVQOR_CANARY_FAILED", judgement.failed.to_string())
        .stdin(Stdio::null())
        // Its words are for people; standard output holds our answer alone.
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .await
        .map_err(|e| failed(e.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string()))
    }
}

fn answer(out: &Out, judgement: &Judgement, hook: Option<&Result<()>>) -> Result<()> {
    let mut document = json_of(judgement)?;
    document["rollback_hook"] = match hook {
        None => json!("not called"),
        Some(Ok(())) => json!("called"),
        Some(Err(_)) => json!("failed"),
    };
    out.answer(&document, || {
        let ms = |v: Option<i64>| v.map_or_else(|| "-".into(), |v| format!("{v} ms"));
        let causes: Vec<String> = judgement.causes.iter().map(|(c, n)| format!("{} ({n})", clean(c))).collect();
        let word = serde_json::to_value(judgement.verdict).ok();
        let word = word.as_ref().and_then(Value::as_str).unwrap_or_default();
        let rows = [
            ("probes", format!("{}, {} failed", judgement.probes, judgement.failed)),
            (
                "failing",
                format!(
                    "{:.2} % to {:.2} % (95 % confidence)",
                    judgement.interval.0 * 100.0,
                    judgement.interval.1 * 100.0
                ),
            ),
            ("median", ms(judgement.p50_ms)),
            ("95 %", ms(judgement.p95_ms)),
            ("99 %", ms(judgement.p99_ms)),
            ("longest", ms(judgement.max_ms)),
            ("causes", if causes.is_empty() { "-".into() } else { causes.join(", ") }),
        ];
        format!("{}\n{word}: {}", list(&rows), judgement.reason)
    })
}
