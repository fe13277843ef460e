//! Levqor for Python: the compiled half of the package `levqor`.
//!
//! Everything here is border: values go over it as plain data, waiting lets other Python threads go on, and what
//! a fork would break is made anew. What the engine does lies below, in the facade.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    clippy::new_ret_no_self,
    reason = "what Python hands over is owned, and what it calls may fail"
)]
#![allow(clippy::type_complexity, clippy::single_match_else)]

mod bridge;
mod clock;
mod convert;
mod decision;
mod engine;
mod error;
mod fork;
mod host;
mod http;
mod inherited;
mod key;
mod limiter;
mod logs;
mod permit;
mod runtime;
mod verbs;
mod wf;
mod worker;

/// The compiled half of the package `levqor`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::clock::ManualClock;
    #[pymodule_export]
    use crate::decision::Decision;
    #[pymodule_export]
    use crate::engine::{Engine, after_fork, before_fork, generation};
    #[pymodule_export]
    use crate::error::error_kinds;
    #[pymodule_export]
    use crate::http::{Proxies, Schema};
    #[pymodule_export]
    use crate::key::{Key, key_of};
    #[pymodule_export]
    use crate::limiter::Limiter;
    #[pymodule_export]
    use crate::permit::Permit;
    #[pymodule_export]
    use crate::verbs::{security_headers, verb, verbs_list};
    #[pymodule_export]
    use crate::wf::{Ticket, Wf};
    #[pymodule_export]
    use crate::worker::{Events, Worker};

    use std::time::Duration;

    use pyo3::prelude::*;

    /// The version of the engine.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The command line: does what the arguments say, the program's name first, and gives the exit code.
    #[pyfunction]
    fn cli(py: Python<'_>, args: Vec<std::ffi::OsString>) -> u8 {
        py.detach(|| levqor::cli::main(args))
    }

    /// Waits until log lines have reached `logging`, at most so many seconds.
    #[pyfunction]
    fn flush_logs(py: Python<'_>, seconds: f64) {
        crate::bridge::flush(py, Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }

    /// Asks `logging` anew which levels are heard.
    #[pyfunction]
    fn refresh_logs(py: Python<'_>) {
        crate::logs::refresh(py);
    }

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::fork::watch();
        crate::logs::listen();
        Ok(())
    }
}
