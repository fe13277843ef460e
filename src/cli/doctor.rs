//! `levqor doctor` and `levqor migrate`.

#[cfg(feature = "integrity")]
mod evidence;
mod selftest;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::records::{Expect, RecordOp};
use crate::store::{Batch, StoreInfo};
use crate::types::{JobId, Tenant};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::cli::out::{Exit, Out, table};
use crate::cli::setup::{Connections, FEATURES, Global, engine, open};

/// Make the store's schema, or bring it to this version
///
/// Every command does this by itself; this one is for deployments that want it done before. It is safe to run
/// by many at once. Example:
///
///   levqor migrate --url postgres://levqor@db.example.com/levqor
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct MigrateArgs {}

/// Find out what works here
///
/// Opens the store, writes to it and reads it back, measures the disk and the clock, carries out a run, a schedule and
/// credits in memory, signs and verifies evidence, looks at connections and variables, and says of everything whether
/// it is on, off or degraded: nothing is off in silence. Ends with 1 if anything is broken. Example:
///
///   levqor doctor --url sqlite://levqor.db --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    connections: Connections,
}

/// A commit can be no faster than this; slower than that and the disk is what everything waits for.
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// Leases and waits of hosts that differ by more are visibly off, were they not corrected.
const FAR_CLOCK_MS: i64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    On,
    Off,
    Degraded,
    Broken,
}

#[derive(Serialize)]
struct Finding {
    name: String,
    state: State,
    detail: String,
}

impl Finding {
    fn new(name: &str, state: State, detail: impl Into<String>) -> Self {
        Finding {
            name: name.to_owned(),
            state,
            detail: detail.into(),
        }
    }

    fn broken(name: &str, e: &Error) -> Self {
        Finding::new(name, State::Broken, e.to_string())
    }
}

pub(crate) async fn migrate(out: &Out, global: &Global, _: &MigrateArgs) -> Result<Exit> {
    let engine = open(global, Vec::new()).await?;
    let info = engine.backend().store.info();
    let document = json!({"ok": true, "kind": info.kind, "version": info.version, "place": info.place, "durable": info.durable});
    out.answer(&document, || {
        if info.durable {
            format!("the schema of {} {} is up to date", info.kind, info.place)
        } else {
            format!("{} keeps nothing, so there is no schema", info.kind)
        }
    })?;
    Ok(Exit::Ok)
}

pub(crate) async fn doctor(out: &Out, global: &Global, args: DoctorArgs) -> Result<Exit> {
    Tenant::new(&global.tenant)?;
    let mut findings = Vec::new();
    match open(global, Vec::new()).await {
        Ok(engine) => look(&engine, global, &mut findings).await,
        Err(e) => findings.push(Finding::broken("store", &e)),
    }
    let connections = match (&args.connections.connections, args.connections.read()) {
        (None, _) => Finding::new("connections", State::Off, "no file is given (--connections)"),
        (Some(path), Ok(found)) => Finding::new("connections", State::On, format!("{} in {path}", found.len())),
        (Some(_), Err(e)) => Finding::broken("connections", &e),
    };
    findings.push(connections);
    let bare = engine(crate::backend::Backend::memory(), &global.tenant, Vec::new())?;
    if let Ok(found) = args.connections.read() {
        selftest::connections(&found, bare.connectors(), &mut findings);
    }
    let actions: usize = bare.connectors().manifests().map(|m| m.actions.len()).sum();
    let state = if actions > 0 { State::On } else { State::Off };
    findings.push(Finding::new("connectors", state, format!("{actions} actions")));
    selftest::engine_works(&global.tenant, &mut findings).await;
    selftest::environment(&mut findings);
    #[cfg(feature = "integrity")]
    evidence::look(&mut findings);
    for (name, built, what) in FEATURES {
        let (state, word) = if *built {
            (State::On, "built in")
        } else {
            (State::Off, "not in this build")
        };
        findings.push(Finding::new(&format!("feature {name}"), state, format!("{word}: {what}")));
    }

    let broken = findings.iter().filter(|f| f.state == State::Broken).count();
    out.answer(&json!({"ok": broken == 0, "findings": findings}), || {
        let word = |f: &Finding| format!("{:?}", f.state).to_lowercase();
        let rows = findings.iter().map(|f| vec![f.name.clone(), word(f), f.detail.clone()]);
        let verdict = match broken {
            0 => "nothing is broken".to_owned(),
            n => format!("broken: {n}"),
        };
        format!("{}\n\n{verdict}", table(&["what", "state", "detail"], &[], rows))
    })?;
    Ok(if broken == 0 { Exit::Ok } else { Exit::Failed })
}

/// What can be known of a store that opens.
async fn look(engine: &Engine, global: &Global, findings: &mut Vec<Finding>) {
    let info = engine.backend().store.info();
    let detail = format!("{} {} {}", info.kind, info.version, info.place);
    findings.push(if info.durable {
        Finding::new("store", State::On, detail)
    } else {
        Finding::new("store", State::Degraded, "memory: nothing outlives this process")
    });
    findings.push(if info.durable {
        Finding::new("schema", State::On, "up to date")
    } else {
        Finding::new("schema", State::Off, "not needed")
    });
    findings.push(match write_and_read(engine).await {
        Ok(took) => Finding::new(
            "write and read back",
            State::On,
            format!("{:.1} ms", took.as_secs_f64() * 1e3),
        ),
        Err(e) => Finding::broken("write and read back", &e),
    });
    findings.push(disk(&info).await);
    let offset = info.clock_offset.0;
    findings.push(match info.kind {
        "memory" | "sqlite" => Finding::new("clock", State::On, "the machine's own"),
        _ if offset.abs() > FAR_CLOCK_MS => Finding::new(
            "clock",
            State::Degraded,
            format!("{offset} ms off the store's; corrected, but set it right"),
        ),
        _ => Finding::new("clock", State::On, format!("{offset} ms off the store's; corrected")),
    });
    let (state, detail) = if global.redis.is_some() {
        (State::On, "in Redis, over all that use it")
    } else if global.url.contains("limits=shm") {
        (State::On, "in shared memory, over the processes of this host")
    } else if info.kind == "memory" || global.url.contains("limits=memory") {
        (State::Off, "limits are counted in each process by itself")
    } else {
        (State::On, "in the store, over all its processes")
    };
    findings.push(Finding::new("shared limits", state, detail));
}

/// Writes a record of ours, reads it, and takes it away again.
async fn write_and_read(engine: &Engine) -> Result<Duration> {
    let store = &engine.backend().store;
    let (kind, name) = ("doctor", JobId::new(engine.now()).to_string());
    let body = json!({"doctor": name}).to_string();
    let begun = Instant::now();
    let batch = || Batch::new(engine.tenant_name().clone(), engine.now());
    let put = RecordOp::Put {
        kind: kind.into(),
        name: name.as_str().into(),
        body: body.as_str().into(),
        expect: Expect::Absent,
        expires_at: None,
    };
    store.commit(batch().op(put)).await?;
    let found = store.reads().records.record(engine.tenant_name(), kind, &name).await?;
    let delete = RecordOp::Delete {
        kind: kind.into(),
        name: name.as_str().into(),
        expect: Expect::Any,
    };
    store.commit(batch().op(delete)).await?;
    match found {
        Some(record) if *record.body == *body => Ok(begun.elapsed()),
        Some(_) => Err(Error::internal("what was read is not what was written")),
        None => Err(Error::internal("what was written cannot be found")),
    }
}

async fn disk(info: &StoreInfo) -> Finding {
    const NAME: &str = "disk";
    if info.kind != "sqlite" {
        return Finding::new(NAME, State::Off, "no data folder on this machine is known");
    }
    let folder = Path::new(&info.place).parent().unwrap_or(Path::new(".")).to_owned();
    let measured = tokio::task::spawn_blocking(move || fsync_p50(&folder)).await;
    match measured {
        Ok(Ok(p50)) => {
            let slow = p50 > SLOW_SYNC;
            let detail = format!(
                "fsync p50 {:.2} ms{}",
                p50.as_secs_f64() * 1e3,
                if slow { ": slow" } else { "" }
            );
            Finding::new(NAME, if slow { State::Degraded } else { State::On }, detail)
        }
        Ok(Err(e)) => Finding::new(NAME, State::Broken, format!("the data folder cannot be written: {e}")),
        Err(e) => Finding::new(NAME, State::Broken, format!("the disk cannot be measured: {e}")),
    }
}

/// The median time of a durable write of 4 KiB in a folder, of 21.
fn fsync_p50(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".levqor-doctor-{}", std::process::id()));
    let measured = std::fs::File::create_new(&path).and_then(|mut file| {
        let mut took = Vec::with_capacity(21);
        for _ in 0..21 {
            let begun = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok(took[took.len() / 2])
    });
    // Left behind only where it could not be made in the first place.
    let _ = std::fs::remove_file(&path);
    measured
}
