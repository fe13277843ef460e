//! Schedules, and how the engine stands.

use levqor::engine::Engine;
use levqor::jobs::schedule::Schedule;
use levqor::store::Page;
use pyo3::Py;
use serde_json::{Value, json};

use super::{At, verbs};
use crate::worker::Events;

fn page(after: Option<String>, limit: usize) -> Page {
    Page {
        after,
        limit: limit.min(1_000),
    }
}

/// Where the data lies, without credentials.
fn info(e: &Engine) -> Value {
    let info = e.backend().store.info();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "store": info.kind, "store_version": info.version, "place": info.place,
        "durable": info.durable, "shared": info.shared, "clock_offset": info.clock_offset, "tenant": e.tenant_name().as_str(),
        "connectors": e.connectors().names().collect::<Vec<_>>(),
    })
}

/// What actions took: upper ends of the buckets in microseconds, with how many calls lay in each.
fn stats(e: &Engine) -> Vec<Value> {
    let stats = e.meter().snapshot();
    let one = stats.iter().map(|s| {
        json!({
            "connector": s.connector, "action": s.action, "outcomes": s.outcomes, "attempts": s.attempts, "micros": s.micros,
            "latency": s.latency,
        })
    });
    one.collect()
}

verbs! { TABLE: e;
    schedules.put(schedule: Schedule) => e.schedules().put(schedule).await?;
    schedules.get(name: String) => e.schedules().get(&name).await?;
    schedules.list(; after: Option<String>, limit: usize = 50usize) => e.schedules().list(&page(after, limit)).await?;
    schedules.pause(name: String) => e.schedules().pause(&name).await?;
    schedules.resume(name: String) => e.schedules().resume(&name).await?;
    schedules.delete(name: String) => e.schedules().delete(&name).await?;
    schedules.run_now(name: String; idempotency_key: Option<String>)
        => e.schedules().run_now(&name, idempotency_key.as_deref()).await?;
    schedules.backfill(name: String, since: At, until: At) => e.schedules().backfill(&name, since.0, until.0).await?;
    schedules.history(name: String; before: Option<i64>, limit: usize = 50usize)
        => e.schedules().history(&name, before, limit.min(1_000)).await?;
    schedules.next(name: String, count: usize = 5usize) => e.schedules().next(&name, count).await?;
    schedules.fire_due() => e.schedules().fire_due().await?;

    engine.info() => info(&e);
    engine.now() => e.now();
    engine.stats() => stats(&e);
    engine.events() -> object => { let events = e.events(); move |py| Ok(Py::new(py, Events::new(events))?.into_any()) };
    engine.metrics() => e.meter().prometheus();
}
