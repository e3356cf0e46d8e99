//! Registrations that wait for their human, so that polling one touches no store, however many there are.
//!
//! As with [keys](super::key_cache): the store tells of every change before it is acknowledged, and what was read before a
//! change is not kept after it.

use crate::{
    cache::{
        generation::Generation,
        key_cache::{Fingerprint, fingerprint},
    },
    domain::{
        digest::Digest,
        registration::poll::{PollPace, is_too_early},
    },
    platform::huge_pages,
    store::{
        access::Read,
        changes::{Commit, Follower, Revision},
        error::StoreError,
    },
};
use dashmap::DashMap;
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};

/// From so many on, what is held is spread over more pages than the processor remembers the places of.
const MIN_FOR_HUGE_PAGES: usize = 1_000;

/// Open claims that were polled, each until its row changes.
#[derive(Default)]
pub struct ClaimCache {
    /// By the hash of the claim token. No more than may wait: what ends a claim changes its row.
    held: DashMap<Fingerprint, CachedClaim>,
    generation: Generation,
}

/// One claim, with when it was last polled.
pub struct CachedClaim {
    pub waiting: PollPace,
    /// The last poll that proved itself, in milliseconds of Unix time; 0: none.
    polled: AtomicI64,
}

impl CachedClaim {
    /// Notes a poll; whether the one before was less than `interval` seconds ago.
    pub fn polled_too_early(&self, interval: u16, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        is_too_early(SignedDuration::from_millis(now.saturating_sub(self.polled.swap(now, Ordering::Relaxed))), interval)
    }
}

impl ClaimCache {
    /// What `read` makes of a claim; `None`: it is not held, and the store has to be asked.
    pub fn read<T>(&self, token: &Digest, read: impl FnOnce(&CachedClaim) -> T) -> Option<T> {
        self.held.get(&fingerprint(token.as_bytes())?).map(|open| read(&open))
    }

    /// Keeps what was read, unless something changed since it was read at `read_at`.
    pub fn keep(&self, token: &Digest, waiting: PollPace, polled: Option<Timestamp>, read_at: Revision) {
        if let Some(of) = fingerprint(token.as_bytes()) {
            let open = CachedClaim { waiting, polled: AtomicI64::new(polled.unwrap_or_default().as_millisecond()) };
            self.generation.keep(read_at, || self.held.insert(of, open));
            if self.held.len() == MIN_FOR_HUGE_PAGES {
                huge_pages::huge_pages();
            }
        }
    }
}

impl Follower for ClaimCache {
    fn revision(&self) -> Revision {
        self.generation.revision()
    }

    fn follow(&self, commit: &Commit) {
        // Saving a registration writes its claim token's entry anew.
        let tokens: Vec<_> = commit.rows.iter().filter_map(|row| fingerprint(row.claim_token()?)).collect();
        if tokens.is_empty() {
            return self.generation.go_on(commit.revision);
        }
        self.generation.end(commit.revision, || tokens.iter().for_each(|of| drop(self.held.remove(of))));
    }

    fn restart(&self, _: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        self.generation.end(revision, || self.held.clear());
        Ok(())
    }
}
