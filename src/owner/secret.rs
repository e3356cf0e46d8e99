//! The server secret's file: 32 bytes outside the store, for its owner's eyes only.

use crate::{domain::secret::ServerSecret, world::World};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Why the secret can't be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "the data is there, but its secret {0} is missing: put the file back from its backup (or point `secret_file` at it); \
         without it no key works. A new one is not made, because it would end every key"
    )]
    Missing(PathBuf),
    #[error("the secret {0} is a symbolic link: replace it by the file itself, or point `secret_file` at the file")]
    Link(PathBuf),
    #[error("others can read the secret {path} (mode {mode:03o}): run `chmod 600 {path}`", path = .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("the secret {path} has {length} bytes instead of 32: put the right file back", path = .path.display())]
    Length { path: PathBuf, length: u64 },
    #[error("the secret {path}: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Reads the secret, without following a link or taking a file others can read.
pub fn read(path: &Path) -> Result<Option<ServerSecret>, SecretError> {
    let failed = |error| SecretError::Io { path: path.to_owned(), error };
    let named = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if named.is_symlink() {
        return Err(SecretError::Link(path.to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    // Swapped between the look and the opening: the link is what was opened.
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(SecretError::Link(path.to_owned()));
    }
    let mode = opened.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new([0; 32]);
    if opened.len() != 32 {
        return Err(SecretError::Length { path: path.to_owned(), length: opened.len() });
    }
    (&file).read_exact(&mut *bytes).map_err(failed)?;
    Ok(Some(ServerSecret::new(&bytes)))
}

/// Reads the secret, or makes one for a store that does not exist yet.
pub(super) fn read_or_make(path: &Path, store_exists: bool, world: &World) -> Result<ServerSecret, SecretError> {
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    if store_exists {
        return Err(SecretError::Missing(path.to_owned()));
    }
    let bytes = Zeroizing::new(world.bytes::<32>());
    make(path, &bytes).map_err(|error| SecretError::Io { path: path.to_owned(), error })?;
    Ok(ServerSecret::new(&bytes))
}

/// On disk, with its name, before anything is hashed with it.
fn make(path: &Path, bytes: &[u8; 32]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
