//! The journal: what was taken away from keys and accounts since a backup, in a file that can live elsewhere.
//!
//! One JSON entry a line, behind a seal over itself and the line before and the id of the server secret that was sealed
//! with, so that a line that was lost or changed shows: without the secret nobody can seal it again. It holds no secret. What
//! was not whole when the power went is cut off: nobody was told of it.
//!
//! Earlier versions wrote lines behind a plain hash. Those may begin a journal; behind a sealed line none is believed.

use crate::{
    domain::seal::{Seal, Seals},
    platform::private_files::open_own,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Hex digits of the hash of a line without a seal.
const HASH: usize = 32;

/// Hex digits of a seal, and of a secret's id.
const SEAL: usize = 64;

const ID: usize = 16;

/// How long a journal is: what a backup and the store know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub entries: u64,
    pub bytes: u64,
    /// Of the last line.
    pub seal: Seal,
}

/// A line of a journal.
#[derive(Debug)]
pub struct Line {
    /// Its seal, or what the version before had in its place.
    pub seal: Seal,
    /// The JSON.
    pub entry: Vec<u8>,
}

/// Whether a journal is, or begins with, the one that was once so long.
pub fn goes_on_from(lines: &[Line], head: &Head) -> bool {
    let last = usize::try_from(head.entries).ok().and_then(|entries| lines.get(entries.checked_sub(1)?));
    last.is_some_and(|last| last.seal == head.seal)
}

/// The open journal. One process writes it.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Its device and inode.
    identity: (u64, u64),
    /// Where the next line goes, and the last one.
    head: Head,
    seals: Seals,
}

impl Journal {
    /// Opens or creates the file, 0600. Refuses what is no journal, or not ours: it would be cut, or told to others.
    ///
    /// # Errors
    /// When another process writes it, when it is not as it was written or sealed with a secret that is not here, and whatever
    /// keeps the file from being used.
    pub fn open(path: &Path, seals: Seals) -> io::Result<Self> {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("the journal {}: {error}", path.display()));
        let mut file = open_own(path, OpenOptions::new().create(true).truncate(false).read(true).write(true)).map_err(said)?;
        let found = file.metadata().map_err(said)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(said(io::Error::other("another process writes it"))),
            Err(TryLockError::Error(error)) => return Err(said(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(said)?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let entries = lines(&text[..end], Some(&seals)).map_err(said)?;
        if end == 0 && !text.is_empty() && !begins_an_entry(&text) {
            return Err(said(io::Error::new(ErrorKind::InvalidData, "holds something else: name another file, or delete this one")));
        }
        let seal = entries.last().map_or_else(|| Seal::found(""), |last| last.seal.clone());
        let head = Head { entries: entries.len() as u64, bytes: end as u64, seal };
        let journal = Self { path: path.to_owned(), file, identity: identity(&found), head, seals };
        journal.file.set_len(journal.head.bytes).and_then(|()| journal.file.sync_all()).map_err(said)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(said)?;
        Ok(journal)
    }

    /// Adds entries; on disk when this returns. After an error none of them counts.
    ///
    /// # Errors
    /// When the file was moved, deleted or cut, or can't be written.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        // What is written into a file that was deleted or moved away is not where a restore looks for it.
        let found = fs::metadata(&self.path).ok().filter(|found| identity(found) == self.identity);
        let Some(found) = found else {
            let why = format!("the journal {} was moved or deleted: put it back, or start again", self.path.display());
            return Err(io::Error::new(ErrorKind::NotFound, why));
        };
        // Emptied in place, as rotation of logs does with `copytruncate`: what is added behind the hole could not be read.
        if found.len() < self.head.bytes {
            let why = format!("the journal {} was cut by another program: put its copy back, or start again", self.path.display());
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let (mut text, mut last, id) = (Vec::new(), self.head.seal.clone(), self.seals.id());
        for entry in entries {
            last = seal(&self.seals, id, &last, entry).ok_or_else(|| io::Error::other("there is no secret to seal it with"))?;
            text.extend([last.as_str().as_bytes(), b" ", id.as_bytes(), b" ", entry, b"\n"].concat());
        }
        if let Err(error) = self.file.write_all_at(&text, self.head.bytes).and_then(|()| self.file.sync_data()) {
            // The next append overwrites it anyway; this keeps readers from half of a line.
            let _ = self.file.set_len(self.head.bytes);
            return Err(error);
        }
        let (entries, bytes) = (self.head.entries + entries.len() as u64, self.head.bytes + text.len() as u64);
        self.head = Head { entries, bytes, seal: last };
        Ok(())
    }

    /// How long it is now.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The lines of a journal, oldest first, if all of them are as they were written. A last line that is not whole is left out.
///
/// # Errors
/// When it can't be read, or a line of it is not as it was written or sealed with a secret that is not here.
pub fn read(path: &Path, seals: Option<&Seals>) -> io::Result<Vec<Line>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let text = fs::read(path)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    lines(&text[..end], seals)
}

/// The words before a line's entry, and the entry.
fn parts(line: &[u8]) -> Option<(&str, Option<&str>, &[u8])> {
    let start = line.iter().position(|byte| *byte == b'{')?;
    let (head, entry) = line.split_at(start);
    let mut words = std::str::from_utf8(head).ok()?.strip_suffix(' ')?.split(' ');
    let (hash, id) = (words.next()?, words.next());
    let hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = match id {
        None => hash.len() == HASH,
        Some(id) => hash.len() == SEAL && id.len() == ID && hex(id),
    };
    (fits && hex(hash) && words.next().is_none()).then_some((hash, id, entry))
}

fn begins_an_entry(text: &[u8]) -> bool {
    parts(text).is_some()
}

fn hash(last: &str, entry: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(last.as_bytes()).update(entry);
    hasher.finalize().to_hex()[..HASH].to_owned()
}

fn seal(seals: &Seals, id: &str, last: &Seal, entry: &[u8]) -> Option<Seal> {
    seals.seal(id, &[last.as_str().as_bytes(), b" ", entry].concat())
}

fn lines(text: &[u8], seals: Option<&Seals>) -> io::Result<Vec<Line>> {
    let (mut last, mut sealed, mut found) = (Seal::found(""), false, Vec::new());
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let refused = |why: &str| io::Error::new(ErrorKind::InvalidData, format!("line {} {why}", number + 1));
        let damaged = || refused("is damaged, or the one before it is missing");
        let (written, id, entry) = parts(&line[..line.len() - 1]).ok_or_else(damaged)?;
        let right = match id {
            None if sealed => return Err(refused("is not sealed, and those before it are: somebody put it there")),
            None => Seal::found(&hash(last.as_str(), entry)),
            Some(id) => seals.and_then(|seals| seal(seals, id, &last, entry)).ok_or_else(|| {
                refused(&format!("is sealed with the server secret {id}, which is not here: put the right file there (`secret_file`)"))
            })?,
        };
        last = Seal::found(written);
        if last != right {
            return Err(damaged());
        }
        sealed |= id.is_some();
        found.push(Line { seal: last.clone(), entry: entry.to_vec() });
    }
    Ok(found)
}
