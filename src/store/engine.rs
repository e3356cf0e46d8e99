//! The contract that an engine fulfils: bytes, ordered by key, in transactions.

use crate::store::{
    access::{Read, Rows, Write},
    changes::{Commit, Follower, Revision},
    error::StoreError,
    journal,
};
use futures::future::BoxFuture;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// A read, with all its rows of one moment. It may borrow from whoever waits for it.
pub type ReadJob<'a> = Box<dyn FnOnce(&dyn Read) + Send + 'a>;

/// Returns whether to commit.
pub type WriteJob = Box<dyn FnMut(&mut dyn Write) -> bool + Send>;

/// All rows as they were at one moment, a page of about so many at a time; an empty one is the end. Keys start with
/// the number of their table.
pub type Pages = Box<dyn FnMut(usize) -> Result<Rows, StoreError> + Send>;

/// The store at one moment, to be read while it changes.
pub struct Snapshot {
    pub pages: Pages,
    /// If a journal is kept: how long it was then, the mark of that moment included.
    pub journal: Option<journal::Head>,
}

/// Runs a job, for an engine. One that panics has only itself to blame: what it leaves is thrown away, so nobody sees it
/// half done.
///
/// # Errors
/// [`StoreError::Panicked`].
pub fn run_job<T>(job: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|_| StoreError::Panicked)
}

/// One storage engine.
pub trait Engine: Send + Sync {
    /// Runs a job that reads. Returns a revision whose changes it saw; it may have seen later ones.
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<Revision, StoreError>>;
    /// Runs a job in a transaction, and returns once what it changed is on disk and every follower of this process knows of it.
    /// Returns the revision of its commit, or a later one.
    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<Revision, StoreError>>;
    /// The store at this moment; `mark` goes to the journal.
    ///
    /// # Errors
    /// When the mark can't be written, or the store not be read.
    fn snapshot(&self, mark: Vec<u8>) -> BoxFuture<'_, Result<Snapshot, StoreError>>;
    /// Why the store failed, while it waits to be opened again. A disk or a journal that only refuses changes is no fault.
    fn fault(&self) -> Option<StoreError>;
    /// Ends when nothing will ever be written any more, because the engine itself failed: the process has to end, too.
    /// An engine without a part of its own that could die goes on for ever.
    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    /// The last revision that every follower of this process knows of.
    fn revision(&self) -> Revision;
    /// What commits after `since` changed, oldest first; `None`: that is too long ago, and whoever holds copies begins anew.
    fn changes(&self, since: Revision) -> Option<Vec<Commit>>;
    /// Keeps what `follower` holds true from now on. It begins with what is stored, between two commits.
    fn follow(&self, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Waits for what is under way, then refuses everything.
    fn close(&self) -> BoxFuture<'_, ()>;
}
