//! An MCP server: the actions that an account may use, as tools of a language model.
//!
//! [Model Context Protocol](https://modelcontextprotocol.io/specification/2025-11-25) over standard input and output:
//! JSON-RPC 2.0, a message a line. A call is validated, repeated, limited and metered like a step of a run.
//!
//! A tool is called `connector__action`, since clients allow no dots in names. What a tool does to the world stands in
//! its annotations. What removes something or cannot be undone is offered only if it is allowed by its full name.

mod offer;
mod rpc;

pub use offer::Offer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use levqor_core::engine::{DirectCall, Engine};
use levqor_core::error::{Error, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use offer::Tool;
use rpc::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Message, failure, success};

/// Versions of the protocol that are spoken, the newest first.
pub const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2024-11-05"];
/// Calls at the same time.
const MOST_CALLS: usize = 16;
/// The longest message that is read, in bytes.
const LONGEST: u64 = 4 << 20;
/// Tools of one answer to `tools/list`.
const PAGE: usize = 100;

/// What a server offers and to whom.
pub struct Server {
    engine: Engine,
    account: String,
    tools: Vec<Tool>,
}

/// Calls that are under way, by the id of their request.
type Running = Arc<Mutex<HashMap<String, AbortHandle>>>;

impl Server {
    /// A server for an account.
    ///
    /// # Errors
    /// `mcp.allow_unknown` if a pattern allows nothing, and what [`Offer`] says of connections.
    pub fn new(engine: Engine, offer: &Offer) -> Result<Self> {
        let tools = offer.tools(engine.connectors())?;
        Ok(Server {
            engine,
            account: offer.account.clone(),
            tools,
        })
    }

    /// How many tools it offers.
    pub fn tools(&self) -> usize {
        self.tools.len()
    }

    /// Reads requests and writes answers until there is nothing more to read; calls that are under way then are brought
    /// to their end.
    ///
    /// # Errors
    /// What reading or writing fails with.
    pub async fn serve<R, W>(self, mut from: R, mut to: W) -> std::io::Result<()>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (answers, mut waiting) = mpsc::channel::<Value>(64);
        let writer = tokio::spawn(async move {
            while let Some(answer) = waiting.recv().await {
                let mut line = answer.to_string();
                line.push('\n');
                to.write_all(line.as_bytes()).await?;
                to.flush().await?;
            }
            Ok(())
        });
        let server = Arc::new(self);
        let (running, places) = (Running::default(), Arc::new(Semaphore::new(MOST_CALLS)));
        let mut calls = JoinSet::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = (&mut from).take(LONGEST).read_until(b'\n', &mut line).await?;
            if n == 0 {
                break;
            }
            while calls.try_join_next().is_some() {}
            if line.last() != Some(&b'\n') && n as u64 == LONGEST {
                // Where the next message begins is not known any more.
                let _ = answers
                    .send(failure(&Value::Null, INVALID_REQUEST, "the message is too long"))
                    .await;
                break;
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let message = match Message::read(text) {
                Ok(message) => message,
                Err(refused) => {
                    let _ = answers.send(refused).await;
                    continue;
                }
            };
            if message.method == "notifications/cancelled" {
                let id = message.params["requestId"].to_string();
                let handle = running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(handle) = handle {
                    handle.abort();
                }
                continue;
            }
            // Other notifications want no answer.
            let Some(id) = message.id.clone() else { continue };
            if message.method != "tools/call" {
                let _ = answers.send(server.answer(&id, &message)).await;
                continue;
            }
            let (server, answers, places) = (Arc::clone(&server), answers.clone(), Arc::clone(&places));
            let (done, key) = (Arc::clone(&running), id.to_string());
            let mut all = running.lock().unwrap_or_else(PoisonError::into_inner);
            let handle = calls.spawn(async move {
                let _place = places.acquire_owned().await;
                let answer = server.call(&id, &message.params).await;
                done.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.to_string());
                let _ = answers.send(answer).await;
            });
            all.insert(key, handle);
        }
        while calls.join_next().await.is_some() {}
        drop(answers);
        writer.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
    }

    /// The answer to everything but a call.
    fn answer(&self, id: &Value, message: &Message) -> Value {
        match message.method.as_str() {
            "initialize" => success(id, Server::welcome(&message.params)),
            "ping" => success(id, json!({})),
            "tools/list" => match self.list(&message.params) {
                Some(list) => success(id, list),
                None => failure(id, INVALID_PARAMS, "there is no such cursor"),
            },
            other => {
                let shown: String = other.chars().take(60).collect();
                failure(id, METHOD_NOT_FOUND, &format!("there is no method `{shown}`"))
            }
        }
    }

    /// The client's version of the protocol if it is spoken here, else the newest one.
    fn welcome(params: &Value) -> Value {
        let asked = params["protocolVersion"].as_str().unwrap_or_default();
        let version = VERSIONS.iter().find(|v| **v == asked).unwrap_or(&VERSIONS[0]);
        json!({
            "protocolVersion": version,
            "capabilities": {"tools": {"listChanged": false}},
            "serverInfo": {"name": "levqor", "title": "Levqor", "version": env!("CARGO_PKG_VERSION")},
            "instructions": "Each tool is one action of an outside service. Ask before using one whose annotations call it \
                             destructive. An error says by `retryable` whether trying again can help.",
        })
    }

    fn list(&self, params: &Value) -> Option<Value> {
        let from = match params.get("cursor") {
            None | Some(Value::Null) => 0,
            Some(cursor) => cursor.as_str()?.parse::<usize>().ok().filter(|n| *n < self.tools.len())?,
        };
        let to = self.tools.len().min(from + PAGE);
        let mut out = json!({"tools": self.tools[from..to].iter().map(|t| &t.shown).collect::<Vec<_>>()});
        if to < self.tools.len() {
            out["nextCursor"] = to.to_string().into();
        }
        Some(out)
    }

    /// Calls a tool. What the action says is wrong is the model's affair and no fault of the protocol.
    async fn call(&self, id: &Value, params: &Value) -> Value {
        let name = params["name"].as_str().unwrap_or_default();
        let Some(tool) = self.tools.iter().find(|t| t.name == name) else {
            let shown: String = name.chars().take(80).collect();
            return failure(id, INVALID_PARAMS, &format!("there is no tool `{shown}`"));
        };
        let mut input = match params.get("arguments") {
            None | Some(Value::Null) => json!({}),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return failure(id, INVALID_PARAMS, "the arguments are no object"),
        };
        let result = match tool.connection(&mut input) {
            Ok(connection) => self.perform(tool, connection, input, params).await,
            Err(e) => Err(e),
        };
        success(
            id,
            match result {
                Ok(data) => json!({
                    "content": [{"type": "text", "text": data.to_string()}], "structuredContent": data, "isError": false,
                }),
                Err(e) => json!({"content": [{"type": "text", "text": e.to_json().to_string()}], "isError": true}),
            },
        )
    }

    async fn perform(&self, tool: &Tool, connection: Option<String>, input: Value, params: &Value) -> Result<Value> {
        let mut call = DirectCall::new(tool.action.as_str(), input);
        call.connection = connection;
        call.account = Some(self.account.clone());
        // Clients that repeat a call can say that it is the same one.
        call.key = params["_meta"]["levqor/idempotencyKey"].as_str().map(str::to_owned);
        let out = self.engine.call(&call).await?;
        match out.data {
            data @ Value::Object(_) => Ok(data),
            other => Err(Error::internal(format!("an output is no object: {other}"))),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("account", &self.account)
            .field("tools", &self.tools.len())
            .finish_non_exhaustive()
    }
}
