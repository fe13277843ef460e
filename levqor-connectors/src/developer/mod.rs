//! Code and its faults.

mod github;
mod sentry;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![Arc::new(github::connector()), Arc::new(sentry::connector())]
}
