//! Messages to people.

mod resend;
mod sendgrid;
mod slack;
mod telegram;
mod twilio;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(resend::connector()),
        Arc::new(sendgrid::connector()),
        Arc::new(slack::connector()),
        Arc::new(telegram::connector()),
        Arc::new(twilio::connector()),
    ]
}
