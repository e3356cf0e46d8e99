//! What keeps a copy of stored rows true while they change: a slow read can't put back what a change took away.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// Counts the changes of what is copied. A read names the generation it began in; what it found is kept in that generation only.
#[derive(Default)]
pub struct Generation {
    count: AtomicU64,
    /// Shared by those who keep, exclusive while a change evicts.
    keeping: RwLock<()>,
}

impl Generation {
    /// To be asked before a read whose outcome shall be kept.
    pub fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Runs `keep`, unless something changed since the generation `since`.
    pub fn keep<T>(&self, since: u64, keep: impl FnOnce() -> T) -> Option<T> {
        let _keeping = self.keeping.read().unwrap_or_else(PoisonError::into_inner);
        (self.now() == since).then(keep)
    }

    /// Runs `evict` while nobody keeps anything, and begins another generation.
    pub fn end<T>(&self, evict: impl FnOnce() -> T) -> T {
        let _alone = self.keeping.write().unwrap_or_else(PoisonError::into_inner);
        self.count.fetch_add(1, Ordering::AcqRel);
        evict()
    }
}
