//! Who waits for which decision. A waiting poll costs an entry in a map, and is woken by the decision itself.

use crate::{
    domain::{id::RegistrationId, source::Source},
    service::Error,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Polls one address may have waiting at once; programs on this computer are not counted.
const MAX_PER_SOURCE: usize = 20;

/// Who waits for one claim.
#[derive(Default)]
struct Queue {
    decided: Arc<Notify>,
    length: usize,
    /// Ends the one who waits alone, when another comes.
    sole: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    claims: HashMap<RegistrationId, Queue>,
    sources: HashMap<String, usize>,
}

#[derive(Default)]
pub struct Waiters(Mutex<Waiting>);

/// A place in the queue; dropping it gives it up.
pub struct Waiter<'a> {
    waiters: &'a Waiters,
    id: RegistrationId,
    source: Option<String>,
    notify: Arc<Notify>,
    displaced: CancellationToken,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; with `alone` the claim's only one, and whoever had it is told to come again. `Busy` when the
    /// address has too many.
    pub fn join(&self, id: RegistrationId, source: &Source, alone: bool) -> Result<Waiter<'_>, Error> {
        let mut waiting = self.lock();
        let source = (*source != Source::Local).then(|| source.bucket());
        if let Some(source) = &source {
            let count = waiting.sources.entry(source.clone()).or_default();
            if *count >= MAX_PER_SOURCE {
                return Err(Error::Busy);
            }
            *count += 1;
        }
        let (queue, displaced) = (waiting.claims.entry(id).or_default(), CancellationToken::new());
        queue.length += 1;
        if alone {
            std::mem::replace(&mut queue.sole, displaced.clone()).cancel();
        }
        Ok(Waiter { waiters: self, id, source, notify: queue.decided.clone(), displaced })
    }

    /// How many polls wait now.
    pub fn count(&self) -> usize {
        self.lock().claims.values().map(|queue| queue.length).sum()
    }

    /// Wakes whoever waits for this registration.
    pub fn wake(&self, id: RegistrationId) {
        if let Some(queue) = self.lock().claims.get(&id) {
            queue.decided.notify_waiters();
        }
    }
}

impl Waiter<'_> {
    /// Resolves at the next decision. Create it before looking, so that none is missed.
    pub fn decided(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }

    /// Resolves when somebody else took the place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        if let Some(queue) = waiting.claims.get_mut(&self.id) {
            queue.length -= 1;
            if queue.length == 0 {
                waiting.claims.remove(&self.id);
            }
        }
        if let Some(source) = &self.source
            && let Some(count) = waiting.sources.get_mut(source)
        {
            *count -= 1;
            if *count == 0 {
                waiting.sources.remove(source);
            }
        }
    }
}
