//! Layers: behaviour that is put around a port without the port knowing.

use std::sync::Arc;

use crate::connector::Connector;
use crate::transport::Transport;

/// One identity hook per plane; a layer overrides the planes that it changes.
pub trait Layer: Send + Sync + 'static {
    /// Wraps a connector.
    fn connector(&self, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        inner
    }

    /// Wraps the network.
    fn transport(&self, inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        inner
    }
}
