//! Ed25519 keys, and the DSSE envelope.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::json;
use levqor_core::types::random_bytes;
use serde_json::{Value, json};

use crate::sha256_hex;
use crate::tls::{from_pem, to_pem};

/// What is signed.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that signs. Never shows itself.
pub struct Signer(Ed25519KeyPair);

/// A key that verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

fn bad_key(what: &str) -> Error {
    Error::new(ErrorKind::Config, "evidence.bad_key", format!("the key {what}"))
        .hint("an Ed25519 key in PEM, as `openssl genpkey -algorithm ed25519` makes it")
}

impl Signer {
    /// A new key.
    pub fn generate() -> Result<Self> {
        let seed: [u8; 32] = random_bytes();
        Ed25519KeyPair::from_seed_unchecked(&seed)
            .map(Signer)
            .map_err(|_| Error::internal("no key can be made of random bytes"))
    }

    /// Reads `BEGIN PRIVATE KEY`, PKCS#8.
    pub fn from_pem(text: &str) -> Result<Self> {
        let der = from_pem(text, "PRIVATE KEY");
        let [der] = der.as_slice() else {
            return Err(bad_key("file holds no single private key"));
        };
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(Signer)
            .map_err(|_| bad_key("is no Ed25519 key"))
    }

    /// The key as PEM. A secret.
    pub fn to_pem(&self) -> Result<String> {
        let der = self
            .0
            .to_pkcs8v1()
            .map_err(|_| Error::internal("the key cannot be written"))?;
        Ok(to_pem(der.as_ref(), "PRIVATE KEY"))
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// A statement in a signed envelope.
    pub(crate) fn seal(&self, payload: &[u8]) -> Vec<u8> {
        envelope(payload, &self.public().id(), &self.sign(&pae(payload)))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public().id())
    }
}

impl PublicKey {
    /// Reads `BEGIN PUBLIC KEY`.
    pub fn from_pem(text: &str) -> Result<Self> {
        let der = from_pem(text, "PUBLIC KEY");
        let [der] = der.as_slice() else {
            return Err(bad_key("file holds no single public key"));
        };
        let key = der.strip_prefix(SPKI.as_slice()).and_then(|k| k.try_into().ok());
        key.map(PublicKey).ok_or_else(|| bad_key("is no Ed25519 key"))
    }

    fn der(self) -> Vec<u8> {
        [SPKI.as_slice(), &self.0].concat()
    }

    /// The key as PEM, for openssl.
    pub fn to_pem(self) -> String {
        to_pem(&self.der(), "PUBLIC KEY")
    }

    /// Its id: SHA-256 of its DER form, in hex.
    pub fn id(self) -> String {
        sha256_hex(&self.der())
    }

    pub(crate) fn verify(self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// What a DSSE signature is over: the type and the payload, each behind its length.
pub(crate) fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The envelope's one text.
pub(crate) fn envelope(payload: &[u8], key_id: &str, signature: &[u8]) -> Vec<u8> {
    let value = json!({
        "payloadType": PAYLOAD_TYPE,
        "payload": STANDARD.encode(payload),
        "signatures": [{"keyid": key_id, "sig": STANDARD.encode(signature)}],
    });
    json::canonical(&value).into_bytes()
}

/// The parts of an envelope: payload, key id, signature. `None` if it is not written as [`envelope`] writes it.
pub(crate) fn open(bytes: &[u8]) -> Option<(Vec<u8>, String, Vec<u8>)> {
    let value: Value = json::parse(bytes, "the envelope", 64 << 20).ok()?;
    let payload = STANDARD.decode(value["payload"].as_str()?).ok()?;
    let key_id = value["signatures"][0]["keyid"].as_str()?.to_owned();
    let signature = STANDARD.decode(value["signatures"][0]["sig"].as_str()?).ok()?;
    (envelope(&payload, &key_id, &signature) == bytes).then_some((payload, key_id, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_through_pem_and_back() {
        let signer = Signer::generate().unwrap();
        let again = Signer::from_pem(&signer.to_pem().unwrap()).unwrap();
        assert_eq!(again.public(), signer.public());
        assert_eq!(PublicKey::from_pem(&signer.public().to_pem()).unwrap(), signer.public());
        let signature = signer.sign(b"x");
        assert!(signer.public().verify(b"x", &signature) && !signer.public().verify(b"y", &signature));
        assert_eq!(Signer::from_pem("nothing").unwrap_err().code(), "evidence.bad_key");
        assert!(!format!("{signer:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_envelope_has_one_spelling() {
        let bytes = envelope(b"{}", "k", b"s");
        assert_eq!(open(&bytes), Some((b"{}".to_vec(), "k".into(), b"s".to_vec())));
        let spaced = String::from_utf8(bytes).unwrap().replace(':', ": ");
        assert_eq!(open(spaced.as_bytes()), None);
        // The published example of DSSE has another type; its form is this.
        assert!(pae(b"hello").starts_with(b"DSSEv1 28 application/vnd.in-toto+json 5 hello"));
    }
}
