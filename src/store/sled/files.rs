//! The database on disk: opening it, making changes last, telling whether it could be written.
//!
//! sled's own `flush` leaves data in the page cache; `sync_data` on its file makes it real.

use crate::store::{
    error::StoreError,
    sled::room::{self, Room},
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

const CACHE_BYTES: u64 = 32 << 20;

/// sled writes its file in pieces of this size, and writes one again once all in it is stale. What is still good in a
/// mostly stale one is moved out by a cleaner that does one segment per flush, and one page per page that is rewritten.
/// With sled's own 512 KiB it falls behind under constant change: the file grows to some 25 times its rows, up to a
/// segment for each page. In these so much goes stale by itself, and so much is moved at a time, that it keeps up.
const SEGMENT: usize = 2 << 20;

/// Databases made with sled's own size keep it: it can't be changed.
const FORMER_SEGMENT: usize = 512 << 10;

/// Bytes that must fit on the disk for changes, and before a failed database is opened again: a few segments and a
/// snapshot. As many are kept beside it for changes that take rights away.
pub const ROOM: usize = 4 * SEGMENT;

/// The file that keeps room for changes that take rights away.
const RESERVE: &str = "reserve";

/// sled lets go of its file a moment after its last handle, and a killed process after our own lock. Who has that
/// lock waits.
const TRIES: u32 = 250;
const AGAIN: Duration = Duration::from_millis(20);

/// Disconnected once nobody holds the database any more.
pub type Gone = mpsc::Receiver<Infallible>;

/// The open database. The fields go in this order: `gone` tells that the others have.
pub struct Files {
    pub tree: sled::Tree,
    pub room: Room,
    db: sled::Db,
    file: File,
    /// Set by the first failed read: the database is to be opened anew.
    ailing: AtomicBool,
    _gone: mpsc::Sender<Infallible>,
}

impl Files {
    /// Opens or creates the database in `path`. Changes are refused once less than `room` bytes of its disk are free.
    ///
    /// # Errors
    /// * [`StoreError::Corrupt`]: the files are not what sled wrote.
    /// * [`StoreError::ReadOnly`]: the disk has no room to open it.
    /// * [`StoreError::Unavailable`]: another process has it, or the system refuses.
    pub fn open(path: &Path, room: u64) -> Result<(Arc<Self>, Gone), StoreError> {
        // A damaged file trips sled's assertions as often as its checks.
        let open = || {
            catch_unwind(AssertUnwindSafe(|| Self::opened(path, room)))
                .unwrap_or_else(|_| Err(StoreError::Corrupt("the database file does not make sense".to_owned())))
        };
        let mut opened = open();
        if opened.is_err() && is_full(has_room(path, ROOM)) && room::give_up(&path.join(RESERVE)) {
            opened = open();
        }
        opened.map_err(|error| match has_room(path, ROOM) {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                StoreError::ReadOnly(format!("{full}; it takes {} MiB of room to open", ROOM >> 20))
            }
            _ => error,
        })
    }

    fn opened(path: &Path, room: u64) -> Result<(Arc<Self>, Gone), StoreError> {
        remove_half_snapshots(path)?;
        // A copy of one that was used may not be changed.
        let config = |segment| sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(500)).segment_size(segment);
        let (mut tries, mut segment) = (0, SEGMENT);
        let db = loop {
            match config(segment).open() {
                Err(sled::Error::Unsupported(_)) if segment == SEGMENT => segment = FORMER_SEGMENT,
                Err(sled::Error::Io(error)) if tries < TRIES && error.to_string().contains("acquire lock") => {
                    thread::sleep(AGAIN);
                    tries += 1;
                }
                opened => break opened?,
            }
        };
        let file = File::open(path.join("db"))?;
        let tree = db.open_tree("countersign")?;
        let (alive, gone) = mpsc::channel();
        let room = Room::keep(path.join(RESERVE), file.try_clone()?, room);
        Ok((Arc::new(Self { tree, room, db, file, ailing: AtomicBool::new(false), _gone: alive }), gone))
    }

    /// All of the changes or none; with `sync`, on disk when this returns. After an error nobody knows which, until the
    /// database is opened again.
    ///
    /// # Errors
    /// Whatever the disk answered.
    pub fn apply(&self, changes: Changes, sync: bool) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch)?;
        self.db.flush()?;
        if sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Passes a read's outcome on, and notes that the database failed.
    ///
    /// # Errors
    /// The read's own.
    pub fn noted<T>(&self, read: sled::Result<T>) -> Result<T, StoreError> {
        read.map_err(|error| {
            self.ailing.store(true, Ordering::Release);
            error.into()
        })
    }

    /// Whether a read failed, so that the database is to be opened anew.
    pub fn is_ailing(&self) -> bool {
        self.ailing.load(Ordering::Acquire)
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => Self::Corrupt(error.to_string()),
            // sled shows its cause as a debugger would.
            sled::Error::Io(cause) if cause.kind() != io::ErrorKind::Other => Self::Unavailable(cause.kind().to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Whether a full disk was what it failed for.
fn is_full(room: io::Result<()>) -> bool {
    room.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

/// Whether a failed database could be opened again, if need be with the room that is kept for changes that take rights
/// away: those go on then.
pub fn could_go_on(path: &Path) -> io::Result<()> {
    let Err(error) = has_room(path, ROOM) else { return Ok(()) };
    let reserve = path.join(RESERVE);
    if error.kind() == io::ErrorKind::StorageFull && (room::give_up(&reserve) || reserve.exists()) {
        return has_room(path, ROOM / 2);
    }
    Err(error)
}

/// Whether the database could grow now: another file of the same place, written where the database ends, so that
/// a full disk, a read-only one and a limit on file sizes all show.
pub fn has_room(path: &Path, bytes: usize) -> io::Result<()> {
    let end = fs::metadata(path.join("db"))?.len();
    let probe = path.join("probe");
    // What a kill left; a link is not followed.
    let _ = fs::remove_file(&probe);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&probe)?;
    let written = file.write_all_at(&vec![1; bytes], end).and_then(|()| file.sync_all());
    let removed = fs::remove_file(&probe);
    written.and(removed)
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

/// Stored keys (the table's number first) and their values; `None`: removed.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
