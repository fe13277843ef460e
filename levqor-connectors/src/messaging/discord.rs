//! Discord: messages, threads, members. <https://discord.com/developers/docs/reference>

use levqor_core::connector::{AuthKind, Received};
use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::content::TextOrNumber;
use crate::api::hook::{Hooks, Scheme, Told, at, heard};
use crate::api::request::fill;
use crate::api::{Api, Ask, Auth, Class, Done, Faults, Next, Object, Pages, Session, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://discord.com/developers/docs/reference",
    base: "https://discord.com",
    auth: &[
        Auth::Header(&[(("token", "the bot's token"), "authorization", "Bot ")]),
        Auth::Own(
            AuthKind::ApiKey,
            &[
                ("webhook_id", "the id of a channel's webhook, for `execute_webhook`"),
                ("webhook_token", "its token: the last part of its URL"),
            ],
        ),
    ],
    // Discord turns away programs that do not call themselves so.
    headers: &[(
        "user-agent",
        concat!(
            "DiscordBot (https://crates.io/crates/levqor, ",
            env!("CARGO_PKG_VERSION"),
            ")"
        ),
    )],
    budgets: &[(50, Millis::secs(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/code"],
        rules: &[
            ("50001", Class::Permission),
            ("50013", Class::Permission),
            ("10003", Class::NotFound),
            ("10008", Class::NotFound),
            ("10015", Class::NotFound),
            ("40062", Class::RateLimited),
            ("20028", Class::RateLimited),
            ("50035", Class::Invalid),
            ("130000", Class::Unavailable),
        ],
        waits: &[Wait::Body("/retry_after"), Wait::In("x-ratelimit-reset-after")],
        ..Faults::HTTP
    },
    ..Vendor::new("discord", "Discord", "Messages, threads and members of a Discord server.")
};

input! {
    /// A message: `content`, `embeds`, `poll` or stickers.
    SendMessage {
        /// The channel's or thread's id.
        channel_id: String,
        /// The text.
        #[schemars(length(max = 4000))]
        content: Option<String>,
        /// Rich parts: `title`, `description`, `url`, `color`, `fields`, ...
        #[schemars(length(max = 10))]
        embeds: Option<Vec<Object>>,
        /// Whom it may mention: `parse`, `users`, `roles`, `replied_user`.
        allowed_mentions: Option<Object>,
        /// What it answers: `message_id`.
        message_reference: Option<Object>,
        /// Buttons and the like.
        components: Option<Vec<Object>>,
        /// A poll.
        poll: Option<Object>,
        /// Flags, added up.
        flags: Option<u32>,
        /// Is read out.
        tts: Option<bool>,
    }

    /// What is not given stays.
    EditMessage {
        /// The channel's id.
        channel_id: String,
        /// The message's id.
        message_id: String,
        /// The new text.
        #[schemars(length(max = 4000))]
        content: Option<String>,
        /// The new rich parts.
        #[schemars(length(max = 10))]
        embeds: Option<Vec<Object>>,
        /// Whom it may mention.
        allowed_mentions: Option<Object>,
        /// The new buttons and the like.
        components: Option<Vec<Object>>,
        /// Flags, added up.
        flags: Option<u32>,
    }

    DeleteMessage {
        /// The channel's id.
        channel_id: String,
        /// The message's id.
        message_id: String,
    }

    ListMessages {
        /// The channel's id.
        channel_id: String,
        /// Only messages before the one with this id; the `next` of an earlier answer.
        before: Option<String>,
        /// Only messages after the one with this id.
        after: Option<String>,
        /// Messages around the one with this id.
        around: Option<String>,
        /// Messages a page, at most 100; 50 if not given.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
    }

    CreateThread {
        /// The channel's id.
        channel_id: String,
        /// The message that it begins with; without one, the thread stands by itself.
        message_id: Option<String>,
        /// Its name.
        #[schemars(length(min = 1, max = 100))]
        name: String,
        /// Minutes without a message until it is hidden: 60, 1440, 4320 or 10080.
        auto_archive_duration: Option<u32>,
        /// 11 is public, 12 is private, 10 is one for announcements; without a message only.
        #[serde(rename = "type")]
        kind: Option<u8>,
        /// Seconds that each person waits between messages.
        #[schemars(range(max = 21600))]
        rate_limit_per_user: Option<u32>,
    }

    AddReaction {
        /// The channel's id.
        channel_id: String,
        /// The message's id.
        message_id: String,
        /// The emoji itself, or `name:id` of the server's own.
        emoji: String,
    }

    ListMembers {
        /// The server's id.
        guild_id: String,
        /// Members a page, at most 1000, which it is if not given.
        #[schemars(range(min = 1, max = 1000))]
        limit: Option<u32>,
        /// Only members behind the one with this user id; the `next` of an earlier answer.
        after: Option<TextOrNumber>,
    }

    ListChannels {
        /// The server's id.
        guild_id: String,
    }

    /// A message through the webhook of the connection: `content`, `embeds` or `poll`.
    ExecuteWebhook {
        /// The text.
        #[schemars(length(max = 2000))]
        content: Option<String>,
        /// The name that it is shown under.
        #[schemars(length(max = 80))]
        username: Option<String>,
        /// The picture that it is shown with.
        avatar_url: Option<String>,
        /// Rich parts.
        #[schemars(length(max = 10))]
        embeds: Option<Vec<Object>>,
        /// Whom it may mention.
        allowed_mentions: Option<Object>,
        /// A poll.
        poll: Option<Object>,
        /// The name of a new thread, in a channel of threads.
        #[schemars(length(max = 100))]
        thread_name: Option<String>,
        /// The thread that it goes to.
        thread_id: Option<String>,
        /// Flags, added up.
        flags: Option<u32>,
    }
}

output! {
    Message {
        /// The message's id.
        id: String,
        /// The channel's id.
        channel_id: String,
        /// Its text.
        content: Option<String>,
        /// Who wrote it.
        author: Option<Object>,
        /// When.
        timestamp: Option<String>,
        /// When it was changed.
        edited_timestamp: Option<String>,
        /// Its rich parts.
        #[serde(default)]
        embeds: Vec<Object>,
        /// Its files.
        #[serde(default)]
        attachments: Vec<Object>,
    }

    Messages {
        /// The messages, newest first.
        items: Vec<Message>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Channel {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// 0 is for texts, 2 for voices, 4 a group of channels, 5 announcements, 15 threads.
        #[serde(rename = "type")]
        kind: u8,
        /// What it lies in.
        parent_id: Option<String>,
        /// Its topic.
        topic: Option<String>,
        /// The server's id.
        guild_id: Option<String>,
    }

    Channels {
        /// The channels.
        items: Vec<Channel>,
    }

    Member {
        /// `id`, `username`, `global_name`, ...
        user: Option<Object>,
        /// The name on this server.
        nick: Option<String>,
        /// Ids of the roles.
        roles: Vec<String>,
        /// Since when.
        joined_at: Option<String>,
    }

    Members {
        /// The members.
        items: Vec<Member>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

/// Longer ones are refused.
const LONGEST_NONCE: usize = 25;

/// Within a few minutes, Discord answers a message with a nonce that it knows with the message that there is.
fn nonce(_: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    let mut nonce = session.cx.derived_id("discord.message");
    nonce.truncate(LONGEST_NONCE);
    fields.insert("nonce".into(), nonce.into());
    fields.insert("enforce_nonce".into(), true.into());
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMessage, Message>("send_message", "Send a message", "Sends a message to a channel or thread.")
                .post("api/v10/channels/{channel_id}/messages")
                .shape(nonce)
                .keyed()
                .scopes(&["SEND_MESSAGES"]),
            call::<EditMessage, Message>("edit_message", "Change a message", "Changes a message that the bot sent.")
                .patch("api/v10/channels/{channel_id}/messages/{message_id}"),
            call::<DeleteMessage, Done>("delete_message", "Delete a message", "Deletes a message for good.")
                .delete("api/v10/channels/{channel_id}/messages/{message_id}")
                .status(&[])
                .scopes(&["MANAGE_MESSAGES"]),
            call::<ListMessages, Messages>("list_messages", "List messages", "Reads a channel's messages, newest first.")
                .get("api/v10/channels/{channel_id}/messages")
                .pages(Pages {
                    items: "",
                    next: Next::Full("before", "limit", 50, "/id"),
                })
                .scopes(&["VIEW_CHANNEL", "READ_MESSAGE_HISTORY"]),
            call::<CreateThread, Channel>(
                "create_thread",
                "Begin a thread",
                "Begins a thread, from a message or by itself.",
            )
            .post("api/v10/channels/{channel_id}/threads")
            .shape(|ask, fields, _| {
                if !fields.contains_key("message_id") {
                    return Ok(());
                }
                let path = ask.path.trim_end_matches("/threads").to_owned();
                ask.path = path + &fill("/messages/{message_id}/threads", fields, |_| None)?;
                Ok(())
            })
            .scopes(&["CREATE_PUBLIC_THREADS"]),
            call::<AddReaction, Done>("add_reaction", "Add a reaction", "Adds an emoji to a message.")
                .put("api/v10/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me")
                .status(&[])
                .scopes(&["ADD_REACTIONS"]),
            call::<ListMembers, Members>("list_members", "List members", "Lists the members of a server.")
                .get("api/v10/guilds/{guild_id}/members")
                .shape(|_, fields, _| {
                    fields.entry("limit").or_insert_with(|| json!(1000));
                    Ok(())
                })
                .pages(Pages {
                    items: "",
                    next: Next::Full("after", "limit", 1000, "/user/id"),
                })
                .scopes(&["GUILD_MEMBERS"]),
            call::<ListChannels, Channels>("list_channels", "List channels", "Lists the channels of a server.")
                .get("api/v10/guilds/{guild_id}/channels")
                .decode(|body| match serde_json::from_slice(body) {
                    Ok(items @ Value::Array(_)) => json!({"items": items}),
                    _ => Value::Null,
                })
                .scopes(&["VIEW_CHANNEL"]),
            call::<ExecuteWebhook, Message>(
                "execute_webhook",
                "Send through a webhook",
                "Sends a message through the webhook of a channel, which needs no bot.",
            )
            .post("api/v10/webhooks/{@webhook_id}/{@webhook_token}")
            .query(&["thread_id"])
            .shape(|ask, _, _| {
                ask.query.push(("wait".into(), "true".into()));
                Ok(())
            }),
        ],
    )
    .hears(hooks())
}

output! {
    /// A command, a tap on a button, a form that was filled in.
    Interaction {
        /// Its id.
        id: String,
        /// 2 is a command, 3 a button or a list, 4 a word to complete, 5 a form.
        #[serde(rename = "type")]
        kind: u8,
        /// Goes on with it within 15 minutes.
        token: String,
        /// The app.
        application_id: Option<String>,
        /// The server.
        guild_id: Option<String>,
        /// The channel.
        channel_id: Option<String>,
        /// Who, on a server.
        member: Option<Object>,
        /// Who, elsewhere.
        user: Option<Object>,
        /// The message that the button is on.
        message: Option<Object>,
        /// What was chosen.
        data: Option<Object>,
    }

    /// Something that happened to an app.
    Happened {
        /// What: `APPLICATION_AUTHORIZED`, ...
        #[serde(rename = "type")]
        kind: String,
        /// When.
        timestamp: Option<String>,
        /// What it happened to.
        data: Option<Object>,
    }
}

/// Webhooks of events have a number in `version`, interactions have a token.
fn hooks() -> Hooks {
    let secret = ("public_key", "the app's public key, which proves what Discord sends");
    let interaction = heard::<Interaction>(
        "interaction",
        "Somebody did something",
        "Somebody uses a command or a button of the app.",
        |_, body| {
            if body.get("token").is_none() {
                return vec![];
            }
            vec![Told {
                id: at(body, "/id"),
                kind: at(body, "/type"),
                at: None,
                data: body.clone(),
            }]
        },
    );
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Discord tells what happened to the app.",
        |_, body| match body.get("event") {
            Some(event) => vec![Told {
                id: format!("{}@{}", at(event, "/type"), at(event, "/timestamp")),
                kind: at(event, "/type"),
                at: None,
                data: event.clone(),
            }],
            None => vec![],
        },
    );
    Hooks {
        greet: |_, body| match (body.get("event").is_some(), body["type"].as_u64(), body.get("token")) {
            // An interaction of type 1 wants the same back.
            (false, Some(1), Some(_)) => Some(Received::Answer {
                status: 200,
                content_type: "application/json",
                body: "{\"type\":1}".into(),
            }),
            (false, Some(0), _) => Some(Received::Answer {
                status: 204,
                content_type: "text/plain",
                body: String::new(),
            }),
            _ => None,
        },
        ..Hooks::new(
            secret,
            Scheme::Ed25519 {
                signature: "x-signature-ed25519",
                time: "x-signature-timestamp",
            },
            vec![interaction, event],
        )
    }
}
