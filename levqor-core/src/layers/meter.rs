//! Counts and latency of connector calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::{Around, Layer, Layered};
use crate::connector::{Connector, Cx, Output};
use crate::error::{ErrorKind, Result};

/// Upper ends of the histogram's buckets, in microseconds.
const BOUNDS: [u64; 13] = [
    100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 10_000_000, 30_000_000,
];

/// The counters of an engine's connectors. It belongs to its owner: two engines in a process have two.
#[derive(Debug, Default)]
pub struct Meter {
    cells: Mutex<BTreeMap<(String, String), Arc<Cell>>>,
}

/// The counters of one action.
#[derive(Debug, Default)]
struct Cell {
    ok: AtomicU64,
    failed: [AtomicU64; ErrorKind::ALL.len()],
    attempts: AtomicU64,
    micros: AtomicU64,
    /// Calls by bucket, not summed up; the last is for all that took longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// What was counted for one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionStats {
    /// The connector's name.
    pub connector: String,
    /// The action's name.
    pub action: String,
    /// Calls by outcome: `ok`, or the name of the error's kind. Only what happened.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Attempts of all calls together, as far as they were told.
    pub attempts: u64,
    /// Time of all calls together, waits between attempts included, in microseconds.
    pub micros: u64,
    /// How many calls took at most so many microseconds, ascending; `None` for all of them.
    pub latency: Vec<(Option<u64>, u64)>,
}

impl ActionStats {
    /// Calls, whatever came of them.
    pub fn calls(&self) -> u64 {
        self.outcomes.values().sum()
    }
}

impl Cell {
    fn count(&self, result: &Result<Output>, micros: u64) {
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let attempts = match result {
            Ok(output) => {
                one(&self.ok);
                u64::from(output.attempts)
            }
            Err(e) => {
                if let Some(at) = ErrorKind::ALL.iter().position(|k| *k == e.kind()) {
                    one(&self.failed[at]);
                }
                e.details().get("attempts").and_then(Value::as_u64).unwrap_or(1)
            }
        };
        self.attempts.fetch_add(attempts, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        one(&self.buckets[BOUNDS.partition_point(|end| *end < micros)]);
    }
}

impl Meter {
    fn cell(&self, connector: &str, action: &str) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry((connector.to_owned(), action.to_owned())).or_default())
    }

    /// Everything that was counted, by connector and action; actions that were never called are left out.
    pub fn snapshot(&self) -> Vec<ActionStats> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = cells.iter().map(|((connector, action), cell)| {
            let kinds = ErrorKind::ALL
                .iter()
                .zip(&cell.failed)
                .map(|(kind, n)| (kind.name(), read(n)));
            let ends = BOUNDS.iter().copied().map(Some).chain([None]);
            let mut sum = 0;
            ActionStats {
                connector: connector.clone(),
                action: action.clone(),
                outcomes: std::iter::once(("ok", read(&cell.ok)))
                    .chain(kinds)
                    .filter(|(_, n)| *n > 0)
                    .collect(),
                attempts: read(&cell.attempts),
                micros: read(&cell.micros),
                latency: ends
                    .zip(&cell.buckets)
                    .map(|(end, n)| {
                        sum += read(n);
                        (end, sum)
                    })
                    .collect(),
            }
        });
        stats.filter(|s| s.calls() > 0).collect()
    }

    /// The snapshot in Prometheus' text format, version 0.0.4.
    pub fn prometheus(&self) -> String {
        let stats = self.snapshot();
        let mut text = String::new();
        // Writing into a `String` cannot fail. Names hold nothing that a label would have to escape.
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "levqor_connector_calls_total";
        head(&mut text, name, "counter", "Connector calls by outcome.");
        for s in &stats {
            for (outcome, n) in &s.outcomes {
                let _ = writeln!(text, "{name}{{{},outcome=\"{outcome}\"}} {n}", labels(s));
            }
        }
        let name = "levqor_connector_attempts_total";
        head(&mut text, name, "counter", "Attempts of connector calls.");
        for s in &stats {
            let _ = writeln!(text, "{name}{{{}}} {}", labels(s), s.attempts);
        }
        let name = "levqor_connector_call_duration_seconds";
        head(
            &mut text,
            name,
            "histogram",
            "Duration of connector calls, waits between attempts included.",
        );
        for s in &stats {
            for (end, n) in &s.latency {
                let le = end.map_or_else(|| "+Inf".to_owned(), seconds);
                let _ = writeln!(text, "{name}_bucket{{{},le=\"{le}\"}} {n}", labels(s));
            }
            let _ = writeln!(text, "{name}_sum{{{}}} {}", labels(s), seconds(s.micros));
            let _ = writeln!(text, "{name}_count{{{}}} {}", labels(s), s.calls());
        }
        text
    }
}

fn labels(s: &ActionStats) -> String {
    format!("connector=\"{}\",action=\"{}\"", s.connector, s.action)
}

/// Microseconds as decimal seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Counts every call of a connector in a [`Meter`].
#[derive(Clone, Debug)]
pub struct MeterLayer(pub Arc<Meter>);

impl Layer for MeterLayer {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        let manifest = inner.manifest();
        let cell = |action: &str| (action.to_owned(), self.0.cell(&manifest.name, action));
        let counted = Counted {
            cells: manifest.actions.iter().map(|a| cell(&a.name)).collect(),
        };
        Layered::shared(counted, inner)
    }
}

/// The cells of a connector's actions, so that a call looks nothing up in a shared map.
struct Counted {
    cells: Vec<(String, Arc<Cell>)>,
}

impl Around for Counted {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let start = tokio::time::Instant::now();
        let result = inner.call(cx, action, input).await;
        if let Some((_, cell)) = self.cells.iter().find(|(name, _)| name == action) {
            cell.count(&result, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::probe::{Probe, cx};
    use super::*;
    use crate::error::Error;

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_by_action_and_outcome() {
        let meter = Arc::new(Meter::default());
        let answers = [
            Ok(json!(1)),
            Err(Error::unavailable("x", "x").with("attempts", 4)),
            Err(Error::invalid("x", "x")),
        ];
        let c = MeterLayer(Arc::clone(&meter)).connector(Probe::answering(answers).shared());
        for _ in 0..5 {
            let _ = c.call(&cx(), "read", &json!({})).await;
        }
        let stats = meter.snapshot();
        assert_eq!(stats.len(), 1, "what was not called is not shown");
        let s = &stats[0];
        assert_eq!((s.calls(), s.attempts), (5, 8));
        assert_eq!(s.outcomes, BTreeMap::from([("ok", 3), ("unavailable", 1), ("invalid", 1)]));
        assert_eq!((s.latency[0], s.latency[13]), ((Some(100), 5), (None, 5)));
    }

    #[test]
    fn the_text_for_prometheus_is_cumulative_and_in_seconds() {
        let meter = Meter::default();
        let cell = meter.cell("http", "request");
        for micros in [100, 101, 2_500_000, 60_000_000] {
            cell.count(&Ok(Output::new(json!(1))), micros);
        }
        let text = meter.prometheus();
        for line in [
            r#"levqor_connector_calls_total{connector="http",action="request",outcome="ok"} 4"#,
            r#"levqor_connector_attempts_total{connector="http",action="request"} 4"#,
            r#"levqor_connector_call_duration_seconds_bucket{connector="http",action="request",le="0.0001"} 1"#,
            r#"levqor_connector_call_duration_seconds_bucket{connector="http",action="request",le="0.0005"} 2"#,
            r#"levqor_connector_call_duration_seconds_bucket{connector="http",action="request",le="5"} 3"#,
            r#"levqor_connector_call_duration_seconds_bucket{connector="http",action="request",le="+Inf"} 4"#,
            r#"levqor_connector_call_duration_seconds_sum{connector="http",action="request"} 62.500201"#,
            r#"levqor_connector_call_duration_seconds_count{connector="http",action="request"} 4"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
