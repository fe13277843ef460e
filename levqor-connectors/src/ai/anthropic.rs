//! Anthropic: Claude. <https://docs.anthropic.com/en/api/messages>

use serde_json::{Value, json};

use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.anthropic.com/en/api/messages",
    base: "https://api.anthropic.com",
    auth: &[Auth::Header(&[(("api_key", "an API key, `sk-ant-…`"), "x-api-key", "")])],
    settings: &[("beta", "names of beta features, separated by commas")],
    headers: &[("anthropic-version", "2023-06-01")],
    setting_headers: &[("beta", "anthropic-beta")],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/error/type"],
        rules: &[
            ("authentication_error", Class::Unauthorized),
            ("permission_error", Class::Permission),
            ("billing_error", Class::Declined),
            ("not_found_error", Class::NotFound),
            ("invalid_request_error", Class::Invalid),
            ("request_too_large", Class::Invalid),
            ("rate_limit_error", Class::RateLimited),
            ("timeout_error", Class::Timeout),
            ("api_error", Class::Unavailable),
            ("overloaded_error", Class::Unavailable),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("anthropic", "Anthropic", "Claude, Anthropic's language models.")
};

/// A text, or blocks.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Text {
    Plain(String),
    Blocks(Vec<Object>),
}

input! {
    CreateMessage {
        /// The model's name.
        model: String,
        /// How many tokens the answer may have.
        #[schemars(range(min = 1))]
        max_tokens: u32,
        /// The conversation so far: each with `role` (`user` or `assistant`) and `content`.
        #[schemars(length(min = 1))]
        messages: Vec<Object>,
        /// What holds for all of it.
        system: Option<Text>,
        /// 0 for the likeliest words, up to 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        temperature: Option<f64>,
        /// Only words within this share of likelihood.
        #[schemars(range(min = 0.0, max = 1.0))]
        top_p: Option<f64>,
        /// Only the so many likeliest words.
        top_k: Option<u32>,
        /// Ends the answer where one of these comes.
        stop_sequences: Option<Vec<String>>,
        /// Tools that the model may use.
        tools: Option<Vec<Object>>,
        /// `type`: `auto`, `any`, `tool` (with `name`) or `none`.
        tool_choice: Option<Object>,
        /// `type` `enabled` and `budget_tokens`, or `adaptive`: thinks before it answers.
        thinking: Option<Object>,
        /// How hard it tries, and what form the answer has: `effort`, `format`.
        output_config: Option<Object>,
        /// `user_id`: whom it is for, so that misuse can be told apart.
        metadata: Option<Object>,
        /// `auto` or `standard_only`.
        service_tier: Option<String>,
    }

    CountTokens {
        /// The model's name.
        model: String,
        /// The conversation.
        #[schemars(length(min = 1))]
        messages: Vec<Object>,
        /// What holds for all of it.
        system: Option<Text>,
        /// Tools.
        tools: Option<Vec<Object>>,
        /// Which tool.
        tool_choice: Option<Object>,
        /// How it thinks.
        thinking: Option<Object>,
    }

    ListModels {
        /// Models a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        after_id: Option<String>,
        /// The other way round: those before this one.
        before_id: Option<String>,
    }

    CreateBatch {
        /// Each with `custom_id` and `params`, which are those of a message.
        #[schemars(length(min = 1, max = 100_000))]
        requests: Vec<Object>,
    }

    GetBatch {
        /// The batch's id.
        message_batch_id: String,
    }
}

output! {
    Message {
        /// The answer's id.
        id: String,
        /// The model that answered.
        model: String,
        /// The text of the answer.
        text: Option<String>,
        /// Its parts.
        content: Vec<Object>,
        /// Why it ended: `end_turn`, `max_tokens`, `stop_sequence`, `tool_use`, ...
        stop_reason: Option<String>,
        /// The sequence that ended it.
        stop_sequence: Option<String>,
        /// Tokens that were used.
        usage: Object,
    }

    Count {
        /// Tokens that the request has.
        input_tokens: u64,
    }

    Model {
        /// The model's name.
        id: String,
        /// A name for people.
        display_name: Option<String>,
        /// When it was made.
        created_at: Option<String>,
    }

    Models {
        /// The models, newest first.
        data: Vec<Model>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Batch {
        /// The batch's id.
        id: String,
        /// `in_progress`, `canceling` or `ended`.
        processing_status: String,
        /// How many are `processing`, `succeeded`, `errored`, `canceled`, `expired`.
        request_counts: Object,
        /// Where the answers lie, when it ended.
        results_url: Option<String>,
        /// When it was made.
        created_at: Option<String>,
        /// When it ended.
        ended_at: Option<String>,
        /// When it is given up.
        expires_at: Option<String>,
    }
}

/// All texts of the answer, one behind the other.
fn text(body: &mut Value) {
    let parts = body.get("content").and_then(Value::as_array);
    let texts: Vec<&str> = parts.into_iter().flatten().filter_map(|c| c.get("text")?.as_str()).collect();
    let text = if texts.is_empty() {
        Value::Null
    } else {
        json!(texts.concat())
    };
    if let Some(body) = body.as_object_mut() {
        body.insert("text".into(), text);
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateMessage, Message>("create_message", "Ask Claude", "Has a model go on with a conversation.")
                .post("v1/messages")
                .then(text),
            call::<CountTokens, Count>("count_tokens", "Count tokens", "Says how many tokens a request has.")
                .post("v1/messages/count_tokens")
                .reads(),
            call::<ListModels, Models>("list_models", "List models", "Lists the models that there are.")
                .get("v1/models")
                .pages(Pages {
                    items: "/data",
                    next: Next::LastId("/has_more", "after_id"),
                }),
            call::<CreateBatch, Batch>(
                "create_batch",
                "Ask many things",
                "Has many messages answered within a day, at half the price.",
            )
            .post("v1/messages/batches"),
            call::<GetBatch, Batch>("get_batch", "Look at a batch", "Says how far a batch is.")
                .get("v1/messages/batches/{message_batch_id}"),
        ],
    )
}
