//! Microsoft Teams: messages and channels. <https://learn.microsoft.com/en-us/graph/api/resources/teams-api-overview>

use levqor_core::error::{Error, Result};
use serde_json::json;

use super::{NEXT, graph, odata};
use crate::api::{Api, Ask, Object, Pages, Session, Vendor, call, input, output};

static VENDOR: Vendor = graph(
    "teams",
    "Microsoft Teams",
    "Messages and channels of Microsoft Teams.",
    "https://learn.microsoft.com/en-us/graph/api/resources/teams-api-overview",
);

input! {
    /// A message: `text` or `html`.
    SendMessage {
        /// The team's id.
        team: String,
        /// The channel's id.
        channel: String,
        /// The text.
        text: Option<String>,
        /// The text as HTML.
        html: Option<String>,
        /// The title.
        subject: Option<String>,
        /// `normal`, `high` or `urgent`.
        importance: Option<String>,
    }

    /// An answer: `text` or `html`.
    Reply {
        /// The team's id.
        team: String,
        /// The channel's id.
        channel: String,
        /// The message's id.
        message: String,
        /// The text.
        text: Option<String>,
        /// The text as HTML.
        html: Option<String>,
    }

    /// A message: `text` or `html`.
    SendChat {
        /// The chat's id.
        chat: String,
        /// The text.
        text: Option<String>,
        /// The text as HTML.
        html: Option<String>,
        /// `normal`, `high` or `urgent`.
        importance: Option<String>,
    }

    ListChannels {
        /// The team's id.
        team: String,
        /// A condition: `membershipType eq 'private'`.
        filter: Option<String>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    CreateChannel {
        /// The team's id.
        team: String,
        /// Its name.
        #[schemars(length(min = 1, max = 50))]
        display_name: String,
        /// What it is for.
        description: Option<String>,
        /// `standard`, `private` or `shared`.
        membership_type: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Message {
        /// Its id.
        id: String,
        /// When it was made.
        created_date_time: Option<String>,
        /// Who wrote it.
        from: Option<Object>,
        /// `contentType` and `content`.
        body: Option<Object>,
        /// The message that it answers.
        reply_to_id: Option<String>,
        /// Where people see it.
        web_url: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Channel {
        /// Its id.
        id: String,
        /// Its name.
        display_name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// `standard`, `private` or `shared`.
        membership_type: Option<String>,
        /// Its mail address.
        email: Option<String>,
        /// Where people see it.
        web_url: Option<String>,
    }

    Channels {
        /// The channels.
        value: Vec<Channel>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

fn message(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let body = match (fields.remove("text"), fields.remove("html")) {
        (Some(text), None) => json!({"contentType": "text", "content": text}),
        (None, Some(html)) => json!({"contentType": "html", "content": html}),
        _ => return Err(Error::invalid("connector.content_missing", "a message is given as `text` or as `html`").at("/text")),
    };
    fields.insert("body".into(), body);
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMessage, Message>("send_message", "Post in a channel", "Posts a message in a channel.")
                .post("v1.0/teams/{team}/channels/{channel}/messages")
                .shape(message)
                .scopes(&["ChannelMessage.Send"]),
            call::<Reply, Message>("reply", "Answer in a channel", "Answers a message in a channel.")
                .post("v1.0/teams/{team}/channels/{channel}/messages/{message}/replies")
                .shape(message)
                .scopes(&["ChannelMessage.Send"]),
            call::<SendChat, Message>("send_chat_message", "Write in a chat", "Sends a message to a chat.")
                .post("v1.0/chats/{chat}/messages")
                .shape(message)
                .scopes(&["ChatMessage.Send"]),
            call::<ListChannels, Channels>("list_channels", "List channels", "Lists the channels of a team.")
                .get("v1.0/teams/{team}/channels")
                .shape(odata)
                .pages(Pages {
                    items: "/value",
                    next: NEXT,
                })
                .scopes(&["Channel.ReadBasic.All"]),
            call::<CreateChannel, Channel>("create_channel", "Make a channel", "Makes a channel in a team.")
                .post("v1.0/teams/{team}/channels")
                .scopes(&["Channel.Create"]),
        ],
    )
}
