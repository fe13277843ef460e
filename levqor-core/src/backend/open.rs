//! From a URL to a backend. The only room that asks which features were built in.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::memory::{MemoryClaims, MemoryLimits, MemoryStore};
use super::stored::{StoredClaims, StoredLimits};
use crate::claims::Claims;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::store::Store;
use crate::types::Millis;

/// The ports that an engine stands on. A mix is struct update:
/// `Backend { limits: my_limits, ..backend::open("postgres://…", now).await? }`.
#[derive(Clone)]
pub struct Backend {
    /// Everything durable.
    pub store: Arc<dyn Store>,
    /// Rate limits.
    pub limits: Arc<dyn Limits>,
    /// Claims.
    pub claims: Arc<dyn Claims>,
}

impl Backend {
    /// Everything in this process, nothing kept.
    pub fn memory() -> Self {
        Backend {
            store: Arc::new(MemoryStore::default()),
            limits: Arc::new(MemoryLimits::new()),
            claims: Arc::new(MemoryClaims::default()),
        }
    }

    /// A store, with limits and claims in it: exact over all that share it, at the price of a commit for
    /// each that passes.
    pub fn of(store: Arc<dyn Store>) -> Self {
        Backend {
            limits: Arc::new(StoredLimits::new(store.clone())),
            claims: Arc::new(StoredClaims::new(store.clone())),
            store,
        }
    }

    /// The same store, with limits, claims and wake-ups between processes over Redis
    /// (`redis://[user:password@]host:port/db`). Connects when it is first needed.
    pub fn with_redis(self, url: &str) -> Result<Self> {
        #[cfg(feature = "redis")]
        {
            use super::redis::{RedisClaims, RedisLimits, RedisLink, RedisWakes, WokenStore};
            let link = RedisLink::new(url)?;
            Ok(Backend {
                store: Arc::new(WokenStore::new(self.store, RedisWakes::new(link.clone()))),
                limits: Arc::new(RedisLimits::new(link.clone())),
                claims: Arc::new(RedisClaims::new(link)),
            })
        }
        #[cfg(not(feature = "redis"))]
        {
            let _ = url;
            Err(not_built("redis.not_built", "redis", "no Redis"))
        }
    }
}

/// Opens the backend of a URL: `memory://`, `sqlite://file.db` or `postgres://…`.
///
/// A store keeps limits and claims as it keeps everything else. With `?limits=…` at the end of the URL,
/// limits lie elsewhere:
///
/// | | exact over | a call takes |
/// |---|---|---|
/// | `store` (the default) | all processes of the store | a commit if it passes, shared with other callers; a read of the rows under the store's lock if not |
/// | `shm`, `shm:FILE` (feature `shm`) | all processes of the host | well under a microsecond |
/// | `memory` | this process | well under a microsecond |
///
/// `shm` alone means the file beside a SQLite file, `FILE.db.limits`; `shm:/dev/shm/shop.limits` names one,
/// as other stores must.
pub async fn open(url: &str, now: Millis) -> Result<Backend> {
    let (url, limits) = limits_of(url)?;
    let backend = match url.split(':').next().unwrap_or_default() {
        "memory" => Backend::memory(),
        "sqlite" => sqlite(&url, now).await?,
        "postgres" | "postgresql" => postgres(&url, now).await?,
        _ => {
            return Err(Error::new(
                ErrorKind::Config,
                "store.bad_url",
                "the store's address has no scheme that is known",
            )
            .hint("write memory://, sqlite://file.db or postgres://user:password@host/database"));
        }
    };
    let limits = match limits {
        LimitsIn::Store => return Ok(backend),
        LimitsIn::Memory => Arc::new(MemoryLimits::new()),
        LimitsIn::Shm(file) => shm(file, &backend)?,
    };
    Ok(Backend { limits, ..backend })
}

#[derive(Debug, PartialEq, Eq)]
enum LimitsIn {
    Store,
    Memory,
    Shm(Option<PathBuf>),
}

/// Where a URL wants limits, and the URL without that.
fn limits_of(url: &str) -> Result<(Cow<'_, str>, LimitsIn)> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((Cow::Borrowed(url), LimitsIn::Store));
    };
    let (ours, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|p| p.starts_with("limits="));
    let Some(last) = ours.last() else {
        return Ok((Cow::Borrowed(url), LimitsIn::Store));
    };
    let value = url::form_urlencoded::parse(last.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let limits = match value.split_once(':') {
        None if value == "store" => LimitsIn::Store,
        None if value == "memory" => LimitsIn::Memory,
        None if value == "shm" => LimitsIn::Shm(None),
        Some(("shm", file)) if !file.is_empty() => LimitsIn::Shm(Some(file.into())),
        _ => {
            return Err(Error::new(
                ErrorKind::Config,
                "store.bad_url",
                format!("`limits={value}` in the store's address names no place for limits"),
            )
            .hint("write limits=store, limits=memory, limits=shm or limits=shm:/path/of/a/file"));
        }
    };
    let url = if others.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", others.join("&"))
    };
    Ok((Cow::Owned(url), limits))
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, now: Millis) -> Result<Backend> {
    let store = super::sql::open_sqlite(url, &super::sql::SqlOptions::default(), now).await?;
    Ok(Backend::of(Arc::new(store)))
}

#[cfg(not(feature = "sqlite"))]
#[allow(clippy::unused_async, reason = "as where it is built in")]
async fn sqlite(_url: &str, _now: Millis) -> Result<Backend> {
    Err(not_built("store.not_built", "sqlite", "no sqlite store"))
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str, now: Millis) -> Result<Backend> {
    let store = super::sql::open_postgres(url, &super::sql::SqlOptions::default(), now).await?;
    Ok(Backend::of(Arc::new(store)))
}

#[cfg(not(feature = "postgres"))]
#[allow(clippy::unused_async, reason = "as where it is built in")]
async fn postgres(_url: &str, _now: Millis) -> Result<Backend> {
    Err(not_built("store.not_built", "postgres", "no postgres store"))
}

#[cfg(all(feature = "shm", unix))]
fn shm(file: Option<PathBuf>, backend: &Backend) -> Result<Arc<dyn Limits>> {
    let info = backend.store.info();
    let file = match file {
        Some(file) => file,
        None if info.kind == "sqlite" => format!("{}.limits", info.place).into(),
        None => {
            return Err(Error::new(
                ErrorKind::Config,
                "store.bad_url",
                format!("limits in shared memory beside a {} store need a file", info.kind),
            )
            .hint("write limits=shm:/dev/shm/levqor.limits"));
        }
    };
    Ok(Arc::new(super::shm::ShmLimits::open(file)?))
}

#[cfg(not(all(feature = "shm", unix)))]
fn shm(_file: Option<PathBuf>, _backend: &Backend) -> Result<Arc<dyn Limits>> {
    Err(not_built("limits.not_built", "shm", "no limits in shared memory"))
}

/// The error of something that was left out of this build.
#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "redis", feature = "shm", unix)))]
fn not_built(code: &'static str, feature: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, code, format!("this build has {what}")).hint(format!("build with the feature `{feature}`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_place_of_limits_is_taken_out_of_the_url() {
        let file = |f: &str| LimitsIn::Shm(Some(f.into()));
        for (url, rest, limits) in [
            ("sqlite://a.db", "sqlite://a.db", LimitsIn::Store),
            ("sqlite://a.db?x=1", "sqlite://a.db?x=1", LimitsIn::Store),
            ("sqlite://a.db?limits=memory", "sqlite://a.db", LimitsIn::Memory),
            ("sqlite://a.db?limits=shm", "sqlite://a.db", LimitsIn::Shm(None)),
            (
                "postgres://u:p@h/d?sslmode=require&limits=shm:/dev/shm/a%20b&options=-c",
                "postgres://u:p@h/d?sslmode=require&options=-c",
                file("/dev/shm/a b"),
            ),
            ("postgres://h/d?limits=memory&limits=store", "postgres://h/d", LimitsIn::Store),
        ] {
            assert_eq!(limits_of(url).unwrap(), (rest.into(), limits), "{url}");
        }
        for url in [
            "sqlite://a.db?limits=",
            "sqlite://a.db?limits=redis",
            "sqlite://a.db?limits=shm:",
        ] {
            let e = limits_of(url).unwrap_err();
            assert_eq!((e.kind(), e.code()), (ErrorKind::Config, "store.bad_url"), "{url}");
        }
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused() {
        for url in ["", "mysql://h/d", "levqor.db"] {
            assert_eq!(open(url, Millis(0)).await.err().unwrap().code(), "store.bad_url", "{url}");
        }
    }
}
