//! Messages to people.

mod discord;
mod intercom;
mod mailchimp;
mod resend;
mod sendgrid;
mod slack;
mod telegram;
mod twilio;
mod whatsapp;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(discord::connector()),
        Arc::new(intercom::connector()),
        Arc::new(mailchimp::connector()),
        Arc::new(resend::connector()),
        Arc::new(sendgrid::connector()),
        Arc::new(slack::connector()),
        Arc::new(telegram::connector()),
        Arc::new(twilio::connector()),
        Arc::new(whatsapp::connector()),
    ]
}
