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
/// Callers at the same time, and calls of all of them in a round.
const CALLERS: [usize; 2] = [100, 1_000];
const CALLS: usize = 10_000;
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
    /// Limits to decide, which takes a call each.
    limits: usize,
}

impl Call for Floor {
    async fn call(&self, key: usize) {
        for limit in 0..self.limits {
            let mut connection = self.connection.clone();
            let answer: (i64, i64) = redis::cmd("EVALSHA")
                .arg(&*self.sha)
                .arg(1)
                .arg(format!("floor:{limit}:{key}"))
                .arg(1)
                .arg(1_000_000)
                .query_async(&mut connection)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(answer.0, 1);
        }
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
        sha: sha.as_str().into(),
        limits: 1,
    };
    let link = RedisLink::new(&url)?.budget(patience);
    let limits = Arc::new(RedisLimits::new(link).on_down(OnDown::Closed));
    let ours = |names| Ours {
        limits: limits.clone(),
        names,
    };
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap_or_default().to_owned();
    let mut rows = Vec::new();
    for (label, peer, names) in [
        ("one limit", "raw EVALSHA", &["a"][..]),
        ("three limits in one step", "three raw EVALSHA", &["a", "b", "c"][..]),
    ] {
        let ours = ours(names);
        let floor = Floor {
            limits: names.len(),
            ..floor.clone()
        };
        let (mut alone, mut floor_alone) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(one_at_a_time(&ours).await);
            floor_alone.push(one_at_a_time(&floor).await);
        }
        let name = format!("{label}, one call at a time, p50");
        rows.push(beside(name, peer, median(alone), median(floor_alone), "us"));
        for callers in CALLERS {
            let (mut together, mut floor_together, mut tool) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                together.push(many_at_once(&ours, callers).await?);
                floor_together.push(many_at_once(&floor, callers).await?);
                if names.len() == 1 && round % 3 == 0 {
                    tool.push(redis_benchmark(&port, &sha));
                }
            }
            let (ours, name) = (median(together), format!("{label}, {callers} callers"));
            rows.push(beside(name.clone(), peer, ours, median(floor_together), "calls/s"));
            match tool.into_iter().collect::<Result<Vec<f64>, _>>() {
                Ok(rates) if rates.is_empty() => {}
                Ok(rates) => rows.push(beside(
                    name,
                    "redis-benchmark, 16 in a packet",
                    ours,
                    median(rates),
                    "calls/s",
                )),
                Err(why) => {
                    eprintln!("warning: {why}");
                    rows.push(Row {
                        peer: Some("redis-benchmark".to_owned()),
                        note: Some(why),
                        ..Row::new(name, ours, "calls/s")
                    });
                }
            }
        }
    }
    Ok(rows)
}

fn beside(name: String, peer: &str, ours: f64, theirs: f64, unit: &str) -> Row {
    let ratio = if unit.ends_with("/s") { ours / theirs } else { theirs / ours };
    Row {
        theirs: Some(theirs),
        ..Row::new(name, ours, unit).beside(peer, "", ratio)
    }
}

/// Calls per second of the floor's script by the tool that comes with Redis: 50 connections, 16 calls in each packet.
fn redis_benchmark(port: &str, sha: &str) -> Result<f64, String> {
    let out = std::process::Command::new("redis-benchmark")
        .args(["-p", port, "-c", "50", "-P", "16", "-n", "200000", "-r", "100", "--csv"])
        .args(["EVALSHA", sha, "1", "floor:__rand_int__", "1", "1000000"])
        .output()
        .map_err(|e| format!("peer not installed: redis-benchmark: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    // The last line: the command in quotes, then calls per second.
    let rate = text
        .lines()
        .last()
        .and_then(|line| line.split("\",\"").nth(1))
        .and_then(|n| n.parse().ok());
    rate.ok_or_else(|| format!("peer failed: redis-benchmark said `{text}`"))
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
async fn many_at_once(what: &impl Call, callers: usize) -> Result<f64, tokio::task::JoinError> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let what = what.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS / callers {
                    what.call(caller % 100).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    Ok(CALLS as f64 / start.elapsed().as_secs_f64())
}
