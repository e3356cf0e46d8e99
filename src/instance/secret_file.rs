//! The server secret's file, outside the store and for its owner's eyes only: 32 bytes, and after a rotation those
//! before it, newest first.

use crate::{
    domain::server_secret::ServerSecret,
    platform::{private_files::check_owner, private_folder::Folder, runtime::Runtime},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const SECRET_BYTES: usize = 32;

/// Secrets a file holds at most: each costs a look-up per unknown key.
const MAX_SECRETS: usize = 8;

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
    #[error("the secret {0}, so somebody else knows it, or could change it")]
    Foreign(io::Error),
    #[error("others can read the secret {path} (mode {mode:03o}): run `chmod 600 {path}`", path = .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("the secret {path} has {length} bytes instead of 32 or a few times 32: put the right file back", path = .path.display())]
    Length { path: PathBuf, length: u64 },
    #[error("there is no secret {0} to rotate: start `countersign` first, which makes one")]
    None(PathBuf),
    #[error("the secret {0} was rotated {MAX_SECRETS} times, which is as often as its file takes")]
    Full(PathBuf),
    #[error("the secret {path}: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Reads the secret, without following a link or taking a file others can read.
pub fn read(path: &Path) -> Result<Option<ServerSecret>, SecretError> {
    Ok(read_bytes(path)?.and_then(|bytes| {
        let (all, _) = bytes.as_chunks::<SECRET_BYTES>();
        all.split_first().map(|(newest, older)| ServerSecret::rotated(newest, older))
    }))
}

/// Puts a new secret before those the file holds, which go on counting for the keys made with them. It is used from
/// the next start on. Returns its id, once the file is on disk. Of several at once each finds what the one before put there;
/// killed at any moment, the file is the one before or the one after.
pub fn rotate(path: &Path, runtime: &Runtime) -> Result<String, SecretError> {
    let failed = |error| SecretError::Io { path: path.to_owned(), error };
    let (folder, name) = held(path).map_err(failed)?;
    let old = read_bytes(path)?.ok_or_else(|| SecretError::None(path.to_owned()))?;
    if old.len() >= MAX_SECRETS * SECRET_BYTES {
        return Err(SecretError::Full(path.to_owned()));
    }
    let newest = Zeroizing::new(runtime.bytes::<SECRET_BYTES>());
    let all = Zeroizing::new([newest.as_slice(), &old].concat());
    folder.write(name, &all).map_err(failed)?;
    Ok(ServerSecret::new(&newest).id())
}

/// The file's folder, for nobody else to change a secret in.
fn held(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let (folder, name) = Folder::of(path)?;
    folder.lock()?;
    folder.remove_unfinished(name)?;
    Ok((folder, name))
}

fn read_bytes(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
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
    check_owner(path, &opened).map_err(SecretError::Foreign)?;
    let mode = opened.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let length = usize::try_from(opened.len()).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_SECRETS * SECRET_BYTES || length % SECRET_BYTES != 0 {
        return Err(SecretError::Length { path: path.to_owned(), length: opened.len() });
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    (&file).read_exact(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Reads the secret, or makes one for a store that does not exist yet.
pub fn read_or_make(path: &Path, store_exists: bool, runtime: &Runtime) -> Result<ServerSecret, SecretError> {
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    if store_exists {
        return Err(SecretError::Missing(path.to_owned()));
    }
    let failed = |error| SecretError::Io { path: path.to_owned(), error };
    let (folder, name) = held(path).map_err(failed)?;
    // Another may have made one meanwhile.
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    // On disk, with its name, before anything is hashed with it.
    let bytes = Zeroizing::new(runtime.bytes::<32>());
    folder.write(name, bytes.as_slice()).map_err(failed)?;
    Ok(ServerSecret::new(&bytes))
}
