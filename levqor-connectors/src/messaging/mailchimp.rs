//! Mailchimp: audiences, members, campaigns. <https://mailchimp.com/developer/marketing/api/>

use levqor_core::error::{Error, Result};
use md5::{Digest as _, Md5};

use crate::api::content::{hex, take_text};
use crate::api::request::percent;
use crate::api::{Api, Ask, Auth, Class, Done, Faults, Next, Object, Pages, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://mailchimp.com/developer/marketing/api/",
    base: "https://{@dc}.api.mailchimp.com",
    auth: &[
        Auth::Key("levqor", ("api_key", "an API key, `…-us6`")),
        Auth::Bearer("an OAuth access token"),
    ],
    settings: &[("dc", "the data centre: what stands behind the key's hyphen, like `us6`")],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/title"],
        rules: &[
            ("API Key Invalid", Class::Unauthorized),
            ("API Key Missing", Class::Unauthorized),
            ("User Disabled", Class::Permission),
            ("Wrong Datacenter", Class::Invalid),
            ("Forbidden", Class::Permission),
            ("Resource Not Found", Class::NotFound),
            ("Member Exists", Class::Conflict),
            ("Forgotten Email Not Subscribed", Class::Conflict),
            ("Member In Compliance State", Class::Conflict),
            ("Invalid Resource", Class::Invalid),
            ("Too Many Requests", Class::RateLimited),
            ("Internal Server Error", Class::Unavailable),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("mailchimp", "Mailchimp", "Audiences and campaigns at Mailchimp.")
};

input! {
    /// A member who is added, or changed if there already is one with this address.
    UpsertMember {
        /// The audience's id.
        list_id: String,
        /// The mail address.
        email_address: String,
        /// What a new member becomes: `subscribed`, `unsubscribed`, `cleaned`, `pending` or `transactional`.
        status_if_new: String,
        /// What a member becomes in any case.
        status: Option<String>,
        /// Values of the audience's fields: `FNAME`, `LNAME`, ...
        merge_fields: Option<Object>,
        /// Interests by id, with true or false.
        interests: Option<Object>,
        /// `html` or `text`.
        email_type: Option<String>,
        /// The language.
        language: Option<String>,
        /// More important than others.
        vip: Option<bool>,
        /// Does not look whether required fields are given.
        skip_merge_validation: Option<bool>,
    }

    GetMember {
        /// The audience's id.
        list_id: String,
        /// The mail address.
        email_address: String,
    }

    ArchiveMember {
        /// The audience's id.
        list_id: String,
        /// The mail address.
        email_address: String,
    }

    TagMember {
        /// The audience's id.
        list_id: String,
        /// The mail address.
        email_address: String,
        /// Each with `name` and `status`: `active` or `inactive`.
        #[schemars(length(min = 1))]
        tags: Vec<Object>,
        /// Starts no automations.
        is_syncing: Option<bool>,
    }

    ListAudiences {
        /// Audiences a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        count: Option<u32>,
        /// How many are left out at the beginning; the `next` of an earlier answer.
        offset: Option<u64>,
    }

    CreateCampaign {
        /// `regular`, `plaintext`, `rss` or `variate`.
        #[serde(rename = "type")]
        kind: String,
        /// Who gets it: `list_id`, `segment_opts`.
        recipients: Option<Object>,
        /// `subject_line`, `preview_text`, `title`, `from_name`, `reply_to`, ...
        settings: Option<Object>,
        /// What is counted: `opens`, `html_clicks`, ...
        tracking: Option<Object>,
    }

    SetContent {
        /// The campaign's id.
        campaign_id: String,
        /// Its HTML.
        html: Option<String>,
        /// Its plain text.
        plain_text: Option<String>,
        /// `id` of a template, and `sections`.
        template: Option<Object>,
        /// The address of a page that is taken.
        url: Option<String>,
    }

    SendCampaign {
        /// The campaign's id.
        campaign_id: String,
    }
}

output! {
    Member {
        /// The member's id: the MD5 sum of the address.
        id: String,
        /// The address.
        email_address: String,
        /// What the member is to the audience.
        status: Option<String>,
        /// A name.
        full_name: Option<String>,
        /// Values of the audience's fields.
        merge_fields: Option<Object>,
        /// Tags, each with `id` and `name`.
        #[serde(default)]
        tags: Vec<Object>,
        /// When it was changed.
        last_changed: Option<String>,
        /// The audience's id.
        list_id: Option<String>,
    }

    Audience {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// How many members it has, and the like.
        stats: Option<Object>,
        /// When it was made.
        date_created: Option<String>,
    }

    Audiences {
        /// The audiences.
        lists: Vec<Audience>,
        /// How many there are in all.
        total_items: Option<u64>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Campaign {
        /// Its id.
        id: String,
        /// `save`, `paused`, `schedule`, `sending` or `sent`.
        status: Option<String>,
        /// Where people see it.
        archive_url: Option<String>,
        /// Its settings.
        settings: Option<Object>,
    }

    Content {
        /// Its HTML.
        html: Option<String>,
        /// Its plain text.
        plain_text: Option<String>,
    }
}

/// A member is found by the MD5 sum of the address in lower case.
fn hash(email: &str) -> String {
    hex(&Md5::digest(email.to_lowercase().as_bytes()))
}

/// Puts the member into the path, behind the audience.
fn member(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let email = match fields.get("email_address").and_then(|e| e.as_str()) {
        Some(email) if email.contains('@') => email.to_owned(),
        _ => return Err(Error::invalid("connector.input_invalid", "this is no mail address").at("/email_address")),
    };
    // Only a new member is told the address.
    if ask.method != "PUT" {
        take_text(fields, "email_address");
    }
    ask.path = ask.path.replace("MEMBER", &percent(&hash(&email), b""));
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<UpsertMember, Member>(
                "upsert_member",
                "Add or change a member",
                "Adds a member to an audience, or changes the one who has this address.",
            )
            .put("3.0/lists/{list_id}/members/MEMBER")
            .query(&["skip_merge_validation"])
            .shape(member),
            call::<GetMember, Member>(
                "get_member",
                "Get a member",
                "Gets the member of an audience with this address.",
            )
            .get("3.0/lists/{list_id}/members/MEMBER")
            .shape(member),
            call::<ArchiveMember, Done>("archive_member", "Archive a member", "Takes a member out of an audience.")
                .delete("3.0/lists/{list_id}/members/MEMBER")
                .shape(member)
                .status(&[]),
            call::<TagMember, Done>("tag_member", "Tag a member", "Adds tags to a member, or takes them away.")
                .post("3.0/lists/{list_id}/members/MEMBER/tags")
                .shape(member)
                .natural()
                .status(&[]),
            call::<ListAudiences, Audiences>("list_audiences", "List audiences", "Lists the audiences.")
                .get("3.0/lists")
                .pages(Pages {
                    items: "/lists",
                    next: Next::Total("/total_items", "offset"),
                }),
            call::<CreateCampaign, Campaign>("create_campaign", "Make a campaign", "Makes the draft of a campaign.")
                .post("3.0/campaigns"),
            call::<SetContent, Content>("set_content", "Set a campaign's content", "Says what is in a campaign.")
                .put("3.0/campaigns/{campaign_id}/content"),
            call::<SendCampaign, Done>("send_campaign", "Send a campaign", "Sends a campaign to its audience.")
                .post("3.0/campaigns/{campaign_id}/actions/send")
                .shape(|ask, _, _| {
                    ask.body = Some(vec![]);
                    Ok(())
                })
                .destructive()
                .status(&[]),
        ],
    )
}
