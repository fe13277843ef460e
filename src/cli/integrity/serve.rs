//! `levqor integrity serve`: runs and evidence over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::integrity::Checkup;
use crate::integrity::evidence::History;
use crate::integrity::evidence::verify::verify_folder;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde_json::{Value, json};

use super::run::{EvidenceArgs, checkup};
use crate::cli::out::{Exit, Out, json_of};
use crate::cli::signals::Signals;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The pack: TOML, YAML or JSON [default: integrity.toml, .yaml or .json]
    pack: Option<PathBuf>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8085", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What callers have to know: "Authorization: Bearer TOKEN". Without one, only this machine is served
    #[arg(long, env = "LEVQOR_SERVE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    evidence: EvidenceArgs,
}

struct Service {
    checkup: Checkup,
    token: Option<String>,
}

pub(crate) async fn serve(out: &Out, args: ServeArgs) -> Result<Exit> {
    let token = args.token.filter(|t| !t.is_empty());
    if token.is_none() && !args.listen.ip().is_loopback() {
        return Err(
            Error::invalid("serve.no_token", "whoever reaches this address could start runs")
                .at("--listen")
                .hint("give --token, or listen on 127.0.0.1"),
        );
    }
    let mut checkup = checkup(args.pack.as_deref(), &[])?;
    checkup.keeper = Some(args.evidence.keeper(out, &checkup.transport)?);
    let service = Arc::new(Service { checkup, token });
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|e| {
        Error::unavailable("serve.no_address", format!("{} cannot be listened on: {e}", args.listen)).at("--listen")
    })?;
    let address = listener.local_addr().unwrap_or(args.listen);
    out.note(&format!("listening on http://{address}"));
    let mut signals = Signals::listen()?;
    axum::serve(listener, router(service))
        .with_graceful_shutdown(async move { signals.next().await })
        .await
        .map_err(|e| Error::unavailable("serve.stopped", format!("the server stopped: {e}")))?;
    Ok(Exit::Ok)
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/api/v1/integrity/run", post(run))
        .route("/api/v1/integrity/runs", get(runs))
        .route("/api/v1/integrity/runs/{number}", get(evidence))
        .route("/api/v1/integrity/runs/{number}/report.pdf", get(pdf))
        .route("/api/v1/integrity/runs/{number}/verify", get(verify))
        .route("/api/v1/integrity/runs/{number}/files/{*name}", get(file))
        .layer(from_fn_with_state(service.clone(), guard))
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .with_state(service)
}

/// An error as a problem document (RFC 9457).
fn problem(e: &Error) -> Response {
    let status = match e.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Denied => StatusCode::UNAUTHORIZED,
        ErrorKind::Unavailable | ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let document = json!({
        "type": "about:blank", "title": e.message(), "status": status.as_u16(), "code": e.code(), "at": e.place(),
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        document.to_string(),
    )
        .into_response()
}

/// Whoever knows the token; without one, whoever asks this machine by its own name, so that no page in a browser can do it
/// under another.
async fn guard(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let allowed = may(&service, request.headers());
    if allowed {
        return next.run(request).await;
    }
    let mut answer = problem(&Error::new(
        ErrorKind::Denied,
        "serve.denied",
        "the token is missing or wrong",
    ));
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    answer
}

fn may(service: &Service, headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if let Some(token) = &service.token {
        let given = text(header::AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
        return same(given.as_bytes(), token.as_bytes());
    }
    let host = text(header::HOST);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Compares in a time that does not tell where two texts differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |sum, (x, y)| sum | (x ^ y)) == 0
}

async fn run(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    // The body may be empty; it says nothing yet, and what is not understood is not passed over.
    let asked: std::result::Result<Value, _> = if body.is_empty() {
        Ok(json!({}))
    } else {
        serde_json::from_slice(&body)
    };
    if !matches!(&asked, Ok(Value::Object(map)) if map.is_empty()) {
        return problem(&Error::invalid("serve.bad_request", "the body has to be empty or {}"));
    }
    // A caller who goes away does not stop a run.
    let ran = tokio::spawn(async move { service.checkup.run(None).await }).await;
    let done = match ran.map_err(|e| Error::internal(e.to_string())).and_then(|r| r) {
        Ok(done) => done,
        Err(e) => return problem(&e),
    };
    let mut document = json!({
        "run": done.result.id, "verdict": done.result.verdict(), "counts": done.result.counts(), "checks": done.result.checks,
    });
    match done.kept {
        Some(Ok(kept)) => {
            let number = kept.evidence.run.number;
            let at = format!("/api/v1/integrity/runs/{number}");
            document["evidence"] = json!({
                "number": number, "sha256": kept.bundle.evidence_sha256(), "signer": kept.signer, "at": at,
                "pdf": kept.bundle.files().keys().any(|n| is_pdf(n)).then(|| format!("{at}/report.pdf")),
                "no_stamp": kept.no_stamp.map(|e| e.message().to_owned()),
            });
        }
        Some(Err(e)) => return problem(&e),
        None => {}
    }
    (StatusCode::OK, Json(document)).into_response()
}

fn history(service: &Service) -> Result<&History> {
    service
        .checkup
        .history()
        .ok_or_else(|| Error::not_found("evidence.not_kept", "evidence is not kept here"))
}

/// Work on files, away from the threads that serve.
async fn on_disk(work: impl FnOnce() -> Result<Response> + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::internal(e.to_string()))
        .and_then(|r| r)
        .unwrap_or_else(|e| problem(&e))
}

async fn runs(State(service): State<Arc<Service>>) -> Response {
    const SHOWN: usize = 100;
    on_disk(move || {
        let list: Vec<Value> = history(&service)?
            .recent(SHOWN)?
            .iter()
            .rev()
            .map(|e| {
                json!({
                    "number": e.run.number, "run": e.run.id, "started": e.run.started, "verdict": e.verdict, "counts": e.counts,
                    "at": format!("/api/v1/integrity/runs/{}", e.run.number),
                })
            })
            .collect();
        Ok(Json(json!({"runs": list})).into_response())
    })
    .await
}

fn read(service: &Service, number: u64, name: &str) -> Result<Vec<u8>> {
    let folder = history(service)?.place(number);
    let missing = || Error::not_found("evidence.no_such_file", "there is no such run or file");
    // Only names that stand in the folder itself can be asked for; nothing is put together from what came in.
    let mut open = vec![folder.clone()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(&here).map_err(|_| missing())?.flatten() {
            let kind = entry.file_type().map_err(|_| missing())?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let own = path.strip_prefix(&folder).map(|p| p.to_string_lossy().replace('\\', "/"));
                if own.is_ok_and(|own| own == name) {
                    return std::fs::read(&path).map_err(|_| missing());
                }
            }
        }
    }
    Err(missing())
}

fn sent(name: &str, bytes: Vec<u8>) -> Response {
    let kind = match name.rsplit('.').next() {
        Some("pdf") => "application/pdf",
        Some("json" | "sarif") => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let file = name.rsplit('/').next().unwrap_or(name).replace(['"', '\r', '\n'], "");
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, bytes).into_response()
}

async fn evidence(State(service): State<Arc<Service>>, Path(number): Path<u64>) -> Response {
    on_disk(move || {
        let bytes = read(&service, number, "evidence.json")?;
        Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
    })
    .await
}

async fn pdf(State(service): State<Arc<Service>>, Path(number): Path<u64>) -> Response {
    on_disk(move || {
        let folder = history(&service)?.place(number);
        let missing = || Error::not_found("evidence.no_pdf", "there is no such run, or it has no PDF");
        let names = std::fs::read_dir(&folder).map_err(|_| missing())?.flatten();
        let name = names
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .find(|n| n.starts_with("integrity_evidence_") && is_pdf(n))
            .ok_or_else(missing)?;
        Ok(sent(&name, read(&service, number, &name)?))
    })
    .await
}

async fn verify(State(service): State<Arc<Service>>, Path(number): Path<u64>) -> Response {
    on_disk(move || {
        let signer = service.checkup.keeper.as_ref().map(|k| k.signer.public());
        let verified = verify_folder(&history(&service)?.place(number), signer.as_ref())?;
        let mut document = json_of(&verified)?;
        document["ok"] = json!(verified.ok());
        Ok(Json(document).into_response())
    })
    .await
}

async fn file(State(service): State<Arc<Service>>, Path((number, name)): Path<(u64, String)>) -> Response {
    on_disk(move || Ok(sent(&name, read(&service, number, &name)?))).await
}

fn is_pdf(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|end| end == "pdf")
}
