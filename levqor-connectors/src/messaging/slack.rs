//! Slack: messages, channels, files. <https://docs.slack.dev/reference/methods>
//!
//! Slack answers 200 to nearly everything and says by `ok` whether it worked.

use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::content::{take_bytes, take_text};
use crate::api::hook::{Hash, Hooks, Part, Place, Scheme, Text, Time, Told, at, heard, plain, seconds};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.slack.dev/reference/methods",
    base: "https://slack.com/api",
    auth: &[Auth::Renewed(&Grant::code("https://slack.com/api/oauth.v2.access"))],
    budgets: &[(100, Millis::mins(1))],
    key_header: "",
    faults: Faults {
        codes: &["/error"],
        ok: "/ok",
        rules: &[
            ("token_expired", Class::Expired),
            ("token_revoked", Class::Unauthorized),
            ("invalid_auth", Class::Unauthorized),
            ("not_authed", Class::Unauthorized),
            ("account_inactive", Class::Unauthorized),
            ("missing_scope", Class::Permission),
            ("no_permission", Class::Permission),
            ("not_allowed_token_type", Class::Permission),
            ("restricted_action", Class::Permission),
            ("access_denied", Class::Permission),
            ("org_login_required", Class::Permission),
            ("ekm_access_denied", Class::Permission),
            ("not_in_channel", Class::Permission),
            ("channel_not_found", Class::NotFound),
            ("user_not_found", Class::NotFound),
            ("users_not_found", Class::NotFound),
            ("message_not_found", Class::NotFound),
            ("file_not_found", Class::NotFound),
            ("is_archived", Class::Conflict),
            ("already_reacted", Class::Conflict),
            ("cant_update_message", Class::Conflict),
            ("edit_window_closed", Class::Conflict),
            ("ratelimited", Class::RateLimited),
            ("rate_limited", Class::RateLimited),
            ("message_limit_exceeded", Class::Quota),
            ("internal_error", Class::Unavailable),
            ("fatal_error", Class::Unavailable),
            ("service_unavailable", Class::Unavailable),
            ("request_timeout", Class::Timeout),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("slack", "Slack", "Messages, channels and files of a Slack workspace.")
};

input! {
    /// A message: `text`, `blocks` or `attachments`.
    PostMessage {
        /// The channel's id or name, or a user's id.
        channel: String,
        /// The text; with blocks, what notifications show.
        text: Option<String>,
        /// Blocks of Block Kit.
        blocks: Option<Vec<Object>>,
        /// Attachments of the older kind.
        attachments: Option<Vec<Object>>,
        /// The `ts` of the message that this one answers.
        thread_ts: Option<String>,
        /// With `thread_ts`: shows the answer in the channel too.
        reply_broadcast: Option<bool>,
        /// Whether links get a preview.
        unfurl_links: Option<bool>,
        /// Whether pictures and videos get a preview.
        unfurl_media: Option<bool>,
        /// Whether Slack's markup is read; yes if not given.
        mrkdwn: Option<bool>,
        /// The name that the message is shown under.
        username: Option<String>,
        /// An emoji as the sender's picture, like `:robot_face:`.
        icon_emoji: Option<String>,
        /// `event_type` and `event_payload`, for programs.
        metadata: Option<Object>,
    }

    UpdateMessage {
        /// The channel's id.
        channel: String,
        /// The message's `ts`.
        ts: String,
        /// The new text.
        text: Option<String>,
        /// The new blocks.
        blocks: Option<Vec<Object>>,
        /// The new attachments.
        attachments: Option<Vec<Object>>,
        /// The new metadata.
        metadata: Option<Object>,
    }

    ListChannels {
        /// Leaves archived channels out.
        exclude_archived: Option<bool>,
        /// Of `public_channel`, `private_channel`, `mpim`, `im`, separated by commas.
        types: Option<String>,
        /// Channels a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        cursor: Option<String>,
        /// The workspace, for a token of an organisation.
        team_id: Option<String>,
    }

    ListMessages {
        /// The channel's id.
        channel: String,
        /// Only messages after this `ts`.
        oldest: Option<String>,
        /// Only messages before this `ts`.
        latest: Option<String>,
        /// Takes the messages at `oldest` and `latest` too.
        inclusive: Option<bool>,
        /// Gives the messages' metadata too.
        include_all_metadata: Option<bool>,
        /// Messages a page, at most 999.
        #[schemars(range(min = 1, max = 999))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        cursor: Option<String>,
    }

    OpenConversation {
        /// Ids of one to eight users, separated by commas.
        users: Option<String>,
        /// Instead of users: a conversation's id.
        channel: Option<String>,
        /// Only looks whether there is such a conversation.
        prevent_creation: Option<bool>,
    }

    FindUser {
        /// The user's address.
        email: String,
    }

    AddReaction {
        /// The channel's id.
        channel: String,
        /// The message's `ts`.
        timestamp: String,
        /// The emoji's name without colons.
        name: String,
    }

    /// A file: `text` or `base64`.
    UploadFile {
        /// The file's name.
        filename: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// Its title.
        title: Option<String>,
        /// The channel's id; without it the file is private.
        channel_id: Option<String>,
        /// The `ts` of the message that the file answers.
        thread_ts: Option<String>,
        /// A message with the file.
        initial_comment: Option<String>,
    }
}

output! {
    Posted {
        /// The channel's id.
        channel: String,
        /// The message's id within the channel.
        ts: String,
        /// The message as Slack made it.
        message: Option<Object>,
    }

    Channel {
        /// Its id.
        id: String,
        /// Its name; conversations between users have none.
        name: Option<String>,
        /// Only for its members.
        is_private: Option<bool>,
        /// Not in use any more.
        is_archived: Option<bool>,
        /// Whether the bot is in it.
        is_member: Option<bool>,
        /// How many are in it.
        num_members: Option<u64>,
        /// Its topic.
        topic: Option<Object>,
        /// Its purpose.
        purpose: Option<Object>,
    }

    Channels {
        /// The channels.
        channels: Vec<Channel>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Messages {
        /// The messages, newest first.
        messages: Vec<Object>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Conversation {
        /// The conversation's id.
        id: String,
    }

    User {
        /// The user's id.
        id: String,
        /// The user's name.
        name: Option<String>,
        /// The user's full name.
        real_name: Option<String>,
        /// The account is closed.
        deleted: Option<bool>,
        /// The user is a program.
        is_bot: Option<bool>,
        /// The time zone.
        tz: Option<String>,
        /// What else the user says of himself.
        profile: Option<Object>,
    }

    Reacted {
        /// Always true.
        ok: bool,
    }

    Uploaded {
        /// The file's id.
        id: String,
        /// Its title.
        title: Option<String>,
        /// Where people see it.
        permalink: Option<String>,
    }
}

const BY_CURSOR: Next = Next::Cursor("/response_metadata/next_cursor", "cursor");

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<PostMessage, Posted>(
                "post_message",
                "Post a message",
                "Posts a message to a channel, a thread or a person.",
            )
            .post("chat.postMessage")
            .scopes(&["chat:write"]),
            call::<UpdateMessage, Posted>("update_message", "Change a message", "Changes a message that the bot posted.")
                .post("chat.update")
                .natural()
                .scopes(&["chat:write"]),
            call::<ListChannels, Channels>("list_channels", "List channels", "Lists channels and other conversations.")
                .get("conversations.list")
                .pages(Pages {
                    items: "/channels",
                    next: BY_CURSOR,
                })
                .scopes(&["channels:read", "groups:read", "im:read", "mpim:read"]),
            call::<ListMessages, Messages>(
                "list_messages",
                "List messages",
                "Reads the messages of a channel, newest first.",
            )
            .get("conversations.history")
            .pages(Pages {
                items: "/messages",
                next: BY_CURSOR,
            })
            .scopes(&["channels:history", "groups:history", "im:history", "mpim:history"]),
            call::<OpenConversation, Conversation>(
                "open_conversation",
                "Open a conversation",
                "Opens a direct message with one or several people, or finds the one that there is.",
            )
            .post("conversations.open")
            .natural()
            .at("/channel")
            .scopes(&["im:write", "mpim:write"]),
            call::<FindUser, User>("find_user", "Find a user by address", "Finds the user with a mail address.")
                .get("users.lookupByEmail")
                .at("/user")
                .scopes(&["users:read.email"]),
            call::<AddReaction, Reacted>("add_reaction", "Add a reaction", "Adds an emoji to a message.")
                .post("reactions.add")
                .natural()
                .scopes(&["reactions:write"]),
            call::<UploadFile, Uploaded>(
                "upload_file",
                "Upload a file",
                "Uploads a file and shares it in a channel or thread.",
            )
            .post("files.completeUploadExternal")
            .run(|session, fields| Box::pin(upload(session, fields)))
            .scopes(&["files:write"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened in a workspace.
    Happened {
        /// The event's id.
        event_id: String,
        /// When, in seconds since 1970.
        event_time: Option<i64>,
        /// The workspace.
        team_id: Option<String>,
        /// The app.
        api_app_id: Option<String>,
        /// What happened: `type`, `user`, `channel`, `text`, `ts`, ...
        event: Object,
    }
}

fn hooks() -> Hooks {
    let secret = ("signing_secret", "what Slack signs events with: the app's signing secret");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Slack tells of a message, a mention, a reaction.",
        |_, body| {
            if body["type"] != "event_callback" {
                return vec![];
            }
            vec![Told {
                id: at(body, "/event_id"),
                kind: at(body, "/event/type"),
                at: seconds(body, "/event_time"),
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "x-slack-signature",
        prefix: "v0=",
        signed: &[Part::Plain("v0:"), Part::Header(TIME), Part::Plain(":"), Part::Body],
        time: Some(Time {
            place: Place::Header(TIME),
            millis: false,
            tolerance: Millis::mins(5),
        }),
    };
    Hooks {
        greet: |_, body| (body["type"] == "url_verification").then(|| plain(at(body, "/challenge"))),
        ..Hooks::new(secret, scheme, vec![event])
    }
}

const TIME: &str = "x-slack-request-timestamp";

/// Asks for a place, puts the bytes there, and shares what lies there. Only the last step can be seen.
async fn upload(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let bytes = take_bytes(&mut fields)?;
    let name = take_text(&mut fields, "filename").unwrap_or_default();
    let mut ask = Ask::new("GET", "files.getUploadURLExternal");
    ask.query = vec![("filename".into(), name.clone()), ("length".into(), bytes.len().to_string())];
    let place = session.send(ask).await?.json()?;
    let (Some(url), Some(id)) = (place["upload_url"].as_str(), place["file_id"].as_str()) else {
        let message = format!("{} was given no place to upload to", session.what());
        return Err(Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message));
    };

    let mut ask = Ask::new("POST", "");
    ask.content("application/octet-stream", bytes);
    // Bytes that nobody was told of leave nothing behind.
    let unseen = |e: Error| e.effect_is(levqor_core::error::Effect::None);
    session.send_to(url, false, ask).await.map_err(unseen)?;

    let title = take_text(&mut fields, "title").unwrap_or(name);
    fields.insert("files".into(), json!([{"id": id, "title": title}]));
    let mut ask = Ask::new("POST", "files.completeUploadExternal");
    ask.json(&Value::Object(fields))?;
    let mut done = session.send(ask).await?.json()?;
    Ok(done.pointer_mut("/files/0").map_or(json!({"id": id}), Value::take))
}
