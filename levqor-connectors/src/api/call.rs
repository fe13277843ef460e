//! One action: what it says of itself, and how its request is shaped.

use futures_util::future::BoxFuture;
use levqor_core::connector::{Action, Cx, Idempotency, SideEffect};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::page::{MAX_PAGES, Pages};
use super::request::{Ask, fill};
use super::session::{Reply, Session};
use super::{Api, Object};
use crate::kit::{read, schema};

/// Shapes a request by hand: what is left of the input afterwards is its body.
pub(crate) type Shape = fn(&mut Ask, &mut Object, &Session<'_>) -> Result<()>;
/// Carries out an action of several requests.
pub(crate) type Run = for<'a> fn(&'a Session<'a>, Object) -> BoxFuture<'a, Result<Value>>;

/// One action of a vendor.
///
/// The input's fields go where the request has a place for them: those that the path names into the path, those of
/// [`query`](Call::query) into the query, the others into the body, or into the query too if there is no body.
pub(crate) struct Call {
    pub(crate) action: Action,
    method: &'static str,
    path: &'static str,
    host: Option<(&'static str, &'static str)>,
    query: &'static [&'static str],
    within: &'static str,
    document: &'static str,
    at: &'static str,
    may_miss: bool,
    status_only: bool,
    headers: &'static [(&'static str, &'static str)],
    pages: Option<Pages>,
    shape: Option<Shape>,
    run: Option<Run>,
    then: Option<fn(&mut Value)>,
    decode: Option<fn(&[u8]) -> Value>,
    check: fn(&str, &Value) -> Result<()>,
    answer: fn(Value) -> serde_json::Result<Value>,
}

/// An action with the types of its input and output.
pub(crate) fn call<I, O>(name: &str, title: &str, description: &str) -> Call
where
    I: DeserializeOwned + JsonSchema,
    O: DeserializeOwned + Serialize + JsonSchema,
{
    Call {
        action: Action {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            input: schema::<I>(),
            output: schema::<O>(),
            side_effect: SideEffect::Write,
            idempotency: Idempotency::None,
            scopes: vec![],
        },
        method: "POST",
        path: "",
        host: None,
        query: &[],
        within: "",
        document: "",
        at: "",
        may_miss: false,
        status_only: false,
        headers: &[],
        pages: None,
        shape: None,
        run: None,
        then: None,
        decode: None,
        check: |action, input| read::<I>(action, input).map(drop),
        answer: |value| serde_json::to_value(O::deserialize(value)?),
    }
}

impl Call {
    fn method(mut self, method: &'static str, path: &'static str) -> Self {
        (self.method, self.path) = (method, path);
        self
    }

    /// It only looks.
    pub(crate) fn get(self, path: &'static str) -> Self {
        self.method("GET", path).reads()
    }

    /// It only looks, at headers.
    pub(crate) fn head(self, path: &'static str) -> Self {
        self.method("HEAD", path).reads()
    }

    /// It changes something, and repeating it would do so again.
    pub(crate) fn post(self, path: &'static str) -> Self {
        self.method("POST", path)
    }

    /// It changes something; repeating it leaves the same.
    pub(crate) fn put(self, path: &'static str) -> Self {
        self.method("PUT", path).natural()
    }

    /// It changes something; repeating it leaves the same.
    pub(crate) fn patch(self, path: &'static str) -> Self {
        self.method("PATCH", path).natural()
    }

    /// It removes something.
    pub(crate) fn delete(self, path: &'static str) -> Self {
        self.method("DELETE", path).natural().destructive()
    }

    /// It only looks, whatever its method.
    pub(crate) fn reads(mut self) -> Self {
        self.action.side_effect = SideEffect::Read;
        self.natural()
    }

    /// It removes something or cannot be undone.
    pub(crate) fn destructive(mut self) -> Self {
        self.action.side_effect = SideEffect::Destructive;
        self
    }

    /// Repeating it does no harm.
    pub(crate) fn natural(mut self) -> Self {
        self.action.idempotency = Idempotency::Natural;
        self
    }

    /// Repeating it would do the work twice.
    pub(crate) fn once(mut self) -> Self {
        self.action.idempotency = Idempotency::None;
        self
    }

    /// The vendor takes our idempotency key: in its header, or as an id that the shape sets.
    pub(crate) fn keyed(mut self) -> Self {
        self.action.idempotency = Idempotency::Key;
        self
    }

    /// It goes to another host: the setting that may name it, and its usual address.
    pub(crate) fn host(mut self, setting: &'static str, base: &'static str) -> Self {
        self.host = Some((setting, base));
        self
    }

    /// Fields of the query, where there is a body too.
    pub(crate) fn query(mut self, fields: &'static [&'static str]) -> Self {
        self.query = fields;
        self
    }

    /// The body is an object with this one field, which holds what is left of the input.
    pub(crate) fn within(mut self, field: &'static str) -> Self {
        self.within = field;
        self
    }

    /// A document of GraphQL. Fields of the input that are variables of it go by their names; the others go into the
    /// variable `input`, or whatever [`within`](Call::within) calls it.
    pub(crate) fn graphql(mut self, path: &'static str, document: &'static str) -> Self {
        self.document = document;
        self.method("POST", path)
    }

    /// Where in the answer the output stands: a JSON pointer.
    pub(crate) fn at(mut self, pointer: &'static str) -> Self {
        self.at = pointer;
        self
    }

    /// As [`at`](Call::at), where null says that there is no such thing.
    pub(crate) fn if_any(mut self, pointer: &'static str) -> Self {
        self.may_miss = true;
        self.at(pointer)
    }

    /// The answer has no body that matters: the output is its status, and these headers under these names.
    pub(crate) fn status(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.status_only = true;
        self.headers = headers;
        self
    }

    /// It answers in pages.
    pub(crate) fn pages(mut self, pages: Pages) -> Self {
        let place = self.action.input.pointer_mut("/properties").and_then(Value::as_object_mut);
        if let Some(properties) = place {
            properties.insert(
                "max_pages".into(),
                json!({
                    "type": "integer", "minimum": 1, "maximum": MAX_PAGES,
                    "description": "How many pages are read at most, their items put together; 1 if not given."
                }),
            );
        }
        self.pages = Some(pages);
        self
    }

    /// The vendor's scopes that it needs.
    pub(crate) fn scopes(mut self, scopes: &[&str]) -> Self {
        self.action.scopes = scopes.iter().map(ToString::to_string).collect();
        self
    }

    /// Shapes its request by hand, before the rest of the input becomes the body.
    pub(crate) fn shape(mut self, shape: Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Reads an answer that is not JSON.
    pub(crate) fn decode(mut self, decode: fn(&[u8]) -> Value) -> Self {
        self.decode = Some(decode);
        self
    }

    /// Adds to what the vendor says.
    pub(crate) fn then(mut self, then: fn(&mut Value)) -> Self {
        self.then = Some(then);
        self
    }

    /// Carries it out by hand.
    pub(crate) fn run(mut self, run: Run) -> Self {
        self.run = Some(run);
        self
    }

    /// Whether a lost answer leaves nothing behind.
    pub(crate) fn safe(&self) -> bool {
        self.action.side_effect == SideEffect::Read
    }

    /// Carries the action out.
    pub(crate) async fn perform(&self, api: &Api, cx: &Cx, input: &Value) -> Result<Value> {
        let full = || format!("{}.{}", api.vendor.name, self.action.name);
        let mut fields = input.as_object().cloned().unwrap_or_default();
        let most = match (self.pages.is_some(), fields.remove("max_pages")) {
            (true, Some(n)) => n.as_u64().unwrap_or(1).clamp(1, MAX_PAGES),
            _ => 1,
        };
        (self.check)(&full(), &Value::Object(fields.clone()))?;
        // A field that is null is one that is not given, except where that clears something.
        if self.method != "PATCH" {
            fields.retain(|_, v| !v.is_null());
        }
        let session = Session::open(api, cx, self)?;
        let value = match (&self.run, &self.pages) {
            (Some(run), _) => run(&session, fields).await,
            (None, Some(pages)) => pages.read(&session, self, fields, most).await,
            (None, None) => self.once_through(&session, fields).await,
        };
        // Whatever the network thinks of a POST: what only reads leaves nothing behind.
        let mut value = value.map_err(|e| if self.safe() { e.effect_is(Effect::None) } else { e })?;
        if let Some(then) = self.then {
            then(&mut value);
        }
        (self.answer)(value).map_err(|e| {
            let message = format!("the answer to `{}` is not what its documentation says: {e}", full());
            let effect = if self.safe() { Effect::None } else { Effect::Done };
            Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message).effect_is(effect)
        })
    }

    async fn once_through(&self, session: &Session<'_>, fields: Object) -> Result<Value> {
        let reply = session.send(self.ask(session, fields)?).await?;
        self.pick(&reply)
    }

    /// The request for an input.
    pub(crate) fn ask(&self, session: &Session<'_>, mut fields: Object) -> Result<Ask> {
        let mut ask = Ask::new(self.method, "");
        ask.host = self.host;
        ask.path = fill(self.path, &mut fields, |name| session.connection.text(name))?;
        if self.action.idempotency == Idempotency::Key && !session.vendor().key_header.is_empty() {
            ask.header(session.vendor().key_header, &session.cx.idempotency_key);
        }
        let style = &session.vendor().style;
        for name in self.query {
            if let Some(value) = fields.remove(*name).filter(|v| !v.is_null()) {
                style.query(&mut ask, name, &value);
            }
        }
        if let Some(shape) = self.shape {
            shape(&mut ask, &mut fields, session)?;
        }
        if !self.document.is_empty() {
            fields = self.variables(fields);
        } else if !self.within.is_empty() && ask.body.is_none() {
            fields = Object::from_iter([(self.within.to_owned(), Value::Object(fields))]);
        }
        if matches!(self.method, "GET" | "HEAD" | "DELETE") {
            fields.iter().for_each(|(name, value)| style.query(&mut ask, name, value));
        } else if ask.body.is_none() {
            style.body(&mut ask, fields)?;
        }
        Ok(ask)
    }

    /// A request of GraphQL, with the input as its variables.
    fn variables(&self, fields: Object) -> Object {
        let inside = if self.within.is_empty() { "input" } else { self.within };
        let named = |name: &str| self.document.contains(&format!("${name}:"));
        let (mut variables, rest): (Object, Object) = fields.into_iter().partition(|(name, _)| named(name));
        if named(inside) && !variables.contains_key(inside) {
            variables.insert(inside.to_owned(), Value::Object(rest));
        }
        Object::from_iter([
            ("query".to_owned(), self.document.into()),
            ("variables".to_owned(), variables.into()),
        ])
    }

    /// What matters of an answer.
    pub(crate) fn pick(&self, reply: &Reply) -> Result<Value> {
        if self.status_only {
            let mut out = json!({"status": reply.status});
            for (name, header) in self.headers {
                out[*name] = reply.header(header).map_or(Value::Null, Value::from);
            }
            return Ok(out);
        }
        let mut body = match self.decode {
            Some(decode) => decode(&reply.body),
            None => reply.json()?,
        };
        let found = body.pointer_mut(self.at).map_or(Value::Null, Value::take);
        if self.may_miss && found.is_null() && body.pointer(self.at).is_some() {
            let message = format!("`{}` found nothing of this id", self.action.name);
            return Err(Error::not_found("connector.not_found", message));
        }
        Ok(found)
    }
}
