//! OAuth 2.0 tokens (RFC 6749): kept, renewed before they end, and by one caller at a time.
//!
//! A token is renewed at four fifths of its life, or when the vendor refuses it. However many calls find it stale,
//! one of them renews it and the others wait for that; a renewal that was begun is brought to its end even if the
//! call that began it is given up, since a refresh token may be good only once. Where the engine has a key to seal
//! with, all processes of a store share the tokens: one of them renews, and what it got is in the store, sealed, before
//! anybody uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use levqor_core::claims::Claim;
use levqor_core::clock::Clock;
use levqor_core::connector::Connection;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::records::Expect;
use levqor_core::transport::{Reach, Request, Response, Transport};
use levqor_core::types::{Millis, Tenant, secure_random};
use levqor_core::vault::Vault;
use serde_json::{Value, json};

use super::auth::Setting;
use super::request::encode;
use super::session::{Session, host};
use crate::kit::{base_url, setting_error, text};

/// How a vendor gives tokens.
pub(crate) struct Grant {
    /// Where tokens are given, unless the connection has a `token_url`.
    pub(crate) token_url: &'static str,
    /// What is asked for where a service account or client credentials ask and the connection has no `scopes`.
    pub(crate) scopes: &'static str,
    /// Whether it knows Google's service accounts (RFC 7523).
    pub(crate) service_accounts: bool,
    /// Whether an application can ask in its own name (RFC 6749, section 4.4).
    pub(crate) client_credentials: bool,
}

impl Grant {
    /// Refresh tokens only, given at this address.
    pub(crate) const fn code(token_url: &'static str) -> Self {
        Grant {
            token_url,
            scopes: "",
            service_accounts: false,
            client_credentials: false,
        }
    }

    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut all = vec![
            ("token", "an access token; renewed if there is a refresh token"),
            (
                "refresh_token",
                "gives new access tokens, with `client_id` and `client_secret`",
            ),
            ("client_id", "the OAuth application's id"),
            ("client_secret", "the OAuth application's secret"),
            ("token_url", "where tokens are given, if not at the vendor's usual address"),
        ];
        if self.client_credentials {
            all.push(("scopes", "what an application asks for in its own name, separated by spaces"));
        }
        if self.service_accounts {
            all.push(("service_account", "the JSON key of a service account, as downloaded"));
            all.push(("subject", "the user that a service account acts for"));
            all.push(("scopes", "what a service account asks for, separated by spaces"));
        }
        all
    }

    pub(crate) fn needs(&self) -> &'static str {
        if self.service_accounts {
            "a `token`, a `refresh_token` with `client_id` and `client_secret`, or a `service_account`"
        } else if self.client_credentials {
            "a `token`, or `client_id` and `client_secret`, with a `refresh_token` if it is a person's"
        } else {
            "a `token`, or a `refresh_token` with `client_id` and `client_secret`"
        }
    }

    /// Whether the connection has anything that leads to a token.
    pub(crate) fn given(&self, connection: &Connection) -> bool {
        connection.text("token").is_some_and(|t| !t.is_empty()) || self.renews(connection)
    }

    /// Whether the connection can give new tokens.
    pub(crate) fn renews(&self, connection: &Connection) -> bool {
        let has = |name: &str| connection.text(name).is_some_and(|t| !t.is_empty());
        let own_name = self.client_credentials && has("client_id") && has("client_secret");
        own_name
            || (has("refresh_token") && has("client_id"))
            || (self.service_accounts && connection.value("service_account").is_some())
    }
}

/// The tokens of one vendor's accounts, in this process.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Held>>>>);

/// What is known of one account's token.
#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The refresh token, if the vendor gave another one than the connection has.
    rotated: Option<String>,
    /// A renewal that failed for good, and until when that is believed.
    failed: Option<(Millis, Error)>,
}

#[derive(Clone)]
struct Token {
    text: String,
    renew_at: Millis,
}

impl Token {
    /// Whether it is good as far as anybody knows, and not the one that the vendor refused.
    fn fresh(&self, now: Millis, refused: Option<&str>) -> bool {
        now < self.renew_at && refused != Some(self.text.as_str())
    }
}

/// Tokens of an account that all processes share, sealed in the store.
struct Shared {
    vault: Arc<Vault>,
    tenant: Tenant,
    name: String,
}

/// How long a renewal may take before another process tries.
const RENEWAL: Millis = Millis::mins(2);
/// How long a token that nobody asks for is kept.
const KEEP: Millis = Millis::hours(24 * 400);
/// How often is looked whether another process is done.
const LOOK: Duration = Duration::from_millis(25);

impl Shared {
    /// The newest token, and the refresh token if the vendor gave another one than the connection has.
    async fn load(&self) -> Result<Option<(Token, Option<String>)>> {
        let found = self.vault.recall(&self.tenant, &self.name).await?;
        Ok(found.and_then(|(_, kept)| {
            let token = Token {
                text: kept["token"].as_str()?.to_owned(),
                renew_at: Millis(kept["renew_at"].as_i64()?),
            };
            Some((token, kept["refresh_token"].as_str().map(str::to_owned)))
        }))
    }

    /// Shows the new token to the others before anybody uses it. If that fails the token is good here all the same,
    /// and a refresh token that is good only once is not lost to this process.
    async fn store(&self, token: &Token, rotated: Option<&str>) {
        let kept = json!({"token": token.text, "renew_at": token.renew_at.0, "refresh_token": rotated});
        for _ in 0..3 {
            let written = self.vault.remember(&self.tenant, &self.name, &kept, Expect::Any, KEEP).await;
            if written.is_ok() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A renewal to be carried out.
struct Job {
    grant: &'static Grant,
    connection: Option<Arc<Connection>>,
    shared: Option<Shared>,
    refused: Option<String>,
    rotated: Option<String>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    patience: Millis,
}

impl Job {
    /// The new token and the refresh token that goes with it. Over all processes one asks and the others wait for it.
    async fn run(self) -> Result<(Token, Option<String>)> {
        let Some(shared) = &self.shared else {
            return self.ask(self.rotated.clone()).await;
        };
        let claims = shared.vault.claims();
        let started = Instant::now();
        loop {
            let claim = claims.claim(&shared.tenant, &shared.name, RENEWAL, self.clock.now()).await?;
            let known = shared.load().await;
            let fresh = known.as_ref().is_ok_and(|k| {
                k.as_ref()
                    .is_some_and(|(t, _)| t.fresh(self.clock.now(), self.refused.as_deref()))
            });
            let Claim::Won { token: mine } = claim else {
                if fresh && let Some(known) = known? {
                    return Ok(known);
                }
                if Millis::from(started.elapsed()) > self.patience {
                    let message = "another process renews the token and does not come to an end";
                    return Err(Error::unavailable("auth.renewal_busy", message));
                }
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let done = match known {
                Ok(Some(known)) if fresh => Ok(known),
                Ok(known) => {
                    let rotated = known.and_then(|(_, rotated)| rotated).or_else(|| self.rotated.clone());
                    let given = self.ask(rotated).await;
                    if let Ok((token, rotated)) = &given {
                        shared.store(token, rotated.as_deref()).await;
                    }
                    given
                }
                Err(e) => Err(e),
            };
            // A claim that is not given back runs out by itself.
            let _ = claims.release(&shared.tenant, &shared.name, &mine, self.clock.now()).await;
            return done;
        }
    }

    async fn ask(&self, rotated: Option<String>) -> Result<(Token, Option<String>)> {
        let Some(connection) = &self.connection else {
            return Err(Error::internal("tokens are renewed without a connection"));
        };
        let renewal = Renewal::of(self.grant, connection, rotated.as_deref(), self.clock.now())?;
        let (token, new) = renewal
            .ask(&*self.transport, &*self.clock, self.patience, connection.name())
            .await?;
        Ok((token, new.or(rotated)))
    }
}

/// How long a failed renewal answers for all.
const FAILED_FOR: Millis = Millis::secs(30);
/// The life of a token whose giver does not say how long it lives.
const USUAL_LIFE: Millis = Millis::mins(30);
/// Accounts that are remembered at most.
const MOST: usize = 10_000;

impl Tokens {
    /// A token that is good as far as anybody knows. `refused`: one that the vendor did not take.
    pub(crate) async fn get(&self, grant: &'static Grant, session: &Session<'_>, refused: Option<&str>) -> Result<String> {
        let connection = session.connection;
        let fixed = text(connection, "token")?;
        if !grant.renews(connection) {
            return Ok(fixed.unwrap_or_default().to_owned());
        }
        let account = account(session);
        let slot = self.slot(&account);
        let mut held = slot.lock_owned().await;
        let now = session.cx.clock.now();
        if let Some(token) = held.token.as_ref().filter(|t| t.fresh(now, refused)) {
            return Ok(token.text.clone());
        }
        let shared = session.cx.vault.clone().map(|vault| Shared {
            vault,
            tenant: session.cx.tenant.clone(),
            name: format!("oauth-{}", account.rsplit('/').next().unwrap_or_default()),
        });
        // Another process may have been here.
        if let Some(shared) = &shared
            && let Some((token, rotated)) = shared.load().await?
        {
            (held.token, held.rotated) = (Some(token), rotated.or(held.rotated.take()));
            if let Some(token) = held.token.as_ref().filter(|t| t.fresh(now, refused)) {
                return Ok(token.text.clone());
            }
        }
        if let (None, None, Some(fixed)) = (&held.token, refused, fixed) {
            return Ok(fixed.to_owned());
        }
        if let Some((_, error)) = held.failed.as_ref().filter(|(until, _)| now < *until) {
            return Err(error.clone());
        }
        // What is wrong with the settings is said here and not by the task.
        Renewal::of(grant, connection, held.rotated.as_deref(), now)?;
        let job = Job {
            grant,
            connection: session.cx.connection.clone(),
            shared,
            refused: refused.map(str::to_owned),
            rotated: held.rotated.clone(),
            transport: Arc::clone(&session.cx.transport),
            clock: Arc::clone(&session.cx.clock),
            patience: session.patience(),
        };
        // A task of its own: a call that is given up must not lose a refresh token that was good only once.
        let task = tokio::spawn(async move {
            let clock = Arc::clone(&job.clock);
            match job.run().await {
                Ok((token, rotated)) => {
                    held.rotated = rotated;
                    held.failed = None;
                    held.token = Some(token.clone());
                    Ok(token.text)
                }
                Err(e) => {
                    if !e.retryable() {
                        held.failed = Some((clock.now() + FAILED_FOR, e.clone()));
                    }
                    Err(e)
                }
            }
        });
        task.await.map_err(|e| Error::internal(format!("a renewal died: {e}")))?
    }

    fn slot(&self, account: &str) -> Arc<tokio::sync::Mutex<Held>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(account) {
            all.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(all.entry(account.to_owned()).or_default())
    }
}

/// Whose token: a connection that gets other credentials is another account.
fn account(session: &Session<'_>) -> String {
    let c = session.connection;
    let parts = ["refresh_token", "client_id", "token_url", "subject", "scopes"].map(|n| c.text(n).unwrap_or_default());
    let key = c.value("service_account").map(Value::to_string).unwrap_or_default();
    let print = digest(&SHA256, format!("{parts:?}{key}").as_bytes());
    format!("{}/{}/{}", session.cx.tenant, c.name(), URL_SAFE_NO_PAD.encode(print))
}

/// A request for a token.
struct Renewal {
    url: String,
    reach: Reach,
    form: Vec<(String, String)>,
}

impl Renewal {
    fn of(grant: &Grant, connection: &Connection, rotated: Option<&str>, now: Millis) -> Result<Self> {
        let own = base_url(connection, "token_url")?.map(|u| u.as_str().trim_end_matches('/').to_owned());
        let reach = if own.is_some() { Reach::Any } else { Reach::Public };
        let url = match own {
            Some(url) => url,
            None => host(grant.token_url, connection)?,
        };
        let key = connection.value("service_account").filter(|_| grant.service_accounts);
        let form = if let Some(key) = key {
            let scopes = text(connection, "scopes")?.unwrap_or(grant.scopes);
            let subject = text(connection, "subject")?;
            let word = assertion(connection, key, scopes, subject, grant.token_url, now)?;
            vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                ("assertion", word),
            ]
        } else {
            let setting = |name: &str| Ok::<_, Error>(text(connection, name)?.unwrap_or_default().to_owned());
            if grant.client_credentials && rotated.is_none() && text(connection, "refresh_token")?.is_none() {
                let scopes = text(connection, "scopes")?.unwrap_or(grant.scopes).to_owned();
                let form = vec![
                    ("grant_type".to_owned(), "client_credentials".to_owned()),
                    ("scope".to_owned(), scopes),
                    ("client_id".to_owned(), setting("client_id")?),
                    ("client_secret".to_owned(), setting("client_secret")?),
                ];
                return Ok(Renewal { url, reach, form });
            }
            let refresh = rotated.map_or_else(|| setting("refresh_token"), |r| Ok(r.to_owned()))?;
            vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", refresh),
                ("client_id", setting("client_id")?),
                ("client_secret", setting("client_secret")?),
            ]
        };
        let form = form.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        Ok(Renewal { url, reach, form })
    }

    async fn ask(
        self,
        transport: &dyn Transport,
        clock: &dyn Clock,
        patience: Millis,
        connection: &str,
    ) -> Result<(Token, Option<String>)> {
        let mut request = Request::new("POST", self.url);
        request.reach = self.reach;
        request.timeout = patience;
        request.max_response = 256 << 10;
        request.headers = vec![
            ("content-type".into(), "application/x-www-form-urlencoded".into()),
            ("accept".into(), "application/json".into()),
        ];
        request.body = encode(&self.form).into();
        // Nothing of the action itself was sent so far.
        let answer = transport
            .send(request)
            .await
            .map_err(|e| e.effect_is(levqor_core::error::Effect::None))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let field = |name: &str| body.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let Some(token) = field("access_token").filter(|_| (200..300).contains(&answer.status)) else {
            return Err(refused(&answer, field("error"), connection));
        };
        let life = match body.get("expires_in") {
            Some(Value::Number(n)) => n.as_i64(),
            Some(Value::String(s)) => s.parse().ok(),
            _ => None,
        };
        let life = life
            .filter(|s| *s > 0)
            .map_or(USUAL_LIFE, |s| Millis(s.saturating_mul(1_000)));
        let token = Token {
            text: token.to_owned(),
            renew_at: clock.now() + Millis(life.0 / 5 * 4),
        };
        Ok((token, field("refresh_token").map(str::to_owned)))
    }
}

fn refused(answer: &Response, code: Option<&str>, connection: &str) -> Error {
    let status = answer.status;
    if status == 429 || status >= 500 {
        let message = format!("the tokens of the connection `{connection}` cannot be renewed now: answered with {status}");
        return Error::unavailable("auth.renewal_unavailable", message);
    }
    let code = crate::kit::shown(code.unwrap_or("no access token"), 60);
    let message = format!("the tokens of the connection `{connection}` cannot be renewed: {code}");
    Error::new(ErrorKind::Denied, "auth.reconnect", message)
        .with("provider_code", code)
        .with("status", status)
        .with("connection", connection)
        .hint("connect the account again")
}

/// A service account's signed word that it is it (RFC 7523): a JSON Web Token, good for an hour.
fn assertion(
    connection: &Connection,
    key: &Value,
    scopes: &str,
    subject: Option<&str>,
    audience: &str,
    now: Millis,
) -> Result<String> {
    let bad = || setting_error(connection, "service_account", "this is not the JSON key of a service account");
    let parsed;
    let key = match key {
        // As an environment variable gives it.
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).map_err(|_| bad())?;
            &parsed
        }
        other => other,
    };
    let field = |name: &str| key.get(name).and_then(Value::as_str).ok_or_else(bad);
    let pem: String = field("private_key")?.lines().filter(|l| !l.starts_with("-----")).collect();
    let pair = STANDARD
        .decode(pem.trim())
        .ok()
        .and_then(|der| RsaKeyPair::from_pkcs8(&der).ok())
        .ok_or_else(bad)?;
    let seconds = now.0.div_euclid(1_000);
    let mut claims = json!({
        "iss": field("client_email")?, "scope": scopes, "aud": audience, "iat": seconds, "exp": seconds + 3_600
    });
    if let Some(subject) = subject {
        claims["sub"] = subject.into();
    }
    let mut head = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = key.get("private_key_id").and_then(Value::as_str) {
        head["kid"] = id.into();
    }
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(head.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, secure_random(), signed.as_bytes(), &mut signature)
        .map_err(|_| bad())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
