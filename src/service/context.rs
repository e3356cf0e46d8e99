//! What the use cases share.

use crate::{
    cache::{claim_cache, key_cache, meter},
    config::settings::Config,
    domain::{key_format::KeyFormat, scope::Catalogue, server_secret::ServerSecret},
    platform::runtime::Runtime,
    service::{
        access_token,
        accounts::{hash_queue, setup, state},
        caller_addresses,
        claims::registration_counts,
        rate_limit, usage_log,
    },
    store::handle::Store,
};
use std::sync::{Arc, atomic::AtomicI64};
use tokio_util::sync::CancellationToken;

/// Everything the transports can do. One per process that owns a store.
pub struct Service {
    pub config: Arc<Config>,
    pub runtime: Runtime,
    pub(crate) catalogue: Catalogue,
    pub(crate) secret: Arc<ServerSecret>,
    pub(crate) secret_id: String,
    pub(crate) store: Store,
    /// Every format a key of this store may have.
    pub(crate) formats: Vec<KeyFormat>,
    pub(crate) meters: Arc<meter::Meters>,
    pub(crate) plans: rate_limit::PlanLimits,
    pub(crate) usage: usage_log::UsageLog,
    pub(crate) known: Arc<key_cache::KeyCache>,
    pub(crate) open_claims: Arc<claim_cache::ClaimCache>,
    pub(crate) registrations: Arc<registration_counts::Registrations>,
    pub callers: caller_addresses::Callers,
    /// Told after each commit that changes keys or accounts.
    pub(crate) endings: Arc<tokio::sync::Notify>,
    pub(crate) unknown_tokens: rate_limit::SourceLimit,
    pub(crate) walk: state::ActivitySweep,
    /// The latest time that the store knows, in Unix milliseconds.
    pub(crate) time_noted: AtomicI64,
    pub(crate) hashing: hash_queue::Hashing,
    pub(crate) setup: Arc<setup::Setup>,
    /// Where the configuration lets programs sign in.
    pub(crate) session_tokens: Option<access_token::SessionTokens>,
    /// Set when the process is about to end: who waits is answered, and nobody new is sent here.
    pub(crate) draining: CancellationToken,
}

impl Service {
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}
