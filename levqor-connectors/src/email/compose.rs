//! From input to a message: addresses, headers, parts. Pure but for the time in `Date`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Body, Mailbox, MultiPart, MultiPartKind, SinglePart};
use levqor_core::connector::{Connection, Cx};
use levqor_core::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kit::text;

/// Input of `email.send`. At least one recipient; `text`, `html` or both.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// "Name <address>" or a plain address; the connection's sender if not given.
    pub(crate) from: Option<String>,
    /// Recipients.
    #[serde(default)]
    pub(crate) to: Vec<String>,
    /// Recipients of a copy.
    #[serde(default)]
    pub(crate) cc: Vec<String>,
    /// Recipients of a copy that the others do not see.
    #[serde(default)]
    pub(crate) bcc: Vec<String>,
    /// Where answers go.
    pub(crate) reply_to: Option<String>,
    /// The subject.
    pub(crate) subject: String,
    /// The message as plain text.
    pub(crate) text: Option<String>,
    /// The message as HTML.
    pub(crate) html: Option<String>,
    /// Files.
    #[serde(default)]
    pub(crate) attachments: Vec<Attachment>,
    /// Other headers, such as List-Unsubscribe.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Ends the attempt earlier than the step's own time-out: "5s", "1m30s".
    pub(crate) timeout: Option<String>,
}

/// A file in a mail.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attachment {
    /// Its name.
    pub(crate) filename: String,
    /// Its media type; application/octet-stream if not given.
    pub(crate) content_type: Option<String>,
    /// Its bytes in Base64.
    pub(crate) content: String,
}

/// Output of `email.send`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    /// The mail's Message-ID, in angle brackets.
    pub(crate) message_id: String,
    /// What the mail server said when it accepted the mail.
    pub(crate) response: String,
}

/// A mail, ready to be handed over.
pub(crate) struct Mail {
    pub(crate) id: String,
    pub(crate) envelope: Envelope,
    /// Where in the input each recipient of the envelope stands.
    pub(crate) places: Vec<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Headers that the connector writes itself, or that the servers on the way do.
const RESERVED: [&str; 17] = [
    "bcc",
    "cc",
    "date",
    "dkim-signature",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "resent-bcc",
    "resent-from",
    "resent-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "arc-seal",
];

pub(crate) fn compose(input: &Input, connection: &Connection, cx: &Cx) -> Result<Mail> {
    let from = match &input.from {
        Some(from) => mailbox(from, "/from")?,
        None => match text(connection, "from")? {
            Some(from) => mailbox(from, "from")?,
            None => {
                return Err(
                    Error::invalid("email.sender_missing", "neither the input nor the connection names a sender").at("/from"),
                );
            }
        },
    };
    let id = format!("<{}@{}>", cx.derived_id("email"), from.email.domain());
    let date = SystemTime::UNIX_EPOCH + cx.clock.now().to_duration();
    let mut builder = Message::builder().from(from.clone()).date(date).message_id(Some(id.clone()));
    let (mut recipients, mut places) = (Vec::new(), Vec::new());
    for (name, list) in [("to", &input.to), ("cc", &input.cc), ("bcc", &input.bcc)] {
        for (i, address) in list.iter().enumerate() {
            let place = format!("/{name}/{i}");
            let parsed = mailbox(address, &place)?;
            if recipients.contains(&parsed.email) {
                continue;
            }
            recipients.push(parsed.email.clone());
            places.push(place);
            builder = match name {
                "to" => builder.to(parsed),
                "cc" => builder.cc(parsed),
                _ => builder,
            };
        }
    }
    if recipients.is_empty() {
        return Err(Error::invalid("email.recipient_missing", "a mail needs a recipient in to, cc or bcc").at("/to"));
    }
    let envelope = Envelope::new(Some(from.email), recipients).map_err(|e| malformed(&e))?;
    if let Some(reply_to) = &input.reply_to {
        builder = builder.reply_to(mailbox(reply_to, "/reply_to")?);
    }
    one_line(&input.subject, "/subject")?;
    builder = builder.subject(input.subject.as_str()).envelope(envelope.clone());
    for (name, value) in &input.headers {
        let place = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        builder = builder.raw_header(header(name, value, &place)?);
    }

    let boundary = |part: &str| cx.derived_id(part);
    let content = match (&input.text, &input.html) {
        (None, None) => return Err(Error::invalid("email.body_missing", "a mail needs `text`, `html` or both").at("/text")),
        (Some(text), None) => Content::Single(SinglePart::plain(text.clone())),
        (None, Some(html)) => Content::Single(SinglePart::html(html.clone())),
        (Some(text), Some(html)) => Content::Multi(
            MultiPart::builder()
                .kind(MultiPartKind::Alternative)
                .boundary(boundary("alternative"))
                .singlepart(SinglePart::plain(text.clone()))
                .singlepart(SinglePart::html(html.clone())),
        ),
    };
    let content = if input.attachments.is_empty() {
        content
    } else {
        let mixed = MultiPart::builder().kind(MultiPartKind::Mixed).boundary(boundary("mixed"));
        let mut mixed = match content {
            Content::Single(part) => mixed.singlepart(part),
            Content::Multi(part) => mixed.multipart(part),
        };
        for (i, file) in input.attachments.iter().enumerate() {
            mixed = mixed.singlepart(attachment(file, &format!("/attachments/{i}"))?);
        }
        Content::Multi(mixed)
    };
    let message = match content {
        Content::Single(part) => builder.singlepart(part),
        Content::Multi(part) => builder.multipart(part),
    };
    Ok(Mail {
        id,
        envelope,
        places,
        bytes: message.map_err(|e| malformed(&e))?.formatted(),
    })
}

enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

fn malformed(e: &lettre::error::Error) -> Error {
    Error::invalid("email.malformed", format!("the mail cannot be composed: {e}"))
}

/// A line break in a header would start another header: refused, never repaired.
fn one_line(text: &str, place: &str) -> Result<()> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let e = Error::invalid(
            "email.header_injection",
            "line breaks and control characters are not allowed here",
        );
        return Err(e.at(place));
    }
    Ok(())
}

fn mailbox(text: &str, place: &str) -> Result<Mailbox> {
    one_line(text, place)?;
    text.parse().map_err(|_| {
        Error::invalid("email.address_invalid", "this is not a mail address")
            .at(place)
            .hint("write `name@example.com` or `Name <name@example.com>`")
    })
}

fn header(name: &str, value: &str, place: &str) -> Result<HeaderValue> {
    one_line(value, place)?;
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("content-") {
        let message = format!("the header `{lower}` is written by the connector");
        return Err(Error::invalid("email.header_reserved", message).at(place));
    }
    // RFC 5322, 2.2: printable ASCII without the colon; here also without what nobody uses.
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let parsed = HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| token);
    let parsed = parsed.ok_or_else(|| Error::invalid("email.header_invalid", "this is not the name of a header").at(place))?;
    Ok(HeaderValue::new(parsed, value.to_owned()))
}

fn attachment(file: &Attachment, place: &str) -> Result<SinglePart> {
    one_line(&file.filename, &format!("{place}/filename"))?;
    let kind = file.content_type.as_deref().unwrap_or("application/octet-stream");
    one_line(kind, &format!("{place}/content_type"))?;
    let kind = ContentType::parse(kind).map_err(|_| {
        Error::invalid("email.content_type_invalid", "this is not a media type").at(format!("{place}/content_type"))
    })?;
    let bytes = STANDARD
        .decode(&file.content)
        .map_err(|_| Error::invalid("email.attachment_invalid", "the content is not Base64").at(format!("{place}/content")))?;
    // Base64 whatever it holds: other encodings would change the line ends of a text.
    let body = Body::new_with_encoding(bytes, ContentTransferEncoding::Base64);
    let body = body.map_err(|_| Error::internal("Base64 holds any bytes"))?;
    Ok(Part::new(file.filename.clone()).body(body, kind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use levqor_core::clock::ManualClock;
    use levqor_core::transport::{HttpOptions, HttpTransport};
    use levqor_core::types::Millis;
    use serde_json::{Value, json};

    use super::*;

    fn cx() -> Cx {
        let transport = Arc::new(HttpTransport::new(HttpOptions::default()).unwrap());
        let mut cx = Cx::direct(transport, Arc::new(ManualClock::at(Millis::secs(1_700_000_000))));
        cx.idempotency_key = "key-1".into();
        cx
    }

    fn with(changes: &Value) -> Result<Mail> {
        let mut input = json!({"from": "Shop <shop@example.com>", "to": ["a@example.org"], "subject": "Hello", "text": "Hi"});
        input.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        compose(
            &serde_json::from_value(input).unwrap(),
            &Connection::new("mail", json!({})),
            &cx(),
        )
    }

    #[test]
    fn the_same_step_composes_the_same_bytes() {
        let all = json!({
            "html": "<b>Hi</b>", "cc": ["b@example.org"], "bcc": ["c@example.org", "a@example.org"], "reply_to": "r@example.com",
            "attachments": [{"filename": "ü.pdf", "content_type": "application/pdf", "content": "JVBERg=="}],
            "headers": {"List-Unsubscribe": "<https://example.com/u>"}, "subject": "Grüße"
        });
        let mail = with(&all).unwrap();
        assert_eq!(mail.bytes, with(&all).unwrap().bytes);
        let text = String::from_utf8(mail.bytes).unwrap();
        assert!(text.contains(&format!("Message-ID: {}\r\n", mail.id)) && mail.id.ends_with("@example.com>"));
        assert!(text.contains("List-Unsubscribe: <https://example.com/u>\r\n"));
        assert!(!text.contains("c@example.org"), "blind copies are not named");
        assert_eq!(mail.places, ["/to/0", "/cc/0", "/bcc/0"], "and nobody gets it twice");
    }

    #[test]
    fn nothing_can_smuggle_a_header_or_recipient_in() {
        for (changes, code, place) in [
            (
                json!({"subject": "a\r\nBcc: x@evil.example"}),
                "email.header_injection",
                "/subject",
            ),
            (json!({"subject": "a\nb"}), "email.header_injection", "/subject"),
            (
                json!({"to": ["a@example.org\r\nRCPT TO:<x@evil.example>"]}),
                "email.header_injection",
                "/to/0",
            ),
            (
                json!({"to": ["a@example.org, x@evil.example"]}),
                "email.address_invalid",
                "/to/0",
            ),
            (json!({"to": ["a@example.org", "nobody"]}), "email.address_invalid", "/to/1"),
            (json!({"from": "x\n<a@b.example>"}), "email.header_injection", "/from"),
            (
                json!({"reply_to": "a@b.example\rX: y"}),
                "email.header_injection",
                "/reply_to",
            ),
            (
                json!({"headers": {"X-A": "b\r\nBcc: x@evil.example"}}),
                "email.header_injection",
                "/headers/X-A",
            ),
            (
                json!({"headers": {"X: a\r\nBcc": "b"}}),
                "email.header_invalid",
                "/headers/X: a\r\nBcc",
            ),
            (
                json!({"headers": {"Bcc": "x@evil.example"}}),
                "email.header_reserved",
                "/headers/Bcc",
            ),
            (
                json!({"headers": {"CONTENT-Type": "text/html"}}),
                "email.header_reserved",
                "/headers/CONTENT-Type",
            ),
            (
                json!({"attachments": [{"filename": "a\r\nb", "content": ""}]}),
                "email.header_injection",
                "/attachments/0/filename",
            ),
            (
                json!({"attachments": [{"filename": "a", "content": "%"}]}),
                "email.attachment_invalid",
                "/attachments/0/content",
            ),
            (
                json!({"attachments": [{"filename": "a", "content_type": "x", "content": ""}]}),
                "email.content_type_invalid",
                "/attachments/0/content_type",
            ),
            (json!({"to": []}), "email.recipient_missing", "/to"),
            (json!({"text": null}), "email.body_missing", "/text"),
            (json!({"from": null}), "email.sender_missing", "/from"),
        ] {
            let e = with(&changes).err().unwrap();
            assert_eq!((e.code(), e.place()), (code, Some(place)), "{changes}");
        }
    }
}
