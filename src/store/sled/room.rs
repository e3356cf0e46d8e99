//! Room on the disk. Nothing is changed on one that is nearly full: what sled has begun and can't write keeps its readers
//! from rows they had, until it is opened again. What takes rights away must still be possible then, so some room is kept
//! for it in a file, which is given up when it comes to that, and taken again once there is room.

use crate::{platform::private_files::open_own, store::error::StoreError};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU8, Ordering},
};

/// Not there: the disk was full at the start, or can't keep room.
const NONE: u8 = 0;

const KEPT: u8 = 1;

/// Given up for a change that took rights away. Until it can be taken again, only such changes are made.
const GIVEN_UP: u8 = 2;

/// How much room the disk has, and what is kept of it.
pub struct Room {
    /// The file that keeps it.
    path: PathBuf,
    /// Any file of the same disk.
    disk: File,
    /// Bytes that must be free for changes, and as many that are kept.
    size: u64,
    state: AtomicU8,
}

impl Room {
    /// Keeps `size` bytes in `path`, if there are twice as many.
    pub fn keep(path: PathBuf, disk: File, size: u64) -> Self {
        let room = Self { path, disk, size, state: AtomicU8::new(NONE) };
        if let Err(error) = room.take() {
            tracing::debug!(%error, "no room is kept for changes that take rights away");
            room.state.store(if room.path.exists() { GIVEN_UP } else { NONE }, Ordering::Release);
        }
        room
    }

    /// Refuses an ordinary change on a disk that is nearly full.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn refuse_if_full(&self) -> Result<(), StoreError> {
        if self.state.load(Ordering::Acquire) == GIVEN_UP {
            let _ = self.take();
        }
        let given_up = self.state.load(Ordering::Acquire) == GIVEN_UP;
        if self.free()? < if given_up { 2 * self.size } else { self.size } {
            return Err(self.full(self.size));
        }
        Ok(())
    }

    /// Makes room for a change that takes rights away; refuses it if even what is kept is used up.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn make(&self) -> Result<(), StoreError> {
        if self.free()? < self.size && self.state.swap(GIVEN_UP, Ordering::AcqRel) == KEPT {
            tracing::warn!("the disk is nearly full: what was kept for changes that take rights away is used now");
            give_up(&self.path);
        }
        let least = self.size / 2;
        if self.free()? < least { Err(self.full(least)) } else { Ok(()) }
    }

    fn full(&self, needed: u64) -> StoreError {
        StoreError::ReadOnly(format!("less than {} MiB are free on its disk", needed >> 20))
    }

    fn free(&self) -> io::Result<u64> {
        let found = fstatvfs(&self.disk)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn take(&self) -> io::Result<()> {
        let there = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file() && found.blocks() * 512 >= self.size);
        if !there {
            if self.free()? < 2 * self.size {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // Another's, or what a kill left of one.
            let _ = fs::remove_file(&self.path);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
            if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, self.size) {
                let _ = fs::remove_file(&self.path);
                return Err(error.into());
            }
        }
        self.state.store(KEPT, Ordering::Release);
        Ok(())
    }
}

/// Gives up what a file keeps, which stays behind empty, so that who opens the database next knows. Returns whether that
/// made room.
pub fn give_up(reserve: &Path) -> bool {
    let emptied = open_own(reserve, OpenOptions::new().write(true)).and_then(|file| {
        let kept = file.metadata()?.blocks() > 0;
        file.set_len(0)?;
        file.sync_all().map(|()| kept)
    });
    emptied.unwrap_or(false)
}
