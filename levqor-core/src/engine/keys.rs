use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Engine;
use crate::access::key::{ApiKey, Cached, KeyDocument, KeyInfo, KeyState, KeyText, NewKey, parse, unknown};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Decision;
use crate::records::{Expect, Record, RecordOp};
use crate::store::{Batch, Page, RecordRead};
use crate::types::{KeyId, Millis, Tenant};

/// Records of this kind are keys, by id.
const KEY: &str = "api_key";
/// Records of this kind say when a key was used last.
const USED: &str = "api_key_used";
/// How often a change is tried anew that others came before.
const TRIES: usize = 8;
/// The most last uses of one commit.
const USES: usize = 500;

/// The kind of the records that list the keys of an account.
fn index(account: &str) -> String {
    format!("api_key_of:{account}")
}

/// API keys: made, checked, replaced, called off.
///
/// A key is looked up in the store at most once in [`FRESH`](crate::access::key::FRESH); between, checking it
/// costs under a microsecond and no I/O. One that was revoked is refused at once in this process and, within
/// [`STALE`](crate::access::key::STALE), in all others.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> levqor_core::error::Result<()> {
/// # use levqor_core::{access::key::NewKey, backend::Backend, engine::*, types::*};
/// # let engine = Engine::builder(Backend::memory()).build()?;
/// let keys = engine.keys();
/// let made = keys.create(NewKey::new("ci").account("acme").scopes(["runs:*"])).await?;
/// let key = keys.verify(made.expose(), &["runs:write"]).await?;
/// assert_eq!(key.account.as_deref(), Some("acme"));
/// keys.revoke(&key.id).await?;
/// assert_eq!(keys.verify(made.expose(), &["runs:write"]).await.unwrap_err().code(), "key.revoked");
/// # Ok(())
/// # }
/// ```
pub struct Keys<'a>(pub(super) &'a Engine);

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFilter {
    /// Of this account.
    pub account: Option<String>,
    /// Also those that are expired or revoked.
    pub ended: bool,
}

impl Keys<'_> {
    /// Makes a key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// `key.invalid`, `key.bad_scope`, and what a quota's text says.
    pub async fn create(&self, new: NewKey) -> Result<ApiKey> {
        let now = self.0.now();
        let key = ApiKey::mint(self.prefix(), KeyId::new(now));
        let document = KeyDocument::new(new, &key, now)?;
        let mut batch = self.0.batch().op(put(&key.id, &document, Expect::Absent)?);
        if let Some(account) = &document.account {
            batch = batch.op(RecordOp::Put {
                kind: index(account).into(),
                name: key.id.shared(),
                body: "{}".into(),
                expect: Expect::Absent,
                expires_at: None,
            });
        }
        self.commit(batch).await?;
        Ok(key)
    }

    /// The key of a text, if it may pass and has the scopes.
    ///
    /// # Errors
    /// `key.malformed`, `key.unknown`, `key.expired` and `key.revoked` (401), `key.scope_missing` (403).
    pub async fn verify<S: AsRef<str>>(&self, text: &str, scopes: &[S]) -> Result<Arc<KeyInfo>> {
        if let Some(outcome) = self.verify_now(text, scopes) {
            self.flush_later();
            return outcome;
        }
        let text = parse(text, self.prefix())?;
        let id = text.id();
        let now = self.0.now();
        let found = self.reads().record(&self.0.tenant, KEY, id.as_str()).await?;
        let record = found.ok_or_else(unknown)?;
        let document = document(&record)?;
        let cached = Cached::new(self.0.tenant.clone(), id, &document, now);
        let cached = self.0.inner.keys.put(&text, cached, now);
        let outcome = self.judge(&cached, &text, scopes);
        self.flush_later();
        outcome
    }

    /// Writes last uses down beside the call, if it is time.
    fn flush_later(&self) {
        if !self.0.inner.keys.due(self.0.now()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let engine = self.0.clone();
        drop(runtime.spawn(async move {
            if let Err(e) = engine.keys().flush().await {
                tracing::warn!(code = e.code(), "the last use of keys could not be written down");
            }
        }));
    }

    /// The same without waiting for anything: `None` if the key has to be looked up. A malformed one has not.
    pub fn verify_now<S: AsRef<str>>(&self, text: &str, scopes: &[S]) -> Option<Result<Arc<KeyInfo>>> {
        let text = match parse(text, self.prefix()) {
            Ok(text) => text,
            Err(e) => return Some(Err(e)),
        };
        let cached = self.0.inner.keys.find(&self.0.tenant, &text, self.0.now())?;
        Some(self.judge(&cached, &text, scopes))
    }

    fn judge<S: AsRef<str>>(&self, cached: &Cached, text: &KeyText<'_>, scopes: &[S]) -> Result<Arc<KeyInfo>> {
        let now = self.0.now();
        let info = cached.judge(text, now)?;
        self.0.inner.keys.used(cached, now);
        info.require(scopes)?;
        Ok(info)
    }

    /// Asks the key's own limit about a call that costs so many units; `None` if it has none.
    pub async fn limit(&self, key: &KeyInfo, cost: u32) -> Result<Option<Decision>> {
        match key.asks(cost)?.as_slice() {
            [] => Ok(None),
            asks => self.0.limit(asks).await.map(Some),
        }
    }

    /// Gives a key another text. The one before passes too, for as long as `overlap` says.
    ///
    /// # Errors
    /// `key.unknown_id`, `key.revoked`, `key.expired`.
    pub async fn rotate(&self, id: &KeyId, overlap: Millis) -> Result<ApiKey> {
        let key = ApiKey::mint(self.prefix(), id.clone());
        self.change(id, |document, now| document.rotate(&key, overlap, now).map(|()| true))
            .await?;
        Ok(key)
    }

    /// Refuses a key from now on. Doing so twice changes nothing.
    ///
    /// # Errors
    /// `key.unknown_id`.
    pub async fn revoke(&self, id: &KeyId) -> Result<KeyInfo> {
        let document = self.change(id, |document, now| Ok(document.revoke(now))).await?;
        self.info(id.clone(), &document).await
    }

    /// A key by its id.
    ///
    /// # Errors
    /// `key.unknown_id`.
    pub async fn get(&self, id: &KeyId) -> Result<KeyInfo> {
        let (_, document) = self.load(id).await?;
        self.info(id.clone(), &document).await
    }

    /// Keys in the order they were made. A page that is shorter than was asked for is the last.
    pub async fn list(&self, filter: &KeyFilter, page: &Page) -> Result<Vec<KeyInfo>> {
        let kind = filter.account.as_deref().map_or(KEY.to_owned(), index);
        let (mut found, mut after) = (Vec::new(), page.after.clone());
        while found.len() < page.limit {
            let part = Page {
                after: after.take(),
                limit: page.limit,
            };
            let records = self.reads().records(&self.0.tenant, &kind, &part).await?;
            for record in &records {
                let id = KeyId::stored(record.name.clone());
                let document = match filter.account {
                    None => document(record)?,
                    Some(_) => self.load(&id).await?.1,
                };
                let info = document.info(id, None);
                if filter.ended || info.state(self.0.now()) == KeyState::Active {
                    found.push(info);
                }
                if found.len() == page.limit {
                    break;
                }
            }
            match records.last() {
                Some(last) if records.len() == page.limit => after = Some(last.name.to_string()),
                _ => break,
            }
        }
        for info in &mut found {
            info.last_used_at = self.last_used(&info.id).await?;
        }
        Ok(found)
    }

    /// Writes down the last uses of this process that are not written yet: before it ends, say.
    pub async fn flush(&self) -> Result<()> {
        // Whoever comes later waits until what another took is written.
        let _turn = self.0.inner.key_uses.lock().await;
        let mut uses = self.0.inner.keys.take_uses();
        uses.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut rest = uses.as_slice();
        while let Some(((tenant, _), _)) = rest.first() {
            let same = rest.iter().take(USES).take_while(|((t, _), _)| t == tenant).count();
            let (now, later) = rest.split_at(same);
            let batch = now
                .iter()
                .fold(Batch::new(tenant.clone(), self.0.now()), |batch, ((_, id), at)| {
                    batch.op(RecordOp::Put {
                        kind: USED.into(),
                        name: id.shared(),
                        body: json!({"at": at}).to_string().into(),
                        expect: Expect::Any,
                        expires_at: None,
                    })
                });
            if let Err(e) = self.commit(batch).await {
                self.0.inner.keys.give_back(rest);
                return Err(e);
            }
            rest = later;
        }
        Ok(())
    }

    async fn change(&self, id: &KeyId, how: impl Fn(&mut KeyDocument, Millis) -> Result<bool>) -> Result<KeyDocument> {
        let mut tries = 0;
        loop {
            let (version, mut document) = self.load(id).await?;
            if !how(&mut document, self.0.now())? {
                return Ok(document);
            }
            let batch = self.0.batch().op(put(id, &document, Expect::Version(version))?);
            match self.commit(batch).await {
                Err(e) if e.code() == "record.changed" && tries < TRIES => tries += 1,
                outcome => {
                    self.0.inner.keys.forget(id);
                    return outcome.map(|()| document);
                }
            }
        }
    }

    async fn load(&self, id: &KeyId) -> Result<(i64, KeyDocument)> {
        let found = self.reads().record(&self.0.tenant, KEY, id.as_str()).await?;
        let record = found.ok_or_else(|| Error::not_found("key.unknown_id", format!("there is no API key {id}")))?;
        Ok((record.version, document(&record)?))
    }

    async fn info(&self, id: KeyId, document: &KeyDocument) -> Result<KeyInfo> {
        let used = self.last_used(&id).await?;
        Ok(document.info(id, used))
    }

    async fn last_used(&self, id: &KeyId) -> Result<Option<Millis>> {
        #[derive(Deserialize)]
        struct Used {
            at: Millis,
        }
        let found = self.reads().record(&self.0.tenant, USED, id.as_str()).await?;
        let read =
            |record: &Record| serde_json::from_str::<Used>(&record.body).map_err(|_| corrupt(&record.tenant, &record.name));
        found.as_deref().map(read).transpose().map(|used| used.map(|u| u.at))
    }

    fn prefix(&self) -> &str {
        &self.0.inner.options.key_prefix
    }

    fn reads(&self) -> Arc<dyn RecordRead> {
        self.0.inner.backend.store.reads().records
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.0.inner.backend.store.commit(batch).await.map(drop)
    }
}

fn put(id: &KeyId, document: &KeyDocument, expect: Expect) -> Result<RecordOp> {
    let body = serde_json::to_string(document).map_err(|e| Error::internal(format!("a key cannot be written: {e}")))?;
    Ok(RecordOp::Put {
        kind: KEY.into(),
        name: id.shared(),
        body: body.into(),
        expect,
        expires_at: None,
    })
}

fn document(record: &Record) -> Result<KeyDocument> {
    serde_json::from_str(&record.body).map_err(|_| corrupt(&record.tenant, &record.name))
}

fn corrupt(tenant: &Tenant, name: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "key.corrupt",
        format!("what is stored of the API key {name} of {tenant} cannot be read"),
    )
}
