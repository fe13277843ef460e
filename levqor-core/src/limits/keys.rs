//! Who asks: addresses behind proxies, networks instead of single IPv6 addresses, keys that cannot be
//! mistaken for another.
//!
//! ```
//! use levqor_core::limits::keys::{TrustedProxies, address_key};
//!
//! let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
//! let peer = "10.0.0.7".parse().unwrap();
//! // What a client writes into the header stands left of what our proxy adds, and is not looked at.
//! let client = proxies.client(peer, ["8.8.8.8, 2001:db8:1:2:aaaa::1"]);
//! assert_eq!(address_key(client), "2001:db8:1:2::/64");
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::{Error, Result};

/// The proxies whose word about an address counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4(u32, u32),
    V6(u128, u128),
}

impl Network {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            let shown: String = text.chars().take(50).collect();
            Error::new(
                crate::error::ErrorKind::Config,
                "limits.invalid_network",
                format!("`{shown}` is no network: {why}"),
            )
            .hint("write an address or a CIDR block, like 10.0.0.0/8 or 2001:db8::/32")
        };
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| bad("the address cannot be read"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = match prefix {
            None => width,
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => p
                .parse()
                .ok()
                .filter(|n| *n <= width)
                .ok_or_else(|| bad("the prefix length is too large"))?,
            Some(_) => return Err(bad("the prefix length is not a number")),
        };
        let network = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                Network::V4(a.to_bits(), mask)
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                Network::V6(a.to_bits(), mask)
            }
        };
        match network {
            Network::V4(bits, mask) if bits & !mask != 0 => Err(bad("it has bits behind its prefix")),
            Network::V6(bits, mask) if bits & !mask != 0 => Err(bad("it has bits behind its prefix")),
            ok => Ok(ok),
        }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4(bits, mask), IpAddr::V4(a)) => a.to_bits() & mask == bits,
            (Network::V6(bits, mask), IpAddr::V6(a)) => a.to_bits() & mask == bits,
            _ => false,
        }
    }
}

impl TrustedProxies {
    /// Addresses and CIDR blocks. Trust none, and forwarding headers are never looked at.
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        networks
            .into_iter()
            .map(Network::parse)
            .collect::<Result<_>>()
            .map(TrustedProxies)
    }

    /// Whether an address is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|n| n.contains(address))
    }

    /// The client's address by `X-Forwarded-For`: its field values in the order they came.
    ///
    /// Starting at the peer that is connected to us, each trusted proxy is asked, from the right, whom it
    /// forwards for; the first who is not trusted is the client. An entry that is no address ends the walk
    /// at the proxy that reported it.
    pub fn client<'a>(&self, peer: IpAddr, forwarded_for: impl IntoIterator<Item = &'a str>) -> IpAddr {
        let hops: Vec<&str> = forwarded_for.into_iter().flat_map(|v| v.split(',')).collect();
        self.walk(peer, hops.into_iter().rev().map(address))
    }

    /// The same by the `Forwarded` field (RFC 7239). Use this one or [`client`](TrustedProxies::client),
    /// whichever field the proxies write: the other one comes straight from the client.
    pub fn client_by_forwarded<'a>(&self, peer: IpAddr, forwarded: impl IntoIterator<Item = &'a str>) -> IpAddr {
        let hops: Vec<&str> = forwarded.into_iter().flat_map(|v| v.split(',')).collect();
        let node = |hop: &str| {
            hop.split(';').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                name.eq_ignore_ascii_case("for").then(|| address(value.trim_matches('"')))?
            })
        };
        self.walk(peer, hops.into_iter().rev().map(node))
    }

    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut at = peer.to_canonical();
        for hop in hops {
            if !self.trusts(at) {
                break;
            }
            match hop {
                Some(before) => at = before,
                None => break,
            }
        }
        at
    }
}

/// An address with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|s| s.ip()))
        .ok()
        .map(|a| a.to_canonical())
}

/// The key to limit an address by: an IPv4 address, or the /64 network of an IPv6 address, since a single
/// customer has that many addresses to change between. IPv4 addresses written as IPv6 count as IPv4.
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(a) => Ipv4Addr::to_string(&a),
        IpAddr::V6(a) => format!("{}/64", Ipv6Addr::from_bits(a.to_bits() & (u128::MAX << 64))),
    }
}

/// Several values as one key, each behind its length, so that `("a", "bc")` and `("ab", "c")` differ.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        key.extend_from_slice(part.len().to_string().as_bytes());
        key.push(b':');
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_client_is_the_first_that_no_trusted_proxy_vouches_for() {
        let proxies = TrustedProxies::new(["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1"]).unwrap();
        for (peer, values, client) in [
            ("198.51.100.9", vec!["8.8.8.8"], "198.51.100.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", vec!["1.1.1.1, 203.0.113.5, 10.2.3.4"], "203.0.113.5"),
            ("10.0.0.1", vec!["1.1.1.1", "203.0.113.5", "10.2.3.4"], "203.0.113.5"),
            ("10.0.0.1", vec!["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            ("10.0.0.1", vec!["203.0.113.5:4711"], "203.0.113.5"),
            ("10.0.0.1", vec!["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", vec!["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", vec!["::ffff:203.0.113.5"], "203.0.113.5"),
            ("::ffff:10.0.0.1", vec!["203.0.113.5"], "203.0.113.5"),
            ("2001:db8:ffff::9", vec!["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", vec!["8.8.8.8, unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["8.8.8.8, , 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
        ] {
            assert_eq!(proxies.client(ip(peer), values.clone()), ip(client), "{peer} {values:?}");
        }
        assert_eq!(TrustedProxies::default().client(ip("10.0.0.1"), ["8.8.8.8"]), ip("10.0.0.1"));
    }

    #[test]
    fn the_forwarded_field_is_read_too() {
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        for (value, client) in [
            ("for=1.1.1.1, for=203.0.113.5;proto=https;by=10.0.0.1", "203.0.113.5"),
            ("For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=\"203.0.113.5:80\" ; host=x", "203.0.113.5"),
            ("proto=https", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
        ] {
            assert_eq!(proxies.client_by_forwarded(ip("10.0.0.1"), [value]), ip(client), "{value}");
        }
    }

    #[test]
    fn wrong_networks_are_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "2001:db8::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "example.com",
            "10.0.0/8",
        ] {
            assert_eq!(
                TrustedProxies::new([text]).unwrap_err().code(),
                "limits.invalid_network",
                "{text}"
            );
        }
        assert!(TrustedProxies::new(["0.0.0.0/0"]).unwrap().trusts(ip("1.2.3.4")));
        assert!(!TrustedProxies::new(["0.0.0.0/0"]).unwrap().trusts(ip("2001:db8::1")));
    }

    #[test]
    fn an_ipv6_customer_has_one_key() {
        assert_eq!(
            address_key(ip("2001:db8:1:2:3:4:5:6")),
            address_key(ip("2001:db8:1:2:ffff::1"))
        );
        assert_ne!(address_key(ip("2001:db8:1:2::1")), address_key(ip("2001:db8:1:3::1")));
        assert_eq!(address_key(ip("::ffff:203.0.113.5")), "203.0.113.5");
    }

    #[test]
    fn joined_parts_stay_apart() {
        let mut seen = HashSet::new();
        let parts: [&[u8]; 7] = [b"", b"a", b"ab", b"1:a", b":", b"0:", b"bc"];
        for a in parts {
            for b in parts {
                assert!(seen.insert(join([a, b])));
                assert!(seen.insert(join([a, b, b""])));
            }
        }
    }

    proptest! {
        /// Whatever a client writes into the header itself, its address stays what our proxy saw.
        #[test]
        fn a_forged_header_changes_nothing(forged in "[0-9a-fA-F.:, \\[\\]\"a-z]{0,60}", separate in any::<bool>()) {
            let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
            let (peer, client) = (ip("10.0.0.1"), ip("203.0.113.5"));
            let joined = format!("{forged}, 203.0.113.5");
            let found = if separate {
                proxies.client(peer, [forged.as_str(), "203.0.113.5"])
            } else {
                proxies.client(peer, [joined.as_str()])
            };
            prop_assert_eq!(found, client);
            prop_assert_eq!(proxies.client(client, [forged.as_str()]), client);
        }
    }
}
