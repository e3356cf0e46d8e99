//! Claims this client opened and has not finished: what it takes to poll them. Over stdio they are kept in a 0600
//! file, so that a restarted client still knows its `claim_id`s and a lost reply loses no key.

use super::results::KeyRef;
use crate::{
    credentials::write_private,
    domain::key::Environment,
    service::{Error, view::Revealed},
    store::lock::private_dir,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Finished and unfinished claims are forgotten after a day.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

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
    list: Mutex<Vec<Claim>>,
}

impl Claims {
    /// In memory only: the server's own, for clients over HTTP.
    pub fn in_memory() -> Self {
        Self { file: None, list: Mutex::default() }
    }

    /// Kept in `file`, which only this user can read. An unreadable file counts as empty: claims can be asked again.
    pub fn in_file(file: PathBuf) -> Self {
        let list = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file: Some(file), list: Mutex::new(list) }
    }

    fn with<T>(&self, now: Timestamp, change: impl FnOnce(&mut Vec<Claim>) -> T) -> Result<T, Error> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|claim| now.duration_since(claim.created_at) < KEPT);
        let before = list.len();
        let result = change(&mut list);
        if let Some(file) = &self.file {
            let bytes = zeroize::Zeroizing::new(serde_json::to_vec(&*list).map_err(Error::internal)?);
            private_dir(file.parent().unwrap_or(file))
                .and_then(|()| write_private(file, &bytes))
                .map_err(|error| Error::Conflict { detail: format!("can't write {}: {error}", file.display()) })?;
        } else if before > 10_000 {
            // A server's memory is bounded; who asks again registers again.
            list.remove(0);
        }
        Ok(result)
    }

    pub fn remember(&self, claim: Claim, now: Timestamp) -> Result<(), Error> {
        self.with(now, |list| {
            list.retain(|known| known.claim_id.expose() != claim.claim_id.expose());
            list.push(claim);
        })
    }

    pub fn get(&self, claim_id: &str) -> Option<Claim> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|claim| claim.claim_id.expose() == claim_id).cloned()
    }

    /// Shown heads of the keys these claims brought.
    pub fn delivered_prefixes(&self) -> Vec<String> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter_map(|claim| Some(claim.stored.as_ref()?.key.prefix.clone())).collect()
    }

    /// The claim an identical call opened, if its registration still lives.
    pub fn same(&self, asked: &Asked, now: Timestamp) -> Option<Claim> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().rev().find(|claim| claim.asked == *asked && claim.stored.is_none() && !claim.denied && now < claim.expires_at).cloned()
    }
}
