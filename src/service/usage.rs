//! When keys were last used, and how often: counted in memory, written in batches off the request path.
//! What is lost by a kill is at most the last minute of these numbers, never anything else.

use crate::{
    domain::{id::KeyId, key::Usage},
    service::{Error, Service},
    store::rows,
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// A key's row is written at most this often.
const STEP: SignedDuration = SignedDuration::from_secs(60);
/// Rows per write: keeps the store's one writer free for others.
const BATCH: usize = 500;

#[derive(Default)]
pub struct UsageLog(Mutex<HashMap<KeyId, Pending>>);

#[derive(Default, Clone, Copy)]
struct Pending {
    last: Option<Timestamp>,
    uses: u64,
    written_at: Option<Timestamp>,
}

impl UsageLog {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<KeyId, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, key: KeyId, now: Timestamp) {
        let mut map = self.map();
        let pending = map.entry(key).or_default();
        pending.last = Some(now);
        pending.uses += 1;
    }

    /// The stored numbers with what is still in memory.
    pub fn merged(&self, key: KeyId, mut stored: Usage) -> Usage {
        if let Some(pending) = self.map().get(&key) {
            stored.uses += pending.uses;
            stored.last_used_at = pending.last.or(stored.last_used_at);
        }
        stored
    }

    fn take_due(&self, now: Timestamp, all: bool) -> Vec<(KeyId, Pending)> {
        let mut map = self.map();
        // What was written and not used since says nothing any more.
        map.retain(|_, p| p.uses > 0 || p.written_at.is_some_and(|at| now.duration_since(at) < STEP));
        let due = |p: &Pending| p.uses > 0 && (all || p.written_at.is_none_or(|at| now.duration_since(at) >= STEP));
        let batch: Vec<_> = map.iter().filter(|(_, p)| due(p)).take(BATCH).map(|(key, p)| (*key, *p)).collect();
        for (key, _) in &batch {
            map.insert(*key, Pending { last: None, uses: 0, written_at: Some(now) });
        }
        batch
    }

    /// Puts back what could not be written.
    fn give_back(&self, batch: &[(KeyId, Pending)]) {
        let mut map = self.map();
        for (key, pending) in batch {
            let now = map.entry(*key).or_default();
            now.uses += pending.uses;
            now.last = now.last.or(pending.last);
        }
    }
}

impl Service {
    /// Writes counts that are due; all of them before a stop.
    pub(super) async fn flush_usage(&self, all: bool) -> Result<(), Error> {
        loop {
            let batch = self.usage.take_due(self.world.now(), all);
            if batch.is_empty() {
                return Ok(());
            }
            let rows_to_write = batch.clone();
            let written = self.store().write(move |rows| {
                for (key, pending) in &rows_to_write {
                    let mut usage = rows::usage(rows, *key)?;
                    usage.uses += pending.uses;
                    usage.last_used_at = pending.last.or(usage.last_used_at);
                    rows::save_usage(rows, *key, &usage)?;
                }
                Ok::<_, Error>(())
            });
            if let Err(error) = written.await {
                self.usage.give_back(&batch);
                return Err(error);
            }
        }
    }
}
