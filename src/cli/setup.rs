//! From arguments to an engine: the one place that puts it together.

use crate::backend::Backend;
use crate::connector::Connection;
use crate::engine::Engine;
use crate::error::Result;
use crate::types::Tenant;
use clap::Args;

use crate::cli::files;

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// Where the data lies: sqlite://FILE, postgres://USER:PASSWORD@HOST/DB or memory:// (kept nowhere)
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "LEVQOR_URL",
        hide_env_values = true,
        default_value = "sqlite://levqor.db",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// Redis for limits, claims and wake-ups: redis://[USER:PASSWORD@]HOST:PORT/DB
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "LEVQOR_REDIS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) redis: Option<String>,
    /// Whose data to work on
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        default_value = "default",
        value_name = "NAME"
    )]
    pub(crate) tenant: String,
    /// Answer with one JSON document; errors are problem documents
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// No colour, even on a terminal
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_color: bool,
}

/// Where credentials come from.
#[derive(Args, Clone)]
pub(crate) struct Connections {
    /// JSON file with connections by name; {"$env": "NAME"} in it stands for an environment variable
    #[arg(long, env = "LEVQOR_CONNECTIONS", value_name = "FILE")]
    pub(crate) connections: Option<String>,
}

impl Connections {
    pub(crate) fn read(&self) -> Result<Vec<Connection>> {
        self.connections.as_deref().map_or(Ok(Vec::new()), files::connections)
    }
}

/// Features of this build: the name, whether it is in, and what it is for.
pub(crate) const FEATURES: &[(&str, bool, &str)] = &[
    ("sqlite", cfg!(feature = "sqlite"), "the store sqlite://"),
    ("postgres", cfg!(feature = "postgres"), "the store postgres://"),
    ("redis", cfg!(feature = "redis"), "limits that several hosts share"),
    (
        "shm",
        cfg!(feature = "shm"),
        "limits that the processes of one host share without a server",
    ),
    ("http", cfg!(feature = "http"), "requests and webhooks"),
    ("email", cfg!(feature = "email"), "mail over SMTP"),
    ("ai", cfg!(feature = "ai"), "language models"),
    ("commerce", cfg!(feature = "commerce"), "HubSpot, Shopify, Stripe"),
    ("developer", cfg!(feature = "developer"), "Datadog, GitHub, PagerDuty, Sentry"),
    ("google", cfg!(feature = "google"), "Google Workspace"),
    (
        "messaging",
        cfg!(feature = "messaging"),
        "Discord, Intercom, Mailchimp, Resend, SendGrid, Slack, Telegram, Twilio, WhatsApp",
    ),
    ("microsoft", cfg!(feature = "microsoft"), "OneDrive, Outlook, Teams"),
    ("mcp", cfg!(feature = "mcp"), "actions as tools of language models"),
    ("sql", cfg!(feature = "sql"), "statements on Postgres"),
    ("storage", cfg!(feature = "storage"), "Dropbox, S3 and files"),
    (
        "workspace",
        cfg!(feature = "workspace"),
        "Asana, Jira, Linear, Notion, Trello",
    ),
    ("integrity", cfg!(feature = "integrity"), "evidence and checks"),
    ("pdf", cfg!(feature = "pdf"), "evidence as a PDF"),
    ("serve", cfg!(feature = "serve"), "runs and evidence over HTTP"),
];

/// An engine over a backend, with the network and connectors of this build.
pub(crate) fn engine(backend: Backend, tenant: &str, connections: Vec<Connection>) -> Result<Engine> {
    let allow = std::env::var("LEVQOR_ALLOW").unwrap_or_default();
    let allow: Vec<&str> = allow.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
    let builder = crate::builder(backend, &allow)?.tenant(Tenant::new(tenant)?);
    connections
        .into_iter()
        .fold(builder, crate::engine::Builder::connection)
        .build()
}

/// Opens the store of the arguments, and an engine on it.
pub(crate) async fn open(global: &Global, connections: Vec<Connection>) -> Result<Engine> {
    // A wrong name is refused before a database is made.
    Tenant::new(&global.tenant)?;
    let backend = crate::open_backend(&global.url, global.redis.as_deref()).await?;
    engine(backend, &global.tenant, connections)
}
