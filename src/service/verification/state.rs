//! What verifying keys takes beside the store.

use crate::{
    cache::{key_cache::KeyCache, meter::Meters},
    domain::key_format::KeyFormat,
    service::{
        access_token::SessionTokens, context::Context, latest_time::LatestTime, rate_limit::PlanLimits, usage_log::UsageLog,
        verification::revocations::Revocations,
    },
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Whether a credential works now, and what it may do.
pub struct Verifier {
    /// Configuration, time, the secret and the store.
    pub(in crate::service) context: Arc<Context>,
    /// Every format a key of this store may have: what fits none is refused without a look-up.
    pub(in crate::service) formats: Vec<KeyFormat>,
    /// What was read of keys before, so that the next verification reads nothing.
    pub(in crate::service) key_cache: Arc<KeyCache>,
    /// A rate state and the unwritten uses of each key in use; the cache's keys point here.
    pub(in crate::service) meters: Arc<Meters>,
    /// What plans and keys allow a minute.
    pub(in crate::service) rate_limits: PlanLimits,
    /// Whose uses wait to be written.
    pub(in crate::service) usage: UsageLog,
    /// Told after each commit that changes keys or accounts: what is under way looks again whether its key still works.
    pub(in crate::service) revocations: Arc<Revocations>,
    /// Where the configuration lets programs sign in.
    pub(in crate::service) session_tokens: Option<Arc<SessionTokens>>,
    /// What was seen to have ended stays so over a restart with another clock.
    pub(in crate::service) latest_time: Arc<LatestTime>,
    /// Set when the process is about to end.
    pub(in crate::service) draining: CancellationToken,
}
