//! Telegram bots. <https://core.telegram.org/bots/api>

use levqor_core::error::Result;
use levqor_core::types::Millis;

use crate::api::content::{TextOrNumber, take_bytes, take_text};
use crate::api::hook::{Hooks, Scheme, Told, at, heard, seconds};
use crate::api::{Api, Ask, Auth, Class, Faults, Object, Part, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://core.telegram.org/bots/api",
    base: "https://api.telegram.org",
    auth: &[Auth::Path("bot", "the bot's token, as BotFather gives it")],
    budgets: &[(30, Millis::secs(1))],
    key_header: "",
    faults: Faults {
        codes: &["/error_code"],
        ok: "/ok",
        rules: &[
            // What an unknown token is answered with.
            ("401", Class::Unauthorized),
            ("404", Class::NotFound),
            ("403", Class::Permission),
            ("409", Class::Conflict),
            ("429", Class::RateLimited),
        ],
        waits: &[Wait::Body("/parameters/retry_after")],
        ..Faults::HTTP
    },
    ..Vendor::new("telegram", "Telegram", "Messages of a Telegram bot.")
};

input! {
    SendMessage {
        /// The chat's id, or a channel's `@name`.
        chat_id: TextOrNumber,
        /// The text, up to 4096 characters.
        #[schemars(length(min = 1))]
        text: String,
        /// `MarkdownV2`, `HTML` or `Markdown`.
        parse_mode: Option<String>,
        /// Parts of the text with a meaning, instead of `parse_mode`.
        entities: Option<Vec<Object>>,
        /// How links are previewed.
        link_preview_options: Option<Object>,
        /// Sends without a sound.
        disable_notification: Option<bool>,
        /// Forbids to forward and save it.
        protect_content: Option<bool>,
        /// The forum's topic.
        message_thread_id: Option<i64>,
        /// Which message this one answers.
        reply_parameters: Option<Object>,
        /// Buttons.
        reply_markup: Option<Object>,
    }

    /// A document: `document`, or `filename` with `text` or `base64`.
    SendDocument {
        /// The chat's id, or a channel's `@name`.
        chat_id: TextOrNumber,
        /// The id of a file at Telegram, or a URL that Telegram fetches.
        document: Option<String>,
        /// The name of a file that is uploaded.
        filename: Option<String>,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// A text below it, up to 1024 characters.
        caption: Option<String>,
        /// `MarkdownV2`, `HTML` or `Markdown`.
        parse_mode: Option<String>,
        /// Sends without a sound.
        disable_notification: Option<bool>,
        /// Forbids to forward and save it.
        protect_content: Option<bool>,
        /// The forum's topic.
        message_thread_id: Option<i64>,
        /// Which message this one answers.
        reply_parameters: Option<Object>,
        /// Buttons.
        reply_markup: Option<Object>,
    }

    /// A picture: `photo`, or `filename` with `base64`.
    SendPhoto {
        /// The chat's id, or a channel's `@name`.
        chat_id: TextOrNumber,
        /// The id of a file at Telegram, or a URL that Telegram fetches.
        photo: Option<String>,
        /// The name of a file that is uploaded.
        filename: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// A text below it, up to 1024 characters.
        caption: Option<String>,
        /// `MarkdownV2`, `HTML` or `Markdown`.
        parse_mode: Option<String>,
        /// Hides it until it is tapped on.
        has_spoiler: Option<bool>,
        /// Sends without a sound.
        disable_notification: Option<bool>,
        /// Forbids to forward and save it.
        protect_content: Option<bool>,
        /// The forum's topic.
        message_thread_id: Option<i64>,
        /// Which message this one answers.
        reply_parameters: Option<Object>,
        /// Buttons.
        reply_markup: Option<Object>,
    }

    EditMessage {
        /// The chat's id, or a channel's `@name`.
        chat_id: TextOrNumber,
        /// The message's id.
        message_id: i64,
        /// The new text.
        #[schemars(length(min = 1))]
        text: String,
        /// `MarkdownV2`, `HTML` or `Markdown`.
        parse_mode: Option<String>,
        /// Parts of the text with a meaning, instead of `parse_mode`.
        entities: Option<Vec<Object>>,
        /// How links are previewed.
        link_preview_options: Option<Object>,
        /// Buttons.
        reply_markup: Option<Object>,
    }

    AnswerCallback {
        /// The query's id, from the update.
        callback_query_id: String,
        /// What the person sees, up to 200 characters.
        text: Option<String>,
        /// Shows it as an alert.
        show_alert: Option<bool>,
        /// A game's URL.
        url: Option<String>,
        /// How many seconds the app may keep the answer.
        cache_time: Option<u32>,
    }

    SetWebhook {
        /// Where updates are sent; empty for nowhere.
        url: String,
        /// Sent back in the header `X-Telegram-Bot-Api-Secret-Token`.
        #[schemars(length(min = 1, max = 256), regex(pattern = "^[A-Za-z0-9_-]+$"))]
        secret_token: Option<String>,
        /// Kinds of updates that are sent.
        allowed_updates: Option<Vec<String>>,
        /// Connections at once, 1 to 100.
        #[schemars(range(min = 1, max = 100))]
        max_connections: Option<u32>,
        /// The address to use instead of the name's.
        ip_address: Option<String>,
        /// Forgets the updates that wait.
        drop_pending_updates: Option<bool>,
    }
}

output! {
    Message {
        /// The message's id within the chat.
        message_id: i64,
        /// When it was sent, in seconds since 1970.
        date: Option<i64>,
        /// The chat.
        chat: Option<Object>,
        /// The text.
        text: Option<String>,
        /// The document.
        document: Option<Object>,
        /// The picture in its sizes.
        photo: Option<Vec<Object>>,
    }

    Answered {
        /// Always true.
        ok: bool,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMessage, Message>("send_message", "Send a message", "Sends a text to a chat, group or channel.")
                .post("sendMessage")
                .at("/result"),
            call::<SendDocument, Message>(
                "send_document",
                "Send a document",
                "Sends a file to a chat, group or channel.",
            )
            .post("sendDocument")
            .shape(|ask, fields, _| upload(ask, fields, "document"))
            .at("/result"),
            call::<SendPhoto, Message>("send_photo", "Send a picture", "Sends a picture to a chat, group or channel.")
                .post("sendPhoto")
                .shape(|ask, fields, _| upload(ask, fields, "photo"))
                .at("/result"),
            call::<EditMessage, Message>(
                "edit_message",
                "Change a message",
                "Changes the text of a message that the bot sent.",
            )
            .post("editMessageText")
            .natural()
            .at("/result"),
            call::<AnswerCallback, Answered>(
                "answer_callback",
                "Answer a button",
                "Answers the tap on a button below a message.",
            )
            .post("answerCallbackQuery")
            .natural(),
            call::<SetWebhook, Answered>(
                "set_webhook",
                "Set the webhook",
                "Says where Telegram sends the bot's updates.",
            )
            .post("setWebhook")
            .natural(),
        ],
    )
    .hears(hooks())
}

output! {
    /// An update: one of these besides its number.
    Update {
        /// Its number.
        update_id: i64,
        /// A message to the bot.
        message: Option<Object>,
        /// A message that was changed.
        edited_message: Option<Object>,
        /// A post in a channel.
        channel_post: Option<Object>,
        /// A post that was changed.
        edited_channel_post: Option<Object>,
        /// A button that was tapped.
        callback_query: Option<Object>,
        /// Words behind the bot's name, typed anywhere.
        inline_query: Option<Object>,
        /// The bot was let in, blocked, thrown out.
        my_chat_member: Option<Object>,
        /// Somebody came or went.
        chat_member: Option<Object>,
        /// Somebody wants to come in.
        chat_join_request: Option<Object>,
        /// A payment that can be confirmed.
        pre_checkout_query: Option<Object>,
        /// Somebody answered a poll.
        poll_answer: Option<Object>,
    }
}

fn hooks() -> Hooks {
    let secret = (
        "webhook_secret",
        "what Telegram shows with every update: the `secret_token` of `set_webhook`",
    );
    let update = heard::<Update>(
        "update",
        "Somebody wrote",
        "Telegram tells of a message, a tap, a change.",
        |_, body| {
            let kinds = body.as_object().into_iter().flatten();
            let kind = kinds.map(|(name, _)| name).find(|name| *name != "update_id");
            vec![Told {
                id: at(body, "/update_id"),
                kind: kind.cloned().unwrap_or_default(),
                at: seconds(body, "/message/date"),
                data: body.clone(),
            }]
        },
    );
    Hooks::new(secret, Scheme::Shown("x-telegram-bot-api-secret-token"), vec![update])
}

/// A file that Telegram does not have yet goes as a part of a form.
fn upload(ask: &mut Ask, fields: &mut Object, field: &str) -> Result<()> {
    if fields.contains_key(field) && !fields.contains_key("filename") {
        return Ok(());
    }
    fields.remove(field);
    let bytes = take_bytes(fields)?;
    let name = take_text(fields, "filename").unwrap_or_else(|| field.to_owned());
    let texts: Vec<(String, String)> = fields
        .iter()
        .map(|(n, v)| (n.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
        .collect();
    let mut parts: Vec<Part<'_>> = texts
        .iter()
        .map(|(name, text)| Part {
            name: Some(name),
            file: None,
            kind: None,
            body: text.as_bytes(),
        })
        .collect();
    parts.push(Part {
        name: Some(field),
        file: Some(&name),
        kind: Some("application/octet-stream"),
        body: &bytes,
    });
    ask.multipart("form-data", &parts);
    Ok(())
}
