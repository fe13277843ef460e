//! Sentry: events and issues. <https://docs.sentry.io/api/>
//!
//! Events go to a project's DSN, everything else to the interface with a token.

use levqor_core::connector::AuthKind;
use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};
use url::Url;

use crate::api::content::hex_id;
use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, at, heard};
use crate::api::{Api, Ask, Auth, Faults, Next, Object, Pages, Session, Vendor, Wait, call, input, output};
use crate::kit::{setting_error, text};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.sentry.io/api/",
    base: "https://sentry.io",
    auth: &[
        Auth::Bearer("an auth token, for everything but events"),
        Auth::Own(AuthKind::ApiKey, &[("dsn", "a project's DSN, for events")]),
    ],
    settings: &[("dsn", "a project's DSN, for events")],
    key_header: "",
    faults: Faults {
        codes: &["/code", "/error"],
        waits: &[Wait::At("x-sentry-rate-limit-reset")],
        remaining: "x-sentry-rate-limit-remaining",
        ..Faults::HTTP
    },
    ..Vendor::new("sentry", "Sentry", "Events and issues at Sentry.")
};

input! {
    /// An event with a `message` or an `exception`.
    SendEvent {
        /// What happened, in words.
        message: Option<String>,
        /// `fatal`, `error`, `warning`, `info` or `debug`.
        level: Option<String>,
        /// Errors with their stack traces: `values`, a list of `type`, `value` and `stacktrace`.
        exception: Option<Object>,
        /// Which part of the program says it.
        logger: Option<String>,
        /// Where in the program it happened.
        transaction: Option<String>,
        /// `production`, `staging`, ...
        environment: Option<String>,
        /// The program's version.
        release: Option<String>,
        /// The machine.
        server_name: Option<String>,
        /// Short values to search by.
        tags: Option<std::collections::BTreeMap<String, String>>,
        /// More about it.
        extra: Option<Object>,
        /// More about it, by kind.
        contexts: Option<Object>,
        /// Whom it happened to: `id`, `email`, `username`, `ip_address`.
        user: Option<Object>,
        /// Events with the same list are one issue.
        fingerprint: Option<Vec<String>>,
        /// When, in RFC 3339; now if not given.
        timestamp: Option<String>,
    }

    ListIssues {
        /// The organisation's name in addresses, or its id.
        organization: String,
        /// As in Sentry's search field: `is:unresolved level:error`.
        query: Option<String>,
        /// Only these projects, by their ids.
        project: Option<Vec<i64>>,
        /// Only these environments.
        environment: Option<Vec<String>>,
        /// How far back: `24h`, `14d`.
        #[serde(rename = "statsPeriod")]
        stats_period: Option<String>,
        /// `date`, `new`, `trends`, `freq` or `user`.
        sort: Option<String>,
        /// Issues a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    UpdateIssues {
        /// The organisation's name in addresses, or its id.
        organization: String,
        /// The project's name in addresses, or its id.
        project: String,
        /// The issues' ids.
        #[schemars(length(min = 1, max = 1000))]
        id: Vec<u64>,
        /// `resolved`, `unresolved`, `ignored` or `resolvedInNextRelease`.
        status: Option<String>,
        /// With `resolved`: `inRelease` and the like.
        status_details: Option<Object>,
        /// Who is to do it: a user's name, `user:1` or `team:2`.
        assigned_to: Option<String>,
        /// Seen by the token's owner.
        has_seen: Option<bool>,
        /// Marked by the token's owner.
        is_bookmarked: Option<bool>,
        /// Everybody may see them.
        is_public: Option<bool>,
        /// Makes one issue of them.
        merge: Option<bool>,
    }

    ListProjects {
        /// The organisation's name in addresses, or its id.
        organization: String,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }
}

output! {
    Sent {
        /// The event's id.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    Issue {
        /// The issue's id.
        id: String,
        /// Its id in words: `SHOP-1A`.
        short_id: Option<String>,
        /// Its title.
        title: Option<String>,
        /// Where in the program.
        culprit: Option<String>,
        /// `error`, `warning`, ...
        level: Option<String>,
        /// `resolved`, `unresolved`, `ignored`.
        status: Option<String>,
        /// How often it happened.
        count: Option<Value>,
        /// To how many.
        user_count: Option<u64>,
        /// When it happened first.
        first_seen: Option<String>,
        /// When it happened last.
        last_seen: Option<String>,
        /// Where people see it.
        permalink: Option<String>,
        /// The project.
        project: Option<Object>,
        /// Who is to do it.
        assigned_to: Option<Object>,
    }

    Issues {
        /// The issues.
        items: Vec<Issue>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Updated {
        /// What they are now.
        status: Option<String>,
        /// More about that.
        status_details: Option<Object>,
        /// Who is to do it.
        assigned_to: Option<Value>,
    }

    Project {
        /// The project's id.
        id: String,
        /// Its name in addresses.
        slug: String,
        /// Its name.
        name: Option<String>,
        /// What it is written in.
        platform: Option<String>,
    }

    Projects {
        /// The projects.
        items: Vec<Project>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

const LIST: Pages = Pages {
    items: "",
    next: Next::Link,
};

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendEvent, Sent>("send_event", "Send an event", "Tells Sentry of an error or another event.")
                .post("")
                .keyed()
                .run(|session, fields| Box::pin(send_event(session, fields))),
            call::<ListIssues, Issues>("list_issues", "List issues", "Lists an organisation's issues.")
                .get("api/0/organizations/{organization}/issues/")
                .pages(LIST)
                .scopes(&["event:read"]),
            call::<UpdateIssues, Updated>(
                "update_issues",
                "Change issues",
                "Resolves, assigns or reopens issues of a project.",
            )
            .put("api/0/projects/{organization}/{project}/issues/")
            .query(&["id"])
            .then(|body| {
                // 204: no issue was found.
                if body.is_null() {
                    *body = json!({});
                }
            })
            .scopes(&["event:write"]),
            call::<ListProjects, Projects>("list_projects", "List projects", "Lists an organisation's projects.")
                .get("api/0/organizations/{organization}/projects/")
                .pages(LIST)
                .scopes(&["org:read"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened at Sentry.
    Happened {
        /// `issue`, `event_alert`, `metric_alert`, `error`, `comment`, `installation`.
        resource: String,
        /// What happened to it: `created`, `resolved`, `triggered`, ...
        action: String,
        /// Who.
        actor: Option<Object>,
        /// What it happened to.
        data: Object,
    }
}

fn hooks() -> Hooks {
    let secret = (
        "webhook_secret",
        "what Sentry signs events with: the integration's client secret",
    );
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Sentry tells of an issue, an error, an alert.",
        |hook, body| {
            let resource = hook.header("sentry-hook-resource").unwrap_or_default();
            let mut data = body.clone();
            if let Some(data) = data.as_object_mut() {
                data.insert("resource".into(), resource.into());
            }
            vec![Told {
                id: hook.header("request-id").unwrap_or_default().to_owned(),
                kind: format!("{resource}.{}", at(body, "/action")),
                at: hook
                    .header("sentry-hook-timestamp")
                    .and_then(|t| t.parse().ok())
                    .map(Millis::secs),
                data,
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "sentry-hook-signature",
        prefix: "",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}

/// What a DSN says: `https://KEY@HOST/PATH/PROJECT`.
struct Dsn {
    key: String,
    envelopes: String,
}

fn dsn(session: &Session<'_>) -> Result<Dsn> {
    let connection = session.connection;
    let bad = |what: &str| setting_error(connection, "dsn", what);
    let Some(written) = text(connection, "dsn")? else {
        return Err(bad("events need the project's DSN"));
    };
    let mut url = Url::parse(written).map_err(|_| bad("the DSN cannot be read"))?;
    let (before, project) = url.path().rsplit_once('/').ok_or_else(|| bad("the DSN names no project"))?;
    let is_id = !project.is_empty() && project.bytes().all(|b| b.is_ascii_digit());
    if !matches!(url.scheme(), "http" | "https") || url.username().is_empty() || !is_id {
        return Err(bad("a DSN looks like https://KEY@HOST/PROJECT").hint("copy it from the project's settings, \"Client Keys\""));
    }
    let (key, path) = (url.username().to_owned(), format!("{before}/api/{project}/envelope/"));
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| bad("the DSN cannot be read"))?;
    url.set_path(&path);
    url.set_query(None);
    Ok(Dsn {
        key,
        envelopes: url.into(),
    })
}

/// An envelope with one event (<https://develop.sentry.dev/sdk/data-model/envelopes/>). Its id is the same in every
/// attempt, and Sentry keeps an id once.
async fn send_event(session: &Session<'_>, mut event: Object) -> Result<Value> {
    let dsn = dsn(session)?;
    let now = session.cx.clock.now().rfc3339();
    let id: String = hex_id(session.cx, "sentry").chars().take(32).collect();
    event.insert("event_id".into(), id.as_str().into());
    event.entry("timestamp").or_insert_with(|| now.as_str().into());
    event.entry("platform").or_insert_with(|| "other".into());
    if let Some(message) = event.remove("message") {
        event.insert("logentry".into(), json!({"formatted": message}));
    }
    let event = Value::Object(event).to_string();
    let head = json!({"event_id": id, "sent_at": now});
    let item = json!({"type": "event", "length": event.len()});
    let mut ask = Ask::new("POST", "");
    let client = concat!("levqor/", env!("CARGO_PKG_VERSION"));
    let auth = format!("Sentry sentry_version=7, sentry_client={client}, sentry_key={}", dsn.key);
    ask.header("x-sentry-auth", &auth);
    ask.content("application/x-sentry-envelope", format!("{head}\n{item}\n{event}\n"));
    let answer = session.send_to(&dsn.envelopes, true, ask).await?.json()?;
    Ok(json!({"id": answer.get("id").and_then(Value::as_str).unwrap_or(&id)}))
}
