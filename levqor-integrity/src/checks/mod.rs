//! The checks that come with Levqor: 22 that run by default, and the audit pack of 10.

mod clock;
mod env;
mod feature;
mod headers;
mod headers_csp;
mod http;
mod json_body;
mod logs;
mod migrations;
mod reachability;
mod read_write;
mod reuse;
mod scheduler;
mod schema;
mod sentry;
mod single_fire;
mod source;
mod stripe;
mod tls;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::check::{About, Check};
use crate::pack::{Reader, Text};

/// What of a pack the checks are built from.
pub(crate) struct Basics<'a> {
    pub(crate) targets: &'a [(String, Text)],
    pub(crate) databases: &'a [(String, Text)],
    pub(crate) folder: &'a Path,
}

/// The kinds of checks that a pack can declare with `uses`.
pub(crate) const KINDS: &[&str] = &[
    "http",
    "db.read_write",
    "db.schema",
    "db.schema_ready",
    "db.commit_rolls_back",
    "stripe.api",
    "scheduler.status",
    "scheduler.single_fire",
    "headers.security",
    "env",
    "webhook.stripe",
    "deploy.reachability",
    "tls.certificate",
    "tls.protocols",
    "sentry.accepts_event",
    "secrets.reuse",
    "feature.enabled",
    "feature.semantic_200",
    "source.ratchet",
    "logs.canary",
    "clock.skew",
];

/// Builds a check of a kind; `None` if there is no such kind.
pub(crate) fn build(kind: &str, id: &str, r: &Reader<'_>, basics: &Basics<'_>) -> Option<Arc<dyn Check>> {
    let id = id.to_owned();
    Some(match kind {
        "http" => Arc::new(http::Http::new(id, r, basics)),
        "db.read_write" => Arc::new(read_write::ReadWrite::new(id, r, basics, false)),
        "db.commit_rolls_back" => Arc::new(read_write::ReadWrite::new(id, r, basics, true)),
        "db.schema" => Arc::new(schema::SchemaCheck::new(id, r, basics)),
        "db.schema_ready" => Arc::new(migrations::Migrations::new(id, r, basics)),
        "stripe.api" => Arc::new(stripe::Stripe::new(id, r)),
        "scheduler.status" => Arc::new(scheduler::Scheduler::new(id, r, basics)),
        "scheduler.single_fire" => Arc::new(single_fire::SingleFire::new(id, r, basics)),
        "headers.security" => Arc::new(headers::Headers::new(id, r, basics)),
        "env" => Arc::new(env::EnvVar::new(id, r)),
        "webhook.stripe" => Arc::new(webhook::Webhook::new(id, r, basics)),
        "deploy.reachability" => Arc::new(reachability::Reachability::new(id, r, basics)),
        "tls.certificate" => Arc::new(tls::Certificate::new(id, r, basics)),
        "tls.protocols" => Arc::new(tls::Protocols::new(id, r, basics)),
        "sentry.accepts_event" => Arc::new(sentry::Sentry::new(id, r)),
        "secrets.reuse" => Arc::new(reuse::Reuse::new(id, r, basics)),
        "feature.enabled" => Arc::new(feature::Enabled::new(id, r, basics)),
        "feature.semantic_200" => Arc::new(feature::Semantic::new(id, r, basics)),
        "source.ratchet" => Arc::new(source::Ratchet::new(id, r, basics)),
        "logs.canary" => Arc::new(logs::Canary::new(id, r, basics)),
        "clock.skew" => Arc::new(clock::Skew::new(id, r, basics)),
        _ => return None,
    })
}

/// A check that comes with Levqor.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    /// Its id. Never changes.
    pub id: &'static str,
    /// `integrity`, `finalizer` or `audit`.
    pub group: &'static str,
    /// What kind of thing it looks at.
    pub category: &'static str,
    /// A name for people.
    pub title: &'static str,
    /// What it is to show.
    pub objective: &'static str,
    /// How bad its failure is.
    pub severity: &'static str,
    /// Controls that it supports.
    pub controls: &'static [&'static str],
    /// Checks whose failure makes it meaningless.
    pub requires: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) defaults: fn() -> Value,
}

impl Standard {
    /// The parameters that it has unless a pack says otherwise.
    pub fn parameters(&self) -> Value {
        (self.defaults)()
    }

    /// The same as it stands in a result.
    pub fn about(&self) -> About {
        About {
            title: self.title.to_owned(),
            group: self.group.to_owned(),
            category: self.category.to_owned(),
            objective: self.objective.to_owned(),
            severity: self.severity.to_owned(),
            controls: self.controls.iter().map(|c| (*c).to_owned()).collect(),
        }
    }
}

/// Every check that comes with Levqor, in the order of reports.
pub fn standard() -> &'static [Standard] {
    STANDARD
}

pub(crate) fn is_standard(id: &str) -> bool {
    STANDARD.iter().any(|s| s.id == id)
}

const HTTP: &[&str] = &[
    "SOC2:A1.2",
    "SOC2:CC7.2",
    "ISO27001:A.8.16",
    "ISO27001:A.8.6",
    "GDPR:32(1)(b)",
];
const DB: &[&str] = &["SOC2:PI1.3", "SOC2:PI1.5", "ISO27001:A.8.9", "GDPR:32(1)(b)"];
const ENV: &[&str] = &["SOC2:CC6.1", "ISO27001:A.5.17", "ISO27001:A.8.24", "GDPR:32(1)(b)"];
const STRIPE: &[&str] = &["SOC2:CC9.2", "SOC2:PI1.3", "ISO27001:A.8.21"];
const SCHEDULER: &[&str] = &["SOC2:PI1.3", "SOC2:CC7.2", "ISO27001:A.8.16"];
const HEADERS: &[&str] = &["SOC2:CC6.6", "ISO27001:A.8.26", "GDPR:25"];
const WEBHOOK: &[&str] = &["SOC2:PI1.2", "SOC2:CC6.6", "ISO27001:A.8.26"];
const TLS: &[&str] = &["SOC2:CC6.7", "ISO27001:A.8.24", "ISO27001:A.8.20", "GDPR:32(1)(a)"];
const SENTRY: &[&str] = &["SOC2:CC7.2", "SOC2:CC7.3", "ISO27001:A.8.15", "GDPR:33"];
const PROCESSING: &[&str] = &["SOC2:PI1.3"];
const MONITORING: &[&str] = &["SOC2:CC7.2", "ISO27001:A.8.16"];

/// Over the network, a wrong certificate or a host that is down explains everything else.
const ONLINE: &[&str] = &["deploy.reachability", "tls.certificate"];

/// Clocks of servers are asked for over the network and in the database.
const CLOCKS: &[&str] = &["deploy.reachability", "tls.certificate", "db.read_write"];

fn nothing() -> Value {
    json!({})
}

macro_rules! standard {
    ($id:literal, $kind:literal, $group:literal, $category:literal, $severity:literal, $controls:expr, $requires:expr,
     $title:literal, $objective:literal, $defaults:expr) => {
        Standard {
            id: $id,
            kind: $kind,
            group: $group,
            category: $category,
            severity: $severity,
            controls: $controls,
            requires: $requires,
            title: $title,
            objective: $objective,
            defaults: $defaults,
        }
    };
}

pub(crate) const STANDARD: &[Standard] = &[
    standard!(
        "http.health.main",
        "http",
        "integrity",
        "http",
        "critical",
        HTTP,
        ONLINE,
        "Main health",
        "The service answers its health question with a good answer, in time",
        || json!({"path": "/health", "content_type": ["application/json", "text/plain"]})
    ),
    standard!(
        "http.metrics.public",
        "http",
        "integrity",
        "http",
        "medium",
        HTTP,
        ONLINE,
        "Public metrics",
        "The public figures are there and can be read by machines",
        || json!({"path": "/public/metrics", "content_type": ["application/json", "text/plain", "application/openmetrics-text"]})
    ),
    standard!(
        "http.ops.uptime",
        "http",
        "integrity",
        "http",
        "medium",
        HTTP,
        ONLINE,
        "Uptime",
        "The service knows how long it has been up, and says so",
        || json!({"path": "/ops/uptime"})
    ),
    standard!(
        "http.queue.health",
        "http",
        "integrity",
        "http",
        "high",
        HTTP,
        ONLINE,
        "Queue health",
        "The job queue works and is not stuck",
        || json!({"path": "/ops/queue_health"})
    ),
    standard!(
        "http.billing.health",
        "http",
        "integrity",
        "http",
        "high",
        HTTP,
        ONLINE,
        "Billing health",
        "Billing works",
        || json!({"path": "/billing/health"})
    ),
    standard!(
        "db.read_write",
        "db.read_write",
        "integrity",
        "database",
        "critical",
        DB,
        &[],
        "Database read and write",
        "A row can be written and read back, and a rollback leaves nothing of it",
        nothing
    ),
    standard!(
        "db.schema",
        "db.schema",
        "integrity",
        "database",
        "high",
        DB,
        &["db.read_write"],
        "Database schema",
        "Tables, columns, types and constraints are what the program expects, and have not drifted",
        nothing
    ),
    standard!(
        "stripe.api",
        "stripe.api",
        "integrity",
        "payments",
        "critical",
        STRIPE,
        &["env.stripe_secret_key"],
        "Stripe",
        "The key is accepted, the account can take payments, and the prices exist",
        nothing
    ),
    standard!(
        "scheduler.status",
        "scheduler.status",
        "integrity",
        "scheduler",
        "high",
        SCHEDULER,
        ONLINE,
        "Scheduler",
        "Every scheduled job exists, has run, and is not overdue",
        || json!({"path": "/ops/scheduler"})
    ),
    standard!(
        "headers.security",
        "headers.security",
        "integrity",
        "headers",
        "high",
        HEADERS,
        ONLINE,
        "Security headers",
        "Browsers are told to protect customers, on error pages as well",
        nothing
    ),
    standard!(
        "env.jwt_secret",
        "env",
        "finalizer",
        "secrets",
        "critical",
        ENV,
        &[],
        "JWT secret",
        "The key that signs tokens is present, long and random",
        || json!({"variable": "JWT_SECRET", "format": "secret"})
    ),
    standard!(
        "env.session_secret",
        "env",
        "finalizer",
        "secrets",
        "critical",
        ENV,
        &[],
        "Session secret",
        "The key that signs sessions is present, long and random",
        || json!({"variable": "SESSION_SECRET", "format": "secret"})
    ),
    standard!(
        "env.stripe_secret_key",
        "env",
        "finalizer",
        "secrets",
        "critical",
        ENV,
        &[],
        "Stripe secret key",
        "The key is a secret one, and of the mode of this environment",
        || json!({"variable": "STRIPE_SECRET_KEY", "format": "stripe_key"})
    ),
    standard!(
        "env.stripe_webhook_secret",
        "env",
        "finalizer",
        "secrets",
        "critical",
        ENV,
        &[],
        "Stripe webhook secret",
        "The key that verifies Stripe's messages is present and well formed",
        || json!({"variable": "STRIPE_WEBHOOK_SECRET", "format": "stripe_webhook"})
    ),
    standard!(
        "env.resend_api_key",
        "env",
        "finalizer",
        "secrets",
        "high",
        ENV,
        &[],
        "Resend API key",
        "The key for sending mail is present and well formed",
        || json!({"variable": "RESEND_API_KEY", "format": "resend_key"})
    ),
    standard!(
        "env.sentry_dsn",
        "env",
        "finalizer",
        "secrets",
        "medium",
        ENV,
        &[],
        "Sentry DSN",
        "If errors are to be reported, the address for that can be used",
        || json!({"variable": "SENTRY_DSN", "format": "sentry_dsn", "optional": true})
    ),
    standard!(
        "env.slack_webhook_url",
        "env",
        "finalizer",
        "secrets",
        "medium",
        ENV,
        &[],
        "Slack webhook",
        "If alerts are to go to Slack, the address for that can be used",
        || json!({"variable": "SLACK_WEBHOOK_URL", "format": "slack_webhook", "optional": true})
    ),
    standard!(
        "env.telegram_bot_token",
        "env",
        "finalizer",
        "secrets",
        "medium",
        ENV,
        &[],
        "Telegram bot token",
        "If alerts are to go to Telegram, the token for that is well formed",
        || json!({"variable": "TELEGRAM_BOT_TOKEN", "format": "telegram_token", "optional": true})
    ),
    standard!(
        "db.schema_ready",
        "db.schema_ready",
        "finalizer",
        "database",
        "critical",
        DB,
        &["db.read_write"],
        "Migrations",
        "Every migration has been applied, and the rows that have to be there are there",
        nothing
    ),
    standard!(
        "webhook.stripe",
        "webhook.stripe",
        "finalizer",
        "payments",
        "critical",
        WEBHOOK,
        &["deploy.reachability", "tls.certificate", "env.stripe_webhook_secret"],
        "Stripe webhook",
        "Genuine messages are taken; unsigned, forged, old and broken ones are refused",
        || json!({"path": "/webhooks/stripe"})
    ),
    standard!(
        "deploy.reachability",
        "deploy.reachability",
        "finalizer",
        "network",
        "critical",
        HTTP,
        &[],
        "Reachability",
        "Front end and API can be reached by name, over every address, and only over https",
        nothing
    ),
    standard!(
        "tls.certificate",
        "tls.certificate",
        "finalizer",
        "network",
        "critical",
        TLS,
        &["deploy.reachability"],
        "TLS certificate",
        "The certificate is valid, for this name, complete, and strong",
        nothing
    ),
    standard!(
        "sentry.accepts_event",
        "sentry.accepts_event",
        "audit",
        "monitoring",
        "medium",
        SENTRY,
        &["env.sentry_dsn"],
        "Sentry takes events",
        "An error that is reported really arrives",
        nothing
    ),
    standard!(
        "scheduler.single_fire",
        "scheduler.single_fire",
        "audit",
        "scheduler",
        "high",
        SCHEDULER,
        ONLINE,
        "Jobs fire once",
        "A scheduled job fires once over all workers",
        || json!({"path": "/ops/scheduler/fires"})
    ),
    standard!(
        "db.commit_rolls_back",
        "db.commit_rolls_back",
        "audit",
        "database",
        "high",
        PROCESSING,
        &["db.read_write"],
        "Failed commits roll back",
        "A failure in the middle of a transaction leaves nothing behind, and no session hangs in one",
        nothing
    ),
    standard!(
        "tls.protocols",
        "tls.protocols",
        "audit",
        "network",
        "high",
        TLS,
        &["deploy.reachability"],
        "TLS versions",
        "TLS 1.2 or newer is spoken, and nothing older",
        nothing
    ),
    standard!(
        "secrets.reuse",
        "secrets.reuse",
        "audit",
        "secrets",
        "high",
        ENV,
        &[],
        "Secrets are used once",
        "No secret serves two purposes",
        nothing
    ),
    standard!(
        "feature.enabled",
        "feature.enabled",
        "audit",
        "features",
        "medium",
        MONITORING,
        ONLINE,
        "Features are on",
        "What was sold is switched on",
        || json!({"path": "/ops/features"})
    ),
    standard!(
        "feature.semantic_200",
        "feature.semantic_200",
        "audit",
        "features",
        "high",
        MONITORING,
        ONLINE,
        "Answers mean what they say",
        "An answer of 200 holds no error",
        nothing
    ),
    standard!(
        "source.ratchet",
        "source.ratchet",
        "audit",
        "source",
        "low",
        PROCESSING,
        &[],
        "Bad habits do not grow",
        "Patterns that have led to faults become fewer, never more",
        nothing
    ),
    standard!(
        "logs.canary",
        "logs.canary",
        "audit",
        "secrets",
        "high",
        ENV,
        ONLINE,
        "Logs hold no secrets",
        "What customers and programs keep secret does not come into the logs",
        nothing
    ),
    standard!(
        "clock.skew",
        "clock.skew",
        "audit",
        "clock",
        "medium",
        MONITORING,
        CLOCKS,
        "Clocks agree",
        "The clocks of the servers agree with this one",
        nothing
    ),
];

/// Waits for both, and gives their results: for questions that do not depend on each other.
pub(crate) async fn all<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ten_and_twelve_and_ten() {
        let count = |group| STANDARD.iter().filter(|s| s.group == group).count();
        assert_eq!((count("integrity"), count("finalizer"), count("audit")), (10, 12, 10));
        for standard in STANDARD {
            assert!(KINDS.contains(&standard.kind), "{}", standard.id);
            assert!(!standard.controls.is_empty() && !standard.objective.is_empty());
            assert!(standard.requires.iter().all(|r| is_standard(r)), "{}", standard.id);
        }
    }
}
