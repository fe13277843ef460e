//! Limits over Redis, beside the floor: the plainest token bucket there is as a script, called with the same
//! client over the same kind of connection. What ours costs more is what several algorithms, several limits
//! at once, blocks, and an answer in time whatever Redis does cost.
#![allow(clippy::cast_precision_loss, reason = "counts of a bench are small")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use levqor::backend::redis::{OnDown, RedisLimits, RedisLink};
use levqor::clock::SystemClock;
use levqor::limits::{Ask, Limits, Quota};
use levqor::testkit::services::Service;
use levqor::types::Tenant;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::harness::median;
use crate::results::Row;

const ROUNDS: usize = 15;
/// Calls of a round, one after the other.
const ALONE: usize = 1_000;
/// Callers at the same time, and calls of each in a round.
const CALLERS: usize = 100;
const EACH: usize = 100;
const FLOOR: &str = include_str!("floor.lua");

pub(crate) fn rows() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("{e}"));
    runtime.block_on(measure()).unwrap_or_else(|e| panic!("{e}"))
}

/// A way to ask once for the key of a caller.
trait Call: Clone + Send + Sync + 'static {
    fn call(&self, key: usize) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Floor {
    connection: MultiplexedConnection,
    sha: Arc<str>,
}

impl Call for Floor {
    async fn call(&self, key: usize) {
        let mut connection = self.connection.clone();
        let answer: (i64, i64) = redis::cmd("EVALSHA")
            .arg(&*self.sha)
            .arg(1)
            .arg(format!("floor:{key}"))
            .arg(1)
            .arg(1_000_000)
            .query_async(&mut connection)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(answer.0, 1);
    }
}

#[derive(Clone)]
struct Ours {
    limits: Arc<RedisLimits>,
    names: &'static [&'static str],
}

impl Call for Ours {
    async fn call(&self, key: usize) {
        let key = key.to_string();
        let quota = Quota::per_second(1_000_000);
        let asks: Vec<Ask> = self.names.iter().map(|n| Ask::new(*n, key.as_str(), quota)).collect();
        let decision = self.limits.take(&Tenant::default(), &asks, SystemClock::machine()).await;
        let decision = decision.unwrap_or_else(|e| panic!("{e}"));
        assert!(decision.admitted && !decision.degraded, "{decision:?}");
    }
}

async fn measure() -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let server = Service::redis();
    let url = server.url();
    // A busy machine must show in the numbers and not end them.
    let patience = Duration::from_secs(30);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(patience));
    let client = redis::Client::open(url.as_str())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let sha: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(FLOOR)
        .query_async(&mut connection)
        .await?;
    let floor = Floor {
        connection,
        sha: sha.into(),
    };
    let link = RedisLink::new(&url)?.budget(patience);
    let limits = Arc::new(RedisLimits::new(link).on_down(OnDown::Closed));
    let ours = |names| Ours {
        limits: limits.clone(),
        names,
    };
    let mut rows = Vec::new();
    for (label, ours) in [
        ("one limit", ours(&["a"])),
        ("three limits in one step", ours(&["a", "b", "c"])),
    ] {
        let (mut alone, mut floor_alone) = (Vec::new(), Vec::new());
        let (mut together, mut floor_together) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(one_at_a_time(&ours).await);
            floor_alone.push(one_at_a_time(&floor).await);
            together.push(many_at_once(&ours).await?);
            floor_together.push(many_at_once(&floor).await?);
        }
        let (a, f) = (median(alone), median(floor_alone));
        rows.push(beside(format!("{label}, one call at a time, p50"), a, f / a, "us"));
        let (t, f) = (median(together), median(floor_together));
        rows.push(beside(format!("{label}, {CALLERS} callers"), t, t / f, "calls/s"));
    }
    Ok(rows)
}

fn beside(name: String, ours: f64, ratio: f64, unit: &str) -> Row {
    Row {
        peer: Some("raw EVALSHA".to_owned()),
        peer_version: None,
        ratio: Some(ratio),
        ..Row::new(name, ours, unit)
    }
}

/// Microseconds of a call, the median of a round.
async fn one_at_a_time(what: &impl Call) -> f64 {
    let mut times = Vec::with_capacity(ALONE);
    for key in 0..ALONE {
        let start = Instant::now();
        what.call(key).await;
        times.push(micros(start.elapsed()));
    }
    median(times)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// Calls per second with many callers, who share one connection.
async fn many_at_once(what: &impl Call) -> Result<f64, tokio::task::JoinError> {
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let what = what.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    what.call(caller).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await?;
    }
    Ok((CALLERS * EACH) as f64 / start.elapsed().as_secs_f64())
}
