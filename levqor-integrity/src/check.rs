//! What a check is, and what it is given.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::clock::Clock;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::transport::{Reach, Request, Response, Transport};
use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use crate::db::Database;
use crate::environment::{Environment, Mask};
use crate::outcome::Outcome;
use crate::sha256_hex;
use crate::tls::Roots;

/// One thing that is looked at. Written by us, or by the host in its own language.
///
/// ```
/// use levqor_integrity::{Check, CheckCx, Finding, Outcome};
///
/// struct Invoices;
///
/// #[async_trait::async_trait]
/// impl Check for Invoices {
///     fn id(&self) -> &str {
///         "invoices.numbered"
///     }
///     async fn run(&self, cx: &CheckCx) -> Outcome {
///         match cx.env().get("LAST_INVOICE") {
///             Some(n) => Outcome::new(format!("the last invoice is {n}")),
///             None => Finding::fail("invoices.none", "there is no invoice").hint("issue one").into(),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Its stable name, `http.health.main`: words of lower-case letters, digits and `_`, with dots between.
    fn id(&self) -> &str;

    /// Looks. A fault of the check itself is an [error finding](crate::Finding::error), never a pass; a panic counts as
    /// one.
    async fn run(&self, cx: &CheckCx) -> Outcome;

    /// What is said about it in reports.
    fn about(&self) -> About {
        About::default()
    }

    /// The ids of checks that must not have failed for this one to mean anything.
    fn requires(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it may start before those have ended. Right for checks that change nothing: they are dropped when one
    /// of those fails, and nobody waits for two round trips otherwise.
    fn eager(&self) -> bool {
        false
    }
}

/// What is said about a check in reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// A name for people.
    pub title: String,
    /// `integrity`, `finalizer`, `audit` or `custom`.
    pub group: String,
    /// What kind of thing it looks at: `http`, `database`, `secrets`, ...
    pub category: String,
    /// What it is to show, in one sentence.
    pub objective: String,
    /// How bad its failure is: `critical`, `high`, `medium` or `low`.
    pub severity: String,
    /// Controls that it supports, `SOC2:CC7.2`, `ISO27001:A.8.16`, `GDPR:32(1)(b)`.
    pub controls: Vec<String>,
}

impl Default for About {
    fn default() -> Self {
        About {
            title: String::new(),
            group: "custom".into(),
            category: "custom".into(),
            objective: String::new(),
            severity: "high".into(),
            controls: Vec::new(),
        }
    }
}

/// A request and its answer, or something else that was seen, as text without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// What it is, `http-1`: unique within the attempt.
    pub name: String,
    /// The text.
    pub text: String,
}

/// How much of an answer's body is kept as evidence, in bytes.
const KEPT_BODY: usize = 64 << 10;

/// What all checks of a run share.
pub(crate) struct Shared {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) env: Environment,
    pub(crate) mask: Mask,
    pub(crate) roots: Arc<Roots>,
    pub(crate) databases: BTreeMap<String, Arc<dyn Database>>,
    pub(crate) hosts: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    pub(crate) per_host: usize,
    pub(crate) run: String,
    pub(crate) live: bool,
}

/// What a check is given. Made by the run, for one attempt.
pub struct CheckCx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) check: String,
    pub(crate) attempt: u32,
    pub(crate) until: Instant,
    pub(crate) previous: Option<Arc<Map<String, Value>>>,
    pub(crate) captures: Arc<Mutex<Vec<Capture>>>,
}

impl CheckCx {
    /// The run's time.
    pub fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    /// The environment variables.
    pub fn env(&self) -> &Environment {
        &self.shared.env
    }

    /// A database by its name in the pack.
    pub fn database(&self, name: &str) -> Option<Arc<dyn Database>> {
        self.shared.databases.get(name).cloned()
    }

    /// The certificate authorities that are trusted.
    pub fn roots(&self) -> &Roots {
        &self.shared.roots
    }

    /// Whether the system is the one that customers use; then keys have to be live ones, else test ones.
    pub fn live(&self) -> bool {
        self.shared.live
    }

    /// What this check measured in the run before, if there was one.
    pub fn previous(&self) -> Option<&Map<String, Value>> {
        self.previous.as_deref()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time that is left, with a little of it kept for saying that it ran out.
    pub fn left(&self) -> Millis {
        let left = self.until.saturating_duration_since(Instant::now());
        Millis::from(left.saturating_sub(Duration::from_millis(25).min(left / 8)))
    }

    /// A word of 32 hexadecimal digits that is this attempt's alone. It follows from the run's id, so that equal runs leave
    /// equal evidence; it is no secret.
    pub fn nonce(&self) -> String {
        let text = format!("{}\n{}\n{}", self.shared.run, self.check, self.attempt);
        sha256_hex(text.as_bytes())[..32].to_owned()
    }

    /// Sends a request, at most so many to one host at a time, and keeps both sides as evidence.
    ///
    /// It ends before the check's own deadline does. The address comes from the pack, so it may lie inside.
    pub async fn send(&self, mut request: Request) -> Result<Response> {
        request.reach = Reach::Any;
        request.timeout = request.timeout.min(self.left());
        let permit = self.host(&request.url).acquire_owned();
        let Ok(_permit) = tokio::time::timeout(request.timeout.to_duration(), permit).await else {
            return Err(Error::new(
                ErrorKind::Timeout,
                "check.no_turn",
                "other checks of this host did not leave a turn in time",
            )
            .hint("raise run.per_host, or the check's timeout"));
        };
        request.timeout = request.timeout.min(self.left());
        let asked = request.clone();
        let answer = self.shared.transport.send(request).await;
        self.capture("http", &self.transcript(&asked, &answer));
        answer
    }

    /// The same, with the time that it took.
    pub async fn timed(&self, request: Request) -> (Result<Response>, Millis) {
        let begun = self.now();
        let answer = self.send(request).await;
        (answer, self.now() - begun)
    }

    /// Keeps a text as evidence. Secrets are taken out of it.
    pub fn capture(&self, kind: &str, text: &str) {
        let text = self.shared.mask.text(text);
        let mut list = self.captures.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{kind}-{}", list.len() + 1);
        list.push(Capture { name, text });
    }

    fn host(&self, url: &str) -> Arc<Semaphore> {
        let host = Url::parse(url).ok().and_then(|u| {
            u.host_str()
                .map(|h| format!("{h}:{}", u.port_or_known_default().unwrap_or(0)))
        });
        let mut hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = self.shared.per_host;
        hosts
            .entry(host.unwrap_or_default())
            .or_insert_with(|| Arc::new(Semaphore::new(permits)))
            .clone()
    }

    fn transcript(&self, request: &Request, answer: &Result<Response>) -> String {
        let mut text = format!("> {} {}\n", request.method, request.url);
        for (name, value) in &request.headers {
            let _ = text.write_fmt(format_args!("> {name}: {}\n", self.shared.mask.header(name, value)));
        }
        push_body(&mut text, '>', &request.body);
        match answer {
            Ok(answer) => {
                let _ = text.write_fmt(format_args!("< {}\n", answer.status));
                for (name, value) in &answer.headers {
                    let _ = text.write_fmt(format_args!("< {name}: {}\n", self.shared.mask.header(name, value)));
                }
                push_body(&mut text, '<', &answer.body);
            }
            Err(e) => drop(text.write_fmt(format_args!("! {} {}\n", e.code(), e.message()))),
        }
        text
    }
}

fn push_body(text: &mut String, side: char, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    let kept = &body[..body.len().min(KEPT_BODY)];
    let _ = text.write_fmt(format_args!("{side}\n"));
    text.push_str(&String::from_utf8_lossy(kept));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if kept.len() < body.len() {
        let _ = text.write_fmt(format_args!("{side} [{} of {} bytes are kept]\n", kept.len(), body.len()));
    }
}
