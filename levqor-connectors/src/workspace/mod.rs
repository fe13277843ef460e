//! Pages, tasks and tickets.

mod asana;
mod jira;
mod linear;
mod notion;
mod trello;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(asana::connector()),
        Arc::new(jira::connector()),
        Arc::new(linear::connector()),
        Arc::new(notion::connector()),
        Arc::new(trello::connector()),
    ]
}
