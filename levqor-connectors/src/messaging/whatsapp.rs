//! WhatsApp, by Meta's Cloud API. <https://developers.facebook.com/docs/whatsapp/cloud-api>

use aws_lc_rs::constant_time::verify_slices_are_equal;
use levqor_core::connector::{Hook, Received};
use levqor_core::error::{Error, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::content::{shown_bytes, take_bytes, take_text};
use crate::api::hook::{self, Hash, Hooks, Scheme, Told, at, heard, seconds};
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Part, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.facebook.com/docs/whatsapp/cloud-api",
    base: "https://graph.facebook.com",
    auth: &[Auth::Bearer("the access token of a system user")],
    settings: &[
        ("phone_number_id", "the id of the number that messages come from"),
        (
            "business_account_id",
            "the id of the WhatsApp Business account, for templates",
        ),
    ],
    budgets: &[(80, Millis::secs(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/error/code", "/error/error_subcode", "/error/type"],
        rules: &[
            ("190", Class::Expired),
            ("0", Class::Unauthorized),
            ("3", Class::Permission),
            ("10", Class::Permission),
            ("200", Class::Permission),
            ("4", Class::RateLimited),
            ("80007", Class::RateLimited),
            ("130429", Class::RateLimited),
            ("131048", Class::RateLimited),
            ("131056", Class::RateLimited),
            ("133016", Class::RateLimited),
            ("131042", Class::Declined),
            ("131047", Class::Conflict),
            ("131049", Class::Conflict),
            ("131026", Class::Invalid),
            ("132000", Class::Invalid),
            ("132001", Class::NotFound),
            ("1", Class::Unavailable),
            ("2", Class::Unavailable),
            ("131000", Class::Unavailable),
            ("131016", Class::Unavailable),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("whatsapp", "WhatsApp", "Messages through the WhatsApp Business platform.")
};

input! {
    SendText {
        /// The number with the country's code.
        to: String,
        /// The text.
        #[schemars(length(min = 1, max = 4096))]
        body: String,
        /// Shows a preview of the first link.
        preview_url: Option<bool>,
        /// The id of the message that this one answers.
        reply_to: Option<String>,
    }

    /// The only kind of message to a person who has not written within a day.
    SendTemplate {
        /// The number with the country's code.
        to: String,
        /// The template's name.
        name: String,
        /// Its language: `en_US`.
        language: String,
        /// What stands in its places: each with `type` (`header`, `body`, `button`) and `parameters`.
        components: Option<Vec<Object>>,
    }

    /// A file: at `link`, or one that was uploaded, by `id`.
    SendMedia {
        /// The number with the country's code.
        to: String,
        /// `image`, `video`, `audio`, `document` or `sticker`.
        kind: String,
        /// Where it lies.
        link: Option<String>,
        /// Its id.
        id: Option<String>,
        /// A text with it; not for audio and stickers.
        caption: Option<String>,
        /// A document's name.
        filename: Option<String>,
        /// The id of the message that this one answers.
        reply_to: Option<String>,
    }

    /// Buttons, a list, or a link.
    SendInteractive {
        /// The number with the country's code.
        to: String,
        /// `type` (`button`, `list`, `cta_url`, ...), `body`, `action`, and `header` and `footer` if there are any.
        interactive: Object,
        /// The id of the message that this one answers.
        reply_to: Option<String>,
    }

    MarkAsRead {
        /// The message's id, as the webhook gave it.
        message_id: String,
        /// Shows the person that somebody writes.
        typing: Option<bool>,
    }

    /// A file: `text` or `base64`.
    UploadMedia {
        /// Its media type, like `image/png`.
        #[serde(rename = "type")]
        kind: String,
        /// Its name.
        filename: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
    }

    DownloadMedia {
        /// The file's id.
        media_id: String,
    }

    ListTemplates {
        /// Only the one of this name.
        name: Option<String>,
        /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED` or `DISABLED`.
        status: Option<String>,
        /// Templates a page.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }
}

output! {
    Sent {
        /// The messages: each with `id`.
        messages: Vec<Object>,
        /// Whom it went to: each with `input` and `wa_id`.
        #[serde(default)]
        contacts: Vec<Object>,
    }

    Marked {
        /// Always true.
        success: bool,
    }

    Uploaded {
        /// The file's id.
        id: String,
    }

    Downloaded {
        /// The content, if it is text.
        text: Option<String>,
        /// The content in Base64, if it is not.
        base64: Option<String>,
        /// Its size in bytes.
        size: u64,
        /// Its media type.
        content_type: Option<String>,
    }

    Template {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// `APPROVED`, `PENDING`, `REJECTED`, ...
        status: Option<String>,
        /// `MARKETING`, `UTILITY` or `AUTHENTICATION`.
        category: Option<String>,
        /// Its language.
        language: Option<String>,
        /// Its parts.
        #[serde(default)]
        components: Vec<Object>,
    }

    Templates {
        /// The templates.
        data: Vec<Template>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }
}

const MESSAGES: &str = "v23.0/{@phone_number_id}/messages";

/// What every message has, around what it is.
fn message(fields: &mut Object, kind: &str, content: Value) {
    let mut body = Object::new();
    body.insert("messaging_product".into(), "whatsapp".into());
    body.insert("recipient_type".into(), "individual".into());
    if let Some(to) = fields.remove("to") {
        body.insert("to".into(), to);
    }
    if let Some(id) = fields.remove("reply_to") {
        body.insert("context".into(), json!({"message_id": id}));
    }
    body.insert("type".into(), kind.into());
    body.insert(kind.to_owned(), content);
    *fields = body;
}

fn text(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let mut content = json!({"body": fields.remove("body")});
    if let Some(preview) = fields.remove("preview_url") {
        content["preview_url"] = preview;
    }
    message(fields, "text", content);
    Ok(())
}

fn template(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let mut content = json!({"name": fields.remove("name"), "language": {"code": fields.remove("language")}});
    if let Some(components) = fields.remove("components") {
        content["components"] = components;
    }
    message(fields, "template", content);
    Ok(())
}

fn media(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let kind = take_text(fields, "kind").unwrap_or_default();
    if !["image", "video", "audio", "document", "sticker"].contains(&kind.as_str()) {
        let message = "a file is an image, video, audio, document or sticker";
        return Err(Error::invalid("connector.input_invalid", message).at("/kind"));
    }
    if fields.contains_key("link") == fields.contains_key("id") {
        return Err(Error::invalid("connector.content_missing", "a file is given as `link` or as `id`").at("/link"));
    }
    let mut content = Object::new();
    for name in ["link", "id", "caption", "filename"] {
        if let Some(value) = fields.remove(name) {
            content.insert(name.into(), value);
        }
    }
    message(fields, &kind, content.into());
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendText, Sent>(
                "send_text",
                "Send a text",
                "Sends a text to a person who has written within a day.",
            )
            .post(MESSAGES)
            .shape(text)
            .scopes(&["whatsapp_business_messaging"]),
            call::<SendTemplate, Sent>(
                "send_template",
                "Send a template",
                "Sends a message made of an approved template.",
            )
            .post(MESSAGES)
            .shape(template)
            .scopes(&["whatsapp_business_messaging"]),
            call::<SendMedia, Sent>("send_media", "Send a file", "Sends a picture, a recording or a document.")
                .post(MESSAGES)
                .shape(media)
                .scopes(&["whatsapp_business_messaging"]),
            call::<SendInteractive, Sent>(
                "send_interactive",
                "Send buttons or a list",
                "Sends a message that is answered by a tap.",
            )
            .post(MESSAGES)
            .shape(|_, fields, _| {
                let content = fields.remove("interactive").unwrap_or_default();
                message(fields, "interactive", content);
                Ok(())
            })
            .scopes(&["whatsapp_business_messaging"]),
            call::<MarkAsRead, Marked>("mark_as_read", "Mark as read", "Shows a person that the message was read.")
                .post(MESSAGES)
                .natural()
                .shape(|_, fields, _| {
                    fields.insert("messaging_product".into(), "whatsapp".into());
                    fields.insert("status".into(), "read".into());
                    if fields.remove("typing") == Some(Value::Bool(true)) {
                        fields.insert("typing_indicator".into(), json!({"type": "text"}));
                    }
                    Ok(())
                })
                .scopes(&["whatsapp_business_messaging"]),
            call::<UploadMedia, Uploaded>("upload_media", "Upload a file", "Uploads a file, to be sent within 30 days.")
                .post("v23.0/{@phone_number_id}/media")
                .shape(upload)
                .scopes(&["whatsapp_business_messaging"]),
            call::<DownloadMedia, Downloaded>(
                "download_media",
                "Read a file",
                "Reads a file that a person sent, of at most 16 MiB.",
            )
            .get("v23.0/{media_id}")
            .run(|session, fields| Box::pin(download(session, fields)))
            .scopes(&["whatsapp_business_messaging"]),
            call::<ListTemplates, Templates>("list_templates", "List templates", "Lists the account's templates.")
                .get("v23.0/{@business_account_id}/message_templates")
                .pages(Pages {
                    items: "/data",
                    // There is a cursor at the end too; only the address of a next page says that there is one.
                    next: Next::Uri("/paging/next"),
                })
                .scopes(&["whatsapp_business_management"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// A message that a person sent.
    Message {
        /// The message's id.
        id: String,
        /// Who sent it.
        from: String,
        /// `text`, `image`, `button`, `interactive`, ...
        #[serde(rename = "type")]
        kind: String,
        /// When, in seconds since 1970.
        timestamp: String,
        /// Its text: `body`.
        text: Option<Object>,
        /// A picture, and so on: `id`, `mime_type`, `sha256`.
        image: Option<Object>,
        /// A recording.
        audio: Option<Object>,
        /// A film.
        video: Option<Object>,
        /// A document.
        document: Option<Object>,
        /// A place.
        location: Option<Object>,
        /// A button of a template that was tapped.
        button: Option<Object>,
        /// A button or a row that was tapped.
        interactive: Option<Object>,
        /// The message that it answers.
        context: Option<Object>,
        /// The number that it was sent to: `phone_number_id`, `display_phone_number`.
        metadata: Option<Object>,
    }

    /// How it stands with a message that was sent.
    Status {
        /// The message's id.
        id: String,
        /// `sent`, `delivered`, `read` or `failed`.
        status: String,
        /// When, in seconds since 1970.
        timestamp: String,
        /// To whom.
        recipient_id: Option<String>,
        /// What it costs.
        pricing: Option<Object>,
        /// Why it failed.
        #[serde(default)]
        errors: Vec<Object>,
    }
}

/// Everything of one name in a request, with the number that it belongs to.
fn all(body: &Value, name: &str) -> Vec<Value> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut out = Vec::new();
    for change in list(body, "entry").iter().flat_map(|entry| list(entry, "changes")) {
        for mut item in list(&change["value"], name) {
            item["metadata"] = change["value"]["metadata"].clone();
            out.push(item);
        }
    }
    out
}

fn hooks() -> Hooks {
    let secret = ("app_secret", "what Meta signs events with: the app's secret");
    let message = heard::<Message>("message", "Somebody wrote", "A person sends a message.", |_, body| {
        let told = |m: Value| Told {
            id: at(&m, "/id"),
            kind: at(&m, "/type"),
            at: seconds(&m, "/timestamp"),
            data: m,
        };
        all(body, "messages").into_iter().map(told).collect()
    });
    let status = heard::<Status>(
        "status",
        "A message went on",
        "A message was sent, delivered, read, or failed.",
        |_, body| {
            let told = |m: Value| Told {
                id: format!("{}-{}", at(&m, "/id"), at(&m, "/status")),
                kind: at(&m, "/status"),
                at: seconds(&m, "/timestamp"),
                data: m,
            };
            all(body, "statuses").into_iter().map(told).collect()
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: hook::Text::Hex,
        header: "x-hub-signature-256",
        prefix: "sha256=",
        signed: &[hook::Part::Body],
        time: None,
    };
    Hooks {
        ask: subscribe,
        ..Hooks::new(secret, scheme, vec![message, status])
    }
}

/// Meta asks once whether somebody is there, with a word that was agreed.
fn subscribe(hook: &Hook<'_>) -> Result<Option<Received>> {
    if hook.method != "GET" {
        return Ok(None);
    }
    let words = hook::secrets(hook, "verify_token")?;
    let query: Vec<(String, String)> = match hook.url.split_once('?') {
        Some((_, query)) => url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        None => vec![],
    };
    let field = |name: &str| query.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let said = field("hub.verify_token").as_bytes();
    let known = words
        .iter()
        .any(|word| verify_slices_are_equal(word.as_bytes(), said).is_ok());
    if known && field("hub.mode") == "subscribe" {
        return Ok(Some(hook::plain(field("hub.challenge"))));
    }
    let message = "this is not the word that was agreed";
    Err(Error::new(
        levqor_core::error::ErrorKind::Denied,
        "webhook.signature_invalid",
        message,
    ))
}

fn upload(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let bytes = take_bytes(fields)?;
    let kind = take_text(fields, "type").unwrap_or_default();
    let name = take_text(fields, "filename").unwrap_or_default();
    let part = |name, file, kind, body| Part {
        name: Some(name),
        file,
        kind,
        body,
    };
    ask.multipart(
        "form-data",
        &[
            part("messaging_product", None, None, b"whatsapp"),
            part("type", None, None, kind.as_bytes()),
            part("file", Some(name.as_str()), Some(kind.as_str()), &bytes),
        ],
    );
    Ok(())
}

/// Asks where the file lies, and reads it there with the same token, which only Meta's own hosts are to see.
async fn download(session: &Session<'_>, fields: Object) -> Result<Value> {
    let place = session.send(session.ask(fields)?).await?.json()?;
    let bad = || {
        let message = format!("{} was not told where the file lies", session.what());
        Error::new(levqor_core::error::ErrorKind::Corrupt, "connector.unexpected_answer", message)
    };
    let url = url::Url::parse(place["url"].as_str().ok_or_else(bad)?).map_err(|_| bad())?;
    let mut ask = Ask::new("GET", url.path().trim_start_matches('/'));
    let metas = url
        .host_str()
        .is_some_and(|h| h.ends_with(".facebook.com") || h.ends_with(".fbsbx.com"));
    if !metas && !session.at_home(&url)? {
        return Err(bad());
    }
    ask.base = Some(url.origin().ascii_serialization());
    ask.query = url.query_pairs().into_owned().collect();
    ask.max_response = 16 << 20;
    let reply = session.send(ask).await?;
    let mut out = Value::Object(shown_bytes(&reply.body));
    out["content_type"] = json!(reply.header("content-type"));
    Ok(out)
}
