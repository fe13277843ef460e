//! Language models.

mod anthropic;
mod openai;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![Arc::new(anthropic::connector()), Arc::new(openai::connector())]
}
