//! OpenAI, and everything that speaks its language at another `base_url`: vLLM, Ollama, llama.cpp, LiteLLM, Groq,
//! Mistral, OpenRouter. <https://platform.openai.com/docs/api-reference>

use serde_json::Value;

use crate::api::content::OneOrMany;
use crate::api::{Api, Auth, Class, Faults, Object, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://platform.openai.com/docs/api-reference",
    base: "https://api.openai.com/v1",
    auth: &[
        Auth::Bearer("an API key, `sk-…`; not needed at a `base_url` that asks for none"),
        Auth::Open,
    ],
    settings: &[
        ("organization", "the organisation that pays, `org-…`"),
        ("project", "the project that pays, `proj_…`"),
    ],
    setting_headers: &[("organization", "openai-organization"), ("project", "openai-project")],
    key_header: "",
    faults: Faults {
        codes: &["/error/code", "/error/type"],
        rules: &[
            ("invalid_api_key", Class::Unauthorized),
            ("insufficient_quota", Class::Quota),
            ("billing_hard_limit_reached", Class::Quota),
            ("rate_limit_exceeded", Class::RateLimited),
            ("model_not_found", Class::NotFound),
            ("unsupported_country_region_territory", Class::Permission),
            ("server_error", Class::Unavailable),
            ("overloaded_error", Class::Unavailable),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new(
        "openai",
        "OpenAI",
        "Language models at OpenAI, or at any address that speaks its language.",
    )
};

/// One tool, or a word for all.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Choice {
    Word(String),
    One(Object),
}

/// A text, or parts of a conversation.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Input {
    Text(String),
    Items(Vec<Object>),
}

input! {
    Chat {
        /// The model's name.
        model: String,
        /// The conversation: objects with `role` and `content`.
        #[schemars(length(min = 1))]
        messages: Vec<Object>,
        /// How many tokens the answer may have, those of thinking included.
        max_completion_tokens: Option<u32>,
        /// The same, for servers that know only the older name.
        max_tokens: Option<u32>,
        /// 0 for the likeliest words, up to 2.
        #[schemars(range(min = 0.0, max = 2.0))]
        temperature: Option<f64>,
        /// Only words within this share of likelihood.
        top_p: Option<f64>,
        /// How many answers.
        n: Option<u32>,
        /// Where the answer ends.
        stop: Option<OneOrMany>,
        /// `{"type": "json_schema", "json_schema": …}` or `{"type": "json_object"}`.
        response_format: Option<Object>,
        /// Functions that the model may ask for.
        tools: Option<Vec<Object>>,
        /// `auto`, `none`, `required`, or one of them.
        tool_choice: Option<Choice>,
        /// Whether it may ask for several at once.
        parallel_tool_calls: Option<bool>,
        /// `none`, `minimal`, `low`, `medium` or `high`.
        reasoning_effort: Option<String>,
        /// The same number for the same answer, as far as that goes.
        seed: Option<i64>,
        /// Against repeating words, -2 to 2.
        frequency_penalty: Option<f64>,
        /// For new words, -2 to 2.
        presence_penalty: Option<f64>,
        /// Words made likelier or less so, by token.
        logit_bias: Option<Object>,
        /// How likely the words were.
        logprobs: Option<bool>,
        /// How many others are named, up to 20.
        top_logprobs: Option<u32>,
        /// Values of your own.
        metadata: Option<Object>,
        /// Keeps the answer at OpenAI.
        store: Option<bool>,
        /// `auto`, `default`, `flex` or `priority`.
        service_tier: Option<String>,
        /// Whom it is for, so that misuse can be told apart.
        safety_identifier: Option<String>,
        /// Whom it is for, by the older name.
        user: Option<String>,
    }

    Respond {
        /// The model's name.
        model: String,
        /// What is asked.
        input: Input,
        /// What holds for the whole answer.
        instructions: Option<String>,
        /// How many tokens the answer may have, those of thinking included.
        max_output_tokens: Option<u32>,
        /// The answer that this one follows.
        previous_response_id: Option<String>,
        /// `effort` and `summary`.
        reasoning: Option<Object>,
        /// `format` and `verbosity`.
        text: Option<Object>,
        /// Tools that the model may use.
        tools: Option<Vec<Object>>,
        /// `auto`, `none`, `required`, or one of them.
        tool_choice: Option<Choice>,
        /// Whether it may use several at once.
        parallel_tool_calls: Option<bool>,
        /// How many tools it may use.
        max_tool_calls: Option<u32>,
        /// 0 for the likeliest words, up to 2.
        temperature: Option<f64>,
        /// Only words within this share of likelihood.
        top_p: Option<f64>,
        /// `auto` or `disabled`: what becomes of what is too long.
        truncation: Option<String>,
        /// What else is told: `reasoning.encrypted_content`, ...
        include: Option<Vec<String>>,
        /// Keeps the answer at OpenAI.
        store: Option<bool>,
        /// Values of your own.
        metadata: Option<Object>,
        /// Whom it is for, so that misuse can be told apart.
        safety_identifier: Option<String>,
        /// `auto`, `default`, `flex` or `priority`.
        service_tier: Option<String>,
    }

    Embed {
        /// The model's name.
        model: String,
        /// One text, or several.
        input: OneOrMany,
        /// How many numbers, for models that can be asked.
        dimensions: Option<u32>,
        /// `float` or `base64`.
        encoding_format: Option<String>,
        /// Whom it is for.
        user: Option<String>,
    }

    Moderate {
        /// One text, or several.
        input: OneOrMany,
        /// The model's name.
        model: Option<String>,
    }

    ListModels {}
}

output! {
    Completion {
        /// The answer's id.
        id: Option<String>,
        /// The model that answered.
        model: Option<String>,
        /// The text of the first answer.
        text: Option<String>,
        /// The answers.
        choices: Vec<Object>,
        /// Tokens that were used.
        usage: Option<Object>,
        /// When, in seconds since 1970.
        created: Option<i64>,
        /// How it was served.
        service_tier: Option<String>,
    }

    Response {
        /// The answer's id.
        id: String,
        /// The model that answered.
        model: Option<String>,
        /// `completed`, `incomplete`, `failed`, ...
        status: Option<String>,
        /// The text of the answer.
        text: Option<String>,
        /// Its parts.
        output: Vec<Object>,
        /// Tokens that were used.
        usage: Option<Object>,
        /// Why it is incomplete.
        incomplete_details: Option<Object>,
        /// Why it failed.
        error: Option<Object>,
    }

    Vector {
        /// Which of the texts.
        index: u32,
        /// Its numbers, or their Base64.
        embedding: Value,
    }

    Vectors {
        /// One for each text.
        data: Vec<Vector>,
        /// The model that answered.
        model: Option<String>,
        /// Tokens that were used.
        usage: Option<Object>,
    }

    Moderation {
        /// The model that answered.
        model: Option<String>,
        /// One for each text: `flagged`, `categories`, `category_scores`.
        results: Vec<Object>,
    }

    Model {
        /// The model's name.
        id: String,
        /// Whose it is.
        owned_by: Option<String>,
        /// When it was made, in seconds since 1970.
        created: Option<i64>,
    }

    Models {
        /// The models.
        data: Vec<Model>,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Chat, Completion>("chat", "Chat", "Has a model go on with a conversation.")
                .post("chat/completions")
                .then(|body| {
                    let text = body.pointer("/choices/0/message/content").cloned();
                    with_text(body, text);
                }),
            call::<Respond, Response>(
                "respond",
                "Respond",
                "Has a model answer, with tools of OpenAI's if it needs them.",
            )
            .post("responses")
            .then(|body| {
                let text = output_text(body);
                with_text(body, text.map(Value::from));
            }),
            call::<Embed, Vectors>(
                "embed",
                "Embed",
                "Turns texts into vectors that lie close where texts mean the same.",
            )
            .post("embeddings")
            .reads(),
            call::<Moderate, Moderation>("moderate", "Moderate", "Says whether texts are harmful.")
                .post("moderations")
                .reads(),
            call::<ListModels, Models>("list_models", "List models", "Lists the models that there are.").get("models"),
        ],
    )
}

fn with_text(body: &mut Value, text: Option<Value>) {
    if let Some(body) = body.as_object_mut() {
        body.insert("text".into(), text.filter(Value::is_string).unwrap_or(Value::Null));
    }
}

/// All texts of the answer's messages, one behind the other.
fn output_text(body: &Value) -> Option<String> {
    let parts = body.get("output")?.as_array()?.iter();
    let contents = parts.filter_map(|item| item.get("content")?.as_array()).flatten();
    let texts: Vec<&str> = contents
        .filter(|c| c.get("type").and_then(Value::as_str) == Some("output_text"))
        .filter_map(|c| c.get("text")?.as_str())
        .collect();
    (!texts.is_empty()).then(|| texts.concat())
}
