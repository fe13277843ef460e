//! `logs.canary`: what is secret does not come into the logs. A made-up secret is sent where secrets stand in requests, and
//! then looked for in the logs; so are the real ones of the environment.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::transport::Request;

use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader, unusable};

pub(super) struct Canary {
    id: String,
    endpoint: Endpoint,
    files: Vec<PathBuf>,
    marker: bool,
    largest: u64,
}

/// The last part of a log that is read, in bytes.
const TAIL: u64 = 8 << 20;
/// A value that is shorter stands in logs by chance.
const SHORTEST: usize = 12;

impl Canary {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        Canary {
            id,
            endpoint: r.endpoint(basics.targets, "api", "/"),
            files: r
                .texts("files")
                .unwrap_or_default()
                .iter()
                .map(|f| basics.folder.join(f))
                .collect(),
            marker: r.bool_or("marker", true),
            largest: u64::try_from(r.int_or("max_megabytes", 1..=1_000_000, 512)).unwrap_or(512) << 20,
        }
    }
}

fn tail(path: &PathBuf) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A log that only grows fills the disk one day, and is read by nobody before.
fn unrotated(path: &PathBuf, largest: u64) -> Option<Finding> {
    let size = std::fs::metadata(path).ok()?.len();
    let shown = |bytes: u64| format!("{} MiB", bytes >> 20);
    (size > largest).then(|| {
        Finding::fail(
            "logs.unrotated",
            format!("the log has grown to {}: nobody rotates it", shown(size)),
        )
        .expected(format!("at most {}", shown(largest)))
        .actual(shown(size))
        .at(path.display().to_string())
        .hint("rotate it (logrotate), or raise `max_megabytes`")
    })
}

#[async_trait]
impl Check for Canary {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        if self.files.is_empty() {
            return Outcome::skip("the pack names no log `files`");
        }
        let url = match self.endpoint.url(cx) {
            Ok(url) => url,
            Err(outcome) => return outcome,
        };
        let nonce = cx.nonce();
        let word = |place: &str| format!("lvqcanary{place}{}", &nonce[..16]);
        let marker = word("mark");
        let places = [
            ("the Authorization header", word("auth")),
            ("a cookie", word("cookie")),
            ("the API key header", word("key")),
            ("a password in a body", word("pass")),
        ];
        let mut get = Request::new(
            "GET",
            format!("{url}{}levqor={marker}", if url.contains('?') { '&' } else { '?' }),
        );
        get.headers.push(("user-agent".into(), format!("levqor-integrity/{marker}")));
        get.headers.push(("authorization".into(), format!("Bearer {}", places[0].1)));
        get.headers.push(("cookie".into(), format!("session={}", places[1].1)));
        get.headers.push(("x-api-key".into(), places[2].1.clone()));
        let mut post = Request::new("POST", url.as_str());
        post.headers.push(("content-type".into(), "application/json".into()));
        post.body = serde_json::json!({"password": places[3].1, "email": "levqor-integrity@example.invalid"})
            .to_string()
            .into();
        let sent = all([get, post].map(|r| cx.send(r))).await;
        if let Some(Err(e)) = sent.into_iter().next() {
            return super::http::no_answer(&e, &url).into();
        }
        let mut outcome = Outcome::new(format!("{} logs, no secret in them", self.files.len()));
        let mut marked = false;
        let mut texts = Vec::new();
        // Logs are written behind the answer: look a few times, until the marker shows.
        loop {
            texts.clear();
            for path in &self.files {
                match tail(path) {
                    Ok(text) => {
                        marked |= text.contains(&marker);
                        texts.push((path.display().to_string(), text));
                    }
                    Err(e) => return unusable(&path.display().to_string(), &e.to_string()).into(),
                }
            }
            if marked || cx.left().0 < 500 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.files
            .iter()
            .filter_map(|path| unrotated(path, self.largest))
            .for_each(|f| outcome.add(f));
        let line_of = |text: &str, word: &str| text.lines().position(|l| l.contains(word)).map(|i| i + 1);
        for (path, text) in &texts {
            for (place, canary) in &places {
                if let Some(line) = line_of(text, canary) {
                    outcome.add(
                        Finding::fail("logs.secret_leaked", format!("the log holds what stood in {place}"))
                            .expected("a mask in its place")
                            .actual("the value itself")
                            .at(format!("{path}, line {line} of its last part"))
                            .hint("mask headers and bodies before they are logged, and clean the old logs"),
                    );
                }
            }
            for (name, value) in cx.env().secrets().filter(|(_, v)| v.len() >= SHORTEST) {
                if let Some(line) = line_of(text, value) {
                    outcome.add(
                        Finding::fail("logs.secret_present", format!("the log holds the value of {name}"))
                            .expected("no secret of the environment in a log")
                            .actual("the value itself")
                            .at(format!("{path}, line {line} of its last part"))
                            .hint("change the secret, mend what logged it, and clean the log"),
                    );
                }
            }
        }
        if self.marker && !marked && outcome.findings.is_empty() {
            outcome.add(
                Finding::error(
                    "logs.not_the_log",
                    "the request did not come into these logs, so nothing can be told",
                )
                .expected("a line about the request that was sent")
                .actual("none")
                .at(self
                    .files
                    .iter()
                    .map(|f| f.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "))
                .hint("are these the logs of this target? if its logs hold neither query nor user agent, set marker = false"),
            );
        }
        outcome
    }
}
