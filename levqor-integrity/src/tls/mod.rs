//! TLS as it is, not as a library's verdict: what the server sends is kept whatever it is, and judged by
//! [`chain::judge`], which knows why.

pub(crate) mod chain;
pub(crate) mod handshake;
pub(crate) mod hello;

use std::fmt::Write as _;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::error::{Error, ErrorKind, Result};

/// The certificate authorities that are trusted: the system's, and those that are added.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    added: Vec<Vec<u8>>,
}

impl Roots {
    /// Adds every certificate of a PEM text. `what` names the text in the error.
    pub fn add_pem(&mut self, what: &str, pem: &str) -> Result<()> {
        let found = from_pem(pem, "CERTIFICATE");
        let readable = |der: &Vec<u8>| x509_parser::parse_x509_certificate(der).is_ok();
        if found.is_empty() || !found.iter().all(readable) {
            return Err(Error::new(
                ErrorKind::Config,
                "integrity.bad_authority",
                format!("{what} holds no certificate that can be read"),
            )
            .hint("a PEM file with one or more BEGIN CERTIFICATE blocks"));
        }
        self.added.extend(found);
        Ok(())
    }

    /// The added ones, as DER: for a transport that is to trust the same.
    pub fn added(&self) -> &[Vec<u8>] {
        &self.added
    }

    /// The added ones alone: for what the system's authorities do not stand for.
    pub(crate) fn given(&self) -> impl Iterator<Item = &[u8]> {
        self.added.iter().map(Vec::as_slice)
    }

    /// Every one, as DER.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        static SYSTEM: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let system = SYSTEM.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            found.certs.into_iter().map(|c| c.as_ref().to_vec()).collect()
        });
        self.added.iter().chain(system).map(Vec::as_slice)
    }
}

/// The contents of every block of a kind in a PEM text.
pub(crate) fn from_pem(text: &str, label: &str) -> Vec<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let blocks = text.split(begin.as_str()).skip(1);
    blocks
        .filter_map(|b| {
            let (body, _) = b.split_once(end.as_str())?;
            let body: String = body.split_whitespace().collect();
            STANDARD.decode(body).ok()
        })
        .collect()
}

/// One block of a PEM text.
pub(crate) fn to_pem(der: &[u8], label: &str) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    let _ = text.write_fmt(format_args!("-----END {label}-----\n"));
    text
}
