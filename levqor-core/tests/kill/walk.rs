//! The handler that does what the pipeline of [`crate::world`] does, step by step.

use std::sync::Arc;

use async_trait::async_trait;
use levqor_core::engine::{Begun, Handler, StepOptions, Wf};
use levqor_core::error::{Error, Result};
use levqor_core::jobs::retry::RetryPolicy;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::mark::Mark;
use crate::world::{CALLS, PRICE, careful};

pub struct Walk(pub Arc<Mark>);

#[async_trait]
impl Handler for Walk {
    async fn run(&self, wf: &Wf, input: Value) -> Result<Value> {
        let number = usize::try_from(input["n"].as_u64().unwrap()).unwrap();
        wf.step("seed", || async { Ok(json!(["a", "b", "c"])) }).await?;
        for step in CALLS {
            if step == "flaky" {
                wf.step("each", || async { Ok(()) }).await?;
            }
            let mut options = StepOptions::default().retry(RetryPolicy {
                max_attempts: 3,
                initial: Millis(1),
                max: Millis(2),
                on: vec![],
            });
            if step == "once" && careful(number) {
                options = options.at_most_once();
            }
            self.step(wf, step, options).await?;
        }
        wf.capture(PRICE);
        Ok(Value::Null)
    }
}

impl Walk {
    /// By hand, as a host in another language does it.
    async fn step(&self, wf: &Wf, step: &str, options: StepOptions) -> Result<()> {
        use levqor_core::engine::After;
        let Begun::Go(mut ticket) = wf.begin(step, options).await? else {
            return Ok(());
        };
        loop {
            let key = ticket.idempotency_key(wf);
            let outcome = if step == "flaky" { self.0.flaky(&key) } else { Ok(()) };
            let outcome = outcome.map(|()| {
                self.0.effect(wf.id(), step, &key);
                Value::Null
            });
            match wf.end(ticket, outcome).await? {
                After::Done(_) => return Ok(()),
                After::Again(again, wait) if wait <= Millis(10) => ticket = again,
                After::Again(_, wait) => return Err(Error::internal(format!("{wait:?} is more than the policy says"))),
            }
        }
    }
}
