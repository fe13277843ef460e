//! Evidence reaches its places, each with a receipt that is signed; a schedule's job does all of it, once.
#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::case_sensitive_file_extension_comparisons
)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use levqor_core::backend::Backend;
use levqor_core::clock::{Clock, ManualClock};
use levqor_core::connector::{Action, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::engine::{Engine, HandlerOptions};
use levqor_core::error::{Error, Result};
use levqor_core::testkit::stores::Folder;
use levqor_core::transport::{Request, Response, Transport};
use levqor_core::types::Millis;
use levqor_integrity::checkup::{HANDLER, weekly};
use levqor_integrity::deliver::{DELIVERY_FILE, Deliver};
use levqor_integrity::evidence::verify::verify_folder;
use levqor_integrity::evidence::{Evidence, Signer};
use levqor_integrity::{Checkup, Environment, Format, Keeper, Pack};
use serde_json::{Value, json};

const PACK: &str = r#"
version = 1
system = "Shop"
include = ["http.health.main"]
targets = { api = "http://127.0.0.1:9" }

[[deliver]]
to = "email"
connection = "mail"
from = "Levqor <l@example.com>"
recipients = "ann@example.com"

[[deliver]]
to = "resend"
from = "l@example.com"
recipients = ["bob@example.com"]
when = "exceptions"

[[deliver]]
to = "s3"
bucket = "archive"
prefix = "shop/"

[[deliver]]
to = "google_drive"
parent = "folder-1"

[[deliver]]
to = "notion"
parent = "page-1"

[[deliver]]
to = "webhook"
url = "https://hooks.example.com/in"
when = "not_ready"
"#;

struct Healthy(&'static str);

#[async_trait]
impl Transport for Healthy {
    async fn send(&self, request: Request) -> Result<Response> {
        Ok(Response {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: format!("{{\"status\":\"{}\"}}", self.0).into(),
            url: request.url,
        })
    }
}

/// Keeps what it was to send, and fails where it was told to.
#[derive(Default)]
struct Post {
    calls: Mutex<Vec<(String, Option<String>, String, Value)>>,
    fails: Option<&'static str>,
}

#[async_trait]
impl Deliver for Post {
    async fn deliver(&self, action: &str, connection: Option<&str>, key: &str, input: &Value) -> Result<Value> {
        let call = (
            action.to_owned(),
            connection.map(str::to_owned),
            key.to_owned(),
            input.clone(),
        );
        self.calls.lock().unwrap().push(call);
        if self.fails.is_some_and(|f| action.starts_with(f)) {
            return Err(Error::unavailable("mail.refused", "the password hunter22-secret is wrong"));
        }
        Ok(json!({"id": format!("{action}-1")}))
    }
}

fn checkup(folder: &Folder, clock: Arc<dyn Clock>, status: &'static str) -> Checkup {
    let pack = Pack::parse(PACK, Format::Toml).unwrap();
    let keeper = Keeper::new(folder.path().join("evidence"), Signer::generate().unwrap());
    let env: Environment = [("MAIL_PASSWORD".to_owned(), "hunter22-secret".to_owned())]
        .into_iter()
        .collect();
    Checkup::new(pack, Some(keeper), Arc::new(Healthy(status)), clock, env)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Millis::secs(1_800_000_000)))
}

#[tokio::test]
async fn every_place_gets_its_own_and_leaves_a_receipt() {
    let folder = Folder::new();
    let checkup = checkup(&folder, clock(), "ok");
    let kept = checkup.run(None).await.unwrap().kept.unwrap().unwrap();
    let post = Post::default();
    let receipts = checkup.deliver(1, &post).await.unwrap();
    // Nothing failed, so neither exceptions nor failures are told of.
    let to: Vec<&str> = receipts.iter().map(|r| r.to.as_str()).collect();
    assert_eq!(to, ["email", "s3", "google_drive", "notion"]);
    assert!(receipts.iter().all(|r| r.delivered && !r.answers.is_empty()));
    let calls = post.calls.lock().unwrap().clone();
    let of = |action: &str| calls.iter().filter(|c| c.0 == action).collect::<Vec<_>>();
    let mail = of("email.send")[0];
    assert_eq!(mail.1.as_deref(), Some("mail"));
    let names: Vec<&str> = mail.3["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["filename"].as_str().unwrap())
        .collect();
    assert!(
        names.iter().any(|n| n.ends_with(".pdf")) && names.contains(&"evidence.json"),
        "{names:?}"
    );
    assert!(mail.3["text"].as_str().unwrap().contains(kept.bundle.evidence_sha256()));
    for put in of("s3.put_object") {
        let key = put.3["key"].as_str().unwrap();
        assert!(
            key.starts_with("shop/run-") && put.3["only_new"] == true && put.3["bucket"] == "archive",
            "{key}"
        );
    }
    assert_eq!(of("google_drive.upload")[0].3["parents"], json!(["folder-1"]));
    assert_eq!(of("notion.create_page")[0].3["parent"], json!({"page_id": "page-1"}));
    let mut keys: Vec<&String> = calls.iter().map(|c| &c.2).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), calls.len(), "each call has a key of its own");
    checkup.deliver(1, &post).await.unwrap();
    let again = post.calls.lock().unwrap().clone();
    assert_eq!(again[calls.len()].2, calls[0].2, "and the same one when it is repeated");

    let verified = verify_folder(&kept.folder, None).unwrap();
    assert!(verified.ok(), "{verified:?}");
    assert_eq!(verified.receipts.len(), 4);
    let path = kept.folder.join(DELIVERY_FILE);
    let text = std::fs::read(&path).unwrap();
    for at in (0..text.len()).step_by(7) {
        let mut changed = text.clone();
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert!(!verify_folder(&kept.folder, None).unwrap().ok(), "byte {at}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_is_no_secret_and_keeps_no_other_from_its_own() {
    let folder = Folder::new();
    let checkup = checkup(&folder, clock(), "down");
    let kept = checkup.run(None).await.unwrap().kept.unwrap().unwrap();
    let post = Post {
        fails: Some("email"),
        ..Post::default()
    };
    let receipts = checkup.deliver(1, &post).await.unwrap();
    assert_eq!(receipts.len(), 6);
    let failed: Vec<_> = receipts.iter().filter(|r| !r.delivered).collect();
    let error = failed[0].error.as_deref().unwrap();
    assert!(
        failed.len() == 1 && error == "mail.refused: the password [redacted] is wrong",
        "{error}"
    );
    let calls = post.calls.lock().unwrap().clone();
    let hook = calls.iter().find(|c| c.0 == "webhook.send").unwrap();
    assert_eq!(hook.3["payload"]["data"]["verdict"], "NOT READY");
    assert_eq!(hook.3["payload"]["data"]["exceptions"][0]["check"], "http.health.main");
    assert!(verify_folder(&kept.folder, None).unwrap().ok());
    assert_eq!(checkup.deliver(7, &post).await.unwrap_err().code(), "evidence.unreadable");
}

#[test]
fn faults_of_a_delivery_are_named() {
    for (text, at) in [
        ("to = \"s4\"", "/deliver/0/to"),
        ("connection = \"x\"", "/deliver/0/to"),
        ("to = \"email\"\nfrom = \"a@b.c\"", "/deliver/0/recipients"),
        ("to = \"notion\"", "/deliver/0/parent"),
        ("to = \"s3\"\nbuket = \"x\"", "/deliver/0/buket"),
        ("to = \"s3\"\nwhen = \"never\"", "/deliver/0/when"),
    ] {
        let pack = format!("version = 1\ninclude = [\"env.jwt_secret\"]\n[[deliver]]\n{text}\n");
        let e = Pack::parse(&pack, Format::Toml).unwrap_err();
        assert_eq!(e.fault_list()[0].at, at, "{text}: {e:?}");
    }
}

/// Takes every mail.
struct Mail(Manifest, Arc<Mutex<Vec<Value>>>);

#[async_trait]
impl Connector for Mail {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    async fn call(&self, _: &Cx, _: &str, input: &Value) -> Result<Output> {
        self.1.lock().unwrap().push(input.clone());
        Ok(Output::new(json!({"message_id": "<1@example.com>"})))
    }
}

fn mail(sent: &Arc<Mutex<Vec<Value>>>) -> Mail {
    let send = Action {
        name: "send".into(),
        title: "Send".into(),
        description: "Sends.".into(),
        input: json!({"type": "object"}),
        output: json!({"type": "object"}),
        side_effect: SideEffect::Write,
        idempotency: Idempotency::Key,
        scopes: vec![],
    };
    let manifest = Manifest {
        name: "email".into(),
        title: "Mail".into(),
        description: "Mails.".into(),
        docs: None,
        auth: vec![],
        settings: vec![],
        budgets: vec![],
        actions: vec![send],
        triggers: vec![],
    };
    Mail(manifest, sent.clone())
}

#[tokio::test]
async fn a_schedule_runs_it_once_over_all_workers() {
    let folder = Folder::new();
    let clock = clock();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let text = PACK
        .split("[[deliver]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[deliver]]")
        .replace("connection = \"mail\"\n", "");
    let backend = Backend::memory();
    let made = || {
        let mut checkup = checkup(&folder, clock.clone(), "ok");
        checkup.pack = Pack::parse(&text, Format::Toml).unwrap();
        Engine::builder(backend.clone())
            .clock(clock.clone())
            .connector(Arc::new(mail(&sent)))
            .handler(HANDLER, HandlerOptions::default(), checkup)
            .build()
            .unwrap()
    };
    let (one, two) = (made(), made());
    for engine in [&one, &two] {
        engine.schedules().put(weekly("integrity", "Europe/Berlin")).await.unwrap();
    }
    let monday = one.schedules().next("integrity", 1).await.unwrap()[0];
    clock.set(monday + Millis(500));
    let (first, second) = (one.schedules(), two.schedules());
    let (a, b) = tokio::join!(first.fire_due(), second.fire_due());
    assert_eq!(a.unwrap().fired + b.unwrap().fired, 1);
    one.worker().drain().await.unwrap();
    two.worker().drain().await.unwrap();
    let place = folder.path().join("evidence");
    assert!(place.join("run-000001").is_dir() && !place.join("run-000002").exists());
    let evidence = Evidence::from_bytes(&std::fs::read(place.join("run-000001/evidence.json")).unwrap()).unwrap();
    assert_eq!(evidence.run.system, "Shop");
    assert_eq!(sent.lock().unwrap().len(), 1);
    assert_eq!(verify_folder(&place.join("run-000001"), None).unwrap().receipts.len(), 1);
}
