//! What the claim ceremony takes beside the store.

use crate::{
    cache::claim_cache::ClaimCache,
    service::{
        accounts::state::Accounts, claims::registrations::Registrations, context::Context, keys::state::Keys, latest_time::LatestTime,
        rate_limit::SourceLimit,
    },
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The ceremony between agent and human, and the agents that came of it.
pub struct Claims {
    /// Configuration, time, the secret and the store.
    pub(in crate::service) context: Arc<Context>,
    /// The delivered key is one of these.
    pub(in crate::service) keys: Arc<Keys>,
    /// Who approves proves again who they are.
    pub(in crate::service) accounts: Arc<Accounts>,
    /// Open claims that were polled before, so that the next poll reads nothing.
    pub(in crate::service) claim_cache: Arc<ClaimCache>,
    /// How many registrations there are, and who waits for which decision.
    pub(in crate::service) registrations: Arc<Registrations>,
    /// Slows down whoever tries tokens that do not exist.
    pub(in crate::service) unknown_tokens: SourceLimit,
    /// What was seen to have ended stays so over a restart with another clock.
    pub(in crate::service) latest_time: Arc<LatestTime>,
    /// Set when the process is about to end: who waits is answered.
    pub(in crate::service) draining: CancellationToken,
}
