//! Limits by name: which quotas a service has, whom each of them counts, and who is exempt.
//!
//! ```
//! use levqor_core::limits::{Policies, Subject};
//!
//! let policies: Policies = "
//!     user:   60/minute burst 10 by user; pro 600/minute
//!     ip:     20/minute by ip
//!     upload: 4/5m concurrent by user+folder
//!     global: 200/minute
//!     allow user admin
//!     deny ip 203.0.113.0/24
//! ".parse().unwrap();
//! let who = Subject::new().user("ann").ip("198.51.100.7".parse().unwrap()).tier("pro");
//! assert_eq!(policies.asks(&who).len(), 3, "nobody said which folder");
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::keys::{self, Network};
use super::port::{Ask, MAX_ASKS};
use super::quota::Quota;
use crate::error::{Error, Result};

/// Who or what a call comes from, and what it costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    values: BTreeMap<String, Value>,
    tier: Option<String>,
    quotas: BTreeMap<String, Quota>,
    cost: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Address(IpAddr),
}

impl Value {
    fn key(&self) -> Vec<u8> {
        match self {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Address(address) => keys::address_key(*address).into_bytes(),
        }
    }
}

impl Subject {
    /// Nobody in particular, at a cost of one unit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that policies count by.
    #[must_use]
    pub fn with(mut self, what: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.values.insert(what.into(), Value::Bytes(value.into()));
        self
    }

    /// The user: what policies `by user` count.
    #[must_use]
    pub fn user(self, user: impl Into<Vec<u8>>) -> Self {
        self.with("user", user)
    }

    /// The address: what policies `by ip` count, IPv6 by its /64 network. Take it from
    /// [`TrustedProxies::client`](super::keys::TrustedProxies::client), not from a header.
    #[must_use]
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.values.insert("ip".to_owned(), Value::Address(address));
        self
    }

    /// The tier, whose quotas count where a policy has some for it.
    #[must_use]
    pub fn tier(mut self, tier: impl Into<String>) -> Self {
        self.tier = Some(tier.into());
        self
    }

    /// A quota for this subject under a policy, whatever the policy says.
    #[must_use]
    pub fn quota(mut self, policy: impl Into<String>, quota: Quota) -> Self {
        self.quotas.insert(policy.into(), quota);
        self
    }

    /// How many units the call costs.
    #[must_use]
    pub fn cost(mut self, units: u32) -> Self {
        self.cost = Some(units);
        self
    }
}

/// A quota with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: Arc<str>,
    quota: Quota,
    /// What it counts by; nothing counts all together.
    by: Vec<String>,
    tiers: BTreeMap<String, Quota>,
    dry_run: bool,
}

impl Policy {
    /// Reads `60/minute burst 10 by user; pro 600/minute; dry-run`: a quota, what it counts by (several
    /// joined with `+`), then quotas of tiers, and whether it only says what it would do.
    pub fn new(name: &str, text: &str) -> Result<Self> {
        let bad = |why: String| Error::invalid("limits.invalid_policy", format!("the policy `{name}` cannot be used: {why}"));
        let mut parts = text.split(';').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (quota, by) = match first.split_once(" by ") {
            Some((quota, by)) => (quota, by.split('+').map(|w| w.trim().to_owned()).collect()),
            None => (first, Vec::new()),
        };
        if by.iter().any(|w: &String| w.is_empty() || w.contains(char::is_whitespace)) {
            return Err(bad("behind `by` stand words joined with `+`".into()).hint("write it like `60/minute by user+folder`"));
        }
        let mut policy = Policy {
            name: name.into(),
            quota: quota.parse()?,
            by,
            tiers: BTreeMap::new(),
            dry_run: false,
        };
        for part in parts.filter(|p| !p.is_empty()) {
            match part.split_once(char::is_whitespace) {
                Some((tier, quota)) => drop(policy.tiers.insert(tier.to_owned(), quota.parse()?)),
                None if part == "dry-run" => policy.dry_run = true,
                None => {
                    return Err(bad(format!("`{part}` is neither a tier with its quota nor `dry-run`"))
                        .hint("write tiers like `pro 600/minute`"));
                }
            }
        }
        Ask::new(policy.name.clone(), "", policy.quota).check()?;
        Ok(policy)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The quota of a tier, or of all others.
    pub fn quota(&self, tier: Option<&str>) -> Quota {
        tier.and_then(|t| self.tiers.get(t)).copied().unwrap_or(self.quota)
    }

    /// Whether it only says what it would do.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Counts and tells, but refuses nobody: for trying a policy on real traffic. Calls in flight count for
    /// their whole lease then.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// What it asks about a subject; `None` if it counts by something the subject does not have.
    pub fn ask(&self, who: &Subject) -> Option<Ask> {
        let values = self.by.iter().map(|what| who.values.get(what).map(Value::key));
        let values = values.collect::<Option<Vec<_>>>()?;
        let key = match values.as_slice() {
            [one] => one.clone(),
            several => keys::join(several.iter().map(Vec::as_slice)),
        };
        let own = who.quotas.get(&*self.name).copied();
        let quota = own.unwrap_or_else(|| self.quota(who.tier.as_deref()));
        Some(Ask::new(self.name.clone(), key, quota).cost(who.cost.unwrap_or(1)))
    }
}

/// Who is exempt or shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    what: String,
    matches: Matches,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Matches {
    Bytes(Vec<u8>),
    Network(Network),
}

impl Entry {
    fn new(what: &str, value: &str) -> Result<Self> {
        let matches = match what {
            "ip" => Matches::Network(Network::parse(value)?),
            _ => Matches::Bytes(value.as_bytes().to_vec()),
        };
        Ok(Entry {
            what: what.to_owned(),
            matches,
        })
    }

    fn covers(&self, who: &Subject) -> bool {
        match (&self.matches, who.values.get(&self.what)) {
            (Matches::Bytes(listed), Some(Value::Bytes(value))) => listed == value,
            (Matches::Network(network), Some(Value::Address(address))) => network.contains(address.to_canonical()),
            _ => false,
        }
    }
}

/// What the lists say of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listed {
    /// Nothing: it is limited like everybody.
    No,
    /// It is not limited.
    Allowed,
    /// It is refused.
    Denied,
}

/// The policies of a service, and its lists of who is exempt from them or shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    all: Vec<Policy>,
    allow: Vec<Entry>,
    deny: Vec<Entry>,
}

impl Default for Policies {
    /// 60 a minute for each user, 20 a minute for each address, 200 a minute for all together.
    fn default() -> Self {
        let of = |name: &str, quota, by: &[&str]| Policy {
            name: name.into(),
            quota,
            by: by.iter().map(|w| (*w).to_owned()).collect(),
            tiers: BTreeMap::new(),
            dry_run: false,
        };
        Policies {
            all: vec![
                of("user", Quota::per_minute(60), &["user"]),
                of("ip", Quota::per_minute(20), &["ip"]),
                of("global", Quota::per_minute(200), &[]),
            ],
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

impl Policies {
    /// None, so that nothing is limited.
    pub fn none() -> Self {
        Policies {
            all: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }

    /// Adds a policy.
    ///
    /// # Errors
    /// If there is one of this name, or too many for one call.
    pub fn with(mut self, policy: Policy) -> Result<Self> {
        if self.get(&policy.name).is_some() {
            return Err(Error::invalid(
                "limits.duplicate_policy",
                format!("there are two policies of the name `{}`", policy.name),
            ));
        }
        if self.all.len() == MAX_ASKS {
            return Err(Error::invalid(
                "limits.too_many_policies",
                format!("at most {MAX_ASKS} policies can be decided at once"),
            ));
        }
        self.all.push(policy);
        Ok(self)
    }

    /// Exempts whoever has this value: `("user", "admin")`, `("ip", "10.0.0.0/8")`.
    pub fn allow(mut self, what: &str, value: &str) -> Result<Self> {
        self.allow.push(Entry::new(what, value)?);
        Ok(self)
    }

    /// Shuts out whoever has this value, be it exempt or not.
    pub fn deny(mut self, what: &str, value: &str) -> Result<Self> {
        self.deny.push(Entry::new(what, value)?);
        Ok(self)
    }

    /// A policy by its name.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.all.iter().find(|p| &*p.name == name)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.all.iter()
    }

    /// What the lists say of a subject.
    pub fn listed(&self, who: &Subject) -> Listed {
        let on = |list: &[Entry]| list.iter().any(|e| e.covers(who));
        if on(&self.deny) {
            Listed::Denied
        } else if on(&self.allow) {
            Listed::Allowed
        } else {
            Listed::No
        }
    }

    /// What is asked of a subject: every policy that counts by what it has.
    pub fn asks(&self, who: &Subject) -> Vec<Ask> {
        self.all.iter().filter_map(|p| p.ask(who)).collect()
    }
}

impl FromStr for Policies {
    type Err = Error;

    /// Reads lines of `name: policy`, `allow what value` and `deny what value`; empty lines and what stands
    /// behind `#` say nothing.
    fn from_str(text: &str) -> Result<Self> {
        let mut all = Policies::none();
        for (i, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(said, _)| said).trim();
            if line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let read = match (line.split_once(':'), words.as_slice()) {
                (_, ["allow", what, value]) => all.clone().allow(what, value),
                (_, ["deny", what, value]) => all.clone().deny(what, value),
                (Some((name, policy)), _) => Policy::new(name.trim(), policy.trim()).and_then(|p| all.clone().with(p)),
                (None, _) => Err(Error::invalid("limits.invalid_policy", "the line is no policy")
                    .hint("write it like `user: 60/minute by user`, `allow user admin` or `deny ip 203.0.113.0/24`")),
            };
            all = read.map_err(|e| e.at(format!("line {}", i + 1)))?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_defaults_limit_users_addresses_and_all_together() {
        let asks = Policies::default().asks(&Subject::new().user("ann").ip(ip("2001:db8::7")).cost(2));
        let told: Vec<_> = asks
            .iter()
            .map(|a| (&*a.name, a.key.as_slice(), a.quota.to_string(), a.cost))
            .collect();
        assert_eq!(
            told,
            [
                ("user", b"ann".as_slice(), "60/m".to_owned(), 2),
                ("ip", b"2001:db8::/64".as_slice(), "20/m".to_owned(), 2),
                ("global", b"".as_slice(), "200/m".to_owned(), 2),
            ]
        );
        assert_eq!(
            Policies::default().asks(&Subject::new()).len(),
            1,
            "who is nobody counts with all"
        );
    }

    #[test]
    fn tiers_and_own_quotas_take_the_place_of_the_common_one() {
        let policies: Policies = "runs: 60/minute by user; pro 600/minute; max 6000/minute burst 9"
            .parse()
            .unwrap();
        let quota = |who: Subject| policies.asks(&who.user("u"))[0].quota.to_string();
        assert_eq!(quota(Subject::new()), "60/m");
        assert_eq!(quota(Subject::new().tier("pro")), "600/m");
        assert_eq!(quota(Subject::new().tier("max")), "6000/m burst 9");
        assert_eq!(quota(Subject::new().tier("unheard")), "60/m");
        assert_eq!(quota(Subject::new().tier("pro").quota("runs", Quota::per_day(3))), "3/d");
    }

    #[test]
    fn parts_of_a_key_stay_apart() {
        let policies: Policies = "up: 4/m by user+folder".parse().unwrap();
        let key = |user: &str, folder: &str| {
            policies.asks(&Subject::new().user(user).with("folder", folder))[0]
                .key
                .clone()
        };
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert!(policies.asks(&Subject::new().user("a")).is_empty());
    }

    #[test]
    fn whoever_is_denied_stays_out_even_if_allowed() {
        let policies: Policies = "allow user admin\nallow ip 10.0.0.0/8\ndeny ip 10.6.6.0/24".parse().unwrap();
        for (who, listed) in [
            (Subject::new().user("admin"), Listed::Allowed),
            (Subject::new().user("ann").ip(ip("10.1.2.3")), Listed::Allowed),
            (Subject::new().user("ann").ip(ip("::ffff:10.1.2.3")), Listed::Allowed),
            (Subject::new().user("admin").ip(ip("10.6.6.6")), Listed::Denied),
            (Subject::new().user("10.1.2.3"), Listed::No),
            (Subject::new().with("ip", "10.1.2.3"), Listed::No),
            (Subject::new(), Listed::No),
        ] {
            assert_eq!(policies.listed(&who), listed, "{who:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, code) in [
            ("user: 60/minut by user", "limits.invalid_quota"),
            ("\nuser 60/minute", "limits.invalid_policy"),
            ("user: 60/minute by", "limits.invalid_quota"),
            ("user: 60/minute by a b", "limits.invalid_policy"),
            ("user: 60/minute by user; pro", "limits.invalid_policy"),
            ("näme: 60/minute", "limits.invalid_name"),
            ("a: 1/s\na: 2/s", "limits.duplicate_policy"),
            ("deny ip 300.1.1.1", "limits.invalid_network"),
        ] {
            let e = text.parse::<Policies>().unwrap_err();
            assert_eq!(e.code(), code, "{text}");
            assert!(e.place().is_some_and(|p| p.starts_with("line ")), "{e:?}");
        }
        let many = (0..=MAX_ASKS).map(|i| format!("p{i}: 1/s")).collect::<Vec<_>>().join("\n");
        assert_eq!(many.parse::<Policies>().unwrap_err().code(), "limits.too_many_policies");
        let said: Policies = "# nothing\n\na: 1/s # one\n".parse().unwrap();
        assert_eq!(said.iter().count(), 1);
    }
}
