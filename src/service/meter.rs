//! What is counted while keys are used, in memory: one meter a key, so that a verification touches one place.
//!
//! A key's facts hold its meter, and outlive no change; the meter stays while anybody holds it or it has something to
//! tell. So a key that is read again goes on with the allowance it had.

use super::usage::Pending;
use crate::{
    domain::id::{AccountId, KeyId},
    store::StoreError,
};
use dashmap::DashSet;
use governor::nanos::Nanos;
use quick_cache::DefaultHashBuilder;
use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What has one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// A key and all that descends from it, by the first of them.
    Key(KeyId),
    /// An account's programs that signed in with its password, all together.
    Account(AccountId),
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
        }
    }
}

impl FromStr for Bucket {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let key = || text.parse().map(Self::Key);
        let account = || text.parse().map(Self::Account);
        key().or_else(|_| account()).map_err(|_| StoreError::Corrupt(format!("a rate limit of {text}")))
    }
}

#[derive(Debug)]
pub struct Meter {
    pub of: Bucket,
    /// When the whole of the allowance is there again, in Unix nanoseconds; 0: nothing was ever taken.
    whole_at: AtomicU64,
    /// Whether it waits to be written.
    pub listed: AtomicBool,
    uses: Mutex<Option<Box<Pending>>>,
}

impl Meter {
    fn new(of: Bucket) -> Self {
        Self { of, whole_at: AtomicU64::new(0), listed: AtomicBool::new(false), uses: Mutex::new(None) }
    }

    pub fn whole_at(&self) -> Nanos {
        self.whole_at.load(Ordering::Acquire).into()
    }

    pub fn set_whole_at(&self, at: Nanos) {
        self.whole_at.store(at.into(), Ordering::Release);
    }

    /// Replaces the time at which the allowance is whole; `decide` may be asked again when others did meanwhile.
    pub fn change<T, E>(&self, decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
        let mut before = self.whole_at.load(Ordering::Acquire);
        loop {
            let (outcome, after) = decide((before != 0).then(|| before.into()))?;
            match self.whole_at.compare_exchange_weak(before, after.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(outcome),
                Err(now) => before = now,
            }
        }
    }

    /// The uses that are not written yet.
    pub fn uses(&self) -> MutexGuard<'_, Option<Box<Pending>>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self, now: Nanos) -> bool {
        self.whole_at() <= now && self.uses().is_none()
    }
}

// In a set they are found by what they are of.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

impl Eq for Meter {}

impl Hash for Meter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
    }
}

impl Borrow<Bucket> for Arc<Meter> {
    fn borrow(&self) -> &Bucket {
        &self.of
    }
}

#[derive(Default)]
pub struct Meters(DashSet<Arc<Meter>, DefaultHashBuilder>);

impl Meters {
    /// The one meter of a bucket.
    pub fn of(&self, bucket: Bucket) -> Arc<Meter> {
        loop {
            if let Some(meter) = self.find(bucket) {
                return meter;
            }
            // Whoever is first puts it there.
            self.0.insert(Arc::new(Meter::new(bucket)));
        }
    }

    /// The same, if anything was ever counted.
    pub fn find(&self, bucket: Bucket) -> Option<Arc<Meter>> {
        self.0.get(&bucket).map(|meter| meter.clone())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those whose allowance is not whole.
    pub fn owing(&self, now: Nanos) -> Vec<Arc<Meter>> {
        self.0.iter().filter(|meter| meter.whole_at() > now).map(|meter| meter.clone()).collect()
    }

    /// Forgets those that nobody holds and that have nothing to tell.
    pub fn forget_idle(&self, now: Nanos) {
        self.0.retain(|meter| Arc::strong_count(meter) > 1 || !meter.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn key(n: u8) -> Bucket {
        Bucket::Key(KeyId::new(Timestamp::UNIX_EPOCH, [n; 16]))
    }

    #[test]
    fn a_bucket_has_one_meter() {
        let meters = Meters::default();
        assert!(Arc::ptr_eq(&meters.of(key(1)), &meters.of(key(1))));
        assert!(!Arc::ptr_eq(&meters.of(key(1)), &meters.of(key(2))));
        assert!(meters.find(key(3)).is_none());
    }

    #[test]
    fn what_is_held_or_owed_or_unwritten_is_not_forgotten() {
        let meters = Meters::default();
        let held = meters.of(key(1));
        meters.of(key(2)).set_whole_at(10.into());
        *meters.of(key(3)).uses() = Some(Box::default());
        meters.of(key(4));
        meters.forget_idle(9.into());
        let left = |n| meters.find(key(n)).is_some();
        assert_eq!([left(1), left(2), left(3), left(4)], [true, true, true, false]);
        drop(held);
        meters.forget_idle(10.into());
        assert_eq!([left(1), left(2), left(3)], [false, false, true]);
    }
}
