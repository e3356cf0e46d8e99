//! The embedded engine: sled 0.34.
//!
//! All writes go through one thread. It runs every waiting job against an overlay, applies the group's changes
//! as one atomic batch, and syncs once: concurrency pays for one fsync. Jobs of one group see each other's changes,
//! so transactions are serial. sled's own `flush` leaves data in the page cache; `sync_data` on its file makes it real.

use super::{Engine, Order, Read, ReadJob, Rows, StoreError, Table, Write, WriteJob};
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    ops::Bound,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that share one fsync at most.
const GROUP: usize = 256;
/// Writers wait in this queue; past it they wait for a place.
const QUEUE: usize = 1024;
const CACHE_BYTES: u64 = 64 << 20;
const LINGERS: usize = 250;
const LINGER: Duration = Duration::from_millis(20);

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct Waiting {
    job: WriteJob,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

pub struct SledEngine {
    tree: sled::Tree,
    queue: mpsc::Sender<Waiting>,
    /// The last group whose changes readers may see.
    applied: std::sync::Arc<AtomicU64>,
    /// The last group that is on disk.
    durable: watch::Receiver<u64>,
    closed: AtomicBool,
}

impl SledEngine {
    /// Opens or creates the database under `dir`. The caller holds the directory's lock.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("store");
        remove_half_snapshots(&path).map_err(unavailable)?;
        let db = opened(&path).map_err(unavailable)?;
        let file = File::open(path.join("db")).map_err(unavailable)?;
        let tree = db.open_tree("countersign").map_err(unavailable)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (durable_tx, durable) = watch::channel(0);
        let applied = std::sync::Arc::new(AtomicU64::new(0));
        let writer = Writer { db, file, tree: tree.clone(), applied: applied.clone(), durable: Some(durable_tx), group: 0, failed: None };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run(jobs)).map_err(unavailable)?;
        Ok(Self { tree, queue, applied, durable, closed: AtomicBool::new(false) })
    }

    fn refuse_if_closed(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    async fn queued(&self, job: WriteJob) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Waiting { job, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("closed".to_owned())
}

fn unavailable(error: impl ToString) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// The last owner lets go of the directory a moment before the engine lets go of its own file: that is waited for.
fn opened(path: &Path) -> sled::Result<sled::Db> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(500));
    for _ in 0..LINGERS {
        match config.open() {
            // It has no kind of its own.
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => std::thread::sleep(LINGER),
            opened => return opened,
        }
    }
    config.open()
}

/// A kill while sled writes a snapshot leaves `snap.….generating`, which the next open takes for a whole one
/// and calls corruption, for ever.
fn remove_half_snapshots(path: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("snap.") && name.to_string_lossy().ends_with(".generating") {
            tracing::warn!(file = %entry.path().display(), "removing a snapshot that a kill left half-written");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Engine for SledEngine {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            job(&Committed(&self.tree));
            // What was seen may be applied but not yet synced: wait for the group that wrote it.
            let seen = self.applied.load(Ordering::Acquire);
            let mut durable = self.durable.clone();
            durable.wait_for(|group| *group >= seen).await.map(|_| ()).map_err(|_| closed())
        })
    }

    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            self.queued(job).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            // A last empty job: once it is answered, everything queued before it is on disk.
            let _ = self.queued(Box::new(|_| false)).await;
        })
    }
}

struct Writer {
    db: sled::Db,
    file: File,
    tree: sled::Tree,
    applied: std::sync::Arc<AtomicU64>,
    /// Gone after a failed sync: what that group wrote is never confirmed, and its readers must not wait for ever.
    durable: Option<watch::Sender<u64>>,
    group: u64,
    /// Set by the first failed sync: what is in memory may then differ from the disk, so nothing more is written.
    failed: Option<StoreError>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Waiting>) {
        let mut replies = Vec::with_capacity(GROUP);
        while let Some(first) = jobs.blocking_recv() {
            let mut changes = Changes::new();
            let mut next = Some(first);
            while let Some(Waiting { mut job, reply }) = next.take() {
                if self.failed.is_none() {
                    let mut overlay = Overlay { tree: &self.tree, group: &changes, own: Changes::new() };
                    if job(&mut overlay) {
                        let own = overlay.own;
                        changes.extend(own);
                    }
                }
                replies.push(reply);
                if replies.len() < GROUP {
                    next = jobs.try_recv().ok();
                }
            }
            let outcome = self.commit(changes);
            for reply in replies.drain(..) {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.group += 1;
        self.applied.store(self.group, Ordering::Release);
        let synced = self
            .tree
            .apply_batch(batch)
            .and_then(|()| self.db.flush())
            .map_err(unavailable)
            .and_then(|_| self.file.sync_data().map_err(unavailable));
        match synced {
            Ok(()) => {
                if let Some(durable) = &self.durable {
                    durable.send_replace(self.group);
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the store can't write; refusing changes until it is reopened");
                self.failed = Some(error.clone());
                self.durable = None;
                Err(error)
            }
        }
    }
}

fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

/// The keys from `prefix` (after `after`) on, as bounds in the given order.
fn bounds(table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let first = full_key(table, prefix);
    let mut end = first.clone();
    // The smallest key past all that start with the prefix; table numbers stay far below 255.
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    // A key outside the prefix bounds nothing: a page never leaves its prefix.
    let after = after.map(|key| full_key(table, key));
    match order {
        Order::Ascending => (after.filter(|after| *after >= first).map_or(Bound::Included(first), Bound::Excluded), Bound::Excluded(end)),
        Order::Descending => (Bound::Included(first), Bound::Excluded(after.filter(|after| *after < end).unwrap_or(end))),
    }
}

fn is_empty_range((low, high): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    match (low, high) {
        (Bound::Excluded(low), Bound::Excluded(high)) | (Bound::Included(low), Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

/// What readers see: applied changes, straight from the tree.
struct Committed<'a>(&'a sled::Tree);

impl Read for Committed<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(full_key(table, key)).map_err(unavailable)?.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError> {
        let range = bounds(table, prefix, after, order);
        if is_empty_range(&range) {
            return Ok(Rows::new());
        }
        let rows = self.0.range(range);
        let read =
            |row: sled::Result<(sled::IVec, sled::IVec)>| row.map(|(key, value)| (key[1..].to_vec(), value.to_vec())).map_err(unavailable);
        match order {
            Order::Ascending => rows.take(limit).map(read).collect(),
            Order::Descending => rows.rev().take(limit).map(read).collect(),
        }
    }
}

/// What a job sees: the tree, the changes of earlier jobs in its group, and its own.
struct Overlay<'a> {
    tree: &'a sled::Tree,
    group: &'a Changes,
    own: Changes,
}

impl Overlay<'_> {
    fn changed(&self, full: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.own.get(full).or_else(|| self.group.get(full))
    }
}

impl Read for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changed(&full_key(table, key)) {
            Some(value) => Ok(value.clone()),
            None => Committed(self.tree).get(table, key),
        }
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError> {
        let range = bounds(table, prefix, after, order);
        if is_empty_range(&range) {
            return Ok(Rows::new());
        }
        let mut changed: BTreeMap<&Vec<u8>, &Option<Vec<u8>>> = self.group.range(range.clone()).collect();
        changed.extend(self.own.range(range));
        // Enough stored rows to fill the page even if every changed one was removed.
        let stored = Committed(self.tree).scan(table, prefix, after, order, limit.saturating_add(changed.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => rows.insert(key[1..].to_vec(), value.clone()),
                None => rows.remove(&key[1..]),
            };
        }
        Ok(match order {
            Order::Ascending => rows.into_iter().take(limit).collect(),
            Order::Descending => rows.into_iter().rev().take(limit).collect(),
        })
    }
}

impl Write for Overlay<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.own.insert(full_key(table, key), Some(value));
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        self.own.insert(full_key(table, key), None);
    }
}
