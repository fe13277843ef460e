//! `levqor integrity`, as a process: exit codes, evidence, and what it says.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of its own with a pack in it, and a server that answers everything with one text.
struct Place {
    folder: PathBuf,
    port: u16,
}

impl Place {
    fn new(body: &'static str) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "levqor-integrity-{}",
            levqor::types::JobId::new(levqor::types::Millis(0))
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        let place = Place { folder, port };
        place.pack("");
        place
    }

    fn pack(&self, more: &str) {
        let text = format!(
            "version = 1\nsystem = \"Shop\"\ninclude = [\"http.health.main\", \"http.ops.uptime\"]\n[targets]\napi = \"http://127.0.0.1:{}\"\n{more}",
            self.port
        );
        std::fs::write(self.folder.join("integrity.toml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_levqor"));
        command
            .arg("integrity")
            .args(args)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command.env_remove("LEVQOR_SIGNING_KEY").env("NO_COLOR", "1");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |b| String::from_utf8(b).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_ready_system_leaves_evidence_that_verifies() {
    let place = Place::new("{\"status\": \"ok\"}");
    let (code, out, err) = place.run(&["run", "--format", "junit,sarif"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("READY: 2 checks, 2 passed") && err.contains("PASS     http.health.main"),
        "{out}{err}"
    );
    assert!(err.contains("made the signing key"));
    let (code, out, _) = place.run(&["run", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &document["verdict"], &document["evidence"]["number"]),
        (0, &"READY".into(), &2.into())
    );
    for file in [
        "evidence.json",
        "junit.xml",
        "results.sarif",
        "statement.dsse.json",
        "VERIFY.md",
    ] {
        assert!(place.folder.join("evidence/run-000001").join(file).is_file(), "{file}");
    }
    assert_eq!(place.run(&["verify"]).0, 0);
    assert_eq!(
        place
            .run(&["verify", "evidence/run-000002", "--key", "evidence/run-000001/signer.pub.pem"])
            .0,
        0
    );
    assert_eq!(
        place
            .run(&[
                "verify",
                "evidence",
                "--head",
                document["evidence"]["sha256"].as_str().unwrap()
            ])
            .0,
        0
    );
    let (code, out, _) = place.run(&["diff", "evidence/run-000001", "evidence/run-000002"]);
    assert_eq!((code, out.trim()), (0, "no check differs"));

    let path = place.folder.join("evidence/run-000001/evidence.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"PASS\"", "\"FAIL\"")).unwrap();
    let (code, out, _) = place.run(&["verify"]);
    assert!(
        code == 1 && out.contains("record.changed") && out.contains("NOT what was signed"),
        "{out}"
    );
}

#[test]
fn every_ending_has_its_code() {
    let place = Place::new("{\"status\": \"error\"}");
    let (code, out, err) = place.run(&["run"]);
    assert!(
        code == 1 && out.contains("NOT READY") && out.contains("[http.unhealthy]") && out.contains("help"),
        "{out}{err}"
    );

    place.pack("[check.\"http.health.main\"]\nheaders = { x = { env = \"LEVQOR_TEST_UNSET\" } }\nsemantic = false\n[check.\"http.ops.uptime\"]\nsemantic = false\n");
    let (code, out, _) = place.run(&["run"]);
    assert!(
        code == 3 && out.contains("INDETERMINATE") && out.contains("LEVQOR_TEST_UNSET"),
        "{out}"
    );

    let (code, _, err) = place.run(&["run", "--select", "http.helth.main"]);
    assert!(code == 2 && err.contains("did you mean `http.health.main`?"), "{err}");
    assert_eq!(place.run(&["run", "--format", "jnit"]).0, 2);
    assert_eq!(place.run(&["run", "gone.toml"]).0, 2);
    place.pack("[chek]\n");
    let (code, _, err) = place.run(&["run"]);
    assert!(
        code == 2 && err.contains("/chek") && err.contains("did you mean `check`?"),
        "{err}"
    );

    place.pack("");
    std::fs::write(place.folder.join("file"), "").unwrap();
    let (code, _, err) = place.run(&["run", "--evidence", "file/evidence"]);
    assert!(code == 4 && err.contains("evidence cannot be"), "{code} {err}");
    let (code, out, _) = place.run(&["run", "--no-evidence", "--select", "http.ops.*"]);
    assert!(code == 1 && out.contains("1 checks") && !out.contains("evidence:"), "{out}");
    assert_eq!(place.run(&["verify", "nowhere"]).0, 2);
}

#[test]
fn checks_explain_themselves() {
    let place = Place::new("{}");
    let (code, out, _) = place.run(&["list"]);
    assert_eq!((code, out.lines().count()), (0, 33));
    assert!(place.run(&["list", "integrity.toml"]).1.contains("the pack does not include"));
    let (code, out, _) = place.run(&["explain", "tls.certificate"]);
    assert!(
        code == 0 && out.contains("SOC2:CC6.7") && out.contains("deploy.reachability"),
        "{out}"
    );
    let (code, _, err) = place.run(&["explain", "tls.certifcate"]);
    assert!(code == 2 && err.contains("did you mean `tls.certificate`?"), "{err}");
}

/// A server that is killed with the test.
struct Served(std::process::Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `integrity serve` on a free port and waits for its line.
fn serve(place: &Place, args: &[&str]) -> (Served, u16) {
    use std::io::BufRead as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_levqor"))
        .args(["integrity", "serve", "--listen", "127.0.0.1:0"])
        .args(args)
        .current_dir(&place.folder)
        .env_remove("LEVQOR_SERVE_TOKEN")
        .env_remove("LEVQOR_SIGNING_KEY")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(child.stderr.take().unwrap());
    let line = said.lines().map(Result::unwrap).find(|l| l.contains("listening on")).unwrap();
    let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    (Served(child), port)
}

/// One request: status, headers and body.
fn ask(port: u16, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let host = if headers.contains("host:") {
        String::new()
    } else {
        format!("host: 127.0.0.1:{port}\r\n")
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\n{host}{headers}content-length: 0\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

#[test]
fn runs_are_served_to_those_who_may() {
    let place = Place::new("{\"status\": \"ok\"}");
    let (_child, port) = serve(&place, &[]);
    assert_eq!(ask(port, "GET", "/health", "").0, 200);
    let (status, _, body) = ask(port, "POST", "/api/v1/integrity/run", "");
    let ran: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, ran["verdict"].as_str()), (200, Some("READY")), "{ran}");
    let at = ran["evidence"]["at"].as_str().unwrap();
    let (_, _, evidence) = ask(port, "GET", at, "");
    let evidence: Value = serde_json::from_slice(&evidence).unwrap();
    assert_eq!(evidence["run"]["id"], ran["run"]);
    let (status, head, pdf) = ask(port, "GET", &format!("{at}/report.pdf"), "");
    assert_eq!(status, 200, "{head}");
    assert!(pdf.starts_with(b"%PDF-1.4") && head.contains("application/pdf"));
    let verified: Value = serde_json::from_slice(&ask(port, "GET", &format!("{at}/verify"), "").2).unwrap();
    assert_eq!(
        (&verified["ok"], &verified["trusted"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(
        ask(port, "GET", &format!("{at}/files/raw/http.health.main-http-1.txt"), "").0,
        200
    );
    for path in [
        "/files/../../levqor-signing-key.pem",
        "/files/..%2f..%2flevqor-signing-key.pem",
        "/files/none",
        "9/report.pdf",
    ] {
        assert_eq!(ask(port, "GET", &format!("{at}{path}"), "").0, 404, "{path}");
    }
    let list: Value = serde_json::from_slice(&ask(port, "GET", "/api/v1/integrity/runs", "").2).unwrap();
    assert_eq!(list["runs"][0]["number"], 1);
    // A page in a browser reaches this machine under a name of its own.
    assert_eq!(ask(port, "POST", "/api/v1/integrity/run", "host: evil.example:80\r\n").0, 401);

    let (_child, port) = serve(&place, &["--token", "s3cret-token"]);
    for (headers, status) in [
        ("", 401),
        ("authorization: Bearer s3cret-tokem\r\n", 401),
        ("authorization: Bearer s3cret-token\r\n", 200),
    ] {
        assert_eq!(ask(port, "GET", "/api/v1/integrity/runs", headers).0, status, "{headers}");
    }
    let (code, _, err) = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(code == 2 && err.contains("--token"), "{code} {err}");
}

#[test]
fn a_canary_stays_or_goes() {
    let good = Place::new("{\"status\": \"ok\"}");
    let canary = |place: &Place, args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_levqor"))
            .args(["canary", "--json", &format!("http://127.0.0.1:{}/health", place.port)])
            .args(args)
            .current_dir(&place.folder)
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), document)
    };
    let (code, said) = canary(
        &good,
        &["--every", "5ms", "--for", "1s", "--failures", "20", "--json-at", "/status=ok"],
    );
    assert_eq!(
        (code, &said["verdict"], &said["failed"]),
        (0, &"PROMOTE".into(), &0.into()),
        "{said}"
    );
    let hook = "echo \"$LEVQOR_CANARY_REASON\" > rolled-back";
    let (code, said) = canary(
        &good,
        &[
            "--every",
            "5ms",
            "--for",
            "9s",
            "--json-at",
            "/status=fine",
            "--rollback",
            hook,
        ],
    );
    assert_eq!(
        (code, &said["verdict"], &said["rollback_hook"]),
        (1, &"ROLLBACK".into(), &"called".into()),
        "{said}"
    );
    assert_eq!(said["causes"]["http.json/status"], 3);
    let left = std::fs::read_to_string(good.folder.join("rolled-back")).unwrap();
    assert!(left.contains("3 probes failed one after the other"), "{left}");
    let (code, said) = canary(&good, &["--every", "200ms", "--for", "500ms"]);
    assert_eq!((code, &said["verdict"]), (3, &"INCONCLUSIVE".into()), "{said}");
}

#[test]
fn the_doctor_leaves_nothing_off_in_silence() {
    let place = Place::new("{\"status\": \"ok\"}");
    place.run(&["run"]);
    let doctor = |variable: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_levqor"))
            .args(["doctor", "--json", "--url", "memory://"])
            .current_dir(&place.folder)
            .env_remove("LEVQOR_CONNECTIONS")
            .env(variable, "x")
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), document)
    };
    let (code, said) = doctor("LEVQOR_SINGING_KEY");
    let state = |name: &str| {
        let list = said["findings"].as_array().unwrap();
        list.iter()
            .find(|f| f["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {said}"))["state"]
            .clone()
    };
    assert_eq!(code, 0, "{said}");
    for name in [
        "credits",
        "runs",
        "schedules",
        "evidence",
        "integrity pack",
        "integrity runs",
        "feature pdf",
    ] {
        assert_eq!(state(name), "on", "{name}: {said}");
    }
    assert_eq!(state("variable LEVQOR_SINGING_KEY"), "degraded");
    std::fs::remove_dir_all(place.folder.join("evidence/run-000001")).unwrap();
    assert_eq!(doctor("LEVQOR_ALLOW").0, 1, "a run is missing from the chain");
}

#[test]
fn a_quarter_is_summed_up_without_names() {
    let place = Place::new("{}");
    let readings: Vec<Value> = (0..12)
        .map(|i| serde_json::json!({"account": format!("customer-{i}"), "day": "2026-08-01", "revenue": 10_000, "cost": 4_000, "mrr": 900}))
        .collect();
    std::fs::write(
        place.folder.join("r.json"),
        serde_json::json!({"readings": readings}).to_string(),
    )
    .unwrap();
    let (code, out, err) = place.run(&["insights", "r.json", "--quarter", "2026-Q3", "--pdf", "q.pdf", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert_eq!(
        (code, &said["total"]["revenue"], &said["total"]["margin_bp"]),
        (0, &120_000.into(), &6_000.into())
    );
    assert!(!out.contains("customer-") && std::fs::read(place.folder.join("q.pdf")).unwrap().starts_with(b"%PDF"));
    assert_eq!(place.run(&["insights", "r.json", "--quarter", "2026-Q3", "--k", "2"]).0, 2);
}
