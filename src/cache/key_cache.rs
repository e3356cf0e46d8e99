//! Keys this process knows, so that verifying one touches no store.
//!
//! Held are the facts verification needs, never a key or its whole hash. The store tells of every change before it is
//! acknowledged ([`KeyCache::follow`]): a revocation has evicted its key when it returns. What was read before such a
//! change is not kept after it ([`Generation`]): any change since makes it a one-time answer.
//! A filter over the hashes of all stored keys answers for unknown ones without a read, however many are tried.

use crate::{
    cache::{
        cached_account::CachedAccount,
        cached_key::{CachedKey, Lineage},
        generation::Generation,
        meter::Meters,
    },
    domain::{
        account::Account,
        digest::Digest,
        id::{AccountId, KeyId},
        key::Key,
        rate_limit::RateLimitKey,
        scope::ScopeSet,
    },
    store::{
        access::Read,
        changes::{ChangedRow, Commit, Follower, Revision},
        error::StoreError,
    },
};
use dashmap::{DashMap, DashSet};
use fastbloom::AtomicBloomFilter;
use governor::nanos::Nanos;
use quick_cache::sync::Cache;
use std::{
    collections::HashSet,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Of a keyed BLAKE3 hash, 128 bits: nobody without the server secret can search for a second key with the same.
pub type Fingerprint = [u8; 16];

/// One unknown key in a hundred costs a read.
const FALSE_POSITIVE_RATE: f64 = 0.01;

/// Meters of keys that are not known any more, until they are looked through.
const MAX_METERS_WITHOUT_KEY: usize = 1_000;

/// Hashes read at a time while the filter fills: some milliseconds, between which requests have their turn.
pub const HASHES_PER_PAGE: usize = 1_000;

/// What the store said of a key.
pub struct CacheEntry {
    pub(crate) key: Key,
    pub(crate) account: Account,
    pub(crate) limits: KeyLimits,
}

/// The limits a key's calls count against, beside the plan's.
pub(crate) struct KeyLimits {
    /// The limit of the first ancestor's own, in its plan's place.
    lineage: Option<u32>,
    /// Of the key and its ancestors that have one of their own: whose, and how many a minute. A rotated key goes on with
    /// the allowance of the one it replaced.
    own: Vec<(KeyId, u32)>,
}

impl KeyLimits {
    /// `None`: nothing but the plan's, for the key alone.
    fn lineage(&self, key: &Key, meters: &Meters) -> Option<Arc<Lineage>> {
        let root = key.root.unwrap_or(key.id);
        let meter = |id| meters.of(RateLimitKey::Key(id));
        let plain = root == key.id && self.lineage.is_none() && self.own.is_empty();
        let lineage = || Lineage {
            root,
            allowance: meter(root),
            limit: self.lineage,
            own: self.own.iter().map(|(id, limit)| (meter(*id), *limit)).collect(),
        };
        (!plain).then(|| Arc::new(lineage()))
    }
}

/// Reads what a key's calls count against: its own limit and its ancestors', one row each.
pub fn limits_of(tx: &dyn Read, key: &Key) -> Result<KeyLimits, StoreError> {
    let root = key.root.unwrap_or(key.id);
    let lineage = if root == key.id { key.requests_per_minute } else { tx.keys().get(root)?.and_then(|root| root.requests_per_minute) };
    let (mut own, mut next) = (Vec::new(), Some(key.clone()));
    while let Some(key) = next {
        if let Some(limit) = key.requests_per_minute {
            let mut first = key.clone();
            while let Some(before) = first.replaces.map(|id| tx.keys().get(id)).transpose()?.flatten() {
                first = before;
            }
            if first.id != root {
                own.push((first.id, limit));
            }
        }
        next = key.parent.map(|id| tx.keys().get(id)).transpose()?.flatten();
    }
    Ok(KeyLimits { lineage, own })
}

/// The first bytes of a stored hash; `None`: it is no hash.
pub fn fingerprint(hash: &[u8]) -> Option<Fingerprint> {
    hash.first_chunk().copied()
}

/// The one of the set that is equal, which it becomes if there is none.
fn shared<T: Eq + Hash + ?Sized>(set: &DashSet<Arc<T>>, value: Arc<T>) -> Arc<T> {
    if let Some(known) = set.get(&*value) {
        return known.clone();
    }
    set.insert(value.clone());
    value
}

/// For the filter of stored keys. What it is of is a hash already, so none is made.
pub fn filter_hash(of: &Fingerprint) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| of[i]))
}

/// Keys that were verified, and a filter of all that are stored: one that is certainly unknown costs no read.
pub struct KeyCache {
    meters: Arc<Meters>,
    keys: Cache<Fingerprint, Arc<CachedKey>>,
    accounts: DashMap<AccountId, Arc<CachedAccount>>,
    /// Most keys have one of a few sets of scopes, and all accounts one of a few plans.
    scopes: DashSet<Arc<ScopeSet>>,
    plans: DashSet<Arc<str>>,
    pub(crate) stored: AtomicBloomFilter,
    /// Whether every stored key is in `stored`.
    pub(crate) learned: AtomicBool,
    /// What was being learned when one began is not all there is.
    pub(crate) restarts: AtomicU64,
    generation: Generation,
}

impl KeyCache {
    /// Room for `most` keys; beyond it those used least make place.
    pub fn new(most: usize, meters: Arc<Meters>) -> Self {
        Self {
            meters,
            keys: Cache::new(most),
            accounts: DashMap::new(),
            scopes: DashSet::new(),
            plans: DashSet::new(),
            stored: AtomicBloomFilter::with_false_pos(FALSE_POSITIVE_RATE).expected_items(most.max(10_000)),
            learned: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            generation: Generation::default(),
        }
    }

    /// A key that is known, unless its account changed since.
    pub fn get(&self, hash: &Digest) -> Option<Arc<CachedKey>> {
        let key = self.keys.get(&fingerprint(hash.as_bytes())?)?;
        (!key.account.changed.load(Ordering::Acquire)).then_some(key)
    }

    /// Whether the store surely has no such key.
    pub fn is_unknown(&self, hash: &Digest) -> bool {
        self.learned.load(Ordering::Acquire) && fingerprint(hash.as_bytes()).is_some_and(|of| !self.stored.contains_hash(filter_hash(&of)))
    }

    /// Keeps what was read, unless something changed since it was read at `read_at`.
    pub fn keep(&self, hash: &Digest, CacheEntry { key, account, limits }: &CacheEntry, read_at: Revision) -> Arc<CachedKey> {
        let facts = |account, scopes| {
            let meter = self.meters.of(RateLimitKey::Key(key.id));
            Arc::new(CachedKey::new(key, account, scopes, meter, limits.lineage(key, &self.meters)))
        };
        let kept = self.generation.keep(read_at, || {
            let plan = || shared(&self.plans, account.plan.as_str().into());
            let account =
                self.accounts.entry(account.id).or_insert_with(|| Arc::new(CachedAccount { plan: plan(), ..account.facts() })).clone();
            let facts = facts(account, shared(&self.scopes, Arc::new(key.scopes.clone())));
            if let Some(of) = fingerprint(hash.as_bytes()) {
                self.keys.insert(of, facts.clone());
            }
            facts
        });
        kept.unwrap_or_else(|| facts(Arc::new(account.facts()), Arc::new(key.scopes.clone())))
    }

    /// Drops what no key refers to any more, once that may be much.
    pub fn forget_unused(&self, now: Nanos) {
        if self.meters.len() < self.keys.len() + MAX_METERS_WITHOUT_KEY {
            return;
        }
        // Whoever refers to one anew does so under the lock that is held here.
        self.meters.forget_idle(now);
        self.accounts.retain(|_, account| Arc::strong_count(account) > 1);
        self.scopes.retain(|scopes| Arc::strong_count(scopes) > 1);
    }
}

impl Follower for KeyCache {
    fn revision(&self) -> Revision {
        self.generation.revision()
    }

    fn follow(&self, commit: &Commit) {
        // Saving a key writes its hash's entry anew.
        let keys: Vec<_> = commit.rows.iter().filter_map(|row| fingerprint(row.key_hash()?)).collect();
        let accounts: HashSet<_> = commit.rows.iter().filter_map(ChangedRow::account).collect();
        if keys.is_empty() && accounts.is_empty() {
            return self.generation.go_on(commit.revision);
        }
        self.generation.end(commit.revision, || {
            for of in keys {
                self.stored.insert_hash(filter_hash(&of));
                self.keys.remove(&of);
            }
            for id in accounts {
                if let Some((_, account)) = self.accounts.remove::<AccountId>(&id) {
                    account.changed.store(true, Ordering::Release);
                }
            }
        });
    }

    /// Keys may have come that the filter does not know: from now on an unknown key costs a read.
    fn restart(&self, _: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        self.restarts.fetch_add(1, Ordering::AcqRel);
        self.learned.store(false, Ordering::Release);
        self.generation.end(revision, || {
            self.accounts.iter().for_each(|account| account.changed.store(true, Ordering::Release));
            self.accounts.clear();
            self.keys.clear();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::table::Table;

    fn held() -> (KeyCache, Digest) {
        (
            KeyCache::new(100, Arc::default()),
            crate::domain::server_secret::ServerSecret::new(&[1; 32]).hash(crate::domain::server_secret::Purpose::ApiKey, b"x"),
        )
    }

    #[test]
    fn an_unknown_key_is_only_sure_once_all_are_learned() {
        let (known, hash) = held();
        assert!(!known.is_unknown(&hash));
        known.learned.store(true, Ordering::Release);
        assert!(known.is_unknown(&hash));
    }

    #[test]
    fn a_saved_key_is_never_called_unknown() {
        let (known, hash) = held();
        known.learned.store(true, Ordering::Release);
        let row = [&[Table::KeyHashes as u8][..], hash.as_bytes()].concat();
        let read_at = known.revision();
        known.follow(&Commit { revision: read_at.next(), rows: [ChangedRow { key: row, was: true, is: true }].into() });
        assert!(!known.is_unknown(&hash));
        assert_eq!(known.revision(), read_at.next());
        assert!(known.generation.keep(read_at, || ()).is_none(), "a read that began before is not kept");
        known.follow(&Commit { revision: read_at.next().next(), rows: [].into() });
        assert!(known.generation.keep(read_at.next(), || ()).is_some(), "what others changed since is no reason");
    }
}
