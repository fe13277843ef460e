//! Money and shops.

mod hubspot;
mod shopify;
mod stripe;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(hubspot::connector()),
        Arc::new(shopify::connector()),
        Arc::new(stripe::connector()),
    ]
}
