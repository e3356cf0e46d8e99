//! Keys this computer's user received, each in a 0600 file of a 0700 folder: what `countersign curl`, `exec` and the
//! MCP tools use without ever showing them.

use crate::{
    domain::{id::KeyId, key::Environment, scope::ScopeSet},
    service::view::{Revealed, Time},
    store::lock::private_dir,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A received key and what it is good for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    pub key_id: KeyId,
    pub key: Revealed,
    /// The shown head of the key.
    pub prefix: String,
    /// The server that issued it.
    pub origin: String,
    /// The API it opens.
    pub api_origin: String,
    /// Which client received it.
    pub profile: String,
    pub scopes: ScopeSet,
    pub environment: Environment,
    pub expires_at: Option<Time>,
    pub stored_at: Time,
}

/// The folder they lie in.
#[derive(Debug, Clone)]
pub struct Credentials(PathBuf);

impl Credentials {
    pub fn new(data: &Path) -> Self {
        Self(data.join("credentials"))
    }

    fn path(&self, key: KeyId) -> PathBuf {
        self.0.join(format!("{key}.json"))
    }

    /// Whether a key could be stored: asked before one is taken, because a key that can't be stored is lost.
    pub fn check_writable(&self) -> io::Result<()> {
        let probe = self.0.join(format!("probe-{}.json", std::process::id()));
        write_private(&probe, b"{}")?;
        fs::remove_file(probe)
    }

    /// Stores a key; returns where.
    pub fn store(&self, credential: &Credential) -> io::Result<PathBuf> {
        let path = self.path(credential.key_id);
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(credential)?);
        write_private(&path, &bytes)?;
        Ok(path)
    }

    /// The keys there are, latest first. Files that do not read as a key are left alone.
    pub fn list(&self) -> io::Result<Vec<Credential>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_file()
                && let Ok(credential) = serde_json::from_slice::<Credential>(&fs::read(&path)?)
            {
                found.push(credential);
            }
        }
        found.sort_by_key(|credential| std::cmp::Reverse((credential.stored_at.0, credential.key_id)));
        Ok(found)
    }

    pub fn find(&self, key: KeyId) -> io::Result<Option<Credential>> {
        Ok(self.list()?.into_iter().find(|credential| credential.key_id == key))
    }

    /// The latest key of a server, of one client or of any.
    pub fn latest(&self, origin: &str, profile: Option<&str>) -> io::Result<Option<Credential>> {
        let fits = |c: &Credential| c.origin == origin && profile.is_none_or(|profile| c.profile == profile);
        Ok(self.list()?.into_iter().find(fits))
    }

    pub fn remove(&self, key: KeyId) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Replaces a file as a whole, readable by this user only, synced. A symbolic link in its place, or in the place of
/// its folder, is refused: it could lead the secret anywhere.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("no folder to write to"))?;
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink());
    if is_link(dir) || is_link(path) {
        return Err(io::Error::other(format!("{} is a symbolic link: remove it", path.display())));
    }
    private_dir(dir)?;
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(dir)?.sync_all()
}
