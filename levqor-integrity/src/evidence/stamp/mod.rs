//! Time stamps by somebody else (RFC 3161): an authority signs that the signed statement existed at a time.
//!
//! The token stands in the bundle as `statement.tsr`, over `statement.dsse.json`. The same check with openssl:
//!
//! ```text
//! openssl ts -verify -data statement.dsse.json -in statement.tsr -CAfile tsa-ca.pem
//! openssl ts -reply -in statement.tsr -text
//! ```

mod der;
mod token;

pub use token::Stamp;
pub(crate) use token::judge;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::transport::{Reach, Request, Transport};
use levqor_core::types::{Millis, random_bytes};

use der::{INTEGER, OCTETS, SEQUENCE, wrap};

/// The name of the token in a bundle.
pub const STAMP_FILE: &str = "statement.tsr";

/// What a token is over.
pub(crate) const STAMPED: &str = "statement.dsse.json";

/// `AlgorithmIdentifier` of SHA-256, with and without its empty parameters.
pub(crate) const SHA256_ID: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
];

/// A time stamp authority.
#[derive(Clone)]
pub struct Stamper {
    url: String,
    transport: Arc<dyn Transport>,
}

impl fmt::Debug for Stamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamper({})", self.url)
    }
}

impl Stamper {
    /// The authority at this address. The address is the host's own, so it may lie inside.
    pub fn new(url: impl Into<String>, transport: Arc<dyn Transport>) -> Self {
        Stamper {
            url: url.into(),
            transport,
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token over these bytes, as it stands in [`STAMP_FILE`]. What comes back is looked at before it is used: it has to
    /// be over these bytes and to answer this question.
    pub async fn stamp(&self, data: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; 8] = random_bytes();
        let mut request = Request::new("POST", self.url.as_str());
        request
            .headers
            .push(("content-type".into(), "application/timestamp-query".into()));
        request.headers.push(("accept".into(), "application/timestamp-reply".into()));
        request.body = query(data, nonce).into();
        request.reach = Reach::Any;
        request.timeout = Millis::secs(15);
        let answer = self.transport.send(request).await?;
        let bad = |code: &'static str, why: String| {
            Error::new(ErrorKind::Unavailable, code, format!("the time stamp authority {why}"))
                .at(self.url.as_str())
                .hint("the evidence is kept without a time stamp; look at the authority, or take another one")
        };
        if answer.status != 200 {
            return Err(bad("stamp.unavailable", format!("answers {}", answer.status)));
        }
        let bytes = token::normal(&answer.body).map_err(|why| bad("stamp.refused", why))?;
        let (stamp, problems) = judge(&bytes, data, None);
        if let Some(problem) = problems.first() {
            return Err(bad(
                "stamp.bad_token",
                format!("gave a token that is wrong: {}", problem.message),
            ));
        }
        if stamp.is_none_or(|s| s.nonce != positive(nonce)) {
            return Err(bad("stamp.bad_token", "answered another question".into()));
        }
        Ok(bytes)
    }
}

/// A positive integer: DER takes a leading one as a sign.
fn positive(nonce: [u8; 8]) -> Vec<u8> {
    let mut bytes = nonce.to_vec();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

/// `TimeStampReq`: version 1, the digest, a nonce, and the wish for the certificate.
fn query(data: &[u8], nonce: [u8; 8]) -> Vec<u8> {
    let hash = wrap(OCTETS, &[digest(&SHA256, data).as_ref()]);
    let imprint = wrap(SEQUENCE, &[SHA256_ID, &hash]);
    let nonce = wrap(INTEGER, &[&positive(nonce)]);
    wrap(SEQUENCE, &[&[0x02, 0x01, 0x01], &imprint, &nonce, &[0x01, 0x01, 0xff]])
}
