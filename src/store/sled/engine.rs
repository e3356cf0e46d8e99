//! The engine over sled: jobs go to one writer, reads go to its last committed state.

use crate::store::{
    changes::{Commit, Follower, Revision},
    engine::{Engine, ReadJob, Snapshot, WriteJob, run_job},
    error::StoreError,
    feed::Feed,
    journal::Journal,
    sled::{
        files,
        view::View,
        writer::{Live, Message, State, Writer},
    },
};
use futures::future::BoxFuture;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot, watch};

/// Writers wait in this queue; past it they wait for a place.
const QUEUE: usize = 1024;

/// sled behind the contract: one writer, many readers. Clients of the writer queue up; readers go past it.
pub struct SledEngine {
    queue: mpsc::Sender<Message>,
    state: watch::Receiver<State>,
    feed: Arc<Feed>,
    closed: AtomicBool,
}

impl SledEngine {
    /// Opens or creates the database under `dir`, with a file that notes what changes take away. The caller holds the
    /// directory's lock.
    ///
    /// # Errors
    /// As [`open`](crate::store::open::open).
    pub fn open(dir: &Path, journal: Option<Journal>) -> Result<Self, StoreError> {
        Self::open_with_room(dir, journal, files::ROOM as u64)
    }

    /// The same; changes are refused once less than `room` bytes of the disk are free.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_room(dir: &Path, journal: Option<Journal>, room: u64) -> Result<Self, StoreError> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let feed = Arc::<Feed>::default();
        let state = Writer::start(dir.join("store"), room, journal, feed.clone(), queue.downgrade(), messages)?;
        Ok(Self { queue, state, feed, closed: AtomicBool::new(false) })
    }

    fn refuse_if_closed(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// The database, once it is not just being opened again.
    async fn live(&self) -> Result<Arc<Live>, StoreError> {
        self.refuse_if_gone()?;
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Opening)).await.map_err(|_| self.gone())?;
        match &*state {
            State::Open(live) => Ok(live.clone()),
            State::Down(error) => Err(error.clone()),
            State::Opening => Err(closed()),
        }
    }

    /// Without its writer the store is not read either: nobody is to take such a process for a whole one.
    fn refuse_if_gone(&self) -> Result<(), StoreError> {
        self.state.has_changed().map(|_| ()).map_err(|_| self.gone())
    }

    /// What who asks is told when the writer is gone.
    fn gone(&self) -> StoreError {
        self.refuse_if_closed().err().unwrap_or_else(dead)
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Message) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(message(reply)).await.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("closed".to_owned())
}

fn dead() -> StoreError {
    StoreError::Unavailable("its writer failed: this process has to be started again".to_owned())
}

impl Engine for SledEngine {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            let revision = self.feed.revision();
            let live = self.live().await?;
            run_job(|| job(&View::new(&live.files, &live.undo)))?;
            if live.files.is_ailing() {
                let _ = self.queue.try_send(Message::Ailing);
            }
            let groups = live.groups.clone();
            // Who waits below must not keep a failed database from being opened again.
            drop(live);
            let Ok((applied, mut durable)) = groups else { return Ok(revision) };
            // What was seen may be applied but not yet synced: wait for the group that wrote it.
            let seen = applied.load(Ordering::Acquire);
            durable.wait_for(|group| *group >= seen).await.map(|_| revision).map_err(|_| failed())
        })
    }

    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            self.ask(|reply| Message::Write { job, reply }).await
        })
    }

    fn snapshot(&self, mark: Vec<u8>) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            self.ask(|reply| Message::Snapshot { mark, reply }).await
        })
    }

    fn fault(&self) -> Option<StoreError> {
        if let Err(gone) = self.refuse_if_gone() {
            return Some(gone);
        }
        match &*self.state.borrow() {
            State::Open(live) => live.groups.as_ref().err().cloned(),
            State::Down(error) => Some(error.clone()),
            State::Opening => None,
        }
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        let mut state = self.state.clone();
        // The writer holds the other end until it is gone, and goes on as long as this engine lives.
        Box::pin(async move { while state.changed().await.is_ok() {} })
    }

    fn revision(&self) -> Revision {
        self.feed.revision()
    }

    fn changes(&self, since: Revision) -> Option<Vec<Commit>> {
        self.feed.since(since)
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.refuse_if_closed()?;
            self.ask(|reply| Message::Follow { follower, reply }).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            // A last empty job: once it is answered, everything queued before it is on disk.
            let _ = self.ask(|reply| Message::Write { job: Box::new(|_| false), reply }).await;
        })
    }
}

fn failed() -> StoreError {
    StoreError::Unavailable("what was read may not be on disk".to_owned())
}
