//! The journal: what was taken away from keys and accounts since a backup, in a file that can live elsewhere.
//!
//! One JSON entry a line, each behind a hash of itself and of the line before, so that a line that was lost or
//! changed shows. It holds no secret. What was not whole when the power went is cut off: nobody was told of it.

use super::lock::ours;
use rustix::fs::OFlags;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Hex digits of a line's hash.
const HASH: usize = 32;

/// The open journal. One process writes it.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Its device and inode.
    identity: (u64, u64),
    /// Where the next line goes.
    end: u64,
    /// The hash of the last line.
    last: String,
}

impl Journal {
    /// Opens or creates the file, 0600. Refuses what is no journal, or not ours: it would be cut, or told to others.
    pub fn open(path: &Path) -> io::Result<Self> {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("the journal {}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        // A link could lead anywhere, and a pipe lets its opener wait.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut file = options.custom_flags(flags).open(path).map_err(said)?;
        let found = file.metadata().map_err(said)?;
        if !found.is_file() {
            return Err(said(io::Error::other("is no file")));
        }
        ours(path, &found)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(said(io::Error::other("another process writes it"))),
            Err(TryLockError::Error(error)) => return Err(said(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(said)?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let entries = lines(&text[..end]).map_err(said)?;
        if end == 0 && !text.is_empty() && !begins_an_entry(&text) {
            return Err(said(io::Error::new(ErrorKind::InvalidData, "holds something else: name another file, or delete this one")));
        }
        let last = entries.last().map(|(hash, _)| hash.clone()).unwrap_or_default();
        let journal = Self { path: path.to_owned(), file, identity: identity(&found), end: end as u64, last };
        journal.file.set_len(journal.end).and_then(|()| journal.file.sync_all()).map_err(said)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(said)?;
        Ok(journal)
    }

    /// Adds entries; on disk when this returns. After an error none of them counts.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        // What is written into a file that was deleted or moved away is not where a restore looks for it.
        if fs::metadata(&self.path).map(|found| identity(&found)).ok() != Some(self.identity) {
            let why = format!("the journal {} was moved or deleted: put it back, or start again", self.path.display());
            return Err(io::Error::new(ErrorKind::NotFound, why));
        }
        let (mut text, mut last) = (Vec::new(), self.last.clone());
        for entry in entries {
            last = hash(&last, entry);
            text.extend([last.as_bytes(), b" ", entry, b"\n"].concat());
        }
        if let Err(error) = self.file.write_all_at(&text, self.end).and_then(|()| self.file.sync_data()) {
            // The next append overwrites it anyway; this keeps readers from half of a line.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        (self.end, self.last) = (self.end + text.len() as u64, last);
        Ok(())
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The entries of a journal, oldest first. A last line that is not whole is left out.
pub fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let text = fs::read(path)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    Ok(lines(&text[..end])?.into_iter().map(|(_, entry)| entry.to_vec()).collect())
}

fn begins_an_entry(text: &[u8]) -> bool {
    text.split_at_checked(HASH).is_some_and(|(hash, rest)| hash.iter().all(u8::is_ascii_hexdigit) && rest.starts_with(b" {"))
}

fn hash(last: &str, entry: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(last.as_bytes()).update(entry);
    hasher.finalize().to_hex()[..HASH].to_owned()
}

fn lines(text: &[u8]) -> io::Result<Vec<(String, &[u8])>> {
    let (mut last, mut found) = (String::new(), Vec::new());
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry = line.get(HASH + 1..line.len() - 1).unwrap_or_default();
        last = hash(&last, entry);
        if line.get(..HASH) != Some(last.as_bytes()) {
            let why = format!("line {} is damaged, or the one before it is missing", number + 1);
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        found.push((last.clone(), entry));
    }
    Ok(found)
}
