//! Every fault of a certificate by its own name.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

mod support;

use std::sync::Arc;

use levqor_core::clock::SystemClock;
use levqor_core::transport::{HttpOptions, HttpTransport};
use levqor_integrity::Status::{self, Fail, Warn};
use levqor_integrity::{CheckResult, IntegrityRun, Pack, RunResult};
use support::tls::{Authority, Wish, listen};

const ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Looks at a server that does nothing but shake hands.
async fn look(server: Arc<rustls::ServerConfig>, authority: &Authority, check: &str) -> RunResult {
    let (port, _secure) = listen(server).await;
    look_at(port, authority, check).await
}

async fn look_at(port: u16, authority: &Authority, check: &str) -> RunResult {
    look_pem(port, &authority.pem(), check).await
}

async fn look_pem(port: u16, pem: &str, check: &str) -> RunResult {
    let text =
        format!("version = 1\ninclude = [\"{check}\"]\n[targets]\napi = \"https://localhost:{port}\"\n[run]\ntimeout = \"5s\"\n");
    let pack: Pack = support::world_pack(&text).unwrap();
    let mut roots = levqor_integrity::Roots::default();
    roots.add_pem("the test's authority", pem).unwrap();
    let transport = Arc::new(HttpTransport::new(HttpOptions::default()).unwrap());
    let run: IntegrityRun = pack
        .run(transport, Arc::new(SystemClock::default()), [].into_iter().collect())
        .unwrap();
    run.roots(roots).run().await.unwrap()
}

fn only(result: &RunResult) -> &CheckResult {
    assert_eq!(result.checks.len(), 1);
    &result.checks[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_judged_cause_by_cause() {
    let authority = Authority::new();
    let good = Wish::default();
    let names = |n: &str| vec![n.to_owned()];
    for (wish, status, cause, says) in [
        (
            Wish {
                days: (-90, -3),
                ..good.clone()
            },
            Fail,
            "tls.expired",
            "expired 3 days ago (",
        ),
        (
            Wish {
                days: (2, 90),
                ..good.clone()
            },
            Fail,
            "tls.not_yet_valid",
            "valid only in 1 day (",
        ),
        (
            Wish {
                days: (-80, 7),
                ..good.clone()
            },
            Warn,
            "tls.expires_soon",
            "expires in 6 days (",
        ),
        (
            Wish {
                names: names("shop.example.com"),
                ..good.clone()
            },
            Fail,
            "tls.wrong_name",
            "is for shop.example.com, not for localhost",
        ),
        (
            Wish {
                names: vec![],
                ..good.clone()
            },
            Fail,
            "tls.no_name",
            "names no host",
        ),
        (
            Wish {
                send_middle: false,
                ..good.clone()
            },
            Fail,
            "tls.incomplete_chain",
            "sends its own certificate alone",
        ),
        (
            Wish {
                self_signed: true,
                ..good.clone()
            },
            Fail,
            "tls.self_signed",
            "signed by itself",
        ),
        (
            Wish {
                client_only: true,
                ..good.clone()
            },
            Fail,
            "tls.wrong_usage",
            "not meant for servers",
        ),
        (
            Wish {
                authority: true,
                ..good.clone()
            },
            Fail,
            "tls.authority_as_server",
            "authority's certificate",
        ),
    ] {
        let result = look(authority.server(&wish), &authority, "tls.certificate").await;
        let check = only(&result);
        let finding = check.findings.first().unwrap_or_else(|| panic!("{cause} was not seen"));
        assert_eq!((check.status, finding.cause.as_str()), (status, cause), "{finding:?}");
        assert!(finding.message.contains(says), "{}", finding.message);
        assert_eq!(check.findings.len(), 1, "{:?}", check.findings);
    }
    let result = look(authority.server(&good), &authority, "tls.certificate").await;
    assert_eq!(only(&result).status, Status::Pass, "{:?}", only(&result));
    let stranger = Authority::new();
    let result = look(stranger.server(&good), &authority, "tls.certificate").await;
    // The other authority has the same name, so the signature is what does not fit.
    assert_eq!(only(&result).findings[0].cause, "tls.bad_signature");
    let old = Authority::named(-5);
    let result = look(old.server(&good), &old, "tls.certificate").await;
    assert_eq!(only(&result).findings[0].cause, "tls.intermediate_expired");
}

/// Keys and hashes that no library makes any more come from openssl.
#[tokio::test(flavor = "multi_thread")]
async fn weak_keys_and_hashes_are_named() {
    let folder = levqor_core::testkit::stores::Folder::new();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |args: &[&str]| {
        let done = std::process::Command::new("openssl").args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (ca, cakey) = (file("ca.pem"), file("ca.key"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        &cakey,
        "-out",
        &ca,
        "-days",
        "30",
        "-subj",
        "/CN=Old Root",
    ]);
    let san = file("san");
    std::fs::write(&san, "subjectAltName=DNS:localhost\n").unwrap();
    for (bits, digest, cause) in [("1024", "-sha256", "tls.weak_key"), ("2048", "-sha1", "tls.weak_signature")] {
        let (key, csr, crt) = (file("s.key"), file("s.csr"), file("s.crt"));
        openssl(&[
            "req",
            "-newkey",
            &format!("rsa:{bits}"),
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &csr,
            "-subj",
            "/CN=server",
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &cakey,
            "-CAcreateserial",
            "-out",
            &crt,
            "-days",
            "60",
            digest,
            "-extfile",
            &san,
        ]);
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = std::process::Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &port.to_string(),
                "-cert",
                &crt,
                "-key",
                &key,
                "-cipher",
                "DEFAULT@SECLEVEL=0",
                "-quiet",
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        let text = std::fs::read_to_string(&ca).unwrap();
        let result = look_pem(port, &text, "tls.certificate").await;
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(
            only(&result).findings.first().map(|f| f.cause.as_str()),
            Some(cause),
            "{:?}",
            only(&result).findings
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_apart() {
    let authority = Authority::new();
    let both = look(authority.server(&Wish::default()), &authority, "tls.protocols").await;
    assert_eq!(only(&both).status, Status::Pass, "{:?}", only(&both));
    let twelve = Wish {
        versions: ONLY_12,
        ..Wish::default()
    };
    let result = look(authority.server(&twelve), &authority, "tls.protocols").await;
    assert_eq!(
        (only(&result).status, only(&result).findings[0].cause.as_str()),
        (Warn, "tls.no_1_3")
    );

    // Old versions, as openssl still speaks them.
    let folder = levqor_core::testkit::stores::Folder::new();
    let (key, crt) = (
        folder.path().join("k").display().to_string(),
        folder.path().join("c").display().to_string(),
    );
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &crt, "-days", "30", "-subj", "/CN=old",
        ])
        .output();
    assert!(made.unwrap().status.success());
    for (arg, check, cause) in [
        ("-tls1", "tls.protocols", "tls.old_protocol"),
        ("-tls1", "tls.certificate", "tls.old_protocol"),
        ("-no_tls1_3", "tls.protocols", "tls.old_version"),
    ] {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = std::process::Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &port.to_string(),
                "-cert",
                &crt,
                "-key",
                &key,
                "-cipher",
                "ALL@SECLEVEL=0",
                "-min_protocol",
                "TLSv1",
                "-quiet",
                arg,
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.try_wait().unwrap().is_none(), "openssl s_server ended: {arg}");
            std::thread::yield_now();
        }
        let result = look_at(port, &authority, check).await;
        server.kill().unwrap();
        server.wait().unwrap();
        let causes: Vec<&str> = only(&result).findings.iter().map(|f| f.cause.as_str()).collect();
        assert!(causes.contains(&cause), "{arg} {check}: {causes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tls_is_said_to_be_none() {
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let app = axum::Router::new();
    tokio::spawn(async move { axum::serve(plain, app).await.unwrap() });
    let result = look_at(port, &Authority::new(), "tls.certificate").await;
    assert_eq!(only(&result).findings[0].cause, "tls.not_tls");
}
