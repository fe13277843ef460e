use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Millis;
use crate::error::{Error, Result};

/// Bytes from the operating system's generator, and only from there: a generator kept in the process
/// would be copied by `fork`, and two children would draw the same ids.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe can be done without it.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    assert!(
        SystemRandom::new().fill(&mut bytes).is_ok(),
        "the operating system gives no random bytes"
    );
    bytes
}

/// The same generator, for algorithms that draw by themselves.
pub fn secure_random() -> &'static dyn SecureRandom {
    static RANDOM: std::sync::OnceLock<SystemRandom> = std::sync::OnceLock::new();
    RANDOM.get_or_init(SystemRandom::new)
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Whether an id's text may have this byte behind its prefix.
pub(crate) fn is_id_byte(byte: u8) -> bool {
    ALPHABET.contains(&byte)
}

/// Keeps ids of one process and one millisecond in the order they were made. Uniqueness does not rest
/// on it: 64 random bits follow.
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

/// Time-ordered text: 48 bits of milliseconds, 16 of sequence, 64 of randomness, in Crockford's base 32.
fn time_ordered(prefix: &str, now: Millis) -> String {
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    written(
        prefix,
        now,
        u128::from(sequence) << 64 | u128::from(u64::from_be_bytes(random_bytes())),
    )
}

/// 48 bits of milliseconds and the lowest 80 of `rest`.
fn written(prefix: &str, now: Millis, rest: u128) -> String {
    let time = u128::from(u64::try_from(now.0).unwrap_or(0) & 0xffff_ffff_ffff);
    let bits = time << 80 | rest & ((1 << 80) - 1);
    let mut text = String::with_capacity(prefix.len() + 27);
    text.push_str(prefix);
    text.push('_');
    for i in (0..26).rev() {
        text.push(char::from(ALPHABET[(bits >> (i * 5)) as usize & 31]));
    }
    text
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal $(| $other:literal)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id. Ids made later sort later.
            pub fn new(now: Millis) -> Self {
                $name(time_ordered($prefix, now).into())
            }

            /// Takes a text that is known to be an id, as read back from a store.
            pub(crate) fn stored(text: impl Into<Arc<str>>) -> Self {
                $name(text.into())
            }

            /// The text, shared.
            pub(crate) fn shared(&self) -> Arc<str> {
                self.0.clone()
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                let rest = text.split_once('_').filter(|(p, _)| *p == $prefix $(|| *p == $other)?).map(|(_, r)| r);
                match rest {
                    Some(r) if r.len() == 26 && r.bytes().all(is_id_byte) => Ok($name(text.into())),
                    _ => Err(Error::invalid(
                        "id.invalid",
                        format!("`{}` is not an id of the form {}_…", text.chars().take(40).collect::<String>(), $prefix),
                    )),
                }
            }
        }
    )*};
}

ids! {
    /// A job in a queue. A run of a pipeline is a job too; its id starts with `run_`.
    JobId = "job" | "run";
    /// A batch of jobs.
    BatchId = "batch";
    /// A grant of credits.
    GrantId = "grant";
    /// A hold on credits.
    HoldId = "hold";
    /// A ledger transaction.
    TxnId = "txn";
    /// A worker process.
    WorkerId = "work";
    /// An API key. Part of the key's text, and no secret.
    KeyId = "key";
}

impl JobId {
    /// A new id for a run of a pipeline.
    pub fn run(now: Millis) -> Self {
        JobId(time_ordered("run", now).into())
    }

    /// The id of a job (or run) that follows from something else: the same time and the same lowest 80 bits make
    /// the same id.
    pub(crate) fn derived(run: bool, at: Millis, bits: u128) -> Self {
        JobId(written(if run { "run" } else { "job" }, at, bits).into())
    }
}

/// The id of what follows from something that is known: the same seed gives the same id, wherever and
/// however often it is made.
fn seeded(prefix: &str, at: Millis, seed: &str) -> Arc<str> {
    let hash = digest::digest(&digest::SHA256, seed.as_bytes());
    let bits = hash
        .as_ref()
        .iter()
        .take(10)
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    written(prefix, at, bits).into()
}

impl TxnId {
    /// The id of a transaction that nobody asked for.
    pub(crate) fn derived(at: Millis, seed: &str) -> Self {
        TxnId(seeded(Self::PREFIX, at, seed))
    }
}

impl GrantId {
    /// The id of a grant that is made of another one.
    pub(crate) fn derived(at: Millis, seed: &str) -> Self {
        GrantId(seeded(Self::PREFIX, at, seed))
    }
}

/// Whose data it is. Every durable row carries its tenant; `"default"` unless another is asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant's name: 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Tenant(name.into()))
        } else {
            Err(Error::invalid(
                "tenant.invalid",
                "a tenant's name has 1 to 64 of the characters a-z A-Z 0-9 . _ -",
            ))
        }
    }

    pub(crate) fn stored(text: impl Into<Arc<str>>) -> Self {
        Tenant(text.into())
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Tenant("default".into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_readable_and_sort_by_time() {
        let ids: Vec<JobId> = (0..10_000).map(|i| JobId::new(Millis(1_700_000_000_000 + i / 100))).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(ids[0] < ids[9_999]);
        assert_eq!(ids[5].as_str().parse::<JobId>().unwrap(), ids[5]);
        assert!(ids[5].as_str().parse::<HoldId>().is_err());
        assert!("job_tooshort".parse::<JobId>().is_err());
    }

    #[test]
    fn tenants_are_plain_names() {
        assert_eq!(Tenant::default().as_str(), "default");
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(Tenant::new(bad).is_err(), "{bad}");
        }
    }
}
