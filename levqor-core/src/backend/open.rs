//! From a URL to a backend. The only room that asks which features were built in.

use std::sync::Arc;

use super::memory::{MemoryClaims, MemoryLimits, MemoryStore};
use crate::claims::Claims;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::store::Store;
use crate::types::Millis;

/// The ports that an engine stands on. A mix is struct update:
/// `Backend { limits: redis_limits, ..backend::open("postgres://…", now).await? }`.
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
        Backend::of(Arc::new(MemoryStore::default()))
    }

    /// A store, with limits and claims in this process.
    pub fn of(store: Arc<dyn Store>) -> Self {
        Backend {
            store,
            limits: Arc::new(MemoryLimits::new()),
            claims: Arc::new(MemoryClaims::default()),
        }
    }
}

/// Opens the backend of a URL: `memory://`, `sqlite://file.db` or `postgres://…`.
pub async fn open(url: &str, now: Millis) -> Result<Backend> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "memory" => Ok(Backend::memory()),
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Backend::of(Arc::new(
            super::sql::open_sqlite(url, &super::sql::SqlOptions::default(), now).await?,
        ))),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Backend::of(Arc::new(
            super::sql::open_postgres(url, &super::sql::SqlOptions::default(), now).await?,
        ))),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(not_built("sqlite", now)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(not_built("postgres", now)),
        _ => Err(Error::new(
            ErrorKind::Config,
            "store.bad_url",
            "the store's address has no scheme that is known",
        )
        .hint("write memory://, sqlite://file.db or postgres://user:password@host/database")),
    }
}

/// The error of a store that was left out of this build (and so needs no date for its schema).
#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn not_built(kind: &str, _now: Millis) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "store.not_built",
        format!("this build has no {kind} store"),
    )
    .hint(format!("build with the feature `{kind}`"))
}
