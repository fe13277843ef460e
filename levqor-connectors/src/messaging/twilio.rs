//! Twilio: messages, calls, verification, lookup. <https://www.twilio.com/docs/api>

use levqor_core::connector::Hook;
use serde_json::Value;

use crate::api::hook::{Hooks, Scheme, Told, at, heard};
use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Style, Vendor, call, input, output};

const ACCOUNT: (&str, &str) = ("account_sid", "the account's id, `AC…`");

static VENDOR: Vendor = Vendor {
    docs: "https://www.twilio.com/docs/usage/api",
    base: "https://api.twilio.com",
    auth: &[
        Auth::Basic(("api_key", "an API key's id, `SK…`"), ("api_secret", "its secret")),
        Auth::Basic(ACCOUNT, ("auth_token", "the account's token")),
    ],
    settings: &[
        ACCOUNT,
        ("verify_base_url", "another address of the interface for verification"),
        ("lookups_base_url", "another address of the interface for numbers"),
    ],
    key_header: "",
    style: Style::FORM,
    faults: Faults {
        codes: &["/code"],
        rules: &[
            ("20003", Class::Unauthorized),
            ("20404", Class::NotFound),
            ("20429", Class::RateLimited),
            ("20005", Class::Permission),
            ("21608", Class::Permission),
            ("21610", Class::Permission),
            ("63038", Class::Quota),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("twilio", "Twilio", "Messages, calls, verification and numbers at Twilio.")
};

const VERIFY: (&str, &str) = ("verify_base_url", "https://verify.twilio.com");
const LOOKUPS: (&str, &str) = ("lookups_base_url", "https://lookups.twilio.com");

input! {
    /// A message with `Body`, `MediaUrl` or `ContentSid`, from `From` or a `MessagingServiceSid`.
    #[serde(rename_all = "PascalCase")]
    SendMessage {
        /// The recipient in E.164, or `whatsapp:+…`.
        to: String,
        /// The sender's number or name.
        from: Option<String>,
        /// Chooses the sender.
        messaging_service_sid: Option<String>,
        /// The text, up to 1600 characters.
        body: Option<String>,
        /// Pictures and the like, up to 10.
        media_url: Option<Vec<String>>,
        /// A content template.
        content_sid: Option<String>,
        /// What the template fills in, as a text of JSON.
        content_variables: Option<String>,
        /// Where Twilio says what became of it.
        status_callback: Option<String>,
        /// How many seconds it may wait.
        validity_period: Option<u32>,
        /// With a messaging service: when it is sent, in RFC 3339.
        send_at: Option<String>,
        /// `fixed`, with `SendAt`.
        schedule_type: Option<String>,
    }

    #[serde(rename_all = "PascalCase")]
    GetMessage {
        /// The message's id.
        sid: String,
    }

    ListMessages {
        /// Only those to this number.
        #[serde(rename = "To")]
        to: Option<String>,
        /// Only those from this number.
        #[serde(rename = "From")]
        from: Option<String>,
        /// Only those of this day, `2026-01-31`.
        #[serde(rename = "DateSent")]
        date_sent: Option<String>,
        /// Messages a page, at most 1000.
        #[serde(rename = "PageSize")]
        #[schemars(range(min = 1, max = 1000))]
        page_size: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    /// A call that follows `Url`, `Twiml` or an application.
    #[serde(rename_all = "PascalCase")]
    MakeCall {
        /// Who is called.
        to: String,
        /// The caller's number.
        from: String,
        /// Where Twilio fetches what to do.
        url: Option<String>,
        /// What to do, as TwiML.
        twiml: Option<String>,
        /// An application that says what to do.
        application_sid: Option<String>,
        /// Where Twilio says how the call goes.
        status_callback: Option<String>,
        /// Which events it says.
        status_callback_event: Option<Vec<String>>,
        /// How many seconds it rings.
        timeout: Option<u32>,
        /// Records the call.
        record: Option<bool>,
        /// `Enable` or `DetectMessageEnd`: tells people from machines.
        machine_detection: Option<String>,
        /// Keys that are pressed when somebody answers.
        send_digits: Option<String>,
    }

    #[serde(rename_all = "PascalCase")]
    StartVerification {
        /// The Verify service's id, `VA…`.
        service_sid: String,
        /// A number in E.164, or a mail address.
        to: String,
        /// `sms`, `call`, `email` or `whatsapp`.
        channel: String,
        /// The language of the message.
        locale: Option<String>,
        /// A code of your own.
        custom_code: Option<String>,
        /// The service's name in the message.
        custom_friendly_name: Option<String>,
    }

    /// A check of `Code` against the verification of `To`, or of `VerificationSid`.
    #[serde(rename_all = "PascalCase")]
    CheckVerification {
        /// The Verify service's id, `VA…`.
        service_sid: String,
        /// What the person typed.
        code: String,
        /// The number or address.
        to: Option<String>,
        /// The verification's id.
        verification_sid: Option<String>,
    }

    #[serde(rename_all = "PascalCase")]
    LookUp {
        /// The number in E.164, or national with `CountryCode`.
        phone_number: String,
        /// What is wanted: `line_type_intelligence`, `caller_name`, ... separated by commas.
        fields: Option<String>,
        /// The country of a national number, like `US`.
        country_code: Option<String>,
    }
}

output! {
    Message {
        /// The message's id.
        sid: String,
        /// `queued`, `sent`, `delivered`, `failed`, ...
        status: Option<String>,
        /// The recipient.
        to: Option<String>,
        /// The sender.
        from: Option<String>,
        /// The text.
        body: Option<String>,
        /// In how many parts it was sent.
        num_segments: Option<String>,
        /// What it cost.
        price: Option<String>,
        /// In which currency.
        price_unit: Option<String>,
        /// Why it failed.
        error_code: Option<i64>,
        /// Why it failed, in words.
        error_message: Option<String>,
        /// When it was made.
        date_created: Option<String>,
        /// When it was sent.
        date_sent: Option<String>,
    }

    Messages {
        /// The messages, newest first.
        messages: Vec<Message>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Made {
        /// The call's id.
        sid: String,
        /// `queued`, `ringing`, `in-progress`, ...
        status: Option<String>,
        /// Who is called.
        to: Option<String>,
        /// The caller.
        from: Option<String>,
    }

    Verification {
        /// The verification's id.
        sid: Option<String>,
        /// `pending`, `approved`, `canceled`, ...
        status: Option<String>,
        /// Whether the code was right.
        valid: Option<bool>,
        /// The number or address.
        to: Option<String>,
        /// `sms`, `call`, `email` or `whatsapp`.
        channel: Option<String>,
    }

    Number {
        /// The number in E.164.
        phone_number: Option<String>,
        /// As people of its country write it.
        national_format: Option<String>,
        /// Its country.
        country_code: Option<String>,
        /// Whether there can be such a number.
        valid: Option<bool>,
        /// What is wrong with it.
        validation_errors: Option<Vec<String>>,
        /// What kind of line it is.
        line_type_intelligence: Option<Object>,
        /// Who has it.
        caller_name: Option<Object>,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendMessage, Message>("send_message", "Send a message", "Sends an SMS, MMS or WhatsApp message.")
                .post("2010-04-01/Accounts/{@account_sid}/Messages.json"),
            call::<GetMessage, Message>("get_message", "Get a message", "Looks what became of a message.")
                .get("2010-04-01/Accounts/{@account_sid}/Messages/{Sid}.json"),
            call::<ListMessages, Messages>("list_messages", "List messages", "Lists messages, newest first.")
                .get("2010-04-01/Accounts/{@account_sid}/Messages.json")
                .pages(Pages {
                    items: "/messages",
                    next: Next::Uri("/next_page_uri"),
                }),
            call::<MakeCall, Made>("make_call", "Make a call", "Calls a number and does there what TwiML says.")
                .post("2010-04-01/Accounts/{@account_sid}/Calls.json"),
            call::<StartVerification, Verification>("start_verification", "Send a code", "Sends a code to a number or address.")
                .post("v2/Services/{ServiceSid}/Verifications")
                .host(VERIFY.0, VERIFY.1),
            call::<CheckVerification, Verification>("check_verification", "Check a code", "Checks the code that a person typed.")
                .post("v2/Services/{ServiceSid}/VerificationCheck")
                .host(VERIFY.0, VERIFY.1),
            call::<LookUp, Number>(
                "look_up_number",
                "Look a number up",
                "Says whether a number can be, and more about it.",
            )
            .get("v2/PhoneNumbers/{PhoneNumber}")
            .host(LOOKUPS.0, LOOKUPS.1),
        ],
    )
    .hears(hooks())
}

output! {
    /// A message that came, or how it stands with one that was sent.
    #[serde(rename_all = "PascalCase")]
    MessageTold {
        /// The message's id.
        message_sid: String,
        /// How it stands: `received`, `sent`, `delivered`, `undelivered`, `failed`, ...
        message_status: Option<String>,
        /// Who wrote it.
        from: Option<String>,
        /// To whom.
        to: Option<String>,
        /// Its text.
        body: Option<String>,
        /// How many files it has.
        num_media: Option<String>,
        /// Where the first of them lies.
        media_url0: Option<String>,
        /// Why it failed.
        error_code: Option<String>,
        /// The account.
        account_sid: Option<String>,
    }
}

fn hooks() -> Hooks {
    let secret = ("auth_token", "the account's auth token; Twilio signs what it sends with it");
    let message = heard::<MessageTold>(
        "message",
        "A message",
        "Twilio tells of a message that came, or of one that was delivered.",
        message,
    );
    Hooks {
        form: true,
        ..Hooks::new(secret, Scheme::Twilio, vec![message])
    }
}

/// Twilio has two names for how a message stands.
fn message(_: &Hook<'_>, body: &Value) -> Vec<Told> {
    let status = body
        .get("MessageStatus")
        .or_else(|| body.get("SmsStatus"))
        .cloned()
        .unwrap_or_default();
    let kind = status.as_str().unwrap_or_default().to_owned();
    let mut data = body.clone();
    data["MessageStatus"] = status;
    vec![Told {
        id: format!("{}-{kind}", at(body, "/MessageSid")),
        kind,
        at: None,
        data,
    }]
}
