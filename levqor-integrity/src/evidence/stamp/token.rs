//! A time stamp token: read, and found to be what it says or not. Whatever of it is not covered by its signature has one
//! spelling only, so that a changed byte shows wherever it is.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;

use super::der::{INTEGER, OCTETS, OID, Reader, SEQUENCE, SET, TIME, Tlv, only, wrap};
use super::{STAMP_FILE, STAMPED};
use crate::evidence::verify::Problem;
use crate::hex;
use crate::tls::Roots;
use crate::tls::chain::{instant, parse, signed_by, verified_by};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERT: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
const SIGNING_CERT_2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
const RSA: &str = "1.2.840.113549.1.1.1";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When the authority saw the statement, RFC 3339 in UTC.
    pub time: String,
    /// The subject of the authority's certificate.
    pub authority: String,
    /// The token's number at the authority, in hex.
    pub serial: String,
    /// Whether the certificate leads to an authority that was said to be trusted; `None` if none was said.
    pub trusted: Option<bool>,
    #[serde(skip)]
    pub(super) nonce: Vec<u8>,
}

/// Granted, with nothing else said.
const GRANTED: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x00];

/// An answer as it is kept: its status without remarks, and the token.
pub(super) fn normal(answer: &[u8]) -> Result<Vec<u8>, String> {
    let unreadable = || "gave an answer that cannot be read".to_owned();
    let whole = only(answer, SEQUENCE).ok_or_else(unreadable)?;
    let mut parts = whole.inside();
    let status = parts.take(SEQUENCE).ok_or_else(unreadable)?;
    let code = status.inside().take(INTEGER).ok_or_else(unreadable)?;
    // 0 is granted, 1 granted with changes (RFC 3161, 2.4.2).
    if !matches!(code.value, [0 | 1]) {
        return Err(format!("refused, with status {}", hex(code.value)));
    }
    let token = parts.take(SEQUENCE).filter(|_| parts.is_empty()).ok_or_else(unreadable)?;
    Ok(wrap(SEQUENCE, &[GRANTED, token.whole]))
}

/// The parts of a token.
struct Token<'a> {
    info: &'a [u8],
    certificates: Vec<&'a [u8]>,
    hash: &'static Algorithm,
    /// As they are signed: with the tag of a set.
    attributes: Vec<u8>,
    signer: Tlv<'a>,
    algorithm: String,
    signature: &'a [u8],
}

struct Info<'a> {
    hash: &'a [u8],
    serial: &'a [u8],
    time: Millis,
    nonce: &'a [u8],
}

fn hash_of(id: &[u8]) -> Option<&'static Algorithm> {
    let mut parts = only(id, SEQUENCE)?.inside();
    let oid = parts.take(OID)?;
    // Parameters are missing or empty; nothing else is written in them.
    if !(parts.is_empty() || parts.0 == [0x05, 0x00]) {
        return None;
    }
    match oid.value {
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => Some(&SHA256),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => Some(&SHA384),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => Some(&SHA512),
        _ => None,
    }
}

/// `1.2.840.113549.1.1.1`
fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut value = 0u64;
    for byte in oid {
        value = value.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (value / 40).min(2);
                numbers.extend([first, value - 40 * first]);
            } else {
                numbers.push(value);
            }
            value = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

fn read(bytes: &[u8]) -> Option<Token<'_>> {
    let mut answer = only(bytes, SEQUENCE)?.inside();
    if answer.take(SEQUENCE)?.whole != GRANTED {
        return None;
    }
    let mut content = answer.take(SEQUENCE).filter(|_| answer.is_empty())?.inside();
    if content.take(OID)?.value != SIGNED_DATA {
        return None;
    }
    let explicit = content.take(0xa0).filter(|_| content.is_empty())?;
    let mut data = only(explicit.value, SEQUENCE)?.inside();
    if data.take(INTEGER)?.value != [3] {
        return None;
    }
    let hashes = data.take(SET)?;
    let mut capsule = data.take(SEQUENCE)?.inside();
    if capsule.take(OID)?.value != TST_INFO {
        return None;
    }
    let info = only(capsule.take(0xa0).filter(|_| capsule.is_empty())?.value, OCTETS)?.value;
    let mut certificates = Vec::new();
    let mut listed = data.maybe(0xa0)?.inside();
    while !listed.is_empty() {
        certificates.push(listed.take(SEQUENCE)?.whole);
    }
    // Lists of what was withdrawn are not covered by the signature and not used here, so they have no place.
    let mut signers = data.take(SET).filter(|_| data.is_empty())?.inside();
    let mut signer = signers.take(SEQUENCE).filter(|_| signers.is_empty())?.inside();
    if signer.take(INTEGER)?.value != [1] {
        return None;
    }
    let by = signer.take(SEQUENCE)?;
    let hash_id = signer.take(SEQUENCE)?;
    if hashes.value != hash_id.whole {
        return None;
    }
    let attributes = signer.take(0xa0)?;
    let mut algorithm = signer.take(SEQUENCE)?.inside();
    let oid = algorithm.take(OID)?;
    if !(algorithm.is_empty() || algorithm.0 == [0x05, 0x00]) {
        return None;
    }
    let signature = signer.take(OCTETS).filter(|_| signer.is_empty())?;
    Some(Token {
        info,
        certificates,
        hash: hash_of(hash_id.whole)?,
        attributes: wrap(SET, &[attributes.value]),
        signer: by,
        algorithm: dotted(oid.value),
        signature: signature.value,
    })
}

fn read_info(bytes: &[u8]) -> Option<Info<'_>> {
    let mut parts = only(bytes, SEQUENCE)?.inside();
    if parts.take(INTEGER)?.value != [1] {
        return None;
    }
    parts.take(OID)?;
    let mut imprint = parts.take(SEQUENCE)?.inside();
    let algorithm = hash_of(imprint.take(SEQUENCE)?.whole)?;
    let hash = imprint
        .take(OCTETS)
        .filter(|_| imprint.is_empty() && *algorithm == SHA256)?
        .value;
    let serial = parts.take(INTEGER)?.value;
    let time = generalized(parts.take(TIME)?.value)?;
    let _accuracy = parts.maybe(SEQUENCE);
    let _ordering = parts.maybe(0x01);
    let nonce = parts.maybe(INTEGER).map(|t| t.value).unwrap_or_default();
    Some(Info {
        hash,
        serial,
        time,
        nonce,
    })
}

/// `20261121100631Z`, with a fraction or without.
fn generalized(text: &[u8]) -> Option<Millis> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.len() == 14 && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    let part = |from: usize, to: usize| whole.get(from..to);
    digits.then_some(())?;
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    Millis::parse_rfc3339(&format!(
        "{}-{}-{}T{}:{}:{}.{millis}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    ))
}

/// The values of an attribute, by its name.
fn attribute<'a>(set: &'a [u8], name: &[u8]) -> Option<Reader<'a>> {
    let mut list = only(set, SET)?.inside();
    while !list.is_empty() {
        let mut attribute = list.take(SEQUENCE)?.inside();
        if attribute.take(OID)?.value == name {
            return attribute.take(SET).map(Tlv::inside);
        }
    }
    None
}

/// Whether the signed attributes name this certificate, by its hash (RFC 5035).
fn names(set: &[u8], certificate: &[u8]) -> bool {
    let first = |name: &[u8]| -> Option<Vec<u8>> {
        let mut value = attribute(set, name)?;
        let mut ids = value.take(SEQUENCE)?.inside().take(SEQUENCE)?.inside();
        Some(ids.take(SEQUENCE)?.value.to_vec())
    };
    if let Some(id) = first(SIGNING_CERT_2) {
        let mut parts = Reader(&id);
        let hash = parts.maybe(SEQUENCE).map_or(Some(&SHA256), |a| hash_of(a.whole));
        let named = parts.take(OCTETS);
        return hash
            .zip(named)
            .is_some_and(|(h, n)| digest(h, certificate).as_ref() == n.value);
    }
    let Some(id) = first(SIGNING_CERT) else { return false };
    let named = Reader(&id).take(OCTETS).map(|n| n.value);
    named == Some(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref())
}

/// Says what a token is, and everything that is wrong with it. `roots` are the authorities whose stamps are trusted.
pub(crate) fn judge(bytes: &[u8], data: &[u8], roots: Option<&Roots>) -> (Option<Stamp>, Vec<Problem>) {
    let mut said = Vec::new();
    let problem = |cause: &str, message: String| Problem::new(cause, STAMP_FILE, message);
    let Some((token, info)) = read(bytes).and_then(|t| read_info(t.info).map(|i| (t, i))) else {
        said.push(problem(
            "stamp.unreadable",
            "the time stamp cannot be read, or is not as it was written".into(),
        ));
        return (None, said);
    };
    if digest(&SHA256, data).as_ref() != info.hash {
        said.push(problem("stamp.other_data", format!("the time stamp is not over {STAMPED}")));
    }
    let parsed: Vec<(&[u8], X509Certificate<'_>)> = token
        .certificates
        .iter()
        .filter_map(|der| parse(der).map(|c| (*der, c)))
        .collect();
    if parsed.len() != token.certificates.len() {
        said.push(problem(
            "stamp.unreadable",
            "a certificate in the time stamp cannot be read".into(),
        ));
    }
    let mut by = token.signer.inside();
    let named = by.take(SEQUENCE).zip(by.take(INTEGER)).filter(|_| by.is_empty());
    let found = parsed.iter().find(|(_, c)| {
        named.is_some_and(|(issuer, serial)| c.tbs_certificate.issuer.as_raw() == issuer.whole && c.raw_serial() == serial.value)
    });
    let Some((der, certificate)) = found else {
        said.push(problem(
            "stamp.certificate",
            "the time stamp does not hold the certificate of its signer".into(),
        ));
        return (None, said);
    };
    let content = attribute(&token.attributes, CONTENT_TYPE).and_then(|mut v| v.take(OID));
    let hash = attribute(&token.attributes, MESSAGE_DIGEST).and_then(|mut v| v.take(OCTETS));
    let algorithm = if token.algorithm == RSA {
        match token.hash.output_len() {
            32 => "1.2.840.113549.1.1.11".to_owned(),
            48 => "1.2.840.113549.1.1.12".to_owned(),
            _ => "1.2.840.113549.1.1.13".to_owned(),
        }
    } else {
        token.algorithm.clone()
    };
    let whole = content.is_some_and(|c| c.value == TST_INFO)
        && hash.is_some_and(|h| h.value == digest(token.hash, token.info).as_ref())
        && names(&token.attributes, der)
        && verified_by(&algorithm, certificate, &token.attributes, token.signature) == Some(true);
    if !whole {
        said.push(problem(
            "stamp.signature",
            "the signature of the time stamp does not fit".into(),
        ));
    }
    let stamps = certificate
        .extended_key_usage()
        .ok()
        .flatten()
        .is_some_and(|usage| usage.critical && usage.value.time_stamping);
    let valid = instant(certificate.validity().not_before) <= info.time && info.time <= instant(certificate.validity().not_after);
    if !stamps || !valid {
        let why = if stamps {
            "was not valid at that time"
        } else {
            "is not for time stamps"
        };
        said.push(problem(
            "stamp.certificate",
            format!("the certificate of {} {why}", certificate.subject()),
        ));
    }
    // The other certificates are not under the signature: each has to be signed by one that is here or trusted.
    let known: Vec<X509Certificate<'_>> = roots.into_iter().flat_map(Roots::given).filter_map(parse).collect();
    let issuer_of = |cert: &X509Certificate<'_>| {
        parsed
            .iter()
            .map(|(_, c)| c)
            .chain(&known)
            .any(|i| i.subject() == cert.issuer() && i.is_ca() && signed_by(cert, i) == Some(true))
    };
    for (other, cert) in parsed.iter().filter(|(other, _)| other != der) {
        let root = cert.subject() == cert.issuer();
        // Not every byte of a certificate is under its own signature: one that is known has to be the one that is known.
        let twin = known.iter().any(|k| k.subject() == cert.subject() && k.as_raw() != *other);
        if twin || (root && signed_by(cert, cert) != Some(true)) || (!root && roots.is_some() && !issuer_of(cert)) {
            let what = hex(&other[..8.min(other.len())]);
            said.push(problem(
                "stamp.certificate",
                format!("a certificate beside the signer's ({what}) is not as it was signed"),
            ));
        }
    }
    let trusted = roots.map(|_| leads_to(certificate, &parsed, &known, info.time));
    if trusted == Some(false) {
        let message = format!(
            "the certificate of {} leads to no authority that is trusted for time stamps",
            certificate.subject()
        );
        said.push(problem("stamp.untrusted", message));
    }
    let stamp = Stamp {
        time: info.time.rfc3339(),
        authority: certificate.subject().to_string(),
        serial: hex(info.serial),
        trusted,
        nonce: info.nonce.to_vec(),
    };
    (Some(stamp), said)
}

/// Whether a certificate leads, over those that came with it, to one that is trusted.
fn leads_to(
    leaf: &X509Certificate<'_>,
    sent: &[(&[u8], X509Certificate<'_>)],
    known: &[X509Certificate<'_>],
    at: Millis,
) -> bool {
    const LONGEST: usize = 6;
    let fits = |cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>| {
        let valid = instant(issuer.validity().not_before) <= at && at <= instant(issuer.validity().not_after);
        issuer.subject() == cert.issuer() && valid && issuer.is_ca() && signed_by(cert, issuer) == Some(true)
    };
    let mut here = leaf;
    for _ in 0..LONGEST {
        if known.iter().any(|root| fits(here, root)) {
            return true;
        }
        match sent
            .iter()
            .map(|(_, c)| c)
            .find(|c| c.subject() != here.subject() && fits(here, c))
        {
            Some(next) => here = next,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_read() {
        assert_eq!(dotted(SIGNED_DATA), "1.2.840.113549.1.7.2");
        for (text, time) in [
            ("20261121100631Z", Some("2026-11-21T10:06:31.000Z")),
            ("20261121100631.25Z", Some("2026-11-21T10:06:31.250Z")),
            ("20261121100631", None),
            ("2026112110063Z", None),
            ("20261321100631Z", None),
        ] {
            assert_eq!(generalized(text.as_bytes()).map(Millis::rfc3339).as_deref(), time, "{text}");
        }
    }
}
