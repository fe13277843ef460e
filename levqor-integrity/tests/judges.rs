//! Judges that are not ours. `scripts/judges.sh` installs them and runs these; by themselves they are left out, because what
//! they need is not on every machine.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::format_collect)]

#[path = "support/report.rs"]
mod sample;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use levqor_core::clock::SystemClock;
use levqor_core::error::Result;
use levqor_core::testkit::stores::Folder;
use levqor_core::transport::{Request, Response, Transport};
use levqor_integrity::evidence::Signer;
use levqor_integrity::pdf::{Look, render};
use levqor_integrity::report::Report;
use levqor_integrity::{Environment, Format, Pack, formats};
use sample::{START, checks, made};
use serde_json::{Value, json};

fn tool(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/judges.sh"))
}

/// Runs a command line and gives back what it says; it has to end with 0.
fn judge(command: &str, files: &[&Path]) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    said
}

/// A bundle with every format, on disk.
fn written(folder: &Path, troubled: bool) -> PathBuf {
    let (mut bundle, evidence) = made("Acme & <Söhne>", checks(22, troubled, START), START, None);
    for (format, _) in formats::FORMATS {
        let (name, text) = formats::write(format, &evidence).unwrap();
        bundle = bundle.attach(name, text.into_bytes());
    }
    let report = Report::of(&evidence, None, &Value::Null, None)
        .unwrap()
        .with_files(bundle.files());
    let look = json!({"company": "Acme & <Söhne>", "accent": "#0a6e5a"});
    let pdf = render(&report, &Look::of(&look, Path::new(".")).unwrap()).unwrap();
    let place = folder.join(format!("run-{troubled}"));
    bundle
        .attach("report.pdf", pdf)
        .sign(&Signer::generate().unwrap(), &evidence)
        .unwrap()
        .write(&place)
        .unwrap();
    place
}

/// Whether the judges are here: `scripts/judges.sh` installs and calls them. Without them nothing is judged, and that is said.
fn called() -> bool {
    let called = std::env::var_os("LEVQOR_JUDGES_PREFLIGHT").is_some();
    if !called {
        eprintln!("not judged: scripts/judges.sh calls the tools that judge");
    }
    called
}

#[test]
fn pdfs_are_pdf_a() {
    if !called() {
        return;
    }
    let folder = Folder::new();
    for troubled in [true, false] {
        let pdf = written(folder.path(), troubled).join("report.pdf");
        let said = judge("qpdf --check", &[&pdf]);
        assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
        let said = judge(&tool("LEVQOR_JUDGES_PREFLIGHT"), &[&pdf]);
        assert!(said.contains(": PDF/A-1b"), "{said}");
        let fonts = judge("pdffonts", &[&pdf]);
        assert!(fonts.lines().skip(2).all(|l| l.contains("yes yes yes")), "{fonts}");
        let picture = folder.path().join("cover");
        judge("pdftoppm -r 110 -f 1 -l 1 -png -singlefile", &[&pdf, &picture]);
        let code = judge("zbarimg -q", &[&picture.with_extension("png")]);
        let evidence = std::fs::read(pdf.with_file_name("evidence.json")).unwrap();
        let digest: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &evidence)
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert!(code.contains(&format!("sha256:{digest}")), "{code}");
    }
}

#[test]
fn other_tools_accept_the_formats() {
    if !called() {
        return;
    }
    let folder = Folder::new();
    for troubled in [true, false] {
        let place = written(folder.path(), troubled);
        let workspace = folder.path().join(format!("trestle-{troubled}"));
        let results = workspace.join("assessment-results/run");
        std::fs::create_dir_all(&results).unwrap();
        judge(&format!("{} init -loc -tr", tool("LEVQOR_JUDGES_TRESTLE")), &[&workspace]);
        let file = results.join("assessment-results.json");
        std::fs::copy(place.join("oscal-assessment-results.json"), &file).unwrap();
        judge(
            &format!("{} validate -f", tool("LEVQOR_JUDGES_TRESTLE")),
            &[&file, Path::new("-tr"), &workspace],
        );

        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/judges/junit.xsd");
        judge("xmllint --noout --schema", &[&schema, &place.join("junit.xml")]);

        let program = "import json,sys,jsonschema; s,f=[json.load(open(p)) for p in sys.argv[1:]]; \
                       jsonschema.validators.validator_for(s)(s).validate(f)";
        let schema = PathBuf::from(tool("LEVQOR_JUDGES_SARIF"));
        let python = Command::new(tool("LEVQOR_JUDGES_PYTHON"))
            .args(["-c", program])
            .args([&schema, &place.join("results.sarif")])
            .output()
            .unwrap();
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));

        // prove says in its exit code whether anything failed, and nothing else may be wrong with the text.
        let output = Command::new("prove")
            .args(["--exec", "cat", "--verbose"])
            .arg(place.join("results.tap"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !troubled, "{said}");
        assert!(!said.contains("Parse errors") && said.contains("1..22"), "{said}");

        judge(
            "openssl pkeyutl -verify -pubin -rawin -inkey",
            &[
                &place.join("signer.pub.pem"),
                Path::new("-in"),
                &place.join("statement.pae"),
                Path::new("-sigfile"),
                &place.join("statement.sig"),
            ],
        );
    }
}

/// Answers everything with one table of headers.
struct Fixed(Arc<Mutex<BTreeMap<String, String>>>);

#[async_trait]
impl Transport for Fixed {
    async fn send(&self, request: Request) -> Result<Response> {
        let headers = self.0.lock().unwrap().clone();
        Ok(Response {
            status: 200,
            headers: headers.into_iter().collect(),
            body: "<h1>Shop</h1>".into(),
            url: request.url,
        })
    }
}

#[tokio::test]
async fn the_observatory_says_the_same_of_headers() {
    if !called() {
        return;
    }
    let hsts = [
        "",
        "max-age=63072000; includeSubDomains",
        "max-age=15552000",
        "max-age=15551999",
        "max-age=0",
        "includeSubDomains",
        "x",
    ];
    let options = ["", "nosniff", "NOSNIFF", "sniff"];
    let frames = ["", "DENY", "sameorigin", "ALLOW-FROM https://a.example", "ALLOWALL"];
    let policies = [
        "",
        "default-src 'none'",
        "default-src 'none'; frame-ancestors 'none'",
        "default-src 'self'; frame-ancestors 'self'",
        "default-src 'self'; frame-ancestors *",
        "default-src 'self'",
        "default-src https:",
        "default-src *",
        "default-src 'self' 'unsafe-inline'",
        "default-src 'self'; script-src 'self' 'unsafe-eval'",
        "default-src 'self'; script-src 'self' 'unsafe-inline'",
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'nonce-abc123'",
        "default-src 'self'; style-src 'self' 'unsafe-inline'",
        "default-src 'self'; script-src http://cdn.example",
        "default-src 'self'; img-src http://cdn.example",
        "default-src 'self'; script-src data:",
        "script-src 'self'",
        "script-src 'self'; object-src 'none'",
        "script-src 'self'; object-src 'self'",
        "script-src 'strict-dynamic' 'nonce-abc123' https: 'unsafe-inline'; object-src 'none'",
        "img-src 'self'",
        "upgrade-insecure-requests",
        "default-src 'self'; object-src *",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'",
    ];
    let mut cases: Vec<BTreeMap<String, String>> = Vec::new();
    for i in 0..policies.len() * 7 {
        let pairs = [
            ("strict-transport-security", hsts[i % hsts.len()]),
            ("x-content-type-options", options[i % options.len()]),
            ("x-frame-options", frames[i % frames.len()]),
            ("content-security-policy", policies[i % policies.len()]),
        ];
        let set = pairs.into_iter().filter(|(_, v)| !v.is_empty());
        cases.push(set.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }
    let folder = tool("LEVQOR_JUDGES_NODE");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/judges/observatory.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin
        .take()
        .unwrap()
        .write_all(&serde_json::to_vec(&cases).unwrap())
        .unwrap();
    let output = node.wait_with_output().unwrap();
    let theirs: Vec<[String; 4]> = serde_json::from_slice(&output.stdout).unwrap();

    let headers = Arc::new(Mutex::new(BTreeMap::new()));
    let text = "version = 1\ninclude = [\"headers.security\"]\ntargets = { frontend = \"https://unknown.example\" }\n";
    let pack = Pack::parse(text, Format::Toml).unwrap();
    let mut differences = Vec::new();
    for (case, theirs) in cases.iter().zip(theirs) {
        headers.lock().unwrap().clone_from(case);
        let transport = Arc::new(Fixed(headers.clone()));
        let run = pack
            .run(transport, Arc::new(SystemClock::default()), Environment::default())
            .unwrap();
        let result = run.run().await.unwrap();
        let ids = &result.checks[0].facts["observatory"];
        for (i, name) in theirs.iter().enumerate() {
            if ids[i] != name.as_str() {
                differences.push(format!("{case:?}: ours {}, theirs {name}", ids[i]));
            }
        }
    }
    differences.sort();
    differences.dedup();
    assert!(
        differences.is_empty(),
        "{} of {}:\n{}",
        differences.len(),
        cases.len() * 4,
        differences.join("\n")
    );
}
