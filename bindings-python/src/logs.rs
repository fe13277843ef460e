//! From the engine's `tracing` events to Python's `logging`, under `levqor.*`.
//!
//! Events are queued and told by the completer's thread, so that nobody who holds a lock of the engine waits
//! for Python.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// The lowest of Python's levels that anybody hears.
static LOUD: AtomicU8 = AtomicU8::new(30);

/// One event.
pub(crate) struct Line {
    level: u8,
    target: &'static str,
    text: String,
}

struct ToPython;

fn level(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

impl Subscriber for ToPython {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Python's levels change at any time.
        if metadata.is_event() && metadata.target().starts_with("levqor") {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        level(*metadata.level()) >= LOUD.load(Ordering::Relaxed)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Text { mut message, fields } = text;
        message.push_str(&fields);
        crate::bridge::line(Line {
            level: level(*event.metadata().level()),
            target: event.metadata().target(),
            text: message,
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// Begins to listen. A host that embeds Python and listens already keeps its own subscriber.
pub(crate) fn listen() {
    let _ = tracing::subscriber::set_global_default(ToPython);
}

/// Asks Python what is heard.
pub(crate) fn refresh(py: Python<'_>) {
    if let Ok(level) = logging(py)
        .and_then(|l| l.call_method0("effective"))
        .and_then(|l| l.extract::<i64>())
    {
        LOUD.store(u8::try_from(level.clamp(0, 255)).unwrap_or(30), Ordering::Relaxed);
    }
}

fn logging(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("levqor._logging").map(Bound::unbind))?;
    Ok(module.bind(py).clone().into_any())
}

/// Tells one event.
pub(crate) fn emit(py: Python<'_>, line: &Line) {
    let name = line
        .target
        .replacen("levqor_core", "levqor", 1)
        .replace('_', ".")
        .replace("::", ".");
    let told = logging(py).and_then(|l| l.call_method1("emit", (name, line.level, line.text.as_str())));
    // A handler that fails is Python's affair.
    drop(told);
}
