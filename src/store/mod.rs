//! Where things are kept: a contract that engines fulfil, and the only place that names one.
//!
//! The contract, tested by one suite against every engine:
//! * a write is a pure closure over one transaction; it may be run again, and either all of it happens or nothing;
//! * transactions are serializable, so *look, decide, change* inside one closure is safe against races;
//! * a write that returned `Ok` is on disk: a kill or a power cut loses nothing acknowledged but counts
//!   ([`Table::is_count`]);
//! * a read returns nothing that a crash could still take back;
//! * indexes change in the transaction that changes their row ([`rows`]), and every list is paged;
//! * on a disk that is nearly full, changes that take rights away go on when others are refused ([`Write::takes_away`]);
//! * a failing disk takes writes away and, once there is room again, gives them back without a restart;
//! * a job that panics, one that reads as well as one that writes, fails alone: nothing of it is kept, and the others of
//!   its group go on. What panics outside a job ends the store, which then says so ([`Engine::ended`]).

pub mod backup;
pub mod check;
pub mod journal;
pub mod lock;
pub mod rows;
mod sled;

pub use self::sled::{ROOM, SledEngine};

use futures::future::BoxFuture;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

/// Whether a table's rows are part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backup {
    Kept,
    /// What must not come back: codes, sessions and counters of another day.
    Never,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $number:literal $backup:ident,)+) => {
        /// The tables. The number is the first byte of every stored key: frozen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$doc])* $name = $number,)+
        }

        impl Table {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            pub fn is_backed_up(self) -> bool {
                match self {
                    $(Self::$name => Backup::$backup == Backup::Kept,)+
                }
            }
        }
    };
}

tables! {
    Meta = 1 Kept,
    Registrations = 2 Never,
    ClaimTokens = 3 Never,
    UserCodes = 4 Never,
    Pickups = 5 Never,
    Handles = 6 Never,
    /// Pending registrations, oldest first.
    Pending = 7 Never,
    /// Pending registrations of those who asked more than once in an hour: most often first, then oldest first.
    CrowdedPending = 38 Never,
    /// Registrations by the second at which a sweep has something to do.
    DueRegistrations = 8 Never,
    DuePortalSessions = 9 Never,
    Accounts = 10 Kept,
    Emails = 11 Kept,
    Sessions = 12 Never,
    AccountSessions = 13 Never,
    DueSessions = 14 Never,
    ProgramSessions = 15 Never,
    AccountProgramSessions = 16 Never,
    DueProgramSessions = 17 Never,
    ExternalIds = 18 Kept,
    PortalSessions = 19 Never,
    Keys = 20 Kept,
    KeyHashes = 21 Kept,
    AccountKeys = 22 Kept,
    Children = 23 Kept,
    Usage = 24 Kept,
    /// Requests that are done once, by the hash of their name.
    Done = 25 Never,
    DueDone = 26 Never,
    /// What a key was used for, a row a key and day.
    UsageDays = 27 Kept,
    /// When allowances are whole again.
    RateLimits = 28 Never,
    /// How often agents asked and humans decided, a row a day and kind.
    Tallies = 29 Kept,
    Grants = 30 Kept,
    AccountGrants = 31 Kept,
    /// Where accounts were signed in to.
    KnownPlaces = 37 Never,
    Events = 40 Kept,
    Counters = 50 Never,
    DueCounters = 51 Never,
    FlaggedSources = 52 Kept,
    /// Calls of local programs that were carried out, for an hour.
    Operations = 60 Never,
    DueOperations = 61 Never,
}

impl Table {
    /// Whether a stored key is of a row that is written behind the requests it counts, the latest time seen among them. A kill loses none of those; a power
    /// cut may take back the last, so nobody waits for them to be on disk.
    pub fn is_count(full_key: &[u8]) -> bool {
        let table = [Self::Usage, Self::UsageDays, Self::RateLimits].iter().any(|table| table.own(full_key).is_some());
        table || Self::Meta.own(full_key) == Some(rows::CLOCK.as_bytes())
    }

    /// The row's key, if a stored key is one of this table.
    pub fn own(self, full_key: &[u8]) -> Option<&[u8]> {
        full_key.split_first().filter(|(table, _)| **table == self as u8).map(|(_, key)| key)
    }

    /// The table a stored key belongs to.
    pub fn of(full_key: &[u8]) -> Result<Self, StoreError> {
        let number = full_key.first().copied().unwrap_or_default();
        let unknown = || StoreError::Corrupt(format!("there is a row of table {number}, which this version does not know"));
        Self::ALL.iter().copied().find(|table| *table as u8 == number).ok_or_else(unknown)
    }
}

/// The store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing is known to be wrong with the request: try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored can be read; nothing can be changed until whoever runs this mends it.
    #[error("the store can't be written: {0}")]
    ReadOnly(String),
    /// The files, or a row, do not read as what they should be.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// What a request wanted from the store ended in a fault of this program. Trying again would end there, too.
    #[error("a job of the store panicked; nothing of it was kept")]
    Panicked,
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
    /// An entry for the [`journal`], if one is kept: on disk there before the change is.
    fn note(&mut self, entry: Vec<u8>);
    /// Says that this change takes rights away, as one with a [`note`](Self::note) does: it is made on a full disk, too, from
    /// room that is kept for it.
    fn takes_away(&mut self);
}

pub type ReadJob<'a> = Box<dyn FnOnce(&dyn Read) + Send + 'a>;
/// Returns whether to commit.
pub type WriteJob = Box<dyn FnMut(&mut dyn Write) -> bool + Send>;

/// All rows as they were at one moment, a page of about so many at a time; an empty one is the end. Keys start with
/// the number of their table.
pub type Pages = Box<dyn FnMut(usize) -> Result<Rows, StoreError> + Send>;

pub struct Snapshot {
    pub pages: Pages,
    /// If a journal is kept: how long it was then, the mark of that moment included.
    pub journal: Option<journal::Head>,
}

/// A row that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    /// The number of the table, then the row's key.
    pub key: Vec<u8>,
    /// Whether it was there before.
    pub was: bool,
    /// Whether it is there now.
    pub is: bool,
}

/// What a commit changed.
pub enum Changed<'a> {
    /// All rows it changed but counts ([`Table::is_count`]).
    Rows(&'a [ChangedRow]),
    /// The store failed and was opened again: anything may be different from what was told. What it holds now.
    Everything(&'a dyn Read),
}

/// Told of every change after it was made (or may have been) and before anybody is told that it was.
pub type Observer = Box<dyn Fn(&Changed<'_>) + Send + Sync>;

/// Runs a job, for an engine. One that panics has only itself to blame: what it leaves is thrown away, so nobody sees it
/// half done.
fn run_job<T>(job: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|_| StoreError::Panicked)
}

/// One storage engine.
pub trait Engine: Send + Sync {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<(), StoreError>>;
    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<(), StoreError>>;
    /// The store at this moment; `mark` goes to the journal.
    fn snapshot(&self, mark: Vec<u8>) -> BoxFuture<'_, Result<Snapshot, StoreError>>;
    /// Why the store failed, while it waits to be opened again. A disk or a journal that only refuses changes is no fault.
    fn fault(&self) -> Option<StoreError>;
    /// Ends when nothing will ever be written any more, because the engine itself failed: the process has to end, too.
    /// An engine without a part of its own that could die goes on for ever.
    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    /// Tells `observer` of changes from now on. There is one, and the first stays.
    fn observe(&self, observer: Observer);
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
