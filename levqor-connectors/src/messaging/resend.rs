//! Resend: mails and contacts. <https://resend.com/docs/api-reference>

use levqor_core::types::Millis;
use serde_json::Value;

use crate::api::content::OneOrMany;
use crate::api::hook::{Hooks, Scheme, Told, at, heard};
use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://resend.com/docs/api-reference",
    base: "https://api.resend.com",
    auth: &[Auth::Bearer("an API key, `re_…`")],
    budgets: &[(2, Millis::secs(1))],
    key_header: "idempotency-key",
    faults: Faults {
        codes: &["/name"],
        rules: &[
            ("missing_api_key", Class::Unauthorized),
            ("invalid_api_key", Class::Unauthorized),
            ("restricted_api_key", Class::Permission),
            ("rate_limit_exceeded", Class::RateLimited),
            ("daily_quota_exceeded", Class::Quota),
            ("monthly_quota_exceeded", Class::Quota),
            ("invalid_idempotency_key", Class::Invalid),
            ("invalid_idempotent_request", Class::Conflict),
            // The first request with this key is still at work.
            ("concurrent_idempotent_requests", Class::Unavailable),
        ],
        waits: &[Wait::In("ratelimit-reset")],
        ..Faults::HTTP
    },
    ..Vendor::new("resend", "Resend", "Mails and contacts at Resend.")
};

input! {
    /// A mail; with `html`, `text` or a template.
    Email {
        /// "Name <address>" of a verified domain.
        from: String,
        /// Up to 50 recipients.
        to: OneOrMany,
        /// The subject.
        subject: String,
        /// The message as HTML.
        html: Option<String>,
        /// The message as plain text.
        text: Option<String>,
        /// Recipients of a copy.
        cc: Option<OneOrMany>,
        /// Recipients of a copy that the others do not see.
        bcc: Option<OneOrMany>,
        /// Where answers go.
        reply_to: Option<OneOrMany>,
        /// When it is sent: RFC 3339, or words like "in 1 hour".
        scheduled_at: Option<String>,
        /// Other headers.
        headers: Option<Object>,
        /// Files: `filename` with `content` in Base64 or `path`, a URL.
        attachments: Option<Vec<Object>>,
        /// Pairs of `name` and `value`.
        tags: Option<Vec<Object>>,
        /// A template's `id` and `variables`.
        template: Option<Object>,
    }

    Batch {
        /// Up to 100 mails, without attachments.
        #[schemars(length(min = 1, max = 100))]
        emails: Vec<Email>,
    }

    ById {
        /// Its id.
        id: String,
    }

    CreateContact {
        /// The address.
        email: String,
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// Wants no broadcasts.
        unsubscribed: Option<bool>,
        /// Properties of your own.
        properties: Option<Object>,
        /// Segments that it belongs to: objects with `id`.
        segments: Option<Vec<Object>>,
        /// Topics with `id` and `subscription`.
        topics: Option<Vec<Object>>,
    }

    ListContacts {
        /// Contacts a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
        /// Only those of this segment.
        segment_id: Option<String>,
    }

    UpdateContact {
        /// The contact's id or address.
        id: String,
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// Wants no broadcasts.
        unsubscribed: Option<bool>,
        /// Properties of your own.
        properties: Option<Object>,
    }
}

output! {
    Id {
        /// Its id.
        id: String,
    }

    Ids {
        /// The mails' ids, in the order of the mails.
        data: Vec<Id>,
    }

    Mail {
        /// Its id.
        id: String,
        /// The sender.
        from: Option<String>,
        /// The recipients.
        to: Option<Vec<String>>,
        /// The subject.
        subject: Option<String>,
        /// When it was made.
        created_at: Option<String>,
        /// When it is to be sent.
        scheduled_at: Option<String>,
        /// What happened to it last: `delivered`, `bounced`, ...
        last_event: Option<String>,
    }

    Contact {
        /// Its id.
        id: String,
        /// The address.
        email: Option<String>,
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// When it was made.
        created_at: Option<String>,
        /// Wants no broadcasts.
        unsubscribed: Option<bool>,
    }

    Contacts {
        /// The contacts.
        data: Vec<Contact>,
        /// The id that the next page starts after; null at the end.
        next: Option<String>,
    }

    Deleted {
        /// The contact's id or address.
        contact: Option<String>,
        /// Always true.
        deleted: bool,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Email, Id>("send_email", "Send a mail", "Sends a mail, now or later.")
                .post("emails")
                .keyed(),
            call::<Batch, Ids>("send_batch", "Send several mails", "Sends up to 100 different mails at once.")
                .post("emails/batch")
                .keyed()
                .shape(|ask, fields, _| ask.json(&fields.remove("emails").unwrap_or(Value::Null))),
            call::<ById, Mail>("get_email", "Get a mail", "Looks what became of a mail.").get("emails/{id}"),
            call::<ById, Id>(
                "cancel_email",
                "Call a mail off",
                "Calls off a mail that was to be sent later.",
            )
            .post("emails/{id}/cancel")
            .natural()
            .destructive()
            .shape(|ask, _, _| {
                ask.body = Some(vec![]);
                Ok(())
            }),
            call::<CreateContact, Id>(
                "create_contact",
                "Add a contact",
                "Adds a contact; one with the same address is changed.",
            )
            .post("contacts")
            .natural(),
            call::<ListContacts, Contacts>("list_contacts", "List contacts", "Lists contacts.")
                .get("contacts")
                .pages(Pages {
                    items: "/data",
                    next: Next::LastId("/has_more", "after"),
                }),
            call::<UpdateContact, Id>("update_contact", "Change a contact", "Changes a contact.").patch("contacts/{id}"),
            call::<ById, Deleted>(
                "delete_contact",
                "Remove a contact",
                "Removes a contact by its id or address.",
            )
            .delete("contacts/{id}"),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened to a mail.
    Happened {
        /// What: `email.delivered`, `email.bounced`, ...
        #[serde(rename = "type")]
        kind: String,
        /// When.
        created_at: Option<String>,
        /// `email_id`, `to`, `subject`, ...
        data: Object,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Resend signs events with: the webhook's `whsec_…`");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Resend tells what became of a mail.",
        |hook, body| {
            vec![Told {
                id: hook.header("svix-id").unwrap_or_default().to_owned(),
                kind: at(body, "/type"),
                at: None,
                data: body.clone(),
            }]
        },
    );
    Hooks::new(secret, Scheme::Standard("svix"), vec![event])
}
