//! Calls of connectors: what all layers cost over bare `reqwest`, and the memory of a thousand calls at once.
//!
//! Both sides ask the same server of this process over loopback, in turn, with the same body; it answers as an
//! interface of a model does. The layers are all that a step of a run has: validation of input, redaction, metering,
//! tracing, retry, breaker, budget, time-out, and the guard of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use levqor::backend::Backend;
use levqor::connector::Connection;
use levqor::engine::{DirectCall, Engine};
use levqor::error::{Error, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::harness::{block_on, median};
use crate::results::Row;

const ROUNDS: usize = 31;
const CALLS: usize = 300;
const AT_ONCE: usize = 1_000;
const PEER: &str = "reqwest";
const PEER_VERSION: &str = "0.13";
const ANSWER: &str = r#"{"id":"modr-1","model":"m","results":[{"flagged":false,"categories":{"violence":false},"category_scores":{"violence":0.01}}]}"#;

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    block_on(async {
        let mut rows = overhead().await?;
        rows.push(memory().await?);
        Ok(rows)
    })
}

fn fault(e: impl std::fmt::Display) -> Error {
    Error::unavailable("bench.server", e.to_string())
}

/// A server that answers every request the same; those to a gate only when all are there.
async fn server(gate: Option<(usize, Arc<Notify>)>) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault)?;
    let url = format!("http://{}", listener.local_addr().map_err(fault)?);
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (gate, count) = (gate.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
                    ANSWER.len()
                );
                let mut buffer = vec![0; 2_048];
                let mut filled = 0;
                while let Ok(n) = socket.read(&mut buffer[filled..]).await {
                    filled += n;
                    if n == 0 || filled == buffer.len() {
                        return;
                    }
                    if !whole(&buffer[..filled]) {
                        continue;
                    }
                    filled = 0;
                    if let Some((all, open)) = &gate {
                        let wait = open.notified();
                        if count.fetch_add(1, Ordering::SeqCst) + 1 < *all {
                            wait.await;
                        } else {
                            open.notify_waiters();
                        }
                    }
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok((url, arrived))
}

/// Whether a request has come with its body.
fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
    let length: usize = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn engine(url: &str) -> Result<Engine> {
    let connection = Connection::new("model", json!({"token": "sk-bench", "base_url": url}));
    levqor::builder(Backend::memory(), &["127.0.0.1"])?
        .connection(connection)
        .build()
}

fn call() -> DirectCall {
    let mut call = DirectCall::new("openai.moderate", input());
    call.connection = Some("model".into());
    call
}

fn input() -> Value {
    json!({"model": "m", "input": "Is this a harmless sentence of an ordinary length?"})
}

async fn overhead() -> Result<Vec<Row>> {
    let (url, _) = server(None).await?;
    let (engine, call) = (engine(&url)?, call());
    let client = reqwest::Client::builder().build().map_err(fault)?;
    let (address, body) = (format!("{url}/moderations"), input());
    let bare = || async {
        let request = client.post(&address).bearer_auth("sk-bench");
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.map_err(fault)?.bytes().await.map_err(fault)?;
        serde_json::from_slice::<Value>(&answer).map_err(fault)
    };
    let (mut ours, mut theirs) = (vec![], vec![]);
    let (mut slow_ours, mut slow_theirs) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let (mut mine, mut peers) = (Vec::with_capacity(CALLS), Vec::with_capacity(CALLS));
        for _ in 0..CALLS {
            let start = Instant::now();
            engine.call(&call).await?;
            mine.push(start.elapsed().as_secs_f64() * 1e6);
            let start = Instant::now();
            bare().await?;
            peers.push(start.elapsed().as_secs_f64() * 1e6);
        }
        // The first one only warms up.
        if round > 0 {
            mine.sort_by(f64::total_cmp);
            peers.sort_by(f64::total_cmp);
            slow_ours.push(mine[CALLS * 99 / 100]);
            slow_theirs.push(peers[CALLS * 99 / 100]);
            ours.push(median(mine));
            theirs.push(median(peers));
        }
    }
    let over = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a - b).collect());
    let both = (median(ours.clone()), median(theirs.clone()));
    Ok(vec![
        Row::new("a call through all layers, p50", both.0, "us").beside(PEER, PEER_VERSION, both.1 / both.0),
        Row::new("the same over bare reqwest, p50", over(&ours, &theirs), "us more"),
        Row::new("the same over bare reqwest, p99", over(&slow_ours, &slow_theirs), "us more"),
    ])
}

/// Bytes of memory that this process has now.
fn resident() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").map_err(fault)?;
    let pages: usize = text.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or_default();
    Ok(pages * rustix::param::page_size())
}

/// A thousand calls that all wait for their answers at the same time; the server's side is in the number.
async fn memory() -> Result<Row> {
    let open = Arc::new(Notify::new());
    let (url, arrived) = server(Some((AT_ONCE + 1, open.clone()))).await?;
    let engine = engine(&url)?;
    let before = resident()?;
    let calls: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.call(&call()).await })
        })
        .collect();
    while arrived.load(Ordering::SeqCst) < AT_ONCE {
        if calls.iter().any(tokio::task::JoinHandle::is_finished) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let during = resident()?;
    let waiting = arrived.load(Ordering::SeqCst);
    // The last one opens the gate.
    engine.call(&call()).await?;
    for call in calls {
        call.await.map_err(fault)??;
    }
    let name = format!("{waiting} calls at the same time");
    Ok(Row::new(
        name,
        (during.saturating_sub(before)) as f64 / f64::from(1 << 20),
        "MiB more",
    ))
}
