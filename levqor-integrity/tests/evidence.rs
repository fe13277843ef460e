//! Evidence cannot be changed without showing it, and needs nobody but openssl to be verified.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::clock::ManualClock;
use levqor_core::error::Result;
use levqor_core::testkit::stores::Folder;
use levqor_core::transport::{Request, Response, Transport};
use levqor_core::types::{Millis, random_bytes};
use levqor_integrity::evidence::verify::{Verified, verify_files, verify_folder};
use levqor_integrity::evidence::{Bundle, Change, Context, Evidence, History, Signer, diff};
use levqor_integrity::report::Report;
use levqor_integrity::{Check, CheckCx, Environment, Finding, IntegrityRun, Outcome, Planned, formats};
use serde_json::{Value, json};

struct Echo;

#[async_trait]
impl Transport for Echo {
    async fn send(&self, request: Request) -> Result<Response> {
        Ok(Response {
            status: 200,
            headers: vec![("set-cookie".into(), "session=1".into())],
            body: request.body,
            url: request.url,
        })
    }
}

struct Probe(String, Outcome);

#[async_trait]
impl Check for Probe {
    fn id(&self) -> &str {
        &self.0
    }
    async fn run(&self, cx: &CheckCx) -> Outcome {
        let mut request = Request::new("POST", "https://api.example.com/x?q=1");
        request.body = format!("hello from {}: {}", self.0, cx.env().get("APP_SECRET").unwrap_or("none")).into();
        request.headers.push(("authorization".into(), "Bearer x".into()));
        cx.send(request).await.unwrap();
        self.1.clone()
    }
}

fn checks(broken: bool) -> Vec<Planned> {
    let mut warned = Outcome::new("slow");
    warned.add(
        Finding::warn("x.slow", "it is slow & <odd>\u{1}")
            .expected("1 \"s\"")
            .actual("2 s")
            .at("here")
            .hint("wait"),
    );
    let third = if broken {
        Finding::fail("x.broken", "it is broken").at("there").into()
    } else {
        Outcome::new("whole")
    };
    let mut measured = Outcome::new("ok");
    measured.fact("rows", if broken { 4 } else { 3 });
    [
        ("one", measured),
        ("two", warned),
        ("three", third),
        ("four", Outcome::skip("not set")),
    ]
    .into_iter()
    .map(|(id, outcome)| Planned::new(Arc::new(Probe(id.into(), outcome))))
    .collect()
}

async fn made(broken: bool, context: &Context, signer: &Signer) -> (Bundle, Evidence) {
    let clock = Arc::new(ManualClock::at(Millis::secs(1_800_000_000)));
    let env: Environment = [("APP_SECRET".to_owned(), "s3cr3t-canary-value".to_owned())]
        .into_iter()
        .collect();
    let result = IntegrityRun::new(checks(broken), Arc::new(Echo), clock)
        .env(env)
        .run()
        .await
        .unwrap();
    let (bundle, evidence) = Bundle::of(&result, context).unwrap();
    let bundle = bundle.attach(Bundle::pdf_name(&evidence), b"%PDF-1.7 a report".to_vec());
    let bundle = bundle.sign(signer, &evidence).unwrap();
    (bundle, evidence)
}

fn causes(verified: &Verified) -> Vec<&str> {
    verified.problems.iter().map(|p| p.cause.as_str()).collect()
}

#[tokio::test]
async fn a_bundle_verifies_and_equal_runs_give_equal_bytes() {
    let signer = Signer::generate().unwrap();
    let (bundle, evidence) = made(true, &Context::default(), &signer).await;
    let (again, _) = made(true, &Context::default(), &signer).await;
    assert_eq!(bundle, again);
    let verified = verify_files(bundle.files(), Some(&signer.public()));
    assert!(verified.ok(), "{verified:?}");
    assert_eq!((verified.records, verified.trusted), (4, Some(true)));
    assert_eq!(Evidence::from_bytes(&bundle.files()["evidence.json"]).unwrap(), evidence);
    for name in [
        "integrity_report_20270115T080000Z.json",
        "finalizer_report_20270115T080000Z.json",
        "integrity_evidence_20270115T080000Z.pdf",
    ] {
        assert!(bundle.files().contains_key(name), "{name}");
    }
    for (name, bytes) in bundle.files() {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("s3cr3t-canary") && !text.contains("session=1"), "{name}");
    }
    let raw = String::from_utf8(bundle.files()["raw/one-http-1.txt"].clone()).unwrap();
    assert!(
        raw.contains("> authorization: [redacted]") && raw.contains("hello from one: [redacted]"),
        "{raw}"
    );
}

#[tokio::test]
async fn a_thousand_flipped_bytes_are_all_found() {
    let signer = Signer::generate().unwrap();
    let (bundle, _) = made(true, &Context::default(), &signer).await;
    let names: Vec<&String> = bundle.files().keys().collect();
    // Every byte of the small seals, and random ones of everything.
    for i in 0..1000_usize {
        let pick = u64::from_be_bytes(random_bytes());
        let name = names[usize::try_from(pick % names.len() as u64).unwrap()];
        let mut files = bundle.files().clone();
        let bytes = files.get_mut(name).unwrap();
        let at = usize::try_from((pick >> 16) % bytes.len() as u64).unwrap();
        bytes[at] ^= 1 << (i % 8);
        for trusted in [None, Some(signer.public())] {
            let verified = verify_files(&files, trusted.as_ref());
            assert!(!verified.ok(), "byte {at} of {name}");
            let named = verified
                .problems
                .iter()
                .any(|p| p.at.starts_with(name.as_str()) || name.starts_with("sign") || name.starts_with("statement"));
            assert!(named, "{name}: {:?}", verified.problems);
        }
    }
}

/// The files with the evidence changed as somebody would who can sign, but not with the trusted key.
fn rewritten(bundle: &Bundle, change: impl FnOnce(&mut Value)) -> BTreeMap<String, Vec<u8>> {
    let mut files = bundle.files().clone();
    let mut value: Value = serde_json::from_slice(&files["evidence.json"]).unwrap();
    change(&mut value);
    files.insert("evidence.json".into(), levqor_core::json::canonical(&value).into_bytes());
    files
}

#[tokio::test]
async fn every_kind_of_tampering_has_its_cause() {
    let signer = Signer::generate().unwrap();
    let (bundle, evidence) = made(true, &Context::default(), &signer).await;
    let trusted = signer.public();
    let check = |files: &BTreeMap<String, Vec<u8>>, cause: &str| {
        let verified = verify_files(files, Some(&trusted));
        assert!(causes(&verified).contains(&cause), "{cause}: {:?}", verified.problems);
    };
    check(
        &rewritten(&bundle, |v| v["records"][2]["result"]["status"] = json!("PASS")),
        "record.changed",
    );
    check(
        &rewritten(&bundle, |v| drop(v["records"].as_array_mut().unwrap().remove(1))),
        "record.removed",
    );
    check(
        &rewritten(&bundle, |v| drop(v["records"].as_array_mut().unwrap().pop())),
        "record.removed",
    );
    check(
        &rewritten(&bundle, |v| v["records"].as_array_mut().unwrap().swap(0, 1)),
        "record.reordered",
    );
    check(&rewritten(&bundle, |v| v["run"]["system"] = json!("other")), "run.changed");
    check(&rewritten(&bundle, |v| v["verdict"] = json!("READY")), "evidence.sums");
    check(&rewritten(&bundle, |v| v["counts"]["fail"] = json!(0)), "evidence.sums");
    check(&rewritten(&bundle, |v| v["more"] = json!(1)), "evidence.spelling");

    let mut files = bundle.files().clone();
    files.insert(Bundle::pdf_name(&evidence), b"%PDF-1.7 another".to_vec());
    check(&files, "file.changed");
    files.remove("raw/one-http-1.txt");
    check(&files, "file.missing");
    files.insert("extra.txt".into(), Vec::new());
    check(&files, "file.unlisted");
    let mut files = bundle.files().clone();
    files.remove("statement.dsse.json");
    check(&files, "signature.missing");

    // Somebody else signs the whole of it anew.
    let stranger = Signer::generate().unwrap();
    let resigned = bundle.clone().sign(&stranger, &evidence).unwrap();
    check(resigned.files(), "signer.foreign");
    assert!(verify_files(resigned.files(), None).ok());
    // Another run's evidence under this run's statement.
    let other = Context {
        system: "other".into(),
        ..Context::default()
    };
    let (swap, _) = made(true, &other, &signer).await;
    let mut files = bundle.files().clone();
    files.insert("evidence.json".into(), swap.files()["evidence.json"].clone());
    check(&files, "run.swapped");
}

#[tokio::test]
async fn openssl_says_the_same() {
    let folder = Folder::new();
    let key = folder.path().join("key.pem");
    let made_key = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made_key.status.success());
    let signer = Signer::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let (bundle, _) = made(false, &Context::default(), &signer).await;
    let place = folder.path().join("bundle");
    bundle.write(&place).unwrap();
    assert!(verify_folder(&place, Some(&signer.public())).unwrap().ok());
    let openssl = |args: &[&str]| Command::new("openssl").args(args).current_dir(&place).output().unwrap();
    let verify = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "signer.pub.pem",
        "-rawin",
        "-in",
        "statement.pae",
        "-sigfile",
        "statement.sig",
    ];
    assert!(openssl(&verify).status.success());
    let digest = openssl(&["dgst", "-sha256", "-r", "evidence.json"]);
    assert!(
        String::from_utf8(digest.stdout)
            .unwrap()
            .starts_with(bundle.evidence_sha256())
    );
    let der = openssl(&["pkey", "-pubin", "-in", "signer.pub.pem", "-outform", "DER"]).stdout;
    std::fs::write(folder.path().join("der"), der).unwrap();
    let id = Command::new("openssl")
        .args(["dgst", "-sha256", "-r", "der"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(String::from_utf8(id.stdout).unwrap().starts_with(&signer.public().id()));
    let mut text = std::fs::read(place.join("statement.pae")).unwrap();
    text[100] ^= 1;
    std::fs::write(place.join("statement.pae"), text).unwrap();
    assert!(!openssl(&verify).status.success());
    // Evidence is never written over.
    assert_eq!(bundle.write(&place).unwrap_err().code(), "evidence.exists");
}

#[tokio::test]
async fn a_missing_or_replaced_run_shows() {
    let signer = Signer::generate().unwrap();
    let folder = Folder::new();
    let history = History::at(folder.path().join("evidence"));
    let mut digests = Vec::new();
    for i in 0..5 {
        let previous = history.last().unwrap().map(|(link, _)| link);
        let (bundle, _) = made(
            i == 3,
            &Context {
                previous,
                ..Context::default()
            },
            &signer,
        )
        .await;
        history.add(&bundle).unwrap();
        digests.push(bundle.evidence_sha256().to_owned());
    }
    let key = signer.public();
    let fine = history.verify(Some(&key), Some(&digests[4]), true).unwrap();
    assert!(fine.ok(), "{fine:?}");
    assert_eq!(fine.records, 20);
    let found = |head: Option<&str>| {
        let verified = history.verify(Some(&key), head, true).unwrap();
        verified.problems.iter().map(|p| p.cause.clone()).collect::<Vec<_>>()
    };
    // One in the middle is taken away.
    let (place, away) = (history.place(3), folder.path().join("away"));
    std::fs::rename(&place, &away).unwrap();
    assert!(found(None).contains(&"run.missing".to_owned()));
    // Another one takes its place, signed with the right key.
    let (forged, _) = made(
        true,
        &Context {
            previous: Some(history.last().unwrap().unwrap().0),
            ..Context::default()
        },
        &signer,
    )
    .await;
    forged.write(&place).unwrap();
    assert!(found(None).contains(&"run.chain".to_owned()) && found(None).contains(&"run.replaced".to_owned()));
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    assert!(found(None).is_empty());
    // The last one goes, with its line: that shows against a digest that was kept elsewhere.
    std::fs::remove_dir_all(history.place(5)).unwrap();
    assert!(found(None).contains(&"run.missing".to_owned()));
    let lines = folder.path().join("evidence/history.jsonl");
    let text = std::fs::read_to_string(&lines).unwrap();
    std::fs::write(&lines, text.lines().take(4).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    assert!(found(None).is_empty());
    assert_eq!(found(Some(&digests[4])), ["run.head"]);
    std::fs::write(&lines, text.replace("\"number\":2", "\"number\":7")).unwrap();
    assert!(found(None).contains(&"history.changed".to_owned()));
}

#[tokio::test]
async fn two_runs_are_compared() {
    let signer = Signer::generate().unwrap();
    let (_, before) = made(false, &Context::default(), &signer).await;
    let (_, now) = made(
        true,
        &Context {
            system: "Shop 2".into(),
            ..Context::default()
        },
        &signer,
    )
    .await;
    let found = diff(&before, &now).unwrap();
    let of = |change| found.of(change).map(|d| d.id.as_str()).collect::<Vec<_>>();
    assert_eq!(
        (of(Change::New), of(Change::Still), of(Change::Measured)),
        (vec!["three"], vec!["two"], vec!["one"])
    );
    assert_eq!(
        found.of(Change::Measured).next().unwrap().facts,
        [("rows".to_owned(), json!(3), json!(4))]
    );
    assert_eq!(found.configuration[0].0, "system");
    let back = diff(&now, &before).unwrap();
    assert_eq!(back.of(Change::Fixed).count(), 1);
    assert!(diff(&now, &now).unwrap().checks.iter().all(|d| d.change == Change::Still));
    let report = Report::of(&now, Some(&before), &json!({}), Some("key")).unwrap();
    assert!(report.summary.len() <= 5 && report.cards.iter().filter(|c| c.is_exception()).count() == 2);
    assert!(report.population.contains("4 selected = 3 executed + 1 skipped + 0 blocked"));
}

#[tokio::test]
async fn other_tools_can_read_it() {
    let signer = Signer::generate().unwrap();
    let (_, evidence) = made(
        true,
        &Context {
            system: "Shop".into(),
            ..Context::default()
        },
        &signer,
    )
    .await;
    let folder = Folder::new();
    let xml = formats::junit(&evidence);
    // Well formed, and the odd character is gone.
    let read = Command::new("python3")
        .args(["-c", "import sys, xml.etree.ElementTree as e; r = e.fromstring(sys.stdin.buffer.read()); print(r.get('tests'), r.get('failures'), r.get('skipped'), len(r.findall('.//testcase')))"])
        .stdin({
            std::fs::write(folder.path().join("j.xml"), &xml).unwrap();
            std::fs::File::open(folder.path().join("j.xml")).unwrap()
        })
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(read.stdout).unwrap().trim(),
        "4 1 1 4",
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );

    std::fs::write(folder.path().join("r.tap"), formats::tap(&evidence)).unwrap();
    let prove = Command::new("prove")
        .args(["-e", "cat", "r.tap"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&prove.stdout).into_owned();
    assert!(said.contains("Failed test:  3") && !said.contains("Parse errors"), "{said}");

    let sarif: Value = serde_json::from_str(&formats::sarif(&evidence)).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(
        (&sarif["version"], run["tool"]["driver"]["rules"].as_array().unwrap().len()),
        (&json!("2.1.0"), 4)
    );
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        // SARIF 3.27.10: a level other than none goes with the kind `fail` alone.
        assert!(result["level"] == "none" || result["kind"] == "fail");
    }
    let oscal: Value = serde_json::from_str(&formats::oscal(&evidence)).unwrap();
    let results = &oscal["assessment-results"]["results"][0];
    assert_eq!(results["observations"].as_array().unwrap().len(), 4);
    let uuid = oscal["assessment-results"]["uuid"].as_str().unwrap();
    assert!(uuid.len() == 36 && uuid.as_bytes()[14] == b'5' && uuid.as_bytes()[19] == b'a');

    let metrics = formats::prometheus(&evidence);
    assert!(metrics.contains(
        "levqor_integrity_check_status{system=\"Shop\",environment=\"\",check=\"three\",group=\"custom\",status=\"fail\"} 1\n"
    ));
    assert!(
        metrics
            .lines()
            .all(|l| l.starts_with('#') || l.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<f64>().is_ok()))
    );
    assert!(
        formats::write("sarfi", &evidence)
            .unwrap_err()
            .message()
            .contains("did you mean `sarif`?")
    );
}
