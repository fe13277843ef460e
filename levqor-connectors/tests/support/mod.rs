//! Real servers on this machine, and places to call from.
#![allow(dead_code, clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

pub mod contract;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use levqor_core::clock::SystemClock;
use levqor_core::connector::{Connection, Connector, Cx};
use levqor_core::jobs::retry::RetryPolicy;
use levqor_core::layers::{StackOptions, stack};
use levqor_core::transport::{HttpOptions, HttpTransport};
use levqor_core::types::Millis;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a server was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A server that writes down what it is sent and answers what the function says, given the number of the request.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(usize, &Seen) -> Response + Clone + Send + Sync + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let (notes, answer) = (Arc::clone(&notes), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let text = |v: &axum::http::HeaderValue| v.to_str().unwrap().to_owned();
                let this = Seen {
                    method: head.method.to_string(),
                    uri: head.uri.to_string(),
                    headers: head.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect(),
                    body: to_bytes(body, usize::MAX).await.unwrap(),
                };
                let n = {
                    let mut all = notes.lock().unwrap();
                    all.push(this.clone());
                    all.len() - 1
                };
                answer(n, &this)
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// An answer of axum.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A server below HTTP: reads a request's head, writes these bytes and closes. Counts connections.
pub struct Raw {
    pub address: SocketAddr,
    pub accepts: Arc<AtomicUsize>,
}

impl Raw {
    pub async fn start(at: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Vec<u8> = bytes.into();
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepts: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&accepts);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = socket.read(&mut head).await;
                    let _ = socket.write_all(&bytes).await;
                    let _ = socket.shutdown().await;
                });
            }
        });
        Raw { address, accepts }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn count(&self) -> usize {
        self.accepts.load(Ordering::SeqCst)
    }
}

/// A server that accepts and never answers. Counts connections.
pub struct Silent {
    pub address: SocketAddr,
    pub accepts: Arc<AtomicUsize>,
}

impl Silent {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepts: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&accepts);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                open.push(socket);
            }
        });
        Silent { address, accepts }
    }
}

pub fn transport(allow: &[String]) -> Arc<HttpTransport> {
    let options = HttpOptions {
        allow: allow.to_vec(),
        ..HttpOptions::default()
    };
    Arc::new(HttpTransport::new(options).unwrap())
}

/// A place to call from: waits of a few milliseconds between attempts, and a fixed idempotency key.
pub fn cx(transport: Arc<HttpTransport>) -> Cx {
    let mut cx = Cx::direct(transport, Arc::new(SystemClock::default()));
    cx.idempotency_key = "step-key-1".into();
    cx.timeout = Millis::secs(10);
    cx.max_sleep = Millis(900);
    cx.retry = RetryPolicy {
        max_attempts: 3,
        initial: Millis(1),
        max: Millis(5),
        on: vec![],
    };
    cx
}

pub fn connected(cx: &Cx, settings: Value) -> Cx {
    Cx {
        connection: Some(Arc::new(Connection::new("main", settings))),
        ..cx.clone()
    }
}

/// A connector with all layers.
pub fn stacked(connector: impl Connector) -> (Arc<dyn Connector>, StackOptions) {
    let options = StackOptions::new(std::sync::Arc::new(levqor_core::backend::memory::MemoryLimits::new()));
    (stack(Arc::new(connector), &options), options)
}
