//! What a store of limits must do, and what it is asked and answers.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::policy::{Op, Reason, Verdict};
use super::quota::{Algorithm, Quota, span};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Millis, Tenant};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 8 * 1024;
/// The most asks of one call.
pub const MAX_ASKS: usize = 16;

/// Decides limits. The state lies in memory, in the store or in Redis.
#[async_trait]
pub trait Limits: Send + Sync + 'static {
    /// Decides several asks in one atomic step: either every one passes and all are done, or one is
    /// refused and nothing is done at all.
    ///
    /// No asks pass. Wrong asks (see [`Ask`]) are an error, as is a store that cannot answer and has no
    /// policy for that; a refusal is neither.
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision>;

    /// The same at once, of a store that never has to wait; `None` of all others.
    fn take_now(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Option<Result<Decision>> {
        let _ = (tenant, asks, now);
        None
    }

    /// One limit made ready for many keys, of a store that never has to wait; `None` of all others.
    fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Option<Arc<dyn OneLimit>>> {
        let _ = (tenant, name, quota);
        Ok(None)
    }
}

/// One limit of a tenant, made ready for many keys: the shortest way to a verdict. It counts with every
/// other [`Ask`] of its name and quota, and sees their blocks.
pub trait OneLimit: Send + Sync + 'static {
    /// Takes for a key, which is used as it is, however long.
    fn take(&self, key: &[u8], cost: u32, now: Millis) -> Verdict;
}

/// One limit asked for one key.
///
/// Name, key and quota together say what is counted: the same name and key under another quota is another
/// count, so a key that changes its tier starts anew. A block holds for name and key whatever the quota.
///
/// ```
/// use levqor_core::limits::{Ask, Quota};
/// let ask = Ask::new("runs", "user-17", Quota::per_minute(60).burst(10)).cost(3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// The policy's name, as clients see it in headers: 1 to 64 printable ASCII characters.
    pub name: Arc<str>,
    /// Who or what is limited: any bytes, at most [`MAX_KEY`]. Never shown.
    pub key: Vec<u8>,
    /// How much is allowed.
    pub quota: Quota,
    /// Units it costs. 0 takes nothing.
    pub cost: u32,
    /// What to do.
    pub op: Op,
}

impl Ask {
    /// Takes one unit.
    pub fn new(name: impl Into<Arc<str>>, key: impl Into<Vec<u8>>, quota: Quota) -> Self {
        Ask {
            name: name.into(),
            key: key.into(),
            quota,
            cost: 1,
            op: Op::Take,
        }
    }

    /// How many units it is about.
    #[must_use]
    pub fn cost(mut self, units: u32) -> Self {
        self.cost = units;
        self
    }

    /// What to do instead of taking.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.op = op;
        self
    }

    fn check(&self) -> Result<()> {
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(Error::invalid(
                "limits.invalid_name",
                "the name of a limit has 1 to 64 printable ASCII characters",
            ));
        }
        if self.key.len() > MAX_KEY {
            return Err(Error::invalid(
                "limits.key_too_long",
                format!(
                    "the key of `{}` has {} bytes; {MAX_KEY} are the most",
                    self.name,
                    self.key.len()
                ),
            )
            .hint("use an id, or a hash of what is so long"));
        }
        if matches!(self.op, Op::Queue(_)) && self.quota.algorithm_used() != Algorithm::Gcra {
            return Err(Error::invalid(
                "limits.no_queue",
                format!("the limit `{}` has no queue: only a token bucket has one", self.name),
            )
            .hint("use a quota like `10/second burst 1`"));
        }
        if matches!(self.op, Op::Release(_) | Op::Renew(_)) && self.quota.algorithm_used() != Algorithm::Concurrency {
            return Err(Error::invalid(
                "limits.no_lease",
                format!(
                    "the limit `{}` has no leases: only one of calls in flight has them",
                    self.name
                ),
            )
            .hint("use a quota like `10/30s concurrent`"));
        }
        self.quota.check()
    }
}

/// Refuses asks that no store can decide. Every store calls this first, so that all refuse the same.
pub(crate) fn check_asks(asks: &[Ask]) -> Result<()> {
    if asks.len() > MAX_ASKS {
        return Err(Error::invalid(
            "limits.too_many_asks",
            format!("{} limits are asked at once; {MAX_ASKS} are the most", asks.len()),
        ));
    }
    for (i, ask) in asks.iter().enumerate() {
        ask.check().map_err(|e| e.at(format!("/{i}")))?;
        let same = |other: &Ask| other.name == ask.name && other.key == ask.key && other.quota.shape() == ask.quota.shape();
        if asks[..i].iter().any(same) {
            return Err(Error::invalid(
                "limits.duplicate_ask",
                format!("the limit `{}` is asked twice for one key", ask.name),
            )
            .at(format!("/{i}"))
            .hint("ask once, with the sum of the costs"));
        }
    }
    Ok(())
}

/// Shared text as plain text.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(d).map(Arc::from)
    }
}

/// What came of one ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AskOutcome {
    /// The policy's name.
    #[serde(with = "shared_text")]
    pub name: Arc<str>,
    /// The quota it was decided by.
    pub quota: Quota,
    /// Whether this limit let the call pass. Another may have refused it.
    pub admitted: bool,
    /// Units per period.
    pub limit: u32,
    /// Units that are left now.
    pub remaining: u32,
    /// How long until the key stands as if it had never been seen.
    pub reset_after: Millis,
    /// How long until this limit lets the same call pass. `None` if it did, or never will.
    pub retry_after: Option<Millis>,
    /// How long to wait before going on, for a call that was [queued](Op::Queue).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_after: Millis,
    /// Why it refused.
    pub reason: Option<Reason>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(span: &Millis) -> bool {
    *span == Millis::ZERO
}

/// The answer to all asks of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a refusal is a value: look at `admitted`, or call `admit()`"]
#[non_exhaustive]
pub struct Decision {
    /// Whether the call may go on.
    pub admitted: bool,
    /// One outcome per ask, in their order.
    pub asks: Vec<AskOutcome>,
    /// How long until the same call passes every limit. `None` if it passed, or never will.
    pub retry_after: Option<Millis>,
    /// How long to wait before going on, for a call that was [queued](Op::Queue): the longest of its waits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_after: Millis,
    /// Why it was refused: the reason of the limit that keeps it longest.
    pub reason: Option<Reason>,
    /// Decided without the shared store, by the policy for when it is down.
    pub degraded: bool,
    /// When it was decided.
    pub at: Millis,
}

impl Decision {
    /// The decision over several verdicts, one per ask.
    pub fn new(asks: &[Ask], verdicts: impl IntoIterator<Item = Verdict>, at: Millis) -> Self {
        let asks: Vec<AskOutcome> = asks
            .iter()
            .zip(verdicts)
            .map(|(ask, v)| AskOutcome {
                name: ask.name.clone(),
                quota: ask.quota,
                admitted: v.admitted,
                limit: ask.quota.limit(),
                remaining: v.remaining,
                reset_after: v.reset_after,
                retry_after: v.retry_after,
                ready_after: v.ready_after,
                reason: v.reason,
            })
            .collect();
        let worst = asks
            .iter()
            .filter(|a| !a.admitted)
            .max_by_key(|a| a.retry_after.unwrap_or(Millis::MAX));
        let ready_after = asks.iter().map(|a| a.ready_after).max().unwrap_or(Millis::ZERO);
        Decision {
            admitted: worst.is_none(),
            retry_after: worst.and_then(|a| a.retry_after),
            ready_after: if worst.is_none() { ready_after } else { Millis::ZERO },
            reason: worst.and_then(|a| a.reason),
            degraded: false,
            asks,
            at,
        }
    }

    /// The outcome that binds a client most: the refusal that lasts longest, else the limit with the
    /// smallest part left. `None` if nothing was asked.
    pub fn tightest(&self) -> Option<&AskOutcome> {
        let part = |a: &AskOutcome| (u64::from(a.remaining) << 32) / u64::from(a.limit.max(1));
        let refused = self.asks.iter().filter(|a| !a.admitted);
        refused.max_by_key(|a| a.retry_after.unwrap_or(Millis::MAX)).or_else(|| {
            self.asks
                .iter()
                .min_by(|a, b| part(a).cmp(&part(b)).then(b.reset_after.cmp(&a.reset_after)))
        })
    }

    /// Names of the limits that refused.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        self.asks.iter().filter(|a| !a.admitted).map(|a| &*a.name)
    }

    /// Itself if the call may go on, else the refusal as an error with headers and waiting time.
    pub fn admit(self) -> Result<Decision> {
        match self.to_error() {
            None => Ok(self),
            Some(e) => Err(e),
        }
    }

    /// The refusal as an error; `None` if the call may go on.
    pub fn to_error(&self) -> Option<Error> {
        if self.admitted {
            return None;
        }
        let names: Vec<&str> = self.violated().collect();
        let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let (kind, code, message) = match self.reason {
            Some(Reason::TooCostly) => (
                ErrorKind::RateLimited,
                "limits.too_costly",
                format!("the call costs more than the limit {list} can ever allow"),
            ),
            Some(Reason::Blocked) => (
                ErrorKind::RateLimited,
                "limits.blocked",
                format!("blocked for a time by the limit {list}"),
            ),
            Some(Reason::Denied) => (
                ErrorKind::Denied,
                "limits.denied",
                format!("refused by the deny list of the limit {list}"),
            ),
            Some(Reason::Unavailable) => (
                ErrorKind::Unavailable,
                "limits.unavailable",
                format!("the limit {list} cannot be checked at the moment"),
            ),
            Some(Reason::Exceeded) | None => (
                ErrorKind::RateLimited,
                "limits.exceeded",
                format!("the limit {list} is exceeded"),
            ),
        };
        // The problem types of draft-ietf-httpapi-ratelimit-headers-11, section 5.
        let problem = match self.reason {
            Some(Reason::Unavailable) => "temporary-reduced-capacity",
            Some(Reason::Blocked | Reason::Denied) => "abnormal-usage-detected",
            _ => "quota-exceeded",
        };
        let e = Error::new(kind, code, message)
            .with("type", format!("https://iana.org/assignments/http-problem-types#{problem}"))
            .with("violated-policies", names)
            .with_headers(self.headers());
        Some(match (self.reason, self.retry_after) {
            (Some(Reason::TooCostly), _) => e.retry(false).hint("split it into smaller calls"),
            (Some(Reason::Denied), _) => e.retry(false),
            (_, Some(wait)) => e.after(wait).hint(format!("try again in {}", human(wait))),
            (_, None) => e,
        })
    }

    /// The decision in words, for people who wonder why.
    pub fn explain(&self) -> String {
        let mut text = String::from(if self.admitted { "admitted" } else { "refused" });
        if let Some(wait) = self.retry_after {
            let _ = write!(text, ", passes in {}", human(wait));
        }
        if self.degraded {
            text.push_str(" (the shared store is down; decided without it)");
        }
        for a in &self.asks {
            let _ = match a.quota.algorithm_used() {
                Algorithm::Concurrency => write!(
                    text,
                    "\n- `{}` allows {} at a time, each for {} at most",
                    a.name,
                    a.limit,
                    span(a.quota.period())
                ),
                _ => write!(text, "\n- `{}` allows {} per {}", a.name, a.limit, span(a.quota.period())),
            };
            if a.quota.capacity() != a.limit {
                let _ = write!(text, ", {} at once", a.quota.capacity());
            }
            let _ = write!(text, " ({}): ", a.quota.algorithm_used().word());
            match a.reason {
                None => text.push_str("passes"),
                Some(Reason::Exceeded) => text.push_str("used up"),
                Some(Reason::TooCostly) => text.push_str("the call costs more than it can ever allow"),
                Some(Reason::Blocked) => text.push_str("the key is blocked"),
                Some(Reason::Denied) => text.push_str("the key is on the deny list"),
                Some(Reason::Unavailable) => text.push_str("cannot be checked"),
            }
            let _ = write!(text, ", {} left", a.remaining);
            if a.reset_after > Millis::ZERO {
                let _ = write!(text, ", full again in {}", human(a.reset_after));
            }
            if let Some(wait) = a.retry_after {
                let _ = write!(text, ", passes in {}", human(wait));
            }
            if a.ready_after > Millis::ZERO {
                let _ = write!(text, ", its turn comes in {}", human(a.ready_after));
            }
        }
        text
    }
}

/// A span for people: `250 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`.
fn human(span: Millis) -> String {
    let (ms, s) = (span.0, span.as_secs_ceil());
    match s {
        _ if ms < 1_000 => format!("{ms} ms"),
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn verdict(remaining: u32, reset: i64, refused: Option<(Reason, Option<i64>)>) -> Verdict {
        Verdict {
            admitted: refused.is_none(),
            remaining,
            reset_after: Millis(reset),
            retry_after: refused.and_then(|(_, w)| w).map(Millis),
            ready_after: Millis::ZERO,
            reason: refused.map(|(r, _)| r),
        }
    }

    fn two() -> [Ask; 2] {
        [
            Ask::new("user", "u1", Quota::per_minute(60)),
            Ask::new("global", "", Quota::per_minute(200)),
        ]
    }

    #[test]
    fn wrong_asks_are_refused_with_their_place() {
        let q = Quota::per_minute(60);
        for (asks, code) in [
            (vec![Ask::new("", "k", q)], "limits.invalid_name"),
            (vec![Ask::new("naïve", "k", q)], "limits.invalid_name"),
            (vec![Ask::new("a\nb", "k", q)], "limits.invalid_name"),
            (vec![Ask::new("a", vec![0; MAX_KEY + 1], q)], "limits.key_too_long"),
            (vec![Ask::new("a", "k", Quota::new(1, Millis::ZERO))], "limits.invalid_quota"),
            (
                vec![Ask::new("a", "k", q), Ask::new("a", "k", q.burst(3)).cost(2)],
                "limits.duplicate_ask",
            ),
            (vec![Ask::new("a", "k", q); MAX_ASKS + 1], "limits.too_many_asks"),
            (
                vec![Ask::new("a", "k", q.algorithm(Algorithm::SlidingLog)).op(Op::Queue(NOW))],
                "limits.no_queue",
            ),
            (vec![Ask::new("a", "k", q).op(Op::Renew(NOW))], "limits.no_lease"),
        ] {
            assert_eq!(check_asks(&asks).unwrap_err().code(), code);
        }
        check_asks(&[]).unwrap();
        check_asks(&[Ask::new("a", vec![0xff; MAX_KEY], q), Ask::new("a", "k", Quota::per_hour(60))]).unwrap();
    }

    #[test]
    fn a_refusal_becomes_an_error_with_everything_a_client_needs() {
        let refused = [
            verdict(59, 1_000, None),
            verdict(0, 60_000, Some((Reason::Exceeded, Some(1_400)))),
        ];
        let d = Decision::new(&two(), refused, NOW);
        assert!(!d.admitted);
        let e = d.clone().admit().unwrap_err();
        assert_eq!((e.kind(), e.code()), (ErrorKind::RateLimited, "limits.exceeded"));
        assert_eq!(e.retry_after(), Some(Millis(1_400)));
        assert!(e.headers().iter().any(|(n, v)| n == "Retry-After" && v == "2"));
        let p = e.problem();
        assert_eq!(p["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(p["violated-policies"], serde_json::json!(["global"]));
        assert_eq!(p["status"], 429);
        assert!(
            d.explain().contains("`global` allows 200 per m (gcra): used up"),
            "{}",
            d.explain()
        );
    }

    #[test]
    fn the_longest_refusal_speaks_for_all_and_for_good_is_longest() {
        let both = [
            verdict(0, 0, Some((Reason::Exceeded, Some(9_000)))),
            verdict(0, 0, Some((Reason::Blocked, Some(10_000)))),
        ];
        let d = Decision::new(&two(), both, NOW);
        assert_eq!((d.retry_after, d.reason), (Some(Millis(10_000)), Some(Reason::Blocked)));
        assert_eq!(d.to_error().unwrap().code(), "limits.blocked");
        let never = [
            verdict(60, 0, Some((Reason::TooCostly, None))),
            verdict(0, 0, Some((Reason::Exceeded, Some(9_000)))),
        ];
        let e = Decision::new(&two(), never, NOW).admit().unwrap_err();
        assert_eq!((e.code(), e.retryable(), e.retry_after()), ("limits.too_costly", false, None));
        assert!(!e.headers().iter().any(|(n, _)| n == "Retry-After"));
    }

    #[test]
    fn the_tightest_is_the_one_with_the_smallest_part_left() {
        let d = Decision::new(&two(), [verdict(30, 1, None), verdict(90, 1, None)], NOW);
        assert_eq!(&*d.tightest().unwrap().name, "global", "90 of 200 is less than 30 of 60");
        assert!(Decision::new(&[], [], NOW).tightest().is_none());
        assert!(Decision::new(&[], [], NOW).admitted);
    }
}
