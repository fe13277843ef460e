//! Time stamps of an authority that openssl plays: offline verification, every changed byte, and openssl's own opinion.
#![allow(clippy::unwrap_used)]

#[path = "support/report.rs"]
mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::post;
use levqor_core::testkit::stores::Folder;
use levqor_core::transport::{HttpOptions, HttpTransport};
use levqor_integrity::Roots;
use levqor_integrity::evidence::stamp::{STAMP_FILE, Stamper};
use levqor_integrity::evidence::verify::{Files, Trust, verify_files};
use levqor_integrity::evidence::{Bundle, Signer};
use sample::{START, checks, made};

fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {said}");
    said
}

/// An authority with a certificate of its own, in a folder.
fn authority(folder: &Path, key: &str, usage: &str) {
    let config = format!(
        "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical,CA:true\n[tsa]\n{usage}\n\
         [tsa_config]\ndefault_tsa = here\n[here]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\ncerts = ca.pem\n\
         signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\ness_cert_id_chain = no\n\
         ess_cert_id_alg = sha256\n"
    );
    std::fs::write(
        folder.join("tsa.cnf"),
        config.replace("[tsa_config]\ndefault_tsa", "[ts_section]\ndefault_tsa"),
    )
    .unwrap();
    std::fs::write(folder.join("serial"), "01\n").unwrap();
    openssl(folder, &format!("genpkey {key} -out ca.key"));
    openssl(folder, &format!("genpkey {key} -out tsa.key"));
    openssl(
        folder,
        "req -x509 -new -key ca.key -out ca.pem -days 30 -subj /CN=Stamps-CA -config tsa.cnf -extensions ca",
    );
    openssl(folder, "req -new -key tsa.key -out tsa.csr -subj /CN=Stamps -config tsa.cnf");
    openssl(
        folder,
        "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -out tsa.pem -extfile tsa.cnf -extensions tsa",
    );
}

const STAMPS: &str =
    "basicConstraints = CA:false\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = critical,timeStamping";

async fn serve(folder: PathBuf) -> String {
    let reply = move |body: Bytes| {
        let folder = folder.clone();
        async move {
            if body.is_empty() {
                return StatusCode::BAD_REQUEST.into_response();
            }
            std::fs::write(folder.join("query"), &body).unwrap();
            let section = "ts -reply -config tsa.cnf -section here -queryfile query -out reply";
            openssl(&folder, section);
            std::fs::read(folder.join("reply")).unwrap().into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(reply))).await.unwrap() });
    url
}

fn roots(folder: &Path) -> Roots {
    let mut roots = Roots::default();
    roots
        .add_pem("ca", &std::fs::read_to_string(folder.join("ca.pem")).unwrap())
        .unwrap();
    roots
}

fn signed() -> Bundle {
    let (bundle, evidence) = made("Acme", checks(3, false, START), START, None);
    bundle.sign(&Signer::generate().unwrap(), &evidence).unwrap()
}

fn causes(files: &Files, stamps: Option<Roots>) -> Vec<String> {
    let trust = Trust { signer: None, stamps };
    let verified = verify_files(files, trust);
    verified.problems.into_iter().map(|p| p.cause).collect()
}

fn transport() -> Arc<HttpTransport> {
    Arc::new(HttpTransport::new(HttpOptions::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_is_verified_offline_and_every_changed_byte_shows() {
    for key in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    ] {
        let folder = Folder::new();
        let place = folder.path();
        authority(place, key, STAMPS);
        let url = serve(place.to_owned()).await;
        let bundle = signed().stamp(&Stamper::new(&url, transport())).await.unwrap();
        let files = bundle.files().clone();
        let trust = Trust {
            signer: None,
            stamps: Some(roots(place)),
        };
        let verified = verify_files(&files, &trust);
        assert!(verified.ok(), "{verified:?}");
        let stamp = verified.stamp.unwrap();
        assert_eq!((stamp.trusted, stamp.authority.as_str()), (Some(true), "CN=Stamps"));
        assert_eq!(verify_files(&files, Trust::default()).stamp.unwrap().trusted, None);

        bundle.write(&place.join("run")).unwrap();
        let said = openssl(
            place,
            "ts -verify -data run/statement.dsse.json -in run/statement.tsr -CAfile ca.pem",
        );
        assert!(said.contains("Verification: OK"), "{said}");

        let token = &files[STAMP_FILE];
        for at in 0..token.len() {
            let mut changed = files.clone();
            changed.get_mut(STAMP_FILE).unwrap()[at] ^= 1 << (at % 8);
            assert!(
                !causes(&changed, Some(roots(place))).is_empty(),
                "byte {at} of {}",
                token.len()
            );
        }
        let mut other = signed().files().clone();
        other.insert(STAMP_FILE.into(), token.clone());
        assert_eq!(causes(&other, None), ["stamp.other_data"]);
        let mut without = files.clone();
        without.remove(STAMP_FILE);
        assert_eq!(causes(&without, Some(roots(place))), ["stamp.missing"]);
        assert!(causes(&without, None).is_empty());
        let stranger = Folder::new();
        authority(stranger.path(), key, STAMPS);
        assert!(causes(&files, Some(roots(stranger.path()))).contains(&"stamp.untrusted".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stamp_is_not_taken() {
    let folder = Folder::new();
    let place = folder.path();
    // A certificate for servers, not for stamps: openssl itself refuses to stamp with it.
    authority(place, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", STAMPS);
    let url = serve(place.to_owned()).await;
    let stamper = Stamper::new(&url, transport());
    let bundle = signed();
    let good = bundle.clone().stamp(&stamper).await.unwrap().files()[STAMP_FILE].clone();
    for (path, answer) in [("/old", good), ("/text", b"no stamp".to_vec()), ("/nothing", Vec::new())] {
        let answer = move || {
            let answer = answer.clone();
            async move { answer }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route(path, post(answer))).await.unwrap() });
        let e = bundle.clone().stamp(&Stamper::new(&url, transport())).await.unwrap_err();
        let code = if path == "/old" { "stamp.bad_token" } else { "stamp.refused" };
        assert_eq!((e.code(), e.place()), (code, Some(url.as_str())), "{e}");
    }
    let e = bundle
        .stamp(&Stamper::new(format!("{url}gone"), transport()))
        .await
        .unwrap_err();
    assert_eq!(e.code(), "stamp.unavailable");
}
