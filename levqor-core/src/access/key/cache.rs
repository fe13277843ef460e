//! Keys that were looked up a moment ago.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::document::{KeyDocument, KeyInfo, judge};
use super::text::{KeyDigest, KeyText};
use crate::error::Result;
use crate::types::{KeyId, Millis, Tenant};

/// From this age on, one caller looks again while the others go on with what is known.
pub const FRESH: Millis = Millis(600);
/// From this age on, nobody goes on with it. A key that was revoked elsewhere is refused after this time at
/// the latest.
pub const STALE: Millis = Millis(900);
/// How exact the last use of a key is.
const USE_EVERY: Millis = Millis::mins(5);
/// How often uses are written down.
const FLUSH_EVERY: Millis = Millis::secs(10);
/// The most keys that are remembered.
const MOST: usize = 100_000;

/// A key that was looked up.
pub struct Cached {
    tenant: Tenant,
    info: Arc<KeyInfo>,
    digests: Vec<(KeyDigest, Option<Millis>)>,
    loaded_at: Millis,
    /// When somebody went to look again.
    asked_at: AtomicI64,
    /// When its use was noted last.
    noted_at: AtomicI64,
}

impl Cached {
    /// What was found in the store at `now`.
    pub fn new(tenant: Tenant, id: KeyId, document: &KeyDocument, now: Millis) -> Self {
        Cached {
            tenant,
            info: Arc::new(document.info(id, None)),
            digests: document.digests(),
            loaded_at: now,
            asked_at: AtomicI64::new(i64::MIN),
            noted_at: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether the text is the key's, and the key may pass.
    pub fn judge(&self, text: &KeyText<'_>, now: Millis) -> Result<Arc<KeyInfo>> {
        judge(&self.digests, &self.info, &text.digest(), now)?;
        Ok(self.info.clone())
    }

    fn usable(&self, now: Millis) -> bool {
        let age = now - self.loaded_at;
        // A clock that was set back says nothing about an age.
        if age < Millis::ZERO || age >= STALE {
            return false;
        }
        if age < FRESH {
            return true;
        }
        let asked = self.asked_at.load(Relaxed);
        asked != i64::MIN || self.asked_at.compare_exchange(asked, now.0, Relaxed, Relaxed).is_err()
    }
}

/// Keys that were looked up a moment ago, and uses that are to be written down.
#[derive(Default)]
pub struct KeyCache {
    keys: RwLock<HashMap<Box<str>, Arc<Cached>>>,
    uses: Mutex<Uses>,
}

#[derive(Default)]
struct Uses {
    at: HashMap<(Tenant, KeyId), Millis>,
    flushed_at: Option<Millis>,
}

impl KeyCache {
    /// The key, if it was looked up recently enough.
    pub fn find(&self, tenant: &Tenant, text: &KeyText<'_>, now: Millis) -> Option<Arc<Cached>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.get(text.bare_id)?;
        (found.tenant == *tenant && found.usable(now)).then(|| found.clone())
    }

    /// Remembers a key.
    pub fn put(&self, text: &KeyText<'_>, cached: Cached, now: Millis) -> Arc<Cached> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = keys.get(text.bare_id) {
            cached.noted_at.store(old.noted_at.load(Relaxed), Relaxed);
        }
        let cached = Arc::new(cached);
        if keys.len() >= MOST {
            keys.retain(|_, key| now - key.loaded_at < STALE);
        }
        if keys.len() < MOST {
            keys.insert(text.bare_id.into(), cached.clone());
        }
        cached
    }

    /// Forgets a key that was changed.
    pub fn forget(&self, id: &KeyId) {
        let bare = id.as_str().strip_prefix("key_").unwrap_or_default();
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(bare);
    }

    /// Notes a use. Costs nothing but a look at a number, most of the time.
    pub fn used(&self, key: &Cached, now: Millis) {
        let noted = key.noted_at.load(Relaxed);
        if noted != i64::MIN && now.0.saturating_sub(noted) < USE_EVERY.0 {
            return;
        }
        if key.noted_at.compare_exchange(noted, now.0, Relaxed, Relaxed).is_ok() {
            let mut uses = self.uses();
            if uses.at.len() < MOST {
                uses.at.insert((key.tenant.clone(), key.info.id.clone()), now);
            }
        }
    }

    /// Whether it is time to write uses down. Says so to one caller.
    pub fn due(&self, now: Millis) -> bool {
        // Somebody else is at it.
        let Ok(mut uses) = self.uses.try_lock() else { return false };
        if uses.at.is_empty() || uses.flushed_at.is_some_and(|at| now >= at && now - at < FLUSH_EVERY) {
            return false;
        }
        uses.flushed_at = Some(now);
        true
    }

    /// The uses that are to be written down.
    pub fn take_uses(&self) -> Vec<((Tenant, KeyId), Millis)> {
        self.uses().at.drain().collect()
    }

    /// Keeps uses that could not be written down.
    pub fn give_back(&self, uses: &[((Tenant, KeyId), Millis)]) {
        let mut kept = self.uses();
        for (key, at) in uses {
            kept.at.entry(key.clone()).or_insert(*at);
        }
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
