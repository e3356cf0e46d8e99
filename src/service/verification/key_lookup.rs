//! From a presented key to what is known of it: the cache first, then the store.

use crate::{
    api::error::Error,
    cache::{
        cached_key::CachedKey,
        key_cache::{CacheEntry, PAGE, filter_hash, fingerprint, limits_of},
    },
    domain::digest::Digest,
    service::context::Service,
    store::{engine::Order, rows, table::Table},
};
use std::sync::{Arc, atomic::Ordering};

impl Service {
    /// Reads the hashes of all stored keys once, page by page; until then unknown keys cost a read each.
    pub async fn learn_keys(&self) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.as_deref();
            let page = self.store().read(|rows| rows.scan(Table::KeyHashes, &[], from, Order::Ascending, PAGE)).await?;
            for of in page.iter().filter_map(|(hash, _)| fingerprint(hash)) {
                self.known.stored.insert_hash(filter_hash(&of));
            }
            if page.len() < PAGE {
                break;
            }
            crate::platform::huge_pages::huge_pages();
            after = page.into_iter().last().map(|(hash, _)| hash);
            tokio::task::yield_now().await;
        }
        self.known.learned.store(true, Ordering::Release);
        Ok(())
    }

    /// The stored key with this hash: from memory, if it is known.
    pub(super) async fn known_key(&self, hash: &Digest) -> Result<Option<Arc<CachedKey>>, Error> {
        match self.known.get(hash) {
            Some(key) => Ok(Some(key)),
            None if self.known.is_unknown(hash) => Ok(None),
            None => Box::pin(self.read_key(hash)).await,
        }
    }

    async fn read_key(&self, hash: &Digest) -> Result<Option<Arc<CachedKey>>, Error> {
        let since = self.known.epoch.now();
        let found = self
            .store()
            .read(|rows| {
                let Some(key) = rows::key_by_hash(rows, hash)? else { return Ok(None) };
                let Some(account) = rows::account(rows, key.account)? else { return Ok(None) };
                let limits = limits_of(rows, &key)?;
                Ok::<_, Error>(Some(CacheEntry { key, account, limits }))
            })
            .await?;
        Ok(found.map(|found| self.known.keep(hash, &found, since)))
    }
}
