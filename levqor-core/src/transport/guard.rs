//! Which addresses a request may reach: the guard against server-side request forgery.
//!
//! Three checks work together. [`Guard::url`] looks at the URL before anything is done: scheme, user part,
//! names that mean this machine, and addresses written as numbers (the URL parser has by then turned
//! decimal, octal, hexadecimal and full-width forms into plain ones). [`Guard::address`] looks at every
//! address that a name resolves to; the transport connects to exactly the addresses that were looked at, so
//! a name that changes its mind in between gains nothing. And every redirect goes through both again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use super::Reach;
use crate::error::{Error, ErrorKind, Result};

/// Decides about URLs and addresses.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Vec<Allow>,
}

/// One exception that the host has made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allow {
    /// Addresses that share the first `bits` with `base`.
    Net { base: IpAddr, bits: u8, port: Option<u16> },
    /// A name, whatever it resolves to.
    Name { name: String, port: Option<u16> },
}

impl Guard {
    /// A guard with exceptions from the host's own configuration, each one of
    ///
    /// * an address or a network: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`;
    /// * an address with a port, `127.0.0.1:8099` or `[::1]:8099`: URLs that name this address and port. A
    ///   name that resolves to it is not meant;
    /// * a name, `crm.internal` or `crm.internal:8080`, whatever it resolves to. With a port, other ports of
    ///   that name are closed.
    pub fn new<S: AsRef<str>>(allow: impl IntoIterator<Item = S>) -> Result<Self> {
        let allow = allow
            .into_iter()
            .map(|text| Allow::parse(text.as_ref()))
            .collect::<Result<_>>()?;
        Ok(Guard { allow })
    }

    /// Checks everything that can be told from the URL alone. With [`Reach::Any`] that is its scheme and
    /// that it carries no user or password.
    pub fn url(&self, url: &Url, reach: Reach) -> Result<()> {
        let invalid = |message: &str, help: &str| Err(Error::invalid("http.url_invalid", message).hint(help));
        if !matches!(url.scheme(), "http" | "https") {
            return invalid(
                "the URL's scheme is not http or https",
                "only http and https can be requested",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("the URL carries a user or password", "put credentials into the connection");
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return invalid("the URL has no host", "give an absolute URL");
        };
        if reach == Reach::Any {
            return Ok(());
        }
        let fine = match host {
            Host::Ipv4(ip) => self.literal(IpAddr::V4(ip), port),
            Host::Ipv6(ip) => self.literal(IpAddr::V6(ip), port),
            Host::Domain(name) => self.name(name, port),
        };
        if fine {
            Ok(())
        } else {
            Err(refused(url.host_str().unwrap_or_default()))
        }
    }

    /// Whether a name may be reached at an address that it resolves to.
    pub fn address(&self, name: &str, ip: IpAddr) -> bool {
        let name = plain(name);
        let by_name = self
            .allow
            .iter()
            .any(|a| matches!(a, Allow::Name { name: n, .. } if *n == name));
        by_name || is_public(ip) || self.allow.iter().any(|a| a.holds(ip, None))
    }

    fn literal(&self, ip: IpAddr, port: u16) -> bool {
        is_public(ip) || self.allow.iter().any(|a| a.holds(ip, Some(port)))
    }

    fn name(&self, name: &str, port: u16) -> bool {
        let name = plain(name);
        let mut ports = self.allow.iter().filter_map(|a| match a {
            Allow::Name { name: n, port } if *n == name => Some(*port),
            _ => None,
        });
        if let Some(first) = ports.next() {
            return std::iter::once(first).chain(ports).any(|p| p.is_none_or(|p| p == port));
        }
        let local = ["localhost", "localdomain", "ip6-localhost", "ip6-loopback"];
        !name.is_empty() && !local.contains(&name.rsplit('.').next().unwrap_or_default())
    }
}

/// The error for an address that may not be reached. `host` is shown.
pub(super) fn refused(host: &str) -> Error {
    Error::new(
        ErrorKind::Denied,
        "http.address_refused",
        format!("`{host}` is not a public address"),
    )
    .hint("requests reach public addresses only; the host of this engine can allow others by name")
}

/// Lower case, without the dot that ends a fully qualified name.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Allow {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let bad = || {
            Error::new(
                ErrorKind::Config,
                "http.allow_invalid",
                format!("`{text}` is no address, network or name to allow"),
            )
            .hint("write 10.0.0.0/8, 127.0.0.1:8080, internal.example or internal.example:8080")
        };
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Allow::host(at.ip(), Some(at.port())));
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Allow::host(ip, None));
        }
        if let Some((base, bits)) = text.split_once('/') {
            let base: IpAddr = base.parse().map_err(|_| bad())?;
            let bits: u8 = bits.parse().map_err(|_| bad())?;
            if bits > width(base) {
                return Err(bad());
            }
            return Ok(Allow::Net { base, bits, port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        // The URL parser has the last word on how the name is written, as it has for requests.
        match Host::parse(name) {
            Ok(Host::Domain(parsed)) if !parsed.contains('*') => Ok(Allow::Name {
                name: plain(&parsed),
                port,
            }),
            _ => Err(bad()),
        }
    }

    fn host(ip: IpAddr, port: Option<u16>) -> Self {
        Allow::Net {
            base: ip,
            bits: width(ip),
            port,
        }
    }

    /// `at` is the port of a URL that names the address; `None` for an address that a name resolved to.
    fn holds(&self, ip: IpAddr, at: Option<u16>) -> bool {
        let Allow::Net { base, bits, port } = self else {
            return false;
        };
        let port_fits = match (port, at) {
            (None, _) => true,
            (Some(p), at) => at == Some(*p),
        };
        let ip = ip.to_canonical();
        let same = match (base.to_canonical(), ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                first_bits_equal(u128::from(a.to_bits()) << 96, u128::from(b.to_bits()) << 96, *bits)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => first_bits_equal(a.to_bits(), b.to_bits(), *bits),
            _ => false,
        };
        port_fits && same
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn first_bits_equal(a: u128, b: u128, bits: u8) -> bool {
    bits == 0 || (a ^ b) >> (128 - u32::from(bits.min(128))) == 0
}

/// Whether an address belongs to the public internet, by IANA's registries of special-purpose addresses.
///
/// IPv6 addresses that carry an IPv4 address are as public as that one (mapped, NAT64, ISATAP), or not public
/// at all where nobody serves from them any more (compatible, 6to4, Teredo).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
#[allow(clippy::unnested_or_patterns, reason = "one line for each entry of the registry")]
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)               // this network, private, loopback
            | (100, 64..=127, _)           // carrier-grade NAT
            | (169, 254, _)                // link-local, where clouds keep their metadata
            | (172, 16..=31, _)            // private
            | (192, 0, 0 | 2)              // protocol assignments, documentation
            | (192, 31, 196)               // AS112
            | (192, 52, 193)               // AMT
            | (192, 88, 99)                // 6to4 relays
            | (192, 168, _)                // private
            | (192, 175, 48)               // AS112
            | (198, 18 | 19, _)            // benchmarking
            | (198, 51, 100)               // documentation
            | (203, 0, 113)                // documentation
            | (224..=255, _, _) // multicast, reserved, broadcast
    )
}

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
#[allow(clippy::match_same_arms, reason = "the order of the arms matters")]
#[allow(clippy::cast_possible_truncation, reason = "the low 32 bits are what is wanted")]
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let embedded = || is_public_v4(Ipv4Addr::from_bits(ip.to_bits() as u32));
    match ip.segments() {
        // Mapped, and NAT64: the packet ends at the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => embedded(),
        // Protocol assignments with Teredo, documentation, 6to4, direct delegation AS112, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x2620, 0x4f, 0x8000, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // ISATAP.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, _, _] => embedded(),
        // All that is handed out as global unicast lies here; everything else is special.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn public_is_what_the_registries_leave() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:53aa:64c:0:fbff:80ff:fffe",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2a00:1450::5efe:7f00:1",
            "2a00:1450::200:5efe:a00:1",
            "4000::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn urls_are_refused_for_what_they_say() {
        let guard = Guard::default();
        for (text, code) in [
            ("ftp://example.com/", "http.url_invalid"),
            ("file:///etc/passwd", "http.url_invalid"),
            ("gopher://127.0.0.1:70/_", "http.url_invalid"),
            ("http://user@example.com/", "http.url_invalid"),
            ("http://:pw@example.com/", "http.url_invalid"),
            ("http://localhost/", "http.address_refused"),
            ("http://LOCALHOST./", "http.address_refused"),
            ("http://a.localhost/", "http.address_refused"),
            ("http://localhost.localdomain/", "http.address_refused"),
            ("http://2130706433/", "http.address_refused"),
            ("http://0177.0.0.1/", "http.address_refused"),
            ("http://[::ffff:7f00:1]/", "http.address_refused"),
        ] {
            assert_eq!(guard.url(&url(text), Reach::Public).unwrap_err().code(), code, "{text}");
        }
        guard.url(&url("https://example.com:8443/x?y"), Reach::Public).unwrap();
        guard.url(&url("http://127.0.0.1/"), Reach::Any).unwrap();
        assert!(guard.url(&url("http://a:b@127.0.0.1/"), Reach::Any).is_err());
        assert!(guard.url(&url("file:///etc/passwd"), Reach::Any).is_err());
    }

    #[test]
    fn exceptions_open_what_they_name_and_nothing_beside_it() {
        let guard = Guard::new([
            "127.0.0.1:8099",
            "10.1.0.0/16",
            "fd00::/8",
            "Crm.Internal",
            "mail.internal:25",
            "[::1]:80",
        ])
        .unwrap();
        let ok = |text: &str| guard.url(&url(text), Reach::Public).is_ok();
        assert!(ok("http://127.0.0.1:8099/"));
        assert!(ok("http://[::ffff:127.0.0.1]:8099/"));
        assert!(!ok("http://127.0.0.1:8098/"));
        assert!(!ok("http://127.0.0.2:8099/"));
        assert!(!ok("http://localhost:8099/"));
        assert!(ok("http://10.1.255.1:1234/"));
        assert!(!ok("http://10.2.0.1/"));
        assert!(ok("http://[fd12::1]/"));
        assert!(!ok("http://[fc12::1]/"));
        assert!(ok("http://[::1]/") && !ok("http://[::1]:81/"));
        assert!(ok("http://crm.internal./") && ok("http://crm.internal:99/"));
        assert!(ok("http://mail.internal:25/") && !ok("http://mail.internal/"));

        let inside = |ip: &str| ip.parse::<IpAddr>().unwrap();
        assert!(guard.address("CRM.internal.", inside("127.0.0.1")));
        assert!(!guard.address("evil.crm.internal", inside("127.0.0.1")));
        assert!(!guard.address("evil.example", inside("127.0.0.1")));
        assert!(guard.address("evil.example", inside("10.1.2.3")));
        assert!(guard.address("example.com", inside("8.8.8.8")));
    }

    #[test]
    fn senseless_exceptions_are_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "x/8",
            "a b",
            "name:port",
            "*.internal",
            "name:99999",
            "http://x",
        ] {
            assert_eq!(Guard::new([bad]).unwrap_err().code(), "http.allow_invalid", "{bad}");
        }
        assert!(
            Guard::new(["0.0.0.0/0"])
                .unwrap()
                .url(&url("http://127.0.0.1/"), Reach::Public)
                .is_ok()
        );
    }
}
