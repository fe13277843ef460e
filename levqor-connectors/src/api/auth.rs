//! How requests authenticate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::connector::{AuthKind, Connection};
use levqor_core::error::Result;
use url::Url;

use super::oauth::Grant;
use super::request::{Ask, percent};
use super::session::Session;
use crate::kit::{setting_error, text};

/// A setting and what it is.
pub(crate) type Setting = (&'static str, &'static str);

/// A setting, what it is, where it goes, and what stands before it there.
pub(crate) type Named = (Setting, &'static str, &'static str);

/// A way to authenticate.
pub(crate) enum Auth {
    /// `Authorization: Bearer` with the setting `token`.
    Bearer(&'static str),
    /// Settings in headers of their own; the first must be given. Each with what stands before it.
    Header(&'static [Named]),
    /// Settings in the query; all must be given.
    Query(&'static [Named]),
    /// `Authorization: Basic` with two settings.
    Basic(Setting, Setting),
    /// `Authorization: Basic` with a user that the vendor does not look at, and a setting.
    Key(&'static str, Setting),
    /// The setting `token` in the path, behind this prefix.
    Path(&'static str, &'static str),
    /// A bearer token that is renewed.
    Renewed(&'static Grant),
    /// Nothing, at an address that the connection names: a server of one's own.
    Open,
    /// The request is signed when it is ready.
    Sign(&'static [Setting], Signer),
    /// The action does it by itself.
    Own(AuthKind, &'static [Setting]),
}

/// Signs a request: adds headers that depend on method, address, headers and body.
pub(crate) type Signer = fn(&Session<'_>, &Ask, &str, &mut Vec<(String, String)>) -> Result<()>;

impl Auth {
    pub(crate) fn kind(&self) -> AuthKind {
        match self {
            Auth::Basic(..) | Auth::Key(..) => AuthKind::Basic,
            Auth::Path(..) | Auth::Header(_) | Auth::Query(_) => AuthKind::ApiKey,
            Auth::Renewed(_) => AuthKind::OAuth2,
            Auth::Bearer(_) | Auth::Open => AuthKind::Bearer,
            Auth::Sign(..) => AuthKind::Signature,
            Auth::Own(kind, _) => *kind,
        }
    }

    pub(crate) fn settings(&self) -> Vec<Setting> {
        match self {
            Auth::Bearer(what) | Auth::Path(_, what) => vec![("token", *what)],
            Auth::Basic(user, password) => vec![*user, *password],
            Auth::Key(_, setting) => vec![*setting],
            Auth::Header(all) | Auth::Query(all) => all.iter().map(|(setting, ..)| *setting).collect(),
            Auth::Renewed(grant) => grant.settings(),
            Auth::Open => vec![],
            Auth::Own(_, settings) | Auth::Sign(settings, _) => settings.to_vec(),
        }
    }

    /// What it needs, for a hint.
    pub(crate) fn needs(&self) -> &'static str {
        match self {
            Auth::Bearer(_) | Auth::Path(..) => "a `token`",
            Auth::Basic(..) => "user and password as its manifest names them",
            Auth::Renewed(grant) => grant.needs(),
            Auth::Open => "a `base_url`",
            Auth::Sign(..) | Auth::Own(..) | Auth::Header(_) | Auth::Query(_) | Auth::Key(..) => {
                "the settings that its manifest names"
            }
        }
    }

    /// Whether the connection has what it needs.
    pub(crate) fn given(&self, connection: &Connection) -> bool {
        let has = |name: &str| connection.text(name).is_some_and(|t| !t.is_empty());
        match self {
            Auth::Bearer(_) | Auth::Path(..) => has("token"),
            Auth::Basic((user, _), (password, _)) => has(user) && has(password),
            Auth::Key(_, (name, _)) => has(name),
            Auth::Header(all) => all.iter().take(1).all(|((name, _), ..)| has(name)),
            Auth::Query(all) => all.iter().all(|((name, _), ..)| has(name)),
            Auth::Renewed(grant) => grant.given(connection),
            Auth::Open => has("base_url"),
            Auth::Sign(settings, _) => settings.iter().take(2).all(|(name, _)| has(name)),
            Auth::Own(_, settings) => settings.iter().any(|(name, _)| has(name)),
        }
    }

    /// What the query gets.
    pub(crate) fn query(&self, connection: &Connection) -> Result<Vec<(String, String)>> {
        let mut out = Vec::new();
        if let Auth::Query(all) = self {
            for ((setting, _), name, before) in *all {
                let value = text(connection, setting)?.unwrap_or_default();
                out.push(((*name).to_owned(), format!("{before}{value}")));
            }
        }
        Ok(out)
    }

    /// Puts the credentials to a request: into its headers, or into the path behind the base.
    pub(crate) fn put(
        &self,
        connection: &Connection,
        token: Option<&str>,
        base: &Url,
        url: &mut String,
        headers: &mut Vec<(String, String)>,
    ) -> Result<()> {
        let mut bearer = |token: &str| headers.push(("authorization".into(), format!("Bearer {token}")));
        match self {
            // The session puts settings into the query, and signs.
            Auth::Open | Auth::Sign(..) | Auth::Own(..) | Auth::Query(_) => {}
            Auth::Key(user, (name, _)) => {
                let both = format!("{user}:{}", text(connection, name)?.unwrap_or_default());
                headers.push(("authorization".into(), format!("Basic {}", STANDARD.encode(both))));
            }
            Auth::Header(all) => {
                for ((setting, _), header, before) in *all {
                    if let Some(value) = text(connection, setting)? {
                        headers.push(((*header).to_owned(), format!("{before}{value}")));
                    }
                }
            }
            Auth::Renewed(_) => bearer(token.unwrap_or_default()),
            Auth::Bearer(_) => bearer(text(connection, "token")?.unwrap_or_default()),
            Auth::Basic((user, _), (password, _)) => {
                let user = text(connection, user)?.unwrap_or_default();
                if user.contains(':') {
                    return Err(setting_error(connection, "user", "a user's name cannot hold a colon"));
                }
                let both = format!("{user}:{}", text(connection, password)?.unwrap_or_default());
                headers.push(("authorization".into(), format!("Basic {}", STANDARD.encode(both))));
            }
            Auth::Path(prefix, _) => {
                let token = text(connection, "token")?.unwrap_or_default();
                let behind = base.as_str().trim_end_matches('/').len();
                url.insert_str(behind, &format!("/{prefix}{}", percent(token, b":")));
            }
        }
        Ok(())
    }
}
