//! A folder by its handle. What is done in it stays in it, whatever is put under its name meanwhile; and no name in it
//! is followed if it is a link, which could lead a secret anywhere.

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fsync, open, openat, renameat, statat, unlinkat};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Of the name under which a file is written before it gets its own.
const BESIDE: &str = ".new-";
const MINE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A folder that is held open: what is done in it stays in it, whatever is renamed meanwhile.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Follows links, as whoever named the path meant them.
    ///
    /// # Errors
    /// When there is no such folder, or it may not be entered.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, FOLDER, Mode::empty())?))
    }

    /// The folder a file is in, and its name there.
    pub fn of(path: &Path) -> io::Result<(Self, &OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::open(folder)?, name))
    }

    /// Waits until nobody else holds the folder, then holds it while this value lives: for who reads a file and writes it
    /// anew. A file's own lock would go with the file that is replaced.
    pub fn lock(&self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::LockExclusive)?)
    }

    /// Removes what a write of this file left that was killed half-way. Only for who holds the folder.
    pub fn remove_unfinished(&self, name: &OsStr) -> io::Result<()> {
        let unfinished = [name.as_encoded_bytes(), BESIDE.as_bytes()].concat();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_bytes().starts_with(&unfinished) {
                unlinkat(&self.0, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// A folder in this one.
    pub fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, FOLDER.union(OFlags::NOFOLLOW), Mode::empty())?))
    }

    /// Where the folder is now, if this system tells.
    pub fn path(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.0.as_raw_fd())).ok()
    }

    /// A file in this folder to read; `None`: there is none. What is no file is an error.
    ///
    /// # Errors
    /// Also for a link, a folder or a pipe of that name.
    pub fn file(&self, name: &OsStr) -> io::Result<Option<File>> {
        // A pipe would make the opening wait for its writer.
        let file: File = match openat(&self.0, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.into(),
        };
        if !file.metadata()?.is_file() {
            return Err(no_file());
        }
        Ok(Some(file))
    }

    /// Replaces a file as a whole, readable by this user only, on disk when this returns. Anything but a file in its
    /// place is refused.
    pub fn write(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        if let Ok(found) = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
            && !FileType::from_raw_mode(found.st_mode).is_file()
        {
            return Err(no_file());
        }
        self.put_beside(name, bytes, |beside| {
            renameat(&self.0, beside, &self.0, name)?;
            Ok(fsync(&self.0)?)
        })
    }

    /// Whether a file of ours could be made here.
    pub fn probe(&self) -> io::Result<()> {
        self.put_beside(OsStr::new(".probe"), b"a key fits here", |beside| Ok(unlinkat(&self.0, beside, AtFlags::empty())?))
    }

    /// A new file with these bytes on disk, for `then` to put somewhere; nothing is left of it if that fails.
    fn put_beside(&self, name: &OsStr, bytes: &[u8], then: impl FnOnce(&OsStr) -> io::Result<()>) -> io::Result<()> {
        let mut beside = OsString::from(name);
        beside.push(format!("{BESIDE}{}", std::process::id()));
        let gone = || unlinkat(&self.0, &beside, AtFlags::empty());
        let _ = gone();
        let made = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = openat(&self.0, &beside, made, MINE)?.into();
        let done = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| then(&beside));
        if done.is_err() {
            let _ = gone();
        }
        done
    }
}

fn no_file() -> io::Error {
    io::Error::other("something that is no file is in its place: remove it")
}
