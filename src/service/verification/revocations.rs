//! Tells of changes to keys and accounts, after the caches followed and before anybody is told that they were made.

use crate::store::{
    access::Read,
    changes::{AtomicRevision, Commit, Follower, Revision},
    error::StoreError,
};
use tokio::sync::{Notify, futures::Notified};

/// Wakes those for whom something is under way when a key or an account changed.
#[derive(Default)]
pub struct Revocations {
    changed: Notify,
    revision: AtomicRevision,
}

impl Follower for Revocations {
    fn revision(&self) -> Revision {
        self.revision.get()
    }

    fn follow(&self, commit: &Commit) {
        self.revision.set(commit.revision);
        if commit.rows.iter().any(|row| row.key_hash().is_some() || row.account().is_some()) {
            self.changed.notify_waiters();
        }
    }

    fn restart(&self, _: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        self.revision.set(revision);
        self.changed.notify_waiters();
        Ok(())
    }
}

impl Revocations {
    /// Resolves at the next change from when it is first polled or enabled.
    pub fn notified(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
