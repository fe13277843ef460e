//! The circuit breaker: what is down is left alone for a while.
//!
//! [`State`] is the pure machine: closed (calls pass, failures in a row are counted), open (calls are refused
//! until a time), half-open (one call is let through to see). It is described in Michael Nygard, "Release
//! It!" (2007), and by Martin Fowler, <https://martinfowler.com/bliki/CircuitBreaker.html>.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

use super::{Around, Layer, Layered, account};
use crate::connector::{Connector, Cx, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open at first; twice as long after every look that failed.
    pub cool_down: Millis,
    /// The longest that it stays open, unless the other side asks for more.
    pub longest: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            failures: 10,
            cool_down: Millis::secs(5),
            longest: Millis::mins(2),
        }
    }
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Calls are refused.
    Open {
        /// Until then.
        until: Millis,
        /// How long this time, to double it.
        cool_down: Millis,
    },
    /// One call looks whether the other side is back; the others are refused.
    HalfOpen {
        /// As in `Open`.
        cool_down: Millis,
    },
}

/// What may be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Go,
    /// Go on; this call decides for all.
    Look,
    /// Come back after this time.
    Refused(Millis),
}

/// What came of a call, as far as it tells whether the other side is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, be it with a refusal.
    Up,
    /// It did not answer, or said that it cannot; and how long it asked to be left alone.
    Down(Option<Millis>),
    /// The call did not get that far.
    Unknown,
}

impl Outcome {
    /// What a result tells. Only [`ErrorKind::Unavailable`] and [`ErrorKind::Timeout`] mean down; a refusal
    /// by a rate limit means neither, since it may have been our own.
    pub fn of<T>(result: &Result<T>) -> Self {
        match result {
            Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => Outcome::Down(e.retry_after()),
            Err(e) if e.kind() == ErrorKind::RateLimited => Outcome::Unknown,
            _ => Outcome::Up,
        }
    }
}

/// How long others wait while one call looks.
const WHILE_LOOKING: Millis = Millis::secs(1);

impl State {
    /// A circuit that nothing is known about.
    pub const NEW: State = State::Closed { failures: 0 };

    /// Asks for a call.
    #[must_use]
    pub fn ask(self, now: Millis) -> (State, Pass) {
        match self {
            State::Closed { .. } => (self, Pass::Go),
            State::Open { until, .. } if now < until => (self, Pass::Refused(until - now)),
            State::Open { cool_down, .. } => (State::HalfOpen { cool_down }, Pass::Look),
            State::HalfOpen { .. } => (self, Pass::Refused(WHILE_LOOKING)),
        }
    }

    /// Takes the outcome of a call that passed as `pass`.
    #[must_use]
    pub fn told(self, pass: Pass, outcome: Outcome, policy: &Policy, now: Millis) -> State {
        let open = |cool_down: Millis, asked: Option<Millis>| {
            let cool_down = cool_down.min(policy.longest);
            State::Open {
                until: now + asked.map_or(cool_down, |a| a.max(cool_down)),
                cool_down,
            }
        };
        match (self, pass, outcome) {
            (State::Closed { .. }, _, Outcome::Up) | (State::HalfOpen { .. }, Pass::Look, Outcome::Up) => State::NEW,
            (State::Closed { failures }, _, Outcome::Down(asked)) => match failures.saturating_add(1) {
                n if n >= policy.failures => open(policy.cool_down, asked),
                n => State::Closed { failures: n },
            },
            (State::HalfOpen { cool_down }, Pass::Look, Outcome::Down(asked)) => {
                open(Millis(cool_down.0.saturating_mul(2)), asked)
            }
            // The look was called off: the next call looks.
            (State::HalfOpen { cool_down }, Pass::Look, Outcome::Unknown) => State::Open { until: now, cool_down },
            // Late news from before the circuit opened.
            _ => self,
        }
    }
}

/// The circuits of an engine. Only what has failed is remembered.
#[derive(Debug, Default)]
pub struct Breakers {
    policy: Policy,
    circuits: RwLock<HashMap<String, State>>,
}

/// Circuits that are remembered at most; beyond it, those that are still closed are forgotten.
const MOST: usize = 10_000;

impl Breakers {
    /// Circuits under a policy.
    pub fn new(policy: Policy) -> Self {
        Breakers {
            policy,
            circuits: RwLock::default(),
        }
    }

    /// Every circuit that is not plainly closed, by the name of what it leads to, sorted.
    pub fn snapshot(&self) -> Vec<(String, State)> {
        let mut all: Vec<_> = self.read().iter().map(|(k, s)| (k.clone(), *s)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, State>> {
        self.circuits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, State>> {
        self.circuits.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, key: impl FnOnce() -> String, now: Millis) -> Pass {
        if self.read().is_empty() {
            return Pass::Go;
        }
        match self.write().get_mut(&key()) {
            None => Pass::Go,
            Some(state) => {
                let (after, pass) = state.ask(now);
                *state = after;
                pass
            }
        }
    }

    fn tell(&self, key: impl FnOnce() -> String, pass: Pass, outcome: Outcome, now: Millis) {
        if !matches!(outcome, Outcome::Down(_)) && self.read().is_empty() {
            return;
        }
        let key = key();
        let mut circuits = self.write();
        let before = circuits.get(&key).copied().unwrap_or(State::NEW);
        let after = before.told(pass, outcome, &self.policy, now);
        if after == State::NEW {
            circuits.remove(&key);
            return;
        }
        if circuits.len() >= MOST && !circuits.contains_key(&key) {
            circuits.retain(|_, s| !matches!(s, State::Closed { .. }));
            if circuits.len() >= MOST {
                return;
            }
        }
        circuits.insert(key, after);
    }
}

/// Refuses calls to what is down, with `connector.circuit_open` and the time after which to ask again. One
/// circuit per tenant, connection and [destination](Connector::destination).
#[derive(Clone, Debug)]
pub struct Breaker(pub Arc<Breakers>);

impl Layer for Breaker {
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Layered::shared(self.clone(), inner)
    }
}

impl Around for Breaker {
    async fn around(&self, inner: &dyn Connector, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let key = || match inner.destination(cx, action, input) {
            None => account(inner, cx),
            Some(to) => format!("{}/{to}", account(inner, cx)),
        };
        let pass = self.0.ask(key, cx.clock.now());
        if let Pass::Refused(wait) = pass {
            let message = format!("`{}` has failed repeatedly and is left alone", inner.manifest().name);
            return Err(Error::unavailable("connector.circuit_open", message).after(wait));
        }
        // If the call is dropped half-way, a look must not stay open for ever.
        let mut told = CalledOff {
            breakers: &self.0,
            key: (pass == Pass::Look).then(key),
            cx,
        };
        let result = inner.call(cx, action, input).await;
        told.key = None;
        self.0.tell(key, pass, Outcome::of(&result), cx.clock.now());
        result
    }
}

struct CalledOff<'a> {
    breakers: &'a Breakers,
    key: Option<String>,
    cx: &'a Cx,
}

impl Drop for CalledOff<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.breakers.tell(|| key, Pass::Look, Outcome::Unknown, self.cx.clock.now());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::probe::{Probe, at, cx};
    use super::*;
    use crate::clock::ManualClock;

    const POLICY: Policy = Policy {
        failures: 3,
        cool_down: Millis(100),
        longest: Millis(350),
    };
    const DOWN: Outcome = Outcome::Down(None);

    #[test]
    fn the_circuit_opens_looks_and_closes() {
        let mut s = State::NEW;
        for _ in 0..2 {
            s = s.told(Pass::Go, DOWN, &POLICY, Millis(0));
        }
        assert_eq!(s, State::Closed { failures: 2 });
        assert_eq!(s.told(Pass::Go, Outcome::Up, &POLICY, Millis(0)), State::NEW);
        assert_eq!(s.told(Pass::Go, Outcome::Unknown, &POLICY, Millis(0)), s);

        s = s.told(Pass::Go, DOWN, &POLICY, Millis(0));
        assert_eq!(s.ask(Millis(60)).1, Pass::Refused(Millis(40)));
        assert_eq!(
            s.told(Pass::Go, Outcome::Up, &POLICY, Millis(50)),
            s,
            "late news changes nothing"
        );

        let (looking, pass) = s.ask(Millis(100));
        assert_eq!(pass, Pass::Look);
        assert!(matches!(looking.ask(Millis(100)).1, Pass::Refused(_)), "only one call looks");
        assert_eq!(looking.told(Pass::Go, Outcome::Up, &POLICY, Millis(100)), looking);
        assert_eq!(looking.told(Pass::Look, Outcome::Up, &POLICY, Millis(100)), State::NEW);
        let again = looking.told(Pass::Look, Outcome::Unknown, &POLICY, Millis(101));
        assert_eq!(again.ask(Millis(101)).1, Pass::Look);
    }

    #[test]
    fn the_cool_down_doubles_up_to_the_longest_unless_asked_for_more() {
        let mut s = State::Open {
            until: Millis(0),
            cool_down: Millis(100),
        };
        for expected in [200, 350, 350] {
            s = s.ask(Millis(0)).0.told(Pass::Look, DOWN, &POLICY, Millis(0));
            assert_eq!(s.ask(Millis(0)).1, Pass::Refused(Millis(expected)));
            s = State::Open {
                until: Millis(0),
                cool_down: Millis(expected),
            };
        }
        let asked = State::Closed { failures: 2 }.told(Pass::Go, Outcome::Down(Some(Millis(9_000))), &POLICY, Millis(0));
        assert_eq!(asked.ask(Millis(0)).1, Pass::Refused(Millis(9_000)));
    }

    proptest! {
        /// Whatever happens, a circuit that is asked often enough lets a call through again.
        #[test]
        fn no_circuit_stays_shut(events in prop::collection::vec((0..4_u8, 0..200_i64), 0..200)) {
            let (mut s, mut now, mut flying) = (State::NEW, Millis(0), None);
            for (event, step) in events {
                now = now + Millis(step);
                match event {
                    0 => {
                        let (next, pass) = s.ask(now);
                        s = next;
                        if !matches!(pass, Pass::Refused(_)) { flying = Some(pass); }
                    }
                    n => if let Some(pass) = flying.take() {
                        let outcome = [Outcome::Up, DOWN, Outcome::Unknown][usize::from(n) - 1];
                        s = s.told(pass, outcome, &POLICY, now);
                    }
                }
                // A look is never lost without being told off.
                let looking = matches!(s, State::HalfOpen { .. });
                prop_assert!(!looking || flying == Some(Pass::Look));
            }
            let told = flying.map_or(s, |pass| s.told(pass, Outcome::Unknown, &POLICY, now));
            prop_assert!(!matches!(told.ask(now + POLICY.longest).1, Pass::Refused(_)));
        }
    }

    fn breaker(probe: &Probe) -> Arc<dyn Connector> {
        Breaker(Arc::new(Breakers::new(POLICY))).connector(probe.clone().shared())
    }

    #[tokio::test]
    async fn what_is_down_is_left_alone_and_then_looked_at_once() {
        let clock = Arc::new(ManualClock::at(Millis(0)));
        let cx = at(Arc::clone(&clock));
        let probe = Probe::answering((0..4).map(|_| Err(Error::unavailable("x.down", "down"))));
        let c = breaker(&probe);
        let call = |url: &'static str| {
            let (c, cx) = (Arc::clone(&c), cx.clone());
            async move { c.call(&cx, "write", &json!({"url": url})).await }
        };
        for _ in 0..3 {
            assert_eq!(call("a").await.unwrap_err().code(), "x.down");
        }
        let e = call("a").await.unwrap_err();
        assert_eq!(
            (e.code(), e.kind(), e.retry_after()),
            ("connector.circuit_open", ErrorKind::Unavailable, Some(Millis(100)))
        );
        assert_eq!(probe.calls(), 3);

        clock.advance(Millis(100));
        assert_eq!(call("a").await.unwrap_err().code(), "x.down", "the look");
        assert_eq!(call("a").await.unwrap_err().retry_after(), Some(Millis(200)));
        call("b").await.expect("another destination has its own circuit");
        clock.advance(Millis(200));
        call("a").await.expect("the look finds it up");
        call("a").await.expect("and the circuit is closed");
    }

    #[tokio::test]
    async fn a_refusal_of_the_request_is_a_sign_of_life() {
        for e in [
            Error::invalid("x", "x"),
            Error::new(ErrorKind::Denied, "x", "x"),
            Error::not_found("x", "x"),
        ] {
            let probe = Probe::answering((0..9).map(|_| Err(e.clone())));
            let c = breaker(&probe);
            for _ in 0..9 {
                assert_eq!(c.call(&cx(), "write", &json!({})).await.unwrap_err().code(), "x");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_was_dropped_is_made_again() {
        let clock = Arc::new(ManualClock::at(Millis(0)));
        let cx = at(Arc::clone(&clock));
        let breakers = Arc::new(Breakers::new(POLICY));
        let down = Breaker(Arc::clone(&breakers))
            .connector(Probe::answering((0..3).map(|_| Err(Error::unavailable("x", "x")))).shared());
        for _ in 0..3 {
            down.call(&cx, "write", &json!({})).await.unwrap_err();
        }
        clock.advance(Millis(100));
        let hanging = Breaker(Arc::clone(&breakers)).connector(Probe::hanging().shared());
        let nothing = json!({});
        tokio::time::timeout(std::time::Duration::from_secs(1), hanging.call(&cx, "write", &nothing))
            .await
            .unwrap_err();
        down.call(&cx, "write", &nothing).await.expect("the next call looks");
        assert!(breakers.snapshot().is_empty());
    }
}
