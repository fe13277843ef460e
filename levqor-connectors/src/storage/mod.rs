//! Where bytes lie.

mod dropbox;
mod files;
mod s3;
mod sigv4;
mod xml;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(dropbox::connector()),
        Arc::new(files::Files::new()),
        Arc::new(s3::connector()),
    ]
}
