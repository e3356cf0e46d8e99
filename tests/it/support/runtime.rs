//! Time and randomness that a test holds in its hand, and the way back into a store that was just closed.

use countersign::{
    platform::runtime::{Clock, Entropy},
    store::{
        access::Read,
        changes::{Commit, Follower, Revision},
        engine::{Engine, ReadJob, Snapshot, WriteJob},
        error::StoreError,
        sled::engine::SledEngine,
    },
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

/// A clock that stands still until it is told to move.
pub struct ManualClock {
    now_ms: AtomicI64,
    elapsed_ms: AtomicI64,
}

/// Noon, so that every window of limits starts whole.
const START_MS: i64 = 1_795_262_400_000;

impl ManualClock {
    pub fn new() -> Self {
        assert_eq!(START_MS % 3_600_000, 0, "tests start at the top of an hour");
        Self { now_ms: AtomicI64::new(START_MS), elapsed_ms: AtomicI64::new(0) }
    }

    pub fn advance(&self, seconds: i64) {
        self.advance_ms(seconds * 1000);
    }

    pub fn advance_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the computer's clock: no time passes.
    pub fn set_by(&self, seconds: i64) {
        self.now_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms.load(Ordering::SeqCst)).expect("a time jiff knows")
    }

    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst).try_into().expect("time passes forwards"))
    }
}

/// The same bytes for the same seed; never the same draw twice.
pub struct Seeded(Mutex<blake3::OutputReader>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof()))
    }

    pub fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `end`.
    pub fn below(&self, end: u32) -> u32 {
        u32::from_be_bytes(self.draw()) % end
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no test panics while drawing").fill(bytes);
    }
}

/// Opens the engine.
pub fn reopen(dir: &Path) -> SledEngine {
    SledEngine::open(dir, None).expect("the store opens")
}

/// Kills the writer, once it is told to.
pub struct Panics(pub Arc<AtomicBool>);

impl Follower for Panics {
    fn revision(&self) -> Revision {
        Revision::default()
    }

    fn follow(&self, _: &Commit) {
        assert!(!self.0.load(Ordering::SeqCst), "on purpose");
    }

    fn restart(&self, _: &dyn Read, _: Revision) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An engine that counts what it is asked.
pub struct Counting {
    inner: SledEngine,
    pub reads: Arc<AtomicUsize>,
    pub writes: Arc<AtomicUsize>,
}

impl Counting {
    pub fn over(inner: SledEngine) -> Self {
        Self { inner, reads: Arc::default(), writes: Arc::default() }
    }
}

impl Engine for Counting {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<Revision, StoreError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(job)
    }

    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.write(job)
    }

    fn snapshot(&self, mark: Vec<u8>) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.inner.snapshot(mark)
    }

    fn fault(&self) -> Option<StoreError> {
        self.inner.fault()
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn changes(&self, since: Revision) -> Option<Vec<Commit>> {
        self.inner.changes(since)
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.follow(follower)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
