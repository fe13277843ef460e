//! Two other systems, played by one small server on this machine: a stock service that answers every tenth
//! call with 503, and a warehouse that checks the signature of the webhooks it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use levqor::access::signature::{Secret, TOLERANCE, verify};
use levqor::clock::SystemClock;
use serde::Deserialize;
use serde_json::json;

/// What the warehouse and we share.
pub const SECRET: &str = "whsec_cXVpY2tzdGFydC1zZWNyZXQtb2YtdGhlLXdhcmVob3VzZQ==";

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    failed: AtomicUsize,
    hooks: AtomicUsize,
    good: AtomicUsize,
}

/// The running server.
pub struct Peers {
    /// Where it is.
    pub url: String,
    counts: Arc<Counts>,
}

impl Peers {
    /// Calls of the stock service, and how many of them failed.
    pub fn calls(&self) -> (usize, usize) {
        (
            self.counts.calls.load(Ordering::SeqCst),
            self.counts.failed.load(Ordering::SeqCst),
        )
    }

    /// Webhooks, and how many of them were signed well.
    pub fn hooks(&self) -> (usize, usize) {
        (
            self.counts.hooks.load(Ordering::SeqCst),
            self.counts.good.load(Ordering::SeqCst),
        )
    }
}

/// Starts it on a free port.
pub async fn start() -> std::io::Result<Peers> {
    let counts = Arc::new(Counts::default());
    let app = Router::new()
        .route("/stock/{sku}", get(stock))
        .route("/hooks", post(hook))
        .with_state(counts.clone());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(Peers { url, counts })
}

#[derive(Deserialize)]
struct Ask {
    quantity: u32,
}

async fn stock(State(counts): State<Arc<Counts>>, Path(sku): Path<String>, Query(ask): Query<Ask>) -> Response {
    let n = counts.calls.fetch_add(1, Ordering::SeqCst) + 1;
    if n.is_multiple_of(10) {
        counts.failed.fetch_add(1, Ordering::SeqCst);
        return (StatusCode::SERVICE_UNAVAILABLE, "try again").into_response();
    }
    Json(json!({"sku": sku, "reserved": ask.quantity, "shelf": sku.len() % 7})).into_response()
}

async fn hook(State(counts): State<Arc<Counts>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    counts.hooks.fetch_add(1, Ordering::SeqCst);
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Ok(secret) = Secret::parse(SECRET) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    let now = SystemClock::machine();
    match verify(
        &[secret],
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
        &body,
        now,
        TOLERANCE,
    ) {
        Ok(()) => {
            counts.good.fetch_add(1, Ordering::SeqCst);
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::UNAUTHORIZED,
    }
}
