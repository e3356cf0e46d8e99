//! The one thread that changes the database.
//!
//! It runs every waiting job, applies the group's changes as one atomic batch, and syncs once: concurrency pays for
//! one fsync. Jobs of one group see each other's changes, so transactions are serial.
//!
//! When the disk is full or fails, what became of that group is unknown and sled refuses everything from then on, for
//! good. So writers are refused, readers go on seeing what was on disk before that group, and once there is room the
//! database is dropped and opened again.

use crate::store::{
    changes::{ChangedRow, Follower, Revision},
    declaration::is_written_behind,
    engine::{Snapshot, WriteJob, run_job},
    error::StoreError,
    feed::Feed,
    journal::Journal,
    sled::{
        files::{self, Changes, Files, Gone},
        snapshot::{Before, Watched},
        view::{View, full_key},
    },
    table::Table,
    tables::settings::JOURNAL,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that share one fsync at most.
const GROUP: usize = 256;

/// How soon a failed database is tried again: at first, and at most.
const SOON: Duration = Duration::from_millis(50);

const LATER: Duration = Duration::from_secs(2);

/// What the writer's thread is asked for.
pub enum Message {
    Write {
        job: WriteJob,
        reply: oneshot::Sender<Result<Revision, StoreError>>,
    },
    Follow {
        follower: Arc<dyn Follower>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Snapshot {
        mark: Vec<u8>,
        reply: oneshot::Sender<Result<Snapshot, StoreError>>,
    },
    /// A reader found the database failing.
    Ailing,
    /// There is room again.
    Reopen,
}

/// What readers read.
pub struct Live {
    pub files: Arc<Files>,
    /// What a failed group changed, as it was before.
    pub undo: Changes,
    /// The last group that readers may meet in the tree, and the last one that is on disk; or why nothing is written
    /// any more, and all of it is.
    pub groups: Result<(Arc<AtomicU64>, watch::Receiver<u64>), StoreError>,
}

/// Whether there is a database to read.
#[derive(Clone)]
pub enum State {
    Open(Arc<Live>),
    Opening,
    Down(StoreError),
}

/// The one thread that changes the database. It gathers jobs, so that many share one fsync.
pub struct Writer {
    path: PathBuf,
    /// Bytes of the disk that stay free.
    room: u64,
    state: watch::Sender<State>,
    /// For the thread that waits for room; weak, so that it keeps no engine alive.
    queue: mpsc::WeakSender<Message>,
    journal: Option<Journal>,
    feed: Arc<Feed>,
    database: Result<Database, Failed>,
    patience: Duration,
}

/// Why there is no database, and what tells that its last reader has let go.
struct Failed {
    error: StoreError,
    gone: Option<Gone>,
}

/// The open database from the writer's side.
struct Database {
    files: Arc<Files>,
    gone: Gone,
    group: u64,
    applied: Arc<AtomicU64>,
    durable: watch::Sender<u64>,
    snapshots: Vec<Watched>,
}

impl Database {
    fn open(path: &Path, room: u64) -> Result<(Self, Live), StoreError> {
        let (files, gone) = Files::open(path, room)?;
        let applied = Arc::new(AtomicU64::new(0));
        let (durable, seen) = watch::channel(0);
        let live = Live { files: files.clone(), undo: Changes::new(), groups: Ok((applied.clone(), seen)) };
        Ok((Self { files, gone, group: 0, applied, durable, snapshots: Vec::new() }, live))
    }

    /// The present values of what is about to change; of counts, nobody needs them.
    fn before(&self, changes: &Changes) -> Result<Changes, StoreError> {
        let rows = changes.keys().filter(|key| !is_written_behind(key));
        rows.map(|key| Ok((key.clone(), self.files.noted(self.files.tree.get(key))?.map(|value| value.to_vec())))).collect()
    }
}

/// Which changes of a group the disk has room for, found out once.
#[derive(Default)]
struct Admission {
    full: Option<Result<(), StoreError>>,
    made: Option<Result<(), StoreError>>,
}

impl Admission {
    fn admits(&mut self, files: &Files, takes_away: bool) -> Result<(), StoreError> {
        match self.full.get_or_insert_with(|| files.room.refuse_if_full()) {
            Err(_) if takes_away => self.made.get_or_insert_with(|| files.room.make()).clone(),
            full => full.clone(),
        }
    }
}

/// What followers are told: of the rows whose state before is known, whether they came, went or stayed.
fn changed(before: &Changes, changes: &Changes) -> Vec<ChangedRow> {
    let row = |(key, was): (&Vec<u8>, &Option<Vec<u8>>)| {
        let is = changes.get(key).is_some_and(Option::is_some);
        ChangedRow { key: key.clone(), was: was.is_some(), is }
    };
    before.iter().map(row).collect()
}

impl Writer {
    /// Opens the database and starts the thread.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn start(
        path: PathBuf,
        room: u64,
        journal: Option<Journal>,
        feed: Arc<Feed>,
        queue: mpsc::WeakSender<Message>,
        messages: mpsc::Receiver<Message>,
    ) -> Result<watch::Receiver<State>, StoreError> {
        let (database, live) = Database::open(&path, room)?;
        let (state, seen) = watch::channel(State::Open(Arc::new(live)));
        let writer = Self { path, room, state, queue, journal, feed, database: Ok(database), patience: SOON };
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run(messages))).is_err() {
                // It unwound: what others wait on is dropped, so they learn of it.
                tracing::error!("the store's writer failed: nothing can be changed any more, and this process ends");
            }
        };
        thread::Builder::new().name("store-writer".to_owned()).spawn(run)?;
        Ok(seen)
    }

    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut replies = Vec::with_capacity(GROUP);
        while let Some(first) = messages.blocking_recv() {
            let (mut changes, mut notes) = (Changes::new(), Vec::new());
            let (mut next, mut room) = (Some(first), Admission::default());
            while let Some(Message::Write { mut job, reply }) = next {
                let mut ran = Ok(());
                if let Ok(database) = &self.database {
                    let mut view = View::new(&database.files, &changes);
                    match run_job(|| job(&mut view)) {
                        Ok(true) => {
                            let View { own, notes: mut more, takes_away, .. } = view;
                            ran = if own.is_empty() { Ok(()) } else { room.admits(&database.files, takes_away) };
                            if ran.is_ok() {
                                changes.extend(own);
                                notes.append(&mut more);
                            }
                        }
                        Ok(false) => {}
                        Err(panicked) => ran = Err(panicked),
                    }
                }
                replies.push((reply, ran));
                next = if replies.len() < GROUP { messages.try_recv().ok() } else { None };
            }
            if !replies.is_empty() {
                let outcome = self.commit(changes, &notes).map(|()| self.feed.revision());
                for (reply, ran) in replies.drain(..) {
                    let _ = reply.send(ran.and_then(|()| outcome.clone()));
                }
            }
            match next {
                Some(Message::Follow { follower, reply }) => {
                    let _ = reply.send(self.follow(follower));
                }
                Some(Message::Snapshot { mark, reply }) => {
                    let _ = reply.send(self.snapshot(mark));
                }
                Some(Message::Ailing) => {
                    if self.database.is_ok() {
                        self.fail(Changes::new(), StoreError::Unavailable("the database can't be read".to_owned()));
                    }
                }
                Some(Message::Reopen) => self.reopen(),
                Some(Message::Write { .. }) | None => {}
            }
        }
    }

    fn commit(&mut self, mut changes: Changes, notes: &[Vec<u8>]) -> Result<(), StoreError> {
        let database = self.database.as_mut().map_err(|failed| failed.error.clone())?;
        let done = if database.files.is_ailing() {
            Err((Changes::new(), StoreError::Unavailable("the database can't be read".to_owned())))
        } else if changes.is_empty() {
            return Ok(());
        } else {
            match database.before(&changes) {
                Err(error) => Err((Changes::new(), error)),
                Ok(before) => {
                    // Before the change: an entry for a change that never happened takes nothing from anybody else,
                    // a change without its entry would come back with a backup.
                    if let Some(journal) = &mut self.journal
                        && !notes.is_empty()
                    {
                        journal.append(notes).map_err(|error| {
                            tracing::error!(%error, "the journal can't be written; refusing changes that belong there");
                            StoreError::ReadOnly(format!("the journal: {error}"))
                        })?;
                        // The store knows how long it is: one that was cut or exchanged shows at the next start.
                        let known = serde_json::to_vec(journal.head()).map_err(|error| StoreError::Corrupt(error.to_string()))?;
                        changes.insert(full_key(Table::Meta, JOURNAL.as_bytes()), Some(known));
                    }
                    database.snapshots.retain(|snapshot| snapshot.leave(&before));
                    let waits = !before.is_empty();
                    if waits {
                        database.group += 1;
                        database.applied.store(database.group, Ordering::Release);
                    }
                    let changed = changed(&before, &changes);
                    let applied = database.files.apply(changes, waits).map_err(|error| (before, error));
                    if !changed.is_empty() {
                        self.feed.publish(changed, &View::new(&database.files, &Changes::new()));
                    }
                    applied
                }
            }
        };
        match done {
            Ok(()) => {
                database.durable.send_replace(database.group);
                Ok(())
            }
            Err((undo, error)) => Err(self.fail(undo, error)),
        }
    }

    /// Nothing is written from now on, and readers see what was on disk before. Returns what writers are told.
    fn fail(&mut self, undo: Changes, error: StoreError) -> StoreError {
        tracing::error!(%error, "the store failed; refusing changes until it can be opened again");
        let error = match error {
            StoreError::Unavailable(why) => StoreError::ReadOnly(why),
            error => error,
        };
        let failed = Failed { error: error.clone(), gone: None };
        // Dropping the rest tells readers who met the failed group that it is not on disk.
        if let Ok(Database { files, gone, .. }) = std::mem::replace(&mut self.database, Err(failed)) {
            self.state.send_replace(State::Open(Arc::new(Live { files, undo, groups: Err(error.clone()) })));
            if let Err(failed) = &mut self.database {
                failed.gone = Some(gone);
            }
            self.wait_for_room();
        }
        error
    }

    /// Opening on a full disk would only fail, and take from readers what they have.
    fn wait_for_room(&mut self) {
        let (path, queue, mut delay) = (self.path.clone(), self.queue.clone(), self.patience);
        self.patience = (self.patience * 2).min(LATER);
        let wait = move || {
            loop {
                thread::sleep(delay);
                let Some(queue) = queue.upgrade() else { return };
                match files::could_go_on(&path) {
                    Ok(()) => return drop(queue.blocking_send(Message::Reopen)),
                    Err(error) => tracing::debug!(%error, "the store still can't be written"),
                }
                delay = (delay * 2).min(LATER);
            }
        };
        if let Err(error) = thread::Builder::new().name("store-room".to_owned()).spawn(wait) {
            tracing::error!(%error, "nobody waits for the store to work again: restart the program");
        }
    }

    fn reopen(&mut self) {
        let Err(failed) = &mut self.database else { return };
        self.state.send_replace(State::Opening);
        if let Some(gone) = failed.gone.take() {
            // Disconnected by the last reader that lets go.
            let _ = gone.recv();
        }
        match Database::open(&self.path, self.room) {
            Ok((database, live)) => {
                tracing::info!("the store works again");
                self.database = Ok(database);
                self.patience = SOON;
                self.feed.publish_everything(&View::new(&live.files, &live.undo));
                self.state.send_replace(State::Open(Arc::new(live)));
            }
            Err(error) => {
                tracing::error!(%error, "the store can't be opened again yet");
                failed.error = error.clone();
                self.state.send_replace(State::Down(error));
                self.wait_for_room();
            }
        }
    }

    /// Between two groups: it misses nothing and is told nothing twice.
    fn follow(&self, follower: Arc<dyn Follower>) -> Result<(), StoreError> {
        let database = self.database.as_ref().map_err(|failed| failed.error.clone())?;
        self.feed.follow(follower, &View::new(&database.files, &Changes::new()))
    }

    /// Between two groups, so that it is one moment; the journal says which.
    fn snapshot(&mut self, mark: Vec<u8>) -> Result<Snapshot, StoreError> {
        let database = self.database.as_mut().map_err(|failed| failed.error.clone())?;
        if let Some(journal) = &mut self.journal {
            journal.append(&[mark])?;
        }
        let before = Before::default();
        database.snapshots.push(before.watched());
        Ok(Snapshot {
            pages: Box::new(before.pages(&database.files)),
            journal: self.journal.as_ref().map(|journal| journal.head().clone()),
        })
    }
}
