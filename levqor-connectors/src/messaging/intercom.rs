//! Intercom: contacts, conversations, tickets. <https://developers.intercom.com/docs/references/rest-api/api.intercom.io>

use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, at, heard, seconds};
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.intercom.com/docs/references/rest-api/api.intercom.io",
    base: "https://api.{@region}.intercom.io https://api.intercom.io",
    auth: &[Auth::Bearer("an access token of an app")],
    settings: &[("region", "`eu` or `au`, where the workspace is not in the United States")],
    headers: &[("intercom-version", "2.14"), ("accept", "application/json")],
    budgets: &[(1_000, Millis::mins(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errors/0/code"],
        rules: &[
            ("token_expired", Class::Expired),
            ("token_revoked", Class::Unauthorized),
            ("token_not_found", Class::Unauthorized),
            ("unauthorized", Class::Unauthorized),
            ("api_plan_restricted", Class::Permission),
            ("forbidden", Class::Permission),
            ("not_found", Class::NotFound),
            ("conflict", Class::Conflict),
            ("rate_limit_exceeded", Class::RateLimited),
            ("parameter_invalid", Class::Invalid),
            ("server_error", Class::Unavailable),
            ("service_unavailable", Class::Unavailable),
            ("server_timeout", Class::Timeout),
        ],
        waits: &[Wait::At("x-ratelimit-reset")],
        ..Faults::HTTP
    },
    ..Vendor::new("intercom", "Intercom", "Contacts, conversations and tickets at Intercom.")
};

input! {
    /// A contact: `email`, `external_id`, or `role`.
    CreateContact {
        /// `user` or `lead`.
        role: Option<String>,
        /// The id that you have for the contact.
        external_id: Option<String>,
        /// The mail address.
        email: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// The name.
        name: Option<String>,
        /// The address of a picture.
        avatar: Option<String>,
        /// When the contact signed up, in seconds since 1970.
        signed_up_at: Option<i64>,
        /// When the contact was seen last, in seconds since 1970.
        last_seen_at: Option<i64>,
        /// The teammate who looks after the contact.
        owner_id: Option<i64>,
        /// Wants no mail.
        unsubscribed_from_emails: Option<bool>,
        /// Values of your own.
        custom_attributes: Option<Object>,
    }

    /// What is not given stays.
    UpdateContact {
        /// The contact's id at Intercom.
        contact_id: String,
        /// `user` or `lead`.
        role: Option<String>,
        /// The id that you have for the contact.
        external_id: Option<String>,
        /// The mail address.
        email: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// The name.
        name: Option<String>,
        /// The teammate who looks after the contact.
        owner_id: Option<i64>,
        /// Wants no mail.
        unsubscribed_from_emails: Option<bool>,
        /// Values of your own.
        custom_attributes: Option<Object>,
    }

    Search {
        /// `field`, `operator`, `value`; or `operator` `AND` or `OR` and a list of such as `value`.
        query: Object,
        /// Results a page, at most 150.
        #[schemars(range(min = 1, max = 150))]
        per_page: Option<u32>,
        /// The `next` of an earlier answer.
        starting_after: Option<String>,
    }

    CreateConversation {
        /// Who writes: `type` (`user`, `lead` or `contact`) and `id`.
        from: Object,
        /// The text.
        body: String,
        /// The subject, if it is a mail.
        subject: Option<String>,
        /// Addresses of at most ten files.
        #[schemars(length(max = 10))]
        attachment_urls: Option<Vec<String>>,
        /// When it was written, in seconds since 1970.
        created_at: Option<i64>,
    }

    /// An answer: of a teammate with `admin_id`, or of a contact with `intercom_user_id`, `user_id` or `email`.
    Reply {
        /// The conversation's id; `last` is the newest one of the contact.
        conversation_id: String,
        /// `comment`, `note` or `quick_reply`; of a contact `comment`.
        message_type: String,
        /// `admin` or `user`.
        #[serde(rename = "type")]
        kind: String,
        /// The text.
        body: Option<String>,
        /// The teammate.
        admin_id: Option<String>,
        /// The contact, by Intercom's id.
        intercom_user_id: Option<String>,
        /// The contact, by your id.
        user_id: Option<String>,
        /// The contact, by the mail address.
        email: Option<String>,
        /// Addresses of at most ten files.
        #[schemars(length(max = 10))]
        attachment_urls: Option<Vec<String>>,
        /// When it was written, in seconds since 1970.
        created_at: Option<i64>,
    }

    CreateTicket {
        /// What kind of ticket.
        ticket_type_id: String,
        /// Who it is about: objects with `id`, `external_id` or `email`.
        #[schemars(length(min = 1))]
        contacts: Vec<Object>,
        /// Values of the ticket's kind; `_default_title_` and `_default_description_` among them.
        ticket_attributes: Option<Object>,
        /// The company.
        company_id: Option<String>,
        /// A conversation that belongs to it.
        conversation_to_link_id: Option<String>,
        /// Who does it: `admin_assignee_id`, `team_assignee_id`.
        assignment: Option<Object>,
        /// Tells nobody.
        skip_notifications: Option<bool>,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64>,
    }

    /// A first message of a teammate.
    SendMessage {
        /// `in_app` or `email`.
        message_type: String,
        /// The subject, if it is a mail.
        subject: Option<String>,
        /// The text; HTML, if it is a mail.
        body: String,
        /// How the mail looks: `plain` or `personal`.
        template: Option<String>,
        /// The teammate: `type` `admin` and `id`.
        from: Object,
        /// The contact: `type` (`user` or `lead`) and `id`.
        to: Object,
        /// Begins a conversation even before the contact answers.
        create_conversation_without_contact_reply: Option<bool>,
    }
}

output! {
    Contact {
        /// The contact's id at Intercom.
        id: String,
        /// `user` or `lead`.
        role: Option<String>,
        /// The id that you have.
        external_id: Option<String>,
        /// The mail address.
        email: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// The name.
        name: Option<String>,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64>,
        /// When it was changed.
        updated_at: Option<i64>,
        /// Values of your own.
        custom_attributes: Option<Object>,
    }

    Contacts {
        /// The contacts.
        data: Vec<Contact>,
        /// How many there are in all.
        total_count: Option<u64>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Message {
        /// The message's id.
        id: String,
        /// The conversation's id.
        conversation_id: Option<String>,
        /// Its text.
        body: Option<String>,
        /// When, in seconds since 1970.
        created_at: Option<i64>,
    }

    Conversation {
        /// The conversation's id.
        id: Value,
        /// `open`, `closed` or `snoozed`.
        state: Option<String>,
        /// Its title.
        title: Option<String>,
        /// Whether it is open.
        open: Option<bool>,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64>,
        /// When it was changed.
        updated_at: Option<i64>,
        /// What was written.
        conversation_parts: Option<Object>,
    }

    Conversations {
        /// The conversations.
        conversations: Vec<Conversation>,
        /// How many there are in all.
        total_count: Option<u64>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Ticket {
        /// The ticket's id at Intercom.
        id: String,
        /// The number that people see.
        ticket_id: Option<String>,
        /// Its state.
        ticket_state: Option<Value>,
        /// Its values.
        ticket_attributes: Option<Object>,
        /// When it was made, in seconds since 1970.
        created_at: Option<i64>,
    }
}

/// Where a page of a search begins stands in an object of its own.
fn pagination(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let mut page = Object::new();
    for name in ["per_page", "starting_after"] {
        if let Some(value) = fields.remove(name) {
            page.insert(name.into(), value);
        }
    }
    if !page.is_empty() {
        fields.insert("pagination".into(), json!(page));
    }
    Ok(())
}

const NEXT: Next = Next::Cursor("/pages/next/starting_after", "starting_after");

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateContact, Contact>("create_contact", "Add a contact", "Adds a user or a lead.")
                .post("contacts")
                .scopes(&["Write users and companies"]),
            call::<UpdateContact, Contact>("update_contact", "Change a contact", "Changes a contact.")
                .put("contacts/{contact_id}")
                .scopes(&["Write users and companies"]),
            call::<Search, Contacts>("search_contacts", "Search contacts", "Finds contacts by a condition.")
                .post("contacts/search")
                .reads()
                .shape(pagination)
                .pages(Pages {
                    items: "/data",
                    next: NEXT,
                })
                .scopes(&["Read and list users and companies"]),
            call::<CreateConversation, Message>(
                "create_conversation",
                "Begin a conversation",
                "Begins a conversation in the name of a contact.",
            )
            .post("conversations")
            .scopes(&["Write conversations"]),
            call::<Reply, Conversation>(
                "reply_to_conversation",
                "Answer in a conversation",
                "Adds an answer or a note to a conversation.",
            )
            .post("conversations/{conversation_id}/reply")
            .scopes(&["Write conversations"]),
            call::<Search, Conversations>(
                "search_conversations",
                "Search conversations",
                "Finds conversations by a condition.",
            )
            .post("conversations/search")
            .reads()
            .shape(pagination)
            .pages(Pages {
                items: "/conversations",
                next: NEXT,
            })
            .scopes(&["Read conversations"]),
            call::<SendMessage, Message>(
                "send_message",
                "Send a message",
                "Sends a contact a message in the app or by mail.",
            )
            .post("messages")
            .scopes(&["Write conversations"]),
            call::<CreateTicket, Ticket>("create_ticket", "Open a ticket", "Opens a ticket.")
                .post("tickets")
                .scopes(&["Write tickets"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened at Intercom.
    Happened {
        /// The notification's id.
        id: String,
        /// What happened: `conversation.user.created`.
        topic: String,
        /// The workspace.
        app_id: Option<String>,
        /// When, in seconds since 1970.
        created_at: Option<i64>,
        /// `item`: what it happened to.
        data: Object,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Intercom signs events with: the app's client secret");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Intercom tells of a conversation, a contact, a ticket.",
        |_, body| {
            if body["topic"] == "ping" {
                return vec![];
            }
            vec![Told {
                id: at(body, "/id"),
                kind: at(body, "/topic"),
                at: seconds(body, "/created_at"),
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha1,
        text: Text::Hex,
        header: "x-hub-signature",
        prefix: "sha1=",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}
