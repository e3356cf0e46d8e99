//! A backup: a directory with one file of rows and a manifest that is written last and holds the checksums.
//!
//! The manifest is sealed with the server secret, and through it the rows are: whoever changes either and lacks the secret
//! can hash it again, and not seal it. Format 1, of earlier versions, has no seal. Nothing tells such a one from one whose
//! seal was taken away, so it is believed only if whoever restores it says that it may be.
//!
//! A row is the length of its key and of its value (four bytes each, big-endian) and the two. The server secret is
//! not in the store, so it is in no backup.

use crate::{
    domain::seal::{Seal, Seals},
    store::{
        access::{self, Rows},
        declaration::is_backed_up,
        engine::Pages,
        error::StoreError,
        journal::Head,
        table::Table,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

const FORMAT: u32 = 2;

/// The last without a seal.
const UNSEALED: u32 = 1;

/// The file with the rows, beside the manifest.
pub const ROWS: &str = "rows";

const MANIFEST: &str = "manifest.json";

/// Rows taken from the store, or put into it, at a time.
pub const PAGE: usize = 1000;

/// No stored key or value comes near this; a longer one is damage.
const MAX_PART: u32 = 64 << 20;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The program that made it.
    pub version: String,
    pub schema: u32,
    /// Names its moment in the journal.
    pub id: String,
    pub made_at: Timestamp,
    /// Whether a journal was kept when it was made.
    pub in_journal: bool,
    /// How long that was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Head>,
    /// The ids of the server secrets its keys need.
    pub secrets: Vec<String>,
    /// The id of the one it is sealed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_by: Option<String>,
    #[serde(default)]
    pub rows: u64,
    #[serde(default)]
    pub bytes: u64,
    /// BLAKE3 of the file of rows, hex.
    #[serde(default)]
    pub blake3: String,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    manifest: Manifest,
    /// BLAKE3 of the manifest as compact JSON, hex: tells damage.
    blake3: String,
    /// The same, keyed with the server secret: tells changes.
    #[serde(default)]
    seal: Option<Seal>,
}

/// A backup that can't be written or read. The message says which file.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Not to be used: what was found instead of a whole backup, or of an empty place for one.
    #[error("{0}")]
    Unfit(String),
    #[error("the backup is sealed with the server secret {0}, which is not here")]
    Secret(String),
    #[error(
        "{0} has no seal: an earlier version made it, or somebody took its seal away, and could have changed anything in it. If you know that \
         nobody else could write there, restore it with --accept-unsealed"
    )]
    Unsealed(String),
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.display().to_string();
    move |error| BackupError::Io { path: path.clone(), error }
}

impl Manifest {
    /// What is known before the rows are written; [`write()`] fills in their number, size and checksum, and whose seal it has.
    pub fn new(schema: u32, id: String, made_at: Timestamp, journal: Option<Head>, secrets: Vec<String>) -> Self {
        let (version, in_journal) = (env!("CARGO_PKG_VERSION").to_owned(), journal.is_some());
        let (sealed_by, blake3) = (None, String::new());
        Self { format: FORMAT, version, schema, id, made_at, in_journal, journal, secrets, sealed_by, rows: 0, bytes: 0, blake3 }
    }

    fn text(&self) -> Result<Vec<u8>, BackupError> {
        serde_json::to_vec(self).map_err(|error| BackupError::Unfit(error.to_string()))
    }
}

/// Writes all rows of a moment into `dir`, which must be new or empty. On disk when this returns; what was begun is
/// removed if it fails, or once `stopped` says so.
///
/// # Errors
/// [`BackupError::Unfit`] for a directory that is not empty, a row that is too long, and once `stopped`; [`BackupError::Io`] and
/// [`BackupError::Store`] for what failed.
pub fn write(dir: &Path, manifest: Manifest, seals: &Seals, pages: Pages, stopped: impl Fn() -> bool) -> Result<Manifest, BackupError> {
    if !dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
    }
    if fs::read_dir(dir).map_err(at(dir))?.next().is_some() {
        return Err(BackupError::Unfit(format!("{} is not empty: name a new directory", dir.display())));
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(at(dir))?;
    let written = write_files(dir, manifest, seals, pages, stopped);
    if written.is_err() {
        let _ = fs::remove_file(dir.join(MANIFEST));
        let _ = fs::remove_file(dir.join(ROWS));
    }
    written
}

fn write_files(
    dir: &Path,
    mut manifest: Manifest,
    seals: &Seals,
    mut pages: Pages,
    stopped: impl Fn() -> bool,
) -> Result<Manifest, BackupError> {
    let path = dir.join(ROWS);
    let mut file = BufWriter::new(create(&path)?);
    let mut hasher = blake3::Hasher::new();
    loop {
        let page = pages(PAGE)?;
        if page.is_empty() {
            break;
        }
        if stopped() {
            return Err(BackupError::Unfit("the backup was stopped".to_owned()));
        }
        for (key, value) in page {
            if !is_backed_up(Table::of(&key)?) {
                continue;
            }
            let too_long = |_| BackupError::Unfit("a row is too long".to_owned());
            let lengths = [u32::try_from(key.len()).map_err(too_long)?, u32::try_from(value.len()).map_err(too_long)?];
            let row = [&lengths[0].to_be_bytes(), &lengths[1].to_be_bytes(), key.as_slice(), value.as_slice()].concat();
            hasher.update(&row);
            file.write_all(&row).map_err(at(&path))?;
            manifest.rows += 1;
            manifest.bytes += row.len() as u64;
        }
    }
    let file = file.into_inner().map_err(|error| at(&path)(error.into_error()))?;
    file.sync_all().map_err(at(&path))?;
    manifest.blake3 = hasher.finalize().to_hex().to_string();
    let path = dir.join(MANIFEST);
    manifest.sealed_by = Some(seals.id().to_owned());
    let text = manifest.text()?;
    let sealed = Sealed { blake3: hash(&text), seal: seals.seal(seals.id(), &text), manifest };
    let text = serde_json::to_vec_pretty(&sealed).map_err(|error| at(&path)(error.into()))?;
    let mut file = create(&path)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(at(&path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
    Ok(sealed.manifest)
}

fn create(path: &Path) -> Result<File, BackupError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))
}

fn hash(text: &[u8]) -> String {
    blake3::hash(text).to_hex().to_string()
}

/// Puts a page of rows into a store: those that this version backs up.
///
/// # Errors
/// [`StoreError::Corrupt`] for a table that this version does not know.
pub fn put(tx: &mut dyn access::Write, page: &Rows) -> Result<(), StoreError> {
    for (full_key, value) in page {
        let table = Table::of(full_key)?;
        if is_backed_up(table) {
            tx.put(table, &full_key[1..], value.clone());
        }
    }
    Ok(())
}

/// The manifest of a backup whose checksums and seal are all right. `accept_unsealed`: one without a seal is believed.
///
/// # Errors
/// * [`BackupError::Unfit`]: damaged, changed, incomplete, or made by a newer version.
/// * [`BackupError::Secret`]: it is sealed with a secret that is not here.
/// * [`BackupError::Unsealed`]: it has no seal, and is not to be believed without one.
/// * [`BackupError::Io`]: a file of it can't be read.
pub fn verify(dir: &Path, seals: Option<&Seals>, accept_unsealed: bool) -> Result<Manifest, BackupError> {
    let path = dir.join(MANIFEST);
    let damaged = || BackupError::Unfit(format!("{} is damaged: its checksum is wrong", path.display()));
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::Unfit(format!("{} is no whole backup: it has no {MANIFEST}", dir.display())));
        }
        text => text.map_err(at(&path))?,
    };
    let Sealed { manifest, blake3, seal } = serde_json::from_slice(&text).map_err(|_| damaged())?;
    if manifest.format > FORMAT {
        return Err(BackupError::Unfit(format!("{} was made by a newer countersign: use that version", dir.display())));
    }
    let text = manifest.text()?;
    if hash(&text) != blake3 {
        return Err(damaged());
    }
    match &manifest.sealed_by {
        Some(id) => {
            let right = seals.and_then(|seals| seals.seal(id, &text)).ok_or_else(|| BackupError::Secret(id.clone()))?;
            if seal != Some(right) {
                return Err(BackupError::Unfit(format!("{} was changed after it was made: its seal is wrong", path.display())));
            }
        }
        None if manifest.format > UNSEALED || seal.is_some() => return Err(damaged()),
        None if accept_unsealed => {}
        None => return Err(BackupError::Unsealed(dir.display().to_string())),
    }
    let path = dir.join(ROWS);
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut open_rows(&path)?, &mut hasher).map_err(at(&path))?;
    if hasher.finalize().to_hex().as_str() != manifest.blake3 {
        return Err(wrong_checksum(&path));
    }
    Ok(manifest)
}

fn wrong_checksum(path: &Path) -> BackupError {
    BackupError::Unfit(format!("{} is damaged: its checksum is wrong", path.display()))
}

/// Whoever writes to a pipe could give each of its readers something else.
fn open_rows(path: &Path) -> Result<File, BackupError> {
    if !fs::metadata(path).map_err(at(path))?.is_file() {
        return Err(BackupError::Unfit(format!("{} is no file", path.display())));
    }
    File::open(path).map_err(at(path))
}

/// The rows of a verified backup, a page at a time; an empty one is the end.
///
/// What is read is hashed again: since it was verified somebody may have put other rows in its place. So no row may be
/// used before the end was reached.
///
/// # Errors
/// If the file can't be read, and at its end if it is not what `manifest` says.
pub fn read(dir: &Path, manifest: &Manifest) -> Result<impl FnMut() -> Result<Rows, BackupError> + Send + use<>, BackupError> {
    let (path, right) = (dir.join(ROWS), manifest.blake3.clone());
    let mut file = BufReader::new(Hashing { file: open_rows(&path)?, hasher: blake3::Hasher::new() });
    Ok(move || {
        let mut page = Rows::with_capacity(PAGE);
        while page.len() < PAGE {
            match row(&mut file) {
                Ok(Some(row)) => page.push(row),
                Ok(None) if file.get_ref().hasher.finalize().to_hex().as_str() != right => return Err(wrong_checksum(&path)),
                Ok(None) => break,
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Ok(page)
    })
}

/// Hashes what is read.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn row(file: &mut impl Read) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut lengths = [0; 8];
    if file.read(&mut lengths[..1])? == 0 {
        return Ok(None);
    }
    file.read_exact(&mut lengths[1..])?;
    let [a, b, c, d, e, f, g, h] = lengths;
    let (key, value) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if key > MAX_PART || value > MAX_PART {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a row is longer than any"));
    }
    let (mut key, mut value) = (vec![0; key as usize], vec![0; value as usize]);
    file.read_exact(&mut key)?;
    file.read_exact(&mut value)?;
    Ok(Some((key, value)))
}
