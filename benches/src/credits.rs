//! Credits under 64 callers, durable: a hold and its end, and a spend with its idempotency key, on one hot account
//! and on 10,000.
//!
//! A hold is one operation and its end (captured or released, in turn) another. Nothing is answered before it is
//! durable, neither by us nor by the peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use levqor::backend::{self, Backend};
use levqor::clock::SystemClock;
use levqor::engine::{CaptureOptions, Engine, GrantOptions};
use levqor::error::{Error, Result};
use levqor::types::{HoldId, MicroCredits};

use crate::duel::{Duel, Place};
use crate::harness::{Folder, block_on, callers, database, postgres, quantile, scattered, spread};
use crate::peers::{Peer, Runs};
use crate::results::Row;

const ROUNDS: usize = 3;
const CALLERS: usize = 64;
const ACCOUNTS: usize = 10_000;
/// How long one cell of a round is measured.
const SPAN: Duration = Duration::from_secs(2);
const ONE: MicroCredits = MicroCredits(1_000_000);

const HOLD: [&str; 2] = ["hold and its end, one hot account", "hold and its end, 10,000 accounts"];
const P50: [&str; 2] = ["hold p50, one hot account", "hold p50, 10,000 accounts"];
const P99: [&str; 2] = ["hold p99, one hot account", "hold p99, 10,000 accounts"];
const SPEND: [&str; 2] = ["spend, one hot account", "spend, 10,000 accounts"];

const PEERS: [Peer; 3] = [
    Peer {
        name: "SQLAlchemy",
        runs: Runs::Python,
        script: "credits_sqlalchemy.py",
        args: &[],
        figures: &[HOLD[0], HOLD[1], P50[0], P50[1], P99[0], P99[1]],
    },
    Peer {
        name: "pgbench, one stored function",
        runs: Runs::Bash,
        script: "pgbench.sh",
        args: &["function"],
        figures: &SPEND,
    },
    Peer {
        name: "pgledger",
        runs: Runs::Pgledger,
        script: "pgbench.sh",
        args: &["pgledger"],
        figures: &SPEND,
    },
];

pub(crate) fn rows() -> std::result::Result<Vec<Row>, String> {
    let server = postgres();
    block_on(async {
        let folder = Folder::new("credits")?;
        let sqlite = backend::open(&folder.sqlite("a"), SystemClock::machine()).await?;
        let own = backend::open(&database(&server, "levqor").await?, SystemClock::machine()).await?;
        let stores = [
            ("SQLite FULL", Place::Sqlite("FULL"), ready(sqlite).await?),
            ("Postgres", Place::Other, ready(own).await?),
        ];
        let keys = Arc::new(AtomicU64::new(0));
        let mut duel = Duel::default();
        for round in 0..ROUNDS {
            for (store, place, engine) in &stores {
                // Peers' figures of Postgres are not set against ours of SQLite.
                let against = |figure: &'static str| if *place == Place::Other { vec![figure] } else { vec![] };
                for (i, accounts) in [1, ACCOUNTS].into_iter().enumerate() {
                    let (rate, times) = holds(engine, accounts).await?;
                    let name = |figure: &str| format!("{figure}, {store}, {CALLERS} callers");
                    duel.ours(&name(HOLD[i]), *place, rate, "ops/s", &against(HOLD[i]));
                    duel.ours(&name(P50[i]), *place, quantile(times.clone(), 0.5), "ms", &against(P50[i]));
                    duel.ours(&name(P99[i]), *place, quantile(times, 0.99), "ms", &against(P99[i]));
                    let rate = spends(engine, accounts, &keys).await?;
                    duel.ours(&name(SPEND[i]), *place, rate, "ops/s", &against(SPEND[i]));
                }
            }
            for (i, peer) in PEERS.iter().enumerate() {
                let url = database(&server, &format!("peer_{round}_{i}")).await?;
                duel.peer(peer, &[("PEER_POSTGRES", url), ("PEER_SECONDS", SPAN.as_secs().to_string())]);
            }
        }
        Ok(duel.rows())
    })
}

fn account(n: usize) -> String {
    format!("account-{n:05}")
}

/// An engine with accounts that are rich enough.
async fn ready(backend: Backend) -> Result<Engine> {
    let engine = Engine::builder(backend).build()?;
    let granting = engine.clone();
    let grant = move |n| {
        let engine = granting.clone();
        async move {
            let rich = MicroCredits(100_000_000 * 1_000_000);
            engine
                .credits()
                .grant(&account(n), rich, GrantOptions::default(), None)
                .await
                .map(|_| ())
        }
    };
    spread(ACCOUNTS, 512, grant).await?;
    Ok(engine)
}

/// Operations per second, and the milliseconds of each hold.
async fn holds(engine: &Engine, accounts: usize) -> Result<(f64, Vec<f64>)> {
    let (times, hear) = std::sync::mpsc::channel();
    let engine = engine.clone();
    let call = move |caller: usize, n: usize| {
        let (engine, times) = (engine.clone(), times.clone());
        async move {
            let credits = engine.credits();
            let who = account(scattered(caller << 32 | n) % accounts);
            let start = std::time::Instant::now();
            let hold: HoldId = credits.hold(&who, ONE, None, None).await?.id.parse()?;
            let took = start.elapsed().as_secs_f64() * 1e3;
            times.send(took).map_err(|e| Error::internal(e.to_string()))?;
            if n.is_multiple_of(2) {
                credits.capture(&hold, CaptureOptions::default(), None).await?;
            } else {
                credits.release(&hold, None).await?;
            }
            Ok(())
        }
    };
    let (cycles, _) = callers(CALLERS, SPAN, call).await?;
    Ok((2.0 * cycles, hear.try_iter().collect()))
}

/// Operations per second.
async fn spends(engine: &Engine, accounts: usize, keys: &Arc<AtomicU64>) -> Result<f64> {
    let (engine, keys) = (engine.clone(), keys.clone());
    let call = move |caller: usize, n: usize| {
        let engine = engine.clone();
        let key = format!("spend-{}", keys.fetch_add(1, Ordering::Relaxed));
        async move {
            let who = account(scattered(caller << 32 | n) % accounts);
            engine.credits().spend(&who, ONE, Some(&key)).await.map(|_| ())
        }
    };
    Ok(callers(CALLERS, SPAN, call).await?.0)
}
