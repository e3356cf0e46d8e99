//! From a presented key to what is known of it: the cache first, then the store.

use crate::{
    api::error::Error,
    cache::{
        cached_key::CachedKey,
        key_cache::{CacheEntry, HASHES_PER_PAGE, filter_hash, fingerprint, limits_of},
    },
    domain::{digest::Digest, pasted, secret::ApiKey},
    platform::huge_pages::huge_pages,
    service::verification::state::Verifier,
};
use std::sync::{Arc, atomic::Ordering};

/// Said of a text that holds a credential and more.
pub const ALONE: &str = "holds a key or token and something else: send it alone";

impl Verifier {
    /// Reads the hashes of all stored keys once, page by page; until then unknown keys cost a read each.
    pub async fn learn_keys(&self) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        let restarts = self.key_cache.restarts.load(Ordering::Acquire);
        loop {
            let from = after.as_deref();
            let page = self.context.store.read(|tx| tx.keys().hashes(from, HASHES_PER_PAGE)).await?;
            for of in page.iter().filter_map(|hash| fingerprint(hash)) {
                self.key_cache.stored.insert_hash(filter_hash(&of));
            }
            if page.len() < HASHES_PER_PAGE {
                break;
            }
            huge_pages();
            after = page.into_iter().last();
            tokio::task::yield_now().await;
        }
        self.key_cache.learned.store(self.key_cache.restarts.load(Ordering::Acquire) == restarts, Ordering::Release);
        Ok(())
    }

    /// The stored key with this hash: from memory, if it is known.
    pub(super) async fn known_key(&self, hash: &Digest) -> Result<Option<Arc<CachedKey>>, Error> {
        match self.key_cache.get(hash) {
            Some(key) => Ok(Some(key)),
            None if self.key_cache.is_unknown(hash) => Ok(None),
            None => Box::pin(self.read_key(hash)).await,
        }
    }

    async fn read_key(&self, hash: &Digest) -> Result<Option<Arc<CachedKey>>, Error> {
        let (found, read_at) = self
            .context
            .store
            .read_at(|tx| {
                let Some(key) = tx.keys().by_hash(hash)? else { return Ok(None) };
                let Some(account) = tx.accounts().get(key.account)? else { return Ok(None) };
                let limits = limits_of(tx, &key)?;
                Ok::<_, Error>(Some(CacheEntry { key, account, limits }))
            })
            .await?;
        Ok(found.map(|found| self.key_cache.keep(hash, &found, read_at)))
    }
}

impl Verifier {
    /// Refuses a text that is no key of ours but holds one.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn alone(&self, field: &str, text: &str) -> Result<(), Error> {
        let whole = pasted::bare(text);
        let is_one = ApiKey::presented(whole).is_some_and(|key| self.formats.iter().any(|format| format.could_be(&key)));
        if !is_one && self.formats.iter().any(|format| format.occurs_in(whole)) {
            return Err(Error::invalid(field, ALONE));
        }
        Ok(())
    }
}
