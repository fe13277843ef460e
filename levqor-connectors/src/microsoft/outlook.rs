//! Outlook: mail and calendar. <https://learn.microsoft.com/en-us/graph/api/resources/mail-api-overview>

use levqor_core::error::{Error, Result};
use serde_json::{Value, json};

use super::{NEXT, graph, odata, recipients};
use crate::api::content::uuid;
use crate::api::hook::{Poll, asked, newer, poll, since};
use crate::api::{Api, Ask, Done, Object, Pages, Session, Vendor, call, input, output};

static VENDOR: Vendor = graph(
    "outlook",
    "Outlook",
    "Mail and calendar of a Microsoft 365 account.",
    "https://learn.microsoft.com/en-us/graph/api/resources/mail-api-overview",
);

input! {
    /// A mail: `text` or `html`.
    SendMail {
        /// Addresses.
        #[schemars(length(min = 1))]
        to: Vec<String>,
        /// Addresses that get a copy.
        cc: Option<Vec<String>>,
        /// Addresses that get a copy unseen.
        bcc: Option<Vec<String>>,
        /// Addresses that answers go to.
        reply_to: Option<Vec<String>>,
        /// The subject.
        subject: String,
        /// The text.
        text: Option<String>,
        /// The text as HTML.
        html: Option<String>,
        /// `low`, `normal` or `high`.
        importance: Option<String>,
        /// Each with `name`, `contentType` and `contentBytes` (Base64); together at most 3 MB.
        attachments: Option<Vec<Object>>,
        /// Keeps a copy; yes if not given.
        save_to_sent_items: Option<bool>,
    }

    ListMessages {
        /// A condition: `isRead eq false`.
        filter: Option<String>,
        /// Words, in quotation marks; not together with `filter`.
        search: Option<String>,
        /// Fields that are wanted, separated by commas; all if not given.
        select: Option<String>,
        /// What they are sorted by: `receivedDateTime desc`.
        orderby: Option<String>,
        /// Mails a page, at most 1000; 10 if not given.
        #[schemars(range(min = 1, max = 1000))]
        top: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    GetMessage {
        /// The mail's id.
        id: String,
        /// Fields that are wanted, separated by commas.
        select: Option<String>,
    }

    /// What is not given stays.
    #[serde(rename_all = "camelCase")]
    UpdateMessage {
        /// The mail's id.
        id: String,
        /// Whether it was read.
        is_read: Option<bool>,
        /// Categories by name.
        categories: Option<Vec<String>>,
        /// `flagStatus`: `notFlagged`, `flagged` or `complete`.
        flag: Option<Object>,
        /// `low`, `normal` or `high`.
        importance: Option<String>,
    }

    Reply {
        /// The mail's id.
        id: String,
        /// What is answered.
        comment: String,
    }

    CreateEvent {
        /// Its title.
        subject: String,
        /// When it begins: `2026-03-01T12:00:00`, or with a zone's offset or `Z`.
        start: String,
        /// When it ends.
        end: String,
        /// The time zone of both; `UTC` if not given.
        time_zone: Option<String>,
        /// What is to be said, as text.
        text: Option<String>,
        /// What is to be said, as HTML.
        html: Option<String>,
        /// Where.
        location: Option<String>,
        /// Addresses of who is invited.
        attendees: Option<Vec<String>>,
        /// All day long.
        all_day: Option<bool>,
        /// With a meeting in Teams.
        online_meeting: Option<bool>,
    }

    ListEvents {
        /// From this moment: `2026-03-01T00:00:00Z`.
        #[serde(rename = "startDateTime")]
        start_date_time: String,
        /// Until this moment.
        #[serde(rename = "endDateTime")]
        end_date_time: String,
        /// A condition.
        filter: Option<String>,
        /// Fields that are wanted, separated by commas.
        select: Option<String>,
        /// What they are sorted by: `start/dateTime`.
        orderby: Option<String>,
        /// Events a page, at most 1000; 10 if not given.
        #[schemars(range(min = 1, max = 1000))]
        top: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    /// What is not given stays; fields as Graph has them.
    #[serde(rename_all = "camelCase")]
    UpdateEvent {
        /// The event's id.
        id: String,
        /// Its title.
        subject: Option<String>,
        /// `dateTime` and `timeZone`.
        start: Option<Object>,
        /// `dateTime` and `timeZone`.
        end: Option<Object>,
        /// `contentType` (`text` or `html`) and `content`.
        body: Option<Object>,
        /// `displayName`.
        location: Option<Object>,
        /// All day long.
        is_all_day: Option<bool>,
    }

    DeleteEvent {
        /// The event's id.
        id: String,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Message {
        /// Its id.
        id: String,
        /// Its subject.
        subject: Option<String>,
        /// Who wrote it.
        from: Option<Object>,
        /// To whom.
        #[serde(default)]
        to_recipients: Vec<Object>,
        /// When it came.
        received_date_time: Option<String>,
        /// How it begins.
        body_preview: Option<String>,
        /// `contentType` and `content`.
        body: Option<Object>,
        /// Whether it was read.
        is_read: Option<bool>,
        /// Whether something is attached.
        has_attachments: Option<bool>,
        /// Its `Message-ID`.
        internet_message_id: Option<String>,
        /// What it belongs to.
        conversation_id: Option<String>,
        /// Categories by name.
        #[serde(default)]
        categories: Vec<String>,
        /// Where people see it.
        web_link: Option<String>,
    }

    Messages {
        /// The mails.
        value: Vec<Message>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Event {
        /// Its id.
        id: String,
        /// Its title.
        subject: Option<String>,
        /// When it begins.
        start: Option<Object>,
        /// When it ends.
        end: Option<Object>,
        /// Where.
        location: Option<Object>,
        /// Who is invited.
        #[serde(default)]
        attendees: Vec<Object>,
        /// Who invited.
        organizer: Option<Object>,
        /// Whether it was cancelled.
        is_cancelled: Option<bool>,
        /// `joinUrl`, if it has a meeting.
        online_meeting: Option<Object>,
        /// Where people see it.
        web_link: Option<String>,
    }

    Events {
        /// The events.
        value: Vec<Event>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

/// `text` or `html`, as Graph has a body.
fn body(fields: &mut Object) -> Result<Option<Value>> {
    match (fields.remove("text"), fields.remove("html")) {
        (Some(text), None) => Ok(Some(json!({"contentType": "text", "content": text}))),
        (None, Some(html)) => Ok(Some(json!({"contentType": "html", "content": html}))),
        (None, None) => Ok(None),
        _ => Err(Error::invalid("connector.input_invalid", "it is given as `text` or as `html`, not as both").at("/html")),
    }
}

fn mail(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    odata(ask, fields, session)?;
    let mut message = Object::new();
    message.insert("subject".into(), fields.remove("subject").unwrap_or_default());
    let Some(body) = body(fields)? else {
        return Err(Error::invalid("connector.content_missing", "a mail is given as `text` or as `html`").at("/text"));
    };
    message.insert("body".into(), body);
    for (ours, theirs) in [
        ("to", "toRecipients"),
        ("cc", "ccRecipients"),
        ("bcc", "bccRecipients"),
        ("reply_to", "replyTo"),
    ] {
        if let Some(list) = recipients(fields, ours) {
            message.insert(theirs.into(), list);
        }
    }
    if let Some(importance) = fields.remove("importance") {
        message.insert("importance".into(), importance);
    }
    if let Some(Value::Array(mut files)) = fields.remove("attachments") {
        for file in &mut files {
            file["@odata.type"] = "#microsoft.graph.fileAttachment".into();
        }
        message.insert("attachments".into(), files.into());
    }
    let keep = fields.remove("save_to_sent_items").unwrap_or_else(|| true.into());
    *fields = Object::from_iter([("message".to_owned(), message.into()), ("saveToSentItems".to_owned(), keep)]);
    Ok(())
}

fn event(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    odata(ask, fields, session)?;
    let zone = fields.remove("time_zone").unwrap_or_else(|| "UTC".into());
    for name in ["start", "end"] {
        if let Some(moment) = fields.remove(name) {
            fields.insert(name.into(), json!({"dateTime": moment, "timeZone": zone}));
        }
    }
    if let Some(body) = body(fields)? {
        fields.insert("body".into(), body);
    }
    if let Some(place) = fields.remove("location") {
        fields.insert("location".into(), json!({"displayName": place}));
    }
    if let Some(Value::Array(list)) = recipients(fields, "attendees") {
        let each = list.into_iter().map(|mut a| {
            a["type"] = "required".into();
            a
        });
        fields.insert("attendees".into(), each.collect());
    }
    for (ours, theirs) in [("all_day", "isAllDay"), ("online_meeting", "isOnlineMeeting")] {
        if let Some(value) = fields.remove(ours) {
            fields.insert(theirs.into(), value);
        }
    }
    fields.insert("transactionId".into(), uuid(session.cx, "outlook.event").into());
    Ok(())
}

const LIST: Pages = Pages {
    items: "/value",
    next: NEXT,
};

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMail, Done>("send_mail", "Send a mail", "Sends a mail from the account.")
                .post("v1.0/me/sendMail")
                .shape(mail)
                .status(&[])
                .scopes(&["Mail.Send"]),
            call::<ListMessages, Messages>("list_messages", "Find mails", "Finds mails of the account.")
                .get("v1.0/me/messages")
                .shape(odata)
                .pages(LIST)
                .scopes(&["Mail.Read"]),
            call::<GetMessage, Message>("get_message", "Get a mail", "Gets a mail.")
                .get("v1.0/me/messages/{id}")
                .shape(odata)
                .scopes(&["Mail.Read"]),
            call::<UpdateMessage, Message>("update_message", "Mark a mail", "Marks a mail as read, flags it, sorts it.")
                .patch("v1.0/me/messages/{id}")
                .shape(odata)
                .scopes(&["Mail.ReadWrite"]),
            call::<Reply, Done>("reply", "Answer a mail", "Answers who wrote a mail.")
                .post("v1.0/me/messages/{id}/reply")
                .shape(odata)
                .status(&[])
                .scopes(&["Mail.Send"]),
            call::<CreateEvent, Event>(
                "create_event",
                "Make an event",
                "Puts an event into the calendar, and invites to it.",
            )
            .post("v1.0/me/events")
            .keyed()
            .shape(event)
            .scopes(&["Calendars.ReadWrite"]),
            call::<ListEvents, Events>("list_events", "List events", "Lists the calendar's events within a time.")
                .get("v1.0/me/calendarView")
                .shape(odata)
                .pages(LIST)
                .scopes(&["Calendars.Read"]),
            call::<UpdateEvent, Event>("update_event", "Change an event", "Changes an event.")
                .patch("v1.0/me/events/{id}")
                .shape(odata)
                .scopes(&["Calendars.ReadWrite"]),
            call::<DeleteEvent, Done>("delete_event", "Delete an event", "Takes an event out of the calendar.")
                .delete("v1.0/me/events/{id}")
                .shape(odata)
                .status(&[])
                .scopes(&["Calendars.ReadWrite"]),
        ],
    )
    .polls(polls())
}

input! {
    WatchMails {
        /// Fields that are wanted besides the usual ones, separated by commas.
        select: Option<String>,
    }
}

fn polls() -> Vec<Poll> {
    vec![poll::<WatchMails, Message>(
        "new_messages",
        "A mail came",
        "Mails that came.",
        "list_messages",
        |input, cursor| {
            let filter = since(cursor).map(|at| format!("receivedDateTime ge {at}"));
            let order = if filter.is_some() {
                "receivedDateTime"
            } else {
                "receivedDateTime desc"
            };
            let pages = if filter.is_some() { 10 } else { 1 };
            asked(
                input,
                json!({"filter": filter, "orderby": order, "top": 100, "max_pages": pages}),
            )
        },
        |cursor, output| newer(cursor, output, "/value", "/id", "/receivedDateTime"),
    )]
}
