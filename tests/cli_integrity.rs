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
