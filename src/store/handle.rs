//! The typed way to an engine.

use crate::store::{
    access::{Read, Write},
    changes::Changed,
    engine::{Engine, Snapshot},
    error::StoreError,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A typed way to an [`Engine`].
#[derive(Clone)]
pub struct Store(Arc<dyn Engine>);

impl Store {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self(engine)
    }

    pub async fn read<T, E>(&self, job: impl FnOnce(&dyn Read) -> Result<T, E> + Send) -> Result<T, E>
    where
        T: Send,
        E: From<StoreError> + Send,
    {
        let mut result = None;
        self.0.read(Box::new(|rows| result = Some(job(rows)))).await?;
        result.unwrap_or_else(|| Err(StoreError::Unavailable("the engine ran no job".to_owned()).into()))
    }

    /// Runs `job` in one transaction: `Ok` commits, `Err` changes nothing. Returns once it is on disk.
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
            (Ok(()), Some(done)) => done,
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Unavailable("the engine ran no job".to_owned()).into()),
        }
    }

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

    pub fn observe(&self, observer: impl Fn(&Changed<'_>) + Send + Sync + 'static) {
        self.0.observe(Box::new(observer));
    }

    pub async fn close(&self) {
        self.0.close().await;
    }
}
