//! Levqor's connectors: request shaping for each vendor, over the core's `Transport`.
//!
//! Each connector is small, because time-out, retry, rate budget, circuit breaker, metering, tracing, redaction
//! and validation are [layers](levqor_core::layers) around it. [`all`] gives those that this build has; what is
//! callable is `Registry` plus `layers::stack`.
//!
//! | feature | connectors |
//! |---|---|
//! | `http` | [`http`], [`webhook`] |
//! | `email` | [`email`] over SMTP |
//! | `ai` | Anthropic, OpenAI and everything that speaks its language |
//! | `commerce` | HubSpot, Shopify, Stripe |
//! | `developer` | Datadog, GitHub, PagerDuty, Sentry |
//! | `google` | Gmail, Google Calendar, Google Drive, Google Sheets |
//! | `messaging` | Discord, Intercom, Mailchimp, Resend, SendGrid, Slack, Telegram, Twilio, WhatsApp |
//! | `microsoft` | OneDrive, Outlook, Teams |
//! | `storage` | Dropbox, files of a folder, S3 and its like |
//! | `sql` | Postgres |
//! | `mcp` | none: the [server](mcp) that offers actions to language models |
//! | `workspace` | Asana, Jira, Linear, Notion, Trello |

// What shapes a request has one type, whether it can fail or not.
#![allow(clippy::unnecessary_wraps)]

#[cfg(feature = "ai")]
mod ai;
// A build with some of the families uses some of it.
#[cfg_attr(
    not(all(
        feature = "ai",
        feature = "commerce",
        feature = "developer",
        feature = "google",
        feature = "messaging",
        feature = "microsoft",
        feature = "storage",
        feature = "workspace"
    )),
    allow(dead_code, unused_imports)
)]
#[cfg(feature = "vendors")]
mod api;
#[cfg(feature = "commerce")]
mod commerce;
#[cfg(feature = "developer")]
mod developer;
#[cfg(feature = "email")]
pub mod email;
#[cfg(feature = "google")]
mod google;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "email"))]
mod kit;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "messaging")]
mod messaging;
#[cfg(feature = "microsoft")]
mod microsoft;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "http")]
mod status;
#[cfg(feature = "storage")]
mod storage;
#[cfg(feature = "http")]
pub mod webhook;
#[cfg(feature = "workspace")]
mod workspace;

use std::sync::Arc;

use levqor_core::connector::Connector;

/// Makes the connectors of a family.
type Family = fn() -> Vec<Arc<dyn Connector>>;

/// Every connector that this build has, without layers.
pub fn all() -> Vec<Arc<dyn Connector>> {
    let families: &[Family] = &[
        #[cfg(feature = "http")]
        || vec![Arc::new(http::Http::new()), Arc::new(webhook::Webhook::new())],
        #[cfg(feature = "email")]
        || vec![Arc::new(email::Email::new())],
        #[cfg(feature = "ai")]
        ai::all,
        #[cfg(feature = "commerce")]
        commerce::all,
        #[cfg(feature = "developer")]
        developer::all,
        #[cfg(feature = "google")]
        google::all,
        #[cfg(feature = "messaging")]
        messaging::all,
        #[cfg(feature = "microsoft")]
        microsoft::all,
        #[cfg(feature = "sql")]
        sql::all,
        #[cfg(feature = "storage")]
        storage::all,
        #[cfg(feature = "workspace")]
        workspace::all,
    ];
    families.iter().flat_map(|family| family()).collect()
}
