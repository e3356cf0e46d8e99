//! Claims this client opened: what it takes to poll them, and which values they brought. Over stdio they are kept in a
//! 0600 file, so that a restarted client still knows its `claim_id`s and a lost reply loses no key. Several processes of
//! one client share that file: each reads it afresh, and changes it under a lock.

use crate::{
    api::{error::Error, values::Revealed},
    domain::environment::Environment,
    mcp::results::KeyRef,
    platform::private_files::{open_own, private_dir, write_private},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use zeroize::Zeroizing;

/// Finished and unfinished claims are forgotten after a day.
const CLAIM_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// What was written into a file is known as ours for longer than most keys live.
const WRITTEN_KEY_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// What register_agent was called with; an identical call while pending returns the same claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub agent_name: String,
    pub scopes: Option<Vec<String>>,
    pub login_hint: Option<String>,
    pub environment: Option<Environment>,
    /// Who asked: client, session or account.
    pub caller: String,
}

/// One claim and the proofs that it is ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claim {
    pub claim_id: Revealed,
    pub registration_id: String,
    pub asked: Asked,
    pub claim_token: Option<Revealed>,
    pub code_verifier: Option<Revealed>,
    pub user_code: Revealed,
    pub verification_uri: String,
    pub scopes: Vec<String>,
    pub ignored_scopes: Vec<String>,
    pub interval: u16,
    pub created_at: Timestamp,
    pub code_expires_at: Timestamp,
    pub expires_at: Timestamp,
    /// Set once the key is in place.
    pub stored: Option<Stored>,
    #[serde(default)]
    pub denied: bool,
    /// BLAKE3 of the key, hex, if it goes into a file of variables: only a value we wrote is replaced there.
    #[serde(default)]
    pub wrote: Option<String>,
}

impl Claim {
    fn is_over(&self) -> bool {
        self.stored.is_some() || self.denied
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    pub key: KeyRef,
    pub approved_by: String,
    /// `None`: it was in the result.
    pub stored_at: Option<String>,
    /// It is in the place where the tools look for their key.
    #[serde(default)]
    pub ours: bool,
}

/// The claims of one client.
pub struct Claims {
    file: Option<PathBuf>,
    /// Those in memory; with a file, what keeps the calls of this process apart.
    list: Mutex<Vec<Claim>>,
}

impl Claims {
    /// In memory only: the server's own, for clients over HTTP.
    pub fn in_memory() -> Self {
        Self { file: None, list: Mutex::default() }
    }

    /// Kept in `file`, which only this user can read.
    pub fn in_file(file: PathBuf) -> Self {
        Self { file: Some(file), list: Mutex::default() }
    }

    /// Looks at the claims as they are now.
    fn look<T>(&self, found: impl FnOnce(&[Claim]) -> T) -> T {
        let mut list = self.lock();
        if let Some(file) = &self.file {
            // One that can't be read counts as empty: claims can be asked again.
            *list = read(file).unwrap_or_default();
        }
        found(&list)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Claim>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn remember(&self, claim: Claim, now: Timestamp) -> Result<(), Error> {
        let mut list = self.lock();
        let Some(file) = &self.file else {
            put(&mut list, claim, now);
            // A server's memory is bounded; who asks again registers again.
            if list.len() > 10_000 {
                list.remove(0);
            }
            return Ok(());
        };
        let kept = || {
            private_dir(file.parent().unwrap_or(file))?;
            let lock = open_own(&file.with_extension("lock"), OpenOptions::new().create(true).truncate(false).write(true))?;
            lock.lock()?;
            *list = read(file)?;
            put(&mut list, claim, now);
            write_private(file, &Zeroizing::new(serde_json::to_vec(&*list)?))
        };
        kept().map_err(|error: io::Error| Error::Conflict { detail: format!("can't write {}: {error}", file.display()) })
    }

    pub fn get(&self, claim_id: &str) -> Option<Claim> {
        self.look(|list| list.iter().find(|claim| claim.claim_id.expose() == claim_id).cloned())
    }

    /// Whether one of these claims brought this value and it was written into a file.
    pub fn wrote(&self, value: &str) -> bool {
        let hash = hash(value);
        self.look(|list| list.iter().any(|claim| claim.wrote.as_ref() == Some(&hash)))
    }

    /// The claim an identical call opened, if its registration still lives.
    pub fn same(&self, asked: &Asked, now: Timestamp) -> Option<Claim> {
        self.look(|list| list.iter().rev().find(|claim| claim.asked == *asked && !claim.is_over() && now < claim.expires_at).cloned())
    }
}

/// How a written value is known again.
pub fn hash(value: &str) -> String {
    blake3::hash(value.as_bytes()).to_hex().to_string()
}

fn put(list: &mut Vec<Claim>, claim: Claim, now: Timestamp) {
    list.retain(|known| now.duration_since(known.created_at) < if known.wrote.is_some() { WRITTEN_KEY_RETENTION } else { CLAIM_RETENTION });
    match list.iter_mut().find(|known| known.claim_id.expose() == claim.claim_id.expose()) {
        // What another process has finished meanwhile stays finished.
        Some(known) if known.is_over() && !claim.is_over() => {}
        Some(known) => *known = claim,
        None => list.push(claim),
    }
}

fn read(file: &Path) -> io::Result<Vec<Claim>> {
    match fs::read(file).map(Zeroizing::new) {
        // What is no list of claims is of no use to anybody.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
