//! Repetition of failed attempts, by the pure rule in [`jobs::retry`](crate::jobs::retry).

use std::sync::Arc;

use serde_json::Value;

use super::{Around, Layer, Layered, budget};
use crate::connector::{Connector, Cx, Output};
use crate::error::{Error, Result};
use crate::jobs::retry::{Next, next};
use crate::types::{Millis, random_bytes};

/// The detail of an error that says how many attempts were made.
const ATTEMPTS: &str = "attempts";
/// The detail of an error that the run should come back after.
const PUT_AWAY: &str = "put_away";

/// Repeats failed attempts as [`Cx::retry`] says, sleeping at most [`Cx::max_sleep`].
///
/// * Success: [`Output::attempts`] holds the number of attempts, earlier lives of the run included.
/// * Failure for good: the last error, with the detail `attempts`.
/// * A wait that is too long to sit out: the last error with that wait as its `retry_after`, which
///   [`put_away`] recognises. The caller comes back with [`Cx::attempts_before`] set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retry;

/// Whether an error of the retry layer asks for the run to be put away: for how long, and how many attempts
/// were made, to be handed back in [`Cx::attempts_before`]. `None` if the error is final.
pub fn put_away(error: &Error) -> Option<(Millis, u32)> {
    let details = error.details();
    if details.get(PUT_AWAY).and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let attempts = details.get(ATTEMPTS).and_then(Value::as_u64).unwrap_or(0);
    Some((
        error.retry_after().unwrap_or(Millis::ZERO),
        u32::try_from(attempts).unwrap_or(u32::MAX),
    ))
}

impl Layer for Retry {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(*self, inner)
    }
}

impl Around for Retry {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let mut made = cx.attempts_before;
        let mut previous = cx.retry.usual_wait(made);
        let mut sleep_left = cx.max_sleep;
        loop {
            let error = match inner.call(cx, action, input).await {
                Ok(mut output) => {
                    output.attempts = made.saturating_add(1);
                    return Ok(output);
                }
                Err(error) => error,
            };
            // Nothing was sent where our own budget had no room, so it counts as no attempt.
            if error.code() == budget::EXCEEDED && error.retryable() {
                return Err(error.with(ATTEMPTS, made).with(PUT_AWAY, true));
            }
            made = made.saturating_add(1);
            let random = u64::from_be_bytes(random_bytes());
            let idempotent = inner.repeatable(cx, action, input);
            match next(&cx.retry, made, previous, &error, idempotent, random) {
                Next::GiveUp => return Err(error.with(ATTEMPTS, made)),
                Next::Retry { after } if after > sleep_left => {
                    return Err(error.after(after).with(ATTEMPTS, made).with(PUT_AWAY, true));
                }
                Next::Retry { after } => {
                    tokio::time::sleep(after.to_duration()).await;
                    sleep_left = sleep_left - after;
                    previous = after;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::probe::{Probe, cx};
    use super::*;
    use crate::error::{Effect, ErrorKind};

    fn down() -> Error {
        Error::unavailable("x.down", "down")
    }

    async fn call(probe: &Probe, cx: &Cx, action: &str) -> Result<Output> {
        Retry.connector(probe.clone().shared()).call(cx, action, &json!({})).await
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_up_to_the_last() {
        let probe = Probe::answering([Err(down()), Err(down()), Ok(json!(7))]);
        let out = call(&probe, &cx(), "write").await.unwrap();
        assert_eq!((out.data, out.attempts), (json!(7), 3));

        let probe = Probe::answering((0..9).map(|_| Err(down())));
        let e = call(&probe, &cx(), "write").await.unwrap_err();
        assert_eq!((probe.calls(), e.details()["attempts"].as_u64()), (4, Some(4)));
        assert_eq!(put_away(&e), None, "the fourth failure is final");
    }

    #[tokio::test(start_paused = true)]
    async fn the_provider_is_left_alone_until_it_said() {
        let probe = Probe::answering([Err(down().after(Millis::secs(17))), Ok(json!(1))]);
        let start = tokio::time::Instant::now();
        assert_eq!(call(&probe, &cx(), "write").await.unwrap().attempts, 2);
        assert!(start.elapsed().as_millis() >= 17_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_repeated_only_where_that_does_no_harm() {
        let lost = || Error::new(ErrorKind::Timeout, "x.lost", "lost").effect_is(Effect::Unknown);
        let probe = Probe::answering([Err(lost())]);
        assert_eq!(call(&probe, &cx(), "write").await.unwrap_err().code(), "x.lost");
        assert_eq!(probe.calls(), 1);
        let probe = Probe::answering([Err(lost())]);
        assert_eq!(call(&probe, &cx(), "read").await.unwrap().attempts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_get_better_is_not_repeated() {
        for e in [
            Error::invalid("x", "x"),
            Error::not_found("x", "x"),
            down().retry(false),
            Error::conflict("x", "x"),
        ] {
            let probe = Probe::answering([Err(e)]);
            call(&probe, &cx(), "read").await.unwrap_err();
            assert_eq!(probe.calls(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_given_back_and_taken_up_again() {
        let probe = Probe::answering([Err(down().after(Millis::mins(10))), Err(down()), Err(down()), Err(down())]);
        let start = tokio::time::Instant::now();
        let e = call(&probe, &cx(), "write").await.unwrap_err();
        assert_eq!(put_away(&e), Some((Millis::mins(10), 1)));
        assert_eq!(start.elapsed().as_millis(), 0);

        let later = Cx {
            attempts_before: 1,
            ..cx()
        };
        let e = call(&probe, &later, "write").await.unwrap_err();
        assert_eq!(
            (probe.calls(), e.details()["attempts"].as_u64(), put_away(&e)),
            (4, Some(4), None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn all_sleeps_together_stay_within_the_limit() {
        let probe = Probe::answering((0..9).map(|_| Err(down().after(Millis::secs(25)))));
        let start = tokio::time::Instant::now();
        let e = call(&probe, &cx(), "write").await.unwrap_err();
        // Two sleeps of 25 to 30 s fit into a minute, a third does not.
        assert!((50_000..=60_000).contains(&start.elapsed().as_millis()));
        assert_eq!(put_away(&e).unwrap().1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_is_no_attempt() {
        let full = Error::new(ErrorKind::RateLimited, budget::EXCEEDED, "full").after(Millis::hours(1));
        let e = call(&Probe::answering([Err(full)]), &cx(), "write").await.unwrap_err();
        assert_eq!(put_away(&e), Some((Millis::hours(1), 0)));
    }
}
