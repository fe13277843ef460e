//! Code and its faults.

mod datadog;
mod github;
mod pagerduty;
mod sentry;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(datadog::connector()),
        Arc::new(github::connector()),
        Arc::new(pagerduty::connector()),
        Arc::new(sentry::connector()),
    ]
}
