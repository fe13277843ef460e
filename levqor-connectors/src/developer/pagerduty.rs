//! PagerDuty: alerts, incidents, who is on call. <https://developer.pagerduty.com/api-reference/>

use levqor_core::connector::AuthKind;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, at, heard};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, Wait, call, input, output};
use crate::kit::text;

static VENDOR: Vendor = Vendor {
    docs: "https://developer.pagerduty.com/api-reference/",
    base: "https://api.{@region}.pagerduty.com https://api.pagerduty.com",
    auth: &[
        Auth::Header(&[(("api_key", "a REST API key"), "authorization", "Token token=")]),
        Auth::Renewed(&Grant::code("https://identity.pagerduty.com/oauth/token")),
        Auth::Own(
            AuthKind::ApiKey,
            &[("routing_key", "the integration key of a service, for `send_event`")],
        ),
    ],
    settings: &[
        (
            "from",
            "the mail address of the user in whose name incidents are opened and changed",
        ),
        ("region", "`eu`, where the account is in the European Union"),
        ("events_base_url", "another address of the Events API"),
    ],
    headers: &[
        ("accept", "application/vnd.pagerduty+json;version=2"),
        ("content-type", "application/json"),
    ],
    budgets: &[(960, Millis::mins(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/error/code", "/status"],
        rules: &[
            ("2006", Class::Unauthorized),
            ("2010", Class::Permission),
            ("2020", Class::RateLimited),
            ("2100", Class::NotFound),
            ("2001", Class::Invalid),
        ],
        waits: &[Wait::In("ratelimit-reset")],
        ..Faults::HTTP
    },
    ..Vendor::new("pagerduty", "PagerDuty", "Alerts and incidents at PagerDuty.")
};

input! {
    /// An alert that begins (`payload` must be given), is taken up, or ends.
    SendEvent {
        /// `trigger`, `acknowledge` or `resolve`.
        event_action: String,
        /// What it is about: alerts with the same key are one. Must be given to `acknowledge` and `resolve`; derived
        /// from the run for `trigger` if not given.
        #[schemars(length(max = 255))]
        dedup_key: Option<String>,
        /// `summary`, `source`, `severity` (`critical`, `error`, `warning` or `info`), and `timestamp`, `component`,
        /// `group`, `class`, `custom_details`.
        payload: Option<Object>,
        /// What sends it.
        client: Option<String>,
        /// Where to look at it.
        client_url: Option<String>,
        /// Each with `href` and `text`.
        links: Option<Vec<Object>>,
        /// Each with `src`, `href` and `alt`.
        images: Option<Vec<Object>>,
    }

    CreateIncident {
        /// Its title.
        title: String,
        /// The service's id.
        service: String,
        /// `high` or `low`.
        urgency: Option<String>,
        /// What is to be said: a text, or values by name.
        details: Option<Value>,
        /// An incident of a service with a key that is open already is not opened again; derived from the run if not
        /// given.
        incident_key: Option<String>,
        /// The priority's id.
        priority: Option<String>,
        /// The escalation policy's id.
        escalation_policy: Option<String>,
        /// Ids of users.
        assignees: Option<Vec<String>>,
    }

    /// What is not given stays.
    UpdateIncident {
        /// The incident's id.
        id: String,
        /// `acknowledged` or `resolved`.
        status: Option<String>,
        /// Its title.
        title: Option<String>,
        /// How it was mended.
        resolution: Option<String>,
        /// `high` or `low`.
        urgency: Option<String>,
        /// The level that it goes to.
        escalation_level: Option<u32>,
        /// Ids of users.
        assignees: Option<Vec<String>>,
    }

    GetIncident {
        /// The incident's id.
        id: String,
    }

    ListIncidents {
        /// Of `triggered`, `acknowledged`, `resolved`.
        statuses: Option<Vec<String>>,
        /// Ids of services.
        service_ids: Option<Vec<String>>,
        /// Ids of teams.
        team_ids: Option<Vec<String>>,
        /// Ids of users.
        user_ids: Option<Vec<String>>,
        /// Of `high` and `low`.
        urgencies: Option<Vec<String>>,
        /// Only those since this moment.
        since: Option<String>,
        /// Only those until this moment.
        until: Option<String>,
        /// Up to two of `incident_number:asc`, `created_at:desc`, ...
        sort_by: Option<Vec<String>>,
        /// Incidents a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// How many are left out at the beginning; the `next` of an earlier answer.
        offset: Option<u64>,
    }

    AddNote {
        /// The incident's id.
        id: String,
        /// The note.
        content: String,
    }

    ListOnCalls {
        /// Ids of schedules.
        schedule_ids: Option<Vec<String>>,
        /// Ids of escalation policies.
        escalation_policy_ids: Option<Vec<String>>,
        /// Ids of users.
        user_ids: Option<Vec<String>>,
        /// From this moment.
        since: Option<String>,
        /// Until this moment.
        until: Option<String>,
        /// Only the first of each person.
        earliest: Option<bool>,
        /// How many a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// How many are left out at the beginning; the `next` of an earlier answer.
        offset: Option<u64>,
    }

    ListServices {
        /// Words of the name.
        query: Option<String>,
        /// Ids of teams.
        team_ids: Option<Vec<String>>,
        /// Services a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// How many are left out at the beginning; the `next` of an earlier answer.
        offset: Option<u64>,
    }
}

output! {
    Accepted {
        /// `success`.
        status: String,
        /// What later events about it are sent with.
        dedup_key: Option<String>,
        /// What PagerDuty says.
        message: Option<String>,
    }

    Incident {
        /// Its id.
        id: String,
        /// Its number.
        incident_number: Option<u64>,
        /// Its title.
        title: Option<String>,
        /// `triggered`, `acknowledged` or `resolved`.
        status: Option<String>,
        /// `high` or `low`.
        urgency: Option<String>,
        /// What it is about.
        incident_key: Option<String>,
        /// When it was opened.
        created_at: Option<String>,
        /// Where people see it.
        html_url: Option<String>,
        /// The service.
        service: Option<Object>,
        /// Who does it.
        assignments: Option<Vec<Object>>,
    }

    Incidents {
        /// The incidents.
        incidents: Vec<Incident>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Note {
        /// Its id.
        id: String,
        /// The note.
        content: Option<String>,
        /// When.
        created_at: Option<String>,
    }

    OnCall {
        /// Who.
        user: Option<Object>,
        /// By which schedule.
        schedule: Option<Object>,
        /// For which escalation policy.
        escalation_policy: Option<Object>,
        /// On which level.
        escalation_level: Option<u32>,
        /// From when.
        start: Option<String>,
        /// Until when.
        end: Option<String>,
    }

    OnCalls {
        /// Who is on call.
        oncalls: Vec<OnCall>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Service {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// What it is.
        description: Option<String>,
        /// `active`, `warning`, `critical`, `maintenance` or `disabled`.
        status: Option<String>,
        /// Where people see it.
        html_url: Option<String>,
    }

    Services {
        /// The services.
        services: Vec<Service>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

/// Lists have brackets behind their names; that two ways to sort are one text is an exception.
fn lists(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let names: Vec<String> = fields.iter().filter(|(_, v)| v.is_array()).map(|(n, _)| n.clone()).collect();
    for name in names {
        let Some(Value::Array(list)) = fields.remove(&name) else {
            continue;
        };
        if name == "sort_by" {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            ask.query.push((name, words.join(",")));
        } else {
            Style::JSON.query(ask, &format!("{name}[]"), &Value::Array(list));
        }
    }
    Ok(())
}

/// In whose name it is done.
fn from(ask: &mut Ask, session: &Session<'_>) -> Result<()> {
    let Some(from) = text(session.connection, "from")? else {
        let message = format!("the connection `{}` does not say in whose name", session.connection.name());
        let e = Error::new(ErrorKind::Config, "connection.incomplete", message).at("from");
        return Err(e.hint("give it the mail address of a user as `from`"));
    };
    ask.header("from", from);
    Ok(())
}

fn reference(fields: &mut Object, name: &str, kind: &str) {
    if let Some(id) = fields.remove(name) {
        fields.insert(name.into(), json!({"id": id, "type": kind}));
    }
}

fn incident(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    from(ask, session)?;
    fields.insert("type".into(), "incident".into());
    reference(fields, "service", "service_reference");
    reference(fields, "priority", "priority_reference");
    reference(fields, "escalation_policy", "escalation_policy_reference");
    if let Some(details) = fields.remove("details") {
        let body = match details {
            Value::String(_) => json!({"type": "incident_body", "details": details}),
            details => json!({"details": details}),
        };
        fields.insert("body".into(), body);
    }
    if let Some(Value::Array(ids)) = fields.remove("assignees") {
        let each = ids.iter().map(|id| json!({"assignee": {"id": id, "type": "user_reference"}}));
        fields.insert("assignments".into(), each.collect());
    }
    Ok(())
}

fn open(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    fields
        .entry("incident_key")
        .or_insert_with(|| session.cx.derived_id("pagerduty").into());
    incident(ask, fields, session)
}

fn event(_: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    let Some(key) = text(session.connection, "routing_key")? else {
        let message = format!("the connection `{}` has no integration key", session.connection.name());
        let e = Error::new(ErrorKind::Config, "connection.incomplete", message).at("routing_key");
        return Err(e.hint("give it the integration key of a service as `routing_key`"));
    };
    fields.insert("routing_key".into(), key.into());
    let action = fields.get("event_action").and_then(Value::as_str).unwrap_or_default();
    let bad = |message: &str, at: &str| Err(Error::invalid("connector.input_invalid", message).at(at));
    match (action, fields.contains_key("payload"), fields.contains_key("dedup_key")) {
        ("trigger", false, _) => bad("an alert that begins needs a payload", "/payload"),
        ("trigger", true, false) => {
            fields.insert("dedup_key".into(), session.cx.derived_id("pagerduty").into());
            Ok(())
        }
        ("acknowledge" | "resolve", _, false) => bad("which alert it is says its key", "/dedup_key"),
        ("trigger" | "acknowledge" | "resolve", ..) => Ok(()),
        _ => bad("an event triggers, acknowledges or resolves", "/event_action"),
    }
}

const fn paged(items: &'static str) -> Pages {
    Pages {
        items,
        next: Next::Offset("/more", "offset"),
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendEvent, Accepted>(
                "send_event",
                "Send an alert",
                "Begins, takes up or ends an alert of a service.",
            )
            .post("v2/enqueue")
            .host(
                "events_base_url",
                "https://events.{@region}.pagerduty.com https://events.pagerduty.com",
            )
            .keyed()
            .shape(event),
            call::<CreateIncident, Incident>("create_incident", "Open an incident", "Opens an incident of a service.")
                .post("incidents")
                .shape(open)
                .within("incident")
                .at("/incident")
                .scopes(&["incidents.write"]),
            call::<UpdateIncident, Incident>(
                "update_incident",
                "Change an incident",
                "Takes up, ends or changes an incident.",
            )
            .put("incidents/{id}")
            .shape(incident)
            .within("incident")
            .at("/incident")
            .scopes(&["incidents.write"]),
            call::<GetIncident, Incident>("get_incident", "Get an incident", "Gets an incident.")
                .get("incidents/{id}")
                .at("/incident")
                .scopes(&["incidents.read"]),
            call::<ListIncidents, Incidents>("list_incidents", "List incidents", "Lists incidents that fulfil conditions.")
                .get("incidents")
                .shape(lists)
                .pages(paged("/incidents"))
                .scopes(&["incidents.read"]),
            call::<AddNote, Note>("add_note", "Add a note", "Adds a note to an incident.")
                .post("incidents/{id}/notes")
                .shape(|ask, _, session| from(ask, session))
                .within("note")
                .at("/note")
                .scopes(&["incidents.write"]),
            call::<ListOnCalls, OnCalls>(
                "list_oncalls",
                "Say who is on call",
                "Lists who is on call, now or within a time.",
            )
            .get("oncalls")
            .shape(lists)
            .pages(paged("/oncalls"))
            .scopes(&["oncalls.read"]),
            call::<ListServices, Services>("list_services", "List services", "Lists the services.")
                .get("services")
                .shape(lists)
                .pages(paged("/services"))
                .scopes(&["services.read"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened at PagerDuty.
    Happened {
        /// The event's id.
        id: String,
        /// What happened: `incident.triggered`.
        event_type: String,
        /// `incident` or `service`.
        resource_type: Option<String>,
        /// When.
        occurred_at: Option<String>,
        /// Who.
        agent: Option<Object>,
        /// What it happened to.
        data: Option<Object>,
    }
}

fn hooks() -> Hooks {
    let secret = (
        "webhook_secret",
        "what PagerDuty signs events with: the subscription's secret",
    );
    let event = heard::<Happened>("event", "Something happened", "PagerDuty tells of an incident.", |_, body| {
        if body.pointer("/event/event_type") == Some(&"pagey.ping".into()) {
            return vec![];
        }
        vec![Told {
            id: at(body, "/event/id"),
            kind: at(body, "/event/event_type"),
            at: None,
            data: body["event"].clone(),
        }]
    });
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "x-pagerduty-signature",
        prefix: "v1=",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}
