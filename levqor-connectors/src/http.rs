//! The `http` connector: any HTTP request.
//!
//! A connection gives it a `base_url` and credentials, which go to that address and nowhere else:
//!
//! | setting | meaning |
//! |---|---|
//! | `base_url` | what relative URLs are appended to. Required with credentials |
//! | `token` | sent as `Authorization: Bearer …` |
//! | `username`, `password` | sent as `Authorization: Basic …` |
//! | `api_key` | sent in the header that `header` names (`X-Api-Key` if none), behind `prefix` if there is one |
//! | `idempotent` | `true`: the other side repeats its answer for a repeated idempotency key |
//! | `idempotency_header` | its header, if not `Idempotency-Key` |

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::connector::{Action, AuthKind, Connection, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::layers::Redactor;
use levqor_core::transport::{Reach, Request, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::kit::{base_url, flag, known_settings, read, schema, setting_error, settings, text, timeout};
use crate::status::{is_json, refusal, without_secrets};

const SETTINGS: [&str; 8] = [
    "base_url",
    "token",
    "username",
    "password",
    "api_key",
    "header",
    "prefix",
    "idempotent",
];
const IDEMPOTENCY_HEADER: &str = "idempotency_header";

/// Headers that belong to the transport; a request that set them could smuggle another one.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Keeps an explicit `null` apart from a missing field.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Get,
    Head,
    Options,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// RFC 9110, 9.2.1.
    fn safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options)
    }

    /// RFC 9110, 9.2.2.
    fn idempotent(self) -> bool {
        self.safe() || matches!(self, Method::Put | Method::Delete)
    }
}

/// One value of a query or form.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}

/// One or several values under one name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Field {
    One(Scalar),
    Many(Vec<Scalar>),
}

type Fields = BTreeMap<String, Field>;

/// Input of `http.request`. At most one of `json`, `form` and `text`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// GET if not given.
    #[serde(default)]
    method: Method,
    /// An absolute URL, or one relative to the connection's base URL.
    url: String,
    /// Added to the URL's query; a list gives the name once for each value.
    #[serde(default)]
    query: Fields,
    /// Headers. Credentials belong into the connection.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A JSON body.
    #[serde(default, deserialize_with = "present")]
    json: Option<Value>,
    /// A body as from an HTML form.
    form: Option<Fields>,
    /// A body of plain text.
    text: Option<String>,
    /// Statuses that mean success; 200 to 299 if none is given.
    #[serde(default)]
    #[schemars(inner(range(min = 100, max = 599)))]
    expect: Vec<u16>,
    /// Ends the attempt earlier than the step's own time-out: "5s", "1m30s".
    timeout: Option<String>,
    /// The other side does the work once however often it gets the same Idempotency-Key, so that an attempt whose
    /// answer was lost may be repeated.
    #[serde(default)]
    idempotent: bool,
    /// How many redirects are followed; 5 if not given.
    #[schemars(range(max = 10))]
    redirects: Option<u8>,
}

/// Output of `http.request`. One of `json`, `text` and `base64`, by what was answered; none for an empty body.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The status.
    status: u16,
    /// Headers by their names in lower case; several of one name are joined by ", ".
    headers: BTreeMap<String, String>,
    /// The body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The body, if it is other text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body in Base64, if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// The connector.
#[derive(Debug)]
pub struct Http {
    manifest: Manifest,
}

impl Default for Http {
    fn default() -> Self {
        Http::new()
    }
}

impl Http {
    /// The connector with its manifest.
    pub fn new() -> Self {
        let request = Action {
            name: "request".into(),
            title: "HTTP request".into(),
            description: "Sends an HTTP request and gives status, headers and body of the answer. Fails if the status is not \
                          the expected one. URLs reach public addresses only, except those of the connection's base URL."
                .into(),
            input: schema::<Input>(),
            output: schema::<Answer>(),
            side_effect: SideEffect::Write,
            idempotency: Idempotency::Input,
            scopes: vec![],
        };
        Http {
            manifest: Manifest {
                name: "http".into(),
                title: "HTTP".into(),
                description: "Any HTTP request.".into(),
                docs: Some("https://www.rfc-editor.org/rfc/rfc9110".into()),
                auth: vec![AuthKind::Bearer, AuthKind::Basic, AuthKind::ApiKey],
                settings: settings(&[
                    ("base_url", "what relative URLs are appended to; required with credentials"),
                    ("token", "sent as `Authorization: Bearer …`"),
                    ("username", "sent as `Authorization: Basic …`, with `password`"),
                    ("password", "the password"),
                    ("api_key", "sent in the header that `header` names"),
                    ("header", "the header of `api_key`; `X-Api-Key` if not given"),
                    ("prefix", "what stands before `api_key`"),
                    (
                        "idempotent",
                        "`true`: the other side repeats its answer for a repeated idempotency key",
                    ),
                    ("idempotency_header", "its header, if not `Idempotency-Key`"),
                ]),
                budgets: vec![],
                triggers: vec![],
                actions: vec![request],
            },
        }
    }
}

#[async_trait]
impl Connector for Http {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        if action != "request" {
            return Err(Error::not_found(
                "connector.unknown_action",
                "`http` has only the action `request`",
            ));
        }
        let input: Input = read("http.request", input)?;
        let connection = cx.connection.as_deref();
        let target = Target::of(connection, &input.url)?;
        let request = shape(cx, connection, &input, &target)?;
        let what = format!("`{} {}`", input.method.name(), bare(&target.url));
        let answer = cx.transport.send(request).await?;
        let wanted = if input.expect.is_empty() {
            (200..300).contains(&answer.status)
        } else {
            input.expect.contains(&answer.status)
        };
        if !wanted {
            let answer = match cx.connection.as_deref() {
                Some(connection) => without_secrets(&answer, &Redactor::of(connection)),
                None => answer,
            };
            return Err(refusal(&what, input.method.safe(), &answer, cx.clock.now()));
        }
        let answer = decode(&what, input.method, answer)?;
        serde_json::to_value(answer)
            .map(Output::new)
            .map_err(|e| Error::internal(e.to_string()))
    }

    fn repeatable(&self, cx: &Cx, _action: &str, input: &Value) -> bool {
        let declared = cx
            .connection
            .as_deref()
            .is_some_and(|c| flag(c, "idempotent").unwrap_or(false));
        read::<Input>("http.request", input).is_ok_and(|i| declared || i.idempotent || i.method.idempotent())
    }

    fn destination(&self, cx: &Cx, _action: &str, input: &Value) -> Option<String> {
        let target = Target::of(cx.connection.as_deref(), input.get("url")?.as_str()?).ok()?;
        Some(target.url.origin().ascii_serialization())
    }
}

/// Where a request goes, and what it may reach there.
struct Target {
    url: Url,
    reach: Reach,
}

impl Target {
    fn of(connection: Option<&Connection>, text_url: &str) -> Result<Self> {
        let unreadable =
            |e: url::ParseError| Error::invalid("http.url_invalid", format!("the URL cannot be read: {e}")).at("/url");
        let base = match connection {
            None => None,
            Some(c) => base_url(c, "base_url")?,
        };
        let absolute = Url::parse(text_url);
        let Some((connection, base)) = connection.zip(base) else {
            let mut url = match absolute {
                Err(url::ParseError::RelativeUrlWithoutBase) => {
                    return Err(unreadable(url::ParseError::RelativeUrlWithoutBase)
                        .hint("give an absolute URL, or a connection with a base_url"));
                }
                other => other.map_err(unreadable)?,
            };
            url.set_fragment(None);
            return Ok(Target {
                url,
                reach: Reach::Public,
            });
        };
        let mut url = match absolute {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                let joined = format!("{base}{}", text_url.trim_start_matches('/'));
                Url::parse(&joined).map_err(unreadable)?
            }
            Err(e) => return Err(unreadable(e)),
        };
        // The parser has resolved `..` by now, however it was written.
        let within = url.path().starts_with(base.path()) || format!("{}/", url.path()) == base.path();
        if url.origin() != base.origin() || !within {
            let message = format!("the URL lies outside the base URL of the connection `{}`", connection.name());
            return Err(Error::new(ErrorKind::Denied, "http.outside_connection", message)
                .at("/url")
                .hint("a connection's credentials go to its own address only; call others without it"));
        }
        url.set_fragment(None);
        Ok(Target { url, reach: Reach::Any })
    }
}

/// The credentials of a connection as a header; `None` if it has none.
fn credentials(connection: &Connection) -> Result<Option<(String, String)>> {
    let (token, user, key) = (
        text(connection, "token")?,
        text(connection, "username")?,
        text(connection, "api_key")?,
    );
    let header = match (token, user, key) {
        (None, None, None) => return Ok(None),
        (Some(token), None, None) => ("authorization".to_owned(), format!("Bearer {token}")),
        (None, Some(user), None) => {
            let password = text(connection, "password")?.unwrap_or_default();
            (
                "authorization".to_owned(),
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            )
        }
        (None, None, Some(key)) => {
            let name = text(connection, "header")?.unwrap_or("x-api-key").to_ascii_lowercase();
            let prefix = text(connection, "prefix")?
                .map(|p| format!("{} ", p.trim_end()))
                .unwrap_or_default();
            (name, format!("{prefix}{key}"))
        }
        _ => {
            return Err(setting_error(
                connection,
                "token",
                "only one of token, username and api_key can be given",
            ));
        }
    };
    if text(connection, "base_url")?.is_none() {
        let e = setting_error(connection, "base_url", "credentials need a base URL that they belong to");
        return Err(e.hint("without it they would go to whatever URL a step names"));
    }
    Ok(Some(header))
}

fn shape(cx: &Cx, connection: Option<&Connection>, input: &Input, target: &Target) -> Result<Request> {
    let mut url = target.url.clone();
    if !input.query.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs(&input.query));
    }
    let mut request = Request::new(input.method.name(), url);
    request.reach = target.reach;
    request.redirects = input.redirects.unwrap_or(5);
    request.timeout = timeout(cx, input.timeout.as_deref())?;

    let mut own = Vec::new();
    let mut key_header = "idempotency-key".to_owned();
    if let Some(connection) = connection {
        let mut known = SETTINGS.to_vec();
        known.push(IDEMPOTENCY_HEADER);
        known_settings(connection, &known)?;
        flag(connection, "idempotent")?;
        if let Some(name) = text(connection, IDEMPOTENCY_HEADER)? {
            key_header = name.to_ascii_lowercase();
        }
        own.extend(credentials(connection)?);
    }
    for (name, value) in &input.headers {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || own.iter().any(|(n, _)| *n == lower) {
            let e = Error::invalid(
                "http.header_reserved",
                format!("the header `{lower}` cannot be set by a request"),
            );
            return Err(e.at(format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"))));
        }
        request.headers.push((lower, value.clone()));
    }
    request.headers.extend(own);
    let missing = |request: &Request, name: &str| !request.headers.iter().any(|(n, _)| n == name);
    if !input.method.safe() && missing(&request, &key_header) {
        request.headers.push((key_header, cx.idempotency_key.clone()));
    }
    if let Some((kind, body)) = body(input)? {
        if missing(&request, "content-type") {
            request.headers.push(("content-type".into(), kind.into()));
        }
        request.body = body.into();
    }
    Ok(request)
}

fn body(input: &Input) -> Result<Option<(&'static str, Vec<u8>)>> {
    let bodies = [input.json.is_some(), input.form.is_some(), input.text.is_some()];
    if bodies.iter().filter(|b| **b).count() > 1 {
        return Err(Error::invalid("http.two_bodies", "a request has one body").hint("give only one of json, form and text"));
    }
    if bodies.contains(&true) && input.method == Method::Head {
        return Err(Error::invalid("http.body_not_allowed", "a HEAD request has no body"));
    }
    Ok(match input {
        Input { json: Some(json), .. } => {
            let bytes = serde_json::to_vec(json).map_err(|e| Error::internal(e.to_string()))?;
            Some(("application/json", bytes))
        }
        Input { form: Some(form), .. } => {
            let encoded = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs(form))
                .finish();
            Some(("application/x-www-form-urlencoded", encoded.into_bytes()))
        }
        Input { text: Some(text), .. } => Some(("text/plain; charset=utf-8", text.clone().into_bytes())),
        _ => None,
    })
}

fn pairs(fields: &Fields) -> impl Iterator<Item = (&str, String)> {
    let text = |s: &Scalar| match s {
        Scalar::Text(t) => t.clone(),
        Scalar::Number(n) => n.to_string(),
        Scalar::Bool(b) => b.to_string(),
    };
    fields.iter().flat_map(move |(name, field)| {
        let values = match field {
            Field::One(value) => std::slice::from_ref(value),
            Field::Many(values) => values,
        };
        values.iter().map(move |v| (name.as_str(), text(v)))
    })
}

/// A URL as it may be shown: without its query.
fn bare(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn decode(what: &str, method: Method, answer: Response) -> Result<Answer> {
    let (mut json, mut text, mut base64) = (None, None, None);
    if !answer.body.is_empty() {
        if is_json(answer.header("content-type").unwrap_or_default()) {
            let parsed = serde_json::from_slice(&answer.body).map_err(|e| {
                let message = format!("{what} was answered with what is not JSON, though it says so: {e}");
                let effect = if method.safe() { Effect::None } else { Effect::Done };
                Error::new(ErrorKind::Corrupt, "http.invalid_json", message).effect_is(effect)
            })?;
            json = Some(parsed);
        } else {
            match String::from_utf8(answer.body.into()) {
                Ok(t) => text = Some(t),
                Err(e) => base64 = Some(STANDARD.encode(e.as_bytes())),
            }
        }
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in answer.headers {
        headers
            .entry(name)
            .and_modify(|v| *v = format!("{v}, {value}"))
            .or_insert(value);
    }
    Ok(Answer {
        status: answer.status,
        headers,
        json,
        text,
        base64,
    })
}
