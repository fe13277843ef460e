//! The end of one attempt.

use std::sync::Arc;

use serde_json::Value;

use super::{Around, Layer, Layered};
use crate::connector::{Connector, Cx, Output, SideEffect};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::types::Millis;

/// How much later than [`Cx::timeout`] an attempt is cut off. A connector that keeps the time-out itself
/// knows better what it left behind, so it comes first.
const GRACE: Millis = Millis(100);

/// Ends an attempt that takes longer than [`Cx::timeout`], with `connector.timeout`. Its effect is unknown,
/// unless the action only reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeout;

impl Layer for Timeout {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(*self, inner)
    }
}

impl Around for Timeout {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let longest = cx.timeout.saturating_add(GRACE).to_duration();
        if let Ok(result) = tokio::time::timeout(longest, inner.call(cx, action, input)).await {
            return result;
        }
        let manifest = inner.manifest();
        let reads = manifest.action(action).is_some_and(|a| a.side_effect == SideEffect::Read);
        let message = format!("`{}.{action}` did not end within {}", manifest.name, cx.timeout);
        let effect = if reads { Effect::None } else { Effect::Unknown };
        Err(Error::new(ErrorKind::Timeout, "connector.timeout", message).effect_is(effect))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::probe::{Probe, cx};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hanging_attempt_ends_and_says_what_it_may_have_left() {
        let layered = Timeout.connector(Probe::hanging().shared());
        let cx = Cx {
            timeout: Millis::secs(3),
            ..cx()
        };
        for (action, effect) in [("read", Effect::None), ("write", Effect::Unknown)] {
            let start = tokio::time::Instant::now();
            let e = layered.call(&cx, action, &json!({})).await.unwrap_err();
            assert_eq!(
                (e.code(), e.kind(), e.effect()),
                ("connector.timeout", ErrorKind::Timeout, effect)
            );
            assert_eq!(start.elapsed().as_millis(), 3_100);
        }
    }

    #[tokio::test]
    async fn an_answer_in_time_passes() {
        let out = Timeout
            .connector(Probe::named("p").shared())
            .call(&cx(), "read", &json!({"n": 1}))
            .await;
        assert_eq!(out.unwrap().data, json!({"n": 1}));
    }
}
