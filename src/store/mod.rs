//! Where things are kept: a contract that engines fulfil, and the only place that names one.
//!
//! The contract, tested by one suite against every engine:
//! * a write is a pure closure over one transaction; it may be run again, and either all of it happens or nothing;
//! * transactions are serializable, so *look, decide, change* inside one closure is safe against races;
//! * a write that returned `Ok` is on disk: a kill or a power cut loses nothing acknowledged;
//! * a read returns nothing that a crash could still take back;
//! * indexes change in the transaction that changes their row ([`rows`]), and every list is paged.

pub mod lock;
pub mod rows;
mod sled;

pub use self::sled::SledEngine;

use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};

/// The tables. The number is the first byte of every stored key: frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    Meta = 1,
    Registrations = 2,
    ClaimTokens = 3,
    UserCodes = 4,
    Pickups = 5,
    Handles = 6,
    /// Pending registrations, oldest first.
    Pending = 7,
    /// Registrations by the second at which a sweep has something to do.
    DueRegistrations = 8,
    Accounts = 10,
    Emails = 11,
    Sessions = 12,
    AccountSessions = 13,
    DueSessions = 14,
    Keys = 20,
    KeyHashes = 21,
    AccountKeys = 22,
    Children = 23,
    Usage = 24,
    /// Requests that are done once, by the hash of their name.
    Done = 25,
    DueDone = 26,
    /// What a key was used for, a row a key and day.
    UsageDays = 27,
    /// When allowances are whole again.
    RateLimits = 28,
    Grants = 30,
    AccountGrants = 31,
    Events = 40,
    Counters = 50,
    DueCounters = 51,
    FlaggedSources = 52,
    /// Calls of local programs that were carried out, for an hour.
    Operations = 60,
    DueOperations = 61,
}

/// The store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing is known to be wrong with the request: try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A row does not read as what it should be.
    #[error("the store holds a row it can't read: {0}")]
    Corrupt(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Rows as bytes: a key inside its table, and the value.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

pub trait Read {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows of `table` whose keys start with `prefix`, strictly after the key `after` in `order`.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Rows, StoreError>;
}

pub trait Write: Read {
    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>);
    fn remove(&mut self, table: Table, key: &[u8]);
}

pub type ReadJob<'a> = Box<dyn FnOnce(&dyn Read) + Send + 'a>;
/// Returns whether to commit.
pub type WriteJob = Box<dyn FnMut(&mut dyn Write) -> bool + Send>;

/// One storage engine.
pub trait Engine: Send + Sync {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<(), StoreError>>;
    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Waits for what is under way, then refuses everything.
    fn close(&self) -> BoxFuture<'_, ()>;
}

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
                if let Ok(mut slot) = slot.lock() {
                    *slot = Some(done);
                }
                commit
            }))
            .await;
        let done = result.lock().ok().and_then(|mut slot| slot.take());
        match (outcome, done) {
            (Ok(()), Some(done)) => done,
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Unavailable("the engine ran no job".to_owned()).into()),
        }
    }

    pub async fn close(&self) {
        self.0.close().await;
    }
}
