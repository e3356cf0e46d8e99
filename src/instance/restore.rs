//! A backup into an empty directory: whole, or not at all.

use crate::{
    api::restored::Restored,
    config::settings::Config,
    domain::server_secret::Purpose,
    instance::{
        error::OpenFailure,
        journal_path::{JOURNAL_NOTE, note_journal},
        lock::{Acquired, InstanceLock},
        secret_file::{self, SecretError},
    },
    platform::{private_files::private_dir, runtime::Runtime},
    service::admin::restore::{RestoreError, fill},
    store::{
        backup::{self, BackupError, Manifest},
        open,
    },
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Filled under this name, and given its own only when it is whole.
const UNFINISHED: &str = "restoring";

/// Why nothing was restored. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailure {
    #[error("{} is not empty: it holds {name}. Name an empty directory with --data; only the secret and countersign.toml may be there", data.display())]
    NotEmpty { data: PathBuf, name: String },
    #[error(
        "the server secret {} is not the one the backup was made with (the backup says {needed}): put the right file there; \
         without it no key works", path.display()
    )]
    WrongSecret { path: PathBuf, needed: String },
    #[error("the backup is sealed with the server secret {needed}: put its file at {}, then restore", path.display())]
    NoSecret { path: PathBuf, needed: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Open(#[from] OpenFailure),
    #[error("{data}: {error}", data = .data.display())]
    Directory { data: PathBuf, error: io::Error },
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// What whoever restores takes upon himself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accept {
    /// Keys may come back that were revoked since, suspended.
    pub resurrection: bool,
    /// A backup without a seal is believed.
    pub unsealed: bool,
}

/// Restores the backup `from` into `data`.
pub async fn restore(
    config: Arc<Config>,
    data: &Path,
    from: &Path,
    journal: Option<&Path>,
    accept: Accept,
) -> Result<(Manifest, Restored), RestoreFailure> {
    let secret_path = config.secret_path(data);
    let secret = secret_file::read(&secret_path)?;
    let seals = |purpose| secret.as_ref().map(|secret| secret.seals(purpose));
    let manifest = backup::verify(from, seals(Purpose::SealBackup).as_ref(), accept.unsealed).map_err(|error| match error {
        BackupError::Secret(needed) if secret.is_none() => RestoreFailure::NoSecret { path: secret_path.clone(), needed },
        BackupError::Secret(needed) => RestoreFailure::WrongSecret { path: secret_path.clone(), needed },
        error => RestoreError::from(error).into(),
    })?;
    if let Some(secret) = &secret
        && let Some(needed) = manifest.secrets.iter().find(|id| !secret.ids().contains(id))
    {
        return Err(RestoreFailure::WrongSecret { path: secret_path, needed: needed.clone() });
    }
    let losses = match journal
        .ok_or(RestoreError::NoJournal)
        .and_then(|path| crate::service::admin::restore::losses(&manifest, path, seals(Purpose::SealJournal).as_ref()))
    {
        Ok(losses) => Some(losses),
        Err(lacking) if lacking.lacks_journal() && accept.resurrection => None,
        Err(error) => return Err(error.into()),
    };
    let at = |error| RestoreFailure::Directory { data: data.to_owned(), error };
    let store_dir = config.store_dir(data);
    for dir in [data, &store_dir] {
        refuse_if_used(dir, &secret_path)?;
        private_dir(dir).map_err(at)?;
    }
    let _lock = match InstanceLock::acquire(data).map_err(at)? {
        Acquired::Mine(lock) => lock,
        Acquired::Theirs(_) => return Err(OpenFailure::Silent { data: data.to_owned(), who: String::new() }.into()),
    };
    let unfinished = store_dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    private_dir(&unfinished).map_err(at)?;
    let store = open::open(&unfinished, None).map_err(RestoreError::from)?;
    let filled = fill(&store, from, &manifest, losses, Runtime::system().now()).await;
    store.close().await;
    drop(store);
    let restored = match filled {
        Ok(restored) => restored,
        Err(error) => {
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error.into());
        }
    };
    // What is taken away from now on belongs there, too.
    if let Some(journal) = journal {
        note_journal(data, journal).map_err(at)?;
    }
    fs::rename(unfinished.join("store"), store_dir.join("store"))
        .and_then(|()| fs::remove_dir(&unfinished))
        .and_then(|()| File::open(&store_dir)?.sync_all())
        .map_err(at)?;
    Ok((manifest, restored))
}

/// What a directory may hold before: what is put there by hand, and what an interrupted restore left.
fn refuse_if_used(dir: &Path, secret: &Path) -> Result<(), RestoreFailure> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = ["countersign.toml", "owner.lock", JOURNAL_NOTE, UNFINISHED].contains(&name.as_str());
        if !known && entry.path() != secret {
            return Err(RestoreFailure::NotEmpty { data: dir.to_owned(), name });
        }
    }
    Ok(())
}
