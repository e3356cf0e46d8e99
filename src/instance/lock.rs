//! One process owns a data directory: a lock of our own, released by the kernel on any death.

use crate::platform::private_files::{LOCK_FILE, open_own, private_dir, refused};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Who holds a data directory, for a second process to say plainly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// `serve` or `mcp`.
    pub role: String,
    /// Where its pages are.
    pub url: String,
    /// The socket other processes of this user reach it through.
    #[serde(default)]
    pub socket: PathBuf,
}

impl Holder {
    /// Which file of a data directory is locked.
    pub(crate) fn file(dir: &Path) -> PathBuf {
        dir.join(LOCK_FILE)
    }

    /// What the last owner of a directory announced, be it alive or not.
    pub fn announced(dir: &Path) -> io::Result<Self> {
        let path = Self::file(dir);
        let mut file = open_own(&path, OpenOptions::new().read(true))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(|_| io::Error::new(io::ErrorKind::NotFound, "nobody has announced himself"))
    }
}

/// Whose the directory is.
pub enum Acquired {
    Mine(InstanceLock),
    /// Somebody else's; unknown who until it has finished starting.
    Theirs(Option<Holder>),
}

/// Held for as long as this value lives.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
    dir: PathBuf,
}

impl InstanceLock {
    /// Takes the directory's lock, or tells who has it. Never waits.
    pub fn acquire(dir: &Path) -> io::Result<Acquired> {
        private_dir(dir)?;
        let path = Holder::file(dir);
        let mut file = open_own(&path, OpenOptions::new().create(true).read(true).write(true).truncate(false))?;
        if file.metadata()?.nlink() > 1 {
            return Err(refused(&path, "has another name (a hard link), and what it holds would be cut: remove it"));
        }
        match file.try_lock() {
            Ok(()) => {
                // From here on nobody reads a dead owner's address.
                file.set_len(0)?;
                file.rewind()?;
                Ok(Acquired::Mine(Self { file, dir: dir.to_owned() }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(Acquired::Theirs(serde_json::from_str(&text).ok()))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Says who we are, once we can be reached.
    pub fn announce(&mut self, owner: &Holder) -> io::Result<()> {
        let text = serde_json::to_vec(owner).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.sync_data()
    }

    /// The directory that is locked.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
