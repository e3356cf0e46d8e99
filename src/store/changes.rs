//! What commits changed, and who follows them.

use crate::store::{access::Read, error::StoreError};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A moment in a store's history: each commit has a later one than all before. Commits of nothing but rows that are
/// [written behind](crate::store::declaration::is_written_behind) have none of their own. The number means something in one
/// opened store only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(u64);

impl Revision {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A revision that moves on.
#[derive(Debug, Default)]
pub struct AtomicRevision(AtomicU64);

impl AtomicRevision {
    /// Where it is.
    pub fn get(&self) -> Revision {
        Revision(self.0.load(Ordering::Acquire))
    }

    /// Moves it.
    pub fn set(&self, revision: Revision) {
        self.0.store(revision.0, Ordering::Release);
    }
}

/// A row that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    /// The number of the table, then the row's key.
    pub key: Vec<u8>,
    /// Whether it was there before.
    pub was: bool,
    /// Whether it is there now.
    pub is: bool,
}

/// What one commit changed, rows that are written behind left out.
#[derive(Debug, Clone)]
pub struct Commit {
    /// When that was.
    pub revision: Revision,
    /// Each row once.
    pub rows: Arc<[ChangedRow]>,
}

/// Holds copies of what is stored, and keeps them true by what commits changed ([`Feed`](crate::store::feed::Feed)).
pub trait Follower: Send + Sync {
    /// Up to where it followed: what it holds is true at this revision.
    fn revision(&self) -> Revision;

    /// A commit changed these rows, or may have.
    fn follow(&self, commit: &Commit);

    /// Whatever it holds may be untrue: it begins anew with what is stored at `revision`.
    ///
    /// # Errors
    /// Where that can't be read. It stays at the revision where it was, and is told again.
    fn restart(&self, tx: &dyn Read, revision: Revision) -> Result<(), StoreError>;
}
