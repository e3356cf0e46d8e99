//! Who waits for which decision. A waiting poll costs an entry in a map, and is woken by the decision itself.

use crate::domain::id::RegistrationId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

#[derive(Default)]
pub struct Waiters(Mutex<HashMap<RegistrationId, Arc<Notify>>>);

/// A place in the queue; dropping it gives it up.
pub struct Waiter<'a> {
    waiters: &'a Waiters,
    id: RegistrationId,
    notify: Arc<Notify>,
}

impl Waiters {
    fn map(&self) -> MutexGuard<'_, HashMap<RegistrationId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn join(&self, id: RegistrationId) -> Waiter<'_> {
        let notify = self.map().entry(id).or_default().clone();
        Waiter { waiters: self, id, notify }
    }

    /// Wakes everybody who waits for this registration.
    pub fn wake(&self, id: RegistrationId) {
        if let Some(notify) = self.map().get(&id) {
            notify.notify_waiters();
        }
    }
}

impl Waiter<'_> {
    /// Resolves at the next decision. Create it before looking, so that none is missed.
    pub fn decided(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut map = self.waiters.map();
        // The map's own reference and ours.
        if Arc::strong_count(&self.notify) <= 2 {
            map.remove(&self.id);
        }
    }
}
