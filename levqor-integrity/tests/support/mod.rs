//! A system to look at: https and http over real sockets, a Stripe stub, a Sentry sink, a real Postgres. Everything is well
//! with it until a fault is switched on.
#![allow(dead_code, clippy::unwrap_used, clippy::format_collect, clippy::struct_excessive_bools)]

pub mod tls;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use levqor_core::clock::{Clock, SystemClock};
use levqor_core::testkit::stores::{Folder, postgres_database};
use levqor_core::transport::{HttpOptions, HttpTransport};
use levqor_core::types::Millis;
use levqor_integrity::{Environment, Format, Pack, RunResult, Status};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::net::TcpListener;

pub const WEBHOOK_SECRET: &str = "whsec_9fKq2LmZx7Rt4VbNc8WyHd3JsPg6TuEa";

/// Good values for every variable.
pub fn good_env() -> Vec<(&'static str, String)> {
    vec![
        ("JWT_SECRET", "Zk3vN8qW1xR7tB5yL0pC6dF2hJ9mS4gA8uE1iO7".into()),
        ("SESSION_SECRET", "p0Qw9Er8Ty7Ui6Op5As4Df3Gh2Jk1Lz0XcVbNm".into()),
        ("STRIPE_SECRET_KEY", format!("{}_live_{}", "sk", "51HqT9vKxLm2Rz8WnB4cYdE6f")),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.into()),
        ("RESEND_API_KEY", "re_Hk29dLmQ_7TzXw4NvB8cRyPs6".into()),
    ]
}

#[derive(Default)]
pub struct Switches(Mutex<BTreeSet<String>>);

impl Switches {
    pub fn on(&self, fault: &str) -> bool {
        self.0.lock().unwrap().contains(fault)
    }
}

pub struct World {
    pub faults: Arc<Switches>,
    pub authority: tls::Authority,
    pub database: String,
    pub folder: Folder,
    pub https: u16,
    pub plain: u16,
    pub stub: u16,
    pub env: Vec<(String, String)>,
    pub extra: String,
    stop: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl World {
    pub async fn start() -> Self {
        let authority = tls::Authority::new();
        World::with(authority.server(&tls::Wish::default()), authority).await
    }

    /// A world whose https server uses this configuration.
    pub async fn with(server: Arc<rustls::ServerConfig>, authority: tls::Authority) -> Self {
        let faults = Arc::new(Switches::default());
        let folder = Folder::new();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.path().join("app.log"), "").unwrap();
        let log = folder.path().join("app.log");
        let (secure, listener) = tls::listen(server).await;
        let app = app(faults.clone(), log);
        let mut stop = vec![tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })];
        let plain_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = plain_listener.local_addr().unwrap().port();
        let redirect = redirects(faults.clone(), secure);
        stop.push(tokio::spawn(
            async move { axum::serve(plain_listener, redirect).await.unwrap() },
        ));
        let stub_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = stub_listener.local_addr().unwrap().port();
        let vendors = vendors(faults.clone());
        stop.push(tokio::spawn(
            async move { axum::serve(stub_listener, vendors).await.unwrap() },
        ));
        let database = postgres_database().await;
        let world = World {
            faults,
            authority,
            database,
            folder,
            https: secure,
            plain,
            stub,
            env: good_env().into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
            extra: String::new(),
            stop,
        };
        world.sql(SCHEMA).await;
        world
    }

    pub fn fault(&self, name: &str) {
        self.faults.0.lock().unwrap().insert(name.to_owned());
    }

    pub fn heal(&self) {
        self.faults.0.lock().unwrap().clear();
    }

    pub async fn sql(&self, text: &str) {
        let mut conn = sqlx::postgres::PgConnection::connect(&self.database).await.unwrap();
        conn.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await.unwrap();
        conn.close().await.unwrap();
    }

    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(n, _)| n != name);
        if let Some(value) = value {
            self.env.push((name.to_owned(), value.to_owned()));
        }
    }

    pub fn pack_text(&self) -> String {
        let text = PACK
            .replace("{https}", &self.https.to_string())
            .replace("{plain}", &self.plain.to_string())
            .replace("{stub}", &self.stub.to_string());
        format!("{text}\n{}", self.extra)
    }

    pub fn pack(&self) -> Pack {
        let path: PathBuf = self.folder.path().join("pack.toml");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(self.pack_text().as_bytes())
            .unwrap();
        Pack::load(&path).unwrap()
    }

    pub fn environment(&self) -> Environment {
        let mut env: Environment = self.env.iter().cloned().collect();
        env.set(
            "DATABASE_URL",
            self.database
                .replace("postgres://levqor@", "postgres://levqor:hunter2hunter2@"),
        );
        env
    }

    pub async fn run(&self) -> RunResult {
        self.run_at(Arc::new(SystemClock::default())).await
    }

    pub async fn run_at(&self, clock: Arc<dyn Clock>) -> RunResult {
        let pack = self.pack();
        let transport = HttpTransport::new(HttpOptions {
            authorities: pack.roots().unwrap().added().to_vec(),
            ..HttpOptions::default()
        });
        pack.run(Arc::new(transport.unwrap()), clock, self.environment())
            .unwrap()
            .run()
            .await
            .unwrap()
    }

    /// Runs, and expects that exactly this check ends so for this cause, and that exactly these are blocked by it.
    pub async fn expect(&self, check: &str, status: Status, cause: &str, blocked: &[&str]) {
        let result = self.run().await;
        expect(&result, check, status, cause, blocked);
    }
}

pub fn expect(result: &RunResult, check: &str, status: Status, cause: &str, blocked: &[&str]) {
    let table: Vec<String> = result
        .checks
        .iter()
        .map(|c| {
            format!(
                "{} {} {:?} {}",
                c.id,
                c.status.word(),
                c.findings.iter().map(|f| &f.cause).collect::<Vec<_>>(),
                c.summary
            )
        })
        .collect();
    let table = table.join("\n");
    for c in &result.checks {
        let causes: Vec<&str> = c.findings.iter().map(|f| f.cause.as_str()).collect();
        if c.id == check {
            assert_eq!(
                (c.status, causes.first().copied().unwrap_or_default()),
                (status, cause),
                "{check} {cause}\n{table}"
            );
            let first = &c.findings[0];
            assert!(
                !first.message.is_empty() && !first.at.is_empty() && !first.hint.is_empty(),
                "{first:?}"
            );
        } else if blocked.contains(&c.id.as_str()) {
            assert_eq!(
                (c.status, c.blocked_by.as_deref()),
                (Status::Blocked, Some(check)),
                "{} under {cause}\n{table}",
                c.id
            );
        } else {
            assert!(
                matches!(c.status, Status::Pass | Status::Skip),
                "{} is {} under the fault {cause} of {check}\n{table}",
                c.id,
                c.status.word()
            );
        }
    }
}

const SCHEMA: &str = "CREATE TABLE customers (id bigserial PRIMARY KEY, email varchar(255) NOT NULL UNIQUE, created timestamptz NOT NULL DEFAULT now()); \
    CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers (id), total bigint NOT NULL); \
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); \
    INSERT INTO alembic_version VALUES ('abc123'); INSERT INTO customers (email) VALUES ('ann@example.com')";

const PACK: &str = r#"
version = 1
name = "test"
system = "Shop"
environment = "production"
authorities = ["ca.pem"]
include = ["integrity", "finalizer", "audit"]

[run]
timeout = "20s"

[targets]
api = "https://localhost:{https}"
frontend = "https://localhost:{https}"

[databases.main]
url = { env = "DATABASE_URL" }

# A machine that is busy with other tests is not what these look for.
[check]
"http.health.main" = { warn = "30s", json = { "/status" = "ok" } }
"http.metrics.public" = { warn = "30s" }
"http.ops.uptime" = { warn = "30s" }
"http.queue.health" = { warn = "30s" }
"http.billing.health" = { warn = "30s" }

[check."db.schema".tables.customers]
columns = { id = "bigint", email = "varchar(255)", created = "timestamptz" }
not_null = ["email"]
primary_key = ["id"]
unique = ["email"]
min_rows = 1

[check."db.schema".tables.orders]
columns = ["id", "customer_id", "total"]
foreign_keys = ["customer_id -> customers.id"]

[check."db.schema_ready"]
expected = ["abc123"]
rows = { customers = { min_rows = 1 } }
queries.orphans = { sql = "SELECT count(*) FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE c.id IS NULL", equals = 0 }

[check."stripe.api"]
base = "http://127.0.0.1:{stub}"
account = "acct_1"
prices = ["price_basic", { env = "PRICE_PRO" }]
webhook_url = "https://localhost/webhooks/stripe"

[check."scheduler.status".jobs]
nightly = { every = "1d" }

[check."deploy.reachability"]
plain_url = "http://localhost:{plain}/"

[check."feature.enabled"]
features = ["drive_upload"]

[check."feature.semantic_200".requests.chat]
path = "/support/chat"
body = { message = "hello" }

[check."logs.canary"]
files = ["app.log"]
max_megabytes = 1

[check."source.ratchet"]
root = "src"
patterns.bare_except = { text = "except:", files = [".py"], max = 0 }
"#;

type Faults = Arc<Switches>;

#[derive(Clone)]
struct App {
    faults: Faults,
    log: PathBuf,
}

fn good(value: Value) -> Response {
    axum::Json(value).into_response()
}

async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let line = format!(
        "{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.headers().get("user-agent")
    );
    let leak = app
        .faults
        .on("log.leak")
        .then(|| format!("auth={:?}\n", request.headers().get("authorization")));
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&app.log).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    file.write_all(leak.unwrap_or_default().as_bytes()).unwrap();
    let mut response = next.run(request).await;
    let missing = response.status() == StatusCode::NOT_FOUND;
    let h = response.headers_mut();
    let all = [
        ("strict-transport-security", "max-age=31536000; includeSubDomains", "hsts"),
        ("x-content-type-options", "nosniff", "nosniff"),
        ("x-frame-options", "DENY", "frame"),
        ("content-security-policy", "default-src 'self'; object-src 'none'", "csp"),
        ("referrer-policy", "no-referrer", "referrer"),
    ];
    for (name, value, fault) in all {
        let off = app.faults.on(&format!("headers.{fault}")) || (missing && app.faults.on(&format!("headers.404.{fault}")));
        if !off {
            h.insert(name, value.parse().unwrap());
        }
    }
    if app.faults.on("headers.csp_inline") && path == "/" {
        h.insert(
            "content-security-policy",
            "default-src 'self' 'unsafe-inline'; object-src 'none'".parse().unwrap(),
        );
    }
    if app.faults.on("headers.hsts_twice") {
        h.append("strict-transport-security", "max-age=0".parse().unwrap());
    }
    if app.faults.on("headers.frame_all") {
        h.append("content-security-policy", "frame-ancestors *".parse().unwrap());
    }
    for (fault, name, value) in [
        ("headers.nosniff_wrong", "x-content-type-options", "sniff"),
        ("headers.frame_wrong", "x-frame-options", "ALLOWALL"),
        (
            "headers.csp_star",
            "content-security-policy",
            "default-src *; object-src 'none'",
        ),
        (
            "headers.csp_eval",
            "content-security-policy",
            "default-src 'self' 'unsafe-eval'; object-src 'none'",
        ),
        (
            "headers.csp_plain",
            "content-security-policy",
            "default-src 'self' http://cdn.example; object-src 'none'",
        ),
        (
            "headers.csp_data",
            "content-security-policy",
            "script-src 'self' data:; object-src 'none'",
        ),
        ("headers.csp_object", "content-security-policy", "script-src 'self'"),
        ("headers.csp_nonsense", "content-security-policy", "yes please"),
        ("headers.hsts_nonsense", "strict-transport-security", "includeSubDomains"),
        ("headers.hsts_zero", "strict-transport-security", "max-age=0"),
    ] {
        if app.faults.on(fault) {
            h.insert(name, value.parse().unwrap());
        }
    }
    if app.faults.on("headers.csp_report") {
        let policy = h.remove("content-security-policy").unwrap();
        h.insert("content-security-policy-report-only", policy);
    }
    if app.faults.on("headers.hsts_short") {
        h.insert("strict-transport-security", "max-age=60".parse().unwrap());
    }
    if !app.faults.on("date") {
        return response;
    }
    response
        .headers_mut()
        .insert("date", "Mon, 01 Jan 2024 00:00:00 GMT".parse().unwrap());
    response
}

fn app(faults: Faults, log: PathBuf) -> Router {
    let app = App { faults, log };
    Router::new()
        .route(
            "/",
            get(|State(a): State<App>, headers: HeaderMap| async move {
                let host = headers
                    .get("host")
                    .and_then(|h| h.to_str().ok())
                    .unwrap_or_default()
                    .to_owned();
                match () {
                    () if a.faults.on("root.loop") => {
                        (StatusCode::FOUND, [("location", format!("https://{host}/"))]).into_response()
                    }
                    () if a.faults.on("root.plain") => {
                        (StatusCode::FOUND, [("location", format!("http://{host}/"))]).into_response()
                    }
                    () if a.faults.on("root.502") => StatusCode::BAD_GATEWAY.into_response(),
                    () => ([("content-type", "text/html")], "<h1>Shop</h1>").into_response(),
                }
            }),
        )
        .route("/health", get(health))
        .route(
            "/public/metrics",
            get(|State(a): State<App>| async move {
                if a.faults.on("metrics.html") {
                    return ([("content-type", "text/html")], "<html>").into_response();
                }
                good(json!({"uptime": 99.9, "runs": 12}))
            }),
        )
        .route(
            "/ops/uptime",
            get(|State(a): State<App>| async move {
                if a.faults.on("uptime.500") {
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
                good(json!({"uptime_seconds": 12345, "status": "operational"}))
            }),
        )
        .route(
            "/ops/queue_health",
            get(|State(a): State<App>| async move {
                if a.faults.on("queue.stuck") {
                    return good(json!({"status": "ok", "checks": {"worker": {"status": "down"}}}));
                }
                good(json!({"status": "ok", "depth": 3}))
            }),
        )
        .route(
            "/billing/health",
            get(|State(a): State<App>| async move {
                match () {
                    () if a.faults.on("billing.json") => {
                        ([("content-type", "application/json")], "{\"status\": ").into_response()
                    }
                    () if a.faults.on("billing.empty") => ([("content-type", "application/json")], "").into_response(),
                    () if a.faults.on("billing.nested") => {
                        good(json!({"status": "ok", "data": {"errors": ["card network down"]}}))
                    }
                    () if a.faults.on("billing.cut") => {
                        let broken = axum::body::Body::from_stream(futures_util::stream::iter([
                            Ok(Bytes::from_static(b"{\"status\"")),
                            Err(std::io::Error::other("cut")),
                        ]));
                        ([("content-type", "application/json")], broken).into_response()
                    }
                    () if a.faults.on("billing.404") => StatusCode::NOT_FOUND.into_response(),
                    () if a.faults.on("billing.401") => StatusCode::UNAUTHORIZED.into_response(),
                    () if a.faults.on("billing.429") => StatusCode::TOO_MANY_REQUESTS.into_response(),
                    () if a.faults.on("billing.gzip") => (
                        [("content-type", "application/json"), ("content-encoding", "gzip")],
                        "{\"status\": \"ok\"}",
                    )
                        .into_response(),
                    () if a.faults.on("billing.login") => (StatusCode::FOUND, [("location", "/login")]).into_response(),
                    () => good(json!({"status": "ok"})),
                }
            }),
        )
        .route("/ops/scheduler", get(scheduler))
        .route("/ops/scheduler/fires", get(fires))
        .route(
            "/ops/features",
            get(|State(a): State<App>| async move {
                good(json!({"features": {"drive_upload": {"enabled": !a.faults.on("feature.off")}}}))
            }),
        )
        .route(
            "/support/chat",
            post(|State(a): State<App>| async move {
                if a.faults.on("chat.error") {
                    return good(json!({"reply": "Error communicating with OpenAI: insufficient_quota"}));
                }
                good(json!({"reply": "hello"}))
            }),
        )
        .route("/webhooks/stripe", any(webhook))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn_with_state(app.clone(), headers))
        .with_state(app)
}

async fn health(State(a): State<App>) -> Response {
    let on = |f: &str| a.faults.on(f);
    match () {
        () if on("health.error_inside") => good(json!({"status": "ok", "error": "database is locked"})),
        () if on("health.unhealthy") => good(json!({"status": "error"})),
        () if on("health.503") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        () if on("health.large") => good(json!({"status": "ok", "pad": "x".repeat(2 << 20)})),
        () if on("health.degraded") => good(json!({"status": "ok", "checks": {"cache": "degraded"}})),
        () if on("health.hang") => std::future::pending().await,
        () if on("health.secret") => good(json!({"status": "ok", "echo": good_env()[0].1})),
        () => good(json!({"status": "ok"})),
    }
}

async fn scheduler(State(a): State<App>) -> Response {
    let now = SystemClock::machine();
    let on = |f: &str| a.faults.on(f);
    let ago = |h: i64| Millis(now.0 - h * 3_600_000).rfc3339();
    let job = json!({"id": "nightly", "last_run": ago(if on("scheduler.old") { 72 } else { 5 }), "next_run": ago(if on("scheduler.late") { 1 } else { -19 })});
    match () {
        () if on("scheduler.stopped") => good(json!({"running": false, "jobs": [job]})),
        () if on("scheduler.empty") => good(json!({"running": true, "jobs": []})),
        () if on("scheduler.renamed") => good(json!({"running": true, "jobs": [{"id": "nightly2", "last_run": ago(1)}]})),
        () => good(json!({"running": true, "jobs": [job]})),
    }
}

async fn fires(State(a): State<App>) -> Response {
    let now = SystemClock::machine();
    let at = |ms: i64| Millis(now.0 - ms).rfc3339();
    let mut list = vec![
        json!({"job": "nightly", "at": at(90_000_000), "worker": "a"}),
        json!({"job": "nightly", "at": at(3_600_000), "worker": "b"}),
    ];
    if a.faults.on("fires.twice") {
        list.push(json!({"job": "nightly", "at": at(3_599_600), "worker": "c"}));
    }
    good(json!({"fires": list}))
}

/// What Stripe's libraries do: constant work left out, everything else the same.
async fn webhook(State(a): State<App>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let on = |f: &str| a.faults.on(f);
    if on("webhook.gone") {
        return StatusCode::NOT_FOUND.into_response();
    }
    if method != Method::POST {
        return if on("webhook.get") {
            good(json!({}))
        } else {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        };
    }
    let refuse = StatusCode::BAD_REQUEST.into_response();
    let Some(signature) = headers.get("stripe-signature").and_then(|h| h.to_str().ok()) else {
        return if on("webhook.unsigned") { good(json!({})) } else { refuse };
    };
    let part = |name: &str| {
        signature
            .split(',')
            .find_map(|p| p.strip_prefix(name))
            .unwrap_or_default()
            .to_owned()
    };
    let (t, v1) = (part("t="), part("v1="));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let signed = [t.as_bytes(), b".", &body].concat();
    let expected: String = aws_lc_rs::hmac::sign(&key, &signed)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    if expected != v1 && !on("webhook.unverified") {
        return refuse;
    }
    let age = SystemClock::machine().0 / 1000 - t.parse::<i64>().unwrap();
    if age > 300 && !on("webhook.replay") {
        return refuse;
    }
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        return if on("webhook.crash") {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        } else {
            refuse
        };
    };
    if on("webhook.unknown_type") && event["type"] != "invoice.paid" {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    good(json!({"received": true}))
}

fn redirects(faults: Faults, secure: u16) -> Router {
    Router::new().fallback(move |uri: Uri| {
        let faults = faults.clone();
        async move {
            let path = uri.path();
            let to = format!("https://localhost:{secure}{path}");
            match () {
                () if faults.on("redirect.missing") => "hello".into_response(),
                () if faults.on("redirect.plain") => (StatusCode::MOVED_PERMANENTLY, [("location", "/again")]).into_response(),
                () if faults.on("redirect.host") => {
                    (StatusCode::MOVED_PERMANENTLY, [("location", "https://example.com/")]).into_response()
                }
                () => (StatusCode::MOVED_PERMANENTLY, [("location", to)]).into_response(),
            }
        }
    })
}

fn vendors(faults: Faults) -> Router {
    let on = move |f: &str| faults.on(f);
    let (a, b, c, d) = (on.clone(), on.clone(), on.clone(), on);
    Router::new()
        .route("/v1/webhook_endpoints", get(move || async move {
            if d("stripe.hooks_gone") {
                return good(json!({"data": []}));
            }
            good(json!({"data": [{"url": "https://localhost/webhooks/stripe", "status": if d("stripe.hooks_off") { "disabled" } else { "enabled" },
                "livemode": !d("stripe.hooks_test")}]}))
        }))
        .route("/v1/account", get(move || async move {
            match () {
                () if a("stripe.401") => (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": {"message": "Invalid API Key"}}))).into_response(),
                () if a("stripe.503") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                () => good(json!({"id": if a("stripe.account") { "acct_2" } else { "acct_1" }, "charges_enabled": !a("stripe.charges"), "payouts_enabled": true})),
            }
        }))
        .route("/v1/prices/{id}", get(move |axum::extract::Path(id): axum::extract::Path<String>| async move {
            if b("stripe.price_gone") && id == "price_pro" {
                return (StatusCode::NOT_FOUND, axum::Json(json!({"error": {"message": "No such price"}}))).into_response();
            }
            good(json!({"id": id, "active": !b("stripe.price_off"), "livemode": !b("stripe.price_test")}))
        }))
        .route("/api/42/envelope/", post(move |body: String| async move {
            if c("sentry.403") {
                return StatusCode::FORBIDDEN.into_response();
            }
            let head: Value = serde_json::from_str(body.lines().next().unwrap()).unwrap();
            good(json!({"id": head["event_id"]}))
        }))
}

pub fn world_pack(text: &str) -> Result<Pack, levqor_core::error::Error> {
    Pack::parse(text, Format::Toml)
}
