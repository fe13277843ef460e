//! Gmail. <https://developers.google.com/workspace/gmail/api/reference/rest>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use super::{FAULTS, grant};
use crate::api::content::take_text;
use crate::api::hook::{Poll, Told, asked, at, cursor_ids, poll};
use crate::api::{Api, Auth, Next, Object, Pages, Session, Vendor, call, input, output};
use crate::email::compose::{self, compose};
use crate::kit::read;

static VENDOR: Vendor = Vendor {
    docs: "https://developers.google.com/workspace/gmail/api/reference/rest",
    base: "https://gmail.googleapis.com",
    auth: &[Auth::Renewed(&grant("https://www.googleapis.com/auth/gmail.modify"))],
    settings: &[("from", "the sender of mails that name none")],
    budgets: &[(50, Millis::secs(1))],
    key_header: "",
    faults: FAULTS,
    ..Vendor::new("gmail", "Gmail", "Mails of an account at Google.")
};

input! {
    /// A file in a mail.
    File {
        /// Its name.
        filename: String,
        /// Its media type; application/octet-stream if not given.
        content_type: Option<String>,
        /// Its bytes in Base64.
        content: String,
    }

    /// A mail; `text`, `html` or both.
    Mail {
        /// "Name <address>", one of the account's own; the connection's sender if not given.
        from: Option<String>,
        /// Recipients.
        to: Option<Vec<String>>,
        /// Recipients of a copy.
        cc: Option<Vec<String>>,
        /// Recipients of a copy that the others do not see.
        bcc: Option<Vec<String>>,
        /// Where answers go.
        reply_to: Option<String>,
        /// The subject.
        subject: String,
        /// The message as plain text.
        text: Option<String>,
        /// The message as HTML.
        html: Option<String>,
        /// Files.
        attachments: Option<Vec<File>>,
        /// Other headers, such as In-Reply-To.
        headers: Option<Object>,
        /// The conversation that it belongs to; needs the same subject, and `In-Reply-To` among the headers.
        thread_id: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    ListMessages {
        /// As in Gmail's search field: `from:ann is:unread newer_than:2d`.
        q: Option<String>,
        /// Only mails with all these labels.
        label_ids: Option<Vec<String>>,
        /// Looks in spam and trash too.
        include_spam_trash: Option<bool>,
        /// Mails a page, at most 500.
        #[schemars(range(min = 1, max = 500))]
        max_results: Option<u32>,
        /// The `next` of an earlier answer.
        page_token: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    GetMessage {
        /// The mail's id.
        id: String,
        /// `full`, `metadata`, `minimal` or `raw`.
        format: Option<String>,
        /// With `metadata`: which headers.
        metadata_headers: Option<Vec<String>>,
    }

    #[serde(rename_all = "camelCase")]
    ModifyMessage {
        /// The mail's id.
        id: String,
        /// Labels to put on it.
        add_label_ids: Option<Vec<String>>,
        /// Labels to take off: `UNREAD` marks it as read, `INBOX` puts it away.
        remove_label_ids: Option<Vec<String>>,
    }

    #[serde(rename_all = "camelCase")]
    Watch {
        /// The Pub/Sub topic, `projects/…/topics/…`.
        topic_name: String,
        /// Only changes to mails with these labels.
        label_ids: Option<Vec<String>>,
        /// `include` or `exclude`.
        label_filter_behavior: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Brief {
        /// The mail's id.
        id: String,
        /// Its conversation.
        thread_id: Option<String>,
        /// Its labels.
        #[serde(default)]
        label_ids: Vec<String>,
    }

    #[serde(rename_all = "camelCase")]
    Message {
        /// The mail's id.
        id: String,
        /// Its conversation.
        thread_id: Option<String>,
        /// Its labels.
        #[serde(default)]
        label_ids: Vec<String>,
        /// Its beginning.
        snippet: Option<String>,
        /// Headers, parts and bodies as Gmail read them.
        payload: Option<Object>,
        /// The whole mail in URL-safe Base64, if it was asked for.
        raw: Option<String>,
        /// When it came, in milliseconds since 1970.
        internal_date: Option<String>,
        /// Its size in bytes.
        size_estimate: Option<u64>,
    }

    Messages {
        /// The mails' ids.
        #[serde(default)]
        messages: Vec<Brief>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }

    Draft {
        /// The draft's id.
        id: String,
        /// Its mail.
        message: Option<Brief>,
    }

    #[serde(rename_all = "camelCase")]
    Watched {
        /// Where the history stands.
        history_id: Option<String>,
        /// When the watch ends, in milliseconds since 1970.
        expiration: Option<String>,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Mail, Brief>("send_message", "Send a mail", "Sends a mail from the account.")
                .post("gmail/v1/users/me/messages/send")
                .shape(|ask, fields, session| {
                    let raw = mail(fields, session)?;
                    ask.json(&raw)
                })
                .scopes(&["https://www.googleapis.com/auth/gmail.send"]),
            call::<ListMessages, Messages>("list_messages", "Find mails", "Finds mails; gives their ids.")
                .get("gmail/v1/users/me/messages")
                .pages(Pages {
                    items: "/messages",
                    next: Next::Cursor("/nextPageToken", "pageToken"),
                })
                .scopes(&["https://www.googleapis.com/auth/gmail.readonly"]),
            call::<GetMessage, Message>("get_message", "Read a mail", "Reads a mail.")
                .get("gmail/v1/users/me/messages/{id}")
                .scopes(&["https://www.googleapis.com/auth/gmail.readonly"]),
            call::<ModifyMessage, Brief>("modify_message", "Label a mail", "Puts labels on a mail and takes them off.")
                .post("gmail/v1/users/me/messages/{id}/modify")
                .natural()
                .scopes(&["https://www.googleapis.com/auth/gmail.modify"]),
            call::<Mail, Draft>("create_draft", "Make a draft", "Makes a draft of a mail.")
                .post("gmail/v1/users/me/drafts")
                .shape(|ask, fields, session| {
                    let raw = mail(fields, session)?;
                    ask.json(&json!({"message": raw}))
                })
                .scopes(&["https://www.googleapis.com/auth/gmail.compose"]),
            call::<Watch, Watched>(
                "watch",
                "Watch the mailbox",
                "Has changes of the mailbox said to a topic, for seven days.",
            )
            .post("gmail/v1/users/me/watch")
            .natural()
            .scopes(&["https://www.googleapis.com/auth/gmail.readonly"]),
        ],
    )
    .polls(polls())
}

input! {
    WatchMails {
        /// Only mails that this search finds: `from:jane@example.com is:unread`.
        q: Option<String>,
        /// Only mails with all of these labels.
        #[serde(rename = "labelIds")]
        label_ids: Option<Vec<String>>,
    }
}

output! {
    /// A mail that came; `get_message` reads it.
    #[serde(rename_all = "camelCase")]
    NewMail {
        /// The mail's id.
        id: String,
        /// The thread's id.
        thread_id: Option<String>,
    }
}

/// So many ids are remembered.
const REMEMBERED: usize = 500;

fn polls() -> Vec<Poll> {
    vec![poll::<WatchMails, NewMail>(
        "new_messages",
        "A mail came",
        "Mails that came, or that a search finds since.",
        "list_messages",
        |input, _| asked(input, json!({"maxResults": 100})),
        |cursor, output| {
            let known = cursor_ids(cursor);
            let all = output.pointer("/messages").and_then(Value::as_array).into_iter().flatten();
            let fresh: Vec<&Value> = all.filter(|m| !known.contains(&at(m, "/id").as_str())).collect();
            // The newest ones come first.
            let mut ids: Vec<String> = fresh.iter().map(|m| at(m, "/id")).collect();
            ids.extend(known.iter().map(ToString::to_string));
            ids.truncate(REMEMBERED);
            let told = fresh.iter().rev().filter(|_| cursor.is_some()).map(|m| Told {
                id: at(m, "/id"),
                kind: "received".into(),
                at: None,
                data: (*m).clone(),
            });
            (told.collect(), json!({"ids": ids}))
        },
    )]
}

/// The mail as Gmail takes it. Its Message-ID is the same in every attempt, so that a search for
/// `rfc822msgid:` finds what an attempt whose answer was lost left behind.
fn mail(fields: &mut Object, session: &Session<'_>) -> Result<Value> {
    let thread = take_text(fields, "thread_id");
    let input: compose::Input = read("gmail.send_message", &Value::Object(fields.clone()))?;
    let mail = compose(&input, session.connection, session.cx)?;
    // A mail over SMTP does not name its hidden recipients; Gmail learns of them nowhere else, and takes the line off.
    let hidden: Vec<String> = mail
        .envelope
        .to()
        .iter()
        .zip(&mail.places)
        .filter(|(_, place)| place.starts_with("/bcc/"))
        .map(|(address, _)| address.to_string())
        .collect();
    let mut bytes = Vec::with_capacity(mail.bytes.len() + 64);
    if !hidden.is_empty() {
        bytes.extend_from_slice(format!("Bcc: {}\r\n", hidden.join(",\r\n ")).as_bytes());
    }
    bytes.extend_from_slice(&mail.bytes);
    let mut out = json!({"raw": URL_SAFE.encode(bytes)});
    if let Some(thread) = thread {
        out["threadId"] = thread.into();
    }
    Ok(out)
}
