//! What is kept of a key, and whether it may pass.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::refused;
use super::scope::{self, unknown};
use super::text::{ApiKey, KeyDigest};
use crate::error::{Error, Result};
use crate::limits::{Ask, Quota};
use crate::types::{KeyId, Millis};

/// How many texts of one key are remembered: the one in use and those before it.
const TEXTS: usize = 4;
/// The most bytes of a key's metadata, as JSON.
const METADATA: usize = 4 << 10;

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewKey {
    /// What its owner calls it; at most 200 bytes.
    pub name: String,
    /// Whose it is: who pays for what is done with it.
    pub account: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How often it may be used: quotas, separated by `;`, like `60/minute burst 10; 10000/day`.
    pub limit: Option<String>,
    /// From then on it is refused.
    pub expires_at: Option<Millis>,
    /// Anything, up to 4 KiB of JSON. No secrets: it is listed.
    pub metadata: Map<String, Value>,
}

impl NewKey {
    /// A key with a name.
    pub fn new(name: impl Into<String>) -> Self {
        NewKey {
            name: name.into(),
            ..NewKey::default()
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// What it may do.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// How often it may be used.
    #[must_use]
    pub fn limit(mut self, quotas: impl Into<String>) -> Self {
        self.limit = Some(quotas.into());
        self
    }

    /// From then on it is refused.
    #[must_use]
    pub fn expires_at(mut self, at: Millis) -> Self {
        self.expires_at = Some(at);
        self
    }

    fn check(&self, now: Millis) -> Result<()> {
        let bad = |at: &str, what: &str| Err(Error::invalid("key.invalid", what).at(at));
        let plain = |text: &str| text.len() <= 200 && !text.chars().any(char::is_control);
        if !plain(&self.name) {
            return bad("/name", "a key's name has at most 200 bytes and no control characters");
        }
        if self.account.as_deref().is_some_and(|a| a.is_empty() || !plain(a)) {
            return bad("/account", "an account's name has 1 to 200 bytes and no control characters");
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return bad("/expires_at", "the key would have expired already");
        }
        if serde_json::to_string(&self.metadata).map_or(true, |text| text.len() > METADATA || text.contains("\\u0000")) {
            return bad(
                "/metadata",
                "a key's metadata is at most 4 KiB of JSON, without NUL characters",
            );
        }
        scope::check(&self.scopes)?;
        quotas(self.limit.as_deref()).map(drop).map_err(|e| e.at("/limit"))
    }
}

/// The quotas of a limit's text.
fn quotas(text: Option<&str>) -> Result<Vec<Quota>> {
    let parts = text.into_iter().flat_map(|t| t.split(';')).map(str::trim);
    let all = parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let quota: Quota = part.parse()?;
            quota.check()?;
            Ok(quota)
        })
        .collect::<Result<Vec<_>>>()?;
    if all.len() > 4 {
        return Err(Error::invalid("key.invalid", "a key has at most four quotas"));
    }
    Ok(all)
}

/// One text of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretHash {
    /// SHA-256 of the text, base64url.
    pub hash: String,
    /// When it was made.
    pub made_at: Millis,
    /// From then on it is refused; of the one in use, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

/// What is kept of a key. What a later version adds is left alone when it is read, and lost when it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyDocument {
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// From then on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// What its owner wrote beside it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it is refused, by its owner's will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Millis>,
    /// Its texts, the one in use first.
    pub texts: Vec<SecretHash>,
}

impl KeyDocument {
    /// What is kept of a new key.
    pub fn new(new: NewKey, key: &ApiKey, now: Millis) -> Result<Self> {
        new.check(now)?;
        Ok(KeyDocument {
            name: new.name,
            account: new.account,
            scopes: new.scopes,
            limit: new.limit.filter(|text| !text.trim().is_empty()),
            expires_at: new.expires_at,
            metadata: new.metadata,
            created_at: now,
            revoked_at: None,
            texts: vec![hash_of(key, now)],
        })
    }

    /// Puts another text in its place. The texts before it pass until `now + overlap`, if they would pass so
    /// long anyway.
    ///
    /// # Errors
    /// `key.revoked`, `key.expired`, and `key.rotated_too_often` of a key with four texts that still pass.
    pub fn rotate(&mut self, key: &ApiKey, overlap: Millis, now: Millis) -> Result<()> {
        if overlap < Millis::ZERO {
            return Err(Error::invalid("key.invalid", "an overlap is no negative time").at("/overlap"));
        }
        self.alive(now)?;
        let end = now + overlap;
        for text in &mut self.texts {
            text.until = Some(text.until.map_or(end, |until| until.min(end)));
        }
        self.texts.insert(0, hash_of(key, now));
        // Those that are over are kept a while, so that who still shows one learns why it is refused.
        if self.texts.len() > TEXTS {
            let over = self
                .texts
                .iter()
                .rposition(|text| text.until.is_some_and(|until| until <= now));
            let Some(over) = over else {
                return Err(
                    Error::conflict("key.rotated_too_often", "the key has too many texts that still pass")
                        .hint("wait until one of them is over, or rotate with a shorter overlap"),
                );
            };
            self.texts.remove(over);
        }
        Ok(())
    }

    /// Refuses it from now on. Doing so twice changes nothing.
    pub fn revoke(&mut self, now: Millis) -> bool {
        let first = self.revoked_at.is_none();
        self.revoked_at.get_or_insert(now);
        first
    }

    fn alive(&self, now: Millis) -> Result<()> {
        match state(self.revoked_at, self.expires_at, now) {
            KeyState::Active => Ok(()),
            KeyState::Revoked => Err(refused("key.revoked", "the API key was revoked")),
            KeyState::Expired => Err(refused("key.expired", "the API key has expired")),
        }
    }

    /// The digests of its texts, each with its end.
    pub(super) fn digests(&self) -> Vec<(KeyDigest, Option<Millis>)> {
        let decode = |text: &SecretHash| Some((KeyDigest::decode(&text.hash)?, text.until));
        self.texts.iter().filter_map(decode).collect()
    }

    /// What may be shown of it.
    pub fn info(&self, id: KeyId, last_used_at: Option<Millis>) -> KeyInfo {
        let key = self.clone();
        KeyInfo {
            id,
            name: key.name,
            account: key.account,
            scopes: key.scopes,
            limit: key.limit,
            expires_at: key.expires_at,
            metadata: key.metadata,
            created_at: self.created_at,
            revoked_at: self.revoked_at,
            rotated_at: self.texts.first().map(|t| t.made_at).filter(|at| *at != self.created_at),
            previous_until: self.texts.get(1).and_then(|t| t.until),
            last_used_at,
        }
    }
}

fn hash_of(key: &ApiKey, now: Millis) -> SecretHash {
    SecretHash {
        hash: key.digest().encode(),
        made_at: now,
        until: None,
    }
}

fn state(revoked_at: Option<Millis>, expires_at: Option<Millis>, now: Millis) -> KeyState {
    match (revoked_at, expires_at) {
        (Some(_), _) => KeyState::Revoked,
        (_, Some(at)) if at <= now => KeyState::Expired,
        _ => KeyState::Active,
    }
}

/// Whether a digest is one of a key's texts, and the key may pass. A wrong secret is told before anything
/// about the key: only who holds it learns that it was revoked.
pub(super) fn judge(digests: &[(KeyDigest, Option<Millis>)], info: &KeyInfo, shown: &KeyDigest, now: Millis) -> Result<()> {
    let Some((_, until)) = digests.iter().find(|(kept, _)| kept.fits(shown)) else {
        return Err(unknown());
    };
    match info.state(now) {
        KeyState::Revoked => Err(refused("key.revoked", "the API key was revoked").hint("use another key")),
        KeyState::Expired => Err(refused("key.expired", "the API key has expired").hint("make a new key")),
        KeyState::Active if until.is_some_and(|at| at <= now) => Err(refused(
            "key.expired",
            "the API key was replaced, and its time beside the new one is over",
        )
        .hint("use the text that the key was given when it was rotated")),
        KeyState::Active => Ok(()),
    }
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It may pass.
    Active,
    /// Its time is over.
    Expired,
    /// Its owner called it off.
    Revoked,
}

/// A key as it may be shown: everything but its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub account: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How often it may be used.
    pub limit: Option<String>,
    /// From then on it is refused.
    pub expires_at: Option<Millis>,
    /// What its owner wrote beside it.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: Millis,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
    /// When it got the text that it has now, if that is not its first.
    pub rotated_at: Option<Millis>,
    /// Until then the text before that passes too.
    pub previous_until: Option<Millis>,
    /// When it was used last, exact to some minutes. Known where keys are got and listed.
    pub last_used_at: Option<Millis>,
}

impl KeyInfo {
    /// Where it stands.
    pub fn state(&self, now: Millis) -> KeyState {
        state(self.revoked_at, self.expires_at, now)
    }

    /// Refuses it if it lacks one of the scopes.
    ///
    /// # Errors
    /// `key.scope_missing` (403).
    pub fn require<S: AsRef<str>>(&self, scopes: &[S]) -> Result<()> {
        scope::require(&self.scopes, scopes)
    }

    /// What its own limit asks, for a call that costs so many units.
    pub fn asks(&self, cost: u32) -> Result<Vec<Ask>> {
        let quotas = quotas(self.limit.as_deref())?;
        let named = quotas.into_iter().enumerate().map(|(i, quota)| {
            let name = if i == 0 { "key".to_owned() } else { format!("key-{}", i + 1) };
            Ask::new(name, self.id.as_str(), quota).cost(cost)
        });
        Ok(named.collect())
    }
}
