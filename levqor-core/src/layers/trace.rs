//! Tracing spans around calls. The host installs a subscriber, or nothing is written.

use std::sync::Arc;

use serde_json::Value;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{Around, Layer, Layered};
use crate::connector::{Connector, Cx, Output};
use crate::error::Result;
use crate::types::JobId;

/// A span `connector.call` around every call, with the names of connector, action, connection, run and step,
/// and in the end the attempts and the outcome: `ok`, or the error's kind and code. Never a value: no input, no
/// output, no message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace;

impl Layer for Trace {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(*self, inner)
    }
}

impl Around for Trace {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let span = tracing::info_span!(
            target: "levqor::connector",
            "connector.call",
            connector = %inner.manifest().name,
            action = %action,
            connection = cx.connection.as_ref().map(|c| c.name()),
            tenant = %cx.tenant,
            run = cx.run.as_ref().map(JobId::as_str),
            step = %cx.step,
            attempts = Empty,
            outcome = Empty,
            code = Empty,
        );
        if span.is_disabled() {
            return inner.call(cx, action, input).await;
        }
        let result = inner.call(cx, action, input).instrument(span.clone()).await;
        match &result {
            Ok(output) => {
                span.record("outcome", "ok").record("attempts", output.attempts);
            }
            Err(e) => {
                span.record("outcome", e.kind().name()).record("code", e.code());
                if let Some(n) = e.details().get("attempts").and_then(Value::as_u64) {
                    span.record("attempts", n);
                }
            }
        }
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Mutex;

    use serde_json::json;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::Subscriber;
    use tracing::{Event, Metadata};

    use super::super::probe::{Probe, with_connection};
    use super::*;
    use crate::error::Error;

    /// Writes down every field of every span.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<String>>);

    struct Pen<'a>(&'a mut String);

    impl Visit for Pen<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let _ = write!(self.0, "{field}={value:?} ");
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            span.record(&mut Pen(&mut self.0.lock().unwrap()));
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut Pen(&mut self.0.lock().unwrap()));
        }
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut Pen(&mut self.0.lock().unwrap()));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn a_span_names_the_call_and_its_outcome_but_no_value() {
        let notes = Notes::default();
        let probe = Probe::answering([
            Ok(json!(1)),
            Err(Error::unavailable("x.down", "canary-message").with("attempts", 3)),
        ]);
        let c = Trace.connector(probe.shared());
        let cx = with_connection(json!({"token": "canary-token"}));
        let guard = tracing::subscriber::set_default(notes.clone());
        c.call(&cx, "write", &json!({"url": "canary-input"})).await.unwrap();
        c.call(&cx, "write", &json!({"url": "canary-input"})).await.unwrap_err();
        drop(guard);
        let text = notes.0.lock().unwrap().clone();
        for part in [
            "connector=probe",
            "action=write",
            r#"connection="main""#,
            r#"outcome="ok""#,
            "attempts=1",
            r#"outcome="unavailable""#,
            r#"code="x.down""#,
            "attempts=3",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }
}
