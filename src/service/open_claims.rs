//! Registrations that wait for their human, so that polling one touches no store, however many there are.
//!
//! As with [keys](super::known): the store tells of every change before it is acknowledged, and what was read before a
//! change is not kept after it.

use super::{
    epoch::Epoch,
    known::{Fingerprint, fingerprint},
};
use crate::{
    domain::{registration::Waiting, secret::Digest},
    store::{Changed, Table},
};
use quick_cache::sync::Cache;
use std::sync::Arc;

pub struct OpenClaims {
    /// By the hash of the claim token.
    held: Cache<Fingerprint, Arc<Waiting>>,
    pub epoch: Epoch,
}

impl OpenClaims {
    /// Room for `most`; beyond it those polled least make place.
    pub fn new(most: usize) -> Self {
        Self { held: Cache::new(most), epoch: Epoch::default() }
    }

    pub fn get(&self, token: &Digest) -> Option<Arc<Waiting>> {
        self.held.get(&fingerprint(token.as_bytes())?)
    }

    /// Keeps what was read, unless something changed since the epoch `since`.
    pub fn keep(&self, token: &Digest, waiting: Waiting, since: u64) {
        if let Some(of) = fingerprint(token.as_bytes()) {
            self.epoch.keep(since, || self.held.insert(of, Arc::new(waiting)));
        }
    }

    /// Drops what a change in the store made untrue.
    pub fn forget(&self, changed: &Changed<'_>) {
        // Saving a registration writes its claim token's entry anew.
        let tokens: Option<Vec<_>> = match changed {
            Changed::Rows(rows) => Some(rows.iter().filter_map(|row| fingerprint(Table::ClaimTokens.own(row)?)).collect()),
            Changed::Everything => None,
        };
        if tokens.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        self.epoch.end(|| match tokens {
            Some(tokens) => tokens.iter().for_each(|of| drop(self.held.remove(of))),
            None => self.held.clear(),
        });
    }
}
