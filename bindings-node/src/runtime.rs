//! The threads that verbs wait on: one set for all threads of JavaScript, made when it is first needed.

use std::sync::OnceLock;

use levqor::error::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// The runtime. It lives as long as the process, and keeps no process alive.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        let builder = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("levqor")
            .enable_all()
            .build();
        builder.ok()
    });
    made.as_ref()
        .ok_or_else(|| Error::unavailable("node.no_runtime", "no threads can be started"))
}
