//! Keys this computer's agents received: one 0600 file each, in a 0700 folder of the data directory. Where a keychain
//! works, the file says whose the key is and where it may go, and the key itself lies there.
//!
//! Whatever reads a key from here sends it to the origin it was issued for, and nowhere else.

mod env_file;
mod keychain;

pub use env_file::EnvFile;

use crate::{
    config::is_loopback_url,
    domain::{id::KeyId, key::Environment, scope::ScopeSet},
    service::view::{Revealed, Time},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A stored key file is a few hundred bytes; anything larger is not ours.
const MAX_FILE: u64 = 64 << 10;
/// The profile of a client that named none.
pub const DEFAULT_PROFILE: &str = "default";

/// A key with where it may go. `Debug` hides the key, dropping it wipes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    pub key_id: KeyId,
    pub key: Revealed,
    /// The shown head, for places where the key must not appear.
    pub prefix: String,
    /// The server that issued it (`public_url`).
    pub origin: String,
    /// The service whose API it opens (`Config::resource`).
    pub api_origin: String,
    pub profile: String,
    pub scopes: ScopeSet,
    pub environment: Environment,
    pub expires_at: Option<Time>,
    pub stored_at: Time,
    /// Whether a server elsewhere issued it, one that was reached by its URL; else the one of this data directory did.
    #[serde(default)]
    pub elsewhere: bool,
}

impl Credential {
    /// Whether it goes with the data directory, wherever that is served: a port of this computer proves nobody.
    pub fn goes_with_the_data(&self) -> bool {
        !self.elsewhere && [&self.origin, &self.api_origin].into_iter().any(|origin| is_loopback_url(origin))
    }
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Without its key, if that lies in the keychain.
    #[serde(flatten)]
    credential: Credential,
    #[serde(default)]
    in_keychain: bool,
}

/// Where a key was put.
#[derive(Debug)]
pub enum Place {
    Keychain,
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keychain => f.write_str("the keychain of this computer"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The folder can't keep, or give, a key. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("{0} is not a private folder of this user: remove the link, or run `chmod 700 {0}`")]
    Folder(PathBuf),
    #[error("{0} is a link or readable by others, so no key is read from it: replace it, or run `chmod 600 {0}`")]
    File(PathBuf),
    #[error("{path}: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// The folder of stored keys.
#[derive(Debug, Clone)]
pub struct Credentials {
    folder: PathBuf,
}

impl Credentials {
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("credentials") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes sure a key could be stored, before one is taken: a key taken and not kept is lost.
    pub fn check_writable(&self) -> Result<(), CredentialError> {
        self.private_folder()?;
        probe(&self.folder).map_err(|error| CredentialError::Io { path: self.folder.clone(), error })
    }

    /// Keeps a key; on disk when this returns. Blocks while a keychain is asked.
    pub fn store(&self, credential: &Credential) -> Result<Place, CredentialError> {
        self.private_folder()?;
        let path = self.file(credential.key_id);
        let at = |error| CredentialError::Io { path: path.clone(), error };
        let in_keychain = keychain::keep(credential.key_id, &credential.key);
        let mut kept = Kept { credential: credential.clone(), in_keychain };
        if in_keychain {
            kept.credential.key = Revealed::new("");
        }
        let text = Zeroizing::new(serde_json::to_vec(&kept).map_err(|error| at(error.into()))?);
        write_private(&path, &text).map_err(at)?;
        Ok(if in_keychain { Place::Keychain } else { Place::File(path) })
    }

    /// Stored keys of a server and a profile (`None`: any), newest first.
    pub fn list(&self, origin: Option<&str>, profile: Option<&str>) -> Result<Vec<Credential>, CredentialError> {
        let at = |error| CredentialError::Io { path: self.folder.clone(), error };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(error)),
        };
        self.private_folder()?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(at)?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse::<KeyId>().ok());
            let Some(credential) = id.map(|_| read(&path)).transpose()?.flatten() else { continue };
            let here = origin.is_none_or(|origin| origin == credential.origin || origin == credential.api_origin);
            if here && profile.is_none_or(|profile| profile == credential.profile) {
                found.push(credential);
            }
        }
        found.sort_by_key(|credential| std::cmp::Reverse((credential.stored_at.0, credential.key_id.to_string())));
        Ok(found)
    }

    pub fn find(&self, key_id: KeyId) -> Result<Option<Credential>, CredentialError> {
        if !self.folder.exists() {
            return Ok(None);
        }
        self.private_folder()?;
        read(&self.file(key_id))
    }

    /// The key stored last.
    pub fn latest(&self, origin: Option<&str>, profile: Option<&str>) -> Result<Option<Credential>, CredentialError> {
        Ok(self.list(origin, profile)?.into_iter().next())
    }

    /// Forgets a key. One that is not there is no error.
    pub fn remove(&self, key_id: KeyId) -> Result<(), CredentialError> {
        let path = self.file(key_id);
        keychain::remove(key_id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CredentialError::Io { path, error }),
            _ => Ok(()),
        }
    }

    fn file(&self, key_id: KeyId) -> PathBuf {
        self.folder.join(format!("{key_id}.json"))
    }

    fn private_folder(&self) -> Result<(), CredentialError> {
        let at = |error| CredentialError::Io { path: self.folder.clone(), error };
        let found = match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(at)?;
                fs::symlink_metadata(&self.folder).map_err(at)?
            }
            found => found.map_err(at)?,
        };
        if !found.is_dir() || found.permissions().mode() & 0o077 != 0 {
            return Err(CredentialError::Folder(self.folder.clone()));
        }
        Ok(())
    }
}

/// Replaces a file as a whole, readable by this user only, on disk when this returns. Anything but a file in its
/// place is refused: a link could lead a secret anywhere.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("something that is no file is in its place: remove it"));
    }
    let folder = path.parent().ok_or_else(|| io::Error::other("there is no folder to write to"))?;
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let written = create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Whether a file of ours could be made in a folder.
fn probe(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let _ = fs::remove_file(&probe);
    let made = create(&probe).and_then(|mut file| file.write_all(b"a key fits here").and_then(|()| file.sync_all()));
    let _ = fs::remove_file(&probe);
    made
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn read(path: &Path) -> Result<Option<Credential>, CredentialError> {
    let at = |error| CredentialError::Io { path: path.to_owned(), error };
    let named = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        named => named.map_err(at)?,
    };
    if !named.is_file() || named.permissions().mode() & 0o077 != 0 {
        return Err(CredentialError::File(path.to_owned()));
    }
    let file = File::open(path).map_err(at)?;
    let opened = file.metadata().map_err(at)?;
    // Swapped for a link between the look and the opening.
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(CredentialError::File(path.to_owned()));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(1024));
    file.take(MAX_FILE).read_to_end(&mut text).map_err(at)?;
    let Kept { mut credential, in_keychain } = serde_json::from_slice(&text).map_err(|error| at(error.into()))?;
    if in_keychain {
        // A locked keychain gives nothing: as if the key were not there.
        let Some(key) = keychain::find(credential.key_id) else { return Ok(None) };
        credential.key = key;
    }
    Ok(Some(credential))
}
