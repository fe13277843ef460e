//! HubSpot: contacts, deals, tickets. <https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide>

use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::hook::{Hash, Hooks, Part, Place, Scheme, Text, Time, Told, at, heard, millis};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide",
    base: "https://api.hubapi.com",
    auth: &[Auth::Renewed(&Grant::code("https://api.hubapi.com/oauth/v1/token"))],
    budgets: &[(100, Millis::secs(10))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/policyName", "/category", "/errors/0/category"],
        rules: &[
            ("DAILY", Class::Quota),
            ("EXPIRED_AUTHENTICATION", Class::Expired),
            ("INVALID_AUTHENTICATION", Class::Unauthorized),
            ("MISSING_SCOPES", Class::Permission),
            ("BANNED", Class::Permission),
            ("OBJECT_NOT_FOUND", Class::NotFound),
            ("CONFLICT", Class::Conflict),
            ("RATE_LIMITS", Class::RateLimited),
            ("RATE_LIMIT", Class::RateLimited),
            ("VALIDATION_ERROR", Class::Invalid),
        ],
        // A batch of one that failed is answered with 207.
        failed: &["/errors"],
        ..Faults::HTTP
    },
    ..Vendor::new("hubspot", "HubSpot", "Contacts, deals and tickets in HubSpot's CRM.")
};

input! {
    Create {
        /// Values by the property's internal name; texts all of them.
        properties: Object,
        /// What it belongs to: each with `to` (`id`) and `types` (`associationCategory`, `associationTypeId`).
        associations: Option<Vec<Object>>,
    }

    /// What is not given stays.
    UpdateContact {
        /// The contact's id, or its value of `idProperty`.
        #[serde(rename = "contactId")]
        contact_id: String,
        /// The unique property that the id is a value of: `email`.
        #[serde(rename = "idProperty")]
        id_property: Option<String>,
        /// Values by the property's internal name.
        properties: Object,
    }

    GetContact {
        /// The contact's id, or its value of `idProperty`.
        #[serde(rename = "contactId")]
        contact_id: String,
        /// The unique property that the id is a value of: `email`.
        #[serde(rename = "idProperty")]
        id_property: Option<String>,
        /// Properties that are wanted; a few usual ones if not given.
        properties: Option<Vec<String>>,
        /// Kinds of objects whose ids are wanted: `companies`, `deals`, ...
        associations: Option<Vec<String>>,
        /// Finds only those that were archived.
        archived: Option<bool>,
    }

    /// A contact who is added, or changed if there already is one.
    UpsertContact {
        /// The value that the contact is found by.
        id: String,
        /// The unique property that it is a value of; `email` if not given.
        #[serde(rename = "idProperty")]
        id_property: Option<String>,
        /// Values by the property's internal name.
        properties: Object,
    }

    #[serde(rename_all = "camelCase")]
    Search {
        /// Conditions: of the groups one must hold, and within a group all of `filters`, each with `propertyName`,
        /// `operator` (`EQ`, `CONTAINS_TOKEN`, ...) and `value`.
        #[schemars(length(max = 5))]
        filter_groups: Option<Vec<Object>>,
        /// Words that stand in the usual properties.
        query: Option<String>,
        /// How they are sorted: a property, with a hyphen before it for the other way round.
        sorts: Option<Vec<String>>,
        /// Properties that are wanted; a few usual ones if not given.
        properties: Option<Vec<String>>,
        /// Results a page, at most 200; 100 if not given.
        #[schemars(range(min = 1, max = 200))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Record {
        /// Its id.
        id: String,
        /// Its values by the property's internal name.
        properties: Object,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        updated_at: Option<String>,
        /// Whether it was archived.
        archived: Option<bool>,
        /// Whether this call made it; told by `upsert_contact` only.
        new: Option<bool>,
        /// Ids of what it belongs to.
        associations: Option<Object>,
        /// Where people see it.
        url: Option<String>,
    }

    Records {
        /// What was found.
        results: Vec<Record>,
        /// How many there are in all.
        total: Option<u64>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }
}

/// HubSpot wants to be told that there is nothing.
fn create(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    fields.entry("associations").or_insert_with(|| json!([]));
    Ok(())
}

fn search(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let all = [
        ("filterGroups", json!([])),
        ("sorts", json!([])),
        ("properties", json!([])),
        ("limit", json!(100)),
        ("after", json!("0")),
    ];
    for (name, value) in all {
        fields.entry(name).or_insert(value);
    }
    Ok(())
}

const FOUND: Pages = Pages {
    items: "/results",
    next: Next::Cursor("/paging/next/after", "after"),
};
const READ: &[&str] = &["crm.objects.contacts.read"];
const WRITE: &[&str] = &["crm.objects.contacts.write"];

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Create, Record>("create_contact", "Add a contact", "Adds a contact.")
                .post("crm/v3/objects/contacts")
                .shape(create)
                .scopes(WRITE),
            call::<UpdateContact, Record>("update_contact", "Change a contact", "Changes a contact.")
                .patch("crm/v3/objects/contacts/{contactId}")
                .query(&["idProperty"])
                .shape(|_, fields, _| {
                    fields.retain(|name, _| name == "properties");
                    Ok(())
                })
                .scopes(WRITE),
            call::<UpsertContact, Record>(
                "upsert_contact",
                "Add or change a contact",
                "Adds a contact, or changes the one that already has this address.",
            )
            .post("crm/v3/objects/contacts/batch/upsert")
            .natural()
            .shape(|_, fields, _| {
                fields.entry("idProperty").or_insert_with(|| json!("email"));
                let one = Value::Object(std::mem::take(fields));
                fields.insert("inputs".into(), json!([one]));
                Ok(())
            })
            .at("/results/0")
            .scopes(WRITE),
            call::<GetContact, Record>("get_contact", "Get a contact", "Gets a contact.")
                .get("crm/v3/objects/contacts/{contactId}")
                .scopes(READ),
            call::<Search, Records>("search_contacts", "Search contacts", "Finds contacts by conditions or words.")
                .post("crm/v3/objects/contacts/search")
                .reads()
                .shape(search)
                .pages(FOUND)
                .scopes(READ),
            call::<Create, Record>("create_company", "Add a company", "Adds a company.")
                .post("crm/v3/objects/companies")
                .shape(create)
                .scopes(&["crm.objects.companies.write"]),
            // HubSpot describes deals by the number of their kind; `deals` means the same.
            call::<Create, Record>("create_deal", "Add a deal", "Adds a deal.")
                .post("crm/v3/objects/0-3")
                .shape(create)
                .scopes(&["crm.objects.deals.write"]),
            call::<Search, Records>("search_deals", "Search deals", "Finds deals by conditions or words.")
                .post("crm/v3/objects/0-3/search")
                .reads()
                .shape(search)
                .pages(FOUND)
                .scopes(&["crm.objects.deals.read"]),
            call::<Create, Record>("create_ticket", "Open a ticket", "Opens a ticket.")
                .post("crm/v3/objects/tickets")
                .shape(create)
                .scopes(&["tickets"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// A change in the CRM.
    #[serde(rename_all = "camelCase")]
    Changed {
        /// The event's number.
        event_id: i64,
        /// What happened: `contact.propertyChange`.
        subscription_type: String,
        /// The record's id.
        object_id: Option<i64>,
        /// The property that changed.
        property_name: Option<String>,
        /// Its new value.
        property_value: Option<String>,
        /// What changed it.
        change_source: Option<String>,
        /// The account.
        portal_id: Option<i64>,
        /// When, in milliseconds since 1970.
        occurred_at: Option<i64>,
    }
}

const TIME: &str = "x-hubspot-request-timestamp";

fn hooks() -> Hooks {
    let secret = (
        "client_secret",
        "the OAuth application's secret; HubSpot signs events with it too",
    );
    let change = heard::<Changed>(
        "change",
        "A record changed",
        "HubSpot tells of contacts, companies, deals that changed.",
        |_, body| {
            let each = body.as_array().into_iter().flatten();
            each.map(|event| Told {
                id: format!("{}-{}", at(event, "/eventId"), at(event, "/subscriptionId")),
                kind: at(event, "/subscriptionType"),
                at: millis(event, "/occurredAt"),
                data: event.clone(),
            })
            .collect()
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Base64,
        header: "x-hubspot-signature-v3",
        prefix: "",
        signed: &[Part::Method, Part::DecodedUrl, Part::Body, Part::Header(TIME)],
        time: Some(Time {
            place: Place::Header(TIME),
            millis: true,
            tolerance: Millis::mins(5),
        }),
    };
    Hooks::new(secret, scheme, vec![change])
}
