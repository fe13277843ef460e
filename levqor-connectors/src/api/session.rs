//! One call of an action: whose account, and how requests get there and back.

use std::time::Instant;

use levqor_core::connector::{Connection, Cx};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::layers::Redactor;
use levqor_core::transport::{Reach, Request, Response};
use levqor_core::types::Millis;
use serde_json::Value;
use url::Url;

use super::auth::Auth;
use super::call::Call;
use super::fault::fault;
use super::request::{Ask, query_string};
use super::{Api, Object, Vendor};
use crate::kit::{base_url, known_settings, setting_error, text};

/// One call.
pub(crate) struct Session<'a> {
    api: &'a Api,
    pub(crate) cx: &'a Cx,
    pub(crate) connection: &'a Connection,
    call: &'a Call,
    auth: &'static Auth,
    started: Instant,
}

/// An answer that means success.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: bytes::Bytes,
    safe: bool,
    what: String,
}

impl Reply {
    /// The first header of a name (given in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; null if it is empty.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|e| {
            let message = format!("{} was answered with what is not JSON: {e}", self.what);
            let effect = if self.safe { Effect::None } else { Effect::Done };
            Error::new(ErrorKind::Corrupt, "connector.invalid_answer", message)
                .with("status", self.status)
                .effect_is(effect)
        })
    }
}

impl<'a> Session<'a> {
    /// Looks whether the connection has what the vendor needs. Nothing is sent.
    pub(crate) fn open(api: &'a Api, cx: &'a Cx, call: &'a Call) -> Result<Self> {
        let vendor = api.vendor;
        let ways: Vec<&str> = vendor.auth.iter().map(Auth::needs).collect();
        let hint = format!("give a connection with {}", ways.join(", or "));
        let Some(connection) = cx.connection.as_deref() else {
            let message = format!("`{}` needs a connection", vendor.name);
            return Err(Error::new(ErrorKind::Config, "connection.missing", message).hint(hint));
        };
        let known: Vec<&str> = api.manifest.settings.iter().map(|s| s.name.as_str()).collect();
        known_settings(connection, &known)?;
        let Some(auth) = vendor.auth.iter().find(|a| a.given(connection)) else {
            let message = format!(
                "the connection `{}` has no credentials for `{}`",
                connection.name(),
                vendor.name
            );
            return Err(Error::new(ErrorKind::Config, "connection.incomplete", message).hint(hint));
        };
        Ok(Session {
            api,
            cx,
            connection,
            call,
            auth,
            started: Instant::now(),
        })
    }

    /// The vendor.
    pub(crate) fn vendor(&self) -> &'static Vendor {
        self.api.vendor
    }

    /// The action as it may be shown.
    pub(crate) fn what(&self) -> String {
        format!("`{}.{}`", self.vendor().name, self.call.action.name)
    }

    /// The action's request for an input.
    pub(crate) fn ask(&self, fields: Object) -> Result<Ask> {
        self.call.ask(self, fields)
    }

    /// Whether an address lies where the connection says the vendor is.
    pub(crate) fn at_home(&self, url: &Url) -> Result<bool> {
        let home = base_url(self.connection, "base_url")?;
        Ok(home.is_some_and(|home| home.origin() == url.origin()))
    }

    /// What is left of the attempt's time.
    fn left(&self) -> Millis {
        self.cx.timeout - Millis::from(self.started.elapsed())
    }

    /// Where a request goes, and what it may reach there: what the connection names is the host's own word.
    fn base(&self, ask: &Ask) -> Result<(Url, Reach)> {
        let (setting, usual) = ask.host.unwrap_or(("base_url", self.vendor().base));
        let usual = ask.base.as_deref().unwrap_or(usual);
        // Where a stand-in or a proxy is named, nothing goes past it.
        for setting in [setting, "base_url"] {
            if let Some(url) = base_url(self.connection, setting)? {
                return Ok((url, Reach::Any));
            }
        }
        let usual = host(usual, self.connection)?;
        let url = Url::parse(&usual).map_err(|e| Error::internal(format!("{usual}: {e}")))?;
        Ok((url, Reach::Public))
    }

    /// Sends a request with the connection's credentials. A token that is refused is renewed once, if it can be.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Reply> {
        let mut refused: Option<String> = None;
        loop {
            let (base, reach) = self.base(&ask)?;
            let mut path = format!("{}/{}", base.as_str().trim_end_matches('/'), ask.path);
            let mut headers = ask.headers.clone();
            let token = match self.auth {
                Auth::Renewed(grant) => Some(self.api.tokens.get(grant, self, refused.as_deref()).await?),
                _ => None,
            };
            self.auth
                .put(self.connection, token.as_deref(), &base, &mut path, &mut headers)?;
            let mut query = ask.query.clone();
            query.extend(self.auth.query(self.connection)?);
            if !query.is_empty() {
                path = format!("{path}?{}", query_string(&query));
            }
            if let Auth::Sign(_, sign) = self.auth {
                sign(self, &ask, &path, &mut headers)?;
            }
            let answer = self.transmit(&ask, path, headers, reach).await?;
            let Some(error) = fault(self, ask.safe(), &answer, token.as_deref()) else {
                return Ok(self.reply(answer));
            };
            let renewable = matches!(error.code(), "auth.expired" | "auth.invalid") && refused.is_none();
            // A renewed token is no setting of the connection, so nobody else knows that it is a secret.
            let error = match &token {
                Some(token) => Redactor::new([token.as_str()]).error(&error),
                None => error,
            };
            match token {
                Some(token) if renewable && oauth_can_renew(self.auth, self.connection) => refused = Some(token),
                _ => return Err(error),
            }
        }
    }

    /// Sends a request to an address without the connection's credentials. `own`: the connection named it, and not
    /// the vendor.
    pub(crate) async fn send_to(&self, url: &str, own: bool, ask: Ask) -> Result<Reply> {
        let (base, reach) = self.base(&ask)?;
        let bad = |_| {
            let message = format!("{} was told to go on at what is no address", self.what());
            Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message)
        };
        let url = Url::parse(url).map_err(bad)?;
        let reach = match own {
            true => Reach::Any,
            false if url.origin() == base.origin() => reach,
            false => Reach::Public,
        };
        let headers = ask.headers.clone();
        let answer = self.transmit(&ask, url.into(), headers, reach).await?;
        match fault(self, ask.safe(), &answer, None) {
            None => Ok(self.reply(answer)),
            Some(error) => Err(error),
        }
    }

    async fn transmit(&self, ask: &Ask, url: String, headers: Vec<(String, String)>, reach: Reach) -> Result<Response> {
        let mut request = Request::new(ask.method, url);
        request.headers = headers;
        let fixed = self.vendor().headers.iter();
        for (name, value) in fixed {
            if !request.headers.iter().any(|(n, _)| n == name) {
                request.headers.push(((*name).into(), (*value).into()));
            }
        }
        for (setting, header) in self.vendor().setting_headers {
            if let Some(value) = text(self.connection, setting)? {
                request.headers.push(((*header).into(), value.into()));
            }
        }
        request.body = ask.body.clone().unwrap_or_default().into();
        request.timeout = self.left();
        request.max_response = ask.max_response;
        request.reach = reach;
        self.cx.transport.send(request).await
    }

    fn reply(&self, answer: Response) -> Reply {
        Reply {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            safe: self.call.safe(),
            what: self.what(),
        }
    }

    /// Where requests for this go, and their path so far.
    pub(crate) fn address(&self, ask: &Ask) -> Result<Url> {
        let (base, _) = self.base(ask)?;
        let address = format!("{}/{}", base.as_str().trim_end_matches('/'), ask.path);
        Url::parse(&address).map_err(|e| Error::invalid("connector.path_invalid", format!("the address cannot be read: {e}")))
    }

    /// Whether the action only looks.
    pub(crate) fn safe(&self) -> bool {
        self.call.safe()
    }

    /// The time that a token's renewal may take.
    pub(crate) fn patience(&self) -> Millis {
        self.left()
    }
}

/// The usual address, with settings in it: `{@name}`, or `{@name=usual}`. Of several, separated by a space, the first
/// whose settings are given.
pub(crate) fn host(usual: &str, connection: &Connection) -> Result<String> {
    let mut missing = "";
    'each: for template in usual.split(' ') {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once("{@") {
            let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
            let (name, default) = name.split_once('=').map_or((name, None), |(n, d)| (n, Some(d)));
            let Some(value) = text(connection, name)?.or(default) else {
                missing = name;
                continue 'each;
            };
            // It becomes a part of a host's name or of its path, and never more than that.
            if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) || value.starts_with('.') {
                return Err(setting_error(
                    connection,
                    name,
                    "letters, digits, dots, hyphens and underscores only",
                ));
            }
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        return Ok(out + rest);
    }
    let message = format!("the connection `{}` does not say where the account is", connection.name());
    let e = Error::new(ErrorKind::Config, "connection.incomplete", message).at(missing.to_owned());
    Err(e.hint(format!("give it the setting `{missing}`")))
}

fn oauth_can_renew(auth: &Auth, connection: &Connection) -> bool {
    matches!(auth, Auth::Renewed(grant) if grant.renews(connection))
}
