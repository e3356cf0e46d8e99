//! What verification needs of a key, and nothing more. There is one of each key that is used, so every byte counts.

use crate::{
    cache::{cached_account::CachedAccount, meter::Meter},
    domain::{
        environment::Environment,
        id::{KeyId, RegistrationId},
        key::{Key, Status},
        scope::ScopeSet,
    },
};
use jiff::Timestamp;
use std::{num::NonZeroU32, sync::Arc};

/// A key as verifications need it. Cloning it copies counts of what it shares, nothing else.
#[derive(Debug, Clone)]
pub struct CachedKey {
    pub id: KeyId,
    pub account: Arc<CachedAccount>,
    pub scopes: Arc<ScopeSet>,
    /// What its uses are counted on.
    pub meter: Arc<Meter>,
    /// Unix milliseconds; far away: never.
    expires_ms: i64,
    requests_per_minute: Option<NonZeroU32>,
    pub environment: Environment,
    revoked: bool,
    disabled: bool,
    rare: Option<Box<Rare>>,
}

/// What most keys have nothing of.
#[derive(Debug, Clone)]
struct Rare {
    lineage: Option<Arc<Lineage>>,
    redeliverable: Option<RegistrationId>,
}

/// Of keys that descend from others, or that have another limit than their plan's.
#[derive(Debug)]
pub struct Lineage {
    /// The first ancestor.
    pub root: KeyId,
    /// The first ancestor's, which all that descend from it share.
    pub allowance: Arc<Meter>,
    /// The first ancestor's own limit, in its plan's place.
    pub limit: Option<u32>,
    /// Of the key and its ancestors that have a limit of their own, and how many requests a minute that is.
    pub own: Box<[(Arc<Meter>, u32)]>,
}

impl CachedKey {
    /// `account` and `scopes` are the key's, perhaps shared with others that have the same; so is `meter`.
    pub fn new(key: &Key, account: Arc<CachedAccount>, scopes: Arc<ScopeSet>, meter: Arc<Meter>, lineage: Option<Arc<Lineage>>) -> Self {
        let is_plain = lineage.is_none() && key.redeliverable.is_none();
        Self {
            id: key.id,
            account,
            scopes,
            meter,
            expires_ms: key.expires_at.map_or(i64::MAX, Timestamp::as_millisecond),
            requests_per_minute: key.requests_per_minute.and_then(NonZeroU32::new),
            environment: key.environment,
            revoked: key.revoked.is_some(),
            disabled: key.disabled_at.is_some(),
            rare: (!is_plain).then(|| Box::new(Rare { lineage, redeliverable: key.redeliverable })),
        }
    }

    /// The same key with what its row says now.
    pub fn renewed(&self, key: &Key, account: Arc<CachedAccount>) -> Self {
        Self::new(key, account, Arc::new(key.scopes.clone()), self.meter.clone(), self.lineage().cloned())
    }

    /// The key's own state; that of its account stands there.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked {
            Status::Revoked
        } else if self.expires_ms <= now.as_millisecond() {
            Status::Expired
        } else if self.disabled {
            Status::Disabled
        } else {
            Status::Active
        }
    }

    /// To the millisecond.
    pub fn expires_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.expires_ms).ok()
    }

    /// The limit of its own; `None`: its plan's, or its first ancestor's.
    pub fn requests_per_minute(&self) -> Option<u32> {
        self.requests_per_minute.map(NonZeroU32::get)
    }

    /// The registration that may still have it delivered again.
    pub fn redeliverable(&self) -> Option<RegistrationId> {
        self.rare.as_ref().and_then(|rare| rare.redeliverable)
    }

    fn lineage(&self) -> Option<&Arc<Lineage>> {
        self.rare.as_ref().and_then(|rare| rare.lineage.as_ref())
    }

    /// The first ancestor; the key itself, if it has none.
    pub fn root(&self) -> KeyId {
        self.lineage().map_or(self.id, |lineage| lineage.root)
    }

    /// What its calls take from: the first ancestor's, whose limit the whole lineage shares.
    pub fn allowance(&self) -> &Arc<Meter> {
        self.lineage().map_or(&self.meter, |lineage| &lineage.allowance)
    }

    /// The limit of that allowance, if it is not the plan's.
    pub fn lineage_limit(&self) -> Option<u32> {
        self.lineage().and_then(|lineage| lineage.limit)
    }

    /// Limits that hold besides: of the key and its ancestors, where they have some of their own.
    pub fn own_limits(&self) -> &[(Arc<Meter>, u32)] {
        self.lineage().map_or(&[], |lineage| &lineage.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_each_key_is_small() {
        // In `Arc`s, which add two counts.
        assert!(size_of::<CachedKey>() <= 64, "{}", size_of::<CachedKey>());
        assert!(size_of::<Meter>() <= 48, "{}", size_of::<Meter>());
    }
}
