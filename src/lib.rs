//! The back office of a small SaaS as one engine inside your process: rate limits, prepaid credits, durable
//! jobs and pipelines over connectors, on SQLite until you outgrow it and on Postgres after that.
//!
//! This crate is the front door. It re-exports [`levqor_core`] (rules, ports, backends, engine) and, by
//! feature, the connectors; [`open`] makes an engine of a URL with everything that this build has.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> levqor::error::Result<()> {
//! use levqor::engine::{GrantOptions, RunRequest};
//! use serde_json::json;
//!
//! let engine = levqor::open("memory://").await?;
//! engine.credits().grant("acme", "100".parse()?, GrantOptions::default(), None).await?;
//! let pipeline = json!({
//!     "version": 1, "name": "hello", "credits": {"hold": "5", "base": "1"},
//!     "steps": [{"id": "greet", "set": {"$fmt": "hello, {input.name}"}}],
//!     "output": {"$ref": "steps.greet.output"}
//! });
//! let run = engine.pipelines().submit(RunRequest::new("acme", pipeline, json!({"name": "Ann"})).key("order-1")).await?;
//! engine.worker().drain().await?;
//! assert_eq!(engine.pipelines().status(&run.id).await?.result, Some(json!("hello, Ann")));
//! assert_eq!(engine.credits().balance("acme").await?.available.to_string(), "99");
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "mcp")]
pub use levqor_connectors::mcp;
#[cfg(feature = "cli")]
pub mod cli;

pub use levqor_core::*;
#[cfg(feature = "integrity")]
pub use levqor_integrity as integrity;

use levqor_core::backend::Backend;
use levqor_core::clock::SystemClock;
use levqor_core::engine::{Builder, Engine};
use levqor_core::error::Result;

/// Opens a store by its URL (`sqlite://levqor.db`, `postgres://…`, `memory://`) and makes an engine on it
/// with every connector of this build. Nothing is started.
///
/// If the environment variable `LEVQOR_REDIS_URL` is set, limits, claims and wake-ups go over that Redis: see
/// [`open_backend`].
pub async fn open(url: &str) -> Result<Engine> {
    let redis = std::env::var("LEVQOR_REDIS_URL").ok();
    builder(open_backend(url, redis.as_deref()).await?, &[])?.build()
}

/// Opens a store by its URL (see [`backend::open`]) and, where a Redis is given, limits, claims and wake-ups
/// between processes over it. Without the feature `redis` that is an error (`redis.not_built`).
pub async fn open_backend(url: &str, redis: Option<&str>) -> Result<Backend> {
    let backend = backend::open(url, SystemClock::machine()).await?;
    match redis.filter(|url| !url.is_empty()) {
        Some(redis) => backend.with_redis(redis),
        None => Ok(backend),
    }
}

/// An engine to be, on a backend, with the network and every connector of this build: to be finished with
/// connections, limits, options. The environment variable `LEVQOR_SEAL_KEY` gives it keys to seal what tenants store
/// (see [`vault::Sealer`]).
///
/// Requests whose URL came from a user reach public addresses only, and those of `allow`: names, addresses
/// and networks of the inside, like `10.0.0.0/8` or `127.0.0.1:8080`.
pub fn builder(backend: Backend, allow: &[&str]) -> Result<Builder> {
    let builder = Engine::builder(backend);
    let builder = match vault::Sealer::from_env()? {
        Some(sealer) => builder.sealer(sealer),
        None => builder,
    };
    #[cfg(feature = "http")]
    let builder = {
        let options = transport::HttpOptions {
            allow: allow.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        builder.transport(std::sync::Arc::new(transport::HttpTransport::new(options)?))
    };
    #[cfg(not(feature = "http"))]
    let _ = allow;
    Ok(levqor_connectors::all().into_iter().fold(builder, Builder::connector))
}

/// README's Rust is compiled like every example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
