//! Looks at a host below HTTP: its addresses, whether they take connections, and the head of one answer, whatever
//! certificate it comes with. So that a wrong certificate is reported where certificates are looked at, and only there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use levqor_core::types::Millis;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};

use crate::outcome::Finding;
use crate::tls::handshake::handshake;

/// Where a URL leads.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
        Some(Place {
            host,
            port: url.port_or_known_default()?,
            tls: url.scheme() == "https",
            path: format!("{}{query}", url.path()),
        })
    }

    /// `example.com:443`
    pub(crate) fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Its addresses, each once; or the finding that it has none.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Finding> {
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => {
                let mut list: Vec<SocketAddr> = Vec::new();
                found.for_each(|a| {
                    if !list.contains(&a) {
                        list.push(a);
                    }
                });
                if list.is_empty() {
                    Err(self.unresolved("it has no address"))
                } else {
                    Ok(list)
                }
            }
            Err(e) => Err(self.unresolved(&e.to_string())),
        }
    }

    fn unresolved(&self, why: &str) -> Finding {
        Finding::fail("dns.unresolved", format!("the name {} cannot be resolved", self.host))
            .expected("an A or AAAA record")
            .actual(why.trim_start_matches("failed to lookup address information: "))
            .at(self.host.clone())
            .hint("look at the zone of the domain, and whether the domain has expired")
    }
}

/// Why no connection came about.
pub(crate) fn unreachable(e: &io::Error, to: SocketAddr, place: &Place) -> Finding {
    let (cause, what) = match e.kind() {
        io::ErrorKind::ConnectionRefused => ("net.refused", "refuses connections: nothing listens there"),
        io::ErrorKind::TimedOut => ("net.timeout", "does not answer: a firewall, or a host that is down"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            ("net.unreachable", "cannot be reached: there is no route")
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => ("net.reset", "breaks the connection off"),
        _ => ("net.failed", "cannot be connected to"),
    };
    Finding::fail(cause, format!("{} {what}", place.name()))
        .expected("a connection")
        .actual(e.kind().to_string())
        .at(to.to_string())
        .hint("is the service running, and does the firewall let this port pass?")
}

/// Connects, within a time.
pub(crate) async fn connect(to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    timeout(within, TcpStream::connect(to))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// What came instead of a head.
#[derive(Debug)]
pub(crate) enum NoHead {
    Io(io::Error),
    /// The handshake failed: certificates and protocols are looked at elsewhere.
    Tls,
    NotHttp,
}

/// Asks for a page and reads the head of the answer.
pub(crate) async fn head(place: &Place, to: SocketAddr, within: Millis) -> Result<Head, NoHead> {
    let work = async {
        if place.tls {
            let (_, stream) = handshake(to, &place.host, rustls::ALL_VERSIONS).await.map_err(NoHead::Io)?;
            ask(stream.map_err(|_| NoHead::Tls)?, place).await
        } else {
            ask(TcpStream::connect(to).await.map_err(NoHead::Io)?, place).await
        }
    };
    timeout(within.to_duration(), work)
        .await
        .unwrap_or_else(|_| Err(NoHead::Io(io::ErrorKind::TimedOut.into())))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place) -> Result<Head, NoHead> {
    const LARGEST: usize = 64 << 10;
    let default = if place.tls { 443 } else { 80 };
    let host = if place.port == default {
        place.name().trim_end_matches(&format!(":{}", place.port)).to_owned()
    } else {
        place.name()
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: levqor/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        place.path,
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(NoHead::Io)?;
    stream.flush().await.map_err(NoHead::Io)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") && bytes.len() < LARGEST {
        match stream.read(&mut chunk).await {
            Ok(0) if bytes.is_empty() => return Err(NoHead::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(e) if bytes.is_empty() => return Err(NoHead::Io(e)),
            Err(_) => break,
        }
    }
    parse(&String::from_utf8_lossy(&bytes)).ok_or(NoHead::NotHttp)
}

fn parse(text: &str) -> Option<Head> {
    let text = text.split("\r\n\r\n").next()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    Some(Head { status, headers })
}

/// Whether an address belongs to this machine.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
