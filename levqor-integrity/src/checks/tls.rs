//! `tls.certificate` and `tls.protocols`.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use levqor_core::types::Millis;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::time::timeout;

use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader};
use crate::probe::{Place, unreachable};
use crate::sha256_hex;
use crate::tls::chain::{Margins, day, instant, judge, parse};
use crate::tls::handshake::{Fault, handshake};
use crate::tls::hello::{Old, Said, greet};

/// The places of the pack that speak TLS, each host once.
struct Places(Vec<Endpoint>);

impl Places {
    fn new(r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let names = r.texts("targets").unwrap_or_else(|| vec!["frontend".into(), "api".into()]);
        let of = |target: String| Endpoint {
            base: basics.targets.iter().find(|(n, _)| *n == target).map(|(_, t)| t.clone()),
            target,
            path: String::new(),
        };
        Places(names.into_iter().map(of).filter(|e| e.base.is_some()).collect())
    }

    fn secure(&self, cx: &CheckCx) -> Result<Vec<Place>, Outcome> {
        let mut places: Vec<Place> = Vec::new();
        for endpoint in &self.0 {
            let url = endpoint.url(cx)?;
            if let Some(place) = Place::of(&url).filter(|p| p.tls)
                && !places.iter().any(|p| p.name() == place.name())
            {
                places.push(place);
            }
        }
        if places.is_empty() {
            let why = if self.0.is_empty() {
                "the pack names no target"
            } else {
                "no target of the pack is an https address"
            };
            return Err(Outcome::skip(why));
        }
        Ok(places)
    }
}

/// The first address that takes a connection.
async fn reachable(place: &Place) -> Result<SocketAddr, Finding> {
    let mut last = None;
    for to in place.addresses().await? {
        match tokio::net::TcpStream::connect(to).await {
            Ok(_) => return Ok(to),
            Err(e) => last = Some(unreachable(&e, to, place)),
        }
    }
    Err(last.unwrap_or_else(|| Finding::error("dns.unresolved", format!("{} has no address", place.host))))
}

pub(super) struct Certificate {
    id: String,
    places: Places,
    margins: Margins,
}

const DAY: i64 = 86_400_000;
const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
const ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

impl Certificate {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let warn = r.int_or("warn_days", 0..=3650, 21);
        let fail = r.int_or("fail_days", 0..=3650, 0);
        Certificate {
            id,
            places: Places::new(r, basics),
            margins: Margins {
                warn: Millis(warn * DAY),
                fail: Millis(fail * DAY),
            },
        }
    }

    async fn look(&self, place: &Place, cx: &CheckCx) -> (Vec<Finding>, serde_json::Value) {
        let at = place.name();
        let to = match reachable(place).await {
            Ok(to) => to,
            Err(finding) => return (vec![finding], json!(null)),
        };
        let (shown, connected) = match handshake(to, &place.host, rustls::ALL_VERSIONS).await {
            Ok(both) => both,
            Err(e) => return (vec![unreachable(&e, to, place)], json!(null)),
        };
        if shown.chain.is_empty() {
            return (vec![no_handshake(connected.err(), &at)], json!(null));
        }
        let pem: String = shown.chain.iter().map(|der| crate::tls::to_pem(der, "CERTIFICATE")).collect();
        cx.capture("certificates", &format!("{at}\n{pem}"));
        let mut said = judge(&shown, &place.host, cx.roots(), cx.now(), self.margins);
        if said.is_empty() && connected.is_err() {
            said.push(no_handshake(connected.err(), &at));
        }
        for finding in &mut said {
            finding.at.clone_from(&at);
        }
        let leaf = shown.chain.first().and_then(|der| parse(der));
        let facts = leaf.map(|c| {
            json!({
                "sha256": sha256_hex(&shown.chain[0]),
                "expires": day(instant(c.validity().not_after)),
                "issuer": c.issuer().to_string(),
                "sent": shown.chain.len(),
            })
        });
        (said, facts.unwrap_or_default())
    }
}

fn no_handshake(fault: Option<Fault>, at: &str) -> Finding {
    let (cause, message, hint) = match fault {
        Some(Fault::Version) => (
            "tls.old_protocol",
            "the server speaks no TLS that is still in use, only 1.1 or older",
            "switch TLS 1.2 and 1.3 on",
        ),
        Some(Fault::NoCipher) => (
            "tls.no_common_cipher",
            "the server and this program have no cipher in common",
            "switch modern suites on",
        ),
        Some(Fault::Name) => (
            "tls.unknown_name",
            "the server does not know this name",
            "is the host configured at the proxy?",
        ),
        Some(Fault::ClientCertificate) => (
            "tls.client_certificate",
            "the server asks for a certificate of the client",
            "customers have none",
        ),
        Some(Fault::NotTls) => (
            "tls.not_tls",
            "what answers does not speak TLS",
            "is the port that of plain HTTP?",
        ),
        Some(Fault::Closed) => (
            "tls.closed",
            "the server closed the connection during the handshake",
            "look at the server's log",
        ),
        _ => ("tls.handshake", "the TLS handshake failed", "compare with openssl s_client"),
    };
    Finding::fail(cause, message)
        .expected("a TLS 1.2 or 1.3 handshake")
        .actual(message)
        .at(at)
        .hint(hint)
}

#[async_trait]
impl Check for Certificate {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let places = match self.places.secure(cx) {
            Ok(places) => places,
            Err(outcome) => return outcome,
        };
        let mut outcome = Outcome::default();
        let within = cx.left();
        let looked = all(places.iter().map(|place| timeout(within.to_duration(), self.look(place, cx)))).await;
        for (place, looked) in places.iter().zip(looked) {
            let Ok((findings, facts)) = looked else {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                let mut finding = unreachable(&late, SocketAddr::from(([0, 0, 0, 0], place.port)), place);
                finding.at = place.name();
                finding.cause = "tls.timeout".into();
                outcome.add(finding);
                continue;
            };
            if let Some(expires) = facts.get("expires").and_then(|e| e.as_str()) {
                outcome.summary = format!("{} until {expires}", place.name());
            }
            findings.into_iter().for_each(|f| outcome.add(f));
            outcome.fact(&place.name(), facts);
        }
        outcome
    }
}

pub(super) struct Protocols {
    id: String,
    places: Places,
}

impl Protocols {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        Protocols {
            id,
            places: Places::new(r, basics),
        }
    }

    async fn look(place: &Place) -> Result<(Vec<Finding>, Vec<&'static str>), Finding> {
        let at = place.name();
        let to = reachable(place).await?;
        let host = place.host.as_str();
        let (ten, eleven, twelve, thirteen) = tokio::join!(
            greet(to, host, Old::Tls10),
            greet(to, host, Old::Tls11),
            agreed(to, host, ONLY_12),
            agreed(to, host, ONLY_13)
        );
        let mut spoken = Vec::new();
        let mut said = Vec::new();
        for (old, answer) in [(Old::Tls10, ten), (Old::Tls11, eleven)] {
            match answer {
                Ok(Said::Refused) => {}
                Ok(Said::Accepted) => {
                    spoken.push(old.name());
                    said.push(
                        Finding::fail("tls.old_version", format!("the server still speaks {}", old.name()))
                            .expected("TLS 1.2 and 1.3 only")
                            .actual(old.name())
                            .at(at.as_str())
                            .hint("switch it off (RFC 8996); payment rules forbid it"),
                    );
                }
                Ok(Said::Nonsense) => return Err(no_handshake(Some(Fault::NotTls), &at)),
                Err(e) => said.push(
                    Finding::error(
                        "tls.no_answer",
                        format!("whether {} is spoken could not be told: {}", old.name(), e.kind()),
                    )
                    .at(at.as_str()),
                ),
            }
        }
        if twelve {
            spoken.push("TLS 1.2");
        }
        if thirteen {
            spoken.push("TLS 1.3");
        } else if twelve {
            said.push(
                Finding::warn("tls.no_1_3", "the server does not speak TLS 1.3")
                    .expected("TLS 1.3")
                    .actual(spoken.join(", "))
                    .at(at.as_str())
                    .hint("switch it on: it is faster and safer"),
            );
        } else {
            said.push(no_handshake(Some(Fault::Version), &at));
        }
        Ok((said, spoken))
    }
}

/// Whether a handshake works. The connection is closed at once: some servers serve one at a time.
async fn agreed(to: SocketAddr, host: &str, versions: &[&'static SupportedProtocolVersion]) -> bool {
    matches!(handshake(to, host, versions).await, Ok((_, Ok(_))))
}

#[async_trait]
impl Check for Protocols {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let places = match self.places.secure(cx) {
            Ok(places) => places,
            Err(outcome) => return outcome,
        };
        let mut outcome = Outcome::default();
        let within = cx.left().to_duration();
        let looked = all(places.iter().map(|place| timeout(within, Self::look(place)))).await;
        for (place, looked) in places.iter().zip(looked) {
            match looked {
                Ok(Ok((findings, spoken))) => {
                    findings.into_iter().for_each(|f| outcome.add(f));
                    outcome.summary = format!("{} speaks {}", place.name(), spoken.join(", "));
                    outcome.fact(&place.name(), spoken);
                }
                Ok(Err(finding)) => outcome.add(finding),
                Err(_) => outcome
                    .add(Finding::error("tls.no_answer", format!("{} did not answer in time", place.name())).at(place.name())),
            }
        }
        outcome
    }
}
