//! Evidence on its way to people: by mail, into a bucket, a drive, a page, or to an endpoint; each with a receipt.
//!
//! ```toml
//! [[deliver]]
//! to = "email"                      # or resend, s3, google_drive, notion, webhook
//! connection = "mail"               # credentials, by their name at the engine
//! when = "always"                   # or "exceptions", "not_ready"
//! from = "Levqor <integrity@example.com>"
//! recipients = ["ann@example.com"]
//!
//! [[deliver]]
//! to = "s3"
//! connection = "archive"
//! prefix = "evidence/shop"
//! ```
//!
//! Calls go through a [`Deliver`], which an [`Engine`] is. What came of them stands beside the evidence as
//! `delivery.dsse.json`, signed with the same key, and [verification](crate::evidence::verify) looks at it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::clock::Clock;
use levqor_core::engine::{DirectCall, Engine};
use levqor_core::error::{Error, Result};
use levqor_core::json;
use levqor_core::types::random_bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::environment::Mask;
use crate::evidence::verify::Files;
use crate::evidence::{Evidence, Signer};
use crate::pack::Reader;
use crate::sha256_hex;
use crate::status::{Status, Verdict};

/// The receipts of a run, in its folder.
pub const DELIVERY_FILE: &str = "delivery.dsse.json";

/// What carries out a call of a vendor.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Carries out an action (`s3.put_object`) with the credentials of a connection. With the same key the work is done once,
    /// where the vendor takes keys. What it gives back is the action's output.
    async fn deliver(&self, action: &str, connection: Option<&str>, key: &str, input: &Value) -> Result<Value>;
}

#[async_trait]
impl Deliver for Engine {
    async fn deliver(&self, action: &str, connection: Option<&str>, key: &str, input: &Value) -> Result<Value> {
        let call = DirectCall {
            connection: connection.map(str::to_owned),
            key: Some(key.to_owned()),
            ..DirectCall::new(action, input.clone())
        };
        Ok(self.call(&call).await?.data)
    }
}

/// When something is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After every run.
    #[default]
    Always,
    /// After a run with anything other than passes and skips.
    Exceptions,
    /// After a run that is not ready.
    NotReady,
}

/// Where evidence goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// `email`, `resend`, `s3`, `google_drive`, `notion` or `webhook`.
    pub to: String,
    /// The name of the connection with the credentials.
    pub connection: Option<String>,
    /// When it is sent.
    pub when: When,
    /// The sender of a mail.
    pub from: String,
    /// The recipients of a mail.
    pub recipients: Vec<String>,
    /// The bucket, if it is not the connection's.
    pub bucket: Option<String>,
    /// What stands before the names of objects.
    pub prefix: String,
    /// The id of the folder, or of the page under which pages are made.
    pub parent: Option<String>,
    /// The endpoint, if it is not the connection's.
    pub url: Option<String>,
}

const KINDS: &[&str] = &["email", "resend", "s3", "google_drive", "notion", "webhook"];

/// What came of sending to one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// `s3`, and the other kinds.
    pub to: String,
    /// The name of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Whether it arrived.
    pub delivered: bool,
    /// When it ended, RFC 3339.
    pub at: String,
    /// What was sent: name and SHA-256.
    pub files: BTreeMap<String, String>,
    /// What the other side answered for each call: ids, tags, statuses.
    pub answers: Vec<Value>,
    /// Why it did not arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Destination {
    pub(crate) fn read(r: &Reader<'_>) -> Self {
        let to = r.choice("to", KINDS, "");
        if to.is_empty() && r.raw("to").is_none() {
            r.fault("to", "pack.missing", "a delivery has to say where `to`");
        }
        let when = match r.choice("when", &["always", "exceptions", "not_ready"], "always") {
            "exceptions" => When::Exceptions,
            "not_ready" => When::NotReady,
            _ => When::Always,
        };
        let destination = Destination {
            to: to.to_owned(),
            connection: r.text("connection"),
            when,
            from: r.text_or("from", ""),
            recipients: r.texts("recipients").unwrap_or_default(),
            bucket: r.text("bucket"),
            prefix: r.text_or("prefix", ""),
            parent: r.text("parent"),
            url: r.text("url"),
        };
        let mail = matches!(to, "email" | "resend");
        if mail && (destination.from.is_empty() || destination.recipients.is_empty()) {
            r.fault("recipients", "pack.missing", "a mail has to have `from` and `recipients`");
        }
        if to == "notion" && destination.parent.is_none() {
            r.fault(
                "parent",
                "pack.missing",
                "a page has to have a `parent`, the id of the page around it",
            );
        }
        destination
    }

    fn wanted(&self, evidence: &Evidence) -> bool {
        let c = evidence.counts;
        match self.when {
            When::Always => true,
            When::Exceptions => c.pass + c.skip < c.total,
            When::NotReady => !matches!(evidence.verdict, Verdict::Ready | Verdict::ReadyWithWarnings),
        }
    }
}

/// A call to be made: action, input, and the files that it carries.
struct Call {
    action: &'static str,
    input: Value,
    files: Vec<String>,
}

/// The files that people are sent: the PDF, the reports, the evidence and what proves it.
fn documents(files: &Files) -> Vec<&String> {
    let wanted = |name: &str| {
        !name.starts_with("raw/")
            && name != DELIVERY_FILE
            && !matches!(name, "statement.json" | "statement.pae" | "statement.sig")
    };
    files.keys().filter(|n| wanted(n)).collect()
}

fn media_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("pdf") => "application/pdf",
        Some("json" | "sarif") => "application/json",
        Some("xml") => "application/xml",
        Some("pem") => "application/x-pem-file",
        Some("tsr") => "application/timestamp-reply",
        _ => "text/plain",
    }
}

/// What is said in words, wherever words are sent.
fn words(evidence: &Evidence, digest: &str) -> (String, String) {
    let run = &evidence.run;
    let c = evidence.counts;
    let subject = format!(
        "{}: {} ({}), integrity run {}",
        run.system,
        evidence.verdict.words(),
        run.environment,
        run.number
    );
    let mut text = format!(
        "{} ({}) was checked on {}.\n\nVerdict: {}\n{} checks: {} passed, {} with a warning, {} failed, {} could not be told, \
         {} skipped, {} blocked, {} waived.\n",
        run.system,
        run.environment,
        run.started,
        evidence.verdict.words(),
        c.total,
        c.pass,
        c.warn,
        c.fail,
        c.error,
        c.skip,
        c.blocked,
        c.waived
    );
    for record in &evidence.records {
        let check = &record.result;
        if matches!(check.status, Status::Fail | Status::Error | Status::Warn) {
            let _ = write!(text, "\n{} {}: {}", check.status.word(), check.id, check.summary);
        }
    }
    let _ = write!(text, "\n\nSHA-256 of evidence.json: {digest}\n");
    (subject, text)
}

/// The calls that bring a run to a place.
fn calls(destination: &Destination, evidence: &Evidence, files: &Files) -> Vec<Call> {
    let digest = files.get("evidence.json").map(|b| sha256_hex(b)).unwrap_or_default();
    let (subject, text) = words(evidence, &digest);
    let encoded = |name: &str| files.get(name).map(|b| STANDARD.encode(b)).unwrap_or_default();
    let documents = documents(files);
    // A mail carries what people read and what proves it; everything would be more than mail servers take.
    let attached: Vec<&String> = documents
        .iter()
        .copied()
        .filter(|n| {
            media_type(n) == "application/pdf" || matches!(n.as_str(), "evidence.json" | "statement.dsse.json" | "signer.pub.pem")
        })
        .collect();
    let names = |list: &[&String]| list.iter().map(|n| (*n).clone()).collect::<Vec<String>>();
    match destination.to.as_str() {
        "email" => vec![Call {
            action: "email.send",
            input: json!({
                "from": destination.from, "to": destination.recipients, "subject": subject, "text": text,
                "attachments": attached.iter().map(|n| json!({"filename": n, "content_type": media_type(n), "content": encoded(n)}))
                    .collect::<Vec<_>>(),
            }),
            files: names(&attached),
        }],
        "resend" => vec![Call {
            action: "resend.send_email",
            input: json!({
                "from": destination.from, "to": destination.recipients, "subject": subject, "text": text,
                "attachments": attached.iter().map(|n| json!({"filename": n, "content": encoded(n)})).collect::<Vec<_>>(),
            }),
            files: names(&attached),
        }],
        "s3" => documents
            .iter()
            .map(|name| {
                let prefix = destination.prefix.trim_end_matches('/');
                let slash = if prefix.is_empty() { "" } else { "/" };
                let sha256 = files.get(*name).map(|b| sha256_hex(b)).unwrap_or_default();
                let mut input = json!({
                    "key": format!("{prefix}{slash}{}/{name}", evidence.run.id), "base64": encoded(name),
                    "content_type": media_type(name), "only_new": true, "metadata": {"sha256": sha256},
                });
                if let Some(bucket) = &destination.bucket {
                    input["bucket"] = json!(bucket);
                }
                Call {
                    action: "s3.put_object",
                    input,
                    files: vec![(*name).clone()],
                }
            })
            .collect(),
        "google_drive" => attached
            .iter()
            .map(|name| {
                let mut input = json!({
                    "name": format!("{} {name}", evidence.run.id), "base64": encoded(name), "mimeType": media_type(name),
                    "description": subject,
                });
                if let Some(parent) = &destination.parent {
                    input["parents"] = json!([parent]);
                }
                Call {
                    action: "google_drive.upload",
                    input,
                    files: vec![(*name).clone()],
                }
            })
            .collect(),
        "notion" => {
            let block = |text: &str| {
                // A text of a block has at most 2,000 characters at Notion.
                let text: String = text.chars().take(1_900).collect();
                json!({"object": "block", "type": "paragraph", "paragraph": {"rich_text": [{"type": "text", "text": {"content": text}}]}})
            };
            let children: Vec<Value> = text
                .split('\n')
                .filter(|l| !l.trim().is_empty())
                .take(90)
                .map(block)
                .collect();
            vec![Call {
                action: "notion.create_page",
                input: json!({
                    "parent": {"page_id": destination.parent},
                    "properties": {"title": {"title": [{"text": {"content": subject}}]}},
                    "children": children,
                }),
                files: Vec::new(),
            }]
        }
        _ => {
            let exceptions: Vec<Value> = evidence
                .records
                .iter()
                .map(|r| &r.result)
                .filter(|c| matches!(c.status, Status::Fail | Status::Error | Status::Warn | Status::Waived))
                .map(|c| json!({"check": c.id, "status": c.status, "summary": c.summary}))
                .collect();
            let mut input = json!({
                "id": format!("{}-{}", evidence.run.id, evidence.run.number),
                "payload": {"type": "integrity.run", "timestamp": evidence.run.ended, "data": {
                    "run": evidence.run.id, "number": evidence.run.number, "system": evidence.run.system,
                    "environment": evidence.run.environment, "verdict": evidence.verdict, "counts": evidence.counts,
                    "exceptions": exceptions, "evidence_sha256": digest,
                }},
            });
            if let Some(url) = &destination.url {
                input["url"] = json!(url);
            }
            vec![Call {
                action: "webhook.send",
                input,
                files: Vec::new(),
            }]
        }
    }
}

/// Sends a run to one place. A failure is in the receipt; `None` says that it was not to be sent.
pub async fn send(
    destination: &Destination,
    evidence: &Evidence,
    files: &Files,
    by: &dyn Deliver,
    clock: &dyn Clock,
    mask: &Mask,
) -> Option<Receipt> {
    if !destination.wanted(evidence) {
        return None;
    }
    let mut receipt = Receipt {
        to: destination.to.clone(),
        connection: destination.connection.clone(),
        delivered: true,
        at: String::new(),
        files: BTreeMap::new(),
        answers: Vec::new(),
        error: None,
    };
    for (n, call) in calls(destination, evidence, files).into_iter().enumerate() {
        let place = json!([
            destination.to,
            destination.connection,
            destination.bucket,
            destination.parent,
            destination.url,
            n
        ]);
        let key = sha256_hex(format!("{}\n{}\n{place}", evidence.run.id, evidence.run.number).as_bytes());
        match by
            .deliver(call.action, destination.connection.as_deref(), &key, &call.input)
            .await
        {
            Ok(mut answer) => {
                mask.value(&mut answer);
                receipt.answers.push(answer);
                for name in call.files {
                    let digest = files.get(&name).map(|b| sha256_hex(b)).unwrap_or_default();
                    receipt.files.insert(name, digest);
                }
            }
            Err(e) => {
                receipt.delivered = false;
                receipt.error = Some(mask.text(&format!("{}: {}", e.code(), e.message())));
                break;
            }
        }
    }
    receipt.at = clock.now().rfc3339();
    Some(receipt)
}

/// Signs receipts and writes them beside the evidence they belong to, in place of earlier ones.
pub fn write_receipts(folder: &Path, receipts: &[Receipt], files: &Files, signer: &Signer) -> Result<()> {
    let digest = files.get("evidence.json").map(|b| sha256_hex(b)).unwrap_or_default();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "evidence.json", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": {"receipts": receipts},
    });
    let bytes = signer.seal(json::canonical(&statement).as_bytes());
    let path = folder.join(DELIVERY_FILE);
    let draft = folder.with_extension(format!("{:016x}.receipts", u64::from_be_bytes(random_bytes())));
    let written = std::fs::write(&draft, bytes).and_then(|()| std::fs::rename(&draft, &path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&draft);
        Error::unavailable("evidence.not_written", format!("the receipts cannot be written: {e}")).at(path.display().to_string())
    })
}

/// What a statement of receipts is called.
pub(crate) const PREDICATE: &str = "https://levqor.dev/delivery/v1";

/// The receipts in a statement.
pub(crate) fn receipts_of(statement: &Value) -> Option<Vec<Receipt>> {
    if statement["predicateType"] != PREDICATE {
        return None;
    }
    serde_json::from_value(statement["predicate"]["receipts"].clone()).ok()
}
