//! SendGrid: mails and marketing contacts. <https://www.twilio.com/docs/sendgrid/api-reference>

use crate::api::{Api, Auth, Class, Faults, Object, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://www.twilio.com/docs/sendgrid/api-reference",
    base: "https://api.sendgrid.com",
    auth: &[Auth::Bearer("an API key, `SG.…`")],
    key_header: "",
    faults: Faults {
        codes: &["/errors/0/error_id", "/errors/0/field"],
        rules: &[("over_limit", Class::Quota)],
        waits: &[Wait::At("x-ratelimit-reset")],
        ..Faults::HTTP
    },
    ..Vendor::new("sendgrid", "SendGrid", "Mails and marketing contacts at Twilio SendGrid.")
};

input! {
    /// An address with a name.
    Address {
        /// The address.
        email: String,
        /// The name.
        name: Option<String>,
    }

    /// One copy of the mail.
    Personalization {
        /// Recipients.
        #[schemars(length(min = 1))]
        to: Vec<Address>,
        /// Recipients of a copy.
        cc: Option<Vec<Address>>,
        /// Recipients of a copy that the others do not see.
        bcc: Option<Vec<Address>>,
        /// The subject of this copy.
        subject: Option<String>,
        /// What a dynamic template fills in.
        dynamic_template_data: Option<Object>,
        /// What a legacy template fills in.
        substitutions: Option<Object>,
        /// Headers of this copy.
        headers: Option<Object>,
        /// Values for your own programs.
        custom_args: Option<Object>,
        /// When it is sent, in seconds since 1970.
        send_at: Option<i64>,
    }

    /// A form of the message.
    Content {
        /// `text/plain` or `text/html`; plain text first.
        #[serde(rename = "type")]
        kind: String,
        /// The message.
        value: String,
    }

    /// A mail with `content`, or with a template.
    SendMail {
        /// The sender.
        from: Address,
        /// To whom, one copy each.
        #[schemars(length(min = 1, max = 1000))]
        personalizations: Vec<Personalization>,
        /// The subject; a template may have its own.
        subject: Option<String>,
        /// The message.
        content: Option<Vec<Content>>,
        /// A template's id.
        template_id: Option<String>,
        /// Where answers go.
        reply_to: Option<Address>,
        /// Files: `content` in Base64, `filename`, `type`.
        attachments: Option<Vec<Object>>,
        /// Names to count by.
        categories: Option<Vec<String>>,
        /// Other headers.
        headers: Option<Object>,
        /// When it is sent, in seconds since 1970.
        send_at: Option<i64>,
        /// Groups of subscriptions: `group_id`, `groups_to_display`.
        asm: Option<Object>,
        /// `sandbox_mode` and the like.
        mail_settings: Option<Object>,
        /// What is tracked.
        tracking_settings: Option<Object>,
    }

    UpsertContacts {
        /// Contacts with at least one of `email`, `external_id`, `phone_number_id`, `anonymous_id`.
        #[schemars(length(min = 1, max = 30000))]
        contacts: Vec<Object>,
        /// Lists that they join.
        list_ids: Option<Vec<String>>,
    }

    SearchContacts {
        /// A condition in SendGrid's query language: `email LIKE 'ann%'`.
        query: String,
    }

    FindContacts {
        /// Addresses.
        #[schemars(length(min = 1, max = 100))]
        emails: Vec<String>,
    }
}

output! {
    Accepted {
        /// The status, 202.
        status: u16,
        /// The mail's id.
        message_id: Option<String>,
    }

    Job {
        /// The job that takes the contacts over.
        job_id: Option<String>,
    }

    Contacts {
        /// The contacts, at most 50.
        result: Vec<Object>,
        /// How many there are.
        contact_count: Option<serde_json::Number>,
    }

    Found {
        /// By address: `contact`, or `error`.
        result: Object,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMail, Accepted>("send_mail", "Send a mail", "Sends a mail to one or many, now or later.")
                .post("v3/mail/send")
                .status(&[("message_id", "x-message-id")])
                .scopes(&["mail.send"]),
            call::<UpsertContacts, Job>(
                "upsert_contacts",
                "Add or change contacts",
                "Adds contacts, or changes those that there are. SendGrid does it within minutes.",
            )
            .put("v3/marketing/contacts"),
            call::<SearchContacts, Contacts>("search_contacts", "Search contacts", "Finds contacts by a condition.")
                .post("v3/marketing/contacts/search")
                .reads(),
            call::<FindContacts, Found>(
                "find_contacts",
                "Find contacts by address",
                "Finds contacts by their addresses.",
            )
            .post("v3/marketing/contacts/search/emails")
            .reads(),
        ],
    )
}
