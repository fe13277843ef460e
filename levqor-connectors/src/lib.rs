//! Levqor's connectors: request shaping for each vendor, over the core's `Transport`.
//!
//! Each connector is small, because time-out, retry, rate budget, circuit breaker, metering, tracing, redaction
//! and validation are [layers](levqor_core::layers) around it. [`all`] gives those that this build has; what is
//! callable is `Registry` plus `layers::stack`.
//!
//! | connector | actions | feature |
//! |---|---|---|
//! | `http` | `request`: any HTTP request | `http` |
//! | `webhook` | `send`: a message signed as Standard Webhooks define it | `http` |
//! | `email` | `send`: a mail over SMTP | `email` |

#[cfg(feature = "email")]
pub mod email;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "email"))]
mod kit;
#[cfg(feature = "http")]
mod status;
#[cfg(feature = "http")]
pub mod webhook;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// Every connector that this build has, without layers.
pub fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        #[cfg(feature = "http")]
        Arc::new(http::Http::new()),
        #[cfg(feature = "http")]
        Arc::new(webhook::Webhook::new()),
        #[cfg(feature = "email")]
        Arc::new(email::Email::new()),
    ]
}
