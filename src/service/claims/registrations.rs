//! What this process knows of registrations beside their rows: how many there are, when they were polled, who waits.
//!
//! All of it follows from what the store tells of its changes, before anybody is told that they were made. So it is
//! exact for every way in which a row can change, and a caller who leaves right after a commit takes none of it along.

use crate::{
    domain::{id::RegistrationId, registration::poll::is_too_early},
    service::claims::decision_waiters::Waiters,
    store::{
        access::Read,
        changes::{AtomicRevision, ChangedRow, Commit, Follower, Revision},
        error::StoreError,
    },
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

/// What is known of registrations without reading them.
#[derive(Default)]
pub struct Registrations {
    revision: AtomicRevision,
    /// Those that wait for their human, so that a flood finds a ceiling without counting rows.
    pending: AtomicI64,
    /// All that are stored, with those that are over: they have a ceiling, too.
    stored: AtomicI64,
    /// When pending ones were last polled that are not [held](crate::cache::claim_cache). In memory: after a restart the first
    /// poll is never too early, while the interval itself is stored.
    polls: Mutex<HashMap<RegistrationId, Timestamp>>,
    pub waiters: Waiters,
}

/// How many there are of what is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationCounts {
    pub pending: i64,
    pub stored: i64,
    /// Whose last poll is remembered.
    pub polls: usize,
    /// Polls that wait.
    pub waiting: usize,
}

/// How often a row came or went.
fn step(row: &ChangedRow) -> i64 {
    i64::from(row.is) - i64::from(row.was)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Registrations {
    /// Registrations that wait for their human.
    pub fn pending(&self) -> i64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// All of them, those that are over included.
    pub fn stored(&self) -> i64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Notes a poll; whether the one before was less than `interval` seconds ago.
    pub fn polled_too_early(&self, id: RegistrationId, interval: u16, now: Timestamp) -> bool {
        self.polls().insert(id, now).is_some_and(|last| is_too_early(now.duration_since(last), interval))
    }

    /// For the log of a process that is asked how it is.
    pub fn counts(&self) -> RegistrationCounts {
        RegistrationCounts { pending: self.pending(), stored: self.stored(), polls: self.polls().len(), waiting: self.waiters.count() }
    }

    fn polls(&self) -> MutexGuard<'_, HashMap<RegistrationId, Timestamp>> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Registrations {
    fn revision(&self) -> Revision {
        self.revision.get()
    }

    /// Wakes whoever waits for a registration that changed.
    fn follow(&self, commit: &Commit) {
        self.revision.set(commit.revision);
        let mut changed = Vec::new();
        for row in &*commit.rows {
            // Once it is decided nobody paces its polls; one that came at that moment is forgotten with the row.
            if let Some(id) = row.registration() {
                self.stored.fetch_add(step(row), Ordering::Relaxed);
                changed.push((id, row.is));
            } else if let Some(id) = row.pending_registration() {
                self.pending.fetch_add(step(row), Ordering::Relaxed);
                changed.extend(Some((id, false)).filter(|_| !row.is));
            }
        }
        if changed.is_empty() {
            return;
        }
        let mut polls = self.polls();
        changed.iter().filter(|(_, stays)| !stays).for_each(|(id, _)| _ = polls.remove(id));
        drop(polls);
        changed.iter().for_each(|(id, _)| self.waiters.wake(*id));
    }

    /// Counts what is stored, and lets everybody look again.
    fn restart(&self, tx: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        let (pending, stored) = (tx.registrations().count_pending()?, tx.registrations().count()?);
        self.pending.store(signed(pending), Ordering::Relaxed);
        self.stored.store(signed(stored), Ordering::Relaxed);
        self.revision.set(revision);
        self.polls().clear();
        self.waiters.wake_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        service::claims::decision_waiters::WaiterSource,
        store::{
            access::{Order, Rows},
            table::Table,
        },
    };

    fn row(table: Table, key: &[u8], was: bool, is: bool) -> ChangedRow {
        ChangedRow { key: [&[table as u8][..], key].concat(), was, is }
    }

    fn commit<const N: usize>(rows: [ChangedRow; N]) -> Commit {
        Commit { revision: Revision::default().next(), rows: rows.into() }
    }

    /// A store with so many rows in each table.
    struct Full(usize);

    impl Read for Full {
        fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }

        fn scan(&self, _: Table, _: &[u8], _: Option<&[u8]>, _: Order, _: usize) -> Result<Rows, StoreError> {
            Err(StoreError::Corrupt("counting loads no rows".to_owned()))
        }

        fn scan_keys(&self, _: Table, _: &[u8], _: Option<&[u8]>, _: Order, _: usize) -> Result<Vec<Vec<u8>>, StoreError> {
            Err(StoreError::Corrupt("counting loads no rows".to_owned()))
        }

        fn count(&self, _: Table, limit: usize) -> Result<usize, StoreError> {
            Ok(self.0.min(limit))
        }
    }

    #[tokio::test]
    async fn after_a_failure_all_is_counted_anew_and_everybody_looks_again() {
        let known = Registrations::default();
        let waiter = known.waiters.join(RegistrationId::new(Timestamp::UNIX_EPOCH, [1; 16]), &WaiterSource::Local, 1).unwrap();
        let woken = waiter.on_decision();
        tokio::pin!(woken);
        woken.as_mut().enable();
        known.restart(&Full(2_500), Revision::default().next()).unwrap();
        assert_eq!(known.revision(), Revision::default().next());
        assert_eq!((known.pending(), known.stored()), (2_500, 2_500));
        woken.await;
    }

    #[test]
    fn rows_that_stay_count_nothing_and_those_that_go_are_forgotten() {
        let (known, now) = (Registrations::default(), Timestamp::UNIX_EPOCH);
        let id = RegistrationId::new(now, [1; 16]);
        let (name, due) = (id.to_string(), [&[0; 8][..], id.to_string().as_bytes()].concat());
        let told =
            |was, is| known.follow(&commit([row(Table::Registrations, name.as_bytes(), was, is), row(Table::Pending, &due, was, is)]));
        told(false, true);
        assert!(!known.polled_too_early(id, 5, now));
        told(true, true);
        assert_eq!(known.counts(), RegistrationCounts { pending: 1, stored: 1, polls: 1, waiting: 0 });
        known.follow(&commit([row(Table::Pending, &due, true, false)]));
        assert_eq!(known.counts(), RegistrationCounts { pending: 0, stored: 1, polls: 0, waiting: 0 });
        told(true, false);
        assert_eq!(known.stored(), 0);
    }
}
