//! Keys this computer's agents received: one 0600 file each, in a 0700 folder of the data directory. Where a keychain
//! works, the file says whose the key is and where it may go, and the key itself lies there.
//!
//! Whatever reads a key from here sends it to the origin it was issued for, and nowhere else. A file is named after the
//! key's id and that origin: a server chooses its ids freely, and none reaches what another one issued.

use crate::{
    api::values::{Revealed, Time},
    config::url::is_loopback_url,
    domain::{
        environment::Environment,
        id::KeyId,
        pasted::{self, Said},
        scope::ScopeSet,
    },
    local_keys::keychain,
    platform::private_folder::Folder,
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
    fmt, fs,
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A stored key file is a few hundred bytes; anything larger is not ours.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The profile of a client that named none.
pub const DEFAULT_PROFILE: &str = "default";

/// A key with where it may go. `Debug` hides the key, dropping it wipes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredKey {
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

impl StoredKey {
    /// Whether it goes with the data directory, wherever that is served: a port of this computer proves nobody.
    pub fn goes_with_the_data(&self) -> bool {
        !self.elsewhere && [&self.origin, &self.api_origin].into_iter().any(|origin| is_loopback_url(origin))
    }
}

/// The key in `COUNTERSIGN_API_KEY`, right or wrong: a placeholder that was never filled in is none.
pub fn env_key() -> Option<Revealed> {
    let value = std::env::var_os("COUNTERSIGN_API_KEY")?.into_string();
    let value = Zeroizing::new(value.unwrap_or_else(|no_text| no_text.to_string_lossy().into_owned()));
    match pasted::said(&value) {
        Said::Token(key) => Some(Revealed::new(key)),
        Said::Nothing if value.trim().is_empty() => None,
        Said::Nothing | Said::Reference => {
            tracing::warn!("COUNTERSIGN_API_KEY does not hold a key and counts as unset");
            None
        }
    }
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Without its key, if that lies in the keychain.
    #[serde(flatten)]
    credential: StoredKey,
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
pub enum StoredKeyError {
    #[error("{0} is not a private folder of this user: remove the link, or run `chmod 700 {0}`")]
    Folder(PathBuf),
    #[error("{0} is a link or readable by others, so no key is read from it: replace it, or run `chmod 600 {0}`")]
    File(PathBuf),
    #[error("{path}: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// The folder of stored keys.
#[derive(Debug, Clone)]
pub struct StoredKeys {
    folder: PathBuf,
}

impl StoredKeys {
    /// In a data directory, though it need hold no store. Nothing is made before a key is kept.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("credentials") }
    }

    /// For messages to name.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes sure a key could be stored, before one is taken: a key taken and not kept is lost.
    pub fn check_writable(&self) -> Result<(), StoredKeyError> {
        self.private_folder()?.probe().map_err(|error| self.failed(error))
    }

    /// Keeps a key; on disk when this returns. Blocks while a keychain is asked.
    pub fn store(&self, credential: &StoredKey) -> Result<Place, StoredKeyError> {
        let folder = self.private_folder()?;
        let name = name(&credential.origin, credential.key_id);
        let path = self.folder.join(format!("{name}.json"));
        let at = |error| StoredKeyError::Io { path: path.clone(), error };
        let in_keychain = keychain::keep(&name, &credential.key);
        let mut kept = Kept { credential: credential.clone(), in_keychain };
        if in_keychain {
            kept.credential.key = Revealed::new("");
        }
        let text = Zeroizing::new(serde_json::to_vec(&kept).map_err(|error| at(error.into()))?);
        folder.write(OsStr::new(&format!("{name}.json")), &text).map_err(at)?;
        Ok(if in_keychain { Place::Keychain } else { Place::File(path) })
    }

    /// Every stored key, newest first, and what is wrong with files that can't be read.
    pub fn all(&self) -> Result<(Vec<StoredKey>, Vec<StoredKeyError>), StoredKeyError> {
        let at = |error| self.failed(error);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(at(error)),
        };
        let folder = self.private_folder()?;
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for entry in entries {
            let file = entry.map_err(at)?.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json")) else { continue };
            match read(&folder, name, &self.folder.join(&file)) {
                Ok(credential) => found.extend(credential),
                Err(error) => unreadable.push(error),
            }
        }
        found.sort_by_key(|credential| std::cmp::Reverse((credential.stored_at.0, credential.key_id.to_string())));
        Ok((found, unreadable))
    }

    /// Every stored key that can be read, newest first. One file that can't takes no other key away.
    pub fn list(&self) -> Result<Vec<StoredKey>, StoredKeyError> {
        let (found, unreadable) = self.all()?;
        for error in unreadable {
            tracing::warn!("a stored key is passed over: {error}");
        }
        Ok(found)
    }

    /// Forgets a key of a server. One that is not there is no error.
    pub fn remove(&self, origin: &str, key_id: KeyId) -> Result<(), StoredKeyError> {
        let name = name(origin, key_id);
        let path = self.folder.join(format!("{name}.json"));
        keychain::remove(&name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoredKeyError::Io { path, error }),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: io::Error) -> StoredKeyError {
        StoredKeyError::Io { path: self.folder.clone(), error }
    }

    fn private_folder(&self) -> Result<Folder, StoredKeyError> {
        let at = |error| self.failed(error);
        let found = match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(at)?;
                fs::symlink_metadata(&self.folder).map_err(at)?
            }
            found => found.map_err(at)?,
        };
        if !found.is_dir() || found.permissions().mode() & 0o077 != 0 {
            return Err(StoredKeyError::Folder(self.folder.clone()));
        }
        Folder::open(&self.folder).map_err(at)
    }
}

/// What a key is called in the folder and in the keychain.
pub fn name(origin: &str, key_id: KeyId) -> String {
    format!("{key_id}.{}", &blake3::hash(origin.as_bytes()).to_hex()[..16])
}

/// The key in a file of this name; `None`: there is none, or the file is not named after its key.
fn read(folder: &Folder, named: &str, path: &Path) -> Result<Option<StoredKey>, StoredKeyError> {
    let at = |error| StoredKeyError::Io { path: path.to_owned(), error };
    let file = format!("{named}.json");
    let Some(file) = folder.file(OsStr::new(&file)).map_err(|_| StoredKeyError::File(path.to_owned()))? else { return Ok(None) };
    if file.metadata().map_err(at)?.permissions().mode() & 0o077 != 0 {
        return Err(StoredKeyError::File(path.to_owned()));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(1024));
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(at)?;
    let Kept { mut credential, in_keychain } = serde_json::from_slice(&text).map_err(|error| at(error.into()))?;
    if named != name(&credential.origin, credential.key_id) {
        return Ok(None);
    }
    if in_keychain {
        // A locked keychain gives nothing: as if the key were not there.
        let Some(key) = keychain::find(named) else { return Ok(None) };
        credential.key = key;
    }
    Ok(Some(credential))
}
