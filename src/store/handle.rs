//! The typed way to an engine.

use crate::store::{
    access::{Read, Write},
    changes::{Commit, Follower, Revision},
    engine::{Engine, Snapshot},
    error::StoreError,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A typed way to an [`Engine`].
#[derive(Clone)]
pub struct Store(Arc<dyn Engine>);

impl Store {
    /// Any engine will do.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self(engine)
    }

    /// Runs a job that reads.
    ///
    /// # Errors
    /// Those of the job and of the engine.
    pub async fn read<T, E>(&self, job: impl FnOnce(&dyn Read) -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
    {
        Ok(self.read_at(job).await?.0)
    }

    /// The same, with a revision whose changes the job saw: for copies of what it read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_at<T, E>(&self, job: impl FnOnce(&dyn Read) -> Result<T, E> + Send) -> Result<(T, Revision), E>
    where
        T: Send,
        E: From<StoreError> + Send,
    {
        let mut result = None;
        let revision = self.0.read(Box::new(|rows| result = Some(job(rows)))).await?;
        let done = result.unwrap_or_else(|| Err(StoreError::Unavailable("the engine ran no job".to_owned()).into()));
        Ok((done?, revision))
    }

    /// Runs `job` in one transaction: `Ok` commits, `Err` changes nothing. Returns once it is on disk.
    ///
    /// # Errors
    /// The job's own, or the engine's. After [`StoreError::Unavailable`] the change may have been made all the same.
    pub async fn write<T, E>(&self, job: impl Fn(&mut dyn Write) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let slot = result.clone();
        let outcome = self
            .0
            .write(Box::new(move |rows| {
                let done = job(rows);
                let commit = done.is_ok();
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                commit
            }))
            .await;
        let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (outcome, done) {
            (Ok(_), Some(done)) => done,
            (Err(error), _) => Err(error.into()),
            (Ok(_), None) => Err(StoreError::Unavailable("the engine ran no job".to_owned()).into()),
        }
    }

    /// The store at this moment; `mark` goes to the journal.
    ///
    /// # Errors
    /// As [`Engine::snapshot`].
    pub async fn snapshot(&self, mark: Vec<u8>) -> Result<Snapshot, StoreError> {
        self.0.snapshot(mark).await
    }

    /// Why the store failed, while it waits to be opened again. A disk or a journal that only refuses changes is no fault.
    pub fn fault(&self) -> Option<StoreError> {
        self.0.fault()
    }

    /// Ends when nothing will ever be written any more, because the engine itself failed.
    pub async fn ended(&self) {
        self.0.ended().await;
    }

    /// The last revision that every follower knows of.
    pub fn revision(&self) -> Revision {
        self.0.revision()
    }

    /// What commits after `since` changed, oldest first; `None`: that is too long ago.
    pub fn changes(&self, since: Revision) -> Option<Vec<Commit>> {
        self.0.changes(since)
    }

    /// Keeps what `follower` holds true from now on. Those who follow are told in the order in which they came.
    ///
    /// # Errors
    /// Where what it begins with can't be read.
    pub async fn follow(&self, follower: Arc<dyn Follower>) -> Result<(), StoreError> {
        self.0.follow(follower).await
    }

    /// Waits for what is under way, then refuses everything.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
