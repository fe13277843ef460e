//! `deploy.reachability`: names resolve, every address takes connections, something answers, and plain http leads to https.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use levqor_core::types::Millis;
use url::Url;

use super::{Basics, all};
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Endpoint, Reader, Text};
use crate::probe::Head;
use crate::probe::{NoHead, Place, connect, head, is_local, unreachable};

pub(super) struct Reachability {
    id: String,
    targets: Vec<Endpoint>,
    /// The plain address that has to lead to https, where it is not that of the target at port 80.
    plain: Option<Text>,
    redirect: bool,
    ipv6: &'static str,
}

impl Reachability {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let names = r.texts("targets").unwrap_or_else(|| vec!["frontend".into(), "api".into()]);
        let targets = names
            .into_iter()
            .map(|target| Endpoint {
                base: basics.targets.iter().find(|(n, _)| *n == target).map(|(_, t)| t.clone()),
                target,
                path: String::new(),
            })
            .collect();
        Reachability {
            id,
            targets,
            plain: r.source("plain_url"),
            redirect: r.bool_or("redirect", true),
            ipv6: r.choice("ipv6", &["require", "if_published", "ignore"], "if_published"),
        }
    }

    async fn target(&self, url: &str, cx: &CheckCx) -> Vec<Finding> {
        let Some(place) = Place::of(url) else {
            return vec![Finding::error("pack.bad_url", format!("{url} is no address that can be reached")).at(url)];
        };
        let addresses = match place.addresses().await {
            Ok(found) => found,
            Err(finding) => return vec![finding],
        };
        let mut said = Vec::new();
        let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().copied().partition(SocketAddr::is_ipv4);
        if self.ipv6 == "require" && v6.is_empty() {
            said.push(
                Finding::fail("dns.no_ipv6", format!("{} has no IPv6 address", place.host))
                    .expected("an AAAA record")
                    .actual("none")
                    .at(place.host.as_str())
                    .hint("publish one; mobile networks are IPv6 first")
                    .harmless(),
            );
        }
        let within = cx.left().to_duration().min(Duration::from_secs(5));
        let considered: Vec<SocketAddr> = addresses
            .iter()
            .copied()
            .filter(|a| a.is_ipv4() || self.ipv6 != "ignore")
            .collect();
        let tried = all(considered.iter().map(|to| async move { (*to, connect(*to, within).await) })).await;
        let open: Vec<SocketAddr> = tried.iter().filter(|(_, c)| c.is_ok()).map(|(to, _)| *to).collect();
        if cx.attempt() == 1 {
            let lines: Vec<String> = tried
                .iter()
                .map(|(to, c)| match c {
                    Ok(_) => format!("{to} connected"),
                    Err(e) => format!("{to} {}", e.kind()),
                })
                .collect();
            cx.capture("tcp", &format!("{}\n{}\n", place.name(), lines.join("\n")));
        }
        for (to, tried) in &tried {
            let Err(e) = tried else { continue };
            let others_work = !open.is_empty();
            // Without IPv6 of its own this machine cannot tell.
            let cannot_tell = to.is_ipv6()
                && !v4.is_empty()
                && matches!(e.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable);
            if others_work && (is_local(to.ip()) || cannot_tell) {
                continue;
            }
            let mut finding = unreachable(e, *to, &place);
            if others_work {
                finding.message = format!("{} cannot be reached at {to}, one of its addresses", place.name());
                finding.cause = if to.is_ipv6() {
                    "net.ipv6_unreachable".into()
                } else {
                    "net.address_unreachable".into()
                };
                finding = finding.harmless();
            }
            said.push(finding);
            if !others_work {
                break;
            }
        }
        let Some(to) = open.first() else { return said };
        let answer = head(&place, *to, cx.left()).await;
        if let Ok(answer) = &answer {
            said.extend(astray(url, answer));
        }
        match answer {
            Ok(answer) if answer.status >= 500 => said.push(
                Finding::fail("net.server_error", format!("{url} answers {}", answer.status))
                    .expected("an answer below 500")
                    .actual(answer.status.to_string())
                    .at(url)
                    .hint(if answer.status == 502 || answer.status == 504 {
                        "the proxy is there, the program behind it is not"
                    } else {
                        "the program fails at its first page"
                    })
                    .harmless(),
            ),
            // What is wrong with TLS is said where certificates are looked at.
            Ok(_) | Err(NoHead::Tls) => {
                if place.tls && self.redirect {
                    self.plain(&place, cx, &mut said).await;
                }
            }
            Err(NoHead::Io(e)) => {
                let mut finding = unreachable(&e, *to, &place);
                finding.cause = if e.kind() == io::ErrorKind::TimedOut {
                    "net.no_answer".into()
                } else {
                    "net.reset".into()
                };
                finding.message = format!("{} takes connections and does not answer", place.name());
                finding.hint = "the program hangs, or something else listens on its port".into();
                said.push(finding);
            }
            Err(NoHead::NotHttp) => said.push(
                Finding::fail(
                    "net.not_http",
                    format!("what answers at {} does not speak HTTP", place.name()),
                )
                .expected("HTTP")
                .actual("something else")
                .at(url)
                .hint("does another program listen on this port?"),
            ),
        }
        said
    }

    /// Where the target speaks https, its plain sister has to lead there, or not to be there at all.
    async fn plain(&self, secure: &Place, cx: &CheckCx, said: &mut Vec<Finding>) {
        let url = match &self.plain {
            Some(text) => match text.need(cx) {
                Ok(url) => url.to_owned(),
                Err(outcome) => return said.extend(outcome.findings),
            },
            None if secure.port == 443 => format!("http://{}{}", secure.name().trim_end_matches(":443"), secure.path),
            None => return,
        };
        let Some(place) = Place::of(&url).filter(|p| !p.tls) else {
            return;
        };
        // One plain address stands for one host.
        if place.host != secure.host {
            return;
        }
        let Ok(addresses) = place.addresses().await else { return };
        let within = cx.left().min(Millis::secs(5));
        let mut answer = None;
        for to in addresses {
            if let Ok(head) = head(&place, to, within).await {
                answer = Some(head);
                break;
            }
        }
        // Nothing that speaks plain HTTP: nobody can be served over it.
        let Some(answer) = answer else { return };
        let finding = |cause: &str, message: String, actual: String| {
            Finding::fail(cause, message)
                .expected(format!("301 or 308 to https://{}", secure.host))
                .actual(actual)
                .at(url.as_str())
                .hint("let the plain port answer nothing but a permanent redirect to https")
                .harmless()
        };
        let target = answer.header("location").and_then(|l| Url::parse(&url).ok()?.join(l).ok());
        match (answer.status, target) {
            (300..=399, Some(target)) if target.scheme() != "https" => {
                let message = format!("{url} leads to another plain address, {target}");
                said.push(finding(
                    "redirect.not_https",
                    message,
                    format!("{} to {target}", answer.status),
                ));
            }
            (300..=399, Some(target)) if !related(target.host_str().unwrap_or_default(), &secure.host) => {
                let message = format!("{url} leads to another host, {}", target.host_str().unwrap_or_default());
                said.push(finding(
                    "redirect.wrong_host",
                    message,
                    format!("{} to {target}", answer.status),
                ));
            }
            (status @ (300 | 302..=307 | 309..=399), Some(_)) => said.push(
                Finding::warn(
                    "redirect.temporary",
                    format!("{url} leads to https for the time being only ({status})"),
                )
                .expected("301 or 308")
                .actual(status.to_string())
                .at(url.as_str())
                .hint("a permanent redirect is remembered, a temporary one asks the plain port every time"),
            ),
            (301 | 308, Some(_)) | (400..=499, _) => {}
            (status, _) => {
                let message = format!("{url} is answered in plain text instead of leading to https");
                said.push(finding("redirect.missing", message, format!("{status} without a redirect")));
            }
        }
    }
}

/// A first page that leads to itself, or back to plain HTTP.
fn astray(url: &str, answer: &Head) -> Option<Finding> {
    let here = Url::parse(url).ok()?;
    let target = here
        .join(answer.header("location")?)
        .ok()
        .filter(|_| (300..400).contains(&answer.status))?;
    let finding = |cause: &str, message: String, hint: &str| {
        Finding::fail(cause, message)
            .expected("a page, or a redirect that leads on")
            .actual(format!("{} to {target}", answer.status))
            .at(url)
            .hint(hint)
            .harmless()
    };
    if target == here {
        let hint = "behind a proxy that ends TLS, the program takes every request for a plain one; trust X-Forwarded-Proto";
        return Some(finding("redirect.loop", format!("{url} leads to itself, for ever"), hint));
    }
    if here.scheme() == "https" && target.scheme() == "http" {
        let message = format!("{url} leads from https back to plain http, {target}");
        return Some(finding("redirect.to_plain", message, "make the redirect's target https"));
    }
    None
}

/// The same host, or with `www.` before one of them.
fn related(a: &str, b: &str) -> bool {
    let bare = |h: &str| h.trim_matches(['[', ']']).trim_start_matches("www.").to_ascii_lowercase();
    bare(a) == bare(b)
}

#[async_trait]
impl Check for Reachability {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let mut urls = Vec::new();
        for target in self.targets.iter().filter(|t| t.base.is_some()) {
            match target.url(cx) {
                Ok(url) => urls.push(url),
                Err(outcome) => return outcome,
            }
        }
        if urls.is_empty() {
            let names: Vec<&str> = self.targets.iter().map(|t| t.target.as_str()).collect();
            return Outcome::skip(format!("the pack names no target {}", names.join(" or ")));
        }
        let mut outcome = Outcome::new(format!("{} reached", urls.join(" and ")));
        for finding in all(urls.iter().map(|url| self.target(url, cx))).await.into_iter().flatten() {
            if !outcome
                .findings
                .iter()
                .any(|f| f.cause == finding.cause && f.at == finding.at)
            {
                outcome.add(finding);
            }
        }
        outcome
    }
}
