//! Why a certificate chain is not to be trusted, cause by cause.
//!
//! Libraries say "unknown issuer" for three different faults and "bad signature" for a key that is too small. Here the
//! chain is followed step by step with every cause by its own name; and since that could overlook something, a chain
//! without a complaint is given to the library that clients use ([`webpki`](rustls::client::WebPkiServerVerifier)) as well.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature as sig;
use levqor_core::types::Millis;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKIX_AUTHORITY_INFO_ACCESS;
use x509_parser::public_key::PublicKey;

use super::Roots;
use super::handshake::Shown;
use crate::outcome::Finding;

/// How long the chain has to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Margins {
    /// A warning if it ends sooner.
    pub(crate) warn: Millis,
    /// A failure if it ends sooner.
    pub(crate) fail: Millis,
}

const DAY: i64 = 86_400_000;
/// The longest chain that is followed.
const MAX_CHAIN: usize = 10;

/// Everything that is wrong with what a server showed, for a host at a time.
pub(crate) fn judge(shown: &Shown, host: &str, roots: &Roots, now: Millis, margins: Margins) -> Vec<Finding> {
    let mut said = Vec::new();
    let parsed: Vec<Option<X509Certificate<'_>>> = shown.chain.iter().take(MAX_CHAIN).map(|der| parse(der)).collect();
    let Some(Some(leaf)) = parsed.first() else {
        said.push(
            Finding::fail("tls.no_certificate", "the server sent no certificate that can be read")
                .expected("an X.509 certificate")
                .hint("look at the server's certificate file"),
        );
        return said;
    };
    dates(leaf, "the certificate", "tls.expired", now, margins, &mut said);
    name(leaf, host, &mut said);
    key(leaf, "the certificate", &mut said);
    usage(leaf, &mut said);
    let sent: Vec<&X509Certificate<'_>> = parsed.iter().skip(1).flatten().collect();
    path(leaf, &sent, roots, now, margins, &mut said);
    if shown.proved == Some(false) && said.iter().all(|f| f.cause != "tls.weak_key") {
        said.push(
            Finding::fail(
                "tls.key_mismatch",
                "the server did not prove that it holds the certificate's key",
            )
            .expected("a handshake signed with the key of the certificate")
            .actual("a signature that does not fit")
            .hint("the server's certificate and key file do not belong together"),
        );
    }
    if said.iter().all(|f| f.level == crate::outcome::Level::Warn)
        && let Some(why) = library(shown, host, roots, now)
    {
        said.push(
            Finding::fail("tls.untrusted", format!("clients do not trust the certificate: {why}"))
                .expected("a chain that clients accept")
                .actual(why)
                .hint("compare with what `openssl s_client -showcerts` says"),
        );
    }
    said
}

/// A certificate that can be read to its end.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der)
        .ok()
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, c)| c)
}

pub(crate) fn instant(at: x509_parser::time::ASN1Time) -> Millis {
    Millis(at.timestamp().saturating_mul(1_000))
}

pub(crate) fn day(at: Millis) -> String {
    at.rfc3339().split('T').next().unwrap_or_default().to_owned()
}

fn spell(span: i64) -> String {
    let (n, unit) = match span {
        d if d >= DAY => (d / DAY, "day"),
        h if h >= 3_600_000 => (h / 3_600_000, "hour"),
        m => (m / 60_000, "minute"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

fn dates(cert: &X509Certificate<'_>, what: &str, expired: &str, now: Millis, margins: Margins, said: &mut Vec<Finding>) {
    let (from, to) = (instant(cert.validity().not_before), instant(cert.validity().not_after));
    let between = format!("{} to {}", day(from), day(to));
    if now > to {
        let ago = spell(now.0 - to.0);
        said.push(
            Finding::fail(expired, format!("{what} expired {ago} ago ({})", day(to)))
                .expected(format!("valid at {}", now.rfc3339()))
                .actual(between)
                .hint("renew it, and find out why it was not renewed by itself"),
        );
    } else if now < from {
        let wait = spell(from.0 - now.0);
        said.push(
            Finding::fail("tls.not_yet_valid", format!("{what} is valid only in {wait} ({})", day(from)))
                .expected(format!("valid at {}", now.rfc3339()))
                .actual(between)
                .hint("was it issued with a wrong clock, or installed too early?"),
        );
    } else if to.0 - now.0 < margins.warn.0.max(margins.fail.0) {
        let left = to.0 - now.0;
        let late = left < margins.fail.0;
        let message = format!("{what} expires in {} ({})", spell(left), day(to));
        let finding = if late {
            Finding::fail("tls.expires_soon", message).harmless()
        } else {
            Finding::warn("tls.expires_soon", message)
        };
        let least = if late { margins.fail } else { margins.warn };
        said.push(
            finding
                .expected(format!("at least {} left", spell(least.0)))
                .actual(between)
                .hint("renew it now; by itself it should have been renewed a month before its end"),
        );
    }
}

fn name(leaf: &X509Certificate<'_>, host: &str, said: &mut Vec<Finding>) {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let names = leaf.subject_alternative_name().ok().flatten().map(|e| &e.value.general_names);
    let mut listed = Vec::new();
    let mut fits = false;
    for name in names.into_iter().flatten() {
        match name {
            GeneralName::DNSName(dns) => {
                fits |= host.parse::<IpAddr>().is_err() && name_fits(dns, &host);
                listed.push((*dns).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                let ip = match bytes.len() {
                    4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                    _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
                };
                fits |= ip.is_some() && ip == host.parse().ok();
                listed.extend(ip.map(|i| i.to_string()));
            }
            _ => {}
        }
    }
    if fits {
        return;
    }
    let finding = if listed.is_empty() {
        Finding::fail(
            "tls.no_name",
            "the certificate names no host (it has no subject alternative name)",
        )
        .actual("none")
    } else {
        let shown = listed.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        Finding::fail("tls.wrong_name", format!("the certificate is for {shown}, not for {host}")).actual(shown)
    };
    said.push(
        finding
            .expected(host)
            .hint("install the certificate of this host, or add the name to it"),
    );
}

/// RFC 6125: a star stands for exactly one whole label, the first.
fn name_fits(pattern: &str, host: &str) -> bool {
    let pattern = pattern.trim_end_matches('.').to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(first, tail)| !first.is_empty() && tail == rest && rest.contains('.')),
        None => pattern == host,
    }
}

fn key(cert: &X509Certificate<'_>, what: &str, said: &mut Vec<Finding>) {
    let bits = match cert.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        _ => usize::MAX,
    };
    if bits < 2048 {
        said.push(
            Finding::fail("tls.weak_key", format!("{what} has an RSA key of {bits} bits"))
                .expected("RSA of 2048 bits or more, or ECDSA, or Ed25519")
                .actual(format!("RSA {bits}"))
                .hint("make a new key and let it be certified"),
        );
    }
    let algorithm = cert.signature_algorithm.algorithm.to_id_string();
    let weak = match algorithm.as_str() {
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" | "1.3.14.3.2.29" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.25" => Some("MD5"),
        "1.2.840.113549.1.1.2" => Some("MD2"),
        _ => None,
    };
    if let Some(weak) = weak {
        said.push(
            Finding::fail("tls.weak_signature", format!("{what} is signed with {weak}"))
                .expected("a signature with SHA-256 or better")
                .actual(weak)
                .hint("let it be issued anew; clients refuse this one"),
        );
    }
}

fn usage(leaf: &X509Certificate<'_>, said: &mut Vec<Finding>) {
    if let Ok(Some(purposes)) = leaf.extended_key_usage()
        && !purposes.value.server_auth
        && !purposes.value.any
    {
        said.push(
            Finding::fail("tls.wrong_usage", "the certificate is not meant for servers")
                .expected("extended key usage: TLS server authentication")
                .actual("other purposes only")
                .hint("install a server certificate"),
        );
    }
}

/// Follows the chain from the server's certificate to an authority that is trusted.
fn path(
    leaf: &X509Certificate<'_>,
    sent: &[&X509Certificate<'_>],
    roots: &Roots,
    now: Millis,
    margins: Margins,
    said: &mut Vec<Finding>,
) {
    let trusted: Vec<&[u8]> = roots.all().collect();
    let is_root = |cert: &X509Certificate<'_>| trusted.contains(&cert.as_raw());
    if is_root(leaf) {
        return;
    }
    if leaf.issuer().as_raw() == leaf.subject().as_raw() && signed_by(leaf, leaf) != Some(false) {
        said.push(
            Finding::fail("tls.self_signed", "the certificate is signed by itself")
                .expected("a certificate of an authority that clients trust")
                .actual(format!("issued by {}", leaf.issuer()))
                .hint("get one from a certificate authority, Let's Encrypt for example"),
        );
        return;
    }
    if leaf.is_ca() {
        said.push(
            Finding::fail(
                "tls.authority_as_server",
                "the server uses an authority's certificate as its own",
            )
            .expected("a certificate that is not one of an authority (basicConstraints CA:FALSE)")
            .actual("CA:TRUE")
            .hint("issue a certificate of its own for the server"),
        );
    }
    let mut at = leaf;
    let mut seen = 0;
    loop {
        let issuer = at.issuer().as_raw();
        let anchors: Vec<X509Certificate<'_>> = trusted
            .iter()
            .filter_map(|der| parse(der))
            .filter(|c| c.subject().as_raw() == issuer)
            .collect();
        if let Some(anchor) = anchors.iter().find(|a| signed_by(at, a) != Some(false)) {
            dates(
                anchor,
                &format!("the authority {}", anchor.subject()),
                "tls.authority_expired",
                now,
                NO_MARGIN,
                said,
            );
            return;
        }
        let candidates: Vec<&&X509Certificate<'_>> = sent.iter().filter(|c| c.subject().as_raw() == issuer).collect();
        let next = candidates.iter().find(|c| signed_by(at, c) != Some(false));
        let Some(next) = next else {
            said.push(broken(at, leaf, sent, !candidates.is_empty() || !anchors.is_empty()));
            return;
        };
        let what = format!("the intermediate certificate {}", next.subject());
        if next.subject().as_raw() == next.issuer().as_raw() || seen >= MAX_CHAIN {
            said.push(
                Finding::fail(
                    "tls.untrusted_authority",
                    format!("the chain ends at {}, which is not trusted", next.subject()),
                )
                .expected("an authority that clients trust")
                .actual(next.subject().to_string())
                .hint("for a private authority, add its certificate to `authorities` in the pack"),
            );
            return;
        }
        if !next.is_ca() {
            said.push(
                Finding::fail("tls.issuer_no_authority", format!("{what} may not issue certificates"))
                    .expected("basicConstraints CA:TRUE")
                    .actual("CA:FALSE")
                    .hint("the chain that the server sends is not the one it was issued with"),
            );
        }
        dates(next, &what, "tls.intermediate_expired", now, margins, said);
        key(next, &what, said);
        (at, seen) = (next, seen + 1);
    }
}

const NO_MARGIN: Margins = Margins {
    warn: Millis::ZERO,
    fail: Millis::ZERO,
};

/// The finding for a chain that does not go on.
fn broken(at: &X509Certificate<'_>, leaf: &X509Certificate<'_>, sent: &[&X509Certificate<'_>], named: bool) -> Finding {
    let issuer = at.issuer().to_string();
    if named {
        return Finding::fail(
            "tls.bad_signature",
            format!("{} is not signed by {issuer}, though it says so", at.subject()),
        )
        .expected(format!("a signature by the key of {issuer}"))
        .actual("a signature that does not fit")
        .hint("the chain belongs to another certificate, or one of them was changed");
    }
    let alone = sent.is_empty() && std::ptr::eq(at, leaf);
    let fetchable = at
        .get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS)
        .is_ok_and(|e| e.is_some());
    let message = if alone {
        format!("the server sends its own certificate alone, and not that of its issuer {issuer}")
    } else {
        format!("the chain that the server sends ends before an authority that is trusted: {issuer} is missing")
    };
    let hint = if fetchable {
        "let the server send the full chain (fullchain.pem); some clients fetch the missing part by themselves, others do not"
    } else {
        "let the server send the full chain (fullchain.pem); for a private authority, add its certificate to `authorities` in the pack"
    };
    Finding::fail("tls.incomplete_chain", message)
        .expected(format!(
            "the certificate of {issuer} in the chain, or among the trusted authorities"
        ))
        .actual(format!("{} certificate(s) sent", sent.len() + 1))
        .hint(hint)
}

/// Whether a certificate is signed with another one's key; `None` if the kind of signature is not known here.
pub(crate) fn signed_by(cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Option<bool> {
    verified_by(
        &cert.signature_algorithm.algorithm.to_id_string(),
        issuer,
        cert.tbs_certificate.as_ref(),
        cert.signature_value.data.as_ref(),
    )
}

/// Whether a signature of this kind (an object identifier with dots) over a message is by the key of a certificate.
pub(crate) fn verified_by(oid: &str, signer: &X509Certificate<'_>, message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = signer.public_key();
    let curve = || match key.parsed() {
        Ok(PublicKey::EC(point)) => point.key_size(),
        _ => 0,
    };
    let algorithm: &dyn sig::VerificationAlgorithm = match oid {
        "1.2.840.113549.1.1.5" => &sig::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        "1.2.840.113549.1.1.11" => &sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        "1.2.840.113549.1.1.12" => &sig::RSA_PKCS1_2048_8192_SHA384,
        "1.2.840.113549.1.1.13" => &sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        "1.2.840.10045.4.3.2" if curve() > 300 => &sig::ECDSA_P384_SHA256_ASN1,
        "1.2.840.10045.4.3.2" => &sig::ECDSA_P256_SHA256_ASN1,
        "1.2.840.10045.4.3.3" if curve() > 300 => &sig::ECDSA_P384_SHA384_ASN1,
        "1.2.840.10045.4.3.3" => &sig::ECDSA_P256_SHA384_ASN1,
        "1.2.840.10045.4.3.4" => &sig::ECDSA_P521_SHA512_ASN1,
        "1.3.101.112" => &sig::ED25519,
        _ => return None,
    };
    let public = sig::UnparsedPublicKey::new(algorithm, key.subject_public_key.data.as_ref());
    Some(public.verify(message, signature).is_ok())
}

/// What the library of clients says against it.
fn library(shown: &Shown, host: &str, roots: &Roots, now: Millis) -> Option<String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.all().map(|der| CertificateDer::from(der.to_vec())));
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(default_provider())).build();
    let Ok(verifier) = built else {
        return Some("no authority is trusted on this machine".into());
    };
    let chain: Vec<CertificateDer<'_>> = shown.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.0 / 1_000).unwrap_or(0)));
    let (leaf, rest) = chain.split_first()?;
    verifier
        .verify_server_cert(leaf, rest, &name, &[], at)
        .err()
        .map(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        for (pattern, host, fits) in [
            ("example.com", "example.com", true),
            ("EXAMPLE.com", "example.com", true),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.api.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("api.example.com", "example.com", false),
        ] {
            assert_eq!(name_fits(pattern, host), fits, "{pattern} {host}");
        }
    }
}
