//! The MCP server: sessions of the official client as it wrote them, and what a client may do wrong.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use levqor_connectors::mcp::{Offer, Server as Mcp, VERSIONS};
use levqor_core::backend::Backend;
use levqor_core::clock::ManualClock;
use levqor_core::connector::Connection;
use levqor_core::engine::{Builder, Engine};
use levqor_core::limits::Quota;
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::contract::{NOW, network};
use support::{Server, Silent, answer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

/// Engines of these tests ask a server of theirs.
fn engine(base: &str, calls: u32) -> Engine {
    let connection = |name: &str, settings: Value| Connection::new(name, settings);
    let builder = Engine::builder(Backend::memory())
        .clock(Arc::new(ManualClock::at(NOW)))
        .transport(network())
        .connection(connection("wiki", json!({"token": "ntn_canary_1", "base_url": base})))
        .connection(connection("other", json!({"token": "ntn_canary_2", "base_url": base})))
        .connection(connection("pay", json!({"token": "sk_canary_3", "base_url": base})))
        .submit_limit("mcp", Quota::new(calls, Millis::mins(1)));
    levqor_connectors::all()
        .into_iter()
        .fold(builder, Builder::connector)
        .build()
        .unwrap()
}

fn offer(allow: &[&str], connections: &[(&str, &[&str])]) -> Offer {
    let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    Offer {
        account: "acme".into(),
        allow: names(allow),
        connections: connections
            .iter()
            .map(|(c, n)| ((*c).to_owned(), names(n)))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// A client: writes lines and reads lines.
struct Client {
    to: WriteHalf<DuplexStream>,
    from: Lines<BufReader<ReadHalf<DuplexStream>>>,
}

impl Client {
    fn start(server: Mcp) -> Self {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(far);
        tokio::spawn(server.serve(BufReader::new(read), write));
        let (read, write) = tokio::io::split(near);
        Client {
            to: write,
            from: BufReader::new(read).lines(),
        }
    }

    async fn send(&mut self, line: &str) {
        self.to.write_all(line.as_bytes()).await.unwrap();
        self.to.write_all(b"\n").await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let line = self.from.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request.to_string()).await;
        let answer = self.next().await;
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(id)));
        answer
    }
}

async fn notion() -> Server {
    Server::start(|_, seen| {
        let json = ("content-type", "application/json");
        match (seen.method.as_str(), seen.uri.as_str()) {
            ("POST", "/v1/search") => answer(
                200,
                &[json],
                r#"{"results": [{"id": "p1", "object": "page"}], "next_cursor": null}"#,
            ),
            ("GET", _) => answer(404, &[json], r#"{"code": "object_not_found", "message": "no such page"}"#),
            _ => answer(200, &[json], r#"{"id": "p2", "url": "https://www.notion.so/p2"}"#),
        }
    })
    .await
}

/// What the official Python client sent (see `mcp/record.py`), line by line, and what it needs to hear.
#[tokio::test]
async fn a_session_of_the_official_client_goes_well() {
    let server = notion().await;
    let engine = engine(&server.url(""), 100);
    let mcp = Mcp::new(engine.clone(), &offer(&["notion.*"], &[("notion", &["wiki"])])).unwrap();
    let mut client = Client::start(mcp);
    let session = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/session.jsonl")).unwrap();
    let mut heard = Vec::new();
    for line in session.lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        client.send(line).await;
        if request.get("id").is_some() {
            let answer = client.next().await;
            assert_eq!(answer["id"], request["id"]);
            heard.push((request["method"].as_str().unwrap().to_owned(), answer));
        }
    }
    let of = |method: &str| {
        heard
            .iter()
            .filter(|(m, _)| m == method)
            .map(|(_, a)| &a["result"])
            .collect::<Vec<_>>()
    };
    let welcome = of("initialize")[0];
    assert!(VERSIONS.contains(&welcome["protocolVersion"].as_str().unwrap()));
    assert_eq!(welcome["serverInfo"]["name"], "levqor");
    assert_eq!(of("ping")[0], &json!({}));
    let tools = of("tools/list")[0]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 7);
    let calls = of("tools/call");
    assert!(calls.len() >= 3);
    assert_eq!(calls[0]["isError"], false);
    assert_eq!(calls[0]["structuredContent"]["results"][0]["id"], "p1");
    assert_eq!(calls[1]["isError"], true);
    assert!(
        calls[1]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("connector.not_found")
    );
    assert!(
        calls[2]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("connector.input_invalid")
    );
    let stats = engine.meter().snapshot();
    assert!(
        stats.iter().any(|s| s.action == "search" && s.outcomes["ok"] == 1),
        "calls are metered"
    );
    assert!(!format!("{heard:?}").contains("canary"));
}

#[tokio::test]
async fn only_what_is_allowed_is_offered_and_what_destroys_only_by_name() {
    let names = |allow: &[&str]| {
        let engine = engine("http://127.0.0.1:9", 100);
        let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        async move {
            let offer = Offer {
                account: "acme".into(),
                allow,
                connections: BTreeMap::new(),
            };
            let mut client = Client::start(Mcp::new(engine, &offer)?);
            let list = client.ask(1, "tools/list", json!({})).await;
            let tools = list["result"]["tools"].as_array().unwrap().clone();
            Ok::<_, levqor_core::error::Error>(tools)
        }
    };
    let stripe = names(&["stripe.*"]).await.unwrap();
    let all: BTreeSet<&str> = stripe.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert!(
        all.contains("stripe__create_customer") && !all.contains("stripe__refund") && !all.contains("stripe__create_transfer")
    );
    let one = names(&["stripe.refund", "slack.post_message"]).await.unwrap();
    assert_eq!(one.len(), 2);
    let refund = one.iter().find(|t| t["name"] == "stripe__refund").unwrap();
    assert_eq!(
        refund["annotations"],
        json!({"title": "Give money back", "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true})
    );
    assert_eq!(
        (&refund["inputSchema"]["type"], &refund["outputSchema"]["type"]),
        (&json!("object"), &json!("object"))
    );
    for bad in ["stripe.refnd", "strpe.*", "*", ""] {
        assert_eq!(names(&[bad]).await.unwrap_err().code(), "mcp.allow_unknown", "{bad}");
    }
    assert!(names(&[]).await.unwrap().is_empty(), "nothing is allowed by itself");
    let nobody = offer(&["slack.*"], &[("slak", &["a"])]);
    let e = Mcp::new(engine("http://127.0.0.1:9", 1), &nobody).unwrap_err();
    assert_eq!(e.code(), "mcp.connector_unknown");

    // Names that clients take, and pages of a list that is long.
    let everything: Vec<String> = levqor_connectors::all()
        .iter()
        .map(|c| format!("{}.*", c.manifest().name))
        .collect();
    let offer = Offer {
        account: "acme".into(),
        allow: everything,
        connections: BTreeMap::new(),
    };
    let mut client = Client::start(Mcp::new(engine("http://127.0.0.1:9", 100), &offer).unwrap());
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), Value::Null, 0);
    loop {
        let list = client.ask(1, "tools/list", json!({"cursor": cursor})).await;
        for tool in list["result"]["tools"].as_array().unwrap() {
            let name = tool["name"].as_str().unwrap().to_owned();
            assert!(
                name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                "{name}"
            );
            assert!(tool["inputSchema"]["properties"].get("_connection").is_none());
            assert!(seen.insert(name));
        }
        pages += 1;
        cursor = list["result"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert!(seen.len() > 200 && pages > 2, "{} tools in {pages} pages", seen.len());
    let e = client.ask(2, "tools/list", json!({"cursor": "nonsense"})).await;
    assert_eq!(e["error"]["code"], -32_602);
}

#[tokio::test]
async fn a_model_chooses_among_the_accounts_connections_only() {
    let server = notion().await;
    let mcp = offer(&["notion.search"], &[("notion", &["wiki", "other"])]);
    let mut client = Client::start(Mcp::new(engine(&server.url(""), 100), &mcp).unwrap());
    let list = client.ask(1, "tools/list", json!({})).await;
    assert_eq!(
        list["result"]["tools"][0]["inputSchema"]["properties"]["_connection"]["enum"],
        json!(["wiki", "other"])
    );
    let call = |arguments: Value| json!({"name": "notion__search", "arguments": arguments});
    for (arguments, token) in [
        (json!({}), Some("Bearer ntn_canary_1")),
        (json!({"_connection": "other"}), Some("Bearer ntn_canary_2")),
        (json!({"_connection": "pay"}), None),
    ] {
        let before = server.calls();
        let answer = client.ask(2, "tools/call", call(arguments)).await;
        assert_eq!(answer["result"]["isError"], token.is_none());
        let sent = server
            .all()
            .get(before)
            .and_then(|s| s.header("authorization").map(str::to_owned));
        assert_eq!(sent.as_deref(), token);
    }
}

#[tokio::test]
async fn calls_count_as_the_accounts_and_are_limited() {
    let server = notion().await;
    let mcp = offer(&["notion.search"], &[("notion", &["wiki"])]);
    let mut client = Client::start(Mcp::new(engine(&server.url(""), 2), &mcp).unwrap());
    let mut outcomes = Vec::new();
    for id in 1..=3 {
        let answer = client
            .ask(id, "tools/call", json!({"name": "notion__search", "arguments": {}}))
            .await;
        outcomes.push(answer["result"]["isError"].as_bool().unwrap());
    }
    assert_eq!((outcomes, server.calls()), (vec![false, false, true], 2));
}

#[tokio::test]
async fn what_a_client_does_wrong_is_said_and_ends_nothing() {
    let server = notion().await;
    let mcp = offer(&["notion.search"], &[("notion", &["wiki"])]);
    let mut client = Client::start(Mcp::new(engine(&server.url(""), 100), &mcp).unwrap());
    for (line, code) in [
        ("{broken", -32_700),
        ("[]", -32_600),
        (r#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#, -32_600),
        (r#"{"jsonrpc": "2.0", "id": null, "method": "ping"}"#, -32_600),
        (r#"{"jsonrpc": "2.0", "id": 1}"#, -32_600),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}"#, -32_602),
        (r#"{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}"#, -32_601),
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "notion__create_page"}}"#,
            -32_602,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "notion__search", "arguments": []}}"#,
            -32_602,
        ),
    ] {
        client.send(line).await;
        assert_eq!(client.next().await["error"]["code"], code, "{line}");
    }
    client
        .send(r#"{"jsonrpc": "2.0", "method": "notifications/unheard_of"}"#)
        .await;
    client.send("").await;
    assert_eq!(client.ask(7, "ping", json!({})).await["result"], json!({}));
    let old = client.ask(8, "initialize", json!({"protocolVersion": "1999-01-01"})).await;
    assert_eq!(old["result"]["protocolVersion"], VERSIONS[0]);
    let known = client.ask(9, "initialize", json!({"protocolVersion": "2025-06-18"})).await;
    assert_eq!(known["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_call_that_hangs_holds_nobody_up_and_can_be_called_off() {
    let hole = Silent::start().await;
    let base = format!("http://{}", hole.address);
    let mcp = offer(&["notion.search"], &[("notion", &["wiki"])]);
    let mut client = Client::start(Mcp::new(engine(&base, 100), &mcp).unwrap());
    client
        .send(
            r#"{"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {"name": "notion__search", "arguments": {}}}"#,
        )
        .await;
    assert_eq!(client.ask(1, "ping", json!({})).await["result"], json!({}));
    client
        .send(r#"{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}}"#)
        .await;
    // The server ends when there is nothing more to read, which a call that goes on would keep it from.
    client.to.shutdown().await.unwrap();
    assert!(
        client.from.next_line().await.unwrap().is_none(),
        "nobody hears of what was called off"
    );
}
