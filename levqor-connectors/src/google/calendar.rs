//! Google Calendar. <https://developers.google.com/workspace/calendar/api/v3/reference>

use levqor_core::error::{ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::Value;

use super::{FAULTS, grant};
use crate::api::content::hex_id;
use crate::api::request::percent;
use crate::api::{Api, Ask, Auth, Done, Next, Object, Pages, Session, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.google.com/workspace/calendar/api/v3/reference",
    base: "https://www.googleapis.com",
    auth: &[Auth::Renewed(&grant("https://www.googleapis.com/auth/calendar"))],
    budgets: &[(600, Millis::mins(1))],
    key_header: "",
    faults: FAULTS,
    ..Vendor::new(
        "google_calendar",
        "Google Calendar",
        "Events and free time in calendars at Google.",
    )
};

input! {
    /// A point in time, or a day.
    #[serde(rename_all = "camelCase")]
    When {
        /// RFC 3339: `2026-03-01T09:00:00+01:00`.
        date_time: Option<String>,
        /// A whole day: `2026-03-01`.
        date: Option<String>,
        /// Its time zone: `Europe/Berlin`.
        time_zone: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    CreateEvent {
        /// The calendar's id; `primary` is the account's own.
        calendar_id: String,
        /// The event's id, if you choose it: 5 to 1024 of `a-v` and `0-9`. Made for you if not given.
        id: Option<String>,
        /// The title.
        summary: Option<String>,
        /// The beginning.
        start: When,
        /// The end, which does not belong to it.
        end: When,
        /// What it is about.
        description: Option<String>,
        /// Where it is.
        location: Option<String>,
        /// Who comes: objects with `email`.
        attendees: Option<Vec<Object>>,
        /// Rules of repetition: `RRULE:FREQ=WEEKLY`.
        recurrence: Option<Vec<String>>,
        /// `useDefault`, or `overrides`.
        reminders: Option<Object>,
        /// `opaque` for busy, `transparent` for free.
        transparency: Option<String>,
        /// `default`, `public`, `private` or `confidential`.
        visibility: Option<String>,
        /// The colour's number.
        color_id: Option<String>,
        /// A video call: needs `conferenceDataVersion` 1.
        conference_data: Option<Object>,
        /// 1 if `conferenceData` is given.
        conference_data_version: Option<u32>,
        /// Values for your own programs.
        extended_properties: Option<Object>,
        /// Who is told: `all`, `externalOnly` or `none`.
        send_updates: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    ListEvents {
        /// The calendar's id; `primary` is the account's own.
        calendar_id: String,
        /// Only events that end after this: RFC 3339.
        time_min: Option<String>,
        /// Only events that begin before this: RFC 3339.
        time_max: Option<String>,
        /// Words in it.
        q: Option<String>,
        /// Repeated events one by one.
        single_events: Option<bool>,
        /// `startTime` (with `singleEvents`) or `updated`.
        order_by: Option<String>,
        /// Only what changed since this.
        updated_min: Option<String>,
        /// The `nextSyncToken` of an earlier answer: only what changed since then.
        sync_token: Option<String>,
        /// Takes deleted events too.
        show_deleted: Option<bool>,
        /// Events a page, at most 2500.
        #[schemars(range(min = 1, max = 2500))]
        max_results: Option<u32>,
        /// The `next` of an earlier answer.
        page_token: Option<String>,
    }

    /// What is not given stays.
    #[serde(rename_all = "camelCase")]
    UpdateEvent {
        /// The calendar's id; `primary` is the account's own.
        calendar_id: String,
        /// The event's id.
        event_id: String,
        /// The title.
        summary: Option<String>,
        /// The beginning.
        start: Option<When>,
        /// The end.
        end: Option<When>,
        /// What it is about.
        description: Option<String>,
        /// Where it is.
        location: Option<String>,
        /// Who comes, all of them.
        attendees: Option<Vec<Object>>,
        /// `confirmed`, `tentative` or `cancelled`.
        status: Option<String>,
        /// Rules of repetition.
        recurrence: Option<Vec<String>>,
        /// `opaque` for busy, `transparent` for free.
        transparency: Option<String>,
        /// Who is told: `all`, `externalOnly` or `none`.
        send_updates: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    DeleteEvent {
        /// The calendar's id; `primary` is the account's own.
        calendar_id: String,
        /// The event's id.
        event_id: String,
        /// Who is told: `all`, `externalOnly` or `none`.
        send_updates: Option<String>,
    }

    /// A calendar or group.
    Calendar {
        /// Its id.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    FreeBusy {
        /// From when: RFC 3339.
        time_min: String,
        /// Until when: RFC 3339.
        time_max: String,
        /// Whose time.
        #[schemars(length(min = 1, max = 50))]
        items: Vec<Calendar>,
        /// The answer's time zone.
        time_zone: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Event {
        /// The event's id.
        id: String,
        /// `confirmed`, `tentative` or `cancelled`.
        status: Option<String>,
        /// Where people see it.
        html_link: Option<String>,
        /// The title.
        summary: Option<String>,
        /// What it is about.
        description: Option<String>,
        /// Where it is.
        location: Option<String>,
        /// The beginning: `dateTime` or `date`.
        start: Option<Object>,
        /// The end: `dateTime` or `date`.
        end: Option<Object>,
        /// Who comes.
        #[serde(default)]
        attendees: Vec<Object>,
        /// Who invited.
        organizer: Option<Object>,
        /// Rules of repetition.
        #[serde(default)]
        recurrence: Vec<String>,
        /// The event that this one is a repetition of.
        recurring_event_id: Option<String>,
        /// The address of its video call.
        hangout_link: Option<String>,
        /// Its id in other calendars.
        #[serde(rename = "iCalUID")]
        ical_uid: Option<String>,
        /// When it was made.
        created: Option<String>,
        /// When it was changed.
        updated: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Events {
        /// The events.
        #[serde(default)]
        items: Vec<Event>,
        /// At the end: what `syncToken` takes to learn of changes since.
        next_sync_token: Option<String>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }

    Busy {
        /// By calendar: `busy`, a list of `start` and `end`, or `errors`.
        calendars: Object,
    }
}

const SCOPE: &[&str] = &["https://www.googleapis.com/auth/calendar.events"];

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateEvent, Event>(
                "create_event",
                "Make an event",
                "Puts an event into a calendar, and invites to it.",
            )
            .post("calendar/v3/calendars/{calendarId}/events")
            .query(&["sendUpdates", "conferenceDataVersion"])
            .keyed()
            .run(|session, fields| Box::pin(create(session, fields)))
            .scopes(SCOPE),
            call::<ListEvents, Events>(
                "list_events",
                "Find events",
                "Finds a calendar's events, or what changed in it.",
            )
            .get("calendar/v3/calendars/{calendarId}/events")
            .pages(Pages {
                items: "/items",
                next: Next::Cursor("/nextPageToken", "pageToken"),
            })
            .scopes(&["https://www.googleapis.com/auth/calendar.readonly"]),
            call::<UpdateEvent, Event>(
                "update_event",
                "Change an event",
                "Changes an event. What is null is emptied.",
            )
            .patch("calendar/v3/calendars/{calendarId}/events/{eventId}")
            .query(&["sendUpdates"])
            .scopes(SCOPE),
            call::<DeleteEvent, Done>("delete_event", "Delete an event", "Takes an event out of a calendar.")
                .delete("calendar/v3/calendars/{calendarId}/events/{eventId}")
                .status(&[])
                .scopes(SCOPE),
            call::<FreeBusy, Busy>("free_busy", "Look for free time", "Says when calendars are busy.")
                .post("calendar/v3/freeBusy")
                .reads()
                .scopes(&["https://www.googleapis.com/auth/calendar.readonly"]),
        ],
    )
}

/// An event has the same id in every attempt, so Google refuses to make it twice; then it is there already.
async fn create(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let own = !fields.contains_key("id");
    let id = if own {
        hex_id(session.cx, "google_calendar")
    } else {
        String::new()
    };
    let calendar = fields
        .get("calendarId")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if own {
        fields.insert("id".into(), id.as_str().into());
    }
    match session.send(session.ask(fields)?).await {
        Err(e) if own && e.kind() == ErrorKind::Conflict => {
            let path = format!("calendar/v3/calendars/{}/events/{id}", percent(&calendar, b"@"));
            session.send(Ask::new("GET", path)).await?.json()
        }
        other => other?.json(),
    }
}
