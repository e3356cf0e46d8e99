//! How many bytes of answers wait for their clients, over all connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The count over all connections.
pub struct Untaken {
    pub(super) held: AtomicUsize,
    most: usize,
    full: Notify,
}

impl Untaken {
    /// With room for so many bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most, full: Notify::new() })
    }

    /// Bytes of answers that wait for their clients.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Resolves when an answer found no room.
    pub async fn too_many(&self) {
        self.full.notified().await;
    }

    /// Whether so many bytes more are too many; if so, whoever waits for [`Self::too_many`] is told.
    pub fn is_full(&self, bytes: usize) -> bool {
        let full = self.held().saturating_add(bytes) > self.most;
        if full {
            self.full.notify_one();
        }
        full
    }
}
