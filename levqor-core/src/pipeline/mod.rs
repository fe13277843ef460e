//! Pipelines: the JSON format, its references and conditions, and the check before anything runs.
//!
//! Everything here is pure: no clock, no network, no store. [`check`](check()) reads a pipeline and refuses it with every fault and
//! its JSON pointer, or gives a [`Checked`] one with the graph of its steps. A run then fills its templates in with
//! [`references::render`] and decides its conditions with [`condition::evaluate`].
//!
//! ```
//! use levqor_core::pipeline::{Catalog, Limits, check};
//! use serde_json::json;
//!
//! let pipeline = json!({
//!     "version": 1,
//!     "name": "greeting",
//!     "steps": [
//!         {"id": "hello", "set": {"$fmt": "hello {input.name}"}},
//!         {"id": "shout", "set": {"$fmt": "{steps.helo.output}!"}}
//!     ]
//! });
//! let e = check(&pipeline, &Catalog::new(), &Limits::default()).unwrap_err();
//! let fault = &e.fault_list()[0];
//! assert_eq!((fault.code.as_str(), fault.at.as_str()), ("pipeline.unknown_step", "/steps/1/set/$fmt"));
//! assert!(fault.message.contains("did you mean `hello`?"));
//! ```

pub mod condition;
pub mod references;
pub mod spec;

mod bounds;
mod catalog;
mod check;
mod graph;
mod inputs;
mod path;
mod schema;
mod shape;
pub mod suggest;
mod template;

pub(crate) use path::kind_name;

pub use catalog::Catalog;
pub use check::{Checked, Limits, check, check_text};
pub use condition::{Condition, evaluate};
pub use references::{Item, Reference, RunInfo, Scope, StepState, StepStatus, references, render};
pub use schema::pipeline_schema;
pub use shape::MAX_FAULTS;
pub use spec::{Credits, ForEach, OnError, OnItemError, Pipeline, Retry, RetryOn, Span, Step, StepKind, Wait};
