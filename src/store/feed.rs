//! The feed of changes within one process: in the order of the commits, to all that hold copies, before a commit is
//! acknowledged. An engine owns one and publishes to it.
//!
//! Whoever follows asks by [`since`](Feed::since) for what came after its own revision. There is no other way, so nobody can
//! miss a commit: who fell behind is given all that it lacks, and who fell behind too far begins anew.

use crate::store::{
    access::Read,
    changes::{AtomicRevision, ChangedRow, Commit, Follower, Revision},
    error::StoreError,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Changed rows that are remembered for those who fell behind: some megabytes.
const MAX_REMEMBERED_ROWS: usize = 10_000;

/// The changes of one store.
#[derive(Default)]
pub struct Feed {
    revision: AtomicRevision,
    log: Mutex<Log>,
    followers: Mutex<Vec<Arc<dyn Follower>>>,
}

/// The last commits.
#[derive(Default)]
struct Log {
    commits: VecDeque<Commit>,
    rows: usize,
    /// All commits after this one are here.
    complete_since: Revision,
    last: Revision,
}

impl Feed {
    /// The last commit that all followers know of.
    pub fn revision(&self) -> Revision {
        self.revision.get()
    }

    /// The commits after `since`, oldest first; `None`: that is too long ago, or what became of some of them is not known.
    pub fn since(&self, since: Revision) -> Option<Vec<Commit>> {
        let log = self.log();
        let known = (log.complete_since..=log.last).contains(&since);
        known.then(|| {
            let first = log.commits.partition_point(|commit| commit.revision <= since);
            log.commits.range(first..).cloned().collect()
        })
    }

    /// Tells of a commit that was applied, or may have been. `tx` reads what is stored now.
    pub fn publish(&self, rows: Vec<ChangedRow>, tx: &dyn Read) {
        let mut log = self.log();
        log.last = log.last.next();
        log.rows += rows.len();
        let commit = Commit { revision: log.last, rows: rows.into() };
        log.commits.push_back(commit);
        // Before anything is forgotten: however large a commit is, who is up to date follows it.
        self.catch_up(log, tx);
        let mut log = self.log();
        while log.rows > MAX_REMEMBERED_ROWS
            && let Some(oldest) = log.commits.pop_front()
        {
            log.rows -= oldest.rows.len();
            log.complete_since = oldest.revision;
        }
    }

    /// Tells that anything may have changed: the store failed and was opened again.
    pub fn publish_everything(&self, tx: &dyn Read) {
        let mut log = self.log();
        let last = log.last.next();
        *log = Log { complete_since: last, last, ..Log::default() };
        self.catch_up(log, tx);
    }

    /// Adds a follower, which begins with what is stored now. No commit may be under way.
    ///
    /// # Errors
    /// Where what it begins with can't be read.
    pub fn follow(&self, follower: Arc<dyn Follower>, tx: &dyn Read) -> Result<(), StoreError> {
        follower.restart(tx, self.revision())?;
        self.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
        Ok(())
    }

    fn catch_up(&self, log: MutexGuard<'_, Log>, tx: &dyn Read) {
        let last = log.last;
        drop(log);
        for follower in &*self.followers.lock().unwrap_or_else(PoisonError::into_inner) {
            match self.since(follower.revision()) {
                Some(commits) => commits.iter().for_each(|commit| follower.follow(commit)),
                None => {
                    if let Err(error) = follower.restart(tx, last) {
                        tracing::error!(%error, "a copy of what is stored can't be made anew; trying again at the next change");
                    }
                }
            }
        }
        self.revision.set(last);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
