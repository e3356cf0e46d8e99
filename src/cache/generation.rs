//! What keeps a copy of stored rows true while they change: a slow read can't put back what a change took away.

use crate::store::changes::{AtomicRevision, Revision};
use std::sync::{PoisonError, RwLock};

/// At which revision a copy is true, and since which nothing of it changed. What was read at that one or later may be kept.
#[derive(Default)]
pub struct Generation {
    followed: AtomicRevision,
    began: AtomicRevision,
    /// Shared by those who keep, exclusive while a change evicts.
    keeping: RwLock<()>,
}

impl Generation {
    /// Up to where the copy followed.
    pub fn revision(&self) -> Revision {
        self.followed.get()
    }

    /// Runs `keep`, unless something of the copy changed since it was read at `read_at`.
    pub fn keep<T>(&self, read_at: Revision, keep: impl FnOnce() -> T) -> Option<T> {
        let _keeping = self.keeping.read().unwrap_or_else(PoisonError::into_inner);
        (read_at >= self.began.get()).then(keep)
    }

    /// Up to `revision` nothing of the copy changed.
    pub fn go_on(&self, revision: Revision) {
        self.followed.set(revision);
    }

    /// At `revision` something changed: runs `evict` while nobody keeps anything, and begins another generation.
    pub fn end(&self, revision: Revision, evict: impl FnOnce()) {
        let _alone = self.keeping.write().unwrap_or_else(PoisonError::into_inner);
        self.began.set(revision);
        self.followed.set(revision);
        evict();
    }
}
